package main

import (
	"bufio"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// follow logs in and opens the stream.
func follow(t *testing.T, base string) (*http.Client, *bufio.Reader) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	u, err := url.Parse(base)
	require.NoError(t, err)
	res, err := http.PostForm(base+"/login", url.Values{"user": {"alice"}, "password": {"demo"}})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	for _, c := range res.Cookies() {
		c.Secure = false // the jar would keep it from plain HTTP, as Safari does
		jar.SetCookies(u, []*http.Cookie{c})
	}
	c := &http.Client{Jar: jar}
	res, err = c.Get(base + "/stream")
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	return c, bufio.NewReader(res.Body)
}

func line(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	s, err := r.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSuffix(s, "\n")
}

func TestTheStreamTellsWhyTheSessionEndedAndEnds(t *testing.T) {
	srv := run(t)
	c, stream := follow(t, srv.url)
	require.Equal(t, "event: tick", line(t, stream))
	require.Contains(t, line(t, stream), `data: {"server_time":"20`)
	require.Empty(t, line(t, stream))
	res, err := c.Post(srv.url+"/logout", "", nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 204, res.StatusCode)
	rest, err := io.ReadAll(stream)
	require.NoError(t, err, "it is closed as any answer is")
	require.True(t, strings.HasSuffix(string(rest), "event: ended\ndata: {\"reason\":\"ended_by_you\"}\n\n"), string(rest))
}

func TestAStreamDoesNotHoldUpTheShutdown(t *testing.T) {
	srv := run(t)
	_, stream := follow(t, srv.url)
	line(t, stream)
	start := time.Now()
	require.NoError(t, srv.stop())
	require.Less(t, time.Since(start), 9*time.Second)
	_, err := io.ReadAll(stream)
	require.NoError(t, err)
}

func TestTheStreamIsForThoseWhoAreLoggedIn(t *testing.T) {
	s := newServer(t)
	requireProblem(t, s.visitor().get("/stream"), 401, "login_required")
}
