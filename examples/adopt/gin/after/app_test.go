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

// visit returns what sends a request of one visitor.
func visit(t *testing.T) func(method, path string, form url.Values) (int, string) {
	srv := httptest.NewTLSServer(newApp().routes())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := srv.Client()
	client.Jar = jar
	return func(method, path string, form url.Values) (int, string) {
		t.Helper()
		var res *http.Response
		var err error
		if method == http.MethodPost {
			res, err = client.PostForm(srv.URL+path, form)
		} else {
			res, err = client.Get(srv.URL + path)
		}
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(body)
	}
}

var alice = url.Values{"user": {"alice"}, "password": {"demo"}}

func TestALoanIsKeptBetweenRequests(t *testing.T) {
	do := visit(t)
	status, body := do("POST", "/login", alice)
	require.Equal(t, 204, status, body)
	status, _ = do("POST", "/loans/moby-dick", nil)
	require.Equal(t, 201, status)
	status, body = do("GET", "/loans", nil)
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"user":"alice","book":"moby-dick"}`, body)
}

func TestStrangersLendNothing(t *testing.T) {
	do := visit(t)
	status, body := do("POST", "/loans/moby-dick", nil)
	require.Equal(t, 401, status)
	require.JSONEq(t, `{"error":"please log in"}`, body)
	status, _ = do("POST", "/login", url.Values{"user": {"alice"}, "password": {"guess"}})
	require.Equal(t, 401, status)
}

func TestAfterTheLogoutTheLoanIsGone(t *testing.T) {
	do := visit(t)
	do("POST", "/login", alice)
	do("POST", "/loans/moby-dick", nil)
	status, _ := do("POST", "/logout", nil)
	require.Equal(t, 204, status)
	status, _ = do("GET", "/loans", nil)
	require.Equal(t, 401, status)
}
