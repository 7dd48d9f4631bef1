package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bench is a copy of a trail that the example server wrote, to be tampered with:
// two streams, each one segment.
type bench struct {
	t                  *testing.T
	trail, anchor, key string
	file               string   // the segment that is changed
	bytes              []byte   // as it was
	lines              [][]byte // each with its line feed
	other              [][]byte // lines of the other stream
}

// newBench copies a trail. The last stream is the one to change, since what comes
// later vouches for what was before.
func newBench(t *testing.T, from *written) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, trail: filepath.Join(dir, "trail"), anchor: filepath.Join(dir, "anchor"), key: from.key}
	require.NoError(t, os.CopyFS(b.trail, os.DirFS(from.trail)))
	require.NoError(t, os.CopyFS(b.anchor, os.DirFS(from.anchor)))
	segments, err := filepath.Glob(filepath.Join(b.trail, "*", "*.log"))
	require.NoError(t, err)
	require.Len(t, segments, 2)
	b.file = segments[1]
	b.bytes, err = os.ReadFile(b.file)
	require.NoError(t, err)
	b.lines = bytes.SplitAfter(b.bytes, []byte("\n"))
	b.lines = b.lines[:len(b.lines)-1]
	other, err := os.ReadFile(segments[0])
	require.NoError(t, err)
	b.other = bytes.SplitAfter(other, []byte("\n"))
	b.other = b.other[:len(b.other)-1]
	require.Greater(t, len(b.lines), 12)
	require.Equal(t, exitOK, b.verify(true).code)
	require.Equal(t, exitUnknown, b.verify(false).code)
	return b
}

// alone takes the other stream away, whose word the one that is left does not
// need: for what is done thousands of times.
func (b *bench) alone(source *written) {
	b.t.Helper()
	segments, err := filepath.Glob(filepath.Join(source.trail, "*", "*.log"))
	require.NoError(b.t, err)
	require.NoError(b.t, os.RemoveAll(filepath.Dir(b.file)))
	b.file = filepath.Join(b.trail, filepath.Base(filepath.Dir(segments[0])), filepath.Base(segments[0]))
	b.lines, b.bytes, b.other = b.other, bytes.Join(b.other, nil), nil
	require.Equal(b.t, exitUnknown, b.verify(false).code)
}

func (b *bench) verify(anchored bool) result {
	args := []string{"verify", b.trail, "--key", b.key}
	if anchored {
		args = append(args, "--anchor", b.anchor)
	}
	return cli(args...)
}

// with puts lines in the place of those that are there.
func (b *bench) with(lines [][]byte) { b.put(bytes.Join(lines, nil)) }

func (b *bench) put(content []byte) {
	b.t.Helper()
	require.NoError(b.t, os.WriteFile(b.file, content, 0o600))
}

// demand demands an exit code.
func (b *bench) demand(code int, anchored bool, what string, args ...any) {
	b.t.Helper()
	if r := b.verify(anchored); r.code != code {
		b.t.Errorf(what+": exit code %d, not %d, anchor: %v\n%s%s", append(args, r.code, code, anchored, r.stdout, r.stderr)...)
	}
}

func isCheckpoint(line []byte) bool { return bytes.HasPrefix(line, []byte(`{"cp":`)) }

