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

func newBrowser(t *testing.T) *browser {
	srv := httptest.NewTLSServer(newApp().routes())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := srv.Client()
	client.Jar = jar
	return &browser{t: t, base: srv.URL, http: client}
}

func (b *browser) get(path string) (int, string) {
	b.t.Helper()
	res, err := b.http.Get(b.base + path)
	require.NoError(b.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	return res.StatusCode, string(body)
}

func (b *browser) post(path string, form url.Values) int {
	b.t.Helper()
	res, err := b.http.PostForm(b.base+path, form)
	require.NoError(b.t, err)
	require.NoError(b.t, res.Body.Close())
	return res.StatusCode
}

func user(name string) url.Values { return url.Values{"user": {name}, "password": {"demo"}} }

func TestACustomerIsNoClerk(t *testing.T) {
	b := newBrowser(t)
	require.Equal(t, 200, b.post("/login", user("carol")))
	_, body := b.get("/orders")
	require.Equal(t, "Orders of carol\n", body)
	status, _ := b.get("/staff/stock")
	require.Equal(t, 401, status)
}

func TestAClerkMayBeACustomerAtTheSameTime(t *testing.T) {
	b := newBrowser(t)
	b.post("/login", user("carol"))
	require.Equal(t, 200, b.post("/staff/login", user("dave")))
	_, body := b.get("/staff/stock")
	require.Equal(t, "Stock for dave, customer \"carol\"\n", body)

	require.Equal(t, 200, b.post("/staff/logout", nil))
	status, _ := b.get("/staff/stock")
	require.Equal(t, 401, status)
	_, body = b.get("/orders")
	require.Equal(t, "Orders of carol\n", body, "the customer stays")
}
