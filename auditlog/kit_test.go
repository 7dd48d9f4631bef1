package auditlog

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rootKey is the key of most tests, the same in each run.
func rootKey() crypto.Signer { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)) }

func rootVerifier(t testing.TB) string {
	key, err := VerifierKey(rootKey(), "root")
	require.NoError(t, err)
	return key
}

// config is what most tests open.
func config(dir string) Config {
	return Config{Dir: dir, Root: rootKey(), RootName: "root", Origin: "shop/web-3", MinFree: -1, WarnFree: 1}
}

func open(t testing.TB, cfg Config) *Log {
	l, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// keep appends records, one batch, and demands that it works.
func keep(t testing.TB, l *Log, records ...string) {
	require.NoError(t, l.Append(context.Background(), asBytes(records)))
}

func asBytes(records []string) (list [][]byte) {
	for _, r := range records {
		list = append(list, []byte(r))
	}
	return list
}

func event(i int) string {
	return fmt.Sprintf(`{"event":"login","user":"u%d","ip":"192.0.2.%d"}`, i, i%250)
}

func check(t testing.TB, dir string, more ...func(*VerifyOptions)) *Report {
	opts := VerifyOptions{Keys: []string{rootVerifier(t)}}
	for _, f := range more {
		f(&opts)
	}
	rep, err := Verify(context.Background(), dir, opts)
	require.NoError(t, err)
	return rep
}

func withAnchor(dir string) func(*VerifyOptions) {
	return func(o *VerifyOptions) { o.Anchors = append(o.Anchors, FileAnchor(dir)) }
}

func withPin(h Head) func(*VerifyOptions) {
	return func(o *VerifyOptions) { o.Pins = append(o.Pins, h) }
}

// written is a log that was written and closed: batches of one and of several
// records, in two segments.
func written(t testing.TB, dir string, anchors ...Anchor) {
	cfg := config(dir)
	cfg.SegmentBytes, cfg.Anchors = 2048, anchors
	l := open(t, cfg)
	for i := range 3 {
		keep(t, l, event(10*i))
		keep(t, l, event(10*i+1), event(10*i+2))
	}
	require.NoError(t, l.Close())
}

// tree is a directory in memory.
type dirTree map[string][]byte

func load(t testing.TB, dir string) dirTree {
	tree := make(dirTree)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		tree[filepath.ToSlash(rel)], err = os.ReadFile(path)
		return err
	}))
	return tree
}

func (d dirTree) store(t testing.TB, dir string) {
	for name, b := range d {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, b, 0o600))
	}
}

// segmentsOf returns the names of the segments, in order.
func (d dirTree) segments() (names []string) {
	for name := range d {
		if strings.HasSuffix(name, ".log") {
			names = append(names, name)
		}
	}
	return sorted(names)
}

func sorted(names []string) []string {
	for i := range names {
		for j := i; j > 0 && names[j] < names[j-1]; j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
	return names
}

func splitLines(b []byte) [][]byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func join(lines [][]byte) []byte { return bytes.Join(lines, nil) }

// events returns the events of a report's records, without the log's own.
func events(t testing.TB, rep *Report) (list []string) {
	for r, err := range rep.Records(context.Background()) {
		require.NoError(t, err)
		if !r.Own {
			list = append(list, string(r.Event))
		}
	}
	return list
}

// ownEvents returns the log's own records of a kind, of all streams.
func ownEvents(t testing.TB, rep *Report, kind string) (list []own) {
	for r, err := range rep.Records(context.Background()) {
		require.NoError(t, err)
		if !r.Own {
			continue
		}
		o, err := decodeOwn(r.Event)
		require.NoError(t, err)
		if o.Kind == kind {
			list = append(list, o)
		}
	}
	return list
}

// heavy reports whether the long variants were asked for.
func heavy() bool { return os.Getenv("HEAVY") != "" }
