package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// checks returns all that Check runs.
func checks() []check {
	return []check{
		{"records are kept in their order, after those of earlier calls", inOrder},
		{"many records in one call are kept", many},
		{"a call without records keeps nothing and is no error", empty},
		{"a record comes back byte by byte, whatever it holds and however long it is", anyRecord},
		{"records are not changed", notChanged},
		{"records are not used after Append has returned", notUsedLater},
		{"with a context that is done Append returns, and nil only if it has kept the records", doneContext},
		{"what cannot be written is an error", failureIsError},
		{"after an error nothing is lost or torn, and the same records are taken again", takenAgain},
	}
}

// record is the n-th record of a trail.
func record(n int) []byte {
	return fmt.Appendf(nil, `{"v":1,"id":"event-%06d","event":"login","user":"alice","n":%d}`, n, n)
}

// records returns n records, the first of them the one with number from.
func records(from, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = record(from + i)
	}
	return list
}

// cloned returns a deep copy.
func cloned(list [][]byte) [][]byte {
	c := make([][]byte, len(list))
	for i, r := range list {
		c[i] = bytes.Clone(r)
	}
	return c
}

func inOrder(ctx context.Context, s *subject) error {
	var want [][]byte
	if err := s.wantKept(nil); err != nil {
		return fmt.Errorf("an empty sink: %w", err)
	}
	for _, n := range []int{1, 1, 3, 1, 7, 2, 20, 1} {
		batch := records(len(want), n)
		if len(want)%2 == 0 { // the bytes say nothing about the order
			slices.Reverse(batch)
		}
		if err := s.keep(ctx, batch...); err != nil {
			return err
		}
		want = append(want, batch...)
		if err := s.wantKept(want); err != nil {
			return fmt.Errorf("after Append has returned: %w", err)
		}
	}
	return nil
}

// many: a guard hands over as much at once as has come together.
func many(ctx context.Context, s *subject) error {
	const n = 1000
	if err := s.keep(ctx, records(0, n)...); err != nil {
		return err
	}
	for i := range 50 {
		if err := s.keep(ctx, record(n+i)); err != nil {
			return err
		}
	}
	return s.wantKept(records(0, n+50))
}

func empty(ctx context.Context, s *subject) error {
	for _, none := range [][][]byte{nil, {}} {
		if err := s.keep(ctx, none...); err != nil {
			return err
		}
	}
	if err := s.wantKept(nil); err != nil {
		return err
	}
	if err := s.keep(ctx, record(1)); err != nil {
		return err
	}
	if err := s.keep(ctx); err != nil {
		return err
	}
	return s.wantKept(records(1, 1))
}

// anyRecord has what JSON allows between two line breaks. A sink takes no part
// in it: whoever decodes and encodes again changes what was signed or counted.
func anyRecord(ctx context.Context, s *subject) error {
	want := [][]byte{
		[]byte(`{}`),
		[]byte(`{"user":"Zo\u00eb <zoe@example.org> & \"co\" \\ \/ \u0000 \ud83d\ude00 %d %s $1 ' ; --"}`),
		[]byte("{\"user\":\"Zo\u00eb \U0001f600 \u2028 \ufeff\",\"tab\\t\" : 1e2 , \"z\":1,\"a\":2,\"a\":3}"),
		[]byte(`{ "blanks" : [ ] }`),
		[]byte(`{"long":"` + string(bytes.Repeat([]byte("0123456789abcdef"), 1<<12)) + `"}`), // 64 KiB and some
		record(7), record(7), // the same again is a record of its own
	}
	for _, r := range want {
		if err := s.keep(ctx, r); err != nil {
			return fmt.Errorf("%.40s: %w", r, err)
		}
	}
	if err := s.wantKept(want); err != nil {
		return err
	}
	if err := s.keep(ctx, want...); err != nil {
		return err
	}
	return s.wantKept(append(want, want...))
}

func notChanged(ctx context.Context, s *subject) error {
	list := records(0, 20)
	for i := range list {
		list[i] = append(make([]byte, 0, 1000), list[i]...) // room that belongs to somebody else
	}
	want := cloned(list)
	beyond := make([][]byte, len(list))
	for i, r := range list {
		beyond[i] = bytes.Clone(r[:cap(r)])
	}
	order := slices.Clone(list)
	for range 2 {
		if err := s.keep(ctx, list...); err != nil {
			return err
		}
		for i, r := range list {
			if len(r) != len(want[i]) || &r[0] != &order[i][0] {
				return fmt.Errorf("record %d of the slice is another one after Append", i+1)
			}
			if !bytes.Equal(r[:cap(r)], beyond[i]) {
				return fmt.Errorf("record %d has become %.80s", i+1, r)
			}
		}
	}
	return nil
}

func notUsedLater(ctx context.Context, s *subject) error {
	list := records(0, 20)
	want := cloned(list)
	if err := s.keep(ctx, list...); err != nil {
		return err
	}
	for _, r := range list { // they are used again for something else
		copy(r, bytes.Repeat([]byte("x"), len(r)))
	}
	clear(list)
	if err := s.wantKept(want); err != nil {
		return err
	}
	if err := s.keep(ctx, record(20)); err != nil {
		return err
	}
	return s.wantKept(append(want, record(20)))
}

// doneContext leaves open whether the sink keeps the records: it may have been
// quick enough.
func doneContext(ctx context.Context, s *subject) error {
	if err := s.keep(ctx, records(0, 3)...); err != nil {
		return err
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	err := s.append(done, records(3, 3))
	if errors.Is(err, errHung) {
		return err
	}
	if err == nil {
		if err := s.wantKept(records(0, 6)); err != nil {
			return fmt.Errorf("append has returned nil: %w", err)
		}
	}
	// What failed comes again, and nothing is spoilt.
	if err := s.keep(ctx, records(3, 3)...); err != nil {
		return fmt.Errorf("afterwards: %w", err)
	}
	return s.wantFirst(records(0, 6), records(3, 3))
}
