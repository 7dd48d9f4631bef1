package scsguard_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// What ends a remembered browser, and what does not.

func TestWhatEndsARememberedBrowser(t *testing.T) {
	for what, end := range map[string]func(t *testing.T, a *app, b *browser, id string){
		"a logout":               func(t *testing.T, a *app, b *browser, _ string) { require.Equal(t, 200, b.get("/logout").Code) },
		"Destroy of the manager": func(t *testing.T, a *app, b *browser, _ string) { require.Equal(t, 200, b.get("/destroy").Code) },
		"an administrator": func(t *testing.T, a *app, b *browser, id string) {
			require.Equal(t, 200, a.browser().get("/end?id="+id).Code)
		},
		"EndAll": func(t *testing.T, a *app, _ *browser, _ string) { endAllOfAlice(t, a) },
		"EndEveryone": func(t *testing.T, a *app, _ *browser, _ string) {
			_, err := a.guard.EndEveryone(context.Background())
			require.NoError(t, err)
		},
		"a password changed in it": func(t *testing.T, a *app, b *browser, _ string) {
			require.Equal(t, 200, b.get("/change-password").Code)
		},
		"EndOthers elsewhere":          func(t *testing.T, a *app, _ *browser, _ string) { elsewhere(t, a, "/end-others") },
		"a password changed elsewhere": func(t *testing.T, a *app, _ *browser, _ string) { elsewhere(t, a, "/change-password") },
		"a login without the tick":     func(t *testing.T, a *app, b *browser, _ string) { b.login(t, "alice") },
		"a login of another user": func(t *testing.T, a *app, b *browser, _ string) {
			b.login(t, "bob")
			require.Equal(t, 200, b.get("/logout").Code)
		},
		"a login by a script": func(t *testing.T, a *app, b *browser, _ string) {
			r := b.request(http.MethodPost, "/login?user=bob")
			r.Header.Set("Sec-Fetch-Mode", "cors") // nothing is restored before it
			require.Equal(t, 200, b.do(r).Code)
			require.Equal(t, 200, b.get("/logout").Code)
		},
		"a login after the cookie was lost": func(t *testing.T, a *app, b *browser, _ string) {
			b.set(rememberCookie, "")
			b.login(t, "bob")
		},
		"a session chosen at the cap": func(t *testing.T, a *app, _ *browser, id string) {
			require.Equal(t, 200, a.browser().get("/login?user=alice&end="+id).Code)
		},
	} {
		for _, idle := range []bool{false, true} {
			name := what
			if idle {
				name += ", its session having timed out"
			}
			t.Run(name, func(t *testing.T) {
				rememberBubble(t, func(t *testing.T, a *app) {
					b := a.browser()
					id := b.remember(t, "alice")
					old := b.cookie(rememberCookie)
					if idle {
						time.Sleep(time.Hour)
					}
					switch what {
					case "an administrator", "a session chosen at the cap", "a login after the cookie was lost":
						if idle {
							return // there is no session to end
						}
					}
					end(t, a, b, id)
					synctest.Wait()
					if b.cookie(rememberCookie) == old {
						b.restart()
						require.Equal(t, 401, b.get("/private").Code)
					}
					thief := a.browser()
					thief.set(rememberCookie, old)
					require.Equal(t, 401, thief.get("/private").Code, "a copy of the cookie is worth nothing")
					require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
					a.requireOneEndingEach(t, "alice", "bob")
				})
			})
		}
	}
}

func endAllOfAlice(t *testing.T, a *app) {
	t.Helper()
	_, err := a.guard.EndAll(context.Background(), "alice")
	require.NoError(t, err)
}

func elsewhere(t *testing.T, a *app, path string) {
	t.Helper()
	other := a.browser()
	other.login(t, "alice")
	require.Equal(t, 200, other.get(path).Code)
}

