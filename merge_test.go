package scsguard_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// on mounts a handler that does something with the session of its request.
func (a *app) on(path string, do func(ctx context.Context) error) {
	a.handle(path, func(_ http.ResponseWriter, r *http.Request) error { return do(r.Context()) })
}

// merging mounts the handler of an application that merges sessions.
func (a *app) merging() {
	a.handle("/merge", func(_ http.ResponseWriter, r *http.Request) error {
		return a.sm.MergeSession(r.Context(), r.FormValue("token"))
	})
}

// live returns the live sessions of a user.
func (a *app) live(user string) []scsguard.Session {
	a.t.Helper()
	list, err := a.guard.SessionsOf(context.Background(), user)
	require.NoError(a.t, err)
	return list
}

// load loads a session without the guard's middleware.
func (a *app) load(token string) context.Context {
	a.t.Helper()
	ctx, err := a.sm.Load(context.Background(), token)
	require.NoError(a.t, err)
	return ctx
}

func requireAnonymous(t testing.TB, b *browser, msg string) {
	t.Helper()
	require.True(t, strings.HasPrefix(b.whoami(), "401"), msg)
	require.Empty(t, b.get("/get?k=user").Body, msg)
}

// Session fixation: the victim's browser has a token that the attacker knows,
// and the application merges the victim's login into its session.
func TestAPlantedTokenIsWorthNothingOnceALoginWasMergedIntoItsSession(t *testing.T) {
	ways := map[string]func(a *app, w http.ResponseWriter, r *http.Request) error{
		"merge": func(*app, http.ResponseWriter, *http.Request) error { return nil },
		"merge, Put": func(a *app, _ http.ResponseWriter, r *http.Request) error {
			a.sm.Put(r.Context(), "k", "v")
			return nil
		},
		"merge, write": func(_ *app, w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, "welcome")
			return err
		},
		"merge, flush": func(_ *app, w http.ResponseWriter, _ *http.Request) error {
			return http.NewResponseController(w).Flush()
		},
		"merge, Commit": func(a *app, w http.ResponseWriter, r *http.Request) error {
			token, expiry, err := a.sm.Commit(r.Context())
			a.sm.WriteSessionCookie(r.Context(), w, token, expiry)
			return err
		},
		"merge, Elevate": func(a *app, _ http.ResponseWriter, r *http.Request) error {
			return second(a.guard.Elevate(r.Context(), "admin"))
		},
		"merge, Extend": func(a *app, _ http.ResponseWriter, r *http.Request) error {
			return second(a.guard.Extend(r.Context()))
		},
		"merge, Login": func(a *app, _ http.ResponseWriter, r *http.Request) error {
			_, err := a.guard.Login(r.Context(), "alice")
			a.sm.Put(r.Context(), "user", "alice")
			return err
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.handle("/way", func(w http.ResponseWriter, r *http.Request) error {
					if err := a.sm.MergeSession(r.Context(), r.FormValue("token")); err != nil {
						return err
					}
					return way(a, w, r)
				})
				entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "late", "x") })
				elsewhere, victim := a.browser(), a.browser()
				elsewhere.login(t, "alice")
				victim.get("/put?k=cart&v=book")
				planted := victim.token()
				attacker := victim.copy()
				slow := attacker.copy().inFlight("/slow", entered)

				require.Equal(t, 200, victim.get("/way?token="+elsewhere.token()).Code)
				require.NotEqual(t, planted, victim.token())
				require.True(t, strings.HasPrefix(victim.whoami(), "alice"))
				require.Equal(t, "book", victim.get("/get?k=cart").Body)
				requireAnonymous(t, attacker, "who planted the token")
				close(release)
				require.Empty(t, (<-slow).Header.Values("Set-Cookie"), "a slow answer to the planted token")
				requireAnonymous(t, attacker, "who had a request in flight")
				requireAnonymous(t, elsewhere, "the session is in the other browser now")
				require.NotContains(t, storeKeys(t, a.sm), planted)
				require.Len(t, storeKeys(t, a.sm), 1)
				require.Len(t, a.live("alice"), 1)
			})
		})
	}
}

