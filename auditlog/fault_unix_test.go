//go:build linux || darwin

package auditlog

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const limitEnv = "AUDITLOG_TEST_LIMIT"

// limited appends while the size of files is limited, then without the limit.
func limited(dir string) {
	signal.Ignore(syscall.SIGXFSZ) // else the first refused write ends the process
	setLimit := func(n uint64) {
		var r syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			panic(err)
		}
		r.Cur = n
		if n == 0 {
			r.Cur = r.Max
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			panic(err)
		}
	}
	l, err := Open(config(dir))
	if err != nil {
		panic(err)
	}
	try := func(i int) {
		err := l.Append(context.Background(), [][]byte{[]byte(event(i))})
		fmt.Println(err == nil, l.Health().Writable)
	}
	try(1)
	for i := range 20 { // so that the file is longer than a new one
		_ = l.Append(context.Background(), [][]byte{[]byte(event(100 + i))})
	}
	setLimit(uint64(fileLen(l.st.path)) + 100)
	try(2) // goes to a new stream, whose file is small enough
	setLimit(200)
	try(3)
	began := time.Now()
	for l.Health().Writable && time.Since(began) < time.Minute {
		time.Sleep(10 * time.Millisecond)
	}
	setLimit(0)
	for !l.Health().Writable && time.Since(began) < time.Minute {
		time.Sleep(10 * time.Millisecond)
	}
	try(4)
	fmt.Println(l.Close())
}

// A real file system that takes no more, in a process of its own.
func TestPitfall21_ADiskThatTakesNoMoreFailsClosedAndIsOverWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), limitEnv+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.Equal(t, "true true\ntrue true\nfalse false\ntrue true\n<nil>\n", string(out))

	rep := check(t, dir)
	require.True(t, rep.Intact(), "%v", rep.Damage)
	got := events(t, rep)
	require.Len(t, got, 23)
	require.Equal(t, []string{event(2), event(4)}, got[21:])
	gaps := ownEvents(t, rep, ownGap)
	require.Len(t, gaps, 1)
	require.Equal(t, int64(1), gaps[0].Refused)
	require.Contains(t, gaps[0].Cause, "file too large")
	require.Len(t, ownEvents(t, rep, ownRecovered), 2)
	for _, st := range rep.Streams {
		require.NotEqual(t, StateEmpty, st.State, "what could not begin leaves nothing behind")
	}
}

// PCI DSS 10.3.1, NIST SP 800-53 AU-9(4): only the owner can read or change it.
func TestPCI_10_3_1_OnlyTheOwnerCanReadTheFiles(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir, anchor := t.TempDir()+"/log", t.TempDir()+"/anchor"
	written(t, dir, FileAnchor(anchor))
	for _, top := range []string{dir, anchor} {
		info, err := os.Stat(top)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), top)
		for name := range load(t, top) {
			info, err := os.Stat(top + "/" + name)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
		}
	}
	subs, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, sub := range subs {
		info, err := sub.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	}
}

func TestADirectoryThatIsReadOnlyFailsAtOpenAndLaterIsNoticed(t *testing.T) {
	if os.Geteuid() == 0 {
		// The super-user may write everywhere; a directory that is none refuses him too.
		dir := t.TempDir()
		l := open(t, config(dir+"/log"))
		keep(t, l, event(1))
		require.NoError(t, os.RemoveAll(dir+"/log"))
		require.NoError(t, os.WriteFile(dir+"/log", nil, 0o600))
		require.ErrorIs(t, l.Append(t.Context(), asBytes([]string{event(2)})), ErrDown)
		require.NoError(t, os.Remove(dir+"/log"))
		require.Eventually(t, func() bool { return l.Health().Writable }, time.Minute, 10*time.Millisecond)
		keep(t, l, event(3))
		require.NoError(t, l.Close())
		require.Equal(t, []string{event(3)}, events(t, check(t, dir+"/log")))
		return
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o500))
	defer os.Chmod(dir, 0o700)
	_, err := Open(config(dir))
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, "Dir")
}
