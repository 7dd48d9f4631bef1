package scsguard_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestLogout(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/bye", func(w http.ResponseWriter, r *http.Request) error {
			err := a.guard.Logout(r.Context())
			a.sm.Put(r.Context(), "flash", "bye")
			return err
		})
		b := a.browser()
		require.Equal(t, 200, b.get("/logout").Code, "when nobody is logged in it does nothing")
		b.get("/put?k=cart&v=book")
		token := b.token()
		require.Equal(t, 200, b.get("/logout").Code)
		require.Equal(t, token, b.token(), "not even to an anonymous session")

		session := b.login(t, "alice")
		res := b.get("/logout")
		require.Len(t, res.Header.Values("Set-Cookie"), 1)
		require.Contains(t, res.Header.Get("Set-Cookie"), "Max-Age=0", "the cookie is cleared")
		require.Empty(t, b.token())
		synctest.Wait()
		require.Equal(t, "user", a.sink.endings(t)[session+"/end"].str("reason"))
		require.Empty(t, storeKeys(t, a.sm))

		b.login(t, "alice")
		thief := b.copy()
		res = b.get("/bye")
		require.Len(t, res.Header.Values("Set-Cookie"), 1)
		require.Equal(t, "bye", b.get("/get?k=flash").Body, "what is put afterwards begins a new session")
		require.Equal(t, "401 ended_by_you", thief.whoami())
		require.Equal(t, "401", b.whoami())
	})
}

func TestALogoutOfASessionThatHasEndedDoesNotTouchTheCookie(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		entered, release := make(chan struct{}), make(chan struct{})
		a.handle("/slow-logout", func(w http.ResponseWriter, r *http.Request) error {
			close(entered)
			<-release
			return a.guard.Logout(r.Context())
		})
		b := a.browser()
		b.login(t, "alice")
		slow := b.inFlight("/slow-logout", entered)
		b.login(t, "alice") // a login made since, in the same browser
		token := b.token()
		close(release)
		require.Empty(t, (<-slow).Header.Values("Set-Cookie"))
		require.Equal(t, token, b.token())
		require.Equal(t, "alice", b.whoami())
	})
}

func TestEndOneSession(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/end", func(w http.ResponseWriter, r *http.Request) error {
			err := a.guard.End(r.Context(), r.FormValue("id"))
			if err != nil {
				w.WriteHeader(http.StatusNotFound)
				require.ErrorIs(t, err, scsguard.ErrNotFound)
			}
			return nil
		})
		one, two, bob := a.browser(), a.browser(), a.browser()
		first, second, other := one.login(t, "alice"), two.login(t, "alice"), bob.login(t, "bob")
		require.Equal(t, 404, one.get("/end?id="+other).Code, "another user's session cannot be found")
		require.Equal(t, 404, one.get("/end?id=nonsense").Code)
		require.Equal(t, 200, one.get("/end?id="+second).Code)
		require.Equal(t, 404, one.get("/end?id="+second).Code)
		require.Equal(t, "401 ended_by_you", two.whoami())
		require.Equal(t, "bob", bob.whoami())
		require.NoError(t, a.guard.End(context.Background(), other, scsguard.Of("bob"), scsguard.By("root")))
		require.Equal(t, "401 ended_by_admin", bob.whoami())
		synctest.Wait()
		end := a.sink.endings(t)[other+"/end"]
		require.Equal(t, "admin", end.str("reason"))
		require.Equal(t, "root", end.str("actor"))
		require.Equal(t, 200, one.get("/end?id="+first).Code, "also his own")
		require.Equal(t, "401 ended_by_you", one.whoami())
	})
}

func TestASessionIDIsNoToken(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		id := b.login(t, "alice")
		thief := a.browser()
		for _, guess := range []string{id, id + "AAAAAAAAAAAAAAAAA"} {
			thief.cookies["__Host-session"] = guess
			require.Equal(t, "401", thief.whoami())
		}
	})
}