func TestPCI10_3_4_EveryChangeOfATrailIsTampering(t *testing.T) {
	source := theTrail(t)

	t.Run("every byte", func(t *testing.T) {
		b := newBench(t, source)
		b.alone(source)
		for _, i := range everyByte(b.bytes) {
			bad := bytes.Clone(b.bytes)
			bad[i] ^= 1 << rand.IntN(8)
			b.put(bad)
			b.demand(exitTamper, false, "byte %d, %q instead of %q", i, bad[i], b.bytes[i])
		}
	})
	t.Run("every line deleted", func(t *testing.T) {
		b := newBench(t, source)
		for i := range b.lines[:len(b.lines)-1] {
			b.with(slices.Concat(b.lines[:i], b.lines[i+1:]))
			b.demand(exitTamper, false, "without line %d of %d", i+1, len(b.lines))
		}
	})
	t.Run("every line duplicated", func(t *testing.T) {
		b := newBench(t, source)
		for i := range b.lines {
			b.with(slices.Concat(b.lines[:i+1], b.lines[i:]))
			b.demand(exitTamper, false, "line %d twice", i+1)
			b.with(slices.Concat(b.lines, b.lines[i:i+1]))
			b.demand(exitTamper, false, "line %d again at the end", i+1)
		}
	})
	t.Run("every two lines swapped", func(t *testing.T) {
		b := newBench(t, source)
		for i := range b.lines {
			for j := range i {
				swapped := slices.Clone(b.lines)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				b.with(swapped)
				b.demand(exitTamper, false, "lines %d and %d swapped", j+1, i+1)
			}
		}
	})
	t.Run("a line inserted everywhere", func(t *testing.T) {
		b := newBench(t, source)
		for _, line := range []string{"\n", "{}\n", `{"event":"login"}` + "\n", string(b.other[0]), string(b.other[1]), "\x00\x00\n"} {
			for i := range len(b.lines) + 1 {
				b.with(slices.Concat(b.lines[:i], [][]byte{[]byte(line)}, b.lines[i:]))
				b.demand(exitTamper, false, "%.20q before line %d", line, i+1)
			}
		}
	})
	t.Run("checkpoints stripped", func(t *testing.T) {
		b := newBench(t, source)
		records := slices.DeleteFunc(slices.Clone(b.lines), isCheckpoint)
		b.with(records)
		b.demand(exitTamper, false, "all of them")
		last := len(b.lines) - 1
		b.with(append(slices.Clone(records), b.lines[last]))
		b.demand(exitTamper, false, "all but the last")
	})
	t.Run("two streams spliced", func(t *testing.T) {
		b := newBench(t, source)
		for i := range min(len(b.lines), len(b.other)) {
			b.with(slices.Concat(b.lines[:i+1], b.other[i+1:]))
			if i+1 < len(b.other) {
				b.demand(exitTamper, false, "the other's end behind line %d", i+1)
			}
			b.with(slices.Concat(b.other[:i+1], b.lines[i+1:]))
			b.demand(exitTamper, false, "behind the other's beginning of %d", i+1)
		}
		b.with(slices.Concat(b.lines, b.other))
		b.demand(exitTamper, false, "one behind the other")
		b.with(b.other)
		b.demand(exitTamper, false, "one in the place of the other")
		b.put(b.bytes)
		second := strings.Replace(b.file, "00000000.log", "00000001.log", 1)
		require.NoError(t, os.WriteFile(second, bytes.Join(b.other, nil), 0o600))
		b.demand(exitTamper, false, "the other as a second segment")
		require.NoError(t, os.Remove(second))

		subs, err := filepath.Glob(filepath.Join(b.trail, "*"))
		require.NoError(t, err)
		require.NoError(t, os.Rename(subs[0], subs[0]+".away"))
		require.NoError(t, os.Rename(subs[1], subs[0]))
		require.NoError(t, os.Rename(subs[0]+".away", subs[1]))
		b.demand(exitTamper, false, "their names changed")
	})
	t.Run("signed with another key", func(t *testing.T) {
		b := newBench(t, source)
		for name, forge := range forgeries(t, b) {
			b.put(forge)
			b.demand(exitTamper, false, "%s", name)
		}
	})
}

func TestWhatIsMissingAtTheEndIsSeenByAnAnchorOnly(t *testing.T) {
	source := theTrail(t)
	b := newBench(t, source)
	size := 0
	for i, line := range b.lines[:len(b.lines)-1] {
		size += len(line)
		b.put(b.bytes[:size])
		b.demand(exitTamper, true, "truncated behind line %d of %d", i+1, len(b.lines))
		b.demand(exitUnknown, false, "truncated behind line %d of %d", i+1, len(b.lines))
	}
	b.put(nil)
	b.demand(exitTamper, true, "emptied")
	b.demand(exitUnknown, false, "emptied")

	b.put(b.bytes)
	require.NoError(t, os.RemoveAll(b.trail))
	require.NoError(t, os.CopyFS(b.trail, os.DirFS(source.older)))
	b.demand(exitTamper, true, "an older copy")
	b.demand(exitUnknown, false, "an older copy")

	require.NoError(t, os.RemoveAll(filepath.Join(b.trail, filepath.Base(filepath.Dir(b.file)))))
	b.demand(exitTamper, true, "without a stream")
}

