package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// client is a visitor of the application as it runs in development.
type client struct {
	t    *testing.T
	base string
	http *http.Client
}

func newClient(t *testing.T) *client {
	srv := httptest.NewServer(newApp(false).routes())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &client{t: t, base: srv.URL, http: &http.Client{Jar: jar}}
}

func (c *client) do(method, path string, form url.Values) (int, string) {
	c.t.Helper()
	var res *http.Response
	var err error
	if method == http.MethodPost {
		res, err = c.http.PostForm(c.base+path, form)
	} else {
		res, err = c.http.Get(c.base + path)
	}
	require.NoError(c.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	return res.StatusCode, string(body)
}

func TestWhatWasPutIntoTheCartBeforeTheLoginIsOrderedAfterIt(t *testing.T) {
	c := newClient(t)
	status, _ := c.do("POST", "/cart/teapot", nil)
	require.Equal(t, 200, status)
	status, _ = c.do("GET", "/order", nil)
	require.Equal(t, 401, status)

	status, _ = c.do("POST", "/login", url.Values{"user": {"alice"}, "password": {"demo"}})
	require.Equal(t, 200, status)
	status, body := c.do("GET", "/order", nil)
	require.Equal(t, 200, status)
	require.Equal(t, "alice orders teapot\n", body)
}

func TestAfterTheLogoutNothingCanBeOrdered(t *testing.T) {
	c := newClient(t)
	c.do("POST", "/login", url.Values{"user": {"alice"}, "password": {"demo"}})
	status, _ := c.do("POST", "/logout", nil)
	require.Equal(t, 200, status)
	status, _ = c.do("GET", "/order", nil)
	require.Equal(t, 401, status)
	status, _ = c.do("POST", "/logout", nil)
	require.Equal(t, 401, status)
}

func TestUnknownPathsAreNotFound(t *testing.T) {
	status, _ := newClient(t).do("GET", "/nowhere", nil)
	require.Equal(t, 404, status)
}
