package scsguard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestAProofOlderThanAnEndAllLogsNobodyIn(t *testing.T) {
	for whose, end := range map[string]func(*scsguard.Guard) (int, error){
		"his own":    func(g *scsguard.Guard) (int, error) { return g.EndAll(context.Background(), "alice") },
		"everyone's": func(g *scsguard.Guard) (int, error) { return g.EndEveryone(context.Background()) },
		"the provider's": func(g *scsguard.Guard) (int, error) {
			return g.EndExternal(context.Background(), "sid")
		},
	} {
		t.Run(whose, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				var proved time.Time
				a.handle("/sso", func(w http.ResponseWriter, r *http.Request) error {
					_, err := a.guard.Login(r.Context(), "alice", scsguard.AuthenticatedAt(proved), scsguard.ExternalID("sid"))
					return err
				})
				time.Sleep(time.Hour)
				ended := time.Now()
				_, err := end(a.guard)
				require.NoError(t, err)
				time.Sleep(time.Minute)
				for name, c := range map[string]struct {
					at   time.Time
					code int
				}{
					"a nanosecond before it":           {ended.Add(-time.Nanosecond), 401},
					"long before it":                   {ended.Add(-365 * 24 * time.Hour), 401},
					"nobody knows when":                {time.Time{}, 401},
					"further in the future than skew":  {time.Now().Add(scsguard.ClockSkew + time.Nanosecond), 401},
					"at that very moment":              {ended, 200},
					"after it":                         {ended.Add(time.Second), 200},
					"by a clock that is a little fast": {time.Now().Add(scsguard.ClockSkew), 200},
				} {
					proved = c.at
					b := a.browser()
					require.Equal(t, c.code, b.get("/sso").Code, name)
					require.Equal(t, c.code == 200, b.token() != "", name)
				}
			})
		})
	}
}

// A clock that is fast must not make a proof that a later EndAll does not reach.
func TestAProofFromTheFutureIsNoNewerThanTheLogin(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		proved := time.Now().Add(scsguard.ClockSkew)
		a.handle("/sso", func(w http.ResponseWriter, r *http.Request) error {
			s, err := a.guard.Login(r.Context(), "alice", scsguard.AuthenticatedAt(proved))
			require.False(t, s.AuthTime.After(time.Now()))
			return err
		})
		require.Equal(t, 200, a.browser().get("/sso").Code)
	})
}

// Whoever has the old password may send it to a page that changes it, and hope
// to be logged in by the same request.
func TestAnEndAllOfOnesOwnDoesNotRenewAProofThatSomebodyElseHasRevoked(t *testing.T) {
	for name, revoke := range map[string]func(*scsguard.Guard) (int, error){
		"the user":   func(g *scsguard.Guard) (int, error) { return g.EndAll(context.Background(), "alice") },
		"everyone":   func(g *scsguard.Guard) (int, error) { return g.EndEveryone(context.Background()) },
		"not at all": func(*scsguard.Guard) (int, error) { return 0, nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				entered, release := make(chan struct{}), make(chan struct{})
				a.handle("/change", func(w http.ResponseWriter, r *http.Request) error {
					close(entered) // the password he knows was right
					<-release
					if _, err := a.guard.EndAll(r.Context(), "alice", scsguard.PasswordChanged()); err != nil {
						return err
					}
					time.Sleep(time.Second)
					_, err := a.guard.Login(r.Context(), "alice")
					return err
				})
				slow := a.browser().inFlight("/change", entered)
				time.Sleep(time.Second)
				_, err := revoke(a.guard)
				require.NoError(t, err)
				time.Sleep(time.Second)
				close(release)
				want := http.StatusUnauthorized
				if name == "not at all" {
					want = http.StatusOK
				}
				require.Equal(t, want, (<-slow).Code)
			})
		})
	}
}

func TestAnEndAllOfOneUserProvesNothingOfAnother(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		entered, release := make(chan struct{}), make(chan struct{})
		a.handle("/in", func(w http.ResponseWriter, r *http.Request) error {
			close(entered)
			<-release
			if _, err := a.guard.EndAll(r.Context(), "mallory"); err != nil {
				return err
			}
			_, err := a.guard.Login(r.Context(), "alice")
			return err
		})
		slow := a.browser().inFlight("/in", entered)
		time.Sleep(time.Second)
		_, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		time.Sleep(time.Second)
		close(release)
		require.Equal(t, http.StatusUnauthorized, (<-slow).Code)
	})
}

