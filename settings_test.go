package scsguard_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// refusedFields returns the fields that New complains about.
func refusedFields(t *testing.T, change func(*scs.SessionManager, *scsguard.Config)) []string {
	t.Helper()
	sm, cfg := newManager(), scsguard.Config{Audit: scsguard.Discard(), SweepEvery: -1}
	change(sm, &cfg)
	g, err := scsguard.New(sm, cfg)
	if err == nil {
		require.NoError(t, g.Close(context.Background()))
		return nil
	}
	var config *scsguard.ConfigError
	require.ErrorAs(t, err, &config)
	var fields []string
	for _, f := range config.Fields {
		fields = append(fields, f.Field)
	}
	return fields
}

func TestEachWeaknessOfTheCookieIsRefusedByItself(t *testing.T) {
	for name, c := range map[string]struct {
		weaken func(*scs.SessionCookie)
		field  string
	}{
		"over plain HTTP":         {func(c *scs.SessionCookie) { c.Secure = false }, "Secure"},
		"for scripts":             {func(c *scs.SessionCookie) { c.HttpOnly = false }, "HttpOnly"},
		"from other sites":        {func(c *scs.SessionCookie) { c.SameSite = http.SameSiteNoneMode }, "SameSite"},
		"as the browser likes":    {func(c *scs.SessionCookie) { c.SameSite = http.SameSiteDefaultMode }, "SameSite"},
		"without the prefix":      {func(c *scs.SessionCookie) { c.Name = "session" }, "Name"},
		"with the prefix written": {func(c *scs.SessionCookie) { c.Name = "__host-session" }, "Name"},
		"below a path":            {func(c *scs.SessionCookie) { c.Path = "/app" }, "Path"},
		"with a domain":           {func(c *scs.SessionCookie) { c.Domain = "example.com" }, "Domain"},
	} {
		t.Run(name, func(t *testing.T) {
			fields := refusedFields(t, func(sm *scs.SessionManager, _ *scsguard.Config) { c.weaken(&sm.Cookie) })
			require.Equal(t, []string{"SessionManager.Cookie." + c.field}, fields)
		})
	}
	require.Empty(t, refusedFields(t, func(sm *scs.SessionManager, _ *scsguard.Config) { sm.Cookie.SameSite = http.SameSiteStrictMode }))
}

func TestTheBoundsOfTheConfiguration(t *testing.T) {
	key := func(n int) [][]byte { return [][]byte{bytes.Repeat([]byte{1}, n)} }
	for name, c := range map[string]struct {
		fine, wrong func(*scs.SessionManager, *scsguard.Config)
		field       string
	}{
		"a key": {
			func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.Keys = key(32) },
			func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.Keys = key(31) }, "Keys[0]"},
		"the length of a namespace": {
			func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.Namespace = strings.Repeat("x", 64) },
			func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.Namespace = strings.Repeat("x", 65) }, "Namespace"},
		"the letters of a namespace": {
			func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.Namespace = "Staff_2.eu-west" },
			func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.Namespace = "staff@eu" }, "Namespace"},
		"the time for a call": {
			func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.CallTimeout = scsguard.Lease / 2 },
			func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.CallTimeout = scsguard.Lease/2 + 1 }, "CallTimeout"},
		"the page for errors": {
			func(*scs.SessionManager, *scsguard.Config) {},
			func(sm *scs.SessionManager, _ *scsguard.Config) { sm.ErrorFunc = nil }, "SessionManager.ErrorFunc"},
		"idle and absolute": {
			func(_ *scs.SessionManager, cfg *scsguard.Config) {
				cfg.Timeouts = scsguard.Timeouts{Idle: time.Hour, Absolute: time.Hour}
			},
			func(_ *scs.SessionManager, cfg *scsguard.Config) {
				cfg.Timeouts = scsguard.Timeouts{Idle: time.Hour + 1, Absolute: time.Hour}
			}, "Timeouts.Idle"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, refusedFields(t, c.fine))
			require.Equal(t, []string{c.field}, refusedFields(t, c.wrong))
		})
	}
}

func TestACookieWeakenedAfterNewIsReportedUntilItIsPutRight(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		a.sm.Cookie.HttpOnly = false
		for range 3 {
			require.Equal(t, "alice", b.whoami())
		}
		problems := a.guard.Health().Problems
		require.Len(t, problems, 1)
		require.Equal(t, scsguard.ComponentConfig, problems[0].Component)
		require.ErrorContains(t, problems[0].Err, "HttpOnly")
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventConfigChanged), 1, "told once")
		a.sm.Cookie.HttpOnly = true
		require.Equal(t, "alice", b.whoami())
		require.True(t, a.guard.Health().OK)
	})
}

func TestAManagerChangedAfterNewServesAgainWhenItIsPutRight(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.sm.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusInternalServerError) }
		b := a.browser()
		b.login(t, "alice")
		guarded := a.sm.Store
		a.sm.Store = a.guard.Store()
		require.Equal(t, http.StatusInternalServerError, b.get("/whoami").Code)
		require.False(t, a.guard.Health().OK)
		a.sm.Store = guarded
		require.Equal(t, "alice", b.whoami())
		require.True(t, a.guard.Health().OK)
	})
}

func TestLaterChangesOfTheConfigurationHaveNoEffect(t *testing.T) {
	keys := [][]byte{bytes.Repeat([]byte{1}, 32)}
	bubble(t, func(t *testing.T, a *app) {
		token := strings.Repeat("A", 43)
		before := a.guard.TokenHash(token)
		clear(keys[0]) // an application that wipes its copy
		require.Equal(t, before, a.guard.TokenHash(token))
		keys[0] = bytes.Repeat([]byte{2}, 32)
		require.Equal(t, before, a.guard.TokenHash(token))
	}, func(cfg *scsguard.Config) { cfg.Keys = keys })
}
