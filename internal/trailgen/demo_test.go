package trailgen

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
)

// A week at two hosts: to be looked at if SCSGUARD_DEMO names a directory, of
// SCSGUARD_DEMO_DAYS days.
func TestADemoIsATrailThatVerifies(t *testing.T) {
	dir, days := os.Getenv("SCSGUARD_DEMO"), 2
	if dir == "" {
		dir = t.TempDir()
	}
	if n, err := strconv.Atoi(os.Getenv("SCSGUARD_DEMO_DAYS")); err == nil {
		days = n
	}
	cfg := Config{Dir: filepath.Join(dir, "trail"), Anchor: filepath.Join(dir, "anchor"),
		Timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour},
		Limit:    scsguard.Limit{Max: 2, OnExceed: scsguard.Warn}}
	require.NoDirExists(t, cfg.Dir, "a demo is written into a new directory")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "keys"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys", "trail.pub"), []byte(VerifierKey()+"\n"), 0o600))
	managers := Managers(2)
	synctest.Test(t, func(t *testing.T) {
		w, err := New(cfg, managers)
		require.NoError(t, err)
		a := NewActor(w, rand.New(rand.NewPCG(1, 1)), 12, 16)
		for end := time.Now().Add(time.Duration(days) * 24 * time.Hour); time.Now().Before(end); {
			a.Step()
			a.Pause(2 * time.Minute)
		}
		require.NoError(t, w.Close())
	})
	rep, err := auditlog.Verify(context.Background(), cfg.Dir, auditlog.VerifyOptions{Keys: []string{VerifierKey()}, Anchors: []auditlog.Anchor{auditlog.FileAnchor(cfg.Anchor)}})
	require.NoError(t, err)
	require.True(t, rep.Complete())
	require.Greater(t, rep.Total, int64(1000*days))
	t.Logf("%d records; ask it: scsguard sessions %s --anchor %s", rep.Total, cfg.Dir, cfg.Anchor)
}
