package scsguard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

const idle, absolute = 15 * time.Minute, 8 * time.Hour

func TestIdleTimeoutToTheNanosecond(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		time.Sleep(idle - time.Nanosecond)
		require.Equal(t, "alice", b.whoami())
		time.Sleep(idle)
		require.Equal(t, "401 idle", b.whoami())
	})
}

func TestAbsoluteTimeoutToTheNanosecond(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		for range 47 {
			time.Sleep(10 * time.Minute)
			require.Equal(t, "alice", b.whoami())
		}
		time.Sleep(10*time.Minute - time.Nanosecond)
		require.Equal(t, "alice", b.whoami())
		time.Sleep(time.Nanosecond)
		require.Equal(t, "401 absolute", b.whoami())
	})
}

func TestADyingSessionIsRecordedWithTheTimeItWasDue(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		start := time.Now()
		session := a.browser().login(t, "alice") // he never comes back
		time.Sleep(idle + time.Minute)
		synctest.Wait()
		end := a.sink.endings(t)[session+"/end"]
		require.Equal(t, "timeout", end.str("event"))
		require.Equal(t, "idle", end.str("reason"))
		require.Equal(t, stamp(start.Add(idle)), end.str("due"))
		require.Greater(t, end.str("time"), end.str("due"), "noticed by a sweep later")
		require.Empty(t, storeKeys(t, a.sm), "and its data is deleted")
	})
}

// stamp is how the trail writes a time.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func TestASweepSparesASessionThatWasTouchedMeanwhile(t *testing.T) {
	registry := scsguard.NewMemoryRegistry()
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		time.Sleep(idle - time.Second)
		arrived := time.Now()
		time.Sleep(2 * time.Second)
		due, err := registry.Due(context.Background(), 10) // a sweep reads that it is over
		require.NoError(t, err)
		require.Len(t, due, 1)
		_, err = registry.Touch(context.Background(), due[0].Key, scsguard.Activity{At: arrived}) // a request in flight
		require.NoError(t, err)
		_, ended, err := registry.End(context.Background(), scsguard.Target{Key: due[0].Key, IfDue: true}, scsguard.Ending{})
		require.NoError(t, err)
		require.False(t, ended)
		require.Equal(t, "alice", b.whoami())
	}, func(cfg *scsguard.Config) { cfg.Registry, cfg.SweepEvery = registry, -1 })
}

func TestSeveralSweepsWriteEachTimeOutOnce(t *testing.T) {
	const sessions = 100
	registry, store := scsguard.NewMemoryRegistry(), newManager().Store
	var managers [3]*scs.SessionManager
	for i := range managers {
		managers[i] = newManager()
		managers[i].Store = store
	}
	synctest.Test(t, func(t *testing.T) {
		out, key := &sink{}, make([]byte, 32)
		var apps []*app
		for _, sm := range managers {
			apps = append(apps, newApp(t, sm, func(cfg *scsguard.Config) {
				cfg.Registry, cfg.Keys, cfg.Audit, cfg.SweepEvery = registry, [][]byte{key}, out, -1
			}))
		}
		for i := range sessions {
			apps[i%3].browser().login(t, fmt.Sprintf("user%d", i))
		}
		start := time.Now()
		time.Sleep(idle + 5*time.Minute)
		total := new(atomic.Int64)
		for round := range 3 {
			if round > 0 {
				time.Sleep(scsguard.Lease)
			}
			for _, a := range apps {
				go func() {
					n, err := a.guard.Sweep(context.Background())
					require.NoError(t, err)
					total.Add(int64(n))
				}()
			}
			synctest.Wait()
		}
		require.EqualValues(t, sessions, total.Load())
		raw := out.events(t, scsguard.EventTimeout)
		require.Len(t, raw, sessions)
		for _, e := range raw {
			require.Equal(t, stamp(start.Add(idle)), e.str("due"))
		}
	})
}

func TestAnEndingThatWasNotWrittenIsWrittenByWhoComesNext(t *testing.T) {
	registry, store := scsguard.NewMemoryRegistry(), newManager().Store
	crashed, next := newManager(), newManager()
	crashed.Store, next.Store = store, store
	synctest.Test(t, func(t *testing.T) {
		key, out := make([]byte, 32), &sink{}
		share := func(cfg *scsguard.Config) {
			cfg.Registry, cfg.Keys, cfg.SweepEvery = registry, [][]byte{key}, -1
		}
		a := newApp(t, crashed, share)
		session := a.browser().login(t, "alice")
		list, err := registry.List(context.Background(), "alice")
		require.NoError(t, err)
		// The process ends the record and dies before the trail hears of it.
		_, ended, err := registry.End(context.Background(), scsguard.Target{Key: list[0].Key},
			scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndUser, At: time.Now()})
		require.NoError(t, err)
		require.True(t, ended)

		b := newApp(t, next, share, func(cfg *scsguard.Config) { cfg.Audit = out })
		_, err = b.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Empty(t, out.endings(t), "it may only be slow")
		time.Sleep(scsguard.Lease)
		_, err = b.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Equal(t, "user", out.endings(t)[session+"/end"].str("reason"))
		_, err = b.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Len(t, out.events(t), 1, "and not again")
	})
}