// pausingSink lets a test act while a grant waits for the trail.
type pausingSink struct {
	sink
	entered, release chan struct{}
	armed            atomic.Bool
}

func newPausingSink() *pausingSink {
	return &pausingSink{entered: make(chan struct{}), release: make(chan struct{})}
}

func (s *pausingSink) Append(ctx context.Context, records [][]byte) error {
	if s.armed.CompareAndSwap(true, false) {
		close(s.entered)
		<-s.release
	}
	return s.sink.Append(ctx, records)
}

func TestALoginThatIsEndedWhileItIsWrittenNeverLives(t *testing.T) {
	for name, end := range map[string]func(*scsguard.Guard) (int, error){
		"his sessions": func(g *scsguard.Guard) (int, error) { return g.EndAll(context.Background(), "alice") },
		"by an administrator": func(g *scsguard.Guard) (int, error) {
			return g.EndAll(context.Background(), "alice", scsguard.By("root"))
		},
		"everyone's":           func(g *scsguard.Guard) (int, error) { return g.EndEveryone(context.Background()) },
		"the external session": func(g *scsguard.Guard) (int, error) { return g.EndExternal(context.Background(), "sid") },
	} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			synctest.Test(t, func(t *testing.T) {
				out := newPausingSink()
				a := newApp(t, sm, func(cfg *scsguard.Config) { cfg.Audit = out })
				var refusal error
				a.handle("/sso", func(w http.ResponseWriter, r *http.Request) error {
					_, refusal = a.guard.Login(r.Context(), "alice", scsguard.ExternalID("sid"))
					return refusal
				})
				b := a.browser()
				b.get("/put?k=cart&v=book")
				out.armed.Store(true)
				slow := b.inFlight("/sso", out.entered)
				n, err := end(a.guard)
				require.NoError(t, err)
				require.Equal(t, 1, n)
				close(out.release)
				require.Equal(t, http.StatusUnauthorized, (<-slow).Code)
				require.ErrorIs(t, refusal, scsguard.ErrRevoked)
				require.Equal(t, "401", b.whoami())
				synctest.Wait()
				login := out.events(t, scsguard.EventLogin)
				require.Len(t, login, 1)
				require.Len(t, out.events(t, scsguard.EventLogout), 1, "what is in the trail has an ending")
				require.Contains(t, out.endings(t), login[0].str("session")+"/end")
				for key := range storeKeys(t, sm) {
					require.Equal(t, b.token(), key, "no data of it is left")
				}
			})
		})
	}
}

// pausingStore lets a test act before data is stored.
type pausingStore struct {
	*memstore.MemStore
	pause func()
}

func (s *pausingStore) Commit(token string, b []byte, expiry time.Time) error {
	if pause := s.pause; pause != nil {
		s.pause = nil
		pause()
	}
	return s.MemStore.Commit(token, b, expiry)
}

func TestALoginThatIsEndedBeforeItsDataIsStoredLeavesNone(t *testing.T) {
	store := &pausingStore{MemStore: memstore.NewWithCleanupInterval(0)}
	sm := newManager()
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		store.pause = func() {
			n, err := a.guard.EndAll(context.Background(), "alice")
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}
		b := a.browser()
		require.Equal(t, http.StatusUnauthorized, b.get("/login?user=alice").Code)
		require.Empty(t, b.token())
		require.Empty(t, storeKeys(t, sm))
	}, withMemoryRegistry)
}

