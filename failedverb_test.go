package scsguard_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// What a verb that fails leaves: everything as it was, also what other calls in
// the same request did before.

func TestALoginThatFailsAfterARenewalLeavesTheRenewedSession(t *testing.T) {
	for _, failing := range []string{"trail", "settle"} {
		t.Run(failing, func(t *testing.T) {
			sm := newManager()
			s, change := stepped(sm)
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				a.on("/both", func(ctx context.Context) error {
					if err := a.sm.RenewToken(ctx); err != nil {
						return err
					}
					s.fail(failing)
					if failing == "trail" {
						a.sink.fail(errDown)
					}
					require.ErrorIs(t, second(a.guard.Login(ctx, "alice")), scsguard.ErrUnavailable)
					s.fail()
					a.sink.fail(nil)
					return nil
				})
				b := a.browser()
				b.login(t, "alice")
				require.Equal(t, 200, b.get("/both").Code)
				require.Equal(t, "alice", b.whoami())
			}, change)
		})
	}
}

func TestWhatAnAnonymousVisitorHadSurvivesALoginThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		tries int
		renew bool
		cart  bool
		fail  string
	}{
		"denied after a renewal":             {1, true, true, ""},
		"denied after a renewal, no session": {1, true, false, ""},
		"denied twice, no session":           {2, false, false, ""},
		"not in the trail, no session":       {1, false, false, "trail"},
		"not in the trail after a renewal":   {1, true, true, "trail"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.on("/try", func(ctx context.Context) error {
					if c.renew {
						if err := a.sm.RenewToken(ctx); err != nil {
							return err
						}
					}
					for range c.tries {
						if c.fail == "trail" {
							a.sink.fail(errDown)
						}
						require.Error(t, second(a.guard.Login(ctx, "alice")))
						a.sink.fail(nil)
					}
					a.sm.Put(ctx, "flash", "try again")
					return nil
				})
				if c.fail == "" {
					a.browser().login(t, "alice")
				}
				b := a.browser()
				if c.cart {
					b.get("/put?k=cart&v=book")
				}
				require.Equal(t, 200, b.get("/try").Code)
				require.Equal(t, "try again", b.get("/get?k=flash").Body)
				if c.cart {
					require.Equal(t, "book", b.get("/get?k=cart").Body)
				}
			}, limit(1, scsguard.Deny))
		})
	}
}

func TestAVerbThatFailsAfterOneThatSucceededLosesNoCookie(t *testing.T) {
	for name, c := range map[string]struct {
		login         bool
		first, second func(a *app, ctx context.Context) error
	}{
		"Login, Elevate": {false,
			func(a *app, ctx context.Context) error { return second(a.guard.Login(ctx, "alice")) },
			func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) }},
		"Elevate, Reauthenticated": {true,
			func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) },
			func(a *app, ctx context.Context) error { return second(a.guard.Reauthenticated(ctx)) }},
		"RenewToken, Elevate": {true,
			func(a *app, ctx context.Context) error { return a.sm.RenewToken(ctx) },
			func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) }},
	} {
		for _, failing := range []string{"commit", "trail", "move"} {
			t.Run(name+" without "+failing, func(t *testing.T) {
				sm := newManager()
				s, change := stepped(sm)
				bubbleOn(t, sm, func(t *testing.T, a *app) {
					a.on("/both", func(ctx context.Context) error {
						if err := c.first(a, ctx); err != nil {
							return err
						}
						if name == "RenewToken, Elevate" {
							if _, _, err := a.sm.Commit(ctx); err != nil {
								return err
							}
						}
						s.fail(failing)
						if failing == "trail" {
							a.sink.fail(errDown)
						}
						require.ErrorIs(t, c.second(a, ctx), scsguard.ErrUnavailable)
						s.fail()
						a.sink.fail(nil)
						return nil
					})
					b := a.browser()
					if c.login {
						b.login(t, "alice")
					}
					require.Equal(t, 200, b.get("/both").Code)
					time.Sleep(time.Minute)
					require.Len(t, a.live("alice"), 1)
					require.Contains(t, b.whoami(), "alice")
				}, change)
			})
		}
	}
}