func TestAMergeThatFailsLeavesThePlantedTokenAnonymous(t *testing.T) {
	for _, failing := range []string{"detach", "commit", "move", "trail"} {
		t.Run(failing, func(t *testing.T) {
			sm := newManager()
			s, change := stepped(sm)
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				a.merging()
				elsewhere, victim := a.browser(), a.browser()
				session := elsewhere.login(t, "alice")
				victim.get("/put?k=cart&v=book")
				planted := victim.token()
				s.fail(failing)
				if failing == "trail" {
					a.sink.fail(errDown)
				}
				res := victim.get("/merge?token=" + elsewhere.token())
				require.Equal(t, http.StatusServiceUnavailable, res.Code)
				require.Empty(t, res.Header.Values("Set-Cookie"))
				s.fail()
				a.sink.fail(nil)
				time.Sleep(10 * time.Second) // what is repeated is repeated

				require.Equal(t, planted, victim.token())
				requireAnonymous(t, victim, "nothing of the login is under the planted token")
				require.Equal(t, "book", victim.get("/get?k=cart").Body)
				if failing == "detach" { // nothing was done to it
					require.Equal(t, "alice", elsewhere.whoami())
					require.Len(t, storeKeys(t, sm), 2)
					return
				}
				requireAnonymous(t, elsewhere, "its token is dead")
				require.Empty(t, a.live("alice"))
				require.Equal(t, "destroyed", a.sink.endings(t)[session+"/end"].str("reason"))
				require.Len(t, a.sink.events(t, scsguard.EventLogout), 1)
				require.Len(t, storeKeys(t, sm), 1, "no data of a dead session stays behind")
			}, change)
		})
	}
}

// The session to be merged changes between the look at it and its deletion.
func TestAMergeThatComesTooLateTakesNothingOver(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(a *app, b *browser)
		code      int
		after     string
	}{
		"it got a new token": {func(_ *app, b *browser) { b.get("/elevate?role=admin") }, http.StatusConflict, "alice admin"},
		"it was ended":       {func(a *app, _ *browser) { _, _ = a.guard.EndAll(context.Background(), "alice") }, 200, "401 ended_by_admin"},
		"it was destroyed":   {func(_ *app, b *browser) { b.get("/destroy") }, 200, "401"},
	} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			s, change := stepped(sm)
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				a.merging()
				elsewhere, victim := a.browser(), a.browser()
				elsewhere.login(t, "alice")
				victim.get("/put?k=cart&v=book")
				planted := victim.token()
				token := elsewhere.token()
				s.before("detach", func() { c.meanwhile(a, elsewhere) })
				require.Equal(t, c.code, victim.get("/merge?token="+token).Code)
				require.Equal(t, c.after, elsewhere.whoami())
				require.Equal(t, planted, victim.token())
				requireAnonymous(t, victim, "not even the data was taken over")
				require.NotContains(t, storeKeys(t, sm), token)
			}, change)
		})
	}
}

func TestAMergeIntoAnAnonymousSessionAfterTheFirstByteIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/late-merge", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "first")
			require.ErrorIs(t, a.sm.MergeSession(r.Context(), r.FormValue("token")), scsguard.ErrResponseStarted)
		})
		elsewhere, victim := a.browser(), a.browser()
		elsewhere.login(t, "alice")
		victim.get("/put?k=cart&v=book")
		victim.get("/late-merge?token=" + elsewhere.token())
		require.Equal(t, "alice", elsewhere.whoami(), "the session stays where it was")
		requireAnonymous(t, victim, "no cookie could tell it of a new token")
	})
}

