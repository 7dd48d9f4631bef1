package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// browser visits one firm.
type browser struct {
	t      *testing.T
	app    *app
	host   string
	cookie *http.Cookie
}

func (b *browser) do(method, path, form string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, "https://"+b.host+path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.app.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
	}
	return w
}

func TestEachFirmHasItsOwnSessions(t *testing.T) {
	a := newApp()
	acme := &browser{t: t, app: a, host: "acme.example"}
	require.Equal(t, 200, acme.do("POST", "/login", "user=alice&password=demo").Code)
	require.Equal(t, "alice at acme.example\n", acme.do("GET", "/", "").Body.String())

	globex := &browser{t: t, app: a, host: "globex.example", cookie: acme.cookie}
	require.Equal(t, 401, globex.do("GET", "/", "").Code)
	require.Equal(t, 404, (&browser{t: t, app: a, host: "unknown.example"}).do("GET", "/", "").Code)

	require.Equal(t, 200, acme.do("POST", "/logout", "").Code)
	require.Equal(t, 401, acme.do("GET", "/", "").Code)
}

func TestWhoWantsToBeRememberedIs(t *testing.T) {
	a := newApp()
	b := &browser{t: t, app: a, host: "acme.example"}
	b.do("POST", "/login", "user=alice&password=demo")
	require.Zero(t, b.cookie.MaxAge, "it goes with the browser")
	b.do("POST", "/login", "user=alice&password=demo&remember=1")
	require.Positive(t, b.cookie.MaxAge)
}
