package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	for _, out := range []string{"/logout", "/forget"} {
		a := newApp()
		app := guardtest.App{Guard: a.guard, Handler: a.routes()}
		app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
		app.Logout = guardtest.LoginForm(out)
		app.Check(t, guardtest.Get("/diary"), guardtest.Public(guardtest.Get("/")))
	}
}

// One handler has forgotten RenewToken, so whoever had planted the token was logged
// in as bob. The guard gives the session a new one.
func TestALoginThatForgetsToChangeTheTokenGetsANewOne(t *testing.T) {
	a := newApp()
	b := guardtest.NewBrowser(t, a.routes())
	b.Cookie = "session"
	b.PostForm("/logout", nil) // its flash begins a session
	planted := b.Clone()
	require.NotEmpty(t, planted.Token())
	b.Get("/link/" + a.link)
	require.Equal(t, "Dear diary of bob\n", b.Get("/diary").Body)
	require.Equal(t, 401, planted.Get("/diary").Status)
}

// earlier returns a browser that has logged in before there was a guard.
func earlier(t *testing.T, a *app) *guardtest.Browser {
	t.Helper()
	plain := scs.New()
	plain.Store, plain.Lifetime = a.guard.Store(), a.sessions.Lifetime
	before := &app{sessions: plain}
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/login?user=alice&password=demo", nil)
	r.PostForm = r.URL.Query()
	plain.LoadAndSave(http.HandlerFunc(before.login)).ServeHTTP(w, r)
	cookies := w.Result().Cookies()
	require.Len(t, cookies, 1)
	b := guardtest.NewBrowser(t, a.routes())
	b.Cookie = "session"
	b.SetToken(cookies[0].Value)
	return b
}

func TestWhoWasLoggedInBeforeTheGuardCameStaysSo(t *testing.T) {
	a := newApp()
	b := earlier(t, a)
	require.Equal(t, "Dear diary of alice\n", b.Get("/diary").Body)
	list, err := a.guard.SessionsOf(context.Background(), "alice")
	require.NoError(t, err)
	require.Len(t, list, 1, "and his session is one like any other from now on")
}

func TestASessionFromBeforeTheGuardEndsLikeAnyOther(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *app, *guardtest.Browser){
		"idle": func(t *testing.T, a *app, b *guardtest.Browser) {
			guardtest.ExpireIdle(t, a.guard.Registry(), b.Token())
		},
		"absolute": func(t *testing.T, a *app, b *guardtest.Browser) {
			guardtest.ExpireAbsolute(t, a.guard.Registry(), b.Token())
		},
		"ended": func(t *testing.T, a *app, _ *guardtest.Browser) {
			_, err := a.guard.EndAll(context.Background(), "alice")
			require.NoError(t, err)
		},
		"logged out by a copy": func(_ *testing.T, _ *app, b *guardtest.Browser) { b.Clone().PostForm("/logout", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp()
			b := earlier(t, a)
			require.Equal(t, 200, b.Get("/diary").Status)
			end(t, a, b)
			require.Equal(t, 401, b.Get("/diary").Status)
		})
	}
}

// All sessions of a user are ended: also one that the guard has never seen.
func TestEndAllReachesASessionTheGuardHasNeverSeen(t *testing.T) {
	a := newApp()
	b := earlier(t, a)
	_, err := a.guard.EndAll(context.Background(), "alice", scsguard.PasswordChanged())
	require.NoError(t, err)
	require.Equal(t, 401, b.Get("/diary").Status)
}

// A login that the guard refuses is not answered by the handler, which knows of no
// refusal: its redirect to the diary is replaced.
func TestARefusedLoginReplacesTheAnswerOfItsHandler(t *testing.T) {
	sessions := guardtest.NewManager()
	a := &app{sessions: sessions}
	a.guard = guardtest.NewWith(t, sessions, func(cfg *scsguard.Config) {
		cfg.UserID = func(ctx context.Context) string { return sessions.GetString(ctx, "user") }
		cfg.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny}
	}).Guard
	first, second := guardtest.NewBrowser(t, a.routes()), guardtest.NewBrowser(t, a.routes())
	require.Equal(t, http.StatusSeeOther, first.PostForm("/login", alice).Status)
	refused := second.PostForm("/login", alice)
	require.Equal(t, http.StatusConflict, refused.Status)
	require.Empty(t, refused.Location())
	require.Equal(t, 401, second.Get("/diary").Status)
}

func TestALoginThatCannotBeRecordedIsRefused(t *testing.T) {
	sessions, trail := guardtest.NewManager(), &guardtest.Sink{}
	a := &app{sessions: sessions}
	a.guard = guardtest.NewWith(t, sessions, func(cfg *scsguard.Config) {
		cfg.UserID = func(ctx context.Context) string { return sessions.GetString(ctx, "user") }
		cfg.Audit = trail
	}).Guard
	trail.Fail(errors.New("the disk is full"))
	b := guardtest.NewBrowser(t, a.routes())
	require.Equal(t, http.StatusServiceUnavailable, b.PostForm("/login", alice).Status)
	require.Equal(t, 401, b.Get("/diary").Status)
}
