package auditlog

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// flakyAnchor is a file anchor that can be down.
type flakyAnchor struct {
	Anchor
	mu   sync.Mutex
	down error
}

func (a *flakyAnchor) set(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = err
}

func (a *flakyAnchor) Put(ctx context.Context, h Head) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down != nil {
		return a.down
	}
	return a.Anchor.Put(ctx, h)
}

// The lag is the security parameter: what is younger can be cut off unseen.
func TestTheAnchorLagIsMeasuredAndReportedWhenItIsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		anchor := &flakyAnchor{Anchor: FileAnchor(t.TempDir())}
		cfg := config(t.TempDir())
		cfg.Anchors = []Anchor{anchor}
		l, err := Open(cfg)
		require.NoError(t, err)
		synctest.Wait()
		require.Zero(t, l.Stats().AnchorLag, "a new stream is anchored at once")

		keep(t, l, event(1))
		time.Sleep(5 * time.Second)
		require.Equal(t, 5*time.Second, l.Stats().AnchorLag)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Zero(t, l.Stats().AnchorLag, "after AnchorEvery it is anchored")

		anchor.set(errors.New("no route to host"))
		keep(t, l, event(2))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.True(t, l.Health().OK)
		require.Equal(t, time.Minute, l.Stats().AnchorLag)
		time.Sleep(time.Nanosecond)
		require.False(t, l.Health().OK)
		require.ErrorContains(t, errors.Join(l.Health().Problems...), "no route to host")
		require.True(t, l.Health().Writable)

		anchor.set(nil)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		require.True(t, l.Health().OK)
		require.Zero(t, l.Stats().AnchorLag)
		require.NoError(t, l.Close())
	})
}

// An anchor that has stopped is as good as the time since.
func TestALogThatIsFurtherThanItsAnchorByMoreThanTheLagIsNotComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		anchor := &flakyAnchor{Anchor: FileAnchor(dir)}
		cfg := config(t.TempDir())
		cfg.Anchors = []Anchor{anchor}
		l, err := Open(cfg)
		require.NoError(t, err)
		synctest.Wait()
		anchor.set(errors.New("down"))
		keep(t, l, event(1))
		time.Sleep(time.Minute)
		keep(t, l, event(2))
		require.Equal(t, 0, check(t, cfg.Dir, withAnchor(dir)).ExitCode(), "exactly the lag")
		time.Sleep(time.Microsecond)
		keep(t, l, event(3))
		rep := check(t, cfg.Dir, withAnchor(dir))
		require.Equal(t, 3, rep.ExitCode())
		require.Equal(t, time.Minute+time.Microsecond, rep.Streams[0].Late)
		require.Equal(t, int64(1), rep.Streams[0].AnchoredSize)
		_ = l.Close()
	})
}

func TestAFileAnchorKeepsTheFirstHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "anchor")
	cfg := config(t.TempDir())
	l := open(t, cfg)
	one := l.Head()
	keep(t, l, event(1))
	two := l.Head()
	ctx := t.Context()
	a := FileAnchor(dir)
	require.NoError(t, a.Put(ctx, one))
	require.NoError(t, a.Put(ctx, one), "again is no error")
	require.NoError(t, a.Put(ctx, two))
	other := two
	other.Root[0] ^= 1
	require.ErrorIs(t, a.Put(ctx, other), ErrFork)
	require.ErrorIs(t, FileAnchor(dir).Put(ctx, other), ErrFork, "also after a restart")
	require.ErrorIs(t, a.Put(ctx, one), ErrFork)
	require.Error(t, a.Put(ctx, Head{Stream: "a b", Size: 9}))

	// A torn line costs that head and nothing else.
	var name string
	for n := range load(t, dir) {
		name = filepath.Join(dir, n)
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"cp":"sho`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	keep(t, l, event(2))
	three := l.Head()
	b := FileAnchor(dir)
	require.NoError(t, b.Put(ctx, three))
	require.Equal(t, []Head{one, two, three}, heads(t, b, l.Stream()))
	require.Empty(t, heads(t, b, "shop/unknown"))
	for s, err := range b.Streams(ctx) {
		require.NoError(t, err)
		require.Equal(t, l.Stream(), s)
	}
}

