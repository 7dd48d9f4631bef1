package auditlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// faultyDisk makes the files of a log fail.
type faultyDisk struct {
	mu    sync.Mutex
	write error // of each Write, which keeps half of what it is given
	sync  error // of each Sync
	once  bool  // only the next one
	syncs map[string]int
}

func (d *faultyDisk) set(write, sync error, once bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write, d.sync, d.once = write, sync, once
}

func (d *faultyDisk) open(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.write != nil && !d.once {
		return nil, d.write
	}
	f, err := openSegment(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{d, f.(*os.File)}, nil
}

type faultyFile struct {
	d *faultyDisk
	*os.File
}

func (f *faultyFile) Write(b []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.write; err != nil {
		if f.d.once {
			f.d.write = nil
		}
		n, _ := f.File.Write(b[:len(b)/2])
		return n, err
	}
	return f.File.Write(b)
}

func (f *faultyFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.syncs == nil {
		f.d.syncs = make(map[string]int)
	}
	f.d.syncs[f.Name()]++
	if err := f.d.sync; err != nil {
		if f.d.once {
			f.d.sync = nil
		}
		return err
	}
	return f.File.Sync()
}

var errIO = errors.New("input/output error")

// A failed fsync may have thrown the data away, and the next one then succeeds
// without them. So the file is given up, and the batch goes to a new stream.
func TestAfterAFailedFsyncTheFileIsNeverTriedAgain(t *testing.T) {
	dir, disk := t.TempDir(), &faultyDisk{}
	cfg := config(dir)
	cfg.OpenFile = disk.open
	l := open(t, cfg)
	keep(t, l, event(1))
	first := l.Stream()
	path := filepath.Join(dir, filepath.Base(first), segmentName(0))
	syncs := disk.syncs[path]

	disk.set(nil, errIO, true)
	keep(t, l, event(2)) // the caller notices nothing
	require.NotEqual(t, first, l.Stream())
	require.Equal(t, syncs+1, disk.syncs[path])
	keep(t, l, event(3))
	require.Equal(t, syncs+1, disk.syncs[path])
	require.Equal(t, int64(1), l.Stats().SyncErrors)
	require.NoError(t, l.Close())

	rep := check(t, dir)
	require.True(t, rep.Intact(), "%v", rep.Damage)
	require.Len(t, ownEvents(t, rep, ownRecovered), 1)
	got := events(t, rep)
	require.Subset(t, got, []string{event(1), event(2), event(3)})
}

func TestAWriteThatFailsOnceIsMadeUpForInANewStream(t *testing.T) {
	dir, disk := t.TempDir(), &faultyDisk{}
	cfg := config(dir)
	cfg.OpenFile = disk.open
	l := open(t, cfg)
	keep(t, l, event(1))
	disk.set(errIO, nil, true)
	keep(t, l, event(2))
	require.NoError(t, l.Close())
	rep := check(t, dir)
	require.True(t, rep.Intact(), "%v", rep.Damage)
	require.Equal(t, []string{event(1), event(2)}, events(t, rep))
	require.Equal(t, StateRecovered, rep.Streams[0].State)
	require.Positive(t, rep.Streams[0].Torn)
	require.Equal(t, rep.Streams[0].Torn, ownEvents(t, rep, ownRecovered)[0].Bytes)
}

// PCI DSS 10.7.2 and 10.7.3: a failure of the log is noticed, and on the record.
func TestPCI_10_7_3_AFullDiskIsReportedAndRecordedAndOverWithoutARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, disk := t.TempDir(), &faultyDisk{}
		cfg := config(dir)
		cfg.OpenFile = disk.open
		l, err := Open(cfg)
		require.NoError(t, err)
		keep(t, l, event(1))
		require.True(t, l.Health().OK)

		full := errors.New("no space left on device")
		disk.set(full, nil, false)
		began := time.Now()
		for i := range 5 {
			err := l.Append(t.Context(), [][]byte{[]byte(event(10 + i)), []byte(event(20 + i))})
			require.ErrorIs(t, err, ErrDown)
			require.ErrorIs(t, err, full)
		}
		require.False(t, l.Health().OK)
		require.False(t, l.Health().Writable)
		require.Equal(t, int64(10), l.Stats().Refused)
		l.ReportGap(Gap{From: began, To: time.Now(), Counts: map[string]int64{"logout": 3}, Cause: "the queue was full"})

		time.Sleep(3 * time.Second)
		disk.set(nil, nil, false)
		time.Sleep(maxReopen) // nobody calls; it tries by itself
		synctest.Wait()
		require.True(t, l.Health().OK, "%v", l.Health().Problems)
		keep(t, l, event(2))
		require.NoError(t, l.Close())

		rep := check(t, dir)
		require.True(t, rep.Intact(), "%v", rep.Damage)
		require.Equal(t, []string{event(1), event(2)}, events(t, rep))
		gaps := ownEvents(t, rep, ownGap)
		require.Len(t, gaps, 2)
		require.Equal(t, map[string]int64{"logout": 3}, gaps[0].Counts)
		require.Equal(t, int64(10), gaps[1].Refused)
		require.Contains(t, gaps[1].Cause, "no space left")
		require.Equal(t, formatTime(began), gaps[1].From)
		require.False(t, rep.Complete())
	})
}