// A crash tears the end; whoever cries wolf then is not believed later.
func TestATornEndIsIncompleteAndNeverTampering(t *testing.T) {
	source := theTrail(t)
	b := newBench(t, source)
	b.alone(source)
	for _, n := range everyByte(b.bytes) {
		b.put(b.bytes[:n])
		b.demand(exitUnknown, false, "torn behind byte %d of %d", n, len(b.bytes))
	}

	// With an anchor, which was never told of the last batch.
	b = newBench(t, source)
	last := len(b.lines) - 1
	require.True(t, isCheckpoint(b.lines[last]) && !isCheckpoint(b.lines[last-1]) && isCheckpoint(b.lines[last-2]))
	heads, err := filepath.Glob(filepath.Join(b.anchor, "*.heads"))
	require.NoError(t, err)
	file := heads[len(heads)-1]
	known, err := os.ReadFile(file)
	require.NoError(t, err)
	cert, _, _ := bytes.Cut(known, []byte("\n"))
	require.NoError(t, os.WriteFile(file, slices.Concat(cert, []byte("\n"), b.lines[last-2]), 0o600))
	acknowledged := len(bytes.Join(b.lines[:last-1], nil))
	for _, n := range everyByte(b.bytes[acknowledged:]) {
		b.put(b.bytes[:acknowledged+n])
		b.demand(exitUnknown, true, "torn behind byte %d of %d", acknowledged+n, len(b.bytes))
	}
}

// everyByte returns all positions in b. The race detector makes everything many
// times slower and has nothing to find in repetitions, so with it they are a part
// of them, another one each time.
func everyByte(b []byte) []int {
	step := 1
	if raceDetector {
		step = 50
	}
	var list []int
	for i := rand.IntN(step); i < len(b); i += step {
		list = append(list, i)
	}
	return list
}

// The exit code of the process is what a cron job sees.
func TestTheRealCommandExitsWithTheSameCodes(t *testing.T) {
	source := theTrail(t)
	b := newBench(t, source)
	real := func(args ...string) int {
		cmd := exec.Command(source.command, args...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			require.NoError(t, err, string(out))
		}
		return cmd.ProcessState.ExitCode()
	}
	require.Equal(t, exitOK, real("verify", b.trail, "--key", b.key, "--anchor", b.anchor))
	require.Equal(t, exitUnknown, real("verify", b.trail, "--key", b.key))
	require.Equal(t, exitUsage, real("verify", b.trail, "--key"))
	require.Equal(t, exitIO, real("verify", b.trail+".none", "--key", b.key))
	b.with(b.lines[1:])
	require.Equal(t, exitTamper, real("verify", b.trail, "--key", b.key))
	require.Equal(t, exitTamper, real("events", b.trail, "--key", b.key, "--anchor", b.anchor))
	b.put(b.bytes)
	proof := filepath.Join(t.TempDir(), "proof")
	stream := fmt.Sprint("--stream=", b.stream())
	out, err := exec.Command(source.command, "prove", b.trail, "--key", b.key, "--seq=1", stream).Output()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(proof, out, 0o600))
	require.Equal(t, exitOK, real("verify-proof", proof, "--key", b.key))
	require.NoError(t, os.WriteFile(proof, bytes.Replace(out, []byte("index 1"), []byte("index 0"), 1), 0o600))
	require.Equal(t, exitTamper, real("verify-proof", proof, "--key", b.key))
}

// stream is the name of the stream that is changed.
func (b *bench) stream() string {
	_, rest, _ := strings.Cut(string(b.lines[0]), `"stream":"`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}
