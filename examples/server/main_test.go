package main

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// running is a server with everything that main gives it.
type running struct {
	url   string
	trail string
	stop  func() error // as by a signal
}

func run(t *testing.T, change ...func(*options)) running {
	t.Helper()
	o := defaults()
	o.trail = filepath.Join(t.TempDir(), "data", "trail")
	for _, f := range change {
		f(&o)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, ln, o, slog.New(slog.DiscardHandler)) }()
	stopped := false
	stop := func() error {
		stopped = true
		cancel()
		return <-served
	}
	t.Cleanup(func() {
		if !stopped {
			require.NoError(t, stop())
		}
	})
	return running{url: "http://" + ln.Addr().String(), trail: filepath.Join(o.trail, "trail.jsonl"), stop: stop}
}

func TestServe(t *testing.T) {
	srv := run(t)
	res, err := http.Post(srv.url+"/login", "application/json", strings.NewReader(`{"user": "alice", "password": "demo"}`))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 200, res.StatusCode)

	// A request that is under way is answered before the server stops.
	conn, err := net.Dial("tcp", strings.TrimPrefix(srv.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET /slow?d=200ms HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"))
	require.NoError(t, err)
	healthy, err := http.Get(srv.url + "/healthz") // accepted after that one
	require.NoError(t, err)
	require.NoError(t, healthy.Body.Close())
	require.NoError(t, srv.stop())
	late, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, late.Body.Close())
	require.Equal(t, 200, late.StatusCode)

	b, err := os.ReadFile(srv.trail)
	require.NoError(t, err)
	var last map[string]any
	for line := range strings.Lines(string(b)) {
		require.NoError(t, json.Unmarshal([]byte(line), &last))
	}
	require.Equal(t, "logout", last["event"], "the sessions that were left are ended")
	require.Equal(t, "shutdown", last["reason"])

	for path, mode := range map[string]os.FileMode{srv.trail: 0o600, filepath.Dir(srv.trail): 0o700} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
}

func TestTheTourOfTheReadme(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, "this test needs curl: apt-get install curl")
	}
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	tour := regexp.MustCompile("(?s)```sh\n(B=http://127.0.0.1:4000\n.*?)```").FindSubmatch(readme)
	require.NotNil(t, tour)
	srv := run(t)
	script := strings.NewReplacer("http://127.0.0.1:4000", srv.url, "data/trail/trail.jsonl", srv.trail).Replace(string(tour[1]))
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, part := range []string{`"last_login":null`, `"last_login":{"time":"`, `"warnings":[{"time":"`, `"transaction":"`, `"sessions":[{"session":"`,
		`{"ended":1}`, `"reason":"ended_by_you"`, `"event":"transfer"`, `"event":"reauth"`} {
		require.Contains(t, string(out), part)
	}
	require.NotContains(t, string(out), "wrong_password")
	require.Regexp(t, `"event":"logout".*\n$`, string(out))
}

func TestTheTrailIsAppendedTo(t *testing.T) {
	dir := t.TempDir()
	for _, line := range []string{"one\n", "two\n"} {
		f, err := openTrail(dir)
		require.NoError(t, err)
		_, err = f.Write([]byte(line))
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	b, err := os.ReadFile(filepath.Join(dir, "trail.jsonl"))
	require.NoError(t, err)
	require.Equal(t, "one\ntwo\n", string(b))
}

func TestTheTrailCanGoToAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	stdout := os.Stdout
	os.Stdout = w
	trail, err := openTrail("-")
	os.Stdout = stdout
	require.NoError(t, err)
	require.NoError(t, scsguard.NewWriterSink(trail).Append(t.Context(), [][]byte{[]byte(`{}`)}))
	require.NoError(t, trail.Close())
	_, err = w.Write([]byte("still open\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
}

func TestServeRefusesToBeginWithoutATrail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o := defaults()
	o.trail = file
	require.Error(t, serve(t.Context(), ln, o, slog.New(slog.DiscardHandler)))
	_, err = net.Dial("tcp", ln.Addr().String())
	require.Error(t, err, "the port is free again")
}

func TestServeRefusesSettingsThatMakeNoSense(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o := defaults()
	o.trail = t.TempDir()
	o.timeouts.Idle = 2 * o.timeouts.Absolute
	require.ErrorContains(t, serve(t.Context(), ln, o, slog.New(slog.DiscardHandler)), "Timeouts.Idle")
}
