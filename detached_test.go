package scsguard_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Between a RenewToken or Destroy of the application and its commit a session is
// detached. The tests here look at what may happen in that moment.

// renewing mounts a handler that renews the token, waits and goes on.
func (a *app) renewing(path string, after func(ctx context.Context) error) (entered, release chan struct{}) {
	entered, release = make(chan struct{}), make(chan struct{})
	a.on(path, func(ctx context.Context) error {
		if err := a.sm.RenewToken(ctx); err != nil {
			return err
		}
		close(entered)
		<-release
		if after != nil {
			return after(ctx)
		}
		return nil
	})
	return entered, release
}

func TestARenewalDoesNotBringBackASessionThatEndedMeanwhile(t *testing.T) {
	for name, end := range map[string]func(a *app, session string, old *browser){
		"by an administrator": func(a *app, session string, _ *browser) {
			require.NoError(a.t, a.guard.End(context.Background(), session, scsguard.Of("alice"), scsguard.By("root")))
		},
		"by EndAll": func(a *app, _ string, _ *browser) {
			n, err := a.guard.EndAll(context.Background(), "alice")
			require.NoError(a.t, err)
			require.Equal(a.t, 1, n)
		},
		"by EndEveryone": func(a *app, _ string, _ *browser) {
			n, err := a.guard.EndEveryone(context.Background())
			require.NoError(a.t, err)
			require.Equal(a.t, 1, n)
		},
		"by the absolute deadline": func(*app, string, *browser) { time.Sleep(absolute) },
	} {
		for _, before := range []bool{true, false} {
			when := map[bool]string{true: ", before RenewToken", false: ", before its commit"}[before]
			t.Run(name+when, func(t *testing.T) {
				bubble(t, func(t *testing.T, a *app) {
					b := a.browser()
					session := b.login(t, "alice")
					old := b.copy()
					a.on("/renew-late", func(ctx context.Context) error {
						if before {
							end(a, session, old)
						}
						if err := a.sm.RenewToken(ctx); err != nil {
							return err
						}
						if !before {
							end(a, session, old)
						}
						a.sm.Put(ctx, "late", "x")
						return nil
					})
					b.get("/renew-late")
					requireAnonymous(t, b, "what the browser has now")
					requireAnonymous(t, old, "the old token")
					require.Empty(t, a.live("alice"))
					synctest.Wait()
					require.Len(t, a.sink.events(t, scsguard.EventLogout, scsguard.EventTimeout), 1)
					for _, data := range storeKeys(t, a.sm) {
						_, values, err := a.sm.Codec.Decode(data)
						require.NoError(t, err)
						require.NotContains(t, values, "user")
					}
					b.login(t, "alice")
					require.Equal(t, "alice", b.whoami())
				})
			})
		}
	}
}

func TestARenewalOnABareLoadDoesNotBringBackASessionThatEndedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		ctx := a.load(b.token())
		require.NoError(t, a.sm.RenewToken(ctx))
		_, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		_, _, err = a.sm.Commit(ctx)
		require.NoError(t, err)
		require.Empty(t, a.live("alice"))
		require.Empty(t, storeKeys(t, a.sm))
	})
}

func TestARenewalOnABareLoadIsNotDecidedByALateCommitUnderTheOldKey(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		session := b.login(t, "alice")
		renewing, late := a.load(b.token()), a.load(b.token())
		require.NoError(t, a.sm.RenewToken(renewing))
		a.sm.Put(late, "late", "x")
		_, _, err := a.sm.Commit(late)
		require.NoError(t, err)
		require.Empty(t, storeKeys(t, a.sm), "the old key is dead")
		token, _, err := a.sm.Commit(renewing)
		require.NoError(t, err)
		s, ok := a.guard.Current(a.load(token))
		require.True(t, ok)
		require.Equal(t, session, s.ID)
		require.Len(t, storeKeys(t, a.sm), 1)
	})
}

func TestWhileATokenIsBeingRenewedTheOldOneServesNobodyAndTouchesNoCookie(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		entered, release := a.renewing("/slow-renew", nil)
		loaded, write := a.pause("/slow-put", nil, func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "late", "x") })
		b := a.browser()
		session := b.login(t, "alice")
		old := b.token()
		inFlight := b.copy().inFlight("/slow-put", loaded)
		slow := b.inFlight("/slow-renew", entered)

		res := b.get("/put?k=flash&v=x") // another tab
		require.Empty(t, res.Header.Values("Set-Cookie"), "it would overwrite the cookie that is on its way")
		require.Equal(t, "401 ended", b.whoami())
		require.Empty(t, b.get("/destroy").Header.Values("Set-Cookie"), "nor is it cleared")
		close(write)
		require.Empty(t, (<-inFlight).Header.Values("Set-Cookie"))
		require.NotContains(t, storeKeys(t, a.sm), old, "nothing is written under a key that is dead")
		require.Equal(t, old, b.token())

		close(release)
		require.Equal(t, 200, (<-slow).Code)
		require.NotEqual(t, old, b.token())
		require.Equal(t, "alice", b.whoami())
		list := a.live("alice")
		require.Len(t, list, 1)
		require.Equal(t, session, list[0].ID)
		require.Len(t, storeKeys(t, a.sm), 1)
	})
}

