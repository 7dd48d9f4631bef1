package redisregistry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// begin logs somebody in.
func begin(t *testing.T, reg *redisregistry.Registry, user string) scsguard.Record {
	t.Helper()
	adm, err := reg.Admit(ctx, admission(user, scsguard.Limit{}))
	require.NoError(t, err)
	s, err := reg.Settle(ctx, adm, true)
	require.NoError(t, err)
	require.True(t, s.Live)
	return s.Record
}

// looked makes all due entries those whose time has come.
func looked(t *testing.T, c redis.Conn) {
	t.Helper()
	_, err := c.Do("EVAL", `for _, k in ipairs(redis.call('KEYS', '*{due:*')) do
  if redis.call('TYPE', k).ok == 'zset' then
    for _, m in ipairs(redis.call('ZRANGE', k, 0, -1)) do redis.call('ZADD', k, 1, m) end
  end
end`, 0)
	require.NoError(t, err)
}

// Each session that lives comes to the sweep once in its idle time, and most have been
// used since.
func TestWhatASweepOnlyLooksAtCostsFewRoundTrips(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := dial(t, server)
	for name, prepare := range map[string]func(reg *redisregistry.Registry, rec scsguard.Record){
		"alive": func(*redisregistry.Registry, scsguard.Record) {},
		"ended by one who died": func(reg *redisregistry.Registry, rec scsguard.Record) {
			_, ended, err := reg.End(ctx, scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser))
			require.NoError(t, err)
			require.True(t, ended)
		},
	} {
		trips := make(map[int]int64)
		for _, n := range []int{20, 80} {
			w, prefix := &wire{}, emptyPrefix()
			reg, ours := redisregistry.New(w.pool(t, server), prefix), redisregistry.New(server.Pool(), prefix)
			for i := range n {
				prepare(ours, begin(t, ours, fmt.Sprint("user", i)))
			}
			looked(t, c)
			before := w.trips.Load()
			_, err := reg.Due(ctx, 100)
			require.NoError(t, err)
			trips[n] = w.trips.Load() - before
			list, err := reg.Due(ctx, 100)
			require.NoError(t, err)
			require.Empty(t, list, "they are looked at when their time comes")
		}
		t.Logf("%s: %v", name, trips)
		require.LessOrEqual(t, trips[80], trips[20]+2, name)
	}
}

// theKey is the only one that a pattern fits.
func theKey(t *testing.T, c redis.Conn, pattern string) string {
	t.Helper()
	names, err := redis.Strings(c.Do("KEYS", pattern))
	require.NoError(t, err)
	require.Len(t, names, 1, pattern)
	return names[0]
}

// wrong puts a key of another type in the place of one.
func wrong(t *testing.T, c redis.Conn, pattern string) string {
	t.Helper()
	name := theKey(t, c, pattern)
	kind, err := redis.String(c.Do("TYPE", name))
	require.NoError(t, err)
	command := []any{"SET", name, "something else", "PX", 100_000}
	if kind == "string" {
		_, err = c.Do("DEL", name)
		require.NoError(t, err)
		_, err = c.Do("HSET", name, "something", "else")
		require.NoError(t, err)
		command = []any{"PEXPIRE", name, 100_000}
	}
	_, err = c.Do(command[0].(string), command[1:]...)
	require.NoError(t, err)
	return name
}

// onlyDue is the only one that is handed out.
func onlyDue(t *testing.T, reg *redisregistry.Registry) scsguard.Record {
	t.Helper()
	list, err := reg.Due(ctx, 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

func due(t *testing.T, reg *redisregistry.Registry, user string) scsguard.Record {
	t.Helper()
	rec := begin(t, reg, user)
	_, err := reg.Touch(ctx, rec.Key, scsguard.Activity{Absolute: time.Now().Add(-time.Second)})
	require.NoError(t, err)
	return rec
}

func TestAPartOfTheDueEntriesThatRedisRefusesKeepsASweepFromNoOther(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool(), emptyPrefix())
	c := dial(t, server)
	want := due(t, reg, "alice")
	parts, err := redis.Strings(c.Do("KEYS", "*{due:*"))
	require.NoError(t, err)
	require.Len(t, parts, 1)
	head := parts[0][:len(parts[0])-len("}")]
	for head[len(head)-1] >= '0' && head[len(head)-1] <= '9' {
		head = head[:len(head)-1]
	}
	for i := range 16 {
		_, err := c.Do("SET", fmt.Sprintf("%s%d}", head, i), "something else", "NX", "PX", 100_000)
		require.NoError(t, err)
	}
	require.Equal(t, want.Session, onlyDue(t, reg).Session)
	_, err = reg.Due(ctx, 10)
	require.ErrorContains(t, err, "WRONGTYPE")
}

// What is wrong with the index of a user is no reason to keep his endings from the
// trail, nor those of others in the index.
func TestAnIndexThatRedisRefusesKeepsNoEndingBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool(), emptyPrefix())
	c := dial(t, server)
	alice := begin(t, reg, "alice")
	name := wrong(t, c, "*{user:*")
	_, ended, err := reg.End(ctx, scsguard.Target{Key: alice.Key}, ending(scsguard.EndUser))
	require.NoError(t, err)
	require.True(t, ended)
	looked(t, c)
	require.Equal(t, alice.Session, onlyDue(t, reg).Session)

	_, err = c.Do("DEL", name)
	require.NoError(t, err)
	keys := []scsguard.Key{due(t, reg, "alice").Key}
	name = wrong(t, c, "*{user:*")
	for i := range 9 {
		keys = append(keys, due(t, reg, fmt.Sprint("user", i)).Key)
	}
	_, err = c.Do("SCRIPT", "FLUSH") // the one that is refused is the first to be sent again
	require.NoError(t, err)
	over, err := reg.EndDue(ctx, keys, ending(""))
	require.NoError(t, err)
	require.Len(t, over, len(keys))
	_, err = c.Do("DEL", name)
	require.NoError(t, err)
	requireNoPlaces(t, server.Pool())
}

