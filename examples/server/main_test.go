package main

import (
	"bufio"
	"context"
	"io"
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
)

// running is a server with everything that main gives it.
type running struct {
	url    string
	trail  string
	anchor string
	stop   func() error // as by a signal
}

func run(t *testing.T, change ...func(*options)) running {
	t.Helper()
	o := defaults()
	data := filepath.Join(t.TempDir(), "data")
	o.trail, o.anchor = filepath.Join(data, "trail"), filepath.Join(data, "anchor")
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
	return running{url: "http://" + ln.Addr().String(), trail: o.trail, anchor: o.anchor, stop: stop}
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
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	healthy, err := fresh.Get(srv.url + "/healthz") // a connection that is accepted after that one
	require.NoError(t, err)
	require.NoError(t, healthy.Body.Close())
	require.NoError(t, srv.stop())
	late, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, late.Body.Close())
	require.Equal(t, 200, late.StatusCode)

	told, code := sealed(t, srv.trail, srv.anchor)
	require.Equal(t, 0, code, "intact and complete")
	last := told[len(told)-1]
	require.Equal(t, "logout", last["event"], "the sessions that were left are ended")
	require.Equal(t, "shutdown", last["reason"])
}

// Keys are secrets, and the trail says who was where and when (PCI DSS 10.3.1).
func TestPCI10_3_1_OnlyTheServersUserCanReadItsTrail(t *testing.T) {
	srv := run(t)
	res, err := http.Get(srv.url + "/healthz")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	data := filepath.Dir(srv.trail)
	segments, err := filepath.Glob(filepath.Join(srv.trail, "*", "*.log"))
	require.NoError(t, err)
	require.Len(t, segments, 1)
	for path, mode := range map[string]os.FileMode{
		filepath.Join(data, "keys"): 0o700, filepath.Join(data, "keys", "trail.key"): 0o600, srv.anchor: 0o700,
		srv.trail: 0o700, filepath.Dir(segments[0]): 0o700, segments[0]: 0o600,
	} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
}

func TestASVS16_2_5_NoTokenIsInTheSealedTrail(t *testing.T) {
	srv := run(t)
	v := newVisitor(t, srv.url, http.DefaultTransport)
	v.login("admin")
	tokens := []string{v.token()}
	require.Equal(t, 200, v.post("/elevate", "password", "demo").Code)
	tokens = append(tokens, v.token())
	require.NotEqual(t, tokens[0], tokens[1])
	var all []byte
	require.NoError(t, filepath.WalkDir(filepath.Dir(srv.trail), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, b...)
		return err
	}))
	require.Contains(t, string(all), `"event":"privilege_change"`)
	for _, token := range tokens {
		require.Len(t, token, 43)
		require.NotContains(t, string(all), token)
	}
	require.NotContains(t, string(all), `"demo"`)
}

func TestTheVerificationKeyIsPrintedAndTheSameAtEachStart(t *testing.T) {
	o := defaults()
	o.trail, o.anchor = filepath.Join(t.TempDir(), "trail"), t.TempDir()
	var printed []string
	for range 2 {
		var log lockedBuffer
		trail, closeTrail, err := openTrail(o, slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		require.NoError(t, trail.Append(t.Context(), [][]byte{[]byte(`{"event":"test"}`)}))
		require.NoError(t, closeTrail())
		key := regexp.MustCompile(`verification key"=(\S+)`).FindStringSubmatch(log.String())
		require.Len(t, key, 2, log.String())
		printed = append(printed, key[1])
	}
	require.Equal(t, printed[0], printed[1])
	code, out, errs := scsguardCommand(t, "verify", o.trail, "--anchor", o.anchor, "--key", printed[0])
	require.Equal(t, 0, code, out+errs)
	told, _ := sealed(t, o.trail, o.anchor)
	require.Len(t, told, 2, "one trail, in two streams")
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
	script := strings.ReplaceAll(srv.in(string(tour[1])), "go run ./cmd/scsguard", program(t, "scsguard"))
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, part := range []string{`"last_login":null`, `"last_login":{"time":"`, `"warnings":[{"time":"`, `"transaction":"`, `"sessions":[{"session":"`,
		`{"ended":1}`, `"reason":"ended_by_you"`, `"event":"transfer"`, `"event":"reauth"`} {
		require.Contains(t, string(out), part)
	}
	require.NotContains(t, string(out), "wrong_password")
	require.Regexp(t, `"event":"logout".*\n(?s:.*)integrity     OK\ncompleteness  ANCHORED\n$`, string(out))
}

func TestTheTrailCanGoToAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	stdout := os.Stdout
	os.Stdout = w
	trail, closeTrail, err := openTrail(options{trail: "-"}, slog.New(slog.DiscardHandler))
	os.Stdout = stdout
	require.NoError(t, err)
	require.NoError(t, trail.Append(t.Context(), [][]byte{[]byte(`{}`)}))
	require.NoError(t, closeTrail())
	_, err = w.Write([]byte("still open\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "{}\nstill open\n", string(b))
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
	o.trail, o.anchor = filepath.Join(t.TempDir(), "trail"), t.TempDir()
	o.timeouts.Idle = 2 * o.timeouts.Absolute
	require.ErrorContains(t, serve(t.Context(), ln, o, slog.New(slog.DiscardHandler)), "Timeouts.Idle")
}