func TestOfTwoRenewalsAtOnceOneTokenWorks(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		first, releaseFirst := a.renewing("/first", nil)
		loaded, renew := make(chan struct{}), make(chan struct{})
		a.on("/second", func(ctx context.Context) error {
			close(loaded)
			<-renew
			err := a.sm.RenewToken(ctx)
			a.sm.Put(ctx, "late", "x")
			return err
		})
		b := a.browser()
		b.login(t, "alice")
		two := b.copy().inFlight("/second", loaded)
		one := b.inFlight("/first", first)
		close(renew)
		require.Empty(t, (<-two).Header.Values("Set-Cookie"), "it has come too late")
		close(releaseFirst)
		require.Equal(t, 200, (<-one).Code)
		require.Equal(t, "alice", b.whoami())
		require.Len(t, a.live("alice"), 1)
		require.Len(t, storeKeys(t, a.sm), 1, "and no second copy of the session is left")
		require.Empty(t, a.sink.endings(t))
	})
}

func TestNobodyRevivesWhatAnotherRequestHasDestroyed(t *testing.T) {
	for name, revive := range map[string]func(a *app, ctx context.Context) error{
		"Elevate":    func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) },
		"Extend":     func(a *app, ctx context.Context) error { return second(a.guard.Extend(ctx)) },
		"RenewToken": func(a *app, ctx context.Context) error { return a.sm.RenewToken(ctx) },
		"Put": func(a *app, ctx context.Context) error {
			a.sm.Put(ctx, "late", "x")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				loaded, act := make(chan struct{}), make(chan struct{})
				a.on("/revive", func(ctx context.Context) error {
					close(loaded)
					<-act
					return revive(a, ctx)
				})
				destroyed, finish := make(chan struct{}), make(chan struct{})
				a.on("/slow-destroy", func(ctx context.Context) error {
					err := a.sm.Destroy(ctx)
					close(destroyed)
					<-finish
					return err
				})
				b := a.browser()
				session := b.login(t, "alice")
				other := b.copy()
				late := other.inFlight("/revive", loaded)
				slow := b.inFlight("/slow-destroy", destroyed)
				close(act)
				<-late
				close(finish)
				<-slow
				requireAnonymous(t, other, "the request that came too late")
				requireAnonymous(t, b, "the one that destroyed it")
				require.Empty(t, a.live("alice"))
				require.Empty(t, storeKeys(t, a.sm))
				synctest.Wait()
				require.Len(t, a.sink.endings(t), 1)
				require.Equal(t, "destroyed", a.sink.endings(t)[session+"/end"].str("reason"))
			})
		})
	}
}

func TestALogoutWinsAgainstARenewalThatIsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		loaded, out := make(chan struct{}), make(chan struct{})
		a.on("/slow-logout", func(ctx context.Context) error {
			close(loaded)
			<-out
			return a.guard.Logout(ctx)
		})
		entered, release := a.renewing("/slow-renew", nil)
		b := a.browser()
		session := b.login(t, "alice")
		logout := b.copy().inFlight("/slow-logout", loaded)
		renewal := b.inFlight("/slow-renew", entered)
		close(out)
		require.Equal(t, 200, (<-logout).Code)
		close(release)
		require.Empty(t, (<-renewal).Header.Values("Set-Cookie"))
		requireAnonymous(t, b, "he has logged out")
		require.Empty(t, a.live("alice"))
		require.Empty(t, storeKeys(t, a.sm))
		synctest.Wait()
		require.Equal(t, "user", a.sink.endings(t)[session+"/end"].str("reason"))
	})
}

func TestTheLeaseOfARenewalUnderWaySurvivesARegistryThatFailsOnce(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		entered, release := a.renewing("/slow-renew", nil)
		b := a.browser()
		b.login(t, "alice")
		slow := b.inFlight("/slow-renew", entered)
		s.fail("detach")
		time.Sleep(scsguard.Lease/2 + time.Millisecond) // one renewal of the lease
		s.fail()
		for range 60 {
			time.Sleep(time.Second)
			if s.counted()["detach"] > 2 { // it has a lease again
				_, err := a.guard.Sweep(context.Background())
				require.NoError(t, err)
			}
		}
		renewals := s.counted()["detach"]
		require.Greater(t, renewals, 20)
		close(release)
		require.Equal(t, 200, (<-slow).Code)
		require.Equal(t, "alice", b.whoami())
		time.Sleep(time.Minute)
		require.Equal(t, renewals, s.counted()["detach"], "and nobody goes on renewing it")
	}, change, func(cfg *scsguard.Config) { cfg.SweepEvery = -1 })
}

