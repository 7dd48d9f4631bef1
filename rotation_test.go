package scsguard_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestLoginGivesANewTokenAndTheOldOneIsWorthNothing(t *testing.T) {
	t.Run("planted before the login", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			attacker := a.browser()
			attacker.get("/put?k=cart&v=book")
			victim := attacker.copy() // session fixation
			entered, release := a.pause("/slow", nil, func(w http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "k", "v") })
			slow := attacker.copy().inFlight("/slow", entered)
			victim.login(t, "alice")
			require.NotEqual(t, attacker.token(), victim.token())
			require.Equal(t, "book", victim.get("/get?k=cart").Body, "data put before the login survives it")
			require.Empty(t, attacker.get("/get?k=cart").Body)
			close(release)
			res := <-slow
			require.Empty(t, res.Header.Values("Set-Cookie"))
			require.Equal(t, "401 replaced", attacker.whoami())
			require.Len(t, storeKeys(t, a.sm), 1, "the attacker's request in flight brings nothing back")
		})
	})
	t.Run("logged in again", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			b.login(t, "alice")
			old := b.copy()
			b.login(t, "alice")
			require.Equal(t, "401 replaced", old.whoami(), "no grace after a login")
			require.Equal(t, "alice", b.whoami())
		})
	})
	t.Run("a made-up token is never adopted", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			b.cookies["__Host-session"] = strings.Repeat("A", 43)
			b.get("/put?k=cart&v=book")
			require.NotEqual(t, strings.Repeat("A", 43), b.token())
		})
	})
}

func TestRequestsUnderWayDuringARotationAreServed(t *testing.T) {
	for _, verb := range []string{"/elevate?role=admin", "/reauth"} {
		t.Run(verb, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				b := a.browser()
				b.login(t, "alice")
				var late []*http.Request
				for i := range 20 {
					late = append(late, b.request(http.MethodGet, fmt.Sprintf("/put?k=k%d&v=v", i)))
				}
				require.Equal(t, 200, b.get(verb).Code)
				want := b.token()
				time.Sleep(10*time.Second - time.Nanosecond)
				var wg sync.WaitGroup
				for _, r := range late {
					wg.Go(func() {
						res := b.do(r)
						require.Equal(t, 200, res.Code)
						require.Empty(t, res.Header.Values("Set-Cookie"))
					})
				}
				who := b.copy()
				who.cookies["__Host-session"] = late[0].Cookies()[0].Value
				require.Equal(t, "alice", who.whoami(), "as the same user, without the new role")
				wg.Wait()
				require.Equal(t, want, b.token())
				require.True(t, strings.HasPrefix(b.whoami(), "alice"))
				time.Sleep(time.Nanosecond)
				require.Equal(t, "401 ended", who.whoami(), "after the grace the old token is dead")
				synctest.Wait()
				reuse := a.sink.events(t, scsguard.EventTokenReuse)
				require.Len(t, reuse, 1)
				require.Equal(t, "expired_token", reuse[0].str("reason"))
			})
		})
	}
}

func TestAnOldTokenFromAnotherDeviceHasNoGrace(t *testing.T) {
	for name, differ := range map[string]func(*browser){
		"other browser": func(b *browser) { b.agent = "other browser" },
		"other network": func(b *browser) { b.addr = "198.51.100.9:1" },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				b := a.browser()
				b.login(t, "alice")
				thief := b.copy()
				differ(thief)
				require.Equal(t, 200, b.get("/elevate?role=admin").Code)
				require.Equal(t, "401 ended", thief.whoami())
				require.Equal(t, "401 ended", thief.whoami())
				time.Sleep(time.Minute)
				synctest.Wait()
				reuse := a.sink.events(t, scsguard.EventTokenReuse)
				require.Len(t, reuse, 2, "the first at once, the others as one")
				require.Equal(t, "other_device", reuse[0].str("reason"))
				require.Equal(t, "failure", reuse[0].str("outcome"))
			})
		})
	}
}

func TestWithoutGraceTheOldTokenIsDeadAtOnceAndDoesNotDisturbTheNew(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		late := b.request(http.MethodGet, "/put?k=flash&v=x")
		old := b.copy()
		require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		require.Equal(t, "401 ended", old.whoami())
		require.Empty(t, b.do(late).Header.Values("Set-Cookie"))
		require.Equal(t, "alice admin", b.whoami())
	}, func(cfg *scsguard.Config) { cfg.RotationGrace = -1 })
}

