package scsguard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// arriving runs a test of an application that is put under the guard while
// sessions of its plain version are in its store.
func arriving(t *testing.T, f func(t *testing.T, a *app, plain http.Handler), change ...func(*scsguard.Config)) {
	t.Helper()
	sm := newManager()
	arrivingOn(t, sm, f, change...)
}

func arrivingOn(t *testing.T, sm *scs.SessionManager, f func(t *testing.T, a *app, plain http.Handler), change ...func(*scsguard.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		_, plain := plainInstance(sm, sm.Store)
		a := newApp(t, sm, append([]func(*scsguard.Config){byUserKey(sm)}, change...)...)
		plainHandlers(a.mux, sm)
		f(t, a, plain)
	})
}

// before logs a user in on the plain version and goes on with the guarded one.
func before(t *testing.T, a *app, plain http.Handler, user string) *browser {
	t.Helper()
	b := newBrowser(plain)
	require.Equal(t, 200, b.get("/plain/login?user="+user).Code)
	return b.on(a.serve)
}

func TestASessionFromBeforeTheGuardGoesOn(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		login := time.Now()
		b := before(t, a, plain, "alice")
		token := b.token()
		time.Sleep(time.Hour)
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, "alice", b.get("/plain/whoami").Body)
		require.Equal(t, token, b.token())
		events := a.sink.events(t)
		require.Len(t, events, 1)
		e := events[0]
		require.Equal(t, "enroll", e.str("event"))
		require.Equal(t, "alice", e.str("user"))
		require.Equal(t, "192.0.2.1", e.str("ip"))
		require.Equal(t, login.UTC().Format("2006-01-02T15:04:05.000000Z"), e.str("created"))
		require.Empty(t, e.str("auth_time"))
		require.Equal(t, a.guard.TokenHash(token), e.str("token_hash"))

		list, err := a.guard.SessionsOf(context.Background(), "alice")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, e.str("session"), list[0].ID)
		_, err = a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		require.Equal(t, 401, b.get("/plain/whoami").Code)
		require.Equal(t, 401, b.on(plain).get("/plain/whoami").Code, "its data is gone, so an instance without the guard does not serve it either")
	})
}

func TestAnEnrolledSessionHasTheLimitsOfItsLogin(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		b := before(t, a, plain, "alice")
		absolute := 8 * time.Hour
		for range 48 {
			time.Sleep(10 * time.Minute)
			if b.get("/plain/whoami").Code != 200 {
				break
			}
			absolute -= 10 * time.Minute
		}
		require.Equal(t, 10*time.Minute, absolute, "it ends at login + 8 h, not at enrolment + 8 h")
		require.Equal(t, "401 absolute", b.whoami())
	})
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		early, late := before(t, a, plain, "alice"), before(t, a, plain, "bob")
		time.Sleep(8*time.Hour - time.Nanosecond)
		require.Equal(t, 200, early.get("/plain/whoami").Code)
		time.Sleep(time.Nanosecond)
		require.Equal(t, 401, early.get("/plain/whoami").Code)
		require.Equal(t, "401 absolute", late.whoami())
		require.Equal(t, "401 absolute", late.whoami(), "the token stays dead")
		synctest.Wait()
		failures := a.sink.events(t, scsguard.EventEnroll)
		require.Len(t, failures, 2)
		require.Equal(t, "failure", failures[1].str("outcome"))
		require.Equal(t, "absolute", failures[1].str("reason"))
		require.Empty(t, storeKeys(t, a.sm))
	})
}