func TestAStricterPolicyAppliesToLivingSessions(t *testing.T) {
	var stricter atomic.Pointer[scsguard.Timeouts]
	stricter.Store(&scsguard.Timeouts{})
	policy := func(cfg *scsguard.Config) {
		cfg.Policy = func(context.Context, scsguard.Subject) scsguard.Policy {
			return scsguard.Policy{Timeouts: *stricter.Load()}
		}
	}
	t.Run("idle", func(t *testing.T) {
		stricter.Store(&scsguard.Timeouts{})
		bubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			b.login(t, "alice")
			time.Sleep(6 * time.Minute)
			stricter.Store(&scsguard.Timeouts{Idle: 5 * time.Minute})
			require.Equal(t, "401 idle", b.whoami())
			synctest.Wait()
			require.Equal(t, stamp(time.Now().Add(-time.Minute)), a.sink.events(t, scsguard.EventTimeout)[0].str("due"))
		}, policy)
	})
	t.Run("absolute", func(t *testing.T) {
		stricter.Store(&scsguard.Timeouts{})
		bubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			b.login(t, "alice")
			time.Sleep(14 * time.Minute)
			require.Equal(t, "alice", b.whoami())
			time.Sleep(14 * time.Minute)
			stricter.Store(&scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 20 * time.Minute})
			require.Equal(t, "401 absolute", b.whoami())
		}, policy)
	})
	t.Run("a laxer one does not", func(t *testing.T) {
		stricter.Store(&scsguard.Timeouts{})
		bubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			b.login(t, "alice")
			stricter.Store(&scsguard.Timeouts{Idle: time.Hour})
			require.Equal(t, "alice", b.whoami())
			time.Sleep(idle)
			require.Equal(t, "401 idle", b.whoami())
		}, policy)
	})
}

func TestPolicyBySubject(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		kiosk, office := a.browser(), a.browser()
		require.Equal(t, 200, kiosk.get("/login?user=kiosk&role=kiosk").Code)
		require.Equal(t, 200, office.get("/login?user=alice&role=staff").Code)
		time.Sleep(2 * time.Minute)
		require.Equal(t, "401 idle", kiosk.whoami())
		require.Equal(t, "alice staff", office.whoami())
	}, func(cfg *scsguard.Config) {
		cfg.Policy = func(_ context.Context, s scsguard.Subject) scsguard.Policy {
			if s.Role == "kiosk" {
				return scsguard.Policy{Timeouts: scsguard.Timeouts{Idle: 2 * time.Minute}}
			}
			return scsguard.Policy{}
		}
	})
}

func TestAPolicyThatMakesNoSenseRefusesTheLoginAndSparesTheSession(t *testing.T) {
	var bad atomic.Bool
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		bad.Store(true)
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, http.StatusInternalServerError, a.browser().get("/login?user=alice").Code)
		require.False(t, a.guard.Health().OK)
	}, func(cfg *scsguard.Config) {
		cfg.Policy = func(context.Context, scsguard.Subject) scsguard.Policy {
			if bad.Load() {
				return scsguard.Policy{Timeouts: scsguard.Timeouts{Idle: -1}}
			}
			return scsguard.Policy{}
		}
	})
}

func TestAnonymousSessionsKeepTheManagersIdleTimeout(t *testing.T) {
	for name, store := range map[string]bool{"store that expires": false, "store that keeps for ever": true} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			sm.IdleTimeout = 20 * time.Minute
			if store {
				sm.Store = &immortalStore{}
			}
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				b := a.browser()
				b.get("/put?k=cart&v=book")
				for range 5 {
					time.Sleep(20*time.Minute - time.Nanosecond)
					require.Equal(t, "book", b.get("/get?k=cart").Body)
				}
				time.Sleep(20*time.Minute + time.Nanosecond) // memstore keeps what expires at this very nanosecond
				require.Empty(t, b.get("/get?k=cart").Body)
			}, withMemoryRegistry)
		})
	}
}

func TestAnonymousSlidingWritesAtMostOncePerTouchInterval(t *testing.T) {
	sm := newManager()
	sm.IdleTimeout = 15 * time.Minute
	store := &countingStore{MemStore: sm.Store.(*memstore.MemStore)}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		b.get("/put?k=cart&v=book")
		store.writes = 0
		for range 59 {
			time.Sleep(time.Second)
			b.get("/get?k=cart")
		}
		require.Zero(t, store.writes)
		time.Sleep(time.Second)
		b.get("/get?k=cart")
		require.Equal(t, 1, store.writes)
		time.Sleep(2 * time.Minute)
		b.get("/passive")
		require.Equal(t, 1, store.writes, "a passive request prolongs nothing")
	}, withMemoryRegistry)
}