// A login that finds many sessions of its user that are over, or that has to end many,
// does so in the time of a call.
func TestALoginEndsManyInTheRoundTripsOfFew(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, of := range map[string]struct {
		limit scsguard.Limit
		most  int64
	}{
		"overdue": {scsguard.Limit{}, 2},
		"victims": {scsguard.Limit{Max: 1, OnExceed: scsguard.EvictOldest}, 40}, // some at a time
	} {
		trips := make(map[int]int64)
		for _, n := range []int{10, 90} {
			w, prefix := &wire{}, emptyPrefix()
			reg, ours := redisregistry.New(w.pool(t, server), prefix), redisregistry.New(server.Pool(), prefix)
			all := make([]scsguard.Record, n)
			for i := range all {
				all[i] = begin(t, ours, "alice")
			}
			for _, rec := range all {
				if name == "overdue" {
					_, err := ours.Touch(ctx, rec.Key, scsguard.Activity{Absolute: time.Now().Add(-time.Second)})
					require.NoError(t, err)
				}
			}
			before := w.trips.Load()
			adm, err := reg.Admit(ctx, admission("alice", of.limit))
			require.NoError(t, err)
			s, err := reg.Settle(ctx, adm, true)
			require.NoError(t, err)
			trips[n] = w.trips.Load() - before
			require.True(t, s.Live)
			require.Len(t, append(adm.Overdue, s.Ended...), n)
			live, err := ours.List(ctx, "alice")
			require.NoError(t, err)
			require.Len(t, live, 1)
		}
		t.Logf("%s: %v", name, trips)
		require.LessOrEqual(t, trips[90], trips[10]+of.most, name)
	}
}

// A later version may know states that this one does not. Nobody is served by such a
// record, and its end is told.
func TestARecordInAStateThatNobodyKnowsHasEnded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool(), emptyPrefix())
	c := dial(t, server)
	rec := begin(t, reg, "alice")
	names, err := redis.Strings(c.Do("KEYS", "*"+string(rec.Key)+"}:g:*"))
	require.NoError(t, err)
	_, err = c.Do("SETRANGE", names[0], 0, string([]byte{byte(scsguard.StateEnded) + 1}))
	require.NoError(t, err)
	now, err := reg.Get(ctx, rec.Key)
	require.NoError(t, err)
	require.Equal(t, scsguard.StateEnded, now.State)
	looked(t, c)
	lost := onlyDue(t, reg)
	require.Equal(t, scsguard.EndInvalid, lost.Ending.Reason)
	require.Equal(t, rec.Session, lost.Session)
}

// An ending waits for the trail as long as the retention says, and a confirmed one goes
// before that. Who confirmed it may have died before he said that nothing is left to do.
func TestAnEndingIsKeptForTheRetentionUntilItIsConfirmed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool())
	c := dial(t, server)
	rec := begin(t, reg, "alice")
	kept := func() time.Duration {
		ms, err := redis.Int64(c.Do("PTTL", "{scs:session:"+string(rec.Key)+"}:g:"))
		require.NoError(t, err)
		return time.Duration(ms) * time.Millisecond
	}
	const retention = 7 * 24 * time.Hour // see admission
	until := time.Until(rec.Absolute)
	require.InDelta(t, until+retention, kept(), float64(time.Minute))
	rec, ended, err := reg.End(ctx, scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser))
	require.NoError(t, err)
	require.True(t, ended)
	require.InDelta(t, until+retention, kept(), float64(time.Minute))

	parts, err := redis.Strings(c.Do("KEYS", "*{due:*"))
	require.NoError(t, err)
	require.Len(t, parts, 1)
	members, err := redis.Strings(c.Do("ZRANGE", parts[0], 0, -1))
	require.NoError(t, err)
	require.Len(t, members, 1)
	for _, confirm := range []func() error{
		func() error { return reg.ConfirmAll(ctx, []scsguard.Record{rec}) },
		func() error { return reg.ConfirmAll(ctx, []scsguard.Record{rec}) },
		func() error { return reg.Confirm(ctx, rec) },
	} {
		require.NoError(t, confirm())
		require.InDelta(t, until+scsguard.TombstoneMargin, kept(), float64(time.Minute))
		left, err := redis.Int(c.Do("ZCARD", parts[0]))
		require.NoError(t, err)
		require.Zero(t, left)
		_, err = c.Do("EVAL", "redis.call('ZADD', KEYS[1], 1, ARGV[1]) return redis.call('PEXPIRE', KEYS[1], 100000)", 1, parts[0], members[0])
		require.NoError(t, err)
	}
}

func TestASessionWhoseRecordIsLostHoldsNoPlaceAfterASweep(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool())
	c := dial(t, server)
	rec := begin(t, reg, "alice")
	_, err := c.Do("DEL", "{scs:session:"+string(rec.Key)+"}:g:")
	require.NoError(t, err)
	looked(t, c)
	require.Equal(t, scsguard.EndLost, onlyDue(t, reg).Ending.Reason)
	requireNoPlaces(t, server.Pool())
}

// A key of another type is nobody's session, whatever it begins with.
func TestAKeyOfAnotherTypeKeepsNobodyFromAllSessions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := redisregistry.NewStore(server.Pool())
	require.NoError(t, store.Commit("token", []byte("data"), time.Now().Add(time.Hour)))
	c := dial(t, server)
	_, err := c.Do("HSET", "scs:session:statistics", "of", "somebody")
	require.NoError(t, err)
	all, err := store.All()
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"token": []byte("data")}, all)
}
