package auditlog

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const workerEnv = "AUDITLOG_TEST_WORKER"

// TestMain makes the test program one of the processes that are killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(workerEnv); dir != "" {
		work(dir)
		return
	}
	if dir := os.Getenv(limitEnv); dir != "" {
		limited(dir)
		return
	}
	os.Exit(m.Run())
}

// work appends with 64 goroutines until it is killed, and says on its standard
// output what was acknowledged.
func work(dir string) {
	cfg := config(dir)
	cfg.SegmentBytes = 64 << 10
	l, err := Open(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for g := range 64 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), g, i)
				if err := l.Append(context.Background(), [][]byte{[]byte(`{"id":"` + id + `"}`)}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test is gone
}

// Pitfall 20: many goroutines of many processes append to one directory, and
// processes are killed at any moment. Nothing that was acknowledged is missing,
// no stream has two histories, and nothing of it looks like tampering.
func TestPitfall20_NothingAcknowledgedIsMissingWhenProcessesAreKilled(t *testing.T) {
	kills := 12
	if heavy() {
		kills = 200
	}
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	var mu sync.Mutex
	acked := make(map[string]bool)
	killed := 0
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			atWork := g%2 == 0
			for {
				mu.Lock()
				stop := killed >= kills
				killed++
				mu.Unlock()
				if stop {
					return
				}
				ids, err := killOne(self, dir, atWork)
				atWork = !atWork
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, id := range ids {
					acked[id] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.NotEmpty(t, acked)

	l := open(t, config(dir)) // the next start
	require.Zero(t, l.Stats().Alarms, "%v", l.Health().Problems)
	require.NoError(t, l.Close())
	rep := check(t, dir)
	require.Equal(t, 3, rep.ExitCode(), "%v", rep.Damage)
	kept := make(map[string]bool)
	for _, e := range events(t, rep) {
		id := strings.TrimSuffix(strings.TrimPrefix(e, `{"id":"`), `"}`)
		require.False(t, kept[id], "%s is there twice", id)
		kept[id] = true
	}
	for id := range acked {
		require.True(t, kept[id], "%s was acknowledged and is missing", id)
	}
	torn := 0
	for _, st := range rep.Streams[:len(rep.Streams)-1] {
		if st.Torn > 0 {
			torn++
		}
	}
	t.Logf("%d processes killed, %d records acknowledged, %d kept, %d torn ends", kills, len(acked), len(kept), torn)
}

// killOne runs a worker, kills it after a moment, and returns what it said. The moment
// begins with the worker, which may not have got far by then, or where it is at work.
func killOne(self, dir string, atWork bool) (ids []string, err error) {
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), workerEnv+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	kill := func() {
		time.AfterFunc(time.Duration(100+rand.IntN(400))*time.Millisecond, func() { _ = cmd.Process.Kill() })
	}
	if !atWork {
		kill()
	}
	r := bufio.NewReader(out)
	for {
		id, err := r.ReadString('\n')
		if err != nil {
			break // a line without an end may be cut off
		}
		if ids = append(ids, strings.TrimSpace(id)); atWork && len(ids) == 1 {
			kill()
		}
	}
	_ = cmd.Wait()
	if stderr.Len() > 0 {
		return ids, fmt.Errorf("worker: %s", stderr.String())
	}
	return ids, nil
}

// Two processes never write one stream: each has its own, and holds its lock.
func TestPitfall20_TwoLogsInOneDirectoryHaveTwoStreams(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, config(dir)), open(t, config(dir))
	var wg sync.WaitGroup
	for i, l := range []*Log{a, b} {
		for g := range 16 {
			wg.Go(func() {
				for k := range 5 {
					if err := l.Append(context.Background(), [][]byte{fmt.Appendf(nil, `{"l":%d,"g":%d,"k":%d}`, i, g, k)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	require.NotEqual(t, a.Stream(), b.Stream())
	require.True(t, streamHeld(filepath.Join(dir, filepath.Base(a.Stream()))))
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	rep := check(t, dir)
	require.True(t, rep.Intact(), "%v", rep.Damage)
	require.Len(t, events(t, rep), 160)
	seen := make(map[string]int) // the order of each goroutine is kept
	for _, e := range events(t, rep) {
		var l, g, k int
		_, err := fmt.Sscanf(e, `{"l":%d,"g":%d,"k":%d}`, &l, &g, &k)
		require.NoError(t, err)
		key := fmt.Sprint(l, g)
		require.Equal(t, seen[key], k)
		seen[key]++
	}
}
