package scsguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// newManager returns a manager as an application would set it up. Its store has
// no clean-up goroutine, so it may be used in a synctest bubble; scs.New starts
// one of its own, so the manager has to be made outside.
func newManager() *scs.SessionManager {
	sm := scs.New()
	sm.Store = memstore.NewWithCleanupInterval(0)
	sm.Cookie.Name, sm.Cookie.Secure = "__Host-session", true
	return sm
}

// sink keeps what it is given, and can be told to fail.
type sink struct {
	mu    sync.Mutex
	lines []string
	err   error
	calls int
}

func (s *sink) Append(_ context.Context, records [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err != nil {
		return s.err
	}
	for _, r := range records {
		s.lines = append(s.lines, string(r))
	}
	return nil
}

// appends returns how often the sink was called.
func (s *sink) appends() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// event is a line of the trail, decoded.
type event map[string]any

func (e event) str(name string) string { v, _ := e[name].(string); return v }

func (s *sink) events(t testing.TB, kinds ...scsguard.EventKind) []event {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []event
	for _, line := range s.lines {
		var e event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		if len(kinds) == 0 || slices.Contains(kinds, scsguard.EventKind(e.str("event"))) {
			list = append(list, e)
		}
	}
	return list
}

// endings returns the endings in the trail, each counted once.
func (s *sink) endings(t testing.TB) map[string]event {
	t.Helper()
	ends := make(map[string]event)
	for _, e := range s.events(t, scsguard.EventLogout, scsguard.EventTimeout) {
		if _, ok := ends[e.str("id")]; !ok {
			ends[e.str("id")] = e
		}
	}
	return ends
}

// bubble runs a test of a guarded application in simulated time.
func bubble(t *testing.T, f func(*testing.T, *app), change ...func(*scsguard.Config)) {
	t.Helper()
	bubbleOn(t, newManager(), f, change...)
}

func bubbleOn(t *testing.T, sm *scs.SessionManager, f func(*testing.T, *app), change ...func(*scsguard.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newApp(t, sm, change...)) })
}

// app is a small application: everything a test needs a handler for, by path.
type app struct {
	t     testing.TB
	sm    *scs.SessionManager
	guard *scsguard.Guard
	sink  *sink
	mux   *http.ServeMux
	serve http.Handler
}

// newApp makes a guarded application. Call it inside a bubble, with a manager
// from outside.
func newApp(t testing.TB, sm *scs.SessionManager, change ...func(*scsguard.Config)) *app {
	t.Helper()
	a := &app{t: t, sm: sm, sink: &sink{}, mux: http.NewServeMux()}
	cfg := scsguard.Config{
		Timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour},
		Audit:    a.sink,
	}
	for _, f := range change {
		f(&cfg)
	}
	guard, err := scsguard.New(sm, cfg)
	require.NoError(t, err)
	a.guard = guard
	t.Cleanup(func() { // a sink that a test left failing must not keep it for ever
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = guard.Close(ctx)
	})
	a.serve = guard.Protect(a.mux)

	a.handle("/login", func(w http.ResponseWriter, r *http.Request) error {
		opts := []scsguard.LoginOption{}
		if end := r.FormValue("end"); end != "" {
			opts = append(opts, scsguard.EndSession(end))
		}
		if role := r.FormValue("role"); role != "" {
			opts = append(opts, scsguard.Role(role))
		}
		s, err := guard.Login(r.Context(), r.FormValue("user"), opts...)
		if err == nil {
			sm.Put(r.Context(), "user", r.FormValue("user"))
			fmt.Fprint(w, s.ID)
		}
		return err
	})
	a.handle("/logout", func(w http.ResponseWriter, r *http.Request) error { return guard.Logout(r.Context()) })
	a.handle("/whoami", func(w http.ResponseWriter, r *http.Request) error {
		s, ok := guard.Current(r.Context())
		if !ok {
			http.Error(w, string(guard.Ended(r.Context())), http.StatusUnauthorized)
			return nil
		}
		_, err := fmt.Fprintf(w, "%s %s", s.User, s.Role)
		return err
	})
	a.handle("/put", func(w http.ResponseWriter, r *http.Request) error {
		sm.Put(r.Context(), r.FormValue("k"), r.FormValue("v"))
		return nil
	})
	a.handle("/get", func(w http.ResponseWriter, r *http.Request) error {
		_, err := fmt.Fprint(w, sm.GetString(r.Context(), r.FormValue("k")))
		return err
	})
	a.handle("/elevate", func(w http.ResponseWriter, r *http.Request) error {
		_, err := guard.Elevate(r.Context(), r.FormValue("role"))
		return err
	})
	a.handle("/reauth", func(w http.ResponseWriter, r *http.Request) error {
		opts := []scsguard.ReauthOption{scsguard.Methods("pwd")}
		if r.FormValue("full") != "" {
			opts = append(opts, scsguard.Full())
		}
		_, err := guard.Reauthenticated(r.Context(), opts...)
		return err
	})
	a.handle("/extend", func(w http.ResponseWriter, r *http.Request) error {
		_, err := guard.Extend(r.Context())
		return err
	})
	a.handle("/renew", func(w http.ResponseWriter, r *http.Request) error { return sm.RenewToken(r.Context()) })
	a.handle("/destroy", func(w http.ResponseWriter, r *http.Request) error { return sm.Destroy(r.Context()) })
	a.mux.Handle("/passive", guard.Passive(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := guard.Current(r.Context()); !ok {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})))
	return a
}

