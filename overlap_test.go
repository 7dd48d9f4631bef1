package scsguard_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Nobody sees what another has left, also if the session of the other ended in
// the same request.
func TestDataOfAUserWhoseSessionEndedInTheRequestIsNotServedToTheNext(t *testing.T) {
	for name, end := range map[string]func(a *app, ctx context.Context) error{
		"EndAll": func(a *app, ctx context.Context) error { return second(a.guard.EndAll(ctx, "alice")) },
		"End": func(a *app, ctx context.Context) error {
			s, _ := a.guard.Current(ctx)
			return a.guard.End(ctx, s.ID)
		},
		"EndEveryone": func(a *app, ctx context.Context) error { return second(a.guard.EndEveryone(ctx)) },
		"ended elsewhere, Extend": func(a *app, ctx context.Context) error {
			_, err := a.guard.EndAll(context.Background(), "alice")
			require.Error(a.t, second(a.guard.Extend(ctx)))
			return err
		},
		"ended elsewhere, Elevate": func(a *app, ctx context.Context) error {
			_, err := a.guard.EndAll(context.Background(), "alice")
			require.Error(a.t, second(a.guard.Elevate(ctx, "admin")))
			return err
		},
	} {
		for next, grant := range map[string]func(a *app, ctx context.Context, other string) error{
			"Login":        func(a *app, ctx context.Context, _ string) error { return second(a.guard.Login(ctx, "bob")) },
			"MergeSession": func(a *app, ctx context.Context, other string) error { _ = a.sm.MergeSession(ctx, other); return nil },
		} {
			t.Run(name+", "+next, func(t *testing.T) {
				bubble(t, func(t *testing.T, a *app) {
					b, other := a.browser(), a.browser()
					a.on("/switch", func(ctx context.Context) error {
						require.NoError(t, end(a, ctx))
						return grant(a, ctx, other.token())
					})
					other.login(t, "bob")
					b.login(t, "alice")
					b.get("/put?k=secret&v=of-alice")
					require.Equal(t, 200, b.get("/switch").Code)
					if strings.HasPrefix(b.whoami(), "bob") {
						require.Empty(t, b.get("/get?k=secret").Body)
					}
				})
			})
		}
	}
}

// After RenewToken of the session manager the request is logged in, for every
// verb, as Current says.
func TestVerbsAfterRenewToken(t *testing.T) {
	run := func(name string, do func(t *testing.T, a *app, ctx context.Context) error, after func(t *testing.T, a *app, b *browser)) {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.on("/renewed", func(ctx context.Context) error {
					require.NoError(t, a.sm.RenewToken(ctx))
					return do(t, a, ctx)
				})
				b, other := a.browser(), a.browser()
				other.login(t, "alice")
				b.login(t, "alice")
				require.Equal(t, 200, b.get("/renewed").Code)
				after(t, a, b)
			})
		})
	}
	alone := func(t *testing.T, a *app, b *browser) {
		require.Equal(t, "alice", b.whoami())
		require.Len(t, a.live("alice"), 1)
	}
	run("EndAll, ExceptCurrent", func(_ *testing.T, a *app, ctx context.Context) error {
		return second(a.guard.EndAll(ctx, "alice", scsguard.ExceptCurrent(), scsguard.PasswordChanged()))
	}, alone)
	run("EndOthers", func(_ *testing.T, a *app, ctx context.Context) error { return second(a.guard.EndOthers(ctx)) }, alone)
	run("EndAll", func(t *testing.T, a *app, ctx context.Context) error {
		_, err := a.guard.EndAll(ctx, "alice")
		_, ok := a.guard.Current(ctx)
		require.False(t, ok, "it was ended")
		return err
	}, func(t *testing.T, a *app, b *browser) { require.Empty(t, a.live("alice")) })
	run("Sessions", func(t *testing.T, a *app, ctx context.Context) error {
		list, err := a.guard.Sessions(ctx)
		require.Len(t, list, 2)
		return err
	}, func(t *testing.T, a *app, b *browser) { require.Equal(t, "alice", b.whoami()) })
	run("Record", func(_ *testing.T, a *app, ctx context.Context) error {
		return a.guard.Record(ctx, scsguard.Event{Kind: "transfer"})
	}, func(t *testing.T, a *app, b *browser) {
		require.Equal(t, "alice", a.sink.events(t, "transfer")[0].str("user"))
		require.NotEmpty(t, a.sink.events(t, "transfer")[0].str("session"))
	})
}

