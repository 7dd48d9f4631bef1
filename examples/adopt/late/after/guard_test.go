package main

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApp()
	f, err := a.firm("acme.example")
	require.NoError(t, err)
	app := guardtest.App{Guard: f.guard, Handler: f.handler}
	app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
	app.Check(t, guardtest.Get("/"))
	require.NoError(t, a.Close(context.Background()))
}

// These settings are read at each request, as scs does.
func TestCookieAndLifetimeMayChangeLater(t *testing.T) {
	a := newApp()
	b := &browser{t: t, app: a, host: "globex.example"}
	b.do("POST", "/login", "user=alice&password=demo")
	f, err := a.firm(b.host)
	require.NoError(t, err)
	f.sessions.Cookie.SameSite, f.sessions.Lifetime = http.SameSiteStrictMode, time.Hour
	require.Equal(t, 200, b.do("GET", "/", "").Code)
	require.Equal(t, 200, b.do("POST", "/login", "user=alice&password=demo").Code)
	require.Equal(t, http.SameSiteStrictMode, b.cookie.SameSite)
	require.True(t, f.guard.Health().OK)
}

// These are the guard's. A request would run unguarded, so none is served.
func TestStoreAndIdleTimeoutMayNotChangeLater(t *testing.T) {
	for name, change := range map[string]func(*firm){
		"Store":       func(f *firm) { f.sessions.Store = memstore.New() },
		"IdleTimeout": func(f *firm) { f.sessions.IdleTimeout = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp()
			b := &browser{t: t, app: a, host: "globex.example"}
			b.do("POST", "/login", "user=alice&password=demo")
			f, err := a.firm(b.host)
			require.NoError(t, err)
			change(f)
			require.Equal(t, 500, b.do("GET", "/", "").Code)
			health := f.guard.Health()
			require.False(t, health.OK)
			require.ErrorContains(t, health.Problems[0], "SessionManager."+name+" was changed after New")
		})
	}
}

func TestAManagerHasOneGuard(t *testing.T) {
	a := newApp()
	f, err := a.firm("acme.example")
	require.NoError(t, err)
	_, err = scsguard.New(f.sessions, scsguard.Config{Audit: scsguard.Discard()})
	require.ErrorContains(t, err, "has a guard already")
}