func TestAnEnrolledSessionEndsNoLaterThanItsDataSays(t *testing.T) {
	sm := newManager()
	sm.Lifetime = time.Hour
	arrivingOn(t, sm, func(t *testing.T, a *app, plain http.Handler) {
		b := before(t, a, plain, "alice")
		for range 5 {
			time.Sleep(10 * time.Minute)
			require.Equal(t, "alice", b.whoami())
		}
		time.Sleep(10*time.Minute - time.Nanosecond)
		require.Equal(t, "alice", b.whoami())
		time.Sleep(time.Nanosecond)
		require.Equal(t, "401 absolute", b.whoami())
	}, func(cfg *scsguard.Config) {
		cfg.Policy = func(context.Context, scsguard.Subject) scsguard.Policy {
			return scsguard.Policy{Timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour}}
		}
	})
}

func TestASessionFromBeforeAnEndAllIsNotEnrolledAfterIt(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		old := before(t, a, plain, "alice")
		other := before(t, a, plain, "bob")
		time.Sleep(time.Nanosecond)
		_, err := a.guard.EndAll(context.Background(), "alice", scsguard.PasswordChanged())
		require.NoError(t, err)
		since := before(t, a, plain, "alice")
		require.Equal(t, 401, old.get("/plain/whoami").Code)
		require.Equal(t, "401 ended_by_admin", old.whoami())
		require.Equal(t, 200, other.get("/plain/whoami").Code)
		require.Equal(t, 200, since.get("/plain/whoami").Code)
		synctest.Wait()
		failed := a.sink.events(t, scsguard.EventEnroll)[0]
		require.Equal(t, "failure", failed.str("outcome"))
		require.Equal(t, "revoked", failed.str("reason"))
		require.Len(t, storeKeys(t, a.sm), 2)
	})
}

// A deadline tells when the token was renewed last, not when anybody proved who he is.
func TestASessionFromBeforeTheGuardIsNeverRecentlyAuthenticatedUntilItsUserProvesWhoHeIs(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		a.mux.Handle("/transfer", a.guard.RequireRecentLogin(5*time.Minute)(http.NotFoundHandler()))
		b := before(t, a, plain, "alice")
		b.on(plain).get("/plain/renew")
		require.Equal(t, http.StatusForbidden, b.on(a.serve).get("/transfer").Code)
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, 200, b.get("/reauth").Code)
		require.Equal(t, http.StatusNotFound, b.get("/transfer").Code)
	})
}

// An application may set a deadline of its own, and then nobody knows when the
// user logged in.
func TestASessionOfUnknownAgeIsNotEnrolledAfterAnEndAllAndNeverRecentlyAuthenticated(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		store := a.sm.Store.(interface{ Unwrap() scs.Store }).Unwrap()
		sm, _ := plainInstance(a.sm, store)
		session := func(user string) *browser {
			ctx, err := sm.Load(context.Background(), "")
			require.NoError(t, err)
			sm.Put(ctx, "user", user)
			sm.SetDeadline(ctx, time.Now().Add(1000*time.Hour))
			token, _, err := sm.Commit(ctx)
			require.NoError(t, err)
			b := a.browser()
			b.cookies["__Host-session"] = token
			return b
		}
		a.mux.Handle("/admin", a.guard.LimitIdle(5*time.Minute)(http.NotFoundHandler()))
		alice, bob := session("alice"), session("bob")
		require.Equal(t, "alice", alice.whoami())
		require.Equal(t, 401, alice.get("/admin").Code)
		_, err := a.guard.EndAll(context.Background(), "bob")
		require.NoError(t, err)
		require.Equal(t, "401 ended_by_admin", bob.whoami())
		require.Empty(t, a.sink.events(t, scsguard.EventEnroll)[0]["auth_time"])
	})
}

// sluggishSink takes its time, so that requests overlap.
type sluggishSink struct{ *sink }

func (s sluggishSink) Append(ctx context.Context, records [][]byte) error {
	time.Sleep(300 * time.Millisecond)
	return s.sink.Append(ctx, records)
}

