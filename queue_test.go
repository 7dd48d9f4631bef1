package scsguard_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Hundreds of logins of one user at once, each of which deals with all others, are
// more than a registry on the network can bear.
func TestLoginsOfOneUserWaitForEachOtherAndNotForALoginThatHangs(t *testing.T) {
	sm := newManager()
	steps, withSteps := stepped(sm)
	queues := func(cfg *scsguard.Config) { cfg.Registry = queuingRegistry{cfg.Registry} }
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		slow := time.Duration(0)
		var everyTime func()
		everyTime = func() {
			steps.before("settle", everyTime)
			time.Sleep(slow)
		}
		everyTime()
		crowd := func(users ...string) time.Duration {
			begun := time.Now()
			var group sync.WaitGroup
			for _, user := range users {
				group.Go(func() { a.browser().login(t, user) })
			}
			group.Wait()
			return time.Since(begun)
		}
		slow = 100 * time.Millisecond
		require.Equal(t, 500*time.Millisecond, crowd("alice", "alice", "alice", "alice", "alice"))
		require.Equal(t, 100*time.Millisecond, crowd("bob", "carol", "dave"), "other users do not wait")
		slow = 1900 * time.Millisecond
		require.Equal(t, 3900*time.Millisecond, crowd("alice", "alice", "alice", "alice"), "whoever has waited for as long as a call may take goes on")
	}, withSteps, queues)
}

type queuingRegistry struct{ scsguard.Registry }

func (r queuingRegistry) Namespace(name string) scsguard.Registry {
	return queuingRegistry{r.Registry.Namespace(name)}
}

func (r queuingRegistry) QueueLogins() bool { return true }
