package scsguard_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Each test here is a hole that was seen in scs 2.9.0, closed. H15 (concurrent
// writes of different keys) and H17 (no hole) are not among them.

func TestH1_a_request_in_flight_does_not_bring_a_logged_out_session_back(t *testing.T) {
	for name, idle := range map[string]time.Duration{"manager without idle timeout": 0, "manager with idle timeout": 20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			sm.IdleTimeout = idle
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				entered, release := a.pause("/slow", nil, func(w http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "late", "x") })
				b := a.browser()
				b.login(t, "alice")
				thief := b.copy()
				slow := b.copy().inFlight("/slow", entered)
				require.Equal(t, 200, b.get("/logout").Code)
				close(release)
				res := <-slow
				require.Equal(t, 200, res.Code, "the answer itself goes out")
				require.Empty(t, res.Header.Values("Set-Cookie"))
				require.Equal(t, "401 ended_by_you", thief.whoami())
				require.Empty(t, storeKeys(t, sm), "its data must not stay behind")
			})
		})
	}
}

// The same without any order, five hundred times.
func TestH1_no_interleaving_brings_a_logged_out_session_back(t *testing.T) {
	a := newApp(t, newManager())
	a.mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		for range rand.IntN(200) {
			runtime.Gosched()
		}
		a.sm.Put(r.Context(), "late", "x")
	})
	for range 500 {
		b := a.browser()
		b.login(t, "alice")
		thief, slow := b.copy(), b.copy()
		var wg sync.WaitGroup
		wg.Go(func() { slow.get("/busy") })
		wg.Go(func() { b.get("/logout") })
		wg.Wait()
		require.True(t, strings.HasPrefix(thief.whoami(), "401"))
		for _, data := range storeKeys(t, a.sm) {
			_, values, err := a.sm.Codec.Decode(data)
			require.NoError(t, err)
			require.NotContains(t, values, "__scsguard", "a request after the logout may begin an anonymous session, and nothing else")
		}
	}
}

func TestH2_the_old_token_does_not_survive_a_rotation(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		entered, release := a.pause("/slow", nil, func(w http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "late", "x") })
		b := a.browser()
		b.login(t, "alice")
		old := b.copy()
		slow := old.inFlight("/slow", entered)
		require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		close(release)
		res := <-slow
		require.Empty(t, res.Header.Values("Set-Cookie"), "a slow answer must not put the browser back on the old token")
		require.Equal(t, "x", b.get("/get?k=late").Body, "what it wrote belongs to the session still")
		require.Equal(t, "alice admin", b.whoami())
		require.Equal(t, 200, b.get("/logout").Code)
		require.Equal(t, "401 ended_by_you", old.whoami())
		require.Empty(t, storeKeys(t, a.sm))
	})
}

func TestH3_no_renewal_moves_the_absolute_deadline(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b, deadline := a.browser(), time.Now().Add(8*time.Hour)
		b.login(t, "alice")
		for range 47 { // 7 h 50 min
			time.Sleep(10 * time.Minute)
			require.Equal(t, 200, b.get("/renew").Code)
			for _, data := range storeKeys(t, a.sm) {
				stored, _, err := a.sm.Codec.Decode(data)
				require.NoError(t, err)
				require.True(t, stored.Equal(deadline), "an instance without the guard would go by what is stored: %s", stored)
			}
		}
		require.Equal(t, 200, b.get("/extend").Code)
		time.Sleep(10*time.Minute - time.Nanosecond)
		require.Equal(t, "alice", b.whoami())
		time.Sleep(time.Nanosecond)
		require.Equal(t, "401 absolute", b.whoami())
	})
}

func TestH4_a_deadline_in_the_past_ends_the_session(t *testing.T) {
	sm, store := newManager(), &immortalStore{}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/past", func(w http.ResponseWriter, r *http.Request) {
			a.sm.SetDeadline(r.Context(), time.Now().Add(-time.Second))
		})
		b := a.browser()
		b.login(t, "alice")
		thief := b.copy()
		require.Equal(t, 200, b.get("/past").Code)
		require.Equal(t, "401 ended", thief.whoami())
		require.Zero(t, store.past, "nothing may be stored with an expiry that has passed")
		require.Empty(t, store.data)
	}, withMemoryRegistry)
}

