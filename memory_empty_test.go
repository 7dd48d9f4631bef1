package scsguard

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What is left after years cannot be seen from outside, and would only ever be
// noticed as a process that grows.
func TestAfterYearsNothingIsLeftInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		m := NewMemoryRegistry()
		random := rand.New(rand.NewPCG(1, 2))
		var used []Key
		fresh := func() Key {
			used = append(used, Key(fmt.Sprint(len(used))))
			return used[len(used)-1]
		}
		key := func() Key { // mostly one that is in use
			if len(used) == 0 || random.IntN(20) == 0 {
				return fresh()
			}
			return used[max(0, len(used)-1-random.IntN(40))]
		}
		external := func() string { return []string{"", "sid1", "sid2"}[random.IntN(3)] }
		user := func() string { return fmt.Sprint("user", random.IntN(5)) }
		for i := range 5000 {
			now := time.Now()
			switch random.IntN(9) {
			case 0, 1, 2:
				adm, err := m.Admit(ctx, Admission{
					Record: Record{
						Session: fmt.Sprint("S", i), User: user(), Key: fresh(), External: external(),
						Created: now, LastActivity: now, Idle: time.Hour, Absolute: now.Add(8 * time.Hour),
					},
					Limit: Limit{Max: 3, OnExceed: OnExceed(random.IntN(3))}, AuthenticatedAt: now, Browser: key(),
				})
				require.NoError(t, err)
				if random.IntN(3) > 0 && adm.Denied == "" { // else it is abandoned
					_, err := m.Settle(ctx, adm, random.IntN(4) > 0)
					require.NoError(t, err)
				}
			case 3:
				_, _, err := m.Move(ctx, key(), Rotation{To: fresh(), Owner: "request", At: now})
				require.NoError(t, err)
			case 4:
				_, _, err := m.Detach(ctx, key(), "request", time.Second)
				require.NoError(t, err)
			case 5:
				rec, _, err := m.End(ctx, Target{Key: key()}, Ending{Kind: EventLogout, Reason: EndUser, At: now})
				require.NoError(t, err)
				if random.IntN(2) == 0 {
					require.NoError(t, m.Confirm(ctx, rec))
				}
			case 6:
				_, _, err := m.End(ctx, Target{Key: key(), Session: fmt.Sprint("L", i)}, Ending{Kind: EventLogout, Reason: EndLost, At: now})
				require.NoError(t, err)
			case 7:
				_, err := m.Touch(ctx, key(), Activity{At: now, Idle: 30 * time.Minute})
				require.NoError(t, err)
			case 8:
				if random.IntN(20) == 0 {
					_, err := m.EndAll(ctx, Revocation{User: user(), External: external()})
					require.NoError(t, err)
				}
				time.Sleep(time.Minute)
			}
		}
		counted := func() (users, entries, queued, places int) {
			for i := range m.users {
				users, queued = users+len(m.users[i].users), queued+len(m.users[i].queue)+len(m.users[i].absent)
				entries += len(m.keys[i].entries)
				for _, u := range m.users[i].users {
					places += len(u.sessions)
				}
			}
			return users, entries, queued, places
		}
		_, entries, _, places := counted()
		require.Greater(t, entries, 100)
		require.Greater(t, places, 5)
		require.NotEmpty(t, m.externals)
		require.NotEmpty(t, m.closed)
		for range 30 { // the endings that nobody confirms are given up after their retention
			time.Sleep(14 * 24 * time.Hour)
			due, err := m.Due(ctx, 10_000)
			require.NoError(t, err)
			for _, rec := range due {
				_, _, err := m.End(ctx, Target{Key: rec.Key, IfDue: true}, Ending{})
				require.NoError(t, err)
			}
		}
		users, entries, queued, places := counted()
		require.Zero(t, users)
		require.Zero(t, entries)
		require.Zero(t, queued)
		require.Zero(t, places)
		require.Empty(t, m.externals)
		require.Empty(t, m.closed)
	})
}
