package scsguard_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// What a user has proved decides what he may do (see RequireRecentLogin), so whoever
// sorts or changes a list that he was given must not change that.
func TestNobodyChangesWhatAUserHasProvedByAListThatHeWasGiven(t *testing.T) {
	forge := func(methods []string) {
		for i := range methods {
			methods[i] = "hwk"
		}
	}
	for name, c := range map[string]struct {
		change func(*scsguard.Config)
		use    func(a *app, ctx context.Context)
	}{
		"Session": {use: func(a *app, ctx context.Context) {
			s, ok := a.guard.Current(ctx)
			require.True(t, ok)
			forge(s.Methods)
		}},
		"Policy": {change: func(cfg *scsguard.Config) {
			cfg.Policy = func(_ context.Context, s scsguard.Subject) scsguard.Policy {
				forge(s.Methods)
				return scsguard.Policy{}
			}
		}},
		"OnEvent": {change: func(cfg *scsguard.Config) {
			cfg.OnEvent = func(_ context.Context, e scsguard.Event) { forge(e.AuthMethods) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.on("/in", func(ctx context.Context) error {
					return second(a.guard.Login(ctx, "alice", scsguard.Methods("pwd", "otp")))
				})
				a.on("/use", func(ctx context.Context) error {
					if c.use != nil {
						c.use(a, ctx)
					}
					return nil
				})
				b := a.browser()
				require.Equal(t, 200, b.get("/in").Code)
				require.Equal(t, 200, b.get("/use").Code)
				require.Equal(t, []string{"pwd", "otp"}, a.live("alice")[0].Methods)
			}, func(cfg *scsguard.Config) {
				if c.change != nil {
					c.change(cfg)
				}
			})
		})
	}
}