func TestPasswordChangeEndsTheOthersAndKeepsThisOne(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/password", func(w http.ResponseWriter, r *http.Request) error {
			n, err := a.guard.EndAll(r.Context(), "alice", scsguard.ExceptCurrent(), scsguard.PasswordChanged())
			fmt.Fprint(w, n)
			return err
		})
		a.handle("/password-and-login", func(w http.ResponseWriter, r *http.Request) error {
			if _, err := a.guard.EndAll(r.Context(), "alice", scsguard.PasswordChanged()); err != nil {
				return err
			}
			_, err := a.guard.Login(r.Context(), "alice")
			return err
		})
		one, two, bob := a.browser(), a.browser(), a.browser()
		one.login(t, "alice")
		two.login(t, "alice")
		bob.login(t, "bob")
		require.Equal(t, "1", one.get("/password").Body)
		require.Equal(t, "alice", one.whoami())
		require.Equal(t, "401 password_changed", two.whoami())
		require.Equal(t, "bob", bob.whoami())

		time.Sleep(time.Second)
		two.login(t, "alice")
		time.Sleep(time.Second)
		require.Equal(t, 200, one.get("/password-and-login").Code, "a Login later in the same request is after it")
		require.Equal(t, "alice", one.whoami())
		require.Equal(t, "401 password_changed", two.whoami())
		synctest.Wait()
		revokes := a.sink.events(t, scsguard.EventRevoke)
		require.Len(t, revokes, 2)
		require.Equal(t, "alice", revokes[0].str("user"))
		require.Equal(t, "1", revokes[0]["details"].(map[string]any)["count"])
		require.NotEmpty(t, revokes[0]["details"].(map[string]any)["by_session"])
	})
}

func TestALoginThatStartedBeforeEndAllDoesNotSucceedAfterIt(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		entered, release := make(chan struct{}), make(chan struct{})
		a.handle("/slow-login", func(w http.ResponseWriter, r *http.Request) error {
			close(entered) // the old password was right
			<-release
			_, err := a.guard.Login(r.Context(), "alice")
			return err
		})
		attacker := a.browser()
		slow := attacker.inFlight("/slow-login", entered)
		time.Sleep(time.Second)
		n, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		require.Zero(t, n)
		close(release)
		require.Equal(t, http.StatusUnauthorized, (<-slow).Code)
		require.Equal(t, "401", attacker.whoami())
		synctest.Wait()
		require.Equal(t, "revoked", a.sink.events(t, scsguard.EventLoginDenied)[0].str("reason"))
		require.Equal(t, map[string]any{"count": "0"}, a.sink.events(t, scsguard.EventRevoke)[0]["details"], "the act is recorded although there was nothing to end")
		time.Sleep(time.Second)
		attacker.login(t, "alice")
	})
}

// ASVS 5.0 7.4.5.
func TestEndEveryone(t *testing.T) {
	for _, hash := range []bool{false, true} {
		t.Run(fmt.Sprintf("HashTokenInStore=%v", hash), func(t *testing.T) {
			sm := newManager()
			sm.HashTokenInStore = hash
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				var browsers []*browser
				for i := range 1100 { // more than one call of the registry returns
					b := a.browser()
					b.login(t, fmt.Sprintf("user%d", i%100))
					browsers = append(browsers, b)
				}
				require.NoError(t, a.guard.Store().Commit(storeKeyOf(t, sm, browsers[7]), []byte("corrupt"), time.Now().Add(time.Hour)))
				entered, release := make(chan struct{}), make(chan struct{})
				a.handle("/slow-login", func(w http.ResponseWriter, r *http.Request) error {
					close(entered)
					<-release
					_, err := a.guard.Login(r.Context(), "user1")
					return err
				})
				slow := a.browser().inFlight("/slow-login", entered)
				time.Sleep(time.Second)
				n, err := a.guard.EndEveryone(context.Background(), scsguard.By("root"))
				require.NoError(t, err)
				require.Equal(t, 1100, n)
				close(release)
				require.Equal(t, http.StatusUnauthorized, (<-slow).Code)
				for _, b := range browsers {
					require.Equal(t, "401 ended_by_admin", b.whoami())
				}
				synctest.Wait()
				require.Len(t, a.sink.endings(t), 1100)
				require.Len(t, a.sink.events(t, scsguard.EventLogout), 1100, "each once")
				require.Empty(t, storeKeys(t, sm))
				revoke := a.sink.events(t, scsguard.EventRevoke)
				require.Len(t, revoke, 1)
				require.Equal(t, "root", revoke[0].str("actor"))
			})
		})
	}
}

// storeKeyOf finds the key of a browser's session by what is missing without it.
func storeKeyOf(t testing.TB, sm *scs.SessionManager, b *browser) string {
	t.Helper()
	before := storeKeys(t, sm)
	ctx, err := sm.Load(context.Background(), b.token())
	require.NoError(t, err)
	mark := sm.GetString(ctx, "__scsguard")
	for key, data := range before {
		_, values, err := sm.Codec.Decode(data)
		require.NoError(t, err)
		if values["__scsguard"] == mark {
			return key
		}
	}
	t.Fatal("no such session")
	return ""
}

