package sinktest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// disk is a writer that can be full. It then writes a part, and says so.
type disk struct {
	mu   sync.Mutex
	b    []byte
	full bool
	lies bool // it says nothing of what is missing but the number
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.full {
		d.b = append(d.b, p...)
		return len(p), nil
	}
	part := p[:len(p)*2/3]
	d.b = append(d.b, part...)
	if d.lies {
		return len(part), nil
	}
	return len(part), errors.New("no space left on device")
}

func (d *disk) fail(failing bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = failing
}

func (d *disk) read() ([][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return lines(d.b), nil
}

func lines(b []byte) [][]byte {
	list := bytes.Split(b, []byte{'\n'})
	return list[:len(list)-1]
}

func TestWriterSink(t *testing.T) {
	for name, lies := range map[string]bool{"with an error": false, "with a short write": true} {
		t.Run(name, func(t *testing.T) {
			Run(t, func(*testing.T) Opened {
				d := &disk{lies: lies}
				return Opened{Sink: scsguard.NewWriterSink(d), Read: d.read, Fail: d.fail}
			})
		})
	}
}

func TestWriterSinkOnAFile(t *testing.T) {
	Run(t, func(t *testing.T) Opened {
		name := filepath.Join(t.TempDir(), "audit.log")
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		read := func() ([][]byte, error) {
			b, err := os.ReadFile(name)
			return lines(b), err
		}
		return Opened{Sink: scsguard.NewWriterSink(f), Read: read}
	})
}

// Either branch is what the sink keeps.
func TestFallbackSink(t *testing.T) {
	Run(t, func(*testing.T) Opened {
		d, broken := &disk{}, &disk{full: true}
		sink := scsguard.FallbackSink(scsguard.NewWriterSink(d), scsguard.NewWriterSink(broken))
		return Opened{Sink: sink, Read: d.read}
	})
	t.Run("the alternate", func(t *testing.T) {
		Run(t, func(*testing.T) Opened {
			broken, d := &disk{full: true}, &disk{}
			sink := scsguard.FallbackSink(scsguard.NewWriterSink(broken), scsguard.NewWriterSink(d))
			return Opened{Sink: sink, Read: d.read, Fail: d.fail}
		})
	})
}

func TestMultiSink(t *testing.T) {
	for i, name := range []string{"read from the first", "read from the second"} {
		t.Run(name, func(t *testing.T) {
			Run(t, func(*testing.T) Opened {
				disks := [2]*disk{{}, {}}
				sink := scsguard.MultiSink(scsguard.NewWriterSink(disks[0]), scsguard.NewWriterSink(disks[1]))
				return Opened{Sink: sink, Read: disks[i].read, Fail: disks[0].fail}
			})
		})
	}
}

func TestCheckReportsThatNothingOpens(t *testing.T) {
	broken := errors.New("no connection")
	err := Check(t.Context(), func(context.Context) (Opened, error) { return Opened{}, broken })
	require.ErrorIs(t, err, broken)
	for _, c := range checks() {
		require.ErrorContains(t, err, c.name+": open: ")
	}
}

func TestCheckCannotBePassedByKeepingNothing(t *testing.T) {
	nothing := func() ([][]byte, error) { return nil, nil }
	err := Check(t.Context(), func(context.Context) (Opened, error) {
		return Opened{Sink: scsguard.Discard(), Read: nothing}, nil
	})
	require.ErrorContains(t, err, "records are kept in their order, after those of earlier calls: ")
}

func TestBroken(t *testing.T) {
	caught := map[fault][]string{
		reverses:          {"records are kept in their order, after those of earlier calls"},
		sorts:             {"records are kept in their order, after those of earlier calls"},
		writesInFront:     {"records are kept in their order, after those of earlier calls"},
		keepsTheLastCall:  {"records are kept in their order, after those of earlier calls"},
		dropsTheLast:      {"records are kept in their order, after those of earlier calls"},
		isLate:            {"records are kept in their order, after those of earlier calls"},
		hasARing:          {"many records in one call are kept"},
		writesAnEmptyLine: {"a call without records keeps nothing and is no error"},
		refusesNothing:    {"a call without records keeps nothing and is no error"},
		splitsLongLines:   {"a record comes back byte by byte, whatever it holds and however long it is"},
		encodesAgain:      {"a record comes back byte by byte, whatever it holds and however long it is"},
		squeezes:          {"a record comes back byte by byte, whatever it holds and however long it is"},
		countsOnce:        {"a record comes back byte by byte, whatever it holds and however long it is"},
		endsTheLines:      {"records are not changed"},
		wipes:             {"records are not changed"},
		keepsTheSlice:     {"records are not used after Append has returned"},
		waitsForEver:      {"with a context that is done Append returns, and nil only if it has kept the records"},
		givesUpSilently:   {"with a context that is done Append returns, and nil only if it has kept the records"},
		swallowsErrors:    {"what cannot be written is an error"},
		hangsOnFailure:    {"what cannot be written is an error"},
		staysBroken:       {"what cannot be written is an error"},
		leavesLinesTorn:   {"after an error nothing is lost or torn, and the same records are taken again"},
		remembersTooMuch:  {"after an error nothing is lost or torn, and the same records are taken again"},
	}
	uncaught := make(map[string]bool)
	for _, c := range checks() {
		uncaught[c.name] = true
	}
	for f, names := range caught {
		for _, name := range names {
			delete(uncaught, name)
		}
		t.Run(string(f), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				released := make(chan struct{})
				err := Check(t.Context(), func(context.Context) (Opened, error) {
					s := &faulty{fault: f, released: released}
					return Opened{Sink: s, Read: s.disk.read, Fail: s.disk.fail}, nil
				})
				close(released) // those that hang
				for _, name := range names {
					require.ErrorContains(t, err, name+": ")
				}
			})
		})
	}
	require.Empty(t, uncaught, "a check that no fault fails may be one that cannot fail")
}

// Without a fault the broken sink is a sound one.
func TestSound(t *testing.T) {
	require.NoError(t, Check(t.Context(), func(context.Context) (Opened, error) {
		s := &faulty{}
		return Opened{Sink: s, Read: s.disk.read, Fail: s.disk.fail}, nil
	}))
}