func TestAGapMakesALogIncompleteAlsoWithAnAnchor(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	cfg := config(dir)
	cfg.Anchors = []Anchor{FileAnchor(anchor)}
	l := open(t, cfg)
	l.ReportGap(Gap{Counts: map[string]int64{"logout": 1}, Cause: "lost"})
	keep(t, l, event(1))
	require.NoError(t, l.Close())
	rep := check(t, dir, withAnchor(anchor))
	require.Equal(t, 3, rep.ExitCode())
	require.Equal(t, 1, rep.Streams[0].GapCount)
	require.Equal(t, map[string]int64{"logout": 1}, rep.Streams[0].Gaps[0].Counts)
}

func TestManyGapsAreMergedAndNotDropped(t *testing.T) {
	dir, disk := t.TempDir(), &faultyDisk{}
	cfg := config(dir)
	cfg.OpenFile = disk.open
	l := open(t, cfg)
	disk.set(errIO, nil, false)
	require.Error(t, l.Append(t.Context(), [][]byte{[]byte(event(1))}))
	for range 10 * maxOwed {
		l.ReportGap(Gap{From: time.Now(), To: time.Now(), Counts: map[string]int64{"logout": 1}, Cause: "full"})
	}
	disk.set(nil, nil, false)
	require.NoError(t, l.Close())
	var n int64
	for _, g := range ownEvents(t, check(t, dir), ownGap) {
		n += g.Counts["logout"]
	}
	require.Equal(t, int64(10*maxOwed), n)
}

func TestADirectoryThatCannotBeWrittenFailsAtOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(config(filepath.Join(file, "log")))
	require.ErrorContains(t, err, "Dir")

	disk := &faultyDisk{}
	disk.set(errIO, nil, false)
	cfg := config(t.TempDir())
	cfg.OpenFile = disk.open
	_, err = Open(cfg)
	require.ErrorIs(t, err, errIO)
	entries, err := os.ReadDir(cfg.Dir)
	require.NoError(t, err)
	require.Empty(t, entries, "it leaves nothing behind")
}

func TestAFileThatIsRemovedOrChangedWhileItIsWrittenRaisesAnAlarmAndLosesNothingNew(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be removed there")
	}
	for what, change := range map[string]func(*testing.T, string){
		"segment removed":   func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"stream removed":    func(t *testing.T, path string) { require.NoError(t, os.RemoveAll(filepath.Dir(path))) },
		"log removed":       func(t *testing.T, path string) { require.NoError(t, os.RemoveAll(filepath.Dir(filepath.Dir(path)))) },
		"segment truncated": func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 10)) },
		"segment replaced": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path+".x", b, 0o600))
			require.NoError(t, os.Rename(path+".x", path))
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			alarms := make(chan Alarm, 10)
			cfg := config(dir)
			cfg.OnAlarm = func(a Alarm) { alarms <- a }
			l := open(t, cfg)
			keep(t, l, event(1))
			before := l.Head()
			change(t, filepath.Join(dir, filepath.Base(l.Stream()), segmentName(0)))
			keep(t, l, event(2))
			require.ErrorIs(t, <-alarms, errTampered)
			require.NotEqual(t, before.Stream, l.Stream())
			keep(t, l, event(3))
			require.NoError(t, l.Close())
			rep := check(t, dir)
			require.Subset(t, events(t, rep), []string{event(2), event(3)})
			if what != "segment replaced" { // then all that was acknowledged is there
				require.Equal(t, 2, rep.ExitCode(), "the new stream knows how far the old one was")
			}
		})
	}
}

// ASVS 5.0 16.5.2: what waits for the log waits no longer than it wants to.
func TestACallerWhoGivesUpLearnsWhetherItsRecordsMayBeKept(t *testing.T) {
	dir := t.TempDir()
	hold := make(chan struct{})
	entered := make(chan struct{}, 1)
	cfg := config(dir)
	var armed atomic.Bool
	cfg.OpenFile = func(name string) (File, error) {
		f, err := openSegment(name)
		return &slowFile{f, &armed, entered, hold}, err
	}
	l := open(t, cfg)
	armed.Store(true)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- l.Append(ctx, [][]byte{[]byte(event(1))}) }()
	<-entered // it is being written
	ctx2, cancel2 := context.WithCancel(t.Context())
	go func() { done <- l.Append(ctx2, [][]byte{[]byte(event(2))}) }()
	require.Eventually(t, func() bool { return l.Stats().Waiting > 0 }, time.Minute, time.Millisecond)
	cancel2()
	err := <-done
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "nothing written")
	cancel()
	err = <-done
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "not known")
	require.ErrorContains(t, l.Append(ctx, [][]byte{[]byte(event(4))}), "nothing written")
	close(hold)
	keep(t, l, event(3))
	require.NoError(t, l.Close())
	require.Equal(t, []string{event(1), event(3)}, events(t, check(t, dir)))
}

