package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// client is a program that remembers the token it was told.
type client struct {
	t       *testing.T
	handler http.Handler
	token   string
}

func newClient(t *testing.T) *client { return &client{t: t, handler: newApp().routes()} }

func (c *client) do(method, path string, form url.Values) (int, string) {
	c.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	if _, ok := w.Header()["X-Session-Token"]; ok {
		c.token = w.Header().Get("X-Session-Token")
	}
	require.Empty(c.t, w.Header().Values("Set-Cookie"))
	return w.Code, strings.TrimSpace(w.Body.String())
}

var alice = url.Values{"user": {"alice"}, "password": {"demo"}}

func TestTheTokenTravelsInHeaders(t *testing.T) {
	c := newClient(t)
	status, _ := c.do("POST", "/login", alice)
	require.Equal(t, 200, status)
	require.NotEmpty(t, c.token)
	status, _ = c.do("POST", "/jobs/backup", nil)
	require.Equal(t, 201, status)
	_, body := c.do("GET", "/jobs", nil)
	require.JSONEq(t, `{"user":"alice","jobs":["backup"]}`, body)
}

func TestWithoutATokenNothingIsServed(t *testing.T) {
	c := newClient(t)
	status, _ := c.do("GET", "/jobs", nil)
	require.Equal(t, 401, status)
	c.token = "made-up"
	status, _ = c.do("GET", "/jobs", nil)
	require.Equal(t, 401, status)
}

func TestATokenIsWorthNothingAfterTheLogout(t *testing.T) {
	c := newClient(t)
	c.do("POST", "/login", alice)
	kept := c.token
	status, _ := c.do("POST", "/logout", nil)
	require.Equal(t, 200, status)
	require.Empty(t, c.token)
	c.token = kept
	status, _ = c.do("GET", "/jobs", nil)
	require.Equal(t, 401, status)
}
