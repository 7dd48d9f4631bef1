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

// browser is a visitor of an application that runs over TLS, as its cookie asks.
type browser struct {
	t    *testing.T
	base string
	*http.Client
}

func newBrowser(t *testing.T) *browser {
	srv := httptest.NewTLSServer(newApp().routes())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := srv.Client()
	client.Jar = jar
	return &browser{t: t, base: srv.URL, Client: client}
}

func (b *browser) read(res *http.Response, err error) (int, string) {
	b.t.Helper()
	require.NoError(b.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	return res.StatusCode, string(body)
}

func (b *browser) get(path string) (int, string) {
	b.t.Helper()
	return b.read(b.Get(b.base + path))
}

func (b *browser) post(path string, form url.Values) (int, string) {
	b.t.Helper()
	return b.read(b.PostForm(b.base+path, form))
}

var alice = url.Values{"user": {"alice"}, "password": {"demo"}}

func TestNotesNeedALogin(t *testing.T) {
	b := newBrowser(t)
	_, body := b.get("/notes")
	require.Contains(t, body, "Please log in first.")
	_, body = b.get("/")
	require.NotContains(t, body, "Please log in first.", "a flash is shown once")
}

func TestAWrongPasswordIsRefused(t *testing.T) {
	status, _ := newBrowser(t).post("/login", url.Values{"user": {"alice"}, "password": {"guess"}})
	require.Equal(t, http.StatusUnauthorized, status)
}

func TestNotesAreKeptUntilTheLogout(t *testing.T) {
	b := newBrowser(t)
	_, body := b.post("/login", alice)
	require.Contains(t, body, "Notes of alice")
	_, body = b.post("/notes", url.Values{"note": {"buy milk"}})
	require.Contains(t, body, "buy milk")

	_, body = b.post("/logout", nil)
	require.Contains(t, body, "You are logged out.")
	_, body = b.get("/notes")
	require.Contains(t, body, "Please log in first.")
}

func TestALoginChangesTheToken(t *testing.T) {
	b := newBrowser(t)
	b.get("/notes") // its flash begins a session
	u, err := url.Parse(b.base)
	require.NoError(t, err)
	before := b.Jar.Cookies(u)
	require.Len(t, before, 1)
	b.post("/login", alice)
	require.NotEqual(t, before[0].Value, b.Jar.Cookies(u)[0].Value)
}