func TestARenewalWithAVerbAfterIt(t *testing.T) {
	for name, c := range map[string]struct {
		verb func(a *app, ctx context.Context) error
		who  string
	}{
		"RenewToken": {func(a *app, ctx context.Context) error { return a.sm.RenewToken(ctx) }, "alice"},
		"Elevate":    {func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) }, "alice admin"},
		"Extend":     {func(a *app, ctx context.Context) error { return second(a.guard.Extend(ctx)) }, "alice"},
		"Current": {func(a *app, ctx context.Context) error {
			s, ok := a.guard.Current(ctx)
			require.True(a.t, ok)
			require.Equal(a.t, "alice", s.User)
			return nil
		}, "alice"},
		"Login":  {func(a *app, ctx context.Context) error { return second(a.guard.Login(ctx, "alice")) }, "alice"},
		"Logout": {func(a *app, ctx context.Context) error { return a.guard.Logout(ctx) }, "401"},
		"a Login that is denied": {func(a *app, ctx context.Context) error {
			a.browser().login(a.t, "bob")
			var over *scsguard.LimitError
			require.ErrorAs(a.t, second(a.guard.Login(ctx, "bob")), &over)
			return nil
		}, "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.on("/both", func(ctx context.Context) error {
					if err := a.sm.RenewToken(ctx); err != nil {
						return err
					}
					return c.verb(a, ctx)
				})
				b := a.browser()
				b.login(t, "alice")
				b.get("/put?k=cart&v=book")
				old := b.copy()
				require.Equal(t, 200, b.get("/both").Code)
				require.Equal(t, c.who, b.whoami())
				requireAnonymous(t, old, "the token before")
				if c.who == "401" {
					require.Empty(t, a.live("alice"))
					require.Empty(t, storeKeys(t, a.sm))
					synctest.Wait()
					require.Equal(t, "user", a.sink.events(t, scsguard.EventLogout)[0].str("reason"))
					return
				}
				require.Equal(t, "book", b.get("/get?k=cart").Body)
				require.Len(t, a.live("alice"), 1)
				require.Len(t, storeKeys(t, a.sm), 1+len(a.live("bob")))
			}, limit(1, scsguard.Deny))
		})
	}
}

func TestAGateAfterARenewalIsOpenAndAfterADestructionClosed(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		inner := a.guard.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") }))
		a.mux.HandleFunc("/renew-gate", func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, a.sm.RenewToken(r.Context()))
			inner.ServeHTTP(w, r)
		})
		a.mux.HandleFunc("/destroy-gate", func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, a.sm.Destroy(r.Context()))
			inner.ServeHTTP(w, r)
		})
		b := a.browser()
		b.login(t, "alice")
		require.Equal(t, "in", b.get("/renew-gate").Body)
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, http.StatusUnauthorized, b.get("/destroy-gate").Code)
	})
}

func TestARenewalWithTheTokenBeforeARotationKeepsTheNewToken(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.on("/renew-put", func(ctx context.Context) error {
			err := a.sm.RenewToken(ctx)
			a.sm.Put(ctx, "late", "x")
			return err
		})
		b := a.browser()
		b.login(t, "alice")
		inGrace := b.request(http.MethodGet, "/renew-put")
		require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		token := b.token()
		res := b.do(inGrace)
		require.Equal(t, 200, res.Code)
		require.Empty(t, res.Header.Values("Set-Cookie"))
		require.Equal(t, token, b.token())
		require.Equal(t, "alice admin", b.whoami())
		require.Equal(t, "x", b.get("/get?k=late").Body)
		require.Len(t, storeKeys(t, a.sm), 1)
		synctest.Wait()
		renew := a.sink.events(t, scsguard.EventRenew)
		require.Len(t, renew, 1)
		require.Equal(t, "token_moved", renew[0].str("reason"))
	})
}

func TestAHijackAfterAChangeOfTokenIsRefusedAndTheCookieGoesOut(t *testing.T) {
	for name, change := range map[string]func(a *app, ctx context.Context) error{
		"RenewToken": func(a *app, ctx context.Context) error { return a.sm.RenewToken(ctx) },
		"Elevate":    func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
					require.NoError(t, change(a, r.Context()))
					_, _, err := http.NewResponseController(w).Hijack()
					require.Error(t, err)
				})
				b := a.browser()
				b.login(t, "alice")
				old := b.token()
				rec := httptest.NewRecorder()
				a.serve.ServeHTTP(hijackable{rec}, b.request(http.MethodGet, "/ws"))
				require.Equal(t, http.StatusInternalServerError, b.take(rec).Code)
				require.NotEqual(t, old, b.token())
				require.Contains(t, b.whoami(), "alice")
			})
		})
	}
}