// A request with the token before the last rotation, in its grace, logs in the
// way that scs users know: the browser gets the cookie.
func TestALoginAfterALateRenewTokenReachesItsBrowser(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.on("/relogin", func(ctx context.Context) error {
			if err := a.sm.RenewToken(ctx); err != nil {
				return err
			}
			return second(a.guard.Login(ctx, "alice"))
		})
		for range 20 {
			b := a.browser()
			b.login(t, "alice")
			tab := b.copy()
			b.get("/elevate?role=admin")
			require.Equal(t, 200, tab.get("/relogin").Code)
			require.Equal(t, "alice", tab.whoami())
		}
	})
}

// The same goroutine: whoever asks after a late Destroy gets the answer.
func TestCurrentAfterALateDestroy(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/out", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("bye"))
			require.NoError(t, a.sm.Destroy(r.Context()))
			_, ok := a.guard.Current(r.Context())
			require.False(t, ok)
		})
		b := a.browser()
		b.login(t, "alice")
		b.get("/out")
	})
}

// A store that cannot delete logs nobody out: the record has moved, and what is
// left under the old key is deleted later.
func TestARenewalThatCannotDeleteTheOldDataLogsNobodyOut(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.on("/renew-without-delete", func(ctx context.Context) error {
			s.fail("delete")
			_ = a.sm.RenewToken(ctx)
			s.fail()
			a.sm.Put(ctx, "k", "v")
			return nil
		})
		b := a.browser()
		b.login(t, "alice")
		b.get("/renew-without-delete")
		require.Equal(t, "alice", b.whoami())
		time.Sleep(10 * time.Second)
		require.Len(t, storeKeys(t, sm), 1)
	}, change)
}

// A login that is merged into a request whose own token was replaced: the browser
// gets its cookie, since nobody else has it.
func TestAMergedLoginReachesItsBrowserAlthoughTheOldTokenWasReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.merging()
		b, other := a.browser(), a.browser()
		b.login(t, "alice")
		require.Equal(t, 200, other.get("/merge?token="+b.token()).Code)
		require.Equal(t, 200, b.get("/merge?token="+other.token()).Code) // and back again
		require.Len(t, a.live("alice"), 1)
		require.Equal(t, "alice", b.whoami())
	})
}

// The session manager says of a session that is merged into itself that nothing
// needs to be done, also after a verb that failed.
func TestASessionThatIsMergedIntoItselfAfterAFailureLivesOn(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		a.on("/self", func(ctx context.Context) error {
			a.sink.fail(errDown)
			require.Error(t, second(a.guard.Elevate(ctx, "admin")))
			a.sink.fail(nil)
			return a.sm.MergeSession(ctx, b.token())
		})
		b.login(t, "alice")
		require.Equal(t, 200, b.get("/self").Code)
		require.Equal(t, "alice", b.whoami())
	})
}

// A registry that does not answer has not ended the session.
func TestAnUnavailableRegistryIsNoEnding(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.on("/both", func(ctx context.Context) error {
			a.sm.SetDeadline(ctx, time.Now().Add(time.Hour))
			s.fail("touch")
			defer s.fail()
			err := second(a.guard.Elevate(ctx, "admin"))
			require.ErrorIs(t, err, scsguard.ErrUnavailable)
			var ended *scsguard.EndedError
			require.NotErrorAs(t, err, &ended)
			return nil
		})
		b := a.browser()
		b.login(t, "alice")
		b.get("/both")
	}, change)
}

// EndAll has succeeded, so the request knows that its own session is over.
func TestEndAllNeedNotAskWhetherTheOwnSessionEnded(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.on("/end", func(ctx context.Context) error {
			s.fail("get")
			defer s.fail()
			require.NoError(t, second(a.guard.EndAll(ctx, "alice")))
			_, ok := a.guard.Current(ctx)
			require.False(t, ok)
			return nil
		})
		b := a.browser()
		b.login(t, "alice")
		b.get("/end")
	}, change)
}

