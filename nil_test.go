package scsguard_test

import (
	"context"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// An application whose literal in a test has no guard.

func TestAVerbOfANilGuardGrantsNothingAndSaysSo(t *testing.T) {
	sm := newManager()
	sm.Store = memstore.NewWithCleanupInterval(0)
	ctx, err := sm.Load(context.Background(), "")
	require.NoError(t, err)
	var g *scsguard.Guard
	verbs := map[string]func(context.Context) error{
		"Login":           func(ctx context.Context) error { _, err := g.Login(ctx, "alice"); return err },
		"Logout":          g.Logout,
		"Elevate":         func(ctx context.Context) error { _, err := g.Elevate(ctx, "admin"); return err },
		"Drop":            func(ctx context.Context) error { _, err := g.Drop(ctx); return err },
		"Reauthenticated": func(ctx context.Context) error { _, err := g.Reauthenticated(ctx); return err },
		"Extend":          func(ctx context.Context) error { _, err := g.Extend(ctx); return err },
		"End":             func(ctx context.Context) error { return g.End(ctx, "ID") },
		"EndOthers":       func(ctx context.Context) error { _, err := g.EndOthers(ctx); return err },
		"EndAll":          func(ctx context.Context) error { _, err := g.EndAll(ctx, "alice"); return err },
		"EndEveryone":     func(ctx context.Context) error { _, err := g.EndEveryone(ctx); return err },
		"EndExternal":     func(ctx context.Context) error { _, err := g.EndExternal(ctx, "ID"); return err },
		"Sessions":        func(ctx context.Context) error { _, err := g.Sessions(ctx); return err },
		"SessionsOf":      func(ctx context.Context) error { _, err := g.SessionsOf(ctx, "alice"); return err },
		"Warnings":        func(ctx context.Context) error { _, err := g.Warnings(ctx); return err },
		"Record":          func(ctx context.Context) error { return g.Record(ctx, scsguard.Event{Kind: "transfer"}) },
		"Sweep":           func(ctx context.Context) error { _, err := g.Sweep(ctx); return err },
		"Close":           g.Close,
	}
	for name, verb := range verbs {
		require.ErrorIs(t, verb(ctx), scsguard.ErrNoGuard, name)
		require.ErrorIs(t, verb(context.Background()), scsguard.ErrNoGuard, name)
	}
	require.Empty(t, sm.Keys(ctx), "nothing was done")

	// Every method is one of those here and below, so that none is forgotten.
	others := map[string]bool{"Current": true, "Ended": true, "Status": true, "LoginFailed": true, "Health": true, "Counters": true}
	for name := range mounted(g) {
		others[name] = true
	}
	for i := range reflect.TypeFor[*scsguard.Guard]().NumMethod() {
		name := reflect.TypeFor[*scsguard.Guard]().Method(i).Name
		require.True(t, verbs[name] != nil || others[name], "what does %s of a nil guard do?", name)
	}
}

func TestNobodyIsLoggedInWithANilGuard(t *testing.T) {
	sm := newManager()
	ctx, err := sm.Load(context.Background(), "")
	require.NoError(t, err)
	var g *scsguard.Guard
	_, ok := g.Current(ctx)
	require.False(t, ok)
	require.Empty(t, g.Ended(ctx))
	require.False(t, g.Status(ctx).Authenticated)
	g.LoginFailed(ctx, "alice", "password")
	require.Zero(t, g.Counters())
	health := g.Health()
	require.False(t, health.OK)
	require.ErrorIs(t, health.Problems[0].Err, scsguard.ErrNoGuard)
}

// mounted returns what is called at start-up, and what has no error to return.
func mounted(g *scsguard.Guard) map[string]func() {
	next := http.NotFoundHandler()
	return map[string]func(){
		"Protect":            func() { g.Protect(next) },
		"LoadAndSave":        func() { g.LoadAndSave(next) },
		"RequireLogin":       func() { g.RequireLogin(next) },
		"EnforceTimeouts":    func() { g.EnforceTimeouts(next) },
		"EnforceBinding":     func() { g.EnforceBinding(next) },
		"RequireRecentLogin": func() { g.RequireRecentLogin(time.Minute) },
		"PolicyReport":       func() { g.PolicyReport() },
		"LimitIdle":          func() { g.LimitIdle(time.Minute) },
		"Passive":            func() { g.Passive(next) },
		"CutOff":             func() { g.CutOff(next) },
		"StatusHandler":      func() { g.StatusHandler() },
		"ExtendHandler":      func() { g.ExtendHandler() },
		"SessionsHandler":    func() { g.SessionsHandler() },
		"Store":              func() { g.Store() },
		"Registry":           func() { g.Registry() },
		"TokenHash":          func() { g.TokenHash("token") },
		"TokenHashes":        func() { g.TokenHashes("token") },
	}
}

func TestAMiddlewareOfANilGuardPanicsWhereItIsMounted(t *testing.T) {
	for name, mount := range mounted(nil) {
		func() {
			defer func() {
				said, ok := recover().(string)
				require.True(t, ok, "%s: a sentence, and not what the runtime says", name)
				require.Contains(t, said, "make the guard with scsguard.New before the routes", name)
			}()
			mount()
			require.Fail(t, "it served without a guard", name)
		}()
	}
}
