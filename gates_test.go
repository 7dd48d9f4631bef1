package scsguard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestOnRejectAnswersForEveryRefusalAndFindsTheHeadersSet(t *testing.T) {
	var reasons []scsguard.Reason
	sm := newManager()
	store := &brokenStore{Store: sm.Store}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.mux.Handle("/members", a.guard.RequireLogin(served))
		a.mux.Handle("/shop", a.guard.EnforceTimeouts(served))
		a.mux.Handle("/admin", a.guard.LimitIdle(time.Minute)(served))
		b := a.browser()
		expect := func(b *browser, path string, code int, retry string) {
			t.Helper()
			res := b.get(path)
			require.Equal(t, code, res.Code)
			require.Equal(t, "mine", res.Body)
			require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			require.Equal(t, retry, res.Header.Get("Retry-After"))
		}
		expect(b, "/members", 401, "")
		b.login(t, "alice")
		time.Sleep(time.Minute)
		expect(b, "/admin", 401, "")
		store.set(nil, errDown, nil)
		expect(b, "/members", 503, "5")
		store.set(nil, nil, nil)
		time.Sleep(idle)
		expect(b, "/shop", 401, "")
		expect(newBrowser(a.guard.RequireLogin(served)), "/", 500, "")
		require.Equal(t, []scsguard.Reason{
			scsguard.ReasonLoginRequired, scsguard.ReasonIdle, scsguard.ReasonUnavailable, scsguard.ReasonIdle, scsguard.ReasonMisconfigured,
		}, reasons)
	}, withMemoryRegistry, func(cfg *scsguard.Config) {
		cfg.OnReject = func(w http.ResponseWriter, _ *http.Request, reason scsguard.Reason) {
			reasons = append(reasons, reason)
			w.WriteHeader(reason.Status())
			fmt.Fprint(w, "mine")
		}
	})
}

// He is still logged in. A login page would tell him otherwise, and would not
// work either.
func TestAnOutageSendsNobodyToTheLoginPage(t *testing.T) {
	sm := newManager()
	store := &brokenStore{Store: sm.Store}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		store.set(nil, errDown, nil)
		r := b.request(http.MethodGet, "/whoami")
		r.Header.Set("Accept", browserAccept)
		res := b.do(r)
		require.Equal(t, http.StatusServiceUnavailable, res.Code)
		require.Empty(t, res.Header.Get("Location"))
		require.NotContains(t, res.Body, "/login-page")
		require.Equal(t, "5", res.Header.Get("Retry-After"))
		require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		require.NotContains(t, res.Body, "10.9.8.7")
		p := problem(t, b.get("/whoami"))
		require.Equal(t, "unavailable", p["code"])
		require.Equal(t, "about:blank", p["type"])
		require.Equal(t, "Service Unavailable", p["title"])
	}, withMemoryRegistry, func(cfg *scsguard.Config) { cfg.LoginURL = "/login-page" })
}

func TestPassiveAroundProtectIsNoActivityEither(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		poll := b.copy()
		poll.h = a.guard.Passive(a.serve)
		for range 14 {
			time.Sleep(time.Minute)
			require.Equal(t, "alice", poll.whoami())
		}
		time.Sleep(time.Minute)
		require.Equal(t, "401 idle", poll.whoami())
		synctest.Wait()
		require.Empty(t, a.sink.events(t, scsguard.EventExtend))
	})
}

func TestPollingTheStatusNeverExtends(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/session", a.guard.StatusHandler())
		b := a.browser()
		b.login(t, "alice")
		for left := idle - 10*time.Second; ; left -= 10 * time.Second {
			time.Sleep(10 * time.Second)
			res := b.get("/session")
			require.Equal(t, 200, res.Code)
			require.Empty(t, res.Header.Values("Set-Cookie"))
			var st scsguard.Status
			require.NoError(t, json.Unmarshal([]byte(res.Body), &st))
			require.EqualValues(t, left/time.Second, st.IdleExpiresIn)
			require.Equal(t, left > 0, st.Authenticated)
			if left == 0 {
				break
			}
		}
		require.Equal(t, "401 idle", b.whoami())
		synctest.Wait()
		require.Empty(t, a.sink.events(t, scsguard.EventExtend))
	})
}

func TestSessionsHandlerSaysNothingOfOtherUsersSessions(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("DELETE /sessions/{id}", a.guard.SessionsHandler())
		alice, bob := a.browser(), a.browser()
		alice.login(t, "alice")
		other := bob.login(t, "bob")
		answers := make([]answer, 2)
		for i, id := range []string{other, "AAAAAAAAAAAAAAAAAAAAAAAAAA"} {
			answers[i] = alice.do(alice.request(http.MethodDelete, "/sessions/"+id))
			require.Equal(t, "not_found", problem(t, answers[i])["code"])
		}
		require.Equal(t, answers[1], answers[0])
		require.Equal(t, 404, answers[0].Code)
		require.Equal(t, "bob", bob.whoami())
		synctest.Wait()
		require.Empty(t, a.sink.endings(t))
	})
}

func TestLimitIdleHasActivityRecordedAsFineAsItNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		touch, every time.Duration
	}{
		"by itself":                        {0, 55 * time.Second},
		"half as fine where Touch was set": {time.Minute, 29 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.guard.LimitIdle(2 * time.Minute)
				a.mux.Handle("/admin", a.guard.LimitIdle(time.Minute)(served))
				a.guard.LimitIdle(time.Hour)
				b := a.browser()
				b.login(t, "alice")
				for range 20 { // elsewhere, and never as long as a minute apart
					time.Sleep(c.every)
					require.Equal(t, "alice", b.whoami())
				}
				require.Equal(t, 200, b.get("/admin").Code)
			}, func(cfg *scsguard.Config) { cfg.Timeouts.Touch = c.touch })
		})
	}
}

// A copy of the token from before does not get through the door that the owner
// has just opened.
func TestLimitIdleOpensForTheTokenThatWasProvedOnly(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/admin", a.guard.LimitIdle(5*time.Minute)(served))
		b := a.browser()
		b.login(t, "alice")
		time.Sleep(5 * time.Minute)
		old := b.copy()
		require.Equal(t, 200, b.get("/reauth").Code)
		require.Equal(t, "alice", old.whoami(), "requests under way are served")
		require.Equal(t, 401, old.get("/admin").Code)
		require.Equal(t, 200, b.get("/admin").Code)
	})
}
