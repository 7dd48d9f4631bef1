package scsguard_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
)

// A store that gives one session the data of another, or a cache before it that does,
// or somebody who writes to it.
func TestNobodySeesTheDataOfAnotherSessionThatTheStoreGivesHim(t *testing.T) {
	for name, read := range map[string]func(a *app, alice *browser) string{
		"Protect": func(a *app, alice *browser) string { return alice.get("/get?k=user").Body },
		"a bare Load": func(a *app, alice *browser) string {
			ctx, err := a.sm.Load(context.Background(), alice.token())
			require.NoError(a.t, err)
			return a.sm.GetString(ctx, "user")
		},
		"MergeSession": func(a *app, alice *browser) string {
			a.on("/merge", func(ctx context.Context) error { return a.sm.MergeSession(ctx, alice.token()) })
			guest := a.browser()
			require.Equal(a.t, 200, guest.get("/put?k=colour&v=red").Code)
			require.Equal(a.t, 200, guest.get("/merge").Code)
			return guest.get("/get?k=user").Body
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				alice, bob := a.browser(), a.browser()
				session, other := alice.login(t, "alice"), bob.login(t, "bob")
				require.NoError(t, a.guard.Store().Commit(alice.token(), storeKeys(t, a.sm)[bob.token()], time.Now().Add(time.Hour)))

				require.Empty(t, read(a, alice))
				require.Equal(t, "401", alice.whoami()[:3])
				synctest.Wait()
				ends := a.sink.endings(t)
				require.Len(t, ends, 1)
				require.Equal(t, "lost", ends[session+"/end"].str("reason"))
				require.Equal(t, "bob", bob.whoami()[:3])
				require.Equal(t, other, a.live("bob")[0].ID)
			})
		})
	}
}

func TestAnIterationLeavesOutASessionThatHasTheDataOfAnother(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		alice, bob := a.browser(), a.browser()
		alice.login(t, "alice")
		bob.login(t, "bob")
		require.NoError(t, a.guard.Store().Commit(alice.token(), storeKeys(t, a.sm)[bob.token()], time.Now().Add(time.Hour)))
		all, err := a.sm.Store.(scs.IterableStore).All()
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Contains(t, all, bob.token())
	})
}