func TestParallelRequestsEnrollASessionOnce(t *testing.T) {
	for name, limit := range map[string]scsguard.Limit{
		"no cap": {}, "deny": {Max: 1, OnExceed: scsguard.Deny}, "evict": {Max: 1, OnExceed: scsguard.EvictOldest},
	} {
		t.Run(name, func(t *testing.T) {
			out := &sink{}
			arriving(t, func(t *testing.T, a *app, plain http.Handler) {
				b := before(t, a, plain, "alice")
				var group sync.WaitGroup
				for range 20 {
					group.Go(func() {
						require.Equal(t, "alice", b.get("/plain/whoami").Body)
						ctx, err := a.sm.Load(context.Background(), b.token())
						require.NoError(t, err)
						require.Equal(t, "alice", a.sm.GetString(ctx, "user"))
					})
				}
				group.Wait()
				require.Len(t, out.events(t), 1)
				list, err := a.guard.SessionsOf(context.Background(), "alice")
				require.NoError(t, err)
				require.Len(t, list, 1)
			}, func(cfg *scsguard.Config) { cfg.Limit, cfg.Audit = limit, sluggishSink{out} })
		})
	}
}

func TestASessionThatIsEnrolledBetweenTwoLooksIsNotTakenForOneThatLostItsRecord(t *testing.T) {
	for _, bare := range []bool{false, true} {
		sm := newManager()
		s, change := stepped(sm)
		arrivingOn(t, sm, func(t *testing.T, a *app, plain http.Handler) {
			b := before(t, a, plain, "alice")
			s.before("find", func() {
				time.Sleep(time.Nanosecond) // the record was looked up at the same time, and there was none
				require.Equal(t, "alice", b.copy().whoami())
			})
			if bare {
				require.Equal(t, "alice", sm.GetString(a.load(b.token()), "user"))
			}
			require.Equal(t, "alice", b.whoami())
			require.Len(t, a.live("alice"), 1)
			require.Len(t, a.sink.events(t), 1)
		}, change)
	}
}

func TestAtTheCapASessionFromBeforeTheGuardIsTheOneThatGoes(t *testing.T) {
	for _, mode := range []scsguard.OnExceed{scsguard.Deny, scsguard.EvictOldest, scsguard.Warn} {
		arriving(t, func(t *testing.T, a *app, plain http.Handler) {
			old := before(t, a, plain, "alice")
			time.Sleep(time.Minute)
			b := a.browser()
			b.login(t, "alice")
			if mode == scsguard.Warn {
				require.Equal(t, "alice", old.whoami())
				synctest.Wait()
				warning := a.sink.events(t, scsguard.EventConcurrentWarning)
				require.Len(t, warning, 1)
				require.InEpsilon(t, 2, warning[0]["concurrent"], 0)
				return
			}
			require.Equal(t, "401 signed_in_elsewhere", old.whoami())
			require.Equal(t, "401 signed_in_elsewhere", old.whoami())
			require.Equal(t, "alice", b.whoami())
			synctest.Wait()
			require.Equal(t, "evicted", a.sink.events(t, scsguard.EventEnroll)[0].str("reason"))
			require.Len(t, storeKeys(t, a.sm), 1)
			require.Empty(t, a.sink.endings(t))
		}, func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: 1, OnExceed: mode} })
	}
}

func TestTheLastLoginIsNotOneThatWasEnrolledLater(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		old := before(t, a, plain, "alice")
		time.Sleep(time.Minute)
		a.browser().login(t, "alice")
		last := time.Now()
		time.Sleep(time.Minute)
		require.Equal(t, "alice", old.whoami())
		a.handle("/again", func(w http.ResponseWriter, r *http.Request) error {
			s, err := a.guard.Login(r.Context(), "alice")
			require.True(t, s.LastLogin.Time.Equal(last))
			a.sm.Put(r.Context(), "user", "alice")
			return err
		})
		require.Equal(t, 200, a.browser().get("/again").Code)
	})
}

