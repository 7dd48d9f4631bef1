package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// session sends requests with the cookie that came last.
func session(t *testing.T, handler http.Handler) func(method, path string, form url.Values) (int, string) {
	var cookie *http.Cookie
	return func(method, path string, form url.Values) (int, string) {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if cookie != nil {
			r.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			cookie = c
		}
		return w.Code, w.Body.String()
	}
}

const partner = "9b2d4f1e-2a67-4b0e-8a55-0d1f6c9f3a10"

func TestUsersOfEachKindAreKnownByTheirKey(t *testing.T) {
	for _, kind := range []struct {
		path, me string
		form     url.Values
	}{
		{"/customers/login", "customer 42\n", url.Values{"number": {"42"}}},
		{"/partners/login", "partner " + partner + "\n", url.Values{"id": {partner}}},
		{"/employees/login", "employee 42 of Acme\n", url.Values{"company": {"Acme"}, "number": {"42"}}},
	} {
		t.Run(kind.path, func(t *testing.T) {
			do := session(t, newApp().routes())
			kind.form.Set("password", "demo")
			status, _ := do("POST", kind.path, kind.form)
			require.Equal(t, 200, status)
			_, body := do("GET", "/me", nil)
			require.Equal(t, kind.me, body)

			status, _ = do("POST", "/logout", nil)
			require.Equal(t, 200, status)
			status, _ = do("GET", "/me", nil)
			require.Equal(t, 401, status)
		})
	}
}

func TestWhoLogsInAfterSomebodyElseIsHimself(t *testing.T) {
	do := session(t, newApp().routes())
	do("POST", "/customers/login", url.Values{"number": {"42"}, "password": {"demo"}})
	status, _ := do("POST", "/employees/login", url.Values{"company": {"Acme"}, "number": {"42"}, "password": {"demo"}})
	require.Equal(t, 200, status)
	_, body := do("GET", "/me", nil)
	require.Equal(t, "employee 42 of Acme\n", body)
}

func TestWhoCannotBeReadIsRefused(t *testing.T) {
	do := session(t, newApp().routes())
	status, _ := do("POST", "/partners/login", url.Values{"id": {"42"}, "password": {"demo"}})
	require.Equal(t, 401, status)
}