func TestALoginThatIsEvictedWhileItIsWrittenSaysSo(t *testing.T) {
	sm := newManager()
	synctest.Test(t, func(t *testing.T) {
		out := newPausingSink()
		a := newApp(t, sm, limit(1, scsguard.EvictOldest), func(cfg *scsguard.Config) { cfg.Audit = out })
		var refusal error
		a.handle("/first", func(w http.ResponseWriter, r *http.Request) error {
			_, refusal = a.guard.Login(r.Context(), "alice")
			return refusal
		})
		first, second := a.browser(), a.browser()
		out.armed.Store(true)
		slow := first.inFlight("/first", out.entered)
		logged := make(chan answer)
		go func() { logged <- second.get("/login?user=alice") }()
		synctest.Wait()
		close(out.release)
		require.Equal(t, http.StatusConflict, (<-slow).Code)
		require.Equal(t, 200, (<-logged).Code)
		var ended *scsguard.EndedError
		require.ErrorAs(t, refusal, &ended)
		require.Equal(t, scsguard.EndEvicted, ended.Reason)
		require.Equal(t, "401", first.whoami())
		require.Equal(t, "alice", second.whoami())
		require.Len(t, storeKeys(t, sm), 1)
	})
}

func TestWhoEndsHisOwnSessionIsAnonymousAtOnce(t *testing.T) {
	for name, end := range map[string]func(context.Context, *scsguard.Guard, string) error{
		"EndAll": func(ctx context.Context, g *scsguard.Guard, _ string) error {
			_, err := g.EndAll(ctx, "alice")
			return err
		},
		"EndEveryone": func(ctx context.Context, g *scsguard.Guard, _ string) error { _, err := g.EndEveryone(ctx); return err },
		"EndExternal": func(ctx context.Context, g *scsguard.Guard, _ string) error {
			_, err := g.EndExternal(ctx, "sid")
			return err
		},
		"End": func(ctx context.Context, g *scsguard.Guard, id string) error { return g.End(ctx, id) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.handle("/sso", func(w http.ResponseWriter, r *http.Request) error {
					_, err := a.guard.Login(r.Context(), "alice", scsguard.ExternalID("sid"))
					return err
				})
				entered, release := make(chan struct{}), make(chan struct{})
				var failed, elevated error
				var before, after bool
				a.mux.HandleFunc("/end", func(w http.ResponseWriter, r *http.Request) {
					var s scsguard.Session
					s, before = a.guard.Current(r.Context())
					close(entered)
					<-release
					failed = end(r.Context(), a.guard, s.ID)
					_, after = a.guard.Current(r.Context())
					_, elevated = a.guard.Elevate(r.Context(), "admin")
				})
				b := a.browser()
				require.Equal(t, 200, b.get("/sso").Code)
				slow := b.inFlight("/end", entered)
				require.Equal(t, 200, b.get("/elevate?role=admin").Code, "it has another token meanwhile")
				close(release)
				require.Equal(t, 200, (<-slow).Code)
				require.NoError(t, failed)
				require.True(t, before)
				require.False(t, after)
				require.ErrorIs(t, elevated, scsguard.ErrNotLoggedIn)
				require.NotEqual(t, 200, b.get("/whoami").Code)
				require.Empty(t, storeKeys(t, a.sm))
			})
		})
	}
}

func TestEndOthersEndsAlsoLoginsInProgressAndKeepsOnlyItsOwn(t *testing.T) {
	sm := newManager()
	synctest.Test(t, func(t *testing.T) {
		out := newPausingSink()
		a := newApp(t, sm, func(cfg *scsguard.Config) { cfg.Audit = out })
		var n int
		a.handle("/end-others", func(w http.ResponseWriter, r *http.Request) (err error) {
			n, err = a.guard.EndOthers(r.Context())
			return err
		})
		own, other, bob, late := a.browser(), a.browser(), a.browser(), a.browser()
		session := own.login(t, "alice")
		other.login(t, "alice")
		bob.login(t, "bob")
		require.Equal(t, 200, own.get("/elevate?role=staff").Code)
		out.armed.Store(true)
		slow := late.inFlight("/login?user=alice", out.entered)
		require.Equal(t, 200, own.get("/end-others").Code)
		close(out.release)
		require.NotEqual(t, 200, (<-slow).Code)
		require.Equal(t, 2, n)
		require.Equal(t, "alice staff", own.whoami())
		require.Equal(t, "401 ended_by_you", other.whoami())
		require.Equal(t, "401", late.whoami())
		require.Equal(t, "bob", bob.whoami())
		synctest.Wait()
		revoke := out.events(t, scsguard.EventRevoke)
		require.Len(t, revoke, 1)
		require.Equal(t, map[string]any{"count": "2", "by_session": session}, revoke[0]["details"])
		require.Equal(t, "alice", revoke[0].str("user"))
		require.Empty(t, revoke[0].str("actor"))
	})
}