// A slow answer to a token that was replaced long ago, or whose session had ended,
// does not overwrite the cookie of a login in another tab.
func TestASlowAnswerToAnOldTokenLeavesTheCookieOfALoginAlone(t *testing.T) {
	put := func(a *app) func(http.ResponseWriter, *http.Request) {
		return func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "flash", "x") }
	}
	t.Run("moved long ago", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			entered, release := a.pause("/slow", nil, put(a))
			first := a.browser()
			first.login(t, "alice")
			b := first.copy() // its browser never got the answer to the rotation
			first.get("/elevate?role=admin")
			time.Sleep(time.Minute)
			slow := b.inFlight("/slow", entered)
			b.login(t, "bob")
			close(release)
			<-slow
			require.Equal(t, "bob", b.whoami())
		})
	})
	t.Run("ended while the login was under way", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			entered, release := a.pause("/slow", nil, put(a))
			inside, goOn := a.pause("/slow-login", nil, func(_ http.ResponseWriter, r *http.Request) {
				require.NoError(t, second(a.guard.Login(r.Context(), "alice", scsguard.AuthenticatedAt(time.Now()))))
			})
			b := a.browser()
			b.login(t, "alice")
			login := b.inFlight("/slow-login", inside)
			_, err := a.guard.EndAll(context.Background(), "alice")
			require.NoError(t, err)
			slow := b.inFlight("/slow", entered)
			close(goOn)
			<-login
			close(release)
			<-slow
			require.Equal(t, "alice", b.whoami())
		})
	})
}

// Data of a logged-in session carries its mark, also if the application calls
// Clear and Commit itself, and never comes to the end of its request.
func TestClearAndCommitLeaveTheMark(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/clear", func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, a.sm.Clear(r.Context()))
			a.sm.Put(r.Context(), "user", "alice")
			_, _, err := a.sm.Commit(r.Context())
			require.NoError(t, err)
			panic(http.ErrAbortHandler)
		})
		b := a.browser()
		b.login(t, "alice")
		require.Panics(t, func() { b.get("/clear") })
		synctest.Wait()
		require.Contains(t, a.sm.Keys(a.load(b.token())), "__scsguard")
	})
}

// A store that cannot delete while a session is merged: what is left of it is
// deleted later.
func TestDataOfAMergedSessionDoesNotStayBehind(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		elsewhere, b := a.browser(), a.browser()
		a.on("/merge-without-delete", func(ctx context.Context) error {
			s.fail("delete")
			defer s.fail()
			_ = a.sm.MergeSession(ctx, elsewhere.token())
			return nil
		})
		elsewhere.login(t, "alice")
		require.Equal(t, 200, b.get("/merge-without-delete").Code)
		time.Sleep(10 * time.Second)
		require.Equal(t, "alice", b.whoami())
		require.Len(t, storeKeys(t, sm), 1)
	}, change)
}

// A login that is refused because its user's sessions were ended meanwhile
// leaves the session of another user, who was logged in before, alone.
func TestALoginThatIsRevokedOnItsWayLeavesTheSessionOfAnotherUser(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		var err error
		a.on("/switch", func(ctx context.Context) error {
			s.before("settle", func() { _, _ = a.guard.EndAll(context.Background(), "bob") })
			_, err = a.guard.Login(ctx, "bob")
			return nil
		})
		b := a.browser()
		b.login(t, "alice")
		b.get("/switch")
		require.ErrorIs(t, err, scsguard.ErrRevoked)
		require.Equal(t, "alice", b.whoami(), "after an error the request is what it was before")
	}, change)
}

// A login that was replaced before it lived by one in another tab leaves nothing
// in the store, also if RenewToken follows.
func TestAReplacedLoginThatIsRenewedStoresNothing(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		var token string
		a.on("/both", func(ctx context.Context) error {
			s.before("commit", func() { b.login(t, "alice") })
			if _, err := a.guard.Login(ctx, "alice"); err != nil {
				return err
			}
			err := a.sm.RenewToken(ctx)
			token = a.sm.Token(ctx)
			return err
		})
		b.get("/put?k=cart&v=book")
		require.Equal(t, 200, b.get("/both").Code)
		require.Equal(t, "alice", b.whoami())
		require.Len(t, storeKeys(t, sm), 1)
		a.load(token)
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventLogout), 1, "one session has ended, once")
	}, change)
}