// handle mounts a handler whose error becomes a status.
func (a *app) handle(path string, h func(http.ResponseWriter, *http.Request) error) {
	a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		var limit *scsguard.LimitError
		var ended *scsguard.EndedError
		switch {
		case err == nil:
		case errors.As(err, &limit), errors.As(err, &ended), errors.Is(err, scsguard.ErrMoved):
			http.Error(w, err.Error(), http.StatusConflict)
		case errors.Is(err, scsguard.ErrUnavailable):
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case errors.Is(err, scsguard.ErrNotLoggedIn), errors.Is(err, scsguard.ErrRevoked):
			http.Error(w, err.Error(), http.StatusUnauthorized)
		default:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// browser keeps cookies as a browser does: by name, until one is cleared.
type browser struct {
	h     http.Handler
	agent string
	addr  string

	mu      sync.Mutex
	cookies map[string]string
}

func (a *app) browser() *browser { return newBrowser(a.serve) }

func newBrowser(h http.Handler) *browser {
	return &browser{h: h, agent: "test browser", addr: "192.0.2.1:4711", cookies: make(map[string]string)}
}

// answer is a response, read.
type answer struct {
	Code   int
	Body   string
	Header http.Header
}

func (b *browser) request(method, target string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = b.addr
	r.Header.Set("User-Agent", b.agent)
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

func (b *browser) get(target string) answer { return b.do(b.request(http.MethodGet, target)) }

func (b *browser) do(r *http.Request) answer {
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	return b.take(w)
}

// take stores the cookies of a response.
func (b *browser) take(w *httptest.ResponseRecorder) answer {
	res := w.Result()
	body, _ := io.ReadAll(res.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return answer{Code: res.StatusCode, Body: string(body), Header: res.Header}
}

func (b *browser) token() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cookies["__Host-session"]
}

// copy is a thief with the same cookie on the same machine.
func (b *browser) copy() *browser {
	c := newBrowser(b.h)
	c.agent, c.addr = b.agent, b.addr
	if token := b.token(); token != "" {
		c.cookies["__Host-session"] = token
	}
	return c
}

// login logs in and returns the session ID.
func (b *browser) login(t testing.TB, user string) string {
	t.Helper()
	res := b.get("/login?user=" + user)
	require.Equal(t, http.StatusOK, res.Code, res.Body)
	return res.Body
}

func (b *browser) whoami() string {
	res := b.get("/whoami")
	if res.Code != http.StatusOK {
		return strings.TrimSpace(fmt.Sprintf("%d %s", res.Code, res.Body))
	}
	return strings.TrimSpace(res.Body)
}

// pause mounts a handler that does something, waits to be released and does
// something else: a request in flight.
func (a *app) pause(path string, before, after func(http.ResponseWriter, *http.Request)) (entered, release chan struct{}) {
	entered, release = make(chan struct{}), make(chan struct{})
	a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if before != nil {
			before(w, r)
		}
		close(entered)
		<-release
		if after != nil {
			after(w, r)
		}
	})
	return entered, release
}

// inFlight starts a request and returns when it is inside its handler.
func (b *browser) inFlight(target string, entered chan struct{}) (answered chan answer) {
	answered = make(chan answer, 1)
	go func() { answered <- b.get(target) }()
	<-entered
	return answered
}

// storeKeys returns what the application's own store holds.
func storeKeys(t testing.TB, sm *scs.SessionManager) map[string][]byte {
	t.Helper()
	inner := sm.Store.(interface{ Unwrap() scs.Store }).Unwrap()
	all, err := inner.(scs.IterableStore).All()
	require.NoError(t, err)
	return all
}
