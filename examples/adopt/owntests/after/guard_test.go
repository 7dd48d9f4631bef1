package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApp()
	app := guardtest.App{Guard: a.guard, Handler: a.routes()}
	app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
	app.Check(t, guardtest.Get("/drafts"))
}

// The key alone, which the tests put by hand, opens no route: RequireLogin asks the
// guard.
func TestTheKeyInTheDataLogsNobodyIn(t *testing.T) {
	a := newApp()
	ctx, err := a.sessions.Load(context.Background(), "")
	require.NoError(t, err)
	a.sessions.Put(ctx, "authorID", 2)
	token, _, err := a.sessions.Commit(ctx)
	require.NoError(t, err)
	r := httptest.NewRequest("GET", "/drafts", nil)
	r.AddCookie(&http.Cookie{Name: "__Host-session", Value: token})
	w := httptest.NewRecorder()
	a.routes().ServeHTTP(w, r)
	require.Equal(t, 401, w.Code)
}

// Whoever goes back to scs alone finds the sessions as they are: the guard's store
// holds what scs has written. Authors stay logged in, since their key is still put.
func TestAuthorsStayLoggedInWhenTheGuardIsTakenOutAgain(t *testing.T) {
	a := newApp()
	ctx, err := a.sessions.Load(context.Background(), "")
	require.NoError(t, err)
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/login?user=alice&password=demo", nil)
	r.PostForm = r.URL.Query()
	a.login(w, r.WithContext(ctx))
	require.Equal(t, 200, w.Code)
	token, _, err := a.sessions.Commit(ctx)
	require.NoError(t, err)

	plain := scs.New()
	plain.Store = a.guard.Store()
	ctx, err = plain.Load(context.Background(), token)
	require.NoError(t, err)
	require.Equal(t, 1, plain.GetInt(ctx, "authorID"))
}
