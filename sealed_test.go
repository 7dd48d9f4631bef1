package scsguard_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
)

// eioFile is a segment on a disk that breaks.
type eioFile struct {
	*os.File
	broken *atomic.Bool
}

func (f eioFile) Write(b []byte) (int, error) {
	if f.broken.Load() {
		return 0, syscall.EIO
	}
	return f.File.Write(b)
}

// sealedLog is a sealed log on a disk that can be broken, and how to verify it.
func sealedLog(t *testing.T) (log *auditlog.Log, broken *atomic.Bool, verify func() *auditlog.Report) {
	t.Helper()
	broken = new(atomic.Bool)
	_, root, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	dir, anchor := t.TempDir(), auditlog.FileAnchor(t.TempDir())
	log, err = auditlog.Open(auditlog.Config{Dir: dir, Root: root, Anchors: []auditlog.Anchor{anchor}, MinFree: -1, WarnFree: 1,
		OpenFile: func(name string) (auditlog.File, error) {
			f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			return eioFile{f, broken}, err
		}})
	require.NoError(t, err)
	return log, broken, func() *auditlog.Report {
		rep, err := auditlog.Verify(context.Background(), dir, auditlog.VerifyOptions{Keys: []string{log.VerifierKey()}, Anchors: []auditlog.Anchor{anchor}})
		require.NoError(t, err)
		return rep
	}
}

func TestAU5_WithABrokenDiskLoginsAreRefusedLogoutsWorkAndTheLogSaysWhatIsMissing(t *testing.T) {
	sm := newManager()
	synctest.Test(t, func(t *testing.T) {
		log, broken, verify := sealedLog(t)
		a := newApp(t, sm, func(cfg *scsguard.Config) { cfg.Audit = log })
		b := a.browser()
		session := b.login(t, "alice")
		require.True(t, a.guard.Health().OK)

		broken.Store(true)
		start := time.Now()
		require.Equal(t, http.StatusServiceUnavailable, a.browser().get("/login?user=bob").Code)
		copied := b.copy()
		require.Equal(t, 200, b.get("/logout").Code)
		require.Equal(t, "401 ended_by_you", copied.whoami())
		require.LessOrEqual(t, time.Since(start), 2*time.Second)
		for i := range 7600 {
			a.guard.LoginFailed(context.Background(), fmt.Sprint("u", i), "password")
		}
		lost := a.guard.Counters().Lost[scsguard.EventLoginFailed]
		require.Greater(t, lost, uint64(99))
		time.Sleep(time.Minute)
		require.False(t, a.guard.Health().Serving())

		broken.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.True(t, a.guard.Health().OK, "without a restart: %v", a.guard.Health().Problems)
		a.browser().login(t, "carol")
		require.NoError(t, a.guard.Close(context.Background()))
		require.NoError(t, log.Close())

		rep := verify()
		require.Empty(t, rep.Damage)
		require.Equal(t, 3, rep.ExitCode(), "intact, and with a gap that everybody can see")
		missing := int64(0)
		for _, st := range rep.Streams {
			for _, gap := range st.Gaps {
				missing += gap.Counts["login_failed"]
			}
		}
		require.EqualValues(t, lost, missing)
		ended := 0
		for r, err := range rep.Records(context.Background()) {
			require.NoError(t, err)
			if string(r.Event[:len(`{"id":"`)+len(session)+4]) == `{"id":"`+session+`/end` {
				ended++
			}
		}
		require.Equal(t, 1, ended)
	})
}
