package redisregistry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// app is a small guarded application with everything in Redis. Several with the same
// prefix are as many processes of one application.
type app struct {
	*guardtest.App
	mux   *http.ServeMux
	store *redisregistry.Store
}

type setting func(*scs.SessionManager, *scsguard.Config)

var testKeys = [][]byte{[]byte("a secret of the test of thirty-two bytes")}

func newApp(t *testing.T, pool redisregistry.Pool, prefix redisregistry.Option, settings ...setting) *app {
	t.Helper()
	a := &app{mux: http.NewServeMux(), store: redisregistry.NewStore(pool, prefix)}
	sm := guardtest.NewManager()
	sm.Store = a.store
	a.App = guardtest.NewWith(t, sm, func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys, cfg.SweepEvery = redisregistry.New(pool, prefix), testKeys, -1
		for _, f := range settings {
			f(sm, cfg)
		}
	})
	a.Handler = a.Guard.Protect(a.mux)
	a.handle("/login", func(w http.ResponseWriter, r *http.Request) error {
		s, err := a.Guard.Login(r.Context(), r.FormValue("user"))
		if err == nil {
			a.Sessions.Put(r.Context(), "user", r.FormValue("user"))
			fmt.Fprint(w, s.ID)
		}
		return err
	})
	a.handle("/logout", func(_ http.ResponseWriter, r *http.Request) error { return a.Guard.Logout(r.Context()) })
	a.handle("/elevate", func(_ http.ResponseWriter, r *http.Request) error {
		_, err := a.Guard.Elevate(r.Context(), "admin")
		return err
	})
	a.handle("/put", func(_ http.ResponseWriter, r *http.Request) error {
		a.Sessions.Put(r.Context(), r.FormValue("k"), "v")
		return nil
	})
	a.handle("/remove", func(_ http.ResponseWriter, r *http.Request) error {
		a.Sessions.Remove(r.Context(), r.FormValue("k"))
		return nil
	})
	a.handle("/keys", func(w http.ResponseWriter, r *http.Request) error {
		_, err := fmt.Fprint(w, strings.Join(a.Sessions.Keys(r.Context()), " "))
		return err
	})
	a.handle("/whoami", func(w http.ResponseWriter, r *http.Request) error {
		s, ok := a.Guard.Current(r.Context())
		if !ok {
			http.Error(w, string(a.Guard.Ended(r.Context())), http.StatusUnauthorized)
			return nil
		}
		_, err := fmt.Fprint(w, s.User)
		return err
	})
	return a
}

// handle mounts a handler whose error becomes a status.
func (a *app) handle(path string, h func(http.ResponseWriter, *http.Request) error) {
	a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		var limit *scsguard.LimitError
		switch err := h(w, r); {
		case err == nil:
		case errors.As(err, &limit):
			http.Error(w, err.Error(), http.StatusConflict)
		case errors.Is(err, scsguard.ErrUnavailable):
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		default:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	})
}

// pause mounts a handler that waits to be released: a request in flight.
func (a *app) pause(path string, after func(*http.Request)) (entered, release chan struct{}) {
	entered, release = make(chan struct{}), make(chan struct{})
	a.mux.HandleFunc(path, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		after(r)
	})
	return entered, release
}

func get(b *guardtest.Browser, target string) chan guardtest.Answer {
	answered := make(chan guardtest.Answer, 1)
	go func() { answered <- b.Get(target) }()
	return answered
}

func login(t *testing.T, a *app, user string) (*guardtest.Browser, string) {
	t.Helper()
	b := a.Browser(t)
	answer := b.Get("/login?user=" + user)
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return b, answer.Body
}

func who(b *guardtest.Browser) string {
	answer := b.Get("/whoami")
	if answer.Status != http.StatusOK {
		return strings.TrimSpace(fmt.Sprintf("%d %s", answer.Status, answer.Body))
	}
	return answer.Body
}

// mortalityOf demands that everything in the server expires some day.
func mortalityOf(t *testing.T, server *redistest.Server) {
	t.Helper()
	c, err := server.Dial(context.Background())
	require.NoError(t, err)
	defer c.Close()
	keys, err := redistest.Immortal(context.Background(), c)
	require.NoError(t, err)
	require.Empty(t, keys, "these have no time to live")
}

// startRedis is a server of its own for a test, whose keys are looked at in the end.
func startRedis(t *testing.T) *redistest.Server {
	t.Helper()
	t.Parallel()
	server := redistest.Start(t)
	t.Cleanup(func() { mortalityOf(t, server) })
	return server
}

// dial opens a connection of the test's own.
func dial(t *testing.T, server *redistest.Server) redis.Conn {
	t.Helper()
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func limits(idle, absolute time.Duration) setting {
	return func(_ *scs.SessionManager, cfg *scsguard.Config) {
		cfg.Timeouts = scsguard.Timeouts{Idle: idle, Absolute: absolute, Touch: 10 * time.Millisecond}
	}
}

func limit(n int, what scsguard.OnExceed) setting {
	return func(_ *scs.SessionManager, cfg *scsguard.Config) {
		cfg.Limit = scsguard.Limit{Max: n, OnExceed: what}
	}
}

func hashed(sm *scs.SessionManager, _ *scsguard.Config) { sm.HashTokenInStore = true }

func merging(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.MergeWrites = true }