func TestH5_a_request_across_the_absolute_deadline_leaves_nothing_alive(t *testing.T) {
	sm, store := newManager(), &immortalStore{}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(1500 * time.Millisecond)
			a.sm.Put(r.Context(), "k", "v")
		})
		b := a.browser()
		b.login(t, "alice")
		thief := b.copy()
		res := b.get("/slow")
		require.Equal(t, 200, res.Code)
		require.Empty(t, res.Header.Values("Set-Cookie"))
		require.Equal(t, "401 idle", thief.whoami(), "the idle deadline came first")
		require.Zero(t, store.past)
		require.Empty(t, store.data)
	}, withMemoryRegistry, func(cfg *scsguard.Config) {
		cfg.Timeouts = scsguard.Timeouts{Idle: 900 * time.Millisecond, Absolute: time.Second, Touch: 10 * time.Millisecond}
	})
}

func TestH6_a_session_past_its_own_deadline_is_dead_whatever_the_store_says(t *testing.T) {
	t.Run("logged in", func(t *testing.T) {
		sm := newManager()
		sm.Store = &immortalStore{}
		bubbleOn(t, sm, func(t *testing.T, a *app) {
			b := a.browser()
			b.login(t, "alice")
			for range 33 {
				time.Sleep(14*time.Minute + 30*time.Second)
				b.whoami()
			}
			time.Sleep(90 * time.Second)
			require.Equal(t, "401 absolute", b.whoami())
		}, withMemoryRegistry)
	})
	t.Run("anonymous", func(t *testing.T) {
		sm := newManager()
		sm.Store = &immortalStore{}
		bubbleOn(t, sm, func(t *testing.T, a *app) {
			b := a.browser()
			b.get("/put?k=cart&v=book")
			time.Sleep(24*time.Hour - time.Nanosecond)
			require.Equal(t, "book", b.get("/get?k=cart").Body)
			time.Sleep(time.Nanosecond)
			require.Empty(t, b.get("/get?k=cart").Body)
		}, withMemoryRegistry)
	})
	t.Run("anonymous on a bare Load", func(t *testing.T) {
		sm := newManager()
		sm.Store = &immortalStore{}
		bubbleOn(t, sm, func(t *testing.T, a *app) {
			b := a.browser()
			b.get("/put?k=cart&v=book")
			time.Sleep(24 * time.Hour)
			ctx, err := a.sm.Load(context.Background(), b.token())
			require.NoError(t, err)
			require.Empty(t, a.sm.GetString(ctx, "cart"))
		}, withMemoryRegistry)
	})
}

func TestH7_iterate_and_destroy_logs_everybody_out_with_hashed_tokens_too(t *testing.T) {
	for _, hash := range []bool{false, true} {
		t.Run(fmt.Sprintf("HashTokenInStore=%v", hash), func(t *testing.T) {
			sm := newManager()
			sm.HashTokenInStore = hash
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				a.handle("/destroy-all", func(w http.ResponseWriter, r *http.Request) error {
					return a.sm.Iterate(r.Context(), a.sm.Destroy)
				})
				a.handle("/mark-all", func(w http.ResponseWriter, r *http.Request) error {
					return a.sm.Iterate(r.Context(), func(ctx context.Context) error {
						a.sm.Put(ctx, "notice", "maintenance")
						_, _, err := a.sm.Commit(ctx)
						return err
					})
				})
				alice, bob, admin := a.browser(), a.browser(), a.browser()
				alice.login(t, "alice")
				bob.login(t, "bob")
				admin.login(t, "admin")
				require.Equal(t, 200, admin.get("/mark-all").Code)
				require.Equal(t, "maintenance", bob.get("/get?k=notice").Body)
				require.Len(t, storeKeys(t, sm), 3, "no ghost sessions")
				thief := admin.copy()
				require.Equal(t, 200, admin.get("/destroy-all").Code)
				for _, b := range []*browser{alice, bob, thief} {
					require.Equal(t, "401 ended", b.whoami())
				}
				synctest.Wait()
				require.Len(t, a.sink.endings(t), 3)
			})
		})
	}
}
