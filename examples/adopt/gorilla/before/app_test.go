package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// forum calls the handler without a server and keeps the cookie by hand.
type forum struct {
	t       *testing.T
	handler http.Handler
	cookie  *http.Cookie
}

func newForum(t *testing.T) *forum { return &forum{t: t, handler: newApp().routes()} }

func (f *forum) do(method, path, form string) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if f.cookie != nil {
		r.AddCookie(f.cookie)
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.Name == "__Host-forum" {
			f.cookie = c
		}
	}
	return w
}

func TestReadingIsForEverybody(t *testing.T) {
	f := newForum(t)
	require.Equal(t, "Topic 7, the 1. you read.\n", f.do("GET", "/topics/7", "").Body.String())
	require.Equal(t, "Topic 8, the 2. you read.\n", f.do("GET", "/topics/8", "").Body.String())
	require.Equal(t, 403, f.do("GET", "/members/me", "").Code)
}

func TestAMemberSeesWhatHeHasReadAsAStranger(t *testing.T) {
	f := newForum(t)
	f.do("GET", "/topics/7", "")
	require.Equal(t, 200, f.do("POST", "/login", "user=alice&password=demo").Code)
	require.Equal(t, "You are alice and have read 1 topics.\n", f.do("GET", "/members/me", "").Body.String())
}

func TestTheOldTokenIsWorthNothingAfterTheLogin(t *testing.T) {
	f := newForum(t)
	f.do("GET", "/topics/7", "")
	planted := f.cookie
	f.do("POST", "/login", "user=alice&password=demo")
	f.cookie = planted
	require.Equal(t, 403, f.do("GET", "/members/me", "").Code)
}

func TestALogoutForgetsEverything(t *testing.T) {
	f := newForum(t)
	f.do("POST", "/login", "user=alice&password=demo")
	f.do("GET", "/topics/7", "")
	require.Equal(t, 200, f.do("POST", "/logout", "").Code)
	require.Equal(t, 403, f.do("GET", "/members/me", "").Code)
	require.Equal(t, "Topic 7, the 1. you read.\n", f.do("GET", "/topics/7", "").Body.String())
}
