package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/auditlog"
)

// result is what a command did.
type result struct {
	code   int
	stdout string
	stderr string
}

// cli runs a command.
func cli(args ...string) result {
	var out, errs bytes.Buffer
	code := run(args, &out, &errs)
	return result{code, out.String(), errs.String()}
}

// place is a directory with keys, a trail and an anchor.
type place struct {
	t                  *testing.T
	trail, anchor, key string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir := t.TempDir()
	return &place{t: t, trail: filepath.Join(dir, "trail"), anchor: filepath.Join(dir, "anchor"), key: filepath.Join(dir, "keys", "trail.pub")}
}

// open begins a stream.
func (p *place) open(change ...func(*auditlog.Config)) *auditlog.Log {
	p.t.Helper()
	root, name, _, err := auditlog.KeyFiles(filepath.Dir(p.key), "test")
	require.NoError(p.t, err)
	cfg := auditlog.Config{Dir: p.trail, Root: root, RootName: name, Origin: "host", AnchorEvery: time.Millisecond,
		Anchors: []auditlog.Anchor{auditlog.FileAnchor(p.anchor)}}
	for _, f := range change {
		f(&cfg)
	}
	log, err := auditlog.Open(cfg)
	require.NoError(p.t, err)
	return log
}

// write appends events, each in a batch of its own.
func write(t *testing.T, log *auditlog.Log, events ...string) {
	t.Helper()
	for _, e := range events {
		require.NoError(t, log.Append(context.Background(), [][]byte{fmt.Appendf(nil, `{"event":%q}`, e)}))
	}
}

// filled is a place with a closed stream of these events.
func filled(t *testing.T, events ...string) *place {
	t.Helper()
	p := newPlace(t)
	log := p.open()
	write(t, log, events...)
	require.NoError(t, log.Close())
	return p
}

// verify runs the command with everything the place has.
func (p *place) verify(flags ...string) result {
	return cli(append([]string{"verify", p.trail, "--anchor", p.anchor}, flags...)...)
}

// segment returns the only file of lines.
func (p *place) segment() string {
	p.t.Helper()
	found, err := filepath.Glob(filepath.Join(p.trail, "*", "*.log"))
	require.NoError(p.t, err)
	require.Len(p.t, found, 1)
	return found[0]
}

// change rewrites the only segment.
func (p *place) change(f func(string) string) {
	p.t.Helper()
	b, err := os.ReadFile(p.segment())
	require.NoError(p.t, err)
	after := f(string(b))
	require.NotEqual(p.t, string(b), after)
	require.NoError(p.t, os.WriteFile(p.segment(), []byte(after), 0o600))
}

func lines(out string) []string {
	var list []string
	for line := range strings.Lines(out) {
		list = append(list, strings.TrimSuffix(line, "\n"))
	}
	return list
}
