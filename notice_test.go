package scsguard_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// The handlers here have never heard of the guard; Config.UserID is all it knows.

func unchanged(t *testing.T, f func(*testing.T, *app), change ...func(*scsguard.Config)) {
	t.Helper()
	sm := newManager()
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		plainHandlers(a.mux, sm)
		f(t, a)
	}, append([]func(*scsguard.Config){byUserKey(sm)}, change...)...)
}

func TestALoginWithoutTheVerbIsALogin(t *testing.T) {
	for _, path := range []string{"/plain/login", "/plain/login-without-renewal", "/plain/login-after-destroy", "/plain/login-after-clear"} {
		t.Run(path, func(t *testing.T) {
			unchanged(t, func(t *testing.T, a *app) {
				b := a.browser()
				require.Equal(t, 200, b.get("/put?k=cart&v=book").Code)
				planted := b.copy() // whoever had the token before has nothing of the login
				before := b.token()
				res := b.get(path + "?user=alice")
				require.Equal(t, 200, res.Code, res.Body)
				require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
				require.NotEqual(t, before, b.token())
				require.Equal(t, "alice", b.whoami())
				require.Equal(t, "alice", b.get("/plain/whoami").Body)
				require.Equal(t, 401, planted.get("/plain/whoami").Code)
				synctest.Wait()
				logins := a.sink.events(t, scsguard.EventLogin)
				require.Len(t, logins, 1)
				require.Equal(t, "success", logins[0].str("outcome"))
				require.Equal(t, map[string]any{"noticed": "user key"}, logins[0]["details"])
				if path == "/plain/login" || path == "/plain/login-without-renewal" {
					require.Equal(t, "book", b.get("/get?k=cart").Body)
				}
				require.Len(t, storeKeys(t, a.sm), 1)
				time.Sleep(idle)
				require.Equal(t, "401 idle", b.whoami())
			})
		})
	}
}

func TestALogoutWithoutTheVerbIsALogout(t *testing.T) {
	for path, flash := range map[string]string{
		"/plain/logout": "", "/plain/logout-by-remove": "goodbye", "/plain/logout-without-renewal": "goodbye", "/plain/logout-with-flash": "goodbye",
		"/plain/clear": "",
	} {
		t.Run(path, func(t *testing.T) {
			unchanged(t, func(t *testing.T, a *app) {
				b := a.browser()
				b.get("/plain/login?user=alice")
				synctest.Wait()
				session := a.sink.events(t, scsguard.EventLogin)[0].str("session")
				thief := b.copy()
				require.Equal(t, 200, b.get(path).Code)
				require.NotEqual(t, thief.token(), b.token())
				require.Equal(t, 401, b.get("/plain/whoami").Code)
				require.Equal(t, 401, thief.get("/plain/whoami").Code)
				require.Equal(t, flash, b.get("/get?k=flash").Body)
				synctest.Wait()
				require.Equal(t, "destroyed", a.sink.endings(t)[session+"/end"].str("reason"))
				require.Len(t, a.sink.endings(t), 1)
				list, err := a.guard.SessionsOf(context.Background(), "alice")
				require.NoError(t, err)
				require.Empty(t, list)
				require.Equal(t, 200, b.get("/plain/login?user=alice").Code)
				require.Equal(t, "alice", b.whoami())
			})
		})
	}
}

func TestAnotherUsersLoginWithoutTheVerbEndsTheFirstUsersSession(t *testing.T) {
	for _, path := range []string{"/plain/login", "/plain/login-without-renewal", "/plain/login-after-destroy", "/plain/login-after-clear"} {
		t.Run(path, func(t *testing.T) {
			unchanged(t, func(t *testing.T, a *app) {
				b := a.browser()
				b.get("/plain/login?user=alice")
				synctest.Wait()
				alice := a.sink.events(t, scsguard.EventLogin)[0].str("session")
				old := b.copy()
				require.Equal(t, 200, b.get(path+"?user=bob").Code)
				require.Equal(t, "bob", b.whoami())
				require.Equal(t, 401, old.get("/plain/whoami").Code)
				synctest.Wait()
				require.Contains(t, []string{"replaced", "destroyed"}, a.sink.endings(t)[alice+"/end"].str("reason"))
				require.Len(t, a.sink.events(t, scsguard.EventLogin), 2)
			})
		})
	}
}

func TestARenewalWithTheUserKeyIsNoLogin(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.get("/plain/login?user=alice")
		for range 3 {
			require.Equal(t, 200, b.get("/plain/renew").Code)
			require.Equal(t, 200, b.get("/plain/login?user=alice").Code)
			require.Equal(t, 200, b.get("/put?k=a&v=b").Code)
			require.Equal(t, "alice", b.whoami())
		}
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventLogin), 1)
		require.Empty(t, a.sink.endings(t))
	})
}