func heads(t *testing.T, a Anchor, stream string) (list []Head) {
	for h, err := range a.Heads(t.Context(), stream) {
		require.NoError(t, err)
		require.NoError(t, checkHead(h, []publicKey{mustKey(t)}))
		list = append(list, h)
	}
	return list
}

func mustKey(t *testing.T) publicKey {
	k, err := parseVerifierKey(rootVerifier(t))
	require.NoError(t, err)
	return k
}

// Whoever can only write to the anchor cannot make a sound log look forged.
func TestAnAnchorThatWasTamperedWithAccusesNobody(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	written(t, dir, FileAnchor(anchor))
	whole := load(t, anchor)
	for name, b := range whole {
		for i := range b {
			if i%5 != 0 && !heavy() {
				continue
			}
			changed := bytes.Clone(b)
			changed[i] ^= 1 << (i % 8)
			require.NoError(t, os.WriteFile(filepath.Join(anchor, name), changed, 0o600))
			require.NotEqual(t, 2, check(t, dir, withAnchor(anchor)).ExitCode(), "byte %d", i)
		}
		require.NoError(t, os.WriteFile(filepath.Join(anchor, strings.Replace(name, "01", "02", 1)), b, 0o600))
		require.NotEqual(t, 2, check(t, dir, withAnchor(anchor)).ExitCode())
	}
}

func TestPinsAreReadInEachFormInWhichTheyAreNoted(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	st := check(t, dir).Streams[0]
	want := Head{Stream: st.Name, Size: st.Size, Root: st.Root}
	names := load(t, dir).segments()
	lines := splitLines(load(t, dir)[names[len(names)-1]])
	for _, text := range []string{want.String(), " " + want.String() + "\n", st.Checkpoint} {
		got, err := ParsePin(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
		rep := check(t, dir, withPin(got))
		require.Equal(t, 0, rep.ExitCode())
	}
	got, err := ParsePin(string(lines[len(lines)-1]))
	require.NoError(t, err)
	require.Equal(t, st.Name, got.Stream)
	for _, bad := range []string{"", "x", "a:b:c", "a:1:", "a:0:" + st.Root.String(), "a b:1:" + st.Root.String(), "a:1:" + strings.Repeat("=", 44)} {
		_, err := ParsePin(bad)
		require.Error(t, err, bad)
	}
	want.Root[5] ^= 1
	require.Equal(t, 2, check(t, dir, withPin(want)).ExitCode())
	want.Stream = "shop/web-3/" + newULID(time.Now())
	rep := check(t, dir, withPin(want))
	require.Equal(t, DamageGone, rep.Damage[0].Kind)
}

// A log is verified while it is written, with an anchor that is told meanwhile.
func TestALogThatIsBeingWrittenIsNeverTampering(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	cfg := config(dir)
	cfg.Anchors, cfg.SegmentBytes = []Anchor{FileAnchor(anchor)}, 8192
	l := open(t, cfg)
	require.NoError(t, l.Anchor(t.Context()))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if l.Append(context.Background(), asBytes([]string{event(i)})) != nil || l.Anchor(context.Background()) != nil {
				t.Error("append or anchor failed")
				return
			}
		}
	})
	for range 50 {
		rep := check(t, dir, withAnchor(anchor))
		require.Equal(t, 0, rep.ExitCode(), "%+v %v", rep, rep.Damage)
	}
	close(stop)
	wg.Wait()
}

var _ Anchor = brokenAnchor{}

type brokenAnchor struct{}

func (brokenAnchor) Put(context.Context, Head) error { return errIO }
func (brokenAnchor) Streams(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", errIO) }
}
func (brokenAnchor) Heads(context.Context, string) iter.Seq2[Head, error] {
	return func(yield func(Head, error) bool) { yield(Head{}, errIO) }
}

func TestAnAnchorThatCannotBeReachedStopsNobodyFromWritingAndEveryVerifier(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Anchors = []Anchor{brokenAnchor{}}
	l := open(t, cfg)
	keep(t, l, event(1))
	_, err := Verify(t.Context(), cfg.Dir, VerifyOptions{Keys: []string{rootVerifier(t)}, Anchors: cfg.Anchors})
	require.ErrorIs(t, err, errIO)
	require.Equal(t, 3, check(t, cfg.Dir).ExitCode())
}