func TestEndAllUnderLoadLeavesNobodyWhoLoggedInBefore(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		var started sync.WaitGroup
		entered, release := make(chan struct{}, 20), make(chan struct{})
		a.handle("/slow-login", func(w http.ResponseWriter, r *http.Request) error {
			entered <- struct{}{}
			<-release
			_, err := a.guard.Login(r.Context(), "alice")
			return err
		})
		var browsers []*browser
		for range 50 {
			b := a.browser()
			b.login(t, "alice")
			browsers = append(browsers, b)
		}
		for range 20 {
			b := a.browser()
			browsers = append(browsers, b)
			started.Go(func() { b.get("/slow-login") })
			<-entered
		}
		for _, b := range browsers[:20] {
			started.Go(func() { b.whoami() })
		}
		time.Sleep(time.Second)
		close(release)
		_, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		started.Wait()
		_, err = a.guard.EndAll(context.Background(), "bob")
		require.NoError(t, err)
		list, err := a.guard.SessionsOf(context.Background(), "alice")
		require.NoError(t, err)
		require.Empty(t, list)
		for _, b := range browsers {
			require.NotEqual(t, "alice", b.whoami())
		}
	})
}

func TestEndExternal(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		var authTime time.Time
		a.handle("/oidc", func(w http.ResponseWriter, r *http.Request) error {
			opts := []scsguard.LoginOption{scsguard.ExternalID("op-session-1")}
			if !authTime.IsZero() {
				opts = append(opts, scsguard.AuthenticatedAt(authTime))
			}
			_, err := a.guard.Login(r.Context(), "alice", opts...)
			return err
		})
		oidc, local := a.browser(), a.browser()
		require.Equal(t, 200, oidc.get("/oidc").Code)
		require.Equal(t, 200, oidc.get("/elevate?role=admin").Code, "it is found after a rotation, too")
		local.login(t, "alice")
		before := time.Now()
		time.Sleep(time.Second)
		n, err := a.guard.EndExternal(context.Background(), "op-session-1")
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, "401 ended_by_admin", oidc.whoami())
		require.Equal(t, "alice", local.whoami())
		authTime = before
		require.Equal(t, http.StatusUnauthorized, a.browser().get("/oidc").Code, "a login that was in progress at the provider")
		n, err = a.guard.EndExternal(context.Background(), "unknown")
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

// stubbornRegistry fails on command.
type stubbornRegistry struct {
	scsguard.Registry
	down *atomic.Bool
}

func (r stubbornRegistry) Namespace(name string) scsguard.Registry {
	return stubbornRegistry{r.Registry.Namespace(name), r.down}
}

func (r stubbornRegistry) Get(ctx context.Context, key scsguard.Key) (scsguard.Record, error) {
	if r.down.Load() {
		return scsguard.Record{}, errDown
	}
	return r.Registry.Get(ctx, key)
}

func (r stubbornRegistry) End(ctx context.Context, t scsguard.Target, e scsguard.Ending) (scsguard.Record, bool, error) {
	if r.down.Load() {
		return scsguard.Record{}, false, errDown
	}
	return r.Registry.End(ctx, t, e)
}

func TestWithTheRegistryDown(t *testing.T) {
	down := new(atomic.Bool)
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/half-way", func(w http.ResponseWriter, r *http.Request) error {
			down.Store(true) // after the session was loaded
			return a.guard.Logout(r.Context())
		})
		b := a.browser()
		session := b.login(t, "alice")
		token := b.token()
		down.Store(true)
		res := b.get("/whoami")
		require.Equal(t, http.StatusServiceUnavailable, res.Code, "nobody becomes anonymous silently")
		require.Equal(t, "5", res.Header.Get("Retry-After"))
		require.NotContains(t, res.Body, "10.9.8.7")
		require.Equal(t, token, b.token(), "the cookie is kept")
		require.Equal(t, http.StatusUnauthorized, a.browser().get("/whoami").Code, "who has no cookie is served")
		health := a.guard.Health()
		require.False(t, health.OK)
		require.Equal(t, scsguard.ComponentRegistry, health.Problems[0].Component)
		down.Store(false)
		require.Equal(t, "alice", b.whoami())
		require.True(t, a.guard.Health().OK)

		thief := b.copy()
		require.Equal(t, http.StatusServiceUnavailable, b.get("/half-way").Code, "he is told that it is not done")
		require.Empty(t, b.token(), "and cannot use it any more himself")
		down.Store(false)
		time.Sleep(6 * time.Second)
		require.Equal(t, "401 ended_by_you", thief.whoami(), "the ending is repeated until it succeeds")
		synctest.Wait()
		require.Equal(t, "user", a.sink.endings(t)[session+"/end"].str("reason"))
	}, func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys = stubbornRegistry{scsguard.NewMemoryRegistry(), down}, [][]byte{make([]byte, 32)}
	})
}