func TestANoticedLoginBeyondTheCapReplacesTheAnswer(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		first, second := a.browser(), a.browser()
		first.get("/plain/login?user=alice")
		second.get("/put?k=cart&v=book")
		before := second.token()
		r := second.request("GET", "/plain/login?user=alice")
		r.Header.Set("Accept", "application/json")
		res := second.do(r)
		require.Equal(t, http.StatusConflict, res.Code)
		require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
		require.Contains(t, res.Body, `"session_limit"`)
		require.NotContains(t, res.Body, "done")
		require.Empty(t, res.Header.Values("Set-Cookie"))
		require.Equal(t, before, second.token())
		require.Equal(t, 401, second.get("/plain/whoami").Code)
		require.Equal(t, "book", second.get("/get?k=cart").Body, "a refusal must not cost the visitor what he had")
		require.Equal(t, "alice", first.whoami())
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventLoginDenied), 1)

		first.get("/plain/logout")
		require.Equal(t, 200, second.get("/plain/login?user=alice").Code)
		require.Equal(t, "book", second.get("/get?k=cart").Body)
	}, func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny} })
}

func TestANoticedLoginThatCannotBeRecordedReplacesTheAnswer(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.get("/put?k=cart&v=book")
		a.sink.fail(errors.New("disk full"))
		res := b.get("/plain/login?user=alice")
		require.Equal(t, http.StatusServiceUnavailable, res.Code)
		require.NotContains(t, res.Body, "done")
		require.Equal(t, 401, b.get("/plain/whoami").Code)
		require.Equal(t, "book", b.get("/get?k=cart").Body)
		a.sink.fail(nil)
		require.Equal(t, 200, b.get("/plain/login?user=alice").Code)
		require.Equal(t, "alice", b.whoami())
	})
}

func TestANoticedLogoutThatCannotBeDoneSaysSoAndClearsTheCookie(t *testing.T) {
	sm := newManager()
	steps, withSteps := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		plainHandlers(a.mux, sm)
		b := a.browser()
		b.get("/plain/login?user=alice")
		thief := b.copy()
		steps.fail("end")
		res := b.get("/plain/logout-without-renewal")
		require.Equal(t, http.StatusServiceUnavailable, res.Code)
		require.Empty(t, b.token())
		steps.fail()
		time.Sleep(time.Minute) // the ending is repeated
		require.Equal(t, 401, thief.get("/plain/whoami").Code)
		synctest.Wait()
		require.Len(t, a.sink.endings(t), 1)
	}, withSteps, byUserKey(sm))
}

// A request in flight still has the user key of a session that has ended. It is
// no login.
func TestWhatASlowRequestHasOfAnEndedSessionIsNoLogin(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		for _, path := range []string{"/slow", "/slow-renewal", "/slow-verb"} {
			b := a.browser()
			b.get("/plain/login?user=alice")
			entered, release := a.pause(path, nil, func(w http.ResponseWriter, r *http.Request) {
				a.sm.Put(r.Context(), "late", "x")
				switch path {
				case "/slow-renewal":
					require.NoError(t, a.sm.RenewToken(r.Context()))
				case "/slow-verb":
					_, err := a.guard.Extend(r.Context())
					require.Error(t, err)
				}
			})
			answered := b.inFlight(path, entered)
			_, err := a.guard.EndAll(context.Background(), "alice")
			require.NoError(t, err)
			logins := len(a.sink.events(t, scsguard.EventLogin))
			close(release)
			<-answered
			require.Equal(t, 401, b.get("/plain/whoami").Code, path)
			synctest.Wait()
			require.Len(t, a.sink.events(t, scsguard.EventLogin), logins, path)
			require.Empty(t, storeKeys(t, a.sm), path)
		}
	})
}

func TestAUserKeyThatIsPutAfterTheFirstByteLogsNobodyIn(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("first byte"))
			a.sm.Put(r.Context(), "user", "alice")
		})
		b := a.browser()
		b.get("/put?k=cart&v=book")
		b.get("/late")
		require.Equal(t, 401, b.get("/plain/whoami").Code)
		require.Equal(t, "book", b.get("/get?k=cart").Body)
		synctest.Wait()
		require.Equal(t, "response_started", a.sink.events(t, scsguard.EventLogin)[0].str("reason"))
		require.Empty(t, a.sink.events(t, scsguard.EventEnroll))
	})
}

