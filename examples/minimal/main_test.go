package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// buffer is a trail in memory that can be full.
type buffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	full bool
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return 0, errors.New("no space left")
	}
	return b.b.Write(p)
}

func (b *buffer) fill() { b.mu.Lock(); defer b.mu.Unlock(); b.full = true }

func (b *buffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// start serves the application over TLS, since the cookie is Secure.
func start(t *testing.T) (base string, trail *buffer, browser func() *http.Client, closeGuard func() error) {
	trail = &buffer{}
	handler, guard, err := newApp(trail)
	require.NoError(t, err)
	srv := httptest.NewTLSServer(handler)
	t.Cleanup(func() {
		srv.Close()
		soon, cancel := context.WithCancel(context.Background())
		cancel() // what a full trail has not got will not come any more
		_ = guard.Close(soon)
	})
	browser = func() *http.Client {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		return &http.Client{Transport: srv.Client().Transport, Jar: jar}
	}
	return srv.URL, trail, browser, func() error { return guard.Close(context.Background()) }
}

func get(t *testing.T, c *http.Client, target string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, target, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", "text/html")
	return do(t, c, req)
}

func post(t *testing.T, c *http.Client, target string, form url.Values) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, target, bytes.NewBufferString(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "text/html")
	return do(t, c, req)
}

func do(t *testing.T, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(body)
}

var demo = url.Values{"user": {"alice"}, "password": {"demo"}}

func TestLoginAndLogout(t *testing.T) {
	base, trail, browser, closeGuard := start(t)
	alice := browser()

	res, body := get(t, alice, base)
	require.Equal(t, "/login", res.Request.URL.Path, "who is not logged in is sent to the form")
	require.Contains(t, body, "Please log in.")

	res, body = post(t, alice, base+"/login", url.Values{"user": {"alice"}, "password": {"wrong"}})
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	require.Contains(t, body, "User or password is wrong.")

	_, body = post(t, alice, base+"/login", demo)
	require.Contains(t, body, "You are alice, and this is your visit number 1.")
	_, body = get(t, alice, base)
	require.Contains(t, body, "visit number 2.")

	copied := browser() // somebody has the cookie
	at, err := url.Parse(base)
	require.NoError(t, err)
	copied.Jar.SetCookies(at, alice.Jar.Cookies(at))

	res, _ = post(t, alice, base+"/logout", nil)
	require.Equal(t, "/login", res.Request.URL.Path)
	_, body = get(t, alice, base)
	require.Contains(t, body, "Please log in.")
	_, body = get(t, copied, base)
	require.Contains(t, body, "You ended this session.")

	require.NoError(t, closeGuard())
	require.Contains(t, trail.String(), `"event":"login_failed"`)
	require.Contains(t, trail.String(), `"event":"login"`)
	require.Contains(t, trail.String(), `"event":"logout"`)
}

func TestALoginElsewhereIsToldOnce(t *testing.T) {
	base, _, browser, _ := start(t)
	first := browser()
	post(t, first, base+"/login", demo)
	post(t, browser(), base+"/login", demo)
	_, body := get(t, first, base)
	require.Contains(t, body, "New logins elsewhere: 1")
	_, body = get(t, first, base)
	require.Contains(t, body, "New logins elsewhere: 0")
}

func TestNobodyLogsInWithoutATrail(t *testing.T) {
	base, trail, browser, _ := start(t)
	alice := browser()
	post(t, alice, base+"/login", demo)
	trail.fill()
	res, _ := post(t, browser(), base+"/login", demo)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	res, body := post(t, alice, base+"/logout", nil)
	require.Equal(t, http.StatusOK, res.StatusCode, body)
	require.Contains(t, body, "Please log in.")
}