func TestTwoRotationsAtOnceHaveOneSuccessor(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		entered, release := make(chan struct{}, 2), make(chan struct{})
		a.handle("/both", func(w http.ResponseWriter, r *http.Request) error {
			entered <- struct{}{}
			<-release
			_, err := a.guard.Elevate(r.Context(), "admin")
			return err
		})
		codes := make(chan int, 2)
		for range 2 {
			r := b.request(http.MethodGet, "/both")
			go func() { codes <- b.do(r).Code }()
		}
		<-entered
		<-entered
		close(release)
		require.ElementsMatch(t, []int{200, http.StatusConflict}, []int{<-codes, <-codes})
		require.Equal(t, "alice admin", b.whoami())
		require.Len(t, storeKeys(t, a.sm), 1, "exactly one token works")
		time.Sleep(time.Minute)
		require.Equal(t, "alice admin", b.whoami())
	})
}

func TestDropReturnsToTheRoleOfTheLogin(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/drop", func(w http.ResponseWriter, r *http.Request) error {
			_, err := a.guard.Drop(r.Context())
			return err
		})
		b := a.browser()
		require.Equal(t, 200, b.get("/login?user=alice&role=staff").Code)
		require.Equal(t, 200, b.get("/drop").Code, "without an elevation it does nothing")
		require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		token := b.token()
		a.sink.fail(errDown)
		require.Equal(t, http.StatusServiceUnavailable, b.get("/elevate?role=root").Code)
		require.Equal(t, token, b.token())
		require.Equal(t, "alice admin", b.whoami())
		require.Equal(t, 200, b.get("/drop").Code, "giving up a privilege does not wait for the trail")
		require.NotEqual(t, token, b.token())
		require.Equal(t, "alice staff", b.whoami())
		a.sink.fail(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		var changes []string
		for _, e := range a.sink.events(t, scsguard.EventPrivilegeChange) {
			d := e["details"].(map[string]any)
			if e.str("outcome") == "failure" {
				continue // the grant that was refused, in case it is in the trail
			}
			changes = append(changes, fmt.Sprintf("%s>%s", d["from"], d["to"]))
		}
		require.Equal(t, []string{"staff>admin", "admin>staff"}, changes)
	})
}

func TestOnlyAFullReauthenticationStartsANewAbsoluteTimeout(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(fmt.Sprintf("full=%v", full), func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				b := a.browser()
				b.login(t, "alice")
				for range 40 {
					time.Sleep(10 * time.Minute)
					b.whoami()
				}
				path := "/reauth"
				if full {
					path += "?full=1"
				}
				require.Equal(t, 200, b.get(path).Code)
				for range 8 {
					time.Sleep(10 * time.Minute)
					b.whoami()
				}
				if !full {
					require.Equal(t, "401 absolute", b.whoami())
					return
				}
				require.Equal(t, "alice", b.whoami())
				synctest.Wait()
				for _, e := range a.sink.events(t, scsguard.EventExtend) {
					if e.str("reason") == "reauth" {
						require.Greater(t, e.str("absolute_expires"), e.str("absolute_expires_old"))
						return
					}
				}
				t.Error("the move of the deadline is not in the trail")
			})
		})
	}
}

func TestAWeakerReauthenticationDoesNotRenewTheAbsoluteTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/login2", func(w http.ResponseWriter, r *http.Request) error {
			_, err := a.guard.Login(r.Context(), "alice", scsguard.AAL(2), scsguard.Methods("pwd", "otp"))
			return err
		})
		a.mux.HandleFunc("/weak", func(w http.ResponseWriter, r *http.Request) {
			_, err := a.guard.Reauthenticated(r.Context(), scsguard.Full(), scsguard.AAL(1))
			require.ErrorIs(t, err, scsguard.ErrWeakerLogin)
			s, ok := a.guard.Current(r.Context())
			require.True(t, ok)
			require.Equal(t, 2, s.AAL, "nothing has changed")
		})
		b := a.browser()
		require.Equal(t, 200, b.get("/login2").Code)
		token := b.token()
		b.get("/weak")
		require.Equal(t, token, b.token())
	})
}

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
