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

type browser struct {
	t    *testing.T
	base string
	http *http.Client
}

func newBrowser(t *testing.T, a *app) *browser {
	srv := httptest.NewTLSServer(a.routes())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := srv.Client()
	client.Jar = jar
	return &browser{t: t, base: srv.URL, http: client}
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
	return b.read(b.http.Get(b.base + path))
}

func (b *browser) post(path string, form url.Values) (int, string) {
	b.t.Helper()
	return b.read(b.http.PostForm(b.base+path, form))
}

var alice = url.Values{"user": {"alice"}, "password": {"demo"}}

func TestADiaryIsForItsOwner(t *testing.T) {
	b := newBrowser(t, newApp())
	status, _ := b.get("/diary")
	require.Equal(t, 401, status)
	_, body := b.post("/login", alice)
	require.Equal(t, "Dear diary of alice\n", body)
}

func TestALinkLogsIn(t *testing.T) {
	a := newApp()
	b := newBrowser(t, a)
	status, _ := b.get("/link/guessed")
	require.Equal(t, 404, status)
	_, body := b.get("/link/" + a.link)
	require.Equal(t, "Dear diary of bob\n", body)
}

func TestBothWaysOutLeadOut(t *testing.T) {
	for _, out := range []string{"/logout", "/forget"} {
		b := newBrowser(t, newApp())
		b.post("/login", alice)
		_, body := b.post(out, nil)
		require.Contains(t, body, "Diary.")
		require.Equal(t, out == "/logout", body == "Diary. You are logged out.\n")
		status, _ := b.get("/diary")
		require.Equal(t, 401, status)
	}
}

func TestAnotherUserMayLogInInTheSameBrowser(t *testing.T) {
	b := newBrowser(t, newApp())
	b.post("/login", alice)
	_, body := b.post("/login", url.Values{"user": {"carol"}, "password": {"demo"}})
	require.Equal(t, "Dear diary of carol\n", body)
}
