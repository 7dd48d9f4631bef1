package auditlog

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSmoke(t *testing.T) {
	dir, anchorDir := t.TempDir(), t.TempDir()
	_, root, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	l, err := Open(Config{Dir: dir, Root: root, Origin: "shop/web-3", Anchors: []Anchor{FileAnchor(anchorDir)}, SegmentBytes: 8192})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if err := l.Append(context.Background(), [][]byte{fmt.Appendf(nil, `{"n":%d,"g":%d}`, i, g)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	rep, err := Verify(t.Context(), dir, VerifyOptions{Keys: []string{l.VerifierKey()}, Anchors: []Anchor{FileAnchor(anchorDir)}})
	require.NoError(t, err)
	t.Logf("%+v", rep)
	require.NoError(t, l.Close())
	rep, err = Verify(t.Context(), dir, VerifyOptions{Keys: []string{l.VerifierKey()}, Anchors: []Anchor{FileAnchor(anchorDir)}})
	require.NoError(t, err)
	t.Logf("%+v", rep)
	require.Equal(t, 0, rep.ExitCode())
	n := 0
	for r, err := range rep.Records(t.Context()) {
		require.NoError(t, err)
		if n < 2 || n > 405 {
			t.Logf("%s %s", r.Event, r.Line)
		}
		n++
	}
	t.Log(n, l.Health(), l.Stats())
	l, err = Open(Config{Dir: dir, Root: root, Origin: "shop/web-3", Anchors: []Anchor{FileAnchor(anchorDir)}, SegmentBytes: 8192})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	rep, err = Verify(t.Context(), dir, VerifyOptions{Keys: []string{l.VerifierKey()}, Anchors: []Anchor{FileAnchor(anchorDir)}})
	require.NoError(t, err)
	t.Logf("%+v", rep)
	require.Equal(t, 0, rep.ExitCode())
}
