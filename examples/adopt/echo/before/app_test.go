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

func TestTasksAreKeptBetweenRequests(t *testing.T) {
	do := visit(t)
	status, body := do("POST", "/login", alice)
	require.Equal(t, 204, status, body)
	status, _ = do("POST", "/tasks", url.Values{"task": {"water the plants"}})
	require.Equal(t, 201, status)
	status, body = do("GET", "/tasks", nil)
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"user":"alice","tasks":["water the plants"]}`, body)
}

func TestStrangersSeeNoTasks(t *testing.T) {
	do := visit(t)
	status, body := do("GET", "/tasks", nil)
	require.Equal(t, 401, status)
	require.JSONEq(t, `{"message":"please log in"}`, body)
	status, _ = do("POST", "/login", url.Values{"user": {"alice"}, "password": {"guess"}})
	require.Equal(t, 401, status)
}

func TestAfterTheLogoutTheTasksAreGone(t *testing.T) {
	do := visit(t)
	do("POST", "/login", alice)
	do("POST", "/tasks", url.Values{"task": {"water the plants"}})
	status, _ := do("POST", "/logout", nil)
	require.Equal(t, 204, status)
	status, _ = do("GET", "/tasks", nil)
	require.Equal(t, 401, status)
	do("POST", "/login", alice)
	_, body := do("GET", "/tasks", nil)
	require.JSONEq(t, `{"user":"alice","tasks":null}`, body)
}

func TestAnErrorOfAHandlerIsAnswered(t *testing.T) {
	status, body := visit(t)("GET", "/failing", nil)
	require.Equal(t, http.StatusTeapot, status)
	require.JSONEq(t, `{"message":"no tea"}`, body)
}
