package scsguard_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// memory is a registry in memory, called without a guard.
type memory struct {
	*scsguard.MemoryRegistry
	t *testing.T
}

func inMemory(t *testing.T, f func(*testing.T, memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, memory{scsguard.NewMemoryRegistry(), t}) })
}

// admit asks for a place as a login does that was authenticated just now.
func (m memory) admit(user, session string, change ...func(*scsguard.Admission)) scsguard.Admitted {
	m.t.Helper()
	now := time.Now()
	a := scsguard.Admission{
		Record: scsguard.Record{
			Session: session, User: user, Key: scsguard.Key("key of " + session), Created: now, LastActivity: now, Idle: idle, Absolute: now.Add(absolute),
		},
		AuthenticatedAt: now, Retention: 7 * 24 * time.Hour,
	}
	for _, f := range change {
		f(&a)
	}
	adm, err := m.Admit(context.Background(), a)
	require.NoError(m.t, err)
	return adm
}

func (m memory) login(user, session string, change ...func(*scsguard.Admission)) scsguard.Record {
	m.t.Helper()
	adm := m.admit(user, session, change...)
	require.Empty(m.t, adm.Denied)
	settled, err := m.Settle(context.Background(), adm, true)
	require.NoError(m.t, err)
	require.True(m.t, settled.Live)
	for _, rec := range settled.Ended {
		require.NoError(m.t, m.Confirm(context.Background(), rec))
	}
	return settled.Record
}

// end ends a session and confirms that the trail has it.
func (m memory) end(target scsguard.Target, keep time.Duration) {
	m.t.Helper()
	rec, _, err := m.End(context.Background(), target, scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndUser, At: time.Now(), Keep: keep})
	require.NoError(m.t, err)
	require.NoError(m.t, m.Confirm(context.Background(), rec))
}

func (m memory) endAll(r scsguard.Revocation) {
	m.t.Helper()
	_, err := m.EndAll(context.Background(), r)
	require.NoError(m.t, err)
}

// sweep does what a guard's sweep does.
func (m memory) sweep() {
	m.t.Helper()
	due, err := m.Due(context.Background(), 1000)
	require.NoError(m.t, err)
	for _, rec := range due {
		if rec.State != scsguard.StateEnded {
			rec, _, err = m.End(context.Background(), scsguard.Target{Key: rec.Key, IfDue: true}, scsguard.Ending{})
			require.NoError(m.t, err)
		}
		require.NoError(m.t, m.Confirm(context.Background(), rec))
	}
}

func (m memory) state(key scsguard.Key) scsguard.State {
	m.t.Helper()
	rec, err := m.Get(context.Background(), key)
	require.NoError(m.t, err)
	return rec.State
}

func authenticated(at time.Time) func(*scsguard.Admission) {
	return func(a *scsguard.Admission) { a.AuthenticatedAt = at }
}

func TestInMemoryATombstoneLastsAsLongAsPromisedAndNoLonger(t *testing.T) {
	const data = 24 * time.Hour // how long session data may live
	for name, c := range map[string]struct {
		dies  func(memory) scsguard.Key
		lasts time.Duration
	}{
		"ended before its deadline": {func(m memory) scsguard.Key {
			rec := m.login("alice", "A")
			m.end(scsguard.Target{Key: rec.Key}, 0)
			return rec.Key
		}, absolute},
		"ended where the data lives longer": {func(m memory) scsguard.Key {
			rec := m.login("alice", "A")
			m.end(scsguard.Target{Key: rec.Key}, data)
			return rec.Key
		}, data},
		"evicted where the data lives longer": {func(m memory) scsguard.Key {
			rec := m.login("alice", "A")
			m.login("alice", "B", func(a *scsguard.Admission) {
				a.By.Keep, a.Limit = data, scsguard.Limit{Max: 1, OnExceed: scsguard.EvictOldest}
			})
			return rec.Key
		}, data},
		"ended by a guard that knows of no data": {func(m memory) scsguard.Key {
			rec := m.login("alice", "A", func(a *scsguard.Admission) { a.By.Keep = data })
			m.end(scsguard.Target{Key: rec.Key}, 0)
			return rec.Key
		}, data},
		"moved": {func(m memory) scsguard.Key {
			rec := m.login("alice", "A")
			won, _, err := m.Move(context.Background(), rec.Key, scsguard.Rotation{To: "new", At: time.Now()})
			require.NoError(m.t, err)
			require.True(m.t, won)
			return rec.Key
		}, absolute},
		"buried without having lived": {func(m memory) scsguard.Key {
			m.end(scsguard.Target{Key: "unknown"}, data)
			return "unknown"
		}, data},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, m memory) {
				key := c.dies(m)
				dead := m.state(key)
				time.Sleep(c.lasts + scsguard.TombstoneMargin - time.Nanosecond)
				m.sweep()
				require.Equal(t, dead, m.state(key), "a late request still finds it dead")
				time.Sleep(time.Nanosecond)
				m.sweep()
				require.Equal(t, scsguard.StateUnknown, m.state(key))
			})
		})
	}
}