// halfwayRegistry ends some sessions and then fails.
type halfwayRegistry struct{ scsguard.Registry }

func (r halfwayRegistry) Namespace(name string) scsguard.Registry {
	return halfwayRegistry{r.Registry.Namespace(name)}
}

func (r halfwayRegistry) EndAll(ctx context.Context, rev scsguard.Revocation) (scsguard.Revoked, error) {
	revoked, err := r.Registry.EndAll(ctx, rev)
	return revoked, errors.Join(err, errDown)
}

func TestARevocationThatFailedHalfwayTellsOfWhatItEnded(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		session := a.browser().login(t, "alice")
		n, err := a.guard.EndAll(context.Background(), "alice", scsguard.By("root"))
		require.ErrorIs(t, err, scsguard.ErrUnavailable)
		require.Equal(t, 1, n)
		synctest.Wait()
		require.Equal(t, "root", a.sink.endings(t)[session+"/end"].str("actor"))
		revoke := a.sink.events(t, scsguard.EventRevoke)[0]
		require.Equal(t, "failure", revoke.str("outcome"))
		require.Equal(t, map[string]any{"count": "1"}, revoke["details"])
	}, func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys = halfwayRegistry{scsguard.NewMemoryRegistry()}, [][]byte{make([]byte, 32)}
	})
}

func TestARevocationSaysWhoEndedWhoseSessionsAndHowMany(t *testing.T) {
	registry := scsguard.NewMemoryRegistry()
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/sso", func(w http.ResponseWriter, r *http.Request) error {
			_, err := a.guard.Login(r.Context(), "carol", scsguard.ExternalID("sid"))
			return err
		})
		ctx, by := context.Background(), scsguard.By("root")
		a.browser().get("/sso")
		for range 3 {
			a.browser().login(t, "alice")
		}
		_, err := a.guard.EndExternal(ctx, "sid", by)
		require.NoError(t, err)
		_, err = a.guard.EndAll(ctx, "alice", by, scsguard.PasswordChanged())
		require.NoError(t, err)
		a.browser().login(t, "bob")
		populate(t, registry, scsguard.MaxRevoked+5)
		n, err := a.guard.EndEveryone(ctx, by)
		require.NoError(t, err)
		require.Equal(t, scsguard.MaxRevoked+6, n)
		n, err = a.guard.EndEveryone(ctx, by)
		require.NoError(t, err)
		require.Zero(t, n, "those that did not fit into the answer are not left for the next call")
		_, err = a.guard.EndAll(ctx, "")
		require.ErrorIs(t, err, scsguard.ErrNotFound)
		_, err = a.guard.EndExternal(ctx, "")
		require.ErrorIs(t, err, scsguard.ErrNotFound, "not the sessions that have none")
		synctest.Wait()
		var told []string
		for _, e := range a.sink.events(t, scsguard.EventRevoke) {
			told = append(told, fmt.Sprint(e.str("actor"), " ", e.str("user"), " ", e.str("reason"), " ", e["details"]))
		}
		require.Equal(t, []string{
			"root  external sid map[count:1 whose:external]",
			"root alice password_changed map[count:3]",
			fmt.Sprintf("root   map[count:%d whose:everyone]", scsguard.MaxRevoked+6),
			"root   map[count:0 whose:everyone]",
		}, told)
	}, func(cfg *scsguard.Config) { cfg.Registry = registry })
}

func TestASessionThatWasOverBeforeIsNotCountedAsRevoked(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		start := time.Now()
		over := a.browser().login(t, "alice")
		time.Sleep(time.Minute) // a login later would have found it over
		a.browser().login(t, "alice")
		time.Sleep(idle - time.Minute)
		n, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		require.Equal(t, 1, n)
		_, err = a.guard.Sweep(context.Background())
		require.NoError(t, err)
		end := a.sink.endings(t)[over+"/end"]
		require.Equal(t, "timeout", end.str("event"))
		require.Equal(t, stamp(start.Add(idle)), end.str("due"))
	}, func(cfg *scsguard.Config) { cfg.SweepEvery = -1 })
}