// slowFile stops in its first Sync after it was armed.
type slowFile struct {
	File
	armed   *atomic.Bool
	entered chan struct{}
	hold    chan struct{}
}

func (f *slowFile) Sync() error {
	if f.armed.Load() {
		select {
		case f.entered <- struct{}{}:
		default:
		}
		<-f.hold
	}
	return f.File.Sync()
}

func TestWhatIsNotOneJSONObjectInOneLineIsRefusedAndNothingOfTheCallIsWritten(t *testing.T) {
	dir := t.TempDir()
	l := open(t, config(dir))
	for _, bad := range []string{"", "x", "[]", `"a"`, "{", "{}\n", "{\"a\":\n1}", "{\"a\":\r1}", `{"a":1}{"b":2}`, "{}x}", "{\"a\":\"\x00\"}",
		`{"a":"` + strings.Repeat("x", MaxRecord) + `"}`} {
		require.Error(t, l.Append(t.Context(), [][]byte{[]byte(event(1)), []byte(bad)}), "%.50q", bad)
	}
	large := `{"a":"` + strings.Repeat("x", MaxRecord-8) + `"}`
	keep(t, l, large)
	require.NoError(t, l.Append(t.Context(), nil))
	require.NoError(t, l.Close())
	rep := check(t, dir)
	require.True(t, rep.Intact())
	require.Equal(t, []string{large}, events(t, rep))
	require.ErrorIs(t, l.Append(t.Context(), [][]byte{[]byte("{}")}), ErrClosed)
	require.NoError(t, l.Close(), "closing twice does nothing")
}

// AU-4, AU-5(1): a warning before the disk is full; and what is kept back is for
// what must be written all the same.
func TestAU_5_1_LowSpaceWarnsThenRefusesThenOnlyTheReserveIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		free := int64(1000)
		setFree := func(n int64) {
			mu.Lock()
			free = n
			mu.Unlock()
			time.Sleep(spaceEvery)
		}
		cfg := config(t.TempDir())
		cfg.WarnFree, cfg.MinFree = 500, 100
		cfg.freeSpace = func(string) (int64, error) {
			mu.Lock()
			defer mu.Unlock()
			return free, nil
		}
		l, err := Open(cfg)
		require.NoError(t, err)
		keep(t, l, event(1))
		require.True(t, l.Health().OK)

		setFree(499)
		keep(t, l, event(2))
		require.False(t, l.Health().OK)
		require.True(t, l.Health().Writable)

		setFree(99)
		keep(t, l, event(3)) // this one finds out
		require.ErrorIs(t, l.Append(t.Context(), asBytes([]string{event(4)})), ErrLowSpace)
		require.False(t, l.Health().Writable)
		require.NoError(t, l.AppendReserved(t.Context(), asBytes([]string{event(5)})))

		setFree(1000)
		time.Sleep(spaceEvery)
		keep(t, l, event(6))
		require.True(t, l.Health().OK, "%v", l.Health().Problems)
		require.NoError(t, l.Close())
		rep := check(t, cfg.Dir)
		require.Equal(t, []string{event(1), event(2), event(3), event(5), event(6)}, events(t, rep))
		gaps := ownEvents(t, rep, ownGap)
		require.Len(t, gaps, 1)
		require.Equal(t, int64(1), gaps[0].Refused)
	})
}

func TestTooMuchWaitingIsRefusedAtOnce(t *testing.T) {
	hold, entered := make(chan struct{}), make(chan struct{}, 1)
	var armed atomic.Bool
	cfg := config(t.TempDir())
	cfg.OpenFile = func(name string) (File, error) {
		f, err := openSegment(name)
		return &slowFile{f, &armed, entered, hold}, err
	}
	l := open(t, cfg)
	armed.Store(true)
	go l.Append(context.Background(), asBytes([]string{event(1)}))
	<-entered
	big := []byte(fmt.Sprintf(`{"a":"%s"}`, strings.Repeat("x", MaxRecord/2)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2*maxQueue/len(big) + 2 {
		go l.Append(ctx, [][]byte{big})
	}
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		return errors.Is(l.Append(ctx, [][]byte{big}), ErrBusy)
	}, time.Minute, time.Millisecond)
	close(hold)
}

// While the disk is broken the log tries again at its pace, also when a heartbeat
// is overdue: it does not take the machine for itself.
func TestALogThatIsDownDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &faultyDisk{}
		started := time.Now()
		var looks atomic.Int32
		cfg := config(t.TempDir())
		cfg.OpenFile, cfg.Heartbeat = disk.open, time.Second
		cfg.clock = func() (time.Time, time.Duration) {
			looks.Add(1)
			return time.Now().Round(0), time.Since(started)
		}
		l, err := Open(cfg)
		require.NoError(t, err)
		disk.set(errIO, errIO, false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		looks.Store(0)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Less(t, looks.Load(), int32(200))
		disk.set(nil, nil, false)
		require.NoError(t, l.Close())
	})
}