func TestInMemoryAnEndAllIsRememberedFromThatMomentOn(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		m.login("alice", "A")
		time.Sleep(300 * 24 * time.Hour)
		m.sweep()
		proved := time.Now()
		time.Sleep(time.Second)
		m.endAll(scsguard.Revocation{User: "alice"})
		time.Sleep(scsguard.UserMemory - time.Nanosecond)
		m.sweep()
		require.Equal(t, scsguard.DeniedRevoked, m.admit("alice", "B", authenticated(proved)).Denied)
		time.Sleep(time.Nanosecond)
		m.sweep()
		require.Empty(t, m.admit("alice", "B", authenticated(proved)).Denied, "nothing is kept for ever")
	})
}

func TestInMemoryTheLastLoginIsRememberedFromThatMomentOn(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		m.login("alice", "A")
		time.Sleep(300 * 24 * time.Hour)
		m.sweep()
		second := m.login("alice", "B")
		time.Sleep(absolute)
		m.sweep()
		time.Sleep(scsguard.UserMemory - absolute - time.Nanosecond)
		m.sweep()
		adm := m.admit("alice", "C")
		require.True(t, second.Created.Equal(adm.LastLogin.Time))
	})
}

func TestInMemoryAnExternalIDThatWasEndedIsRememberedForAnHour(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		proved := time.Now()
		time.Sleep(time.Second)
		m.endAll(scsguard.Revocation{External: "sid"})
		late := func(a *scsguard.Admission) { a.AuthenticatedAt, a.Record.External = proved, "sid" }
		time.Sleep(scsguard.TombstoneMargin)
		m.sweep()
		require.Equal(t, scsguard.DeniedRevoked, m.admit("alice", "A", late).Denied)
		require.Equal(t, scsguard.StateUnknown, m.state("key of A"))
		require.Empty(t, m.admit("alice", "A").Denied, "the refused login has left nothing under its key")
		time.Sleep(time.Nanosecond)
		m.sweep()
		require.Empty(t, m.admit("alice", "B", late).Denied)
	})
}

func TestInMemoryARecordThatMakesNoSenseHoldsNoPlace(t *testing.T) {
	for name, spoil := range map[string]func(*scsguard.Record){
		"activity in the future":     func(r *scsguard.Record) { r.LastActivity = r.Created.Add(time.Hour) },
		"created in the future":      func(r *scsguard.Record) { r.Created = r.Created.Add(time.Hour) },
		"no idle limit":              func(r *scsguard.Record) { r.Idle = 0 },
		"over before it was created": func(r *scsguard.Record) { r.Absolute = r.Created },
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, m memory) {
				one := scsguard.Limit{Max: 1, OnExceed: scsguard.Deny}
				rec := m.login("alice", "A", func(a *scsguard.Admission) { a.Limit = one; spoil(&a.Record) })
				list, err := m.List(context.Background(), "alice")
				require.NoError(t, err)
				require.Empty(t, list)
				adm := m.admit("alice", "B", func(a *scsguard.Admission) { a.Limit = one })
				require.Empty(t, adm.Denied)
				require.Len(t, adm.Overdue, 1)
				require.Equal(t, scsguard.EndInvalid, adm.Overdue[0].Ending.Reason)
				require.Equal(t, scsguard.StateEnded, m.state(rec.Key))
			})
		})
	}
}

// The third login was admitted because the second, which it replaces, makes room.
// It counts on that room also when the second fails.
func TestInMemoryAVictimIsHandedDownToTheLoginThatCountsOnItsPlace(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		oldest := m.login("alice", "A")
		second := m.admit("alice", "B", func(a *scsguard.Admission) {
			a.Limit, a.Browser = scsguard.Limit{Max: 1, OnExceed: scsguard.EvictOldest}, "token"
		})
		third := m.admit("alice", "C", func(a *scsguard.Admission) {
			a.Limit, a.Browser = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny}, "token"
		})
		require.Empty(t, third.Denied)
		_, err := m.Settle(context.Background(), second, false)
		require.NoError(t, err)
		require.Equal(t, scsguard.StateLive, m.state(oldest.Key), "until then")
		settled, err := m.Settle(context.Background(), third, true)
		require.NoError(t, err)
		require.True(t, settled.Live)
		require.Len(t, settled.Ended, 1)
		require.Equal(t, "A", settled.Ended[0].Session)
		require.Equal(t, scsguard.EndEvicted, settled.Ended[0].Ending.Reason)
		require.Equal(t, "C", settled.Ended[0].Ending.Detail)
	})
}

