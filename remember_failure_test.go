package scsguard_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

type failingRememberStore struct {
	scsguard.RememberStore
	*failpoint
}

func (s failingRememberStore) Load(ctx context.Context, id string) (b []byte, now time.Time, err error) {
	err = s.do(func() error { b, now, err = s.RememberStore.Load(ctx, id); return err })
	return b, now, err
}

func (s failingRememberStore) Swap(ctx context.Context, id string, old, value []byte, ttl time.Duration) (ok bool, err error) {
	err = s.do(func() error { ok, err = s.RememberStore.Swap(ctx, id, old, value, ttl); return err })
	return ok, err
}

// A remembered browser comes back, with a failure or a crash at every call that
// this makes. It tries again, some of the times only after the claim is over, and
// is logged in with one session; nobody is told of a theft, and no login is without
// an ending. What ends the browser has ended it, if it is repeated.
func TestAFailureAtAnyCallOfARestoreLocksNobodyOut(t *testing.T) {
	for _, mode := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		for _, verb := range []string{"/private", "/logout", "/remember?user=alice", "/login?user=bob", "/end-others", "/change-password"} {
			t.Run(fmt.Sprintf("%s crash=%v after=%v", verb, mode[0], mode[1]), func(t *testing.T) {
				for at := 1; ; at++ {
					if calls := restoreAt(t, &failpoint{crash: mode[0], after: mode[1]}, verb, at); calls < at {
						require.Greater(t, at, 5)
						return
					}
				}
			})
		}
	}
}

func restoreAt(t *testing.T, f *failpoint, verb string, at int) (calls int) {
	f.off = true
	registry := failingRegistry{scsguard.NewMemoryRegistry(), f}
	store := failingStore{memstore.NewWithCleanupInterval(0), f}
	remember := failingRememberStore{scsguard.NewMemoryRememberStore(), f}
	out := &sink{}
	first, second := newManager(), newManager()
	first.Store, second.Store = store, store.MemStore
	synctest.Test(t, func(t *testing.T) {
		share := func(cfg *scsguard.Config) {
			cfg.Registry, cfg.Keys, cfg.Audit = registry, [][]byte{make([]byte, 32)}, failingSink{out, f}
			cfg.Limit, cfg.SweepEvery = scsguard.Limit{Max: 2, OnExceed: scsguard.Deny}, -1
			cfg.Remember.Store = remember
		}
		a := rememberApp(newApp(t, first, share))
		b := a.browser()
		b.remember(t, "alice")
		time.Sleep(time.Second)
		b.restart()
		before := b.twin()
		synctest.Wait()
		f.off = false
		f.arm(at)
		res := b.get(verb)
		synctest.Wait()
		next := a
		if f.crash { // this process is gone, and its answer never came
			f.mu.Lock()
			calls = f.calls
			f.mu.Unlock()
			next = rememberApp(newApp(t, second, func(cfg *scsguard.Config) {
				share(cfg)
				cfg.Registry, cfg.Audit, cfg.Remember.Store = anyRegistry{registry.Registry}, out, remember.RememberStore
			}))
			next.sink = out
			b = before
			b.h = next.serve
		} else {
			calls = f.heal()
		}
		switch {
		case verb == "/private" || verb == "/end-others" && !f.crash:
			if at%2 == 0 {
				time.Sleep(scsguard.Lease)
			}
			again := b.get("/private")
			require.Equal(t, 200, again.Code, "call %d: %s", at, again.Body)
			require.Len(t, next.sessionsOf(t, "alice"), 1)
			require.Empty(t, out.events(t, scsguard.EventTokenReuse))
		case !f.crash && (verb == "/logout" || verb == "/change-password" && res.Code == 200):
			time.Sleep(time.Minute) // what could not be done is repeated
			if verb == "/logout" {
				require.Empty(t, next.sessionsOf(t, "alice"), "call %d", at)
			}
			thief := newBrowser(next.serve)
			thief.cookies = before.cookies
			require.Equal(t, 401, thief.get("/private").Code, "call %d", at)
		}
		time.Sleep(2 * scsguard.Lease)
		next.requireOneEndingEach(t, "alice", "bob")
	})
	return calls
}

func TestWhenTheTrailIsDownNobodyComesBackAndEverybodyCanLater(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		time.Sleep(time.Hour)
		a.sink.fail(errDown)
		token := b.cookie(rememberCookie)
		res := b.get("/private")
		require.Equal(t, http.StatusServiceUnavailable, res.Code)
		require.NotEmpty(t, res.Header.Get("Retry-After"))
		require.Equal(t, 200, b.get("/public").Code, "who is not logged in needs no trail")
		require.Equal(t, token, b.cookie(rememberCookie))
		require.Empty(t, a.sessionsOf(t, "alice"))
		a.sink.fail(nil)
		time.Sleep(2 * rememberGrace)
		require.Equal(t, "alice", b.whoami())
		require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
		a.requireOneEndingEach(t, "alice")
	})
}

