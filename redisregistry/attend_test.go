package redisregistry_test

import (
	"context"
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
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
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

// wrong puts a key of another type in the place of one.
func wrong(t *testing.T, c redis.Conn, pattern string) string {
	t.Helper()
	names, err := redis.Strings(c.Do("KEYS", pattern))
	require.NoError(t, err)
	require.Len(t, names, 1, pattern)
	kind, err := redis.String(c.Do("TYPE", names[0]))
	require.NoError(t, err)
	command := []any{"SET", names[0], "something else", "PX", 100_000}
	if kind == "string" {
		_, err = c.Do("DEL", names[0])
		require.NoError(t, err)
		_, err = c.Do("HSET", names[0], "something", "else")
		require.NoError(t, err)
		command = []any{"PEXPIRE", names[0], 100_000}
	}
	_, err = c.Do(command[0].(string), command[1:]...)
	require.NoError(t, err)
	return names[0]
}

func due(t *testing.T, reg *redisregistry.Registry, user string) scsguard.Record {
	t.Helper()
	rec := begin(t, reg, user)
	_, err := reg.Touch(ctx, rec.Key, scsguard.Activity{Absolute: time.Now().Add(-time.Second)})
	require.NoError(t, err)
	return rec
}

// An end of all that cannot be completed comes again and again.
func TestAnEndOfAllThatRedisRefusesKeepsASweepFromNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	prefix := emptyPrefix()
	reg := redisregistry.New(server.Pool(), prefix)
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	bad := begin(t, reg, "alice")
	name := wrong(t, c, "*"+string(bad.Key)+"}:g:*")
	_, err = reg.EndAll(ctx, scsguard.Revocation{User: "alice", Ending: ending(scsguard.EndRevoked)})
	require.ErrorContains(t, err, "WRONGTYPE")
	_, err = c.Do("DEL", name)
	require.NoError(t, err)
	name = wrong(t, c, "*{user:*")
	const n = 40
	for i := range n {
		due(t, reg, fmt.Sprint("user", i))
	}
	looked(t, c)
	found := make(map[string]bool)
	for range 2 {
		list, err := reg.Due(ctx, 20)
		require.NoError(t, err)
		require.Len(t, list, 20, "there are more, whatever else has its turn")
		for _, rec := range list {
			found[rec.Session] = true
		}
	}
	list, err := reg.Due(ctx, 20)
	require.NoError(t, err)
	require.Len(t, list, 1)
	found[list[0].Session] = true
	require.Len(t, found, n+1, "those who are due, and the one whose record is gone")
	looked(t, c)
	_, err = c.Do("DEL", name)
	require.NoError(t, err)
}

func TestAPartOfTheDueEntriesThatRedisRefusesKeepsASweepFromNoOther(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool(), emptyPrefix())
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
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
	list, err := reg.Due(ctx, 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, want.Session, list[0].Session)
	_, err = reg.Due(ctx, 10)
	require.ErrorContains(t, err, "WRONGTYPE")
}

// What is wrong with the index of a user is no reason to keep his endings from the
// trail, nor those of others in the index.
func TestAnIndexThatRedisRefusesKeepsNoEndingBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool(), emptyPrefix())
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	alice := begin(t, reg, "alice")
	name := wrong(t, c, "*{user:*")
	_, ended, err := reg.End(ctx, scsguard.Target{Key: alice.Key}, ending(scsguard.EndUser))
	require.NoError(t, err)
	require.True(t, ended)
	looked(t, c)
	list, err := reg.Due(ctx, 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, alice.Session, list[0].Session)

	_, err = c.Do("DEL", name)
	require.NoError(t, err)
	keys := []scsguard.Key{due(t, reg, "alice").Key}
	name = wrong(t, c, "*{user:*")
	for i := range 9 {
		keys = append(keys, due(t, reg, fmt.Sprint("user", i)).Key)
	}
	over, err := reg.EndDue(ctx, keys, ending(""))
	require.NoError(t, err)
	require.Len(t, over, len(keys))
	_, err = c.Do("DEL", name)
	require.NoError(t, err)
	requireNoPlaces(t, server.Pool())
}

