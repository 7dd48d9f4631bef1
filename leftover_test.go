package scsguard_test

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// What a handler leaves behind: goroutines that go on with its context when it has
// panicked, and nobody can be told of a token any more.

// abandon mounts a handler that panics, and returns the context it had.
func (a *app) abandon(b *browser) context.Context {
	a.t.Helper()
	var left context.Context
	a.mux.HandleFunc("/panic", func(_ http.ResponseWriter, r *http.Request) {
		left = r.Context()
		panic(http.ErrAbortHandler)
	})
	require.Panics(a.t, func() { b.get("/panic") })
	return left
}

func TestNobodyIsLoggedInWithTheContextOfARequestThatIsOver(t *testing.T) {
	for name, login := range map[string]func(a *app, ctx context.Context) error{
		"Login":           func(a *app, ctx context.Context) error { return second(a.guard.Login(ctx, "alice")) },
		"Elevate":         func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) },
		"Reauthenticated": func(a *app, ctx context.Context) error { return second(a.guard.Reauthenticated(ctx)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				b := a.browser()
				session := b.login(t, "alice")
				require.ErrorIs(t, login(a, a.abandon(b)), scsguard.ErrResponseStarted)
				require.Len(t, a.live("alice"), 1)
				require.Equal(t, session, a.live("alice")[0].ID)
				require.Equal(t, "alice", b.whoami())
			})
		})
	}
}

// The handler has gone while the login is on its way, so nobody waits for its cookie.
func TestALoginThatOutlivesItsHandlerIsTakenBack(t *testing.T) {
	store := &pausingStore{MemStore: memstore.NewWithCleanupInterval(0)}
	sm := newManager()
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		begun, gone := make(chan struct{}), make(chan struct{})
		store.pause = func() {
			close(begun)
			<-gone
		}
		var both sync.WaitGroup
		a.mux.HandleFunc("/panic", func(_ http.ResponseWriter, r *http.Request) {
			both.Go(func() { _, _ = a.guard.Login(r.Context(), "alice") })
			<-begun
			panic(http.ErrAbortHandler)
		})
		both.Go(func() { require.Panics(t, func() { a.browser().get("/panic") }) })
		<-begun
		for range 10_000 { // the request is over by now, or waits for the login
			runtime.Gosched()
		}
		close(gone)
		both.Wait()
		synctest.Wait()
		require.Empty(t, a.live("alice"))
		require.Len(t, a.sink.endings(t), 1)
	}, withMemoryRegistry)
}

func TestASessionThatIsDestroyedWhenItsRequestIsOverHasEnded(t *testing.T) {
	var mu sync.Mutex
	told := 0
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		session := b.login(t, "alice")
		require.NoError(t, a.sm.Destroy(a.abandon(b)))
		synctest.Wait()
		require.Equal(t, "destroyed", a.sink.endings(t)[session+"/end"].str("reason"))
		require.Equal(t, "401", b.whoami()[:3])
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, 1, told)
	}, func(cfg *scsguard.Config) {
		cfg.OnEvent = func(_ context.Context, e scsguard.Event) {
			if e.Kind == scsguard.EventLogout {
				mu.Lock()
				told++
				mu.Unlock()
			}
		}
	})
}

// slowDetach lets somebody else go first.
type slowDetach struct {
	scsguard.Registry
	begun, gone chan struct{}
}

func (s *slowDetach) Namespace(string) scsguard.Registry { return s }

func (s *slowDetach) Detach(ctx context.Context, key scsguard.Key, owner string, lease time.Duration) (scsguard.Record, bool, error) {
	if s.begun != nil {
		close(s.begun)
		<-s.gone
		s.begun = nil
	}
	return s.Registry.Detach(ctx, key, owner, lease)
}

func TestASessionThatIsBeingDestroyedWhenItsHandlerPanicsHasEnded(t *testing.T) {
	slow := &slowDetach{Registry: scsguard.NewMemoryRegistry()}
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		session := b.login(t, "alice")
		slow.begun, slow.gone = make(chan struct{}), make(chan struct{})
		begun := slow.begun
		var destroyed sync.WaitGroup
		a.mux.HandleFunc("/panic", func(_ http.ResponseWriter, r *http.Request) {
			destroyed.Go(func() { require.NoError(t, a.sm.Destroy(r.Context())) })
			<-begun
			panic(http.ErrAbortHandler)
		})
		require.Panics(t, func() { b.get("/panic") })
		close(slow.gone)
		destroyed.Wait()
		time.Sleep(2 * scsguard.Lease)
		require.Equal(t, "destroyed", a.sink.endings(t)[session+"/end"].str("reason"))
	}, func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys = slow, [][]byte{make([]byte, 32)}
	})
}

// http.TimeoutHandler answers in the place of a handler that takes too long, and
// throws away what that says.
func TestALoginWhoseAnswerCameTooLateIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		path  string
		live  int
	}{
		"in time":             {time.Second - time.Nanosecond, "/slow", 1},
		"too late":            {time.Second + time.Nanosecond, "/slow", 0},
		"without a body":      {time.Second + time.Nanosecond, "/redirect", 0},
		"a new token":         {time.Second + time.Nanosecond, "/renew-slowly", 0},
		"only the same token": {time.Second + time.Nanosecond, "/nothing", 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				login := func(r *http.Request) {
					_, err := a.guard.Login(r.Context(), "alice")
					require.NoError(t, err)
				}
				slowly := func(path string, verb func(*http.Request), answer func(http.ResponseWriter, *http.Request)) {
					a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
						time.Sleep(c.takes)
						verb(r)
						answer(w, r)
					})
				}
				welcome := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("welcome")) }
				slowly("/slow", login, welcome)
				slowly("/redirect", login, func(w http.ResponseWriter, r *http.Request) {
					r.Method = http.MethodPost
					http.Redirect(w, r, "/", http.StatusSeeOther)
				})
				slowly("/renew-slowly", func(r *http.Request) { require.NoError(t, a.sm.RenewToken(r.Context())) }, welcome)
				slowly("/nothing", func(*http.Request) {}, welcome)
				b := newBrowser(http.TimeoutHandler(a.serve, time.Second, "too late"))
				if c.path == "/renew-slowly" || c.path == "/nothing" {
					b.login(t, "alice")
				}
				late := c.takes > time.Second
				require.Equal(t, late, b.get(c.path).Code == http.StatusServiceUnavailable)
				time.Sleep(time.Second)
				synctest.Wait()
				require.Len(t, a.live("alice"), c.live)
				require.Len(t, a.sink.endings(t), 1-c.live)
				if c.live > 0 {
					require.Equal(t, "alice", b.whoami())
				}
			}, limit(1, scsguard.Deny))
		})
	}
}
