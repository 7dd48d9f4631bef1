package scsguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func limit(max int, on scsguard.OnExceed) func(*scsguard.Config) {
	return func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: max, OnExceed: on} }
}

func TestDenyRefusesTheLoginBeyondTheCapAndListsTheSessions(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		first, second, third := a.browser(), a.browser(), a.browser()
		one := first.login(t, "alice")
		time.Sleep(time.Second)
		two := second.login(t, "alice")
		var refused *scsguard.LimitError
		a.handle("/try", func(w http.ResponseWriter, r *http.Request) error {
			_, err := a.guard.Login(r.Context(), "alice")
			require.ErrorAs(t, err, &refused)
			return err
		})
		require.Equal(t, http.StatusConflict, third.get("/try").Code)
		require.Equal(t, 2, refused.Max)
		require.Equal(t, []string{one, two}, []string{refused.Sessions[0].ID, refused.Sessions[1].ID})
		require.Equal(t, "401", third.whoami())
		require.Empty(t, third.token(), "a refused login leaves no session behind")
		require.Equal(t, "alice", first.whoami())

		require.Equal(t, http.StatusOK, third.get("/login?user=alice&end="+one).Code, "he may choose one to end")
		require.Equal(t, "401 ended_by_you", first.whoami())
		require.Equal(t, "alice", third.whoami())
		require.Equal(t, "alice", second.whoami())
		synctest.Wait()
		denied := a.sink.events(t, scsguard.EventLoginDenied)
		require.Len(t, denied, 1)
		require.Equal(t, "limit", denied[0].str("reason"))
		require.Equal(t, "failure", denied[0].str("outcome"))
	}, limit(2, scsguard.Deny))
}

func TestEvictionEndsTheOldestAndTellsItWhy(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		browsers := make([]*browser, 4)
		for i := range browsers { // all at the same instant: the order of admission decides
			browsers[i] = a.browser()
			browsers[i].login(t, "alice")
		}
		require.Equal(t, "401 signed_in_elsewhere", browsers[0].whoami())
		for _, b := range browsers[1:] {
			require.Equal(t, "alice", b.whoami())
		}
		synctest.Wait()
		ends := a.sink.endings(t)
		require.Len(t, ends, 1)
		for _, e := range ends {
			require.Equal(t, "evicted", e.str("reason"))
		}
		require.Len(t, storeKeys(t, a.sm), 3)
	}, limit(3, scsguard.EvictOldest))
}

func TestALowerCapAppliesToSessionsThatExist(t *testing.T) {
	var places atomic.Int64
	places.Store(5)
	bubble(t, func(t *testing.T, a *app) {
		for range 5 {
			a.browser().login(t, "alice")
		}
		places.Store(2)
		a.browser().login(t, "alice")
		list, err := a.guard.SessionsOf(context.Background(), "alice")
		require.NoError(t, err)
		require.Len(t, list, 2, "all that are too many are ended at once")
	}, func(cfg *scsguard.Config) {
		cfg.Policy = func(context.Context, scsguard.Subject) scsguard.Policy {
			return scsguard.Policy{Limit: &scsguard.Limit{Max: int(places.Load()), OnExceed: scsguard.EvictOldest}}
		}
	})
}

func TestALoginInTheSameBrowserTakesNoSecondPlace(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		for range 5 {
			b.login(t, "alice")
		}
		list, err := a.guard.SessionsOf(context.Background(), "alice")
		require.NoError(t, err)
		require.Len(t, list, 1)
		synctest.Wait()
		for _, e := range a.sink.endings(t) {
			require.Equal(t, "replaced", e.str("reason"))
		}
		require.Empty(t, a.sink.events(t, scsguard.EventConcurrentWarning))

		// Three tabs at the same time, each with the cookie of the same session.
		var wg sync.WaitGroup
		for range 3 {
			r := b.request(http.MethodGet, "/login?user=alice")
			wg.Go(func() { require.Equal(t, http.StatusOK, b.do(r).Code, "never denied") })
		}
		wg.Wait()
		list, err = a.guard.SessionsOf(context.Background(), "alice")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, "alice", b.whoami(), "the browser ends up with the cookie of the session that lives")
	}, limit(1, scsguard.Deny))
}

