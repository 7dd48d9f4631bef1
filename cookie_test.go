package scsguard_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Whatever a request was refused, the cookie that its browser has afterwards
// leads to the session it had before, or to none.
func TestAVerbThatFailsSendsNoCookieThatLeadsNowhere(t *testing.T) {
	type failure struct {
		op   string // of the store or the registry
		verb string
	}
	var failures []failure
	for _, op := range []string{"commit", "admit", "settle", "trail"} {
		failures = append(failures, failure{op, "login"})
	}
	for _, op := range []string{"commit", "move", "trail"} {
		failures = append(failures, failure{op, "elevate"}, failure{op, "reauth"})
	}
	for _, f := range failures {
		for _, before := range []string{"nothing", "cart", "alice"} {
			if f.verb != "login" && before != "alice" {
				continue
			}
			t.Run(f.verb+" without "+f.op+" with "+before, func(t *testing.T) {
				sm := newManager()
				s, change := stepped(sm)
				bubbleOn(t, sm, func(t *testing.T, a *app) {
					a.on("/try", func(ctx context.Context) error {
						s.fail(f.op)
						if f.op == "trail" {
							a.sink.fail(errDown)
						}
						var err error
						switch f.verb {
						case "login":
							_, err = a.guard.Login(ctx, "alice")
						case "elevate":
							_, err = a.guard.Elevate(ctx, "admin")
						case "reauth":
							_, err = a.guard.Reauthenticated(ctx, scsguard.Full())
						}
						require.ErrorIs(t, err, scsguard.ErrUnavailable)
						s.fail() // it works again when the answer goes out
						a.sink.fail(nil)
						return nil
					})
					b := a.browser()
					switch before {
					case "cart":
						b.get("/put?k=cart&v=book")
					case "alice":
						b.login(t, "alice")
						b.get("/put?k=cart&v=book")
					}
					token, data := b.token(), len(storeKeys(t, sm))
					res := b.get("/try")
					require.Equal(t, 200, res.Code)
					require.Equal(t, token, b.token())
					if before != "nothing" {
						require.Equal(t, "book", b.get("/get?k=cart").Body)
					}
					require.Equal(t, map[string]string{"nothing": "401", "cart": "401", "alice": "alice"}[before], b.whoami())
					time.Sleep(scsguard.Lease + 10*time.Second)
					require.Len(t, storeKeys(t, sm), data, "no data that no cookie leads to")
				}, change)
			})
		}
	}
}

func TestWhatIsPutAfterALoginThatFailedIsKept(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.on("/try", func(ctx context.Context) error {
			s.fail("commit")
			require.ErrorIs(t, second(a.guard.Login(ctx, "bob")), scsguard.ErrUnavailable)
			s.fail()
			a.sm.Put(ctx, "flash", "try again")
			return nil
		})
		for _, before := range []string{"/get?k=none", "/put?k=cart&v=book", "/login?user=alice"} {
			b := a.browser()
			require.Equal(t, 200, b.get(before).Code)
			had := b.token()
			require.Equal(t, 200, b.get("/try").Code)
			require.Equal(t, "try again", b.get("/get?k=flash").Body, before)
			if had != "" {
				require.Equal(t, had, b.token(), before)
			}
			require.NotEqual(t, "bob", b.whoami())
		}
	}, change)
}

func TestTheHandlersCookiesOfALoginThatWasTakenBackGoWithIt(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.handle("/login-remember", func(w http.ResponseWriter, r *http.Request) error {
			_, err := a.guard.Login(r.Context(), "alice")
			a.sm.Put(r.Context(), "user", "alice")
			http.SetCookie(w, &http.Cookie{Name: "remember", Value: "alice"})
			s.fail("commit")
			return err
		})
		b := a.browser()
		require.Equal(t, http.StatusServiceUnavailable, b.get("/login-remember").Code)
		require.Empty(t, b.cookies)
	}, change)
}

