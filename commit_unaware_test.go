package scsguard_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// An application that has never heard of the guard may call Commit, MergeSession
// and RenewToken of the session manager itself, before the guard has noticed whom
// it has logged in.

func TestALoginThatTheApplicationCommitsItselfIsNotStoredBeforeItIsNoticed(t *testing.T) {
	for _, started := range []bool{false, true} {
		unchanged(t, func(t *testing.T, a *app) {
			planted := make(chan *browser, 1)
			a.mux.HandleFunc("/commit", func(w http.ResponseWriter, r *http.Request) {
				if started {
					_, _ = w.Write([]byte("first byte"))
				}
				a.sm.Put(r.Context(), "user", "alice")
				_, _, err := a.sm.Commit(r.Context())
				require.NoError(t, err)
				require.Equal(t, 401, (<-planted).get("/plain/whoami").Code, "a request with the token from before the login")
				panic(http.ErrAbortHandler)
			})
			b := a.browser()
			b.get("/put?k=cart&v=book")
			planted <- b.copy()
			require.Panics(t, func() { b.get("/commit") })
			require.Equal(t, 401, b.get("/plain/whoami").Code)
			require.Equal(t, "book", b.get("/get?k=cart").Body)
			synctest.Wait()
			require.Empty(t, a.sink.events(t, scsguard.EventLogin, scsguard.EventEnroll))
		})
	}
}

func TestARefusedLoginThatTheApplicationCommittedItselfLeavesNothingBehind(t *testing.T) {
	for _, user := range []string{"", "bob"} { // who was logged in there before
		unchanged(t, func(t *testing.T, a *app) {
			a.on("/commit", func(ctx context.Context) error {
				a.sm.Put(ctx, "user", "alice")
				_, _, err := a.sm.Commit(ctx)
				return err
			})
			first, second := a.browser(), a.browser()
			first.get("/plain/login?user=alice")
			second.get("/put?k=cart&v=book")
			if user != "" {
				second.get("/plain/login?user=" + user)
			}
			require.Equal(t, http.StatusConflict, second.get("/commit").Code)
			first.get("/plain/logout") // now there is room, but nobody has logged in
			require.Equal(t, user, second.get("/get?k=user").Body)
			require.Equal(t, "book", second.get("/get?k=cart").Body)
			synctest.Wait()
			require.Empty(t, a.sink.events(t, scsguard.EventEnroll))
			require.Len(t, a.sink.endings(t), 1)
		}, func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny} })
	}
}

func TestALogoutThatTheApplicationCommitsItselfCountsAlsoIfTheHandlerPanics(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		a.on("/commit", func(ctx context.Context) error {
			a.sm.Remove(ctx, "user")
			_, _, err := a.sm.Commit(ctx)
			require.NoError(t, err)
			panic(http.ErrAbortHandler)
		})
		b := a.browser()
		b.get("/plain/login?user=alice")
		require.Panics(t, func() { b.get("/commit") })
		require.Equal(t, 401, b.get("/plain/whoami").Code)
		synctest.Wait()
		require.Len(t, a.sink.endings(t), 1)
	})
}

func TestABareLoginUnderATokenFromBeforeIsRefused(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.get("/put?k=cart&v=book")
		ctx, err := a.sm.Load(context.Background(), b.token())
		require.NoError(t, err)
		a.sm.Put(ctx, "user", "alice")
		_, _, err = a.sm.Commit(ctx)
		require.ErrorContains(t, err, "session fixation")
		require.Equal(t, 401, b.get("/plain/whoami").Code)

		require.NoError(t, a.sm.RenewToken(ctx))
		for range 2 {
			_, _, err = a.sm.Commit(ctx)
			require.NoError(t, err)
		}
		require.Equal(t, 401, b.get("/plain/whoami").Code)
		ctx, err = a.sm.Load(context.Background(), a.sm.Token(ctx))
		require.NoError(t, err)
		s, _ := a.guard.Current(ctx)
		require.Equal(t, "alice", s.User)
	})
}

func TestARefusedLoginKeepsTheSessionThatAVerbHasGivenANewToken(t *testing.T) {
	unchanged(t, func(t *testing.T, a *app) {
		a.on("/switch", func(ctx context.Context) error {
			_, err := a.guard.Elevate(ctx, "admin")
			a.sm.Put(ctx, "user", "alice")
			return err
		})
		first, b := a.browser(), a.browser()
		first.get("/plain/login?user=alice")
		b.get("/plain/login?user=bob")
		before := b.token()
		require.Equal(t, http.StatusConflict, b.get("/switch").Code)
		require.NotEqual(t, before, b.token(), "the error page carries the new token, or nobody would have it")
		require.Equal(t, "bob admin", b.whoami())
		require.Equal(t, "bob", b.get("/plain/whoami").Body)
	}, func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny} })
}

