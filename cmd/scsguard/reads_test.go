package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readBy returns how many bytes of files f reads, as the system counts them.
func readBy(t *testing.T, f func()) int {
	t.Helper()
	count := func() int {
		b, err := os.ReadFile("/proc/self/io")
		if err != nil {
			t.Skip("this system does not say how much a process has read: ", err)
		}
		first, _, _ := strings.Cut(string(b), "\n")
		n, err := strconv.Atoi(strings.TrimPrefix(first, "rchar: "))
		require.NoError(t, err)
		return n
	}
	before := count()
	f()
	return count() - before
}

// sizeOf is how many bytes a trail has.
func sizeOf(t *testing.T, dir string) (n int) {
	t.Helper()
	require.NoError(t, walkFiles(dir, func(name string) error {
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil && strings.HasSuffix(name, ".log") {
			n += int(info.Size())
		}
		return err
	}))
	return n
}

// besides are keys, anchors and the beginning of a stream, which says what its process
// knew of others.
const besides = 300_000

func TestAReportReadsTheTrailOnce(t *testing.T) {
	p := crowd(t, 900)
	size := sizeOf(t, p.trail)
	require.Greater(t, size, 10*besides)
	out := filepath.Join(t.TempDir(), "report.html")
	n := readBy(t, func() { require.Equal(t, exitOK, p.ask("report", "--out", out).code) })
	require.Less(t, n, size+besides)
	require.Contains(t, read(t, out), "The trail is intact and complete.")
}

func TestABundleReadsTheTrailOnceAndItsCopyOnceForAllQuestions(t *testing.T) {
	p := crowd(t, 900)
	size := sizeOf(t, p.trail)
	flags := []string{"--case", "c", "--out", t.TempDir()}
	for i := range 5 {
		flags = append(flags, "--ask", fmt.Sprintf("active --user user%04d --at %s", i, stamp(begun)))
	}
	flags = append(flags, "--ask", "sessions", "--ask", "review --to "+stamp(begun), "--ask", "timeline --user user0001", "--ask", "concurrent --user user0002")
	n := readBy(t, func() { require.Equal(t, exitOK, p.ask("bundle", append(flags, "--proofs", "0")...).code) })
	require.Less(t, n, 2*size+besides, "once to copy it, once to verify the copy and to ask")
	flags[1] = "d"
	n = readBy(t, func() { require.Equal(t, exitOK, p.ask("bundle", flags...).code) })
	require.Less(t, n, 3*size+besides, "and once for the proofs, since nobody knows before which records they are of")
}
