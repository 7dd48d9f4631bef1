//go:build !windows

package auditlog

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// within fails the test when f has not returned after a while.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: it hangs", what)
	}
}

// Whoever can write to the directory of the log can put there what is no file.
// A verifier, and the application at its start, must neither wait for it nor
// fall for it.
func TestWhatIsNoFileHoldsUpNobodyAndIsTampering(t *testing.T) {
	odd := map[string]func(name string) error{
		"a named pipe":          func(name string) error { return syscall.Mkfifo(name, 0o600) },
		"a directory":           func(name string) error { return os.Mkdir(name, 0o700) },
		"a device":              func(name string) error { return os.Symlink("/dev/zero", name) },
		"a link to nothing":     func(name string) error { return os.Symlink("nowhere", name) },
		"a link to itself":      func(name string) error { return os.Symlink(filepath.Base(name), name) },
		"a link to a directory": func(name string) error { return os.Symlink("/", name) },
	}
	for what, put := range odd {
		for _, file := range []string{"00000000.log", "last", lockName} {
			name := what + " for " + file
			dir, anchor := t.TempDir(), t.TempDir()
			written(t, dir, FileAnchor(anchor))
			segs := load(t, dir).segments()
			path := filepath.Join(dir, filepath.Dir(segs[0]), file)
			if file == "last" {
				path = filepath.Join(dir, segs[len(segs)-1])
			}
			require.NoError(t, os.Remove(path))
			require.NoError(t, put(path))
			within(t, name, func() {
				rep, err := Verify(t.Context(), dir, VerifyOptions{Keys: []string{rootVerifier(t)}, Anchors: []Anchor{FileAnchor(anchor)}})
				switch {
				case file == lockName:
					if err != nil || rep.ExitCode() != 0 {
						t.Errorf("%s: nobody holds the lock: %v", name, err)
					}
				case err != nil:
					t.Errorf("%s: %v", name, err)
				case rep.ExitCode() != 2:
					t.Errorf("%s: exit code %d", name, rep.ExitCode())
				}
				alarms := make(chan Alarm, 100)
				cfg := config(dir)
				cfg.OnAlarm = func(a Alarm) { alarms <- a }
				l, err := Open(cfg)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if file != lockName {
					<-alarms
				}
				if err := l.Append(t.Context(), asBytes([]string{event(1)})); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				_ = l.Close()
			})
		}
	}
}

func TestAnAnchorThatIsNoFileHoldsUpNobody(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	written(t, dir, FileAnchor(anchor))
	files, err := filepath.Glob(filepath.Join(anchor, "*.heads"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(files[0]))
	require.NoError(t, syscall.Mkfifo(files[0], 0o600))
	within(t, "a named pipe", func() {
		_, err := Verify(t.Context(), dir, VerifyOptions{Keys: []string{rootVerifier(t)}, Anchors: []Anchor{FileAnchor(anchor)}})
		if err == nil {
			t.Error("the anchor cannot be read, and that is no verdict")
		}
		cfg := config(dir)
		cfg.Anchors = []Anchor{FileAnchor(anchor)}
		l, err := Open(cfg)
		if err != nil {
			t.Error(err)
			return
		}
		_ = l.Close()
	})
}

// A link in the place of a file that retention writes must not lead elsewhere.
func TestRetentionWritesThroughNoLink(t *testing.T) {
	name := filepath.Join(t.TempDir(), "precious")
	require.NoError(t, os.WriteFile(name, []byte("precious"), 0o600))
	dir := t.TempDir()
	link := filepath.Join(dir, "00000000.leaves.new")
	require.NoError(t, os.Symlink(name, link))
	require.NoError(t, writeFile(link, []byte("leaves")))
	kept, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept))
	made, err := os.ReadFile(link)
	require.NoError(t, err)
	require.Equal(t, "leaves", string(made))
}

// Nor does the mark of a case.
func TestAMarkIsWrittenThroughNoLink(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	written(t, dir)
	rep := check(t, dir)
	mark := filepath.Join(dir, rep.Streams[0].Dir, holdName(0))
	for _, name := range []string{"precious", "missing"} {
		target := filepath.Join(elsewhere, name)
		if name == "precious" {
			require.NoError(t, os.WriteFile(target, []byte(name), 0o600))
		}
		require.NoError(t, os.Symlink(target, mark))
		_, err := rep.Hold(t.Context(), rep.Streams[0].Name, 0, 0, "case 7")
		require.ErrorIs(t, err, errNoFile)
		require.NoError(t, os.Remove(mark))
	}
	kept, err := os.ReadFile(filepath.Join(elsewhere, "precious"))
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept))
	require.NoFileExists(t, filepath.Join(elsewhere, "missing"))
	for range 2 { // and two cases are two lines
		_, err := rep.Hold(t.Context(), rep.Streams[0].Name, 0, 0, "case 7")
		require.NoError(t, err)
	}
	kept, err = os.ReadFile(mark)
	require.NoError(t, err)
	require.Equal(t, "case 7\ncase 7\n", string(kept))
}

// A stream that stands elsewhere behind a link is not there.
func TestALinkToAStreamIsNoStream(t *testing.T) {
	dir, anchor, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
	written(t, dir, FileAnchor(anchor))
	sub := check(t, dir).Streams[0].Dir
	require.NoError(t, os.Rename(filepath.Join(dir, sub), filepath.Join(elsewhere, sub)))
	require.NoError(t, os.Symlink(filepath.Join(elsewhere, sub), filepath.Join(dir, sub)))
	require.Equal(t, 3, check(t, dir).ExitCode())
	require.Equal(t, 2, check(t, dir, withAnchor(anchor)).ExitCode())
}
