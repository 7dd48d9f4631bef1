package scsguard_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Calls of the session manager that go around the guard: RenewToken, Destroy,
// MergeSession and Clear.

func TestARenewalOfTheApplicationIsRecordedAndKeepsTheSession(t *testing.T) {
	for _, hash := range []bool{false, true} {
		t.Run(fmt.Sprintf("HashTokenInStore=%v", hash), func(t *testing.T) {
			sm := newManager()
			sm.HashTokenInStore = hash
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				b := a.browser()
				session := b.login(t, "alice")
				old := b.copy()
				require.Equal(t, 200, b.get("/renew").Code)
				require.Equal(t, "alice", b.whoami())
				require.Equal(t, "401 ended", old.whoami(), "as in scs, the old token is dead at once")
				renew := a.sink.events(t, scsguard.EventRenew)
				require.Len(t, renew, 1)
				require.Equal(t, session, renew[0].str("session"))
				require.Equal(t, a.guard.TokenHash(b.token()), renew[0].str("token_hash"))
				require.Empty(t, a.sink.endings(t))
			})
		})
	}
}

// A renewal by the application is a use of the session, unless it comes from
// polling: its event says which deadlines it left.
func TestARenewalByTheApplicationNamesTheDeadlines(t *testing.T) {
	for path, moved := range map[string]time.Duration{"/renew": 5 * time.Minute, "/renew-passive": 0} {
		bubble(t, func(t *testing.T, a *app) {
			a.mux.Handle("/renew-passive", a.guard.Passive(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				require.NoError(t, a.sm.RenewToken(r.Context()))
			})))
			b := a.browser()
			b.login(t, "alice")
			start := a.live("alice")[0]
			time.Sleep(5 * time.Minute)
			require.Equal(t, 200, b.get(path).Code)
			now := a.live("alice")[0]
			require.Equal(t, start.IdleExpires.Add(moved), now.IdleExpires)
			renew := a.sink.events(t, scsguard.EventRenew)
			require.Len(t, renew, 1)
			for name, want := range map[string]time.Time{"idle_expires_old": start.IdleExpires, "absolute_expires_old": start.AbsoluteExpires,
				"idle_expires": now.IdleExpires, "absolute_expires": now.AbsoluteExpires} {
				require.Equal(t, want.UTC().Format("2006-01-02T15:04:05.000000Z"), renew[0].str(name), name)
			}
		})
	}
}

func TestADestructionByTheApplicationIsALogout(t *testing.T) {
	for name, h := range map[string]func(*app, context.Context) error{
		"Destroy": func(a *app, ctx context.Context) error { return a.sm.Destroy(ctx) },
		"Destroy, Put": func(a *app, ctx context.Context) error {
			err := a.sm.Destroy(ctx)
			a.sm.Put(ctx, "flash", "bye")
			return err
		},
		"Destroy, RenewToken, Put": func(a *app, ctx context.Context) error {
			err := a.sm.Destroy(ctx)
			if err == nil {
				err = a.sm.RenewToken(ctx)
			}
			a.sm.Put(ctx, "flash", "bye")
			return err
		},
		"RenewToken, Clear": func(a *app, ctx context.Context) error {
			err := a.sm.RenewToken(ctx)
			if err == nil {
				err = a.sm.Clear(ctx)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				var thief *browser
				a.handle("/out", func(w http.ResponseWriter, r *http.Request) error {
					err := h(a, r.Context())
					require.True(t, strings.HasPrefix(thief.whoami(), "401"), "the token is dead when the call returns")
					return err
				})
				b := a.browser()
				session := b.login(t, "alice")
				thief = b.copy()
				require.Equal(t, 200, b.get("/out").Code)
				require.True(t, strings.HasPrefix(b.whoami(), "401"))
				require.Equal(t, "401 ended", thief.whoami())
				synctest.Wait()
				require.Equal(t, "destroyed", a.sink.endings(t)[session+"/end"].str("reason"))
				require.Len(t, a.sink.events(t, scsguard.EventLogout), 1)
				if strings.Contains(name, "Put") {
					require.Equal(t, "bye", b.get("/get?k=flash").Body, "what was put afterwards is kept")
				}
			})
		})
	}
}

