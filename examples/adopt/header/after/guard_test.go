package main

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

// The browsers of guardtest have cookies, so here each ending is asked for by hand.
func TestATokenIsWorthNothingWhenTheSessionIsOver(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *app, string){
		"idle":     func(t *testing.T, a *app, token string) { guardtest.ExpireIdle(t, a.guard.Registry(), token) },
		"absolute": func(t *testing.T, a *app, token string) { guardtest.ExpireAbsolute(t, a.guard.Registry(), token) },
		"ended": func(t *testing.T, a *app, _ string) {
			_, err := a.guard.EndAll(context.Background(), "alice")
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp()
			c := &client{t: t, handler: a.routes()}
			c.do("POST", "/login", alice)
			status, _ := c.do("GET", "/jobs", nil)
			require.Equal(t, 200, status)
			end(t, a, c.token)
			status, _ = c.do("GET", "/jobs", nil)
			require.Equal(t, 401, status)
		})
	}
}

func TestALoginWithATokenReplacesIt(t *testing.T) {
	a := newApp()
	c := &client{t: t, handler: a.routes()}
	c.do("POST", "/login", alice)
	old := c.token
	c.do("POST", "/login", alice)
	list, err := a.guard.SessionsOf(context.Background(), "alice")
	require.NoError(t, err)
	require.Len(t, list, 1)
	c.token = old
	status, _ := c.do("GET", "/jobs", nil)
	require.Equal(t, 401, status)
}

// What does not work without Protect: the middlewares, which refuse to serve; the
// reason of an ending; and the client's address and program, which nobody has told
// the guard.
func TestWhatNeedsProtect(t *testing.T) {
	a := newApp()
	c := &client{t: t, handler: a.routes()}
	c.do("POST", "/login", alice)
	list, err := a.guard.SessionsOf(context.Background(), "alice")
	require.NoError(t, err)
	require.False(t, list[0].IP.IsValid())
	require.Empty(t, list[0].UserAgent)

	require.NoError(t, a.guard.End(context.Background(), list[0].ID, scsguard.Of("alice")))
	ctx, err := a.sessions.Load(context.Background(), c.token)
	require.NoError(t, err)
	require.Empty(t, a.guard.Ended(ctx))

	gate := a.withSession(func(r *http.Request) (int, any) {
		b := guardtest.NewBrowser(t, a.guard.RequireLogin(http.NotFoundHandler()))
		return b.Do(r).Status, nil
	})
	c.handler = gate
	status, _ := c.do("GET", "/", nil)
	require.Equal(t, http.StatusInternalServerError, status)
}
