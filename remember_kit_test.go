package scsguard_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

const (
	rememberCookie   = "__Host-remember"
	rememberLifetime = 30 * 24 * time.Hour
	rememberGrace    = 30 * time.Second
)

func withRemember(cfg *scsguard.Config) { cfg.Remember.Store = scsguard.NewMemoryRememberStore() }

// anyRegistry is a registry in memory that does not look like one, so that the
// guard takes any remember store beside it.
type anyRegistry struct{ scsguard.Registry }

// watched is a remember store that can fail, counts, and shows what it holds.
type watched struct {
	inner scsguard.RememberStore

	mu     sync.Mutex
	err    error
	loads  int
	swaps  int
	values map[string][]byte
	before func(op string)
}

func newWatched() *watched {
	return &watched{inner: scsguard.NewMemoryRememberStore(), values: make(map[string][]byte)}
}

func (s *watched) use(cfg *scsguard.Config) {
	cfg.Remember.Store, cfg.Keys = s, [][]byte{make([]byte, 32)}
	if cfg.Registry == nil {
		cfg.Registry = anyRegistry{scsguard.NewMemoryRegistry()}
	}
}

func (s *watched) enter(op string) error {
	s.mu.Lock()
	if op == "load" {
		s.loads++
	} else {
		s.swaps++
	}
	err, before := s.err, s.before
	s.mu.Unlock()
	if before != nil {
		before(op)
	}
	return err
}

func (s *watched) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *watched) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads + s.swaps
}

func (s *watched) held() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.values)
}

func (s *watched) Load(ctx context.Context, id string) ([]byte, time.Time, error) {
	if err := s.enter("load"); err != nil {
		return nil, time.Time{}, err
	}
	return s.inner.Load(ctx, id)
}

func (s *watched) Swap(ctx context.Context, id string, old, value []byte, ttl time.Duration) (bool, error) {
	if err := s.enter("swap"); err != nil {
		return false, err
	}
	ok, err := s.inner.Swap(ctx, id, old, value, ttl)
	if ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.values[id] = slices.Clone(value); len(value) == 0 {
			delete(s.values, id)
		}
	}
	return ok, err
}

// rememberApp adds what a test of remembered browsers needs.
func rememberApp(a *app) *app {
	a.handle("/remember", func(w http.ResponseWriter, r *http.Request) error {
		s, err := a.guard.Login(r.Context(), r.FormValue("user"), scsguard.RememberMe(), scsguard.Methods("pwd", "otp"), scsguard.AAL(2))
		if err == nil {
			_, err = w.Write([]byte(s.ID))
		}
		return err
	})
	a.mux.Handle("/private", a.guard.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := a.guard.Current(r.Context())
		_, _ = w.Write([]byte(s.ID))
	})))
	a.handle("/public", func(w http.ResponseWriter, r *http.Request) error { _, err := w.Write([]byte("welcome")); return err })
	a.handle("/change-password", func(w http.ResponseWriter, r *http.Request) error {
		_, err := a.guard.EndAll(r.Context(), "alice", scsguard.PasswordChanged(), scsguard.ExceptCurrent())
		return err
	})
	a.handle("/end-others", func(w http.ResponseWriter, r *http.Request) error {
		_, err := a.guard.EndOthers(r.Context())
		return err
	})
	a.handle("/end", func(w http.ResponseWriter, r *http.Request) error {
		return a.guard.End(r.Context(), r.FormValue("id"), scsguard.Of("alice"), scsguard.By("root"))
	})
	return a
}

// rememberBubble is bubble with remembered browsers.
func rememberBubble(t *testing.T, f func(*testing.T, *app), change ...func(*scsguard.Config)) {
	t.Helper()
	sm := newManager()
	synctest.Test(t, func(t *testing.T) {
		f(t, rememberApp(newApp(t, sm, append([]func(*scsguard.Config){withRemember}, change...)...)))
	})
}

// remember logs in and ticks the box. It returns the session's ID.
func (b *browser) remember(t testing.TB, user string) string {
	t.Helper()
	res := b.get("/remember?user=" + user)
	require.Equal(t, http.StatusOK, res.Code, res.Body)
	require.NotEmpty(t, b.cookie(rememberCookie))
	return res.Body
}

func (b *browser) cookie(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cookies[name]
}

func (b *browser) set(name, value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cookies[name] = value; value == "" {
		delete(b.cookies, name)
	}
}

// restart closes the browser's windows: the session cookie is gone.
func (b *browser) restart() { b.set("__Host-session", "") }

// twin is somebody with the same cookies, on the same kind of device.
func (b *browser) twin() *browser {
	c := newBrowser(b.h)
	c.agent, c.addr = b.agent, b.addr
	b.mu.Lock()
	defer b.mu.Unlock()
	c.cookies = maps.Clone(b.cookies)
	return c
}

func (a *app) sessionsOf(t testing.TB, user string) []scsguard.Session {
	t.Helper()
	list, err := a.guard.SessionsOf(context.Background(), user)
	require.NoError(t, err)
	return list
}

// requireOneEndingEach checks that each login of the trail lives or has ended.
func (a *app) requireOneEndingEach(t testing.TB, users ...string) {
	t.Helper()
	_, err := a.guard.Sweep(context.Background())
	require.NoError(t, err)
	synctest.Wait()
	alive := map[string]bool{}
	for _, user := range users {
		for _, s := range a.sessionsOf(t, user) {
			alive[s.ID] = true
		}
	}
	ends := a.sink.endings(t)
	for _, e := range a.sink.events(t, scsguard.EventLogin) {
		if id := e.str("session"); e.str("outcome") == "success" {
			require.True(t, alive[id] != (ends[id+"/end"] != nil), "session %s: alive %v, ending %v", id, alive[id], ends[id+"/end"])
		}
	}
}

var errRefused = errors.New("the account is locked")