func TestAMergeOnABareLoadBringsNoPlantedTokenToLife(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		merge := func(into, from string) string {
			ctx := a.load(into)
			require.NoError(t, a.sm.MergeSession(ctx, from))
			a.sm.Put(ctx, "k", "v")
			token, _, err := a.sm.Commit(ctx)
			require.NoError(t, err)
			return token
		}
		elsewhere, planted := a.browser(), a.browser()
		session := elsewhere.login(t, "alice")
		planted.get("/put?k=cart&v=book")
		merge(planted.token(), elsewhere.token())
		requireAnonymous(t, planted, "nobody could give it a new token here")
		require.Empty(t, a.live("alice"))
		synctest.Wait()
		require.Equal(t, "destroyed", a.sink.endings(t)[session+"/end"].str("reason"))

		// Without a session to merge into, the login goes on under a token that is new.
		session = elsewhere.login(t, "alice")
		token := merge("", elsewhere.token())
		require.NotEqual(t, elsewhere.token(), token)
		now, ok := a.guard.Current(a.load(token))
		require.True(t, ok)
		require.Equal(t, session, now.ID)
		requireAnonymous(t, elsewhere, "its token is dead")
	})
}

func TestAMergeTakesNothingOutOfASessionThatHasLostItsRecord(t *testing.T) {
	first, later := newManager(), newManager()
	later.Store = first.Store
	synctest.Test(t, func(t *testing.T) {
		b := newApp(t, first).browser()
		b.login(t, "alice")
		a := newApp(t, later) // its registry knows nothing of her
		a.merging()
		victim := a.browser()
		victim.get("/put?k=cart&v=book")
		require.Equal(t, 200, victim.get("/merge?token="+b.token()).Code)
		requireAnonymous(t, victim, "whether she was logged out nobody can say")
		require.Equal(t, "book", victim.get("/get?k=cart").Body)
	})
}

func TestTwoUsersNeverEndUpInOneSession(t *testing.T) {
	for name, before := range map[string]func(a *app, ctx context.Context, alice string) error{
		"logged in":           func(*app, context.Context, string) error { return nil },
		"after RenewToken":    func(a *app, ctx context.Context, _ string) error { return a.sm.RenewToken(ctx) },
		"after another merge": func(a *app, ctx context.Context, alice string) error { return a.sm.MergeSession(ctx, alice) },
		"after Elevate":       func(a *app, ctx context.Context, _ string) error { return second(a.guard.Elevate(ctx, "admin")) },
		"after a merge and Commit": func(a *app, ctx context.Context, alice string) error {
			if err := a.sm.MergeSession(ctx, alice); err != nil {
				return err
			}
			_, _, err := a.sm.Commit(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.handle("/merge-bob", func(_ http.ResponseWriter, r *http.Request) error {
					require.NoError(t, before(a, r.Context(), r.FormValue("alice")))
					require.ErrorIs(t, a.sm.MergeSession(r.Context(), r.FormValue("bob")), scsguard.ErrOtherUser)
					return nil
				})
				alice, bob, b := a.browser(), a.browser(), a.browser()
				alice.login(t, "alice")
				if strings.Contains(name, "merge") {
					b.get("/put?k=cart&v=book")
				} else {
					b = alice
				}
				bob.login(t, "bob")
				bob.get("/put?k=secret&v=bobs")
				require.Equal(t, 200, b.get("/merge-bob?alice="+alice.token()+"&bob="+bob.token()).Code)
				require.True(t, strings.HasPrefix(b.whoami(), "alice"))
				require.Empty(t, b.get("/get?k=secret").Body)
				require.Equal(t, "bob", bob.whoami(), "he is not disturbed")
				require.Len(t, storeKeys(t, a.sm), 2)
			})
		})
	}
	t.Run("on a bare Load", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			alice, bob := a.browser(), a.browser()
			alice.login(t, "alice")
			bob.login(t, "bob")
			ctx := a.load(bob.token())
			require.NoError(t, a.sm.MergeSession(ctx, alice.token()))
			_, _, err := a.sm.Commit(ctx)
			require.ErrorIs(t, err, scsguard.ErrOtherUser)
			require.Equal(t, "bob", bob.whoami())
			require.Equal(t, "bob", bob.get("/get?k=user").Body, "and not even alice's data got there")
			requireAnonymous(t, alice, "her session was given up by the merge")
		})
	})
}

