package scsguard_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Within Iterate a context holds another session's data and the request of the
// one who iterates. HashTokenInStore gives it a token that is a key already.

// iterating runs a test with HashTokenInStore and without.
func iterating(t *testing.T, f func(t *testing.T, a *app)) {
	t.Helper()
	for _, hash := range []bool{false, true} {
		t.Run(fmt.Sprintf("HashTokenInStore=%v", hash), func(t *testing.T) {
			sm := newManager()
			sm.HashTokenInStore = hash
			bubbleOn(t, sm, f)
		})
	}
}

// onBob mounts a handler that does something within Iterate when it comes to
// the session of bob.
func (a *app) onBob(path string, do func(ctx context.Context) error) {
	a.on(path, func(ctx context.Context) error {
		return a.sm.Iterate(ctx, func(ctx context.Context) error {
			if a.sm.GetString(ctx, "user") != "bob" {
				return nil
			}
			return do(ctx)
		})
	})
}

func TestCurrentWithinIterateIsTheSessionIterated(t *testing.T) {
	iterating(t, func(t *testing.T, a *app) {
		found := map[string]string{}
		a.on("/who", func(ctx context.Context) error {
			return a.sm.Iterate(ctx, func(ctx context.Context) error {
				s, ok := a.guard.Current(ctx)
				require.Equal(t, a.sm.GetString(ctx, "user") != "", ok, "an anonymous session is nobody's, whoever iterates")
				found[s.User] = s.ID
				list, err := a.guard.Sessions(ctx)
				if !ok {
					require.ErrorIs(t, err, scsguard.ErrNotLoggedIn)
					return nil
				}
				require.NoError(t, err)
				require.Len(t, list, 1)
				require.Equal(t, s.ID, list[0].ID)
				return nil
			})
		})
		admin, bob := a.browser(), a.browser()
		a.browser().get("/put?k=cart&v=book")
		want := map[string]string{"": "", "admin": admin.login(t, "admin"), "bob": bob.login(t, "bob")}
		require.Equal(t, 200, admin.get("/who").Code)
		require.Equal(t, want, found)
	})
}

func TestExtendAndRecordWithinIterateActOnTheSessionIterated(t *testing.T) {
	iterating(t, func(t *testing.T, a *app) {
		a.onBob("/extend-bob", func(ctx context.Context) error {
			if _, err := a.guard.Extend(ctx); err != nil {
				return err
			}
			return a.guard.Record(ctx, scsguard.Event{Kind: "notice"})
		})
		admin, bob := a.browser(), a.browser()
		admin.login(t, "admin")
		session := bob.login(t, "bob")
		time.Sleep(idle - time.Minute)
		require.Equal(t, 200, admin.get("/extend-bob").Code)
		time.Sleep(idle - time.Minute)
		require.Equal(t, "bob", bob.whoami(), "the extension was his")
		synctest.Wait()
		for _, kind := range []scsguard.EventKind{"notice", scsguard.EventExtend} {
			for _, e := range a.sink.events(t, kind) {
				if e.str("reason") == "activity" {
					continue
				}
				require.Equal(t, session, e.str("session"), kind)
				require.Equal(t, "bob", e.str("user"))
			}
		}
	})
}

func TestAChangeOfTokenWithinIterateLeavesTheRequestsOwnAlone(t *testing.T) {
	for name, c := range map[string]struct {
		verb func(a *app, ctx context.Context) error
		bob  string // what bob's browser is, which was told of no new token
		live int    // sessions of bob
	}{
		"Elevate":         {func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "root")) }, "401 ended", 1},
		"Reauthenticated": {func(a *app, ctx context.Context) error { return second(a.guard.Reauthenticated(ctx, scsguard.Full())) }, "401 ended", 1},
		"Login":           {func(a *app, ctx context.Context) error { return second(a.guard.Login(ctx, "carol")) }, "401 replaced", 0},
		"Logout":          {func(a *app, ctx context.Context) error { return a.guard.Logout(ctx) }, "401 ended_by_you", 0},
		"Destroy":         {func(a *app, ctx context.Context) error { return a.sm.Destroy(ctx) }, "401 ended", 0},
		"RenewToken, Commit": {func(a *app, ctx context.Context) error {
			if err := a.sm.RenewToken(ctx); err != nil {
				return err
			}
			_, _, err := a.sm.Commit(ctx)
			return err
		}, "401 ended", 0},
	} {
		t.Run(name, func(t *testing.T) {
			iterating(t, func(t *testing.T, a *app) {
				a.onBob("/bob", func(ctx context.Context) error { return c.verb(a, ctx) })
				admin, bob := a.browser(), a.browser()
				admin.login(t, "admin")
				session := bob.login(t, "bob")
				token := admin.token()
				res := admin.get("/bob")
				require.Equal(t, 200, res.Code, res.Body)
				require.Empty(t, res.Header.Values("Set-Cookie"))
				require.Equal(t, token, admin.token())
				require.Equal(t, "admin", admin.whoami(), "neither ended nor elevated")
				require.Len(t, a.live("admin"), 1)
				require.Len(t, a.live("bob"), c.live, "already now, and not when he comes back")
				require.Equal(t, c.bob, bob.whoami())
				require.Len(t, storeKeys(t, a.sm), 1+c.live+len(a.live("carol")), "no data without a session")
				synctest.Wait()
				if c.live == 0 {
					require.Contains(t, a.sink.endings(t), session+"/end")
				}
				require.Len(t, a.sink.endings(t), 1-c.live)
			})
		})
	}
}