func TestAUserKeyThatIsRemovedAfterTheFirstByteLogsOut(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("first byte"))
			a.sm.Remove(r.Context(), "user")
		})
		b := a.browser()
		b.get("/plain/login?user=alice")
		b.get("/late")
		require.Equal(t, 401, b.get("/plain/whoami").Code)
		synctest.Wait()
		require.Len(t, a.sink.endings(t), 1)
	})
}

func TestAVerbWhoseUserIsNotTheUserKeyIsAMistakeThatIsSeenAtOnce(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		var said error
		a.sm.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) {
			said = err
			w.WriteHeader(http.StatusInternalServerError)
		}
		for name, put := range map[string]string{"no key": "", "another name": "user-7"} {
			a.handle("/login-"+put, func(w http.ResponseWriter, r *http.Request) error {
				_, err := a.guard.Login(r.Context(), "7")
				if put != "" {
					a.sm.Put(r.Context(), "user", put)
				}
				return err
			})
			b := a.browser()
			require.Equal(t, 500, b.get("/login-"+put).Code, name)
			require.ErrorContains(t, said, `Login was called for user "7", but Config.UserID says "`+put+`"`)
			list, err := a.guard.SessionsOf(context.Background(), "7")
			require.NoError(t, err)
			require.Empty(t, list, name)
		}
		b := a.browser()
		b.login(t, "alice") // the verb, and the key
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, "alice", b.get("/plain/whoami").Body)
		b.get("/logout")
		require.Equal(t, 401, b.get("/plain/whoami").Code)
	})
}

func TestAHijackLogsNobodyIn(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/upgrade", func(w http.ResponseWriter, r *http.Request) {
			a.sm.Put(r.Context(), "user", "alice")
			_, _, err := http.NewResponseController(w).Hijack()
			require.Error(t, err)
		})
		b := a.browser()
		b.get("/put?k=cart&v=book")
		w := hijackable{httptest.NewRecorder()}
		b.h.ServeHTTP(w, b.request("GET", "/upgrade"))
		require.Equal(t, 500, w.Code)
		require.Equal(t, 401, b.get("/plain/whoami").Code)
		synctest.Wait()
		require.Empty(t, a.sink.events(t, scsguard.EventLogin, scsguard.EventEnroll))
	})
}

// An inner LoadAndSave commits by itself, before the guard's own save.
func TestALoginUnderAnInnerLoadAndSaveIsALoginAndLeavesNothingBehind(t *testing.T) {
	sm := newManager()
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.mux.Handle("/inner", sm.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sm.Put(r.Context(), "user", "alice")
		})))
		plainHandlers(a.mux, sm)
		for _, first := range []string{"", "/put?k=cart&v=book"} {
			b := a.browser()
			if first != "" {
				b.get(first)
			}
			b.get("/inner")
			require.Equal(t, "alice", b.whoami())
			require.Len(t, storeKeys(t, sm), 1)
			b.get("/plain/logout")
		}
		synctest.Wait()
		require.Empty(t, a.sink.events(t, scsguard.EventEnroll))
		require.Len(t, a.sink.events(t, scsguard.EventLogin), 2)
	}, byUserKey(sm))
}

// Outside of Protect a session cannot get a new token while it is committed.
func TestUserKeysChangedOnABareLoad(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		load := func(token string) context.Context {
			ctx, err := a.sm.Load(context.Background(), token)
			require.NoError(t, err)
			return ctx
		}
		ctx := load("")
		a.sm.Put(ctx, "user", "alice")
		token, _, err := a.sm.Commit(ctx)
		require.NoError(t, err)

		ctx = load(token) // a login is noticed when the session is next seen
		s, ok := a.guard.Current(ctx)
		require.True(t, ok)
		require.Equal(t, "alice", s.User)
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventEnroll), 1)
		require.Equal(t, "alice", a.sm.GetString(ctx, "user"))

		a.sm.Put(ctx, "user", "bob")
		_, _, err = a.sm.Commit(ctx)
		require.ErrorContains(t, err, "outside of Protect")
		require.Empty(t, a.sm.GetString(load(token), "user"))

		ctx = load("")
		_, err = a.guard.Login(ctx, "alice")
		require.NoError(t, err)
		a.sm.Put(ctx, "user", "alice")
		token, _, err = a.sm.Commit(ctx)
		require.NoError(t, err)
		ctx = load(token)
		a.sm.Remove(ctx, "user")
		_, _, err = a.sm.Commit(ctx)
		require.NoError(t, err)
		require.Empty(t, a.sm.Keys(load(token)))
		synctest.Wait()
		require.Len(t, a.sink.endings(t), 2)
		require.Empty(t, storeKeys(t, a.sm))
	})
}