func TestAMergeAfterALogoutBeginsWithoutTheOtherUsersData(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/switch", func(_ http.ResponseWriter, r *http.Request) error {
			if err := a.guard.Logout(r.Context()); err != nil {
				return err
			}
			return a.sm.MergeSession(r.Context(), r.FormValue("token"))
		})
		b, bob := a.browser(), a.browser()
		b.login(t, "alice")
		b.get("/put?k=secret&v=alices")
		thief := b.copy()
		bob.login(t, "bob")
		require.Equal(t, 200, b.get("/switch?token="+bob.token()).Code)
		require.Equal(t, "bob", b.whoami())
		require.Empty(t, b.get("/get?k=secret").Body)
		require.Equal(t, "401 ended_by_you", thief.whoami())
		require.Empty(t, a.live("alice"))
	})
}

func TestMergingSeveralSessionsOfAUserLeavesOneAndEndsEachOtherOnce(t *testing.T) {
	sm := newManager()
	sm.Lifetime = absolute
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.handle("/merge-all", func(_ http.ResponseWriter, r *http.Request) error {
			for _, token := range strings.Split(r.FormValue("tokens"), ",") {
				if err := a.sm.MergeSession(r.Context(), token); err != nil {
					return err
				}
			}
			return nil
		})
		one, two, b := a.browser(), a.browser(), a.browser()
		first := one.login(t, "alice")
		one.get("/put?k=cart&v=book")
		other := two.login(t, "alice")
		two.get("/put?k=list&v=pen")
		b.get("/put?k=guest&v=yes")
		require.Equal(t, 200, b.get("/merge-all?tokens="+one.token()+","+two.token()+","+one.token()).Code)
		require.Equal(t, "alice", b.whoami())
		for k, v := range map[string]string{"cart": "book", "list": "pen", "guest": "yes"} {
			require.Equal(t, v, b.get("/get?k="+k).Body)
		}
		list := a.live("alice")
		require.Len(t, list, 1)
		require.Equal(t, first, list[0].ID)
		require.Equal(t, first, a.sm.GetString(a.load(b.token()), "__scsguard"), "the mark of the one that stays")
		require.Len(t, storeKeys(t, a.sm), 1)
		synctest.Wait()
		ends := a.sink.events(t, scsguard.EventLogout)
		require.Len(t, ends, 1)
		require.Equal(t, other, ends[0].str("session"))
		require.Equal(t, "replaced", ends[0].str("reason"))
		require.Equal(t, 200, b.get("/logout").Code)
		synctest.Wait()
		require.Equal(t, "user", a.sink.endings(t)[first+"/end"].str("reason"))
	})
}

func TestASlowAnswerDoesNotPutTheBrowserBackOnAPlantedTokenAfterAMergeAndARenewal(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/merge-renew", func(_ http.ResponseWriter, r *http.Request) error {
			if err := a.sm.MergeSession(r.Context(), r.FormValue("token")); err != nil {
				return err
			}
			return a.sm.RenewToken(r.Context())
		})
		entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "late", "x") })
		elsewhere, victim := a.browser(), a.browser()
		elsewhere.login(t, "alice")
		victim.get("/put?k=cart&v=book")
		planted := victim.token()
		slow := victim.copy().inFlight("/slow", entered)
		require.Equal(t, 200, victim.get("/merge-renew?token="+elsewhere.token()).Code)
		require.Equal(t, "alice", victim.whoami())
		close(release)
		require.Empty(t, (<-slow).Header.Values("Set-Cookie"))
		require.NotContains(t, storeKeys(t, a.sm), planted)
	})
}

func TestAMergeWithinIterateTakesNothingOfAnotherUser(t *testing.T) {
	for _, by := range []string{"alice", "nobody"} {
		t.Run(by, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				b, other, bob := a.browser(), a.browser(), a.browser()
				if by == "alice" {
					b.login(t, "alice")
				}
				other.login(t, "alice")
				other.get("/put?k=secret&v=alices")
				bob.login(t, "bob")
				a.onBob("/job", func(ctx context.Context) error {
					_ = a.sm.MergeSession(ctx, other.token())
					_, _, err := a.sm.Commit(ctx)
					return err
				})
				b.get("/job")
				require.Equal(t, "bob", bob.whoami())
				require.Equal(t, "bob", bob.get("/get?k=user").Body)
				require.Empty(t, bob.get("/get?k=secret").Body)
			})
		})
	}
}