// A job that an anonymous request starts: nothing of a login is its own.
func TestARenewalWithinIterateByAnAnonymousRequestLeavesNoCopy(t *testing.T) {
	iterating(t, func(t *testing.T, a *app) {
		a.onBob("/job", func(ctx context.Context) error {
			if err := a.sm.RenewToken(ctx); err != nil {
				return err
			}
			_, _, err := a.sm.Commit(ctx)
			return err
		})
		bob, job := a.browser(), a.browser()
		bob.login(t, "bob")
		require.Equal(t, 200, job.get("/job").Code)
		require.Equal(t, "401", job.whoami())
		require.Equal(t, "401 ended", bob.whoami())
		require.Empty(t, a.live("bob"))
		require.Empty(t, storeKeys(t, a.sm))
	})
}

func TestACommitWithinIterateWritesToNoSessionThatHasEndedOrMoved(t *testing.T) {
	for name, meanwhile := range map[string]string{"ended": "/logout", "destroyed": "/destroy", "moved": "/elevate?role=root"} {
		t.Run(name, func(t *testing.T) {
			iterating(t, func(t *testing.T, a *app) {
				admin, bob := a.browser(), a.browser()
				a.onBob("/late", func(ctx context.Context) error {
					require.Equal(t, 200, bob.get(meanwhile).Code)
					a.sm.Put(ctx, "late", "x")
					_, _, err := a.sm.Commit(ctx)
					return err
				})
				admin.login(t, "admin")
				bob.login(t, "bob")
				require.Equal(t, 200, admin.get("/late").Code)
				require.Equal(t, "admin", admin.whoami())
				require.Len(t, storeKeys(t, a.sm), 1+len(a.live("bob")), "nothing was written under a dead key")
				require.Empty(t, bob.get("/get?k=late").Body)
			})
		})
	}
}

func TestADeadlineSetWithinIterateIsThatOfTheSessionIterated(t *testing.T) {
	iterating(t, func(t *testing.T, a *app) {
		a.onBob("/tighten-bob", func(ctx context.Context) error {
			a.sm.SetDeadline(ctx, a.live("admin")[0].AbsoluteExpires.UTC())
			_, _, err := a.sm.Commit(ctx)
			return err
		})
		a.onBob("/end-bob", func(ctx context.Context) error {
			a.sm.SetDeadline(ctx, time.Now().Add(-time.Second))
			_, _, err := a.sm.Commit(ctx)
			return err
		})
		admin, bob := a.browser(), a.browser()
		admin.login(t, "admin")
		time.Sleep(10 * time.Minute)
		session := bob.login(t, "bob")
		want := a.live("admin")[0].AbsoluteExpires
		require.Equal(t, 200, admin.get("/tighten-bob").Code)
		require.True(t, want.Equal(a.live("bob")[0].AbsoluteExpires), "the deadline of the one who iterates counts like any other")
		require.True(t, want.Equal(a.live("admin")[0].AbsoluteExpires))
		require.Equal(t, "bob", bob.whoami())
		require.Equal(t, 200, admin.get("/end-bob").Code)
		require.Equal(t, "admin", admin.whoami())
		require.Equal(t, "401 ended", bob.whoami())
		synctest.Wait()
		require.Contains(t, a.sink.endings(t), session+"/end")
		require.Len(t, storeKeys(t, a.sm), 1)
	})
}

func TestIterateInsideARequestWithItsOwnSessionChangesThatSession(t *testing.T) {
	iterating(t, func(t *testing.T, a *app) {
		a.on("/all", func(ctx context.Context) error {
			return a.sm.Iterate(ctx, func(ctx context.Context) error {
				return a.guard.Logout(ctx)
			})
		})
		admin, bob := a.browser(), a.browser()
		admin.login(t, "admin")
		bob.login(t, "bob")
		a.browser().get("/put?k=cart&v=book")
		require.Equal(t, http.StatusOK, admin.get("/all").Code)
		for _, b := range []*browser{admin, bob} {
			requireAnonymous(t, b, "everybody was logged out, with the one who did it")
		}
		require.Len(t, storeKeys(t, a.sm), 1, "an anonymous session is nobody's to log out")
		synctest.Wait()
		require.Len(t, a.sink.endings(t), 2)
	})
}
