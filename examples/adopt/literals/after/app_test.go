package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
)

func send(h http.Handler, method, path, form string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTheHomePageGreets(t *testing.T) {
	app := &application{sessions: scs.New()}
	w := send(app.sessions.LoadAndSave(http.HandlerFunc(app.home)), "GET", "/", "")
	require.Equal(t, "Hello", strings.TrimSpace(w.Body.String()))
}

func TestSubscribersAreThankedOnce(t *testing.T) {
	app := &application{sessions: scs.New()}
	w := send(app.sessions.LoadAndSave(http.HandlerFunc(app.subscribe)), "POST", "/subscribe", "address=a@example.com")
	require.Equal(t, []string{"a@example.com"}, app.subscribers)
	cookies := w.Result().Cookies()
	home := app.sessions.LoadAndSave(http.HandlerFunc(app.home))
	require.Contains(t, send(home, "GET", "/", "", cookies...).Body.String(), "Thank you.")
	require.NotContains(t, send(home, "GET", "/", "", cookies...).Body.String(), "Thank you.")
}

func TestAWrongPasswordIsRefused(t *testing.T) {
	app := &application{sessions: scs.New()}
	w := send(app.sessions.LoadAndSave(http.HandlerFunc(app.login)), "POST", "/login", "user=erin&password=guess")
	require.Equal(t, 401, w.Code)
}

func TestStrangersSeeNoSubscribers(t *testing.T) {
	app := &application{sessions: scs.New(), subscribers: []string{"a@example.com"}}
	w := send(app.sessions.LoadAndSave(http.HandlerFunc(app.list)), "GET", "/subscribers", "")
	require.Equal(t, 401, w.Code)
}

func TestAnEditorSeesTheSubscribers(t *testing.T) {
	app := newApplication()
	app.subscribers = []string{"a@example.com"}
	h := app.routes()
	w := send(h, "POST", "/login", "user=erin&password=demo")
	require.Equal(t, 200, w.Code)
	w = send(h, "GET", "/subscribers", "", w.Result().Cookies()...)
	require.Equal(t, "[a@example.com]\n", w.Body.String())
}
