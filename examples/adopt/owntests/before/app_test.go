package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A handler under a context that the test has loaded.
func TestDraftsAreShownToTheirAuthor(t *testing.T) {
	a := newApp()
	ctx, err := a.sessions.Load(context.Background(), "")
	require.NoError(t, err)
	a.sessions.Put(ctx, "authorID", 2)
	w := httptest.NewRecorder()
	a.drafts(w, httptest.NewRequest("GET", "/drafts", nil).WithContext(ctx))
	require.Equal(t, "Drafts of bob\n", w.Body.String())
}

func TestStrangersSeeNoDrafts(t *testing.T) {
	a := newApp()
	ctx, err := a.sessions.Load(context.Background(), "")
	require.NoError(t, err)
	w := httptest.NewRecorder()
	a.drafts(w, httptest.NewRequest("GET", "/drafts", nil).WithContext(ctx))
	require.Equal(t, 401, w.Code)
}

// A handler within LoadAndSave that the test has mounted.
func TestALoginSetsACookieWithWhichDraftsAreServed(t *testing.T) {
	a := newApp()
	login := a.sessions.LoadAndSave(http.HandlerFunc(a.login))
	r := httptest.NewRequest("POST", "/login", strings.NewReader("user=alice&password=demo"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	login.ServeHTTP(w, r)
	require.Equal(t, 200, w.Code)
	cookies := w.Result().Cookies()
	require.Len(t, cookies, 1)

	r = httptest.NewRequest("GET", "/drafts", nil)
	r.AddCookie(cookies[0])
	w = httptest.NewRecorder()
	a.routes().ServeHTTP(w, r)
	require.Equal(t, "Drafts of alice\n", w.Body.String())
}

// A session that is committed by hand.
func TestALogoutDeletesTheSession(t *testing.T) {
	a := newApp()
	ctx, err := a.sessions.Load(context.Background(), "")
	require.NoError(t, err)
	r := httptest.NewRequest("POST", "/login", strings.NewReader("user=alice&password=demo")).WithContext(ctx)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a.login(httptest.NewRecorder(), r)
	token, _, err := a.sessions.Commit(ctx)
	require.NoError(t, err)

	ctx, err = a.sessions.Load(context.Background(), token)
	require.NoError(t, err)
	require.Equal(t, 1, a.authorID(ctx))
	a.logout(httptest.NewRecorder(), httptest.NewRequest("POST", "/logout", nil).WithContext(ctx))

	ctx, err = a.sessions.Load(context.Background(), token)
	require.NoError(t, err)
	require.Zero(t, a.authorID(ctx))
}
