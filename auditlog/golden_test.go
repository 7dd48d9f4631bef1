package auditlog

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const golden = "testdata/golden"

// goldenLogs are the logs in testdata/golden and the exit code of each without
// an anchor. They were written once: whoever changes the format finds out here.
// GOLDEN=write writes them anew.
var goldenLogs = map[string]int{
	"closed": 3, "torn": 3, "unclosed": 3, "expired": 3,
	"altered": 2, "missing": 2, "signature": 2, "key": 2, "garbage": 2, "removed": 2,
}

func TestTheGoldenFilesAreReadAsTheyWereWritten(t *testing.T) {
	if os.Getenv("GOLDEN") == "write" {
		writeGolden(t)
	}
	for name, want := range goldenLogs {
		rep := check(t, filepath.Join(golden, name))
		require.Equal(t, want, rep.ExitCode(), "%s: %v", name, rep.Damage)
	}
	rep := check(t, filepath.Join(golden, "closed"))
	require.Equal(t, StateClosed, rep.Streams[0].State)
	require.Len(t, events(t, rep), 9)
	require.Equal(t, StateUnclosed, check(t, filepath.Join(golden, "unclosed")).Streams[0].State)
	require.Positive(t, check(t, filepath.Join(golden, "torn")).Streams[0].Torn)
	require.Positive(t, check(t, filepath.Join(golden, "expired")).Streams[0].Expired)
}

// The package comment is enough to write a second implementation from.
func TestAVerifierInAnotherLanguageAgreesOnTheGoldenFiles(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("python3 is missing")
		}
		t.Skip("install python3 to run the second verifier")
	}
	for name, want := range goldenLogs {
		cmd := exec.Command(python, "testdata/verify.py", filepath.Join(golden, "root.vkey"), filepath.Join(golden, name))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.True(t, errors.As(err, &exit), "%s", out)
		require.Equal(t, want, exit.ExitCode(), "%s: %s", name, out)
		if want == 3 {
			for _, st := range check(t, filepath.Join(golden, name)).Streams {
				require.Contains(t, string(out), st.Name+" ")
			}
		}
	}
}

func writeGolden(t *testing.T) {
	require.NoError(t, os.RemoveAll(golden))
	require.NoError(t, os.MkdirAll(golden, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(golden, "root.vkey"), []byte(rootVerifier(t)+"\n"), 0o644))
	base := t.TempDir()
	written(t, base)
	whole := load(t, base)
	delete(whole, filepath.Base(check(t, base).Streams[0].Dir)+"/"+lockName)
	names := whole.segments()
	last := names[len(names)-1]
	store := func(name string, change func(dirTree)) {
		tree := make(dirTree)
		for k, v := range whole {
			tree[k] = bytes.Clone(v)
		}
		change(tree)
		tree.store(t, filepath.Join(golden, name))
	}
	lines := splitLines(whole[last])
	store("closed", func(dirTree) {})
	store("unclosed", func(d dirTree) { d[last] = join(lines[:len(lines)-2]) })
	store("torn", func(d dirTree) { d[last] = whole[last][:len(whole[last])-300] })
	store("altered", func(d dirTree) { d[names[0]] = bytes.Replace(d[names[0]], []byte("192.0"), []byte("192.1"), 1) })
	store("missing", func(d dirTree) { d[last] = join(append(lines[:1:1], lines[2:]...)) })
	store("garbage", func(d dirTree) { d[last] = append(d[last], '}') })
	store("signature", func(d dirTree) {
		i := bytes.LastIndexByte(d[last], '=')
		c := &d[last][i-10]
		*c = map[bool]byte{true: 'B', false: 'A'}[*c == 'A']
	})
	other := t.TempDir()
	cfg := config(other)
	secret, _, err := GenerateKey(randReader{}, "root")
	require.NoError(t, err)
	cfg.Root, _, err = ParseSigningKey(secret)
	require.NoError(t, err)
	l := open(t, cfg)
	keep(t, l, event(1))
	require.NoError(t, l.Close())
	tree := load(t, other)
	delete(tree, filepath.Base(l.Stream())+"/"+lockName)
	tree.store(t, filepath.Join(golden, "key"))

	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		written(t, dir)
		time.Sleep(2 * MinRetention)
		l, err := Open(config(dir))
		require.NoError(t, err)
		_, err = l.Expire(t.Context(), Expiry{OlderThan: MinRetention, Policy: "one year"})
		require.NoError(t, err)
		require.NoError(t, l.Close())
		tree := load(t, dir)
		for name := range tree {
			if strings.HasSuffix(name, lockName) {
				delete(tree, name)
			}
		}
		tree.store(t, filepath.Join(golden, "expired"))
		for name := range tree {
			if strings.HasPrefix(name, filepath.Base(l.Stream())) {
				delete(tree, name)
			}
		}
		tree.store(t, filepath.Join(golden, "removed"))
	})
}