func TestALostRecordIsNotTakenForAnonymous(t *testing.T) {
	first, second := newManager(), newManager()
	second.Store = first.Store
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, first)
		b := a.browser()
		session := b.login(t, "alice")
		// The registry forgets, as one would after a failover.
		other := newApp(t, second)
		other.handle("/app", func(w http.ResponseWriter, r *http.Request) error {
			_, err := fmt.Fprint(w, "user=", other.sm.GetString(r.Context(), "user"))
			return err
		})
		c := b.copy()
		c.h = other.serve
		require.Equal(t, "user=", c.get("/app").Body, "the application does not see its user key either")
		require.Equal(t, "401 ended", c.whoami())
		synctest.Wait()
		end := other.sink.endings(t)[session+"/end"]
		require.Equal(t, "lost", end.str("reason"))
		require.Len(t, other.sink.events(t), 1, "recorded once")

		ctx, err := other.sm.Load(context.Background(), b.token())
		require.NoError(t, err)
		require.Empty(t, other.sm.GetString(ctx, "user"), "a bare Load does not get it either")
	})
}

func TestALiveRecordWithoutDataIsEnded(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		session := b.login(t, "alice")
		require.NoError(t, a.guard.Store().Delete(b.token()))
		require.Equal(t, "401 ended", b.whoami())
		synctest.Wait()
		require.Equal(t, "lost", a.sink.endings(t)[session+"/end"].str("reason"))
	})
}

func TestNamespacesDoNotSeeEachOther(t *testing.T) {
	registry, staffSM, customerSM := scsguard.NewMemoryRegistry(), newManager(), newManager()
	staffSM.Store = customerSM.Store // the same store, as two managers on one Redis have
	staffSM.Cookie.Name = "__Host-staff"
	synctest.Test(t, func(t *testing.T) {
		share := func(name string) func(*scsguard.Config) {
			return func(cfg *scsguard.Config) {
				cfg.Registry, cfg.Namespace, cfg.Limit = registry, name, scsguard.Limit{Max: 1, OnExceed: scsguard.Deny}
			}
		}
		customers, staff := newApp(t, customerSM, share("customers")), newApp(t, staffSM, share("staff"))
		c, s := customers.browser(), staff.browser()
		c.login(t, "alice")
		s.login(t, "alice") // the cap of one does not count the other's
		require.Equal(t, "alice", c.whoami())
		require.Equal(t, "alice", s.whoami())

		forger := staff.browser() // a customer's token as a staff cookie
		forger.cookies["__Host-staff"] = c.token()
		require.Equal(t, "401", forger.whoami())
		require.Empty(t, forger.get("/get?k=user").Body)
		require.Equal(t, "alice", c.whoami(), "and the customer is not disturbed")

		n, err := staff.guard.EndEveryone(context.Background())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, "alice", c.whoami())
	})
}

func TestCloseOfTheLastGuardEndsWhatIsInMemory(t *testing.T) {
	registry, one, two := scsguard.NewMemoryRegistry(), newManager(), newManager()
	two.Store = one.Store
	synctest.Test(t, func(t *testing.T) {
		share := func(cfg *scsguard.Config) { cfg.Registry = registry }
		a, b := newApp(t, one, share), newApp(t, two, share)
		session := a.browser().login(t, "alice")
		require.NoError(t, a.guard.Close(context.Background()))
		require.Empty(t, a.sink.endings(t), "another guard goes on with them")
		require.NoError(t, b.guard.Close(context.Background()))
		require.Equal(t, "shutdown", b.sink.endings(t)[session+"/end"].str("reason"))
		require.NoError(t, b.guard.Close(context.Background()))
		res := b.browser().get("/login?user=alice")
		require.Equal(t, http.StatusInternalServerError, res.Code, "nobody can log in afterwards")
		require.Contains(t, res.Body, "closed")
	})
}