func TestWhatDoesNotEndARememberedBrowser(t *testing.T) {
	for what, end := range map[string]func(t *testing.T, a *app, b *browser){
		"an idle timeout":     func(*testing.T, *app, *browser) { time.Sleep(15 * time.Minute) },
		"an absolute timeout": func(*testing.T, *app, *browser) { time.Sleep(8 * time.Hour) },
		"EndOthers in it":     func(t *testing.T, a *app, b *browser) { require.Equal(t, 200, b.get("/end-others").Code) },
		"EndAll of somebody else": func(t *testing.T, a *app, b *browser) {
			_, err := a.guard.EndAll(context.Background(), "bob")
			require.NoError(t, err)
		},
		"a logout elsewhere": func(t *testing.T, a *app, b *browser) { elsewhere(t, a, "/logout") },
		"a new token":        func(t *testing.T, a *app, b *browser) { require.Equal(t, 200, b.get("/elevate?role=x").Code) },
		"a renewed token":    func(t *testing.T, a *app, b *browser) { require.Equal(t, 200, b.get("/renew").Code) },
	} {
		t.Run(what, func(t *testing.T) {
			rememberBubble(t, func(t *testing.T, a *app) {
				b := a.browser()
				b.remember(t, "alice")
				for range 3 {
					time.Sleep(time.Minute)
					end(t, a, b)
					b.restart()
					require.Equal(t, "alice", b.whoami())
				}
				require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
				a.requireOneEndingEach(t, "alice")
			})
		})
	}
}

func TestAfterEndOthersAPasswordChangeStillEndsTheBrowserThatDidIt(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		require.Equal(t, 200, b.get("/end-others").Code)
		time.Sleep(2 * time.Second)
		b.restart()
		old := b.cookie(rememberCookie)
		endAllOfAlice(t, a)
		require.Equal(t, 401, b.get("/private").Code)
		require.Equal(t, old, b.cookie(rememberCookie), "only a logout clears a cookie")
	})
}

// A family that an EndAll has ended does not come back because its session,
// which lived on, ends the others.
func TestEndOthersDoesNotRescueWhatAnEndAllHasEnded(t *testing.T) {
	store := newWatched()
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		time.Sleep(time.Second)
		require.Equal(t, 200, b.get("/change-password").Code)
		require.Empty(t, store.held())
		time.Sleep(time.Second)
		require.Equal(t, 200, b.get("/end-others").Code)
		require.Equal(t, "alice", b.whoami())
		b.restart()
		require.Equal(t, 401, b.get("/private").Code)
	}, store.use)
}

// The same, if the process that changed the password could not come to the family.
func TestEndOthersDoesNotRescueWhatOutlivedAnEndAll(t *testing.T) {
	managers := [2]*scs.SessionManager{newManager(), newManager()}
	synctest.Test(t, func(t *testing.T) {
		store := newWatched()
		mine := true
		first, second := processes(t, managers, func(cfg *scsguard.Config) {
			if cfg.Registry = (anyRegistry{cfg.Registry}); mine {
				store.inner, mine = cfg.Remember.Store, false
				cfg.Remember.Store = store
			}
		})
		b := first.browser()
		b.remember(t, "alice")
		time.Sleep(time.Second)
		store.fail(errDown)
		require.Equal(t, 200, b.get("/change-password").Code)
		time.Sleep(time.Second)
		b.h = second.serve
		require.Equal(t, 200, b.get("/end-others").Code)
		require.Equal(t, "alice", b.whoami())
		b.restart()
		require.Equal(t, 401, b.get("/private").Code)
	})
}

func TestAPasswordChangeMayRememberTheBrowserAnew(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		a.handle("/change-and-stay", func(_ http.ResponseWriter, r *http.Request) error {
			if _, err := a.guard.EndAll(r.Context(), "alice", scsguard.PasswordChanged()); err != nil {
				return err
			}
			_, err := a.guard.Login(r.Context(), "alice", scsguard.RememberMe())
			return err
		})
		b := a.browser()
		b.remember(t, "alice")
		time.Sleep(time.Minute)
		thief := b.twin()
		thief.restart()
		require.Equal(t, 200, b.get("/change-and-stay").Code)
		b.restart()
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, 401, thief.get("/private").Code)
		require.Equal(t, "alice", b.whoami())
	})
}

func TestALogoutClearsTheRememberCookieAndNoOtherAnswerDoes(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		cleared := func(res answer) bool {
			return strings.Contains(strings.Join(res.Header.Values("Set-Cookie"), "\n"), rememberCookie+"=; Path=/; Max-Age=0")
		}
		b := a.browser()
		b.remember(t, "alice")
		old := b.twin()
		require.True(t, cleared(b.get("/logout")))
		require.False(t, cleared(b.get("/logout")), "there is nothing to clear")
		old.restart()
		for _, path := range []string{"/public", "/private", "/put?k=a&v=b", "/whoami", "/passive"} {
			require.False(t, cleared(old.twin().get(path)), "a slow answer must not destroy what a login has set since")
		}
		require.True(t, cleared(old.get("/logout")), "also if nobody is logged in")

		b.remember(t, "alice")
		time.Sleep(time.Hour) // the logout finds the session over, and the token is not to come back
		token := b.cookie(rememberCookie)
		r := b.request(http.MethodPost, "/logout")
		r.Header.Set("Sec-Fetch-Mode", "cors")
		require.True(t, cleared(b.do(r)))
		b.set(rememberCookie, token)
		require.Equal(t, 401, b.get("/private").Code)
	})
}