func TestWhileTheTrailIsDownNobodyIsEnrolledAndNobodyLoggedOut(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		b := before(t, a, plain, "alice")
		token := b.token()
		a.sink.fail(errors.New("disk full"))
		for range 3 {
			res := b.get("/plain/whoami")
			require.Equal(t, http.StatusServiceUnavailable, res.Code)
			require.Empty(t, res.Header.Values("Set-Cookie"))
		}
		require.Equal(t, token, b.token())
		a.sink.fail(nil)
		require.Equal(t, "alice", b.get("/plain/whoami").Body)
		synctest.Wait()
		ok, retracted := map[string]bool{}, map[string]bool{}
		for _, e := range a.sink.events(t, scsguard.EventEnroll) {
			if e.str("outcome") == "success" {
				ok[e.str("session")] = true
			} else {
				retracted[e.str("session")] = true
			}
		}
		require.Len(t, ok, 1)
		require.Len(t, retracted, 3, "what may be in the trail is retracted")
		for session := range ok {
			require.False(t, retracted[session])
		}
	})
}

func TestAFailureAnywhereInAnEnrolmentNeverLeavesASessionWithoutTheGuard(t *testing.T) {
	for _, op := range []string{"get", "find", "admit", "settle", "commit", "end", "touch"} {
		sm := newManager()
		steps, withSteps := stepped(sm)
		arrivingOn(t, sm, func(t *testing.T, a *app, plain http.Handler) {
			b := before(t, a, plain, "alice")
			steps.fail(op)
			if code := b.get("/plain/whoami").Code; code != http.StatusServiceUnavailable {
				require.Equal(t, 200, code, op)
			}
			steps.fail()
			time.Sleep(scsguard.Lease + time.Minute)
			if code := b.get("/plain/whoami").Code; code == 200 {
				require.Equal(t, "alice", b.whoami(), op)
				ctx, err := a.sm.Load(context.Background(), b.token())
				require.NoError(t, err)
				require.NotEmpty(t, a.sm.GetString(ctx, "__scsguard"), op)
			} else {
				require.Equal(t, "settle", op, "only an outcome that nobody knows may cost the login")
			}
			_, err := a.guard.EndAll(context.Background(), "alice")
			require.NoError(t, err)
			require.Equal(t, 401, b.get("/plain/whoami").Code, op)
		}, withSteps)
	}
}

// The tombstone outlives the data that an instance without the guard may write.
func TestALateWriteOfAnInstanceWithoutTheGuardIsNotEnrolledAgain(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		store := a.sm.Store.(interface{ Unwrap() scs.Store }).Unwrap()
		sm, _ := plainInstance(a.sm, store)
		b := before(t, a, plain, "alice")
		slow, err := sm.Load(context.Background(), b.token()) // before the mark
		require.NoError(t, err)
		require.Equal(t, "alice", b.whoami())
		_, err = a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		sm.Put(slow, "late", "x")
		_, _, err = sm.Commit(slow)
		require.NoError(t, err)
		require.Equal(t, "alice", b.on(plain).get("/plain/whoami").Body, "plain scs has no record to ask")
		for range 24 {
			require.Equal(t, 401, b.on(a.serve).get("/plain/whoami").Code)
			time.Sleep(time.Hour)
			_, err := a.guard.Sweep(context.Background())
			require.NoError(t, err)
		}
		require.Len(t, a.sink.events(t, scsguard.EventEnroll), 1)
	})
}

func TestAnEnrolledSessionWhoseRecordIsLostIsNotEnrolledAgain(t *testing.T) {
	sm := newManager()
	arrivingOn(t, sm, func(t *testing.T, a *app, plain http.Handler) {
		b := before(t, a, plain, "alice")
		require.Equal(t, "alice", b.whoami())
		store := sm.Store.(interface{ Unwrap() scs.Store }).Unwrap()
		again, _ := plainInstance(sm, store)
		second := newApp(t, again, byUserKey(again), withMemoryRegistry)
		plainHandlers(second.mux, again)
		require.Equal(t, 401, b.on(second.serve).get("/plain/whoami").Code)
		require.Empty(t, second.sink.events(t, scsguard.EventEnroll))
	})
}