func TestAnotherUserInTheSameBrowserEndsTheFirstUsersSession(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		session := b.login(t, "alice")
		thief := b.copy()
		b.login(t, "bob")
		require.Equal(t, "bob", b.whoami())
		require.Equal(t, "401 replaced", thief.whoami())
		synctest.Wait()
		end := a.sink.endings(t)[session+"/end"]
		require.Equal(t, "alice", end.str("user"))
		require.Equal(t, "replaced", end.str("reason"))
	})
}

func TestEveryConcurrentLoginIsRecordedAndToldToBothSides(t *testing.T) {
	for _, on := range []scsguard.OnExceed{scsguard.Warn, scsguard.Deny, scsguard.EvictOldest} {
		t.Run(on.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.handle("/warnings", func(w http.ResponseWriter, r *http.Request) error {
					list, err := a.guard.Warnings(r.Context())
					_ = json.NewEncoder(w).Encode(list)
					return err
				})
				var others []scsguard.Session
				a.handle("/login-others", func(w http.ResponseWriter, r *http.Request) error {
					s, err := a.guard.Login(r.Context(), "alice")
					others = s.Others
					return err
				})
				first, second := a.browser(), a.browser()
				second.addr = "198.51.100.7:1"
				one := first.login(t, "alice")
				require.Empty(t, a.sink.events(t, scsguard.EventConcurrentWarning))
				require.Equal(t, 200, second.get("/login-others").Code)
				require.Len(t, others, 1)
				require.Equal(t, one, others[0].ID, "the new session is told at once")

				warnings := a.sink.events(t, scsguard.EventConcurrentWarning)
				require.Len(t, warnings, 1)
				require.EqualValues(t, 2, warnings[0]["concurrent"])
				require.Equal(t, []any{one}, warnings[0]["others"])
				require.EqualValues(t, 3, warnings[0]["max"])
				require.Equal(t, "true", warnings[0]["details"].(map[string]any)["different_network"])
				require.Equal(t, 2, a.sink.appends(), "in the same Append as the login")

				require.Contains(t, first.get("/warnings").Body, "198.51.100.7", "the other side is told at its next request")
				require.Equal(t, "null\n", first.get("/warnings").Body, "once")
			}, limit(3, on))
		})
	}
}

// A sampler counts who is alive as often as it can while 200 logins of one user
// run at the same time, through two guards on one registry.
func TestTheCapHoldsAtEveryInstant(t *testing.T) {
	const logins, places = 200, 3
	for _, on := range []scsguard.OnExceed{scsguard.Warn, scsguard.Deny, scsguard.EvictOldest} {
		t.Run(on.String(), func(t *testing.T) {
			registry, store := scsguard.NewMemoryRegistry(), memstore.NewWithCleanupInterval(0)
			key, out := make([]byte, 32), &sink{}
			apps := make([]*app, 2)
			for i := range apps {
				sm := newManager()
				sm.Store = store
				apps[i] = newApp(t, sm, limit(places, on), func(cfg *scsguard.Config) {
					cfg.Registry, cfg.Keys, cfg.Audit = registry, [][]byte{key}, out
				})
			}

			var succeeded atomic.Int64
			start, done := make(chan struct{}), make(chan struct{})
			var wg sync.WaitGroup
			for i := range logins {
				b := apps[i%2].browser()
				b.addr = fmt.Sprintf("192.0.2.%d:1", i)
				wg.Go(func() {
					<-start
					if res := b.get("/login?user=alice"); res.Code == http.StatusOK {
						succeeded.Add(1)
					}
				})
			}
			samples, most := 0, 0
			var sampler sync.WaitGroup
			sampler.Go(func() {
				for {
					list, err := registry.List(context.Background(), "alice")
					if err != nil {
						t.Error(err)
					}
					samples, most = samples+1, max(most, len(list))
					select {
					case <-done:
						if samples >= 1000 {
							return
						}
					default:
					}
				}
			})
			close(start)
			wg.Wait()
			close(done)
			sampler.Wait()
			for _, a := range apps {
				require.NoError(t, a.guard.Close(context.Background()))
			}

			require.GreaterOrEqual(t, samples, 1000)
			evicted := 0
			raw := append(out.events(t, scsguard.EventLogout), out.events(t, scsguard.EventTimeout)...)
			require.Len(t, raw, len(out.endings(t)), "exactly one ending per session")
			for _, e := range raw {
				if e.str("reason") == "evicted" {
					evicted++
				}
			}
			switch on {
			case scsguard.Warn:
				require.EqualValues(t, logins, succeeded.Load())
				require.Zero(t, evicted)
			case scsguard.Deny:
				require.LessOrEqual(t, most, places)
				require.EqualValues(t, places, succeeded.Load())
				require.Zero(t, evicted)
			case scsguard.EvictOldest:
				require.LessOrEqual(t, most, places)
				require.Equal(t, logins-places, evicted)
			}
		})
	}
}