// A slow answer to a request that the browser sent before a login of its own. What
// it does with the session must not touch the cookie of that login.
func TestASlowAnswerDoesNotTouchTheCookieOfANewerLogin(t *testing.T) {
	befores := map[string]func(t *testing.T, a *app, b *browser){
		"an anonymous session": func(_ *testing.T, _ *app, b *browser) { b.get("/put?k=cart&v=book") },
		"another user's":       func(t *testing.T, _ *app, b *browser) { b.login(t, "bob") },
		"a session that has ended": func(t *testing.T, _ *app, b *browser) {
			b.login(t, "alice")
			time.Sleep(idle)
		},
		"a session of which nothing is known": func(_ *testing.T, a *app, b *browser) {
			b.get("/put?k=cart&v=book")
			require.NoError(a.t, a.guard.Store().Delete(b.token()))
		},
	}
	lates := map[string]func(a *app, ctx context.Context) error{
		"Put": func(a *app, ctx context.Context) error {
			a.sm.Put(ctx, "late", "x")
			return nil
		},
		"Destroy": func(a *app, ctx context.Context) error { return a.sm.Destroy(ctx) },
		"RenewToken": func(a *app, ctx context.Context) error {
			err := a.sm.RenewToken(ctx)
			a.sm.Put(ctx, "late", "x")
			return err
		},
		"Logout, Put": func(a *app, ctx context.Context) error {
			err := a.guard.Logout(ctx)
			a.sm.Put(ctx, "late", "x")
			return err
		},
	}
	for before, prepare := range befores {
		for name, late := range lates {
			t.Run(name+" with "+before, func(t *testing.T) {
				bubble(t, func(t *testing.T, a *app) {
					entered, release := make(chan struct{}), make(chan struct{})
					a.on("/slow", func(ctx context.Context) error {
						close(entered)
						<-release
						return late(a, ctx)
					})
					b := a.browser()
					prepare(t, a, b)
					slow := b.inFlight("/slow", entered)
					time.Sleep(time.Minute)
					b.login(t, "alice")
					token := b.token()
					time.Sleep(time.Minute)
					close(release)
					res := <-slow
					require.Equal(t, 200, res.Code)
					require.Empty(t, res.Header.Values("Set-Cookie"))
					require.Equal(t, token, b.token())
					require.Equal(t, "alice", b.whoami())
					require.Len(t, a.live("alice"), 1)
					if name != "RenewToken" {
						require.Len(t, storeKeys(t, a.sm), 1, "nor does it leave data that no cookie leads to")
					}
				})
			})
		}
	}
}

func TestASlowLogoutDoesNotClearTheCookieOfALoginInAnotherTab(t *testing.T) {
	for name, out := range map[string]func(a *app, ctx context.Context) error{
		"Logout":  func(a *app, ctx context.Context) error { return a.guard.Logout(ctx) },
		"Destroy": func(a *app, ctx context.Context) error { return a.sm.Destroy(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				done, release := make(chan struct{}), make(chan struct{})
				a.on("/slow-logout", func(ctx context.Context) error {
					err := out(a, ctx)
					close(done)
					<-release // he is logged out, and the answer takes its time
					return err
				})
				b := a.browser()
				b.login(t, "alice")
				old := b.copy()
				slow := b.inFlight("/slow-logout", done)
				b.login(t, "alice")
				token := b.token()
				close(release)
				require.Empty(t, (<-slow).Header.Values("Set-Cookie"))
				require.Equal(t, token, b.token())
				require.Equal(t, "alice", b.whoami())
				requireAnonymous(t, old, "the session that was logged out")
				require.Len(t, a.live("alice"), 1)
			})
		})
	}
}

// How long a browser may send the token it had before is bounded: a visitor who
// comes back later with it gets a session again.
func TestAVisitorWithATokenThatWasReplacedLongAgoGetsACookieAgain(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.get("/put?k=cart&v=book")
		old := b.copy()
		b.login(t, "alice")
		time.Sleep(10*time.Second - time.Nanosecond)
		require.Empty(t, old.get("/put?k=flash&v=x").Header.Values("Set-Cookie"), "it may be a request of the browser that has the new one")
		time.Sleep(time.Nanosecond)
		require.NotEmpty(t, old.get("/put?k=flash&v=x").Header.Values("Set-Cookie"))
		require.Equal(t, "x", old.get("/get?k=flash").Body)
		require.Equal(t, "alice", b.whoami())
	})
}

func TestALogoutClearsTheCookieAlsoWhenNobodyCanSayWhetherThereIsANewerOne(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.on("/logout-down", func(ctx context.Context) error {
			err := a.guard.Logout(ctx)
			s.fail("get")
			return err
		})
		a.on("/put-down", func(ctx context.Context) error {
			err := a.guard.Logout(ctx)
			s.fail("get")
			a.sm.Put(ctx, "flash", "bye")
			return err
		})
		b := a.browser()
		b.login(t, "alice")
		require.Equal(t, 200, b.get("/logout-down").Code)
		require.Empty(t, b.token())
		s.fail()
		b.login(t, "alice")
		token := b.token()
		b.get("/put-down")
		require.Equal(t, token, b.token(), "a new cookie can wait")
		s.fail()
		requireAnonymous(t, b, "the old one is worth nothing")
	}, change)
}