func TestTwoInstancesEnrollASessionOnce(t *testing.T) {
	sm := newManager()
	registry := scsguard.NewMemoryRegistry()
	share := func(cfg *scsguard.Config) { cfg.Registry = registry }
	arrivingOn(t, sm, func(t *testing.T, a *app, plain http.Handler) {
		store := sm.Store.(interface{ Unwrap() scs.Store }).Unwrap()
		again, _ := plainInstance(sm, store)
		second := newApp(t, again, byUserKey(again), share, func(cfg *scsguard.Config) { cfg.Audit = sluggishSink{a.sink} })
		plainHandlers(second.mux, again)
		b := before(t, a, plain, "alice")
		one, two := b.copy(), b.copy().on(second.serve)
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() { require.Equal(t, "alice", one.get("/plain/whoami").Body) })
			group.Go(func() { require.Equal(t, "alice", two.get("/plain/whoami").Body) })
		}
		group.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventEnroll), 1)
	}, share, func(cfg *scsguard.Config) { cfg.Keys = [][]byte{make([]byte, 32)} })
}

// The guard's note of when an anonymous session was last used says nothing once
// somebody has logged in there.
func TestALoginWithoutTheGuardOutlivesTheIdleTimeoutOfTheAnonymousSession(t *testing.T) {
	sm := newManager()
	sm.IdleTimeout = 10 * time.Minute
	arrivingOn(t, sm, func(t *testing.T, a *app, plain http.Handler) {
		b := a.browser()
		b.get("/put?k=cart&v=book")
		b.on(plain).get("/plain/login?user=alice")
		time.Sleep(9 * time.Minute)
		b.get("/plain/whoami") // slides there
		time.Sleep(9 * time.Minute)
		require.Equal(t, "alice", b.on(a.serve).get("/plain/whoami").Body)
		require.Equal(t, "book", b.get("/get?k=cart").Body)
	})
}

func TestAUserIDThatIsTooLongIsAnErrorAndNotAnonymous(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		long := make([]byte, 2000)
		for i := range long {
			long[i] = 'a'
		}
		b := before(t, a, plain, string(long))
		require.Equal(t, 500, b.get("/plain/whoami").Code)
		require.Equal(t, 500, a.browser().get("/plain/login?user="+string(long)).Code)
		require.Len(t, storeKeys(t, a.sm), 1)
	})
}

// The token is a few bytes of a header that may be as long as a server allows.
func TestASessionKeepsNothingElseOfTheHeaderItsTokenCameIn(t *testing.T) {
	for _, c := range []struct {
		name, path string
		visitor    func(a *app, plain http.Handler, i int) *browser
	}{
		{"enrolled", "/plain/whoami", func(a *app, plain http.Handler, i int) *browser {
			return before(t, a, plain, fmt.Sprint("user", i))
		}},
		{"written", "/note", func(a *app, _ http.Handler, i int) *browser {
			b := newBrowser(a.serve)
			require.Equal(t, 200, b.get("/note").Code)
			return b
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			arriving(t, func(t *testing.T, a *app, plain http.Handler) {
				a.handle("/note", func(_ http.ResponseWriter, r *http.Request) error {
					a.sm.Put(r.Context(), "note", a.sm.GetInt(r.Context(), "note")+1)
					return nil
				})
				var all []*browser
				for i := range 64 {
					all = append(all, c.visitor(a, plain, i))
				}
				before := heapInUse()
				for _, b := range all {
					r := b.request(http.MethodGet, c.path)
					r.Header.Set("Cookie", r.Header.Get("Cookie")+"; more="+strings.Repeat("x", 1<<20))
					require.Equal(t, 200, b.do(r).Code)
				}
				after := heapInUse()
				require.Less(t, after-min(before, after), uint64(16<<20))
				require.Equal(t, 200, all[63].get(c.path).Code)
			})
		})
	}
}