func TestWhenTheRememberStoreIsDownPasswordsStillWork(t *testing.T) {
	store := newWatched()
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		token := b.cookie(rememberCookie)
		time.Sleep(time.Hour)

		store.fail(errDown)
		require.Equal(t, http.StatusServiceUnavailable, b.get("/private").Code)
		require.Equal(t, 200, b.get("/public").Code)
		require.Equal(t, token, b.cookie(rememberCookie), "the cookie is left alone")
		health := a.guard.Health()
		require.Len(t, health.Problems, 1)
		require.Equal(t, scsguard.ComponentRemember, health.Problems[0].Component)

		other := a.browser()
		res := other.get("/remember?user=bob")
		require.Equal(t, 200, res.Code)
		require.Empty(t, other.cookie(rememberCookie), "logged in, and not remembered")
		require.Equal(t, "bob", other.whoami())

		store.fail(nil)
		require.Equal(t, "alice", b.whoami())
		require.True(t, a.guard.Health().OK)
	}, store.use)
}

// A logout that could not end the family says so and goes on trying.
func TestALogoutEndsTheFamilyAsSoonAsTheStoreIsBack(t *testing.T) {
	store := newWatched()
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		thief := b.twin()
		thief.restart()
		store.fail(errDown)
		require.Equal(t, http.StatusServiceUnavailable, b.get("/logout").Code)
		require.Empty(t, b.cookie(rememberCookie))
		require.Empty(t, b.token())
		time.Sleep(time.Minute)
		store.fail(nil)
		time.Sleep(5 * time.Second)
		require.Equal(t, 401, thief.get("/private").Code)
		require.Empty(t, store.held())
		a.requireOneEndingEach(t, "alice")
	}, store.use)
}

// The process that has ended a session dies before it comes to the family, and
// another one does it.
func TestTheFamilyOfAnEndedSessionEndsAlthoughItsProcessDies(t *testing.T) {
	registry, store := scsguard.NewMemoryRegistry(), newWatched()
	first, second := newManager(), newManager()
	second.Store = first.Store
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		share := func(cfg *scsguard.Config) {
			cfg.Registry, cfg.Audit = anyRegistry{registry}, out
			store.use(cfg)
		}
		a := rememberApp(newApp(t, first, share))
		b := a.browser()
		id := b.remember(t, "alice")
		_, won, err := registry.End(context.Background(), scsguard.Target{User: "alice", Session: id},
			scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndAdmin, At: time.Now()})
		require.NoError(t, err)
		require.True(t, won)
		next := rememberApp(newApp(t, second, share))
		time.Sleep(scsguard.Lease)
		_, err = next.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Empty(t, store.held())
		b.h = next.serve
		b.restart()
		require.Equal(t, 401, b.get("/private").Code)
	})
}

func TestAHandlerThatPanicsAfterARestoreLeavesTheBrowserAsItWas(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		b := a.browser()
		b.remember(t, "alice")
		b.restart()
		require.Panics(t, func() { b.get("/panic") })
		require.Empty(t, a.sessionsOf(t, "alice"), "nobody has its token")
		time.Sleep(rememberGrace - 1)
		require.Equal(t, "alice", b.whoami())
		require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
		a.requireOneEndingEach(t, "alice")
	})
}

func TestAHookThatPanicsLeavesNoSessionBehind(t *testing.T) {
	broken := true
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		b.restart()
		require.Panics(t, func() { b.get("/private") })
		require.Empty(t, a.sessionsOf(t, "alice"))
		broken = false
		require.Equal(t, "alice", b.whoami())
		a.requireOneEndingEach(t, "alice")
	}, func(cfg *scsguard.Config) {
		cfg.Remember.OnRestore = func(context.Context, scsguard.Session) {
			if broken {
				panic("the application")
			}
		}
	})
}

// The data of a restored session cannot be saved. If that is noticed before its
// token counts as used, the token is as good as it was. Later its successor goes
// out with the error page.
func TestAStoreThatFailsDuringARestoreLocksNobodyOut(t *testing.T) {
	for _, where := range []string{"in the hook", "in the handler"} {
		store := &brokenStore{Store: memstore.NewWithCleanupInterval(0)}
		sm := newManager()
		sm.Store = store
		breakIt := func(ctx context.Context, here string) {
			if here == where {
				sm.Put(ctx, "k", "v")
				store.set(errDown, nil, nil)
			}
		}
		synctest.Test(t, func(t *testing.T) {
			a := rememberApp(newApp(t, sm, withMemoryRegistry, withRemember, func(cfg *scsguard.Config) {
				cfg.Remember.OnRestore = func(ctx context.Context, _ scsguard.Session) { breakIt(ctx, "in the hook") }
			}))
			a.mux.Handle("/break", a.guard.RequireLogin(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				breakIt(r.Context(), "in the handler")
			})))
			b := a.browser()
			b.remember(t, "alice")
			old := b.cookie(rememberCookie)
			b.restart()
			require.Equal(t, http.StatusServiceUnavailable, b.get("/break").Code)
			require.Equal(t, where == "in the hook", b.cookie(rememberCookie) == old)
			require.Empty(t, b.token())
			require.Empty(t, a.sessionsOf(t, "alice"))
			where = ""
			store.set(nil, nil, nil)
			time.Sleep(2 * rememberGrace)
			require.Equal(t, 200, b.get("/private").Code)
			require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
			a.requireOneEndingEach(t, "alice")
		})
	}
}
