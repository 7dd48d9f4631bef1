package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// wantFirst demands these records in the order in which each is seen first.
// Records that were given to the sink again may be there again. What is left of
// a write that failed may be there as a piece of one of the records torn.
func (s *subject) wantFirst(want, torn [][]byte) error {
	got, err := s.Read()
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	known := func(list [][]byte, r []byte) bool {
		return slices.ContainsFunc(list, func(k []byte) bool { return bytes.Equal(k, r) })
	}
	var first [][]byte
	for i, r := range got {
		switch {
		case known(want, r):
			if !known(first, r) {
				first = append(first, r)
			}
		case slices.ContainsFunc(torn, func(t []byte) bool { return bytes.HasPrefix(t, r) }):
		default:
			return fmt.Errorf("record %d is %.80s, which nobody has given to the sink", i+1, r)
		}
	}
	for i, r := range want {
		if i >= len(first) {
			return fmt.Errorf("%.80s is missing", r)
		}
		if !bytes.Equal(first[i], r) {
			return fmt.Errorf("%.80s comes where %.80s should come", first[i], r)
		}
	}
	return nil
}

func failureIsError(ctx context.Context, s *subject) error {
	if s.Fail == nil {
		return nil
	}
	if err := s.keep(ctx, records(0, 3)...); err != nil {
		return err
	}
	s.Fail(true)
	for i := range 3 {
		switch err := s.append(ctx, records(3, i+1)); {
		case err == nil:
			return errors.New("append: no error although nothing can be written")
		case errors.Is(err, errHung):
			return err
		}
	}
	s.Fail(false)
	return s.keep(ctx, records(3, 3)...)
}

// takenAgain: whoever cannot write tries again later, with the same records
// among others.
func takenAgain(ctx context.Context, s *subject) error {
	if s.Fail == nil {
		return nil
	}
	var want [][]byte
	for round := range 5 {
		before := len(want)
		batch := records(before, 2+round)
		if err := s.keep(ctx, batch[0]); err != nil {
			return err
		}
		s.Fail(true)
		for range 1 + round%2 {
			if err := s.append(ctx, batch[1:]); errors.Is(err, errHung) {
				return err
			}
		}
		s.Fail(false)
		if err := s.keep(ctx, batch[1:]...); err != nil {
			return fmt.Errorf("the same records again: %w", err)
		}
		want = append(want, batch...)
		if err := s.wantFirst(want, want); err != nil {
			return err
		}
	}
	if err := s.keep(ctx, record(len(want))); err != nil {
		return err
	}
	return s.wantFirst(records(0, len(want)+1), want)
}
