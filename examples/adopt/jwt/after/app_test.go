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
	base *url.URL
	http *http.Client
}

func newBrowser(t *testing.T) *browser {
	srv := httptest.NewTLSServer(newApp().routes())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := srv.Client()
	client.Jar = jar
	base, err := url.Parse(srv.URL)
	require.NoError(t, err)
	return &browser{t: t, base: base, http: client}
}

func (b *browser) get(path string) (int, string) {
	b.t.Helper()
	res, err := b.http.Get(b.base.String() + path)
	require.NoError(b.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	return res.StatusCode, string(body)
}

func (b *browser) post(path string, form url.Values) int {
	b.t.Helper()
	res, err := b.http.PostForm(b.base.String()+path, form)
	require.NoError(b.t, err)
	require.NoError(b.t, res.Body.Close())
	return res.StatusCode
}

var alice = url.Values{"user": {"alice"}, "password": {"demo"}}

func TestALoginOpensTheSiteAndTheGateway(t *testing.T) {
	b := newBrowser(t)
	require.Equal(t, 200, b.post("/login", alice))
	_, body := b.get("/")
	require.Equal(t, "Chat of \"alice\"\n", body)
	_, body = b.get("/messages")
	require.Equal(t, "Messages for alice\n", body)
}

func TestALogoutClosesBoth(t *testing.T) {
	b := newBrowser(t)
	b.post("/login", alice)
	require.Equal(t, 200, b.post("/logout", nil))
	_, body := b.get("/")
	require.Equal(t, "Chat of \"\"\n", body)
	status, _ := b.get("/messages")
	require.Equal(t, 401, status)
}

func TestAForgedPassIsRefused(t *testing.T) {
	b := newBrowser(t)
	b.http.Jar.SetCookies(b.base, []*http.Cookie{{Name: passCookie, Value: "e30.e30.e30", Secure: true, Path: "/"}})
	status, _ := b.get("/messages")
	require.Equal(t, 401, status)
}
