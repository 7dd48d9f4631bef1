package main

import (
	"context"
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

// Config.UserID finds the key in a session that a test has committed, as in one from
// before the guard: it is a login, with a record and limits.
func TestASessionThatATestHasCommittedIsALogin(t *testing.T) {
	a := newApp()
	ctx, err := a.sessions.Load(context.Background(), "")
	require.NoError(t, err)
	a.sessions.Put(ctx, "authorID", 2)
	token, _, err := a.sessions.Commit(ctx)
	require.NoError(t, err)
	b := guardtest.NewBrowser(t, a.routes())
	b.SetToken(token)
	require.Equal(t, "Drafts of bob\n", b.Get("/drafts").Body)

	guardtest.ExpireIdle(t, a.guard.Registry(), token)
	require.Equal(t, 401, b.Get("/drafts").Status)
}

// What does not work without Protect: to put another user over one that is logged in.
// The session would need a new token, and nobody could be told of it.
func TestByHandNobodyTakesOverTheSessionOfAnother(t *testing.T) {
	a := newApp()
	ctx, err := a.sessions.Load(context.Background(), "")
	require.NoError(t, err)
	_, err = a.guard.Login(ctx, "1")
	require.NoError(t, err)
	a.sessions.Put(ctx, "authorID", 1)
	_, _, err = a.sessions.Commit(ctx)
	require.NoError(t, err)
	a.sessions.Put(ctx, "authorID", 2)
	_, _, err = a.sessions.Commit(ctx)
	require.ErrorContains(t, err, "outside of Protect")
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