func TestPassiveRequestsAreJudgedAndProlongNothing(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		for range 89 { // every 10 s up to 10 s before the idle timeout
			time.Sleep(10 * time.Second)
			require.Equal(t, 200, b.get("/passive").Code)
		}
		time.Sleep(10 * time.Second)
		require.Equal(t, 401, b.get("/passive").Code)
		require.Equal(t, 401, b.get("/passive").Code)
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventTimeout), 1)
		require.Empty(t, a.sink.events(t, scsguard.EventExtend))
	})
}

func TestActivityIsStampedWithTheArrivalOfTheRequest(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) { time.Sleep(10 * time.Minute) })
		b := a.browser()
		start := time.Now()
		b.login(t, "alice")
		time.Sleep(5 * time.Minute)
		done := make(chan struct{})
		go func() { defer close(done); b.get("/upload") }()
		time.Sleep(time.Minute) // one Touch interval after the start, long before the end
		synctest.Wait()
		extend := a.sink.events(t, scsguard.EventExtend)
		require.Len(t, extend, 1)
		require.Equal(t, stamp(start.Add(5*time.Minute+idle)), extend[0].str("idle_expires"))
		require.Equal(t, stamp(start.Add(idle)), extend[0].str("idle_expires_old"))
		<-done
		require.Len(t, a.sink.events(t, scsguard.EventExtend), 1, "and not again at its end")
		time.Sleep(time.Until(start.Add(5*time.Minute + idle)))
		require.Equal(t, "401 idle", b.whoami(), "the limit counts from there, too")
	})
}

func TestExtendStartsTheIdleTimeoutAnewAndNeverPassesTheAbsolute(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/session", a.guard.StatusHandler())
		a.mux.Handle("/session/extend", a.guard.ExtendHandler())
		status := func(b *browser, method, path string) scsguard.Status {
			var st scsguard.Status
			res := b.do(b.request(method, path))
			require.Equal(t, 200, res.Code)
			require.NoError(t, json.Unmarshal([]byte(res.Body), &st))
			return st
		}
		b := a.browser()
		require.Equal(t, scsguard.Status{ServerTime: time.Now().UTC().Truncate(time.Second)}, status(b, "GET", "/session"))
		b.login(t, "alice")
		time.Sleep(10 * time.Minute)
		st := status(b, "GET", "/session")
		require.EqualValues(t, 300, st.IdleExpiresIn)
		require.EqualValues(t, 8*3600-600, st.AbsoluteExpiresIn)
		require.EqualValues(t, 600, st.CanExtendBy)
		st = status(b, "POST", "/session/extend")
		require.EqualValues(t, 900, st.IdleExpiresIn)
		require.Zero(t, st.CanExtendBy)
		require.Equal(t, http.StatusMethodNotAllowed, b.do(b.request("GET", "/session/extend")).Code)
		for range 46 { // WCAG 2.2.1 asks for at least ten
			time.Sleep(10 * time.Minute)
			st = status(b, "POST", "/session/extend")
		}
		time.Sleep(5 * time.Minute)
		st = status(b, "GET", "/session")
		require.EqualValues(t, 300, st.AbsoluteExpiresIn)
		require.Zero(t, st.CanExtendBy, "nothing can be gained beyond the absolute timeout")
		synctest.Wait()
		for _, e := range a.sink.events(t, scsguard.EventExtend) {
			require.Equal(t, "request", e.str("reason"))
			require.Equal(t, e.str("absolute_expires_old"), e.str("absolute_expires"))
			require.NotEqual(t, e.str("idle_expires_old"), e.str("idle_expires"))
		}
	})
}

func TestAnEarlierDeadlineOfTheApplicationTightensTheAbsolute(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/hour", func(w http.ResponseWriter, r *http.Request) {
			a.sm.SetDeadline(r.Context(), time.Now().Add(5*time.Minute))
		})
		a.mux.HandleFunc("/year", func(w http.ResponseWriter, r *http.Request) {
			a.sm.SetDeadline(r.Context(), time.Now().Add(365*24*time.Hour))
		})
		b := a.browser()
		b.login(t, "alice")
		b.get("/hour")
		b.get("/year")
		time.Sleep(5*time.Minute - time.Nanosecond)
		require.Equal(t, "alice", b.whoami())
		time.Sleep(time.Nanosecond)
		require.Equal(t, "401 absolute", b.whoami())
		synctest.Wait()
		require.Equal(t, "application", a.sink.events(t, scsguard.EventExtend)[0].str("reason"))
	})
}

