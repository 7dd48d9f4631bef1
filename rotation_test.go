package scsguard_test

import (
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
