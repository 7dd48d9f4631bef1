package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// defaults are what the flags default to, with cheap passwords.
func defaults() options {
	return options{
		timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour},
		limit:    scsguard.Limit{Max: 3, OnExceed: scsguard.Warn},
		hashing:  1,
	}
}

// server is the application with its trail in a file.
type server struct {
	t       *testing.T
	app     *app
	handler http.Handler
	dir     string
	broken  atomic.Bool // the trail cannot be written
	log     *lockedBuffer
}

// newManager returns a session manager without goroutines of its own. One for
// simulated time has to be made outside of the bubble, since scs.New starts one.
func newManager() *scs.SessionManager {
	sm := scs.New()
	sm.Store = memstore.NewWithCleanupInterval(0)
	return sm
}

func newServer(t *testing.T, change ...func(*options)) *server {
	return newServerOn(t, newManager(), change...)
}

func newServerOn(t *testing.T, sm *scs.SessionManager, change ...func(*options)) *server {
	t.Helper()
	o := defaults()
	for _, f := range change {
		f(&o)
	}
	s := &server{t: t, dir: filepath.Join(t.TempDir(), "trail"), log: &lockedBuffer{}}
	require.NoError(t, os.MkdirAll(s.dir, 0o700))
	trail, err := os.Create(filepath.Join(s.dir, "trail.jsonl")) // the sealed one is tested where the command is
	require.NoError(t, err)
	file := scsguard.NewWriterSink(trail)
	sink := scsguard.SinkFunc(func(ctx context.Context, records [][]byte) error {
		if s.broken.Load() {
			return errors.New("/var/secret: no space left on device")
		}
		return file.Append(ctx, records)
	})
	s.app, err = newApp(sm, sink, o, slog.New(slog.NewTextHandler(s.log, nil)))
	require.NoError(t, err)
	s.handler = s.app.routes()
	t.Cleanup(func() {
		s.broken.Store(false)
		require.NoError(t, s.app.guard.Close(context.Background()))
		require.NoError(t, trail.Close())
	})
	return s
}

// bubble runs a test in simulated time.
func bubble(t *testing.T, test func(*testing.T, *server), change ...func(*options)) {
	t.Helper()
	sm := newManager()
	synctest.Test(t, func(t *testing.T) { test(t, newServerOn(t, sm, change...)) })
}

// event is a line of the trail.
type event map[string]any

// events returns the events of a kind that are in the file now. What nobody
// waits for is handed to the file a little later, so this asks until enough are
// there, or the test is over.
func (s *server) events(kind string, enough int) []event {
	s.t.Helper()
	var found []event
	require.Eventually(s.t, func() bool {
		b, err := os.ReadFile(filepath.Join(s.dir, "trail.jsonl"))
		require.NoError(s.t, err)
		found = nil
		for line := range strings.Lines(string(b)) {
			if !strings.HasSuffix(line, "\n") {
				break // it is being written
			}
			var e event
			require.NoError(s.t, json.Unmarshal([]byte(line), &e), line)
			if e["event"] == kind {
				found = append(found, e)
			}
		}
		return len(found) >= enough
	}, time.Minute, 5*time.Millisecond, "%d events %s", enough, kind)
	return found
}

// visitor keeps cookies and makes requests: as a program, or as a browser.
type visitor struct {
	t      *testing.T
	client *http.Client
	base   string
	accept string
}

func (s *server) visitor() *visitor {
	return newVisitor(s.t, "https://bank.example", inProcess{s.handler})
}

func (s *server) browser() *visitor {
	v := s.visitor()
	v.accept = "text/html,application/xhtml+xml,*/*;q=0.8"
	return v
}

func newVisitor(t *testing.T, base string, transport http.RoundTripper) *visitor {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &visitor{t: t, base: base, accept: "*/*", client: &http.Client{Transport: transport, Jar: jar}}
}

// inProcess calls a handler without a network.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr, in.Host = r.URL.RequestURI(), "192.0.2.1:4711", r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, in)
	res := w.Result()
	res.Request = r
	return res, r.Context().Err()
}

// answer is a response, read.
type answer struct {
	Code   int
	Path   string // after redirects
	Header http.Header
	Body   string
	JSON   map[string]any
}

func (v *visitor) do(r *http.Request) answer {
	v.t.Helper()
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", v.accept)
	}
	res, err := v.client.Do(r)
	require.NoError(v.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(v.t, err)
	a := answer{Code: res.StatusCode, Path: res.Request.URL.Path, Header: res.Header, Body: string(body)}
	if strings.Contains(res.Header.Get("Content-Type"), "json") {
		require.NoError(v.t, json.Unmarshal(body, &a.JSON), a.Body)
	}
	return a
}

func (v *visitor) request(method, path, contentType, body string) *http.Request {
	v.t.Helper()
	r, err := http.NewRequest(method, v.base+path, bytes.NewBufferString(body))
	require.NoError(v.t, err)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func (v *visitor) get(path string) answer { v.t.Helper(); return v.do(v.request("GET", path, "", "")) }

func (v *visitor) delete(path string) answer {
	v.t.Helper()
	return v.do(v.request("DELETE", path, "", ""))
}

// post sends a form of names and values.
func (v *visitor) post(path string, fields ...string) answer {
	v.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return v.do(v.request("POST", path, "application/x-www-form-urlencoded", form.Encode()))
}

func (v *visitor) postJSON(path, body string) answer {
	v.t.Helper()
	return v.do(v.request("POST", path, "application/json", body))
}

// login logs in and returns the session.
func (v *visitor) login(user string) string {
	v.t.Helper()
	res := v.post("/login", "user", user, "password", demoPassword)
	require.Equal(v.t, 200, res.Code, res.Body)
	id, _ := res.JSON["session"].(string)
	return id
}

// copy is somebody else with the same cookies.
func (v *visitor) copy() *visitor {
	c := newVisitor(v.t, v.base, v.client.Transport)
	c.accept = v.accept
	at, err := url.Parse(v.base)
	require.NoError(v.t, err)
	c.client.Jar.SetCookies(at, v.client.Jar.Cookies(at))
	return c
}

func (v *visitor) token() string {
	at, err := url.Parse(v.base)
	require.NoError(v.t, err)
	for _, c := range v.client.Jar.Cookies(at) {
		if c.Name == "__Host-session" {
			return c.Value
		}
	}
	return ""
}

// requireProblem checks an answer that says what is wrong.
func requireProblem(t *testing.T, a answer, status int, code string) {
	t.Helper()
	require.Equal(t, status, a.Code, a.Body)
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	require.Equal(t, "about:blank", a.JSON["type"])
	require.Equal(t, http.StatusText(status), a.JSON["title"])
	require.EqualValues(t, status, a.JSON["status"])
	require.NotEmpty(t, a.JSON["detail"])
	require.Equal(t, code, a.JSON["code"], a.Body)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
