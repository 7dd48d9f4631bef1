package main

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/internal/redistest"
)

// ask sends a request with a cookie and returns status, body and the cookie after it.
func ask(t *testing.T, method, url, body, cookie string) (int, string, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Cookie", cookie)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	for _, c := range res.Cookies() {
		cookie = c.Name + "=" + c.Value
	}
	return res.StatusCode, string(b), cookie
}

func TestServersOnOneRedisAreOneApplication(t *testing.T) {
	for name, scheme := range map[string]string{"an address": "", "a URL": "redis://"} {
		t.Run(name, func(t *testing.T) {
			redis := redistest.Start(t)
			key := filepath.Join(t.TempDir(), "key")
			shared := func(o *options) { o.redis, o.key = scheme+redis.Addr, key }
			one, two := run(t, shared), run(t, shared)
			status, body, cookie := ask(t, "POST", one.url+"/login", `{"user": "alice", "password": "demo"}`, "")
			require.Equal(t, 200, status, body)
			status, body, _ = ask(t, "GET", two.url+"/whoami", "", cookie)
			require.Equal(t, 200, status)
			require.Contains(t, body, "alice")
			status, _, _ = ask(t, "POST", two.url+"/logout", "", cookie)
			require.Equal(t, 204, status)
			status, _, _ = ask(t, "GET", one.url+"/whoami", "", cookie)
			require.Equal(t, 401, status)

			// A session outlives the servers.
			_, _, cookie = ask(t, "POST", one.url+"/login", `{"user": "bob", "password": "demo"}`, "")
			require.NoError(t, one.stop())
			require.NoError(t, two.stop())
			status, body, _ = ask(t, "GET", run(t, shared).url+"/whoami", "", cookie)
			require.Equal(t, 200, status)
			require.Contains(t, body, "bob")
		})
	}
}