func TestADetachedSessionOutlivesASlowHandlerButNotACrash(t *testing.T) {
	t.Run("slow handler", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			a.handle("/slow-renew", func(w http.ResponseWriter, r *http.Request) error {
				err := a.sm.RenewToken(r.Context())
				time.Sleep(2 * time.Minute) // many leases and sweeps
				return err
			})
			b := a.browser()
			b.login(t, "alice")
			require.Equal(t, 200, b.get("/slow-renew").Code)
			require.Equal(t, "alice", b.whoami())
		})
	})
	t.Run("a commit that never comes", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			session := b.login(t, "alice")
			ctx, err := a.sm.Load(context.Background(), b.token())
			require.NoError(t, err)
			require.NoError(t, a.sm.RenewToken(ctx)) // and the process goes no further
			require.Equal(t, "401 ended", b.whoami())
			time.Sleep(scsguard.Lease)
			_, err = a.guard.Sweep(context.Background())
			require.NoError(t, err)
			require.Equal(t, "destroyed", a.sink.endings(t)[session+"/end"].str("reason"))
		}, func(cfg *scsguard.Config) { cfg.SweepEvery = -1 })
	})
}

func TestADestructionInARequestWithTheOldTokenEndsTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		inGrace := b.request(http.MethodGet, "/destroy")
		entered, release := make(chan struct{}), make(chan struct{})
		a.handle("/slow-destroy", func(w http.ResponseWriter, r *http.Request) error {
			close(entered)
			<-release
			return a.sm.Destroy(r.Context())
		})
		slow := b.copy().inFlight("/slow-destroy", entered)

		require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		require.Equal(t, 200, b.do(inGrace).Code)
		require.Equal(t, "401 ended", b.whoami())

		c := a.browser()
		c.login(t, "bob")
		close(release)
		<-slow
		synctest.Wait()
		require.Len(t, a.sink.endings(t), 1)
		require.Equal(t, "bob", c.whoami())
	})
	bubble(t, func(t *testing.T, a *app) { // under way when the token changed
		b := a.browser()
		b.login(t, "alice")
		entered, release := make(chan struct{}), make(chan struct{})
		a.handle("/slow-destroy", func(w http.ResponseWriter, r *http.Request) error {
			close(entered)
			<-release
			return a.sm.Destroy(r.Context())
		})
		slow := b.copy().inFlight("/slow-destroy", entered)
		require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		close(release)
		<-slow
		require.Equal(t, "401 ended", b.whoami())
	})
}

func TestARenewalAfterTheFirstByteKeepsTheToken(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/late-renew", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("first"))
			require.NoError(t, a.sm.RenewToken(r.Context()))
			a.sm.Put(r.Context(), "late", "kept")
		})
		a.mux.HandleFunc("/late-destroy", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("first"))
			require.NoError(t, a.sm.Destroy(r.Context()))
		})
		a.mux.HandleFunc("/late-verbs", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("first"))
			_, err := a.guard.Login(r.Context(), "bob")
			require.ErrorIs(t, err, scsguard.ErrResponseStarted)
			_, err = a.guard.Elevate(r.Context(), "admin")
			require.ErrorIs(t, err, scsguard.ErrResponseStarted)
		})
		b := a.browser()
		b.login(t, "alice")
		token := b.token()
		b.get("/late-renew")
		b.get("/late-verbs")
		require.Equal(t, token, b.token())
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, "kept", b.get("/get?k=late").Body)
		require.Len(t, storeKeys(t, a.sm), 1)
		synctest.Wait()
		renew := a.sink.events(t, scsguard.EventRenew)
		require.Len(t, renew, 1)
		require.Equal(t, "failure", renew[0].str("outcome"))
		b.get("/late-destroy")
		require.Equal(t, "401 ended", b.whoami())
	})
}