func TestAFamilyCountsInTheCap(t *testing.T) {
	for _, on := range []scsguard.OnExceed{scsguard.Deny, scsguard.EvictOldest} {
		rememberBubble(t, func(t *testing.T, a *app) {
			b, other := a.browser(), a.browser()
			b.remember(t, "alice")
			time.Sleep(time.Hour) // its session has timed out
			id := other.login(t, "alice")
			b.restart()
			for range 5 {
				require.Equal(t, 200, b.get("/public").Code)
				require.Equal(t, 401, b.get("/private").Code, "who comes back by himself throws nobody out")
			}
			require.Len(t, a.sessionsOf(t, "alice"), 1)
			require.Equal(t, id, other.get("/private").Body)
			synctest.Wait()
			denied := a.sink.events(t, scsguard.EventLoginDenied)
			require.Len(t, denied, 1, "the others are counted")
			require.Equal(t, map[string]any{"remembered": "true"}, denied[0]["details"])
			require.Equal(t, 200, other.get("/logout").Code)
			require.Equal(t, "alice", b.whoami(), "the token is as good as it was")
			require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
		}, func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: 1, OnExceed: on} })
	}
}

// Two browsers that evict each other would do so for ever.
func TestAnEvictedBrowserDoesNotComeBackByItselfWhileTheCapIsFull(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		first, second := a.browser(), a.browser()
		first.remember(t, "alice")
		time.Sleep(time.Minute)
		second.remember(t, "alice")
		for range 3 {
			require.Equal(t, "401 signed_in_elsewhere", first.whoami())
			require.Equal(t, "alice", second.whoami())
		}
		require.Len(t, a.sink.events(t, scsguard.EventLogin), 2)
	}, func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.EvictOldest} })
}

func TestOnlyNavigationRestoresASession(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		polled := a.guard.Passive(a.serve)
		b := a.browser()
		b.remember(t, "alice")
		time.Sleep(time.Hour)
		for _, mode := range []string{"cors", "no-cors", "same-origin", "websocket"} {
			r := b.request(http.MethodGet, "/private")
			r.Header.Set("Sec-Fetch-Mode", mode)
			require.Equal(t, 401, b.do(r).Code, "a page that polls would keep an unattended browser logged in")
		}
		poll := b.twin()
		poll.h = polled
		require.Equal(t, 401, poll.get("/private").Code)
		require.Empty(t, a.sessionsOf(t, "alice"))
		r := b.request(http.MethodGet, "/private")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		require.Equal(t, 200, b.do(r).Code)
		r = b.request(http.MethodGet, "/private")
		r.Header.Set("Sec-Fetch-Mode", "cors")
		require.Equal(t, 200, b.do(r).Code)
	})
}

func TestTheApplicationSaysWhoMayComeBackAndAsWhat(t *testing.T) {
	var refusal error
	role := "teller"
	sm := newManager()
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := rememberApp(a).browser()
		b.remember(t, "alice")
		b.restart()
		require.Equal(t, "alice teller", b.whoami())
		require.Equal(t, "alice", b.get("/get?k=user").Body)

		time.Sleep(time.Hour)
		refusal = errRefused
		require.Equal(t, "401 idle", b.whoami())
		require.Empty(t, b.get("/get?k=user").Body, "nothing of a login that was refused is left in the session")
		synctest.Wait()
		denied := a.sink.events(t, scsguard.EventLoginDenied)
		require.Equal(t, "application", denied[0].str("reason"))
		refusal, role = nil, "clerk"
		require.Equal(t, "alice clerk", b.whoami())
	}, withRemember, func(cfg *scsguard.Config) {
		cfg.Remember.Role = func(_ context.Context, user string) (string, error) {
			require.Equal(t, "alice", user)
			return role, refusal
		}
		cfg.Remember.OnRestore = func(ctx context.Context, s scsguard.Session) {
			require.True(t, s.Remembered)
			sm.Put(ctx, "user", s.User)
		}
	})
}