func TestAGhostDoesNotKeepAPlace(t *testing.T) {
	t.Run("its data is gone", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			b.login(t, "alice")
			require.NoError(t, a.guard.Store().Delete(b.token()))
			a.browser().login(t, "alice")
			require.Equal(t, "401 ended", b.whoami())
		}, limit(1, scsguard.Deny))
	})
	t.Run("it is over and no sweep has come yet", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			session := b.login(t, "alice")
			time.Sleep(15 * time.Minute)
			a.browser().login(t, "alice")
			require.Equal(t, "401 idle", b.whoami())
			synctest.Wait()
			require.Equal(t, "timeout", a.sink.endings(t)[session+"/end"].str("event"), "it ended by its time limit, not by the login")
		}, limit(1, scsguard.EvictOldest), func(cfg *scsguard.Config) { cfg.SweepEvery = -1 })
	})
}

// Whatever fails while a user logs in again, he holds the old session or the
// new one, no place is taken by nobody, and what is in the trail has an ending.
func TestALoginThatFailsAtAnyStepLeavesTheOldSession(t *testing.T) {
	for _, failing := range []string{"commit", "trail"} {
		t.Run(failing, func(t *testing.T) {
			sm := newManager()
			store := &brokenStore{Store: sm.Store}
			sm.Store = store
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				old, other := a.browser(), a.browser()
				old.login(t, "alice")
				other.login(t, "alice")
				old.get("/put?k=cart&v=book")
				token := old.token()

				switch failing {
				case "commit":
					store.set(errDown, nil, nil)
				case "trail":
					a.sink.fail(errors.New("disk full"))
				}
				res := old.get("/login?user=alice")
				require.Equal(t, http.StatusServiceUnavailable, res.Code)
				require.Equal(t, http.StatusServiceUnavailable, a.browser().get("/login?user=alice").Code)
				store.set(nil, nil, nil)
				a.sink.fail(nil)

				require.Equal(t, token, old.token(), "the cookie stays")
				require.Equal(t, "alice", old.whoami())
				require.Equal(t, "book", old.get("/get?k=cart").Body)
				require.Equal(t, "alice", other.whoami(), "nobody was evicted")
				list, err := a.guard.SessionsOf(context.Background(), "alice")
				require.NoError(t, err)
				require.Len(t, list, 2)

				time.Sleep(2 * time.Second) // the trail tries again
				synctest.Wait()
				failed := 0
				for _, e := range a.sink.events(t, scsguard.EventLogin) {
					if e.str("outcome") == "failure" {
						failed++
					}
				}
				require.Equal(t, 2, failed)
				require.Equal(t, 200, old.get("/login?user=alice").Code)
				require.Equal(t, "alice", old.whoami())
			}, limit(2, scsguard.EvictOldest), withMemoryRegistry)
		})
	}
}