// The session that is merged may have been logged in before the guard came.
func TestMergingASessionFromBeforeTheGuardEnrolsItFirst(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		a.handle("/merge", func(_ http.ResponseWriter, r *http.Request) error {
			return a.sm.MergeSession(r.Context(), r.FormValue("token"))
		})
		old := before(t, a, plain, "alice").token()
		time.Sleep(time.Minute)
		_, err := a.guard.EndAll(context.Background(), "alice", scsguard.PasswordChanged())
		require.NoError(t, err)
		b := a.browser()
		b.get("/put?k=cart&v=book")
		require.Equal(t, 200, b.get("/merge?token="+old).Code)
		require.Equal(t, 401, b.get("/plain/whoami").Code, "it was ended, so nothing may be taken from it")
		synctest.Wait()
		require.Empty(t, a.sink.events(t, scsguard.EventLogin))

		login := time.Now()
		old = before(t, a, plain, "alice").token()
		time.Sleep(time.Minute)
		require.Equal(t, 200, b.get("/merge?token="+old).Code)
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, "book", b.get("/get?k=cart").Body)
		require.NotEqual(t, old, b.token())
		synctest.Wait()
		require.Empty(t, a.sink.events(t, scsguard.EventLogin), "nobody has proved who he is")
		list, err := a.guard.SessionsOf(context.Background(), "alice")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.True(t, list[0].Created.Equal(login))
		require.Zero(t, list[0].AuthTime)

		bob := before(t, a, plain, "bob").token()
		require.Equal(t, 500, b.get("/merge?token="+bob).Code, "another user's is refused")
		require.Equal(t, "alice", b.whoami())
	})
}

func TestWhatARequestHasOfASessionThatItHasLostIsNoLogin(t *testing.T) {
	for name, change := range map[string]func(a *app, ctx context.Context, token string) error{
		"renewed": func(a *app, ctx context.Context, _ string) error { return a.sm.RenewToken(ctx) },
		"merged":  func(a *app, ctx context.Context, token string) error { return a.sm.MergeSession(ctx, token) },
	} {
		t.Run(name, func(t *testing.T) {
			unchanged(t, func(t *testing.T, a *app) {
				alice := a.browser()
				alice.get("/plain/login?user=alice")
				a.on("/change", func(ctx context.Context) error {
					if err := change(a, ctx, alice.token()); err != nil {
						return err
					}
					a.sink.fail(errors.New("disk full"))
					_, _, err := a.sm.Commit(ctx)
					require.ErrorIs(t, err, scsguard.ErrUnavailable)
					a.sink.fail(nil)
					_, err = a.guard.EndAll(ctx, "alice", scsguard.PasswordChanged())
					return err
				})
				b := alice.copy()
				if name == "merged" {
					b = a.browser()
				}
				require.Equal(t, 200, b.get("/change").Code)
				require.Equal(t, 401, b.get("/plain/whoami").Code)
				time.Sleep(time.Second) // by then the trail has tried again
				synctest.Wait()
				require.Len(t, a.sink.events(t, scsguard.EventLogin), 1)
				require.Len(t, a.sink.endings(t), 1)
			})
		})
	}
}

// A registry that has forgotten a session does not say whose it was.
func TestWhatARequestHasOfASessionThatTheRegistryForgotIsNoLogin(t *testing.T) {
	forgetful := &forgetfulRegistry{scsguard.NewMemoryRegistry()}
	unchanged(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.get("/plain/login?user=alice")
		entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) {
			require.NoError(t, a.sm.RenewToken(r.Context()))
		})
		answered := b.inFlight("/slow", entered)
		forgetful.Registry = scsguard.NewMemoryRegistry()
		close(release)
		<-answered
		require.Equal(t, 401, b.get("/plain/whoami").Code)
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventLogin), 1)
	}, func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys = forgetful, [][]byte{make([]byte, 32)}
	})
}

// forgetfulRegistry is one that can be put in the place of another.
type forgetfulRegistry struct{ scsguard.Registry }

func (f *forgetfulRegistry) Namespace(string) scsguard.Registry { return f }