// Nobody lives on because Redis refuses to end somebody else; and he ends when it does
// not any more.
func TestAnEndOfAllEndsAllButThoseThatRedisRefusesAndThemLater(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	const n = 40
	for name, rev := range map[string]scsguard.Revocation{
		"everyone": {Everyone: true},
		"user":     {User: "alice"},
		"external": {External: "sid"},
	} {
		prefix := emptyPrefix()
		reg := redisregistry.New(server.Pool(), prefix)
		var bad scsguard.Record
		for i := range n {
			if rec := begin(t, reg, "alice"); i == n/2 {
				bad = rec
			}
		}
		names, err := redis.Strings(c.Do("KEYS", "*"+string(bad.Key)+"}:g:*"))
		require.NoError(t, err)
		require.Len(t, names, 1)
		_, err = c.Do("RENAME", names[0], "away")
		require.NoError(t, err)
		_, err = c.Do("HSET", names[0], "something", "else")
		require.NoError(t, err)

		rev.Ending = ending(scsguard.EndRevoked)
		out, err := reg.EndAll(ctx, rev)
		require.ErrorContains(t, err, "WRONGTYPE", name)
		require.Len(t, out.Ended, n-1, name)
		require.Equal(t, n-1, out.Total, name)
		require.NoError(t, reg.ConfirmAll(ctx, out.Ended))

		looked(t, c)
		list, err := reg.Due(ctx, 100)
		require.ErrorContains(t, err, "WRONGTYPE", name)
		require.Empty(t, list, name)
		_, err = c.Do("RENAME", "away", names[0])
		require.NoError(t, err)
		looked(t, c)
		list, err = reg.Due(ctx, 100)
		require.NoError(t, err)
		require.Len(t, list, 1, name)
		require.Equal(t, bad.Session, list[0].Session, name)
		require.Equal(t, scsguard.EndRevoked, list[0].Ending.Reason, name)
		require.NoError(t, reg.ConfirmAll(ctx, list))
		looked(t, c)
		list, err = reg.Due(ctx, 100)
		require.NoError(t, err)
		require.Empty(t, list, name)
		left, err := redis.Int(c.Do("EVAL", "return #redis.call('KEYS', ARGV[1])", 0, "*{due:*"))
		require.NoError(t, err)
		require.Zero(t, left, name)
	}
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
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	rec := begin(t, reg, "alice")
	names, err := redis.Strings(c.Do("KEYS", "*"+string(rec.Key)+"}:g:*"))
	require.NoError(t, err)
	_, err = c.Do("SETRANGE", names[0], 0, string([]byte{byte(scsguard.StateEnded) + 1}))
	require.NoError(t, err)
	now, err := reg.Get(ctx, rec.Key)
	require.NoError(t, err)
	require.Equal(t, scsguard.StateEnded, now.State)
	looked(t, c)
	list, err := reg.Due(ctx, 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, scsguard.EndInvalid, list[0].Ending.Reason)
	require.Equal(t, rec.Session, list[0].Session)
}

// Whoever may publish can say anything. That a session has ended must at least be what
// the record in the message says.
func TestAMessageOfASessionThatLivesEndsNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool())
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	lives, ends := begin(t, reg, "alice"), begin(t, reg, "alice")
	watching, stop := context.WithCancel(ctx)
	defer stop()
	endings, err := reg.Watch(watching)
	require.NoError(t, err)
	raw, err := redis.String(c.Do("GET", "{scs:session:"+string(lives.Key)+"}:g:"))
	require.NoError(t, err)
	for _, message := range []string{fmt.Sprintf("%d:%s%s", len(lives.Key), lives.Key, raw), "", ":", "-1:x", "9:x", "1:x", "0:" + raw} {
		heard, err := redis.Int(c.Do("PUBLISH", "scsguard::ended", message))
		require.NoError(t, err)
		require.Equal(t, 1, heard)
	}
	_, _, err = reg.End(ctx, scsguard.Target{Key: ends.Key}, ending(scsguard.EndUser))
	require.NoError(t, err)
	require.Equal(t, ends.Session, (<-endings).Session, "what came before ended nothing")
	now, err := reg.Get(ctx, lives.Key)
	require.NoError(t, err)
	require.Equal(t, scsguard.StateLive, now.State)
}

// A session that proves again who its user is goes on without a login, for years if he
// does so often enough. Whoever ends all of the user has to find it.
func TestASessionIsFoundAsLongAsItLives(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool())
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	rec := begin(t, reg, "alice")
	for _, name := range []string{"*{user:*", "*{external:*", "*{due:*"} {
		_, err := c.Do("EVAL", "return redis.call('PEXPIRE', redis.call('KEYS', ARGV[1])[1], 60000)", 0, name) // it began long ago
		require.NoError(t, err)
	}
	won, rec, err := reg.Move(ctx, rec.Key, scsguard.Rotation{To: newKey(), At: time.Now(), Absolute: time.Now().Add(30 * 24 * time.Hour),
		Auth: &scsguard.Authentication{Time: time.Now(), Full: true}})
	require.NoError(t, err)
	require.True(t, won)
	for _, name := range []string{"*{user:*", "*{external:*", "*{due:*"} {
		left, err := redis.Int64(c.Do("EVAL", "return redis.call('PTTL', redis.call('KEYS', ARGV[1])[1])", 0, name))
		require.NoError(t, err)
		require.Greater(t, time.Duration(left)*time.Millisecond, time.Until(rec.Absolute), name)
	}
}