func TestInMemoryNoNewDeadlineBringsBackWhatIsOver(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		rec := m.login("alice", "A", func(a *scsguard.Admission) { a.Record.Idle = absolute })
		reauth := func(to scsguard.Key) bool {
			won, _, err := m.Move(context.Background(), rec.Key, scsguard.Rotation{
				To: to, At: time.Now(), Absolute: time.Now().Add(absolute), Auth: &scsguard.Authentication{Time: time.Now(), Full: true}, Activity: time.Now(),
			})
			require.NoError(t, err)
			return won
		}
		time.Sleep(absolute)
		require.False(t, reauth("late"))
		require.Equal(t, scsguard.StateUnknown, m.state("late"))
		rec = m.login("alice", "B", func(a *scsguard.Admission) { a.Record.Idle = absolute })
		time.Sleep(absolute - time.Nanosecond)
		require.True(t, reauth("in time"))
	})
}

func TestInMemoryTheEndingOfALostSessionIsHandedOutUntilItIsConfirmed(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		rec, ended, err := m.End(context.Background(), scsguard.Target{Key: "lost", Session: "A"},
			scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndLost, At: time.Now(), Keep: 24 * time.Hour})
		require.NoError(t, err)
		require.True(t, ended)
		due := func() []scsguard.Record {
			list, err := m.Due(context.Background(), 10)
			require.NoError(t, err)
			return list
		}
		require.Empty(t, due(), "whoever ended it is at it")
		for _, d := range []time.Duration{scsguard.Lease, time.Hour, 24*time.Hour - time.Hour - scsguard.Lease} {
			time.Sleep(d)
			require.Equal(t, []scsguard.Record{rec}, due())
		}
		require.NoError(t, m.Confirm(context.Background(), rec))
		time.Sleep(scsguard.Lease)
		require.Empty(t, due())
	})
}

// The sweep finds it, although nobody comes back and it was to be looked at
// later.
func TestASessionThatWasTightenedIsSweptAtItsNewLimit(t *testing.T) {
	var strict atomic.Bool
	bubble(t, func(t *testing.T, a *app) {
		start := time.Now()
		b := a.browser()
		session := b.login(t, "alice")
		time.Sleep(time.Minute)
		strict.Store(true)
		require.Equal(t, "alice", b.whoami())
		time.Sleep(5*time.Minute + 35*time.Second)
		synctest.Wait()
		end := a.sink.endings(t)[session+"/end"]
		require.Equal(t, "idle", end.str("reason"))
		require.Equal(t, stamp(start.Add(6*time.Minute)), end.str("due"))
	}, func(cfg *scsguard.Config) {
		cfg.Policy = func(context.Context, scsguard.Subject) scsguard.Policy {
			if strict.Load() {
				return scsguard.Policy{Timeouts: scsguard.Timeouts{Idle: 5 * time.Minute}}
			}
			return scsguard.Policy{}
		}
	})
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // what was shared and is no more goes after the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What a record holds may be a few bytes of a long header or body, which would be kept
// with them: an attacker could fill the memory with a thousand logins.
func TestInMemoryASessionKeepsNothingElseOfItsRequest(t *testing.T) {
	m := memory{scsguard.NewMemoryRegistry(), t}
	before := heapInUse()
	for i := range 64 {
		part := func() string { // of a megabyte
			whole := fmt.Sprintf("%d%s", i, strings.Repeat("x", 1<<20))
			return whole[:8]
		}
		m.login(part(), fmt.Sprint("S", i), func(a *scsguard.Admission) {
			a.Browser, a.Record.UserAgent, a.Record.Role = scsguard.Key(part()), part(), part()
			a.Record.Actor, a.Record.External, a.Record.Remember = part(), part(), part()
		})
		m.end(scsguard.Target{Key: scsguard.Key(part())}, 0)
		m.endAll(scsguard.Revocation{External: part()[1:]})
	}
	after := heapInUse()
	require.Less(t, after-min(before, after), uint64(16<<20))
	require.Equal(t, scsguard.StateLive, m.state("key of S63"))
}

// populate puts sessions into a registry as logins at another guard would.
func populate(t *testing.T, registry *scsguard.MemoryRegistry, n int) {
	t.Helper()
	m := memory{registry, t}
	for i := range n {
		m.login(fmt.Sprintf("someone%d", i), fmt.Sprintf("S%d", i))
	}
}