func TestMergeSession(t *testing.T) {
	merge := func(a *app) {
		a.handle("/merge", func(w http.ResponseWriter, r *http.Request) error {
			return a.sm.MergeSession(r.Context(), r.FormValue("token"))
		})
	}
	t.Run("a login merged into an anonymous session moves there, under a new token", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			merge(a)
			start := time.Now()
			loggedIn, planted := a.browser(), a.browser()
			session := loggedIn.login(t, "alice")
			time.Sleep(10 * time.Minute)
			planted.get("/put?k=cart&v=book")
			attacker := planted.copy()
			require.Equal(t, 200, planted.get("/merge?token="+loggedIn.token()).Code)
			require.Equal(t, "alice", planted.whoami())
			require.Equal(t, "book", planted.get("/get?k=cart").Body)
			require.True(t, strings.HasPrefix(attacker.whoami(), "401"), "the planted token is not logged in")
			require.Equal(t, "401 ended", loggedIn.whoami(), "without grace")
			list, err := a.guard.SessionsOf(context.Background(), "alice")
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, session, list[0].ID)
			require.True(t, start.Add(absolute).Equal(list[0].AbsoluteExpires), "the deadline does not move")
		})
	})
	t.Run("two sessions of one user become one", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			merge(a)
			one, two := a.browser(), a.browser()
			one.login(t, "alice")
			one.get("/put?k=cart&v=book")
			time.Sleep(10 * time.Minute)
			second := two.login(t, "alice")
			require.Equal(t, 200, two.get("/merge?token="+one.token()).Code)
			require.Equal(t, "book", two.get("/get?k=cart").Body)
			require.Equal(t, "401 replaced", one.whoami())
			require.Equal(t, "alice", two.whoami())
			list, err := a.guard.SessionsOf(context.Background(), "alice")
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, second, list[0].ID)
		})
	})
	t.Run("another user's is refused", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			merge(a)
			alice, bob := a.browser(), a.browser()
			alice.login(t, "alice")
			bob.login(t, "bob")
			require.Equal(t, http.StatusInternalServerError, bob.get("/merge?token="+alice.token()).Code)
			require.Equal(t, "alice", alice.whoami())
			require.Equal(t, "bob", bob.whoami())
		})
	})
	t.Run("a dead one yields nothing", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			merge(a)
			alice, other := a.browser(), a.browser()
			alice.login(t, "alice")
			dead := alice.token()
			alice.get("/logout")
			require.Equal(t, 200, other.get("/merge?token="+dead).Code)
			require.Equal(t, "401", other.whoami())
		})
	})
}

func TestClearKeepsTheSessionGuarded(t *testing.T) {
	registry := scsguard.NewMemoryRegistry()
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/clear", func(w http.ResponseWriter, r *http.Request) error {
			err := a.sm.Clear(r.Context())
			a.sm.Put(r.Context(), "user", "alice") // as an application does that keeps its own key
			return err
		})
		b := a.browser()
		b.login(t, "alice")
		require.Equal(t, 200, b.get("/clear").Code)
		require.Equal(t, "alice", b.whoami())
		ctx, err := a.sm.Load(context.Background(), b.token())
		require.NoError(t, err)
		require.Contains(t, a.sm.Keys(ctx), "__scsguard", "the mark is back, so a lost record would be noticed")
	}, func(cfg *scsguard.Config) { cfg.Registry = registry })
}

func TestDestroyingNobodysSessionReachesNeitherStoreNorRegistry(t *testing.T) {
	sm := newManager()
	store := &brokenStore{Store: sm.Store}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		store.set(errDown, errDown, errDown)
		for _, token := range []string{"", "no token of scs"} {
			b := a.browser()
			if token != "" {
				b.cookies["__Host-session"] = token
			}
			require.Equal(t, 200, b.get("/destroy").Code)
			require.True(t, a.guard.Health().OK)
		}
	}, withMemoryRegistry)
}