// A sweep completes an EndAll whose process died, after another one has succeeded. What
// the later one refuses stays refused.
func TestAnOldEndOfAllDoesNotTakeANewerOneBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	for name, rev := range map[string]scsguard.Revocation{
		"everyone": {Everyone: true},
		"user":     {User: "alice"},
		"external": {External: "sid"},
	} {
		prefix := emptyPrefix()
		reg := redisregistry.New(server.Pool(), prefix)
		begin(t, reg, "alice")
		rev.Ending = ending(scsguard.EndRevoked)
		m := &mortal{pool: server.Pool(), n: 2, served: true} // it has said what it is about to do
		_, err := redisregistry.New(m, prefix).EndAll(ctx, rev)
		require.ErrorIs(t, err, errDead, name)
		time.Sleep(20 * time.Millisecond)
		between := admission("alice", scsguard.Limit{})
		between.AuthenticatedAt = time.Now()
		time.Sleep(20 * time.Millisecond)
		_, err = reg.EndAll(ctx, rev)
		require.NoError(t, err)

		looked(t, c)
		_, err = reg.Due(ctx, 10)
		require.NoError(t, err)
		adm, err := reg.Admit(ctx, between)
		require.NoError(t, err)
		require.Equal(t, scsguard.DeniedRevoked, adm.Denied, name)
		between.AuthenticatedAt = time.Now().Add(time.Second)
		adm, err = reg.Admit(ctx, between)
		require.NoError(t, err)
		require.Empty(t, adm.Denied, name)
	}
}

// A session that ends while it moves leaves nothing where it was going to.
func TestAMoveThatLosesLeavesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	healthy := redisregistry.New(server.Pool())
	rec, to := begin(t, healthy, "alice"), newKey()
	waiting := "{scs:session:" + string(to) + "}:g:"
	ended := false
	m := &mortal{pool: server.Pool(), n: 1 << 40, after: func(string) {
		if there, err := redis.Bool(c.Do("EXISTS", waiting)); err == nil && there && !ended {
			_, ended, err = healthy.End(ctx, scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser))
			require.NoError(t, err)
			require.True(t, ended)
		}
	}}
	won, now, err := redisregistry.New(m).Move(ctx, rec.Key, scsguard.Rotation{To: to, At: time.Now()})
	require.NoError(t, err)
	require.False(t, won)
	require.True(t, ended)
	require.Equal(t, scsguard.StateEnded, now.State)
	there, err := redis.Bool(c.Do("EXISTS", waiting))
	require.NoError(t, err)
	require.False(t, there, "the record that waited")
	entries, err := redis.Int(c.Do("EVAL", "local n = 0 for _, k in ipairs(redis.call('KEYS', '*{due:*')) do n = n + redis.call('ZCARD', k) end return n", 0))
	require.NoError(t, err)
	require.Equal(t, 1, entries, "that of the ending, which nobody has confirmed")
}

// A failover of the slot of the new key may lose what waited there, after the old one said
// that the session has moved.
func TestAMoveWritesAgainWhatWasLostOfIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	healthy := redisregistry.New(server.Pool())
	rec, to := begin(t, healthy, "alice"), newKey()
	lost := false
	m := &mortal{pool: server.Pool(), n: 1 << 40, after: func(string) {
		if old, err := healthy.Get(ctx, rec.Key); !lost && err == nil && old.State == scsguard.StateMoved {
			lost, err = redis.Bool(c.Do("DEL", "{scs:session:"+string(to)+"}:g:"))
			require.NoError(t, err)
			require.True(t, lost)
		}
	}}
	won, _, err := redisregistry.New(m).Move(ctx, rec.Key, scsguard.Rotation{To: to, At: time.Now()})
	require.NoError(t, err)
	require.True(t, won)
	require.True(t, lost)
	now, err := healthy.Get(ctx, to)
	require.NoError(t, err)
	require.Equal(t, scsguard.StateLive, now.State)
	require.Equal(t, rec.Session, now.Session)
}
