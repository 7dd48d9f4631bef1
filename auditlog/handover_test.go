package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// visited verifies dir and returns what was handed over, as text.
func visited(t *testing.T, dir string, change ...func(*VerifyOptions)) (*Report, []string) {
	t.Helper()
	var list []string
	o := VerifyOptions{Keys: []string{rootVerifier(t)}, Visit: func(records []Record) error {
		for _, r := range records {
			list = append(list, fmt.Sprintf("%+v", r.Clone()))
		}
		return nil
	}}
	for _, f := range change {
		f(&o)
	}
	rep, err := Verify(context.Background(), dir, o)
	require.NoError(t, err)
	return rep, list
}

// yielded is what Records says.
func yielded(t *testing.T, rep *Report) []string {
	t.Helper()
	var list []string
	for r, err := range rep.Records(t.Context()) {
		require.NoError(t, err)
		list = append(list, fmt.Sprintf("%+v", r))
	}
	return list
}

func TestWhatIsHandedOverIsWhatRecordsYields(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		l := open(t, config(dir))
		for i := range 1500 { // more than one parcel
			keep(t, l, event(i), strings.Replace(event(i), "{", `{"pad":"`+strings.Repeat("x", 300)+`",`, 1))
		}
		require.NoError(t, l.Close())
	}
	rep, list := visited(t, dir)
	require.True(t, rep.Visited())
	require.Equal(t, yielded(t, rep), list)
	require.Len(t, list, int(rep.Total))
}

// Every byte at which a file can end, and changes in every line: either exactly
// what Records yields was handed over, or the report says that it was not.
func TestWhatIsNotSealedIsNotHandedOver(t *testing.T) {
	dir := t.TempDir()
	l := open(t, config(dir))
	for i := range 12 {
		keep(t, l, event(i), event(100+i))
	}
	require.NoError(t, l.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	require.NoError(t, err)
	whole, err := os.ReadFile(files[0])
	require.NoError(t, err)
	held := 0
	check := func(b []byte, what string) {
		require.NoError(t, os.WriteFile(files[0], b, 0o600))
		rep, list := visited(t, dir)
		if rep.Visited() {
			held++
			require.Equal(t, yielded(t, rep), list, what)
		} else {
			require.False(t, rep.Intact(), what)
		}
	}
	for n := 0; n < len(whole); n += 41 {
		check(whole[:n], fmt.Sprintf("cut at %d", n))
	}
	for n := 3; n < len(whole); n += 53 {
		changed := bytes.Clone(whole)
		changed[n] ^= 1
		check(changed, fmt.Sprintf("byte %d", n))
	}
	require.Positive(t, held)
}

// Whoever has no key can link lines and compute roots, but sign nothing: what he
// has written is handed over before that is seen, and taken back.
func TestWhatIsLinkedAndNotSignedDoesNotCountAsVisited(t *testing.T) {
	dir := t.TempDir()
	l := open(t, config(dir))
	keep(t, l, event(1))
	require.NoError(t, l.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	require.NoError(t, err)
	b, err := os.ReadFile(files[0])
	require.NoError(t, err)
	at := bytes.LastIndex(b, []byte("— ")) // the last signature
	at += bytes.IndexByte(b[at+4:], ' ') + 20
	if b[at]++; b[at] == 'Z'+1 || b[at] == 'z'+1 || b[at] == '9'+1 {
		b[at] -= 2
	}
	require.NoError(t, os.WriteFile(files[0], b, 0o600))
	rep, list := visited(t, dir)
	require.NotEmpty(t, list)
	require.Equal(t, DamageSignature, rep.Damage[0].Kind)
	require.False(t, rep.Visited())
	require.Empty(t, yielded(t, rep))
}

func TestABatchThatNoWriterWritesIsNotKept(t *testing.T) {
	h := newHandover(func([]Record) error { return nil })
	h.begin()
	s := &scan{name: "x", sub: "x"}
	r := &scanned{line: line{body: make([]byte, 1<<20)}, raw: make([]byte, 1<<20+200)}
	for range 100 {
		h.add(s, r)
		require.LessOrEqual(t, len(h.now.lines), maxBatch+len(r.raw))
	}
	require.NoError(t, h.sealed())
	n, err := h.end()
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, h.finish())
}

func TestAVisitorsErrorIsThatOfTheVerification(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	mine := errors.New("enough")
	_, err := Verify(t.Context(), dir, VerifyOptions{Keys: []string{rootVerifier(t)}, Visit: func([]Record) error { return mine }})
	require.ErrorIs(t, err, mine)
}