func TestPeriodicRenewalGivesANewTokenAndMovesNoDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		session := b.login(t, "alice")
		token := b.token()
		time.Sleep(10*time.Minute - time.Nanosecond)
		b.whoami()
		require.Equal(t, token, b.token())
		time.Sleep(time.Nanosecond)
		require.Equal(t, "alice", b.whoami())
		require.NotEqual(t, token, b.token())
		require.Equal(t, "alice", b.whoami())
		renew := a.sink.events(t, scsguard.EventRenew)
		require.Len(t, renew, 1)
		require.Equal(t, "periodic", renew[0].str("reason"))
		require.Equal(t, session, renew[0].str("session"), "it stays the same session")
		require.Equal(t, a.guard.TokenHash(b.token()), renew[0].str("token_hash"))

		token = b.token()
		time.Sleep(10 * time.Minute)
		a.sink.fail(errDown)
		require.Equal(t, "alice", b.whoami(), "what cannot be recorded is not renewed, and is no reason to refuse")
		require.Equal(t, token, b.token())
	}, func(cfg *scsguard.Config) { cfg.Timeouts.Renew = 10 * time.Minute })
}

func TestLimitIdleClosesADoorThatActivityElsewhereDoesNotOpen(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/admin", a.guard.LimitIdle(5*time.Minute)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		b := a.browser()
		b.login(t, "alice")
		time.Sleep(5*time.Minute - time.Nanosecond)
		require.Equal(t, 200, b.get("/admin").Code)
		time.Sleep(5 * time.Minute)
		require.Equal(t, 401, b.get("/admin").Code)
		require.Equal(t, 401, b.get("/admin").Code, "the refused request was no activity")
		require.Equal(t, "alice", b.whoami(), "the session lives")
		require.Equal(t, 401, b.get("/admin").Code, "and its activity elsewhere does not open the door")
		require.Equal(t, 200, b.get("/reauth").Code)
		require.Equal(t, 200, b.get("/admin").Code)
	})
}

func TestARecordThatMakesNoSenseIsEnded(t *testing.T) {
	base := scsguard.Record{
		Session: "S", User: "alice", State: scsguard.StateLive, Created: time.Now(), LastActivity: time.Now(),
		Idle: time.Minute, Absolute: time.Now().Add(time.Hour),
	}
	_, over := base.Overdue(time.Now())
	require.False(t, over)
	for name, spoil := range map[string]func(*scsguard.Record){
		"no creation time":               func(r *scsguard.Record) { r.Created = time.Time{} },
		"created in the future":          func(r *scsguard.Record) { r.Created = time.Now().Add(time.Hour) },
		"no activity":                    func(r *scsguard.Record) { r.LastActivity = time.Time{} },
		"activity in the future":         func(r *scsguard.Record) { r.LastActivity = time.Now().Add(time.Hour) },
		"no idle limit":                  func(r *scsguard.Record) { r.Idle = 0 },
		"no absolute deadline":           func(r *scsguard.Record) { r.Absolute = time.Time{} },
		"absolute deadline before login": func(r *scsguard.Record) { r.Absolute = r.Created.Add(-time.Second) },
		"no session ID":                  func(r *scsguard.Record) { r.Session = "" },
		"no user":                        func(r *scsguard.Record) { r.User = "" },
	} {
		t.Run(name, func(t *testing.T) {
			rec := base
			spoil(&rec)
			end, over := rec.Overdue(time.Now())
			require.True(t, over)
			require.Equal(t, scsguard.EndInvalid, end.Reason)
		})
	}
}

// What its store says of an anonymous session counts as little as a record of the future.
func TestAnAnonymousSessionThatWasUsedInTheFutureIsOver(t *testing.T) {
	for ahead, want := range map[time.Duration]string{scsguard.ClockSkew: "red", scsguard.ClockSkew + time.Nanosecond: ""} {
		sm := newManager()
		sm.IdleTimeout = 20 * time.Minute
		bubbleOn(t, sm, func(t *testing.T, a *app) {
			b := a.browser()
			require.Equal(t, 200, b.get("/put?k=colour&v=red").Code)
			store := a.guard.Store()
			data, found, err := store.Find(b.token())
			require.NoError(t, err)
			require.True(t, found)
			deadline, values, err := sm.Codec.Decode(data)
			require.NoError(t, err)
			require.Contains(t, values, "__scsguard.seen")
			values["__scsguard.seen"] = strconv.FormatInt(time.Now().Add(ahead).UnixNano(), 10)
			data, err = sm.Codec.Encode(deadline, values)
			require.NoError(t, err)
			require.NoError(t, store.Commit(b.token(), data, deadline))
			require.Equal(t, want, b.get("/get?k=colour").Body)
		})
	}
}
