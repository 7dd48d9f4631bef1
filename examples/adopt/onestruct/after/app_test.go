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

var alice = url.Values{"user": {"alice"}, "password": {"demo"}}

func TestWhatAStrangerChoseIsThereAfterTheLogin(t *testing.T) {
	do := session(t, newApp().routes())
	do("POST", "/theme/dark", nil)
	do("POST", "/cart/teapot", nil)
	status, _ := do("GET", "/checkout", nil)
	require.Equal(t, 401, status)
	status, _ = do("POST", "/login", alice)
	require.Equal(t, 200, status)
	do("POST", "/cart/cup", nil)
	status, body := do("GET", "/checkout", nil)
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"user":"alice","theme":"dark","cart":["teapot","cup"]}`, body)
}

func TestALogoutKeepsOnlyTheTheme(t *testing.T) {
	do := session(t, newApp().routes())
	do("POST", "/theme/dark", nil)
	do("POST", "/login", alice)
	do("POST", "/cart/cup", nil)
	status, _ := do("POST", "/logout", nil)
	require.Equal(t, 200, status)
	_, body := do("GET", "/state", nil)
	require.JSONEq(t, `{"theme":"dark"}`, body)
	status, _ = do("GET", "/checkout", nil)
	require.Equal(t, 401, status)
}
