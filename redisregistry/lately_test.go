package redisregistry_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// handedOut is a session whose time is over, and which a sweep is about to end.
func handedOut(t *testing.T, reg *redisregistry.Registry, user string) scsguard.Record {
	t.Helper()
	rec := due(t, reg, user)
	onlyDue(t, reg)
	return rec
}

// A sweep does not read again what it has read a moment ago, and another process may
// have been there meanwhile.
func TestASweepOverwritesNothingThatHasChangedSinceItHasLooked(t *testing.T) {
	t.Parallel()
	pool, prefix := redistest.Start(t).Pool(), emptyPrefix()
	sweeping, other := redisregistry.New(pool, prefix), redisregistry.New(pool, prefix)
	mine, theirs := due(t, other, "alice"), due(t, other, "bob")
	list, err := sweeping.Due(ctx, 10)
	require.NoError(t, err)
	require.Len(t, list, 2)

	_, won, err := other.End(ctx, scsguard.Target{Key: theirs.Key}, ending(scsguard.EndUser))
	require.NoError(t, err)
	require.True(t, won)
	ended, err := sweeping.EndDue(ctx, []scsguard.Key{mine.Key, theirs.Key}, scsguard.Ending{})
	require.NoError(t, err)
	require.Len(t, ended, 1)
	require.Equal(t, mine.Session, ended[0].Session)
	now, err := sweeping.Get(ctx, theirs.Key)
	require.NoError(t, err)
	require.Equal(t, scsguard.EndUser, now.Ending.Reason)

	_, _, err = other.End(ctx, scsguard.Target{Key: mine.Key}, ending(scsguard.EndReplaced)) // somebody has logged in over it
	require.NoError(t, err)
	require.NoError(t, sweeping.ConfirmAll(ctx, ended))
	now, err = sweeping.Get(ctx, mine.Key)
	require.NoError(t, err)
	require.True(t, now.Confirmed)
	require.False(t, now.ReplacedAt.IsZero(), "what was written beside it is still there")
}

// A visitor may come back in the moment in which a sweep has his session, or after one
// that could not end it.
func TestAnEndingIsConfirmedAlthoughASweepHasSeenTheSessionAlive(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg, c := redisregistry.New(server.Pool(), emptyPrefix()), dial(t, server)
	rec := handedOut(t, reg, "alice")
	dead, won, err := reg.End(ctx, scsguard.Target{Key: rec.Key, IfDue: true}, ending(""))
	require.NoError(t, err)
	require.True(t, won)
	require.NoError(t, reg.ConfirmAll(ctx, []scsguard.Record{dead}))
	now, err := reg.Get(ctx, rec.Key)
	require.NoError(t, err)
	require.True(t, now.Confirmed)
	left, err := redis.Strings(c.Do("KEYS", "*{due:*"))
	require.NoError(t, err)
	require.Empty(t, left, "nobody hands it out again")
}

// A failover in the middle of a sweep brings a session back that was ended in this
// process, and not by the sweep: the trail has that ending, and takes no other one.
func TestASweepGivesNoOtherEndingToASessionThatAFailoverBringsBack(t *testing.T) {
	t.Parallel()
	for by, end := range map[string]func(reg *redisregistry.Registry, rec scsguard.Record) error{
		"End": func(reg *redisregistry.Registry, rec scsguard.Record) error {
			_, _, err := reg.End(ctx, scsguard.Target{Key: rec.Key}, ending(scsguard.EndAdmin))
			return err
		},
		"EndAll": func(reg *redisregistry.Registry, rec scsguard.Record) error {
			_, err := reg.EndAll(ctx, scsguard.Revocation{User: rec.User, Ending: ending(scsguard.EndAdmin)})
			return err
		},
	} {
		t.Run(by, func(t *testing.T) {
			server, prefix := redistest.Start(t), emptyPrefix()
			reg, other, c := redisregistry.New(server.Pool(), prefix), redisregistry.New(server.Pool(), prefix), dial(t, server)
			rec := begin(t, reg, "alice")
			if by == "End" {
				rec = handedOut(t, reg, "bob")
			}
			record := theKey(t, c, "*"+string(rec.Key)+"}:g:*")
			alive, err := redis.Bytes(c.Do("GET", record))
			require.NoError(t, err)
			require.NoError(t, end(reg, rec))
			_, err = c.Do("SET", record, alive, "KEEPTTL")
			require.NoError(t, err)
			over, err := reg.EndDue(ctx, []scsguard.Key{rec.Key}, scsguard.Ending{})
			require.NoError(t, err)
			require.Empty(t, over)
			now, err := other.Get(ctx, rec.Key)
			require.NoError(t, err)
			require.Equal(t, scsguard.EndAdmin, now.Ending.Reason)
		})
	}
}

// What Redis refuses for one is found out when the others have ended already.
func TestASessionThatRedisRefusesInTheMiddleOfASweepKeepsNoEndingOfTheOthersBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg, c := redisregistry.New(server.Pool(), emptyPrefix()), dial(t, server)
	var keys []scsguard.Key
	for i := range 9 {
		keys = append(keys, due(t, reg, fmt.Sprint("user", i)).Key)
	}
	list, err := reg.Due(ctx, 100)
	require.NoError(t, err)
	require.Len(t, list, len(keys))
	wrong(t, c, "*"+string(keys[4])+"}:g:*")
	over, err := reg.EndDue(ctx, keys, ending(""))
	require.ErrorContains(t, err, "WRONGTYPE")
	require.Len(t, over, len(keys)-1)
}

// Whoever ends what he has leased need not schedule it once more; but the ending has to
// be remembered for as long as its record.
func TestTheEntryOfAnEndingLivesAsLongAsItsRecord(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for why, of := range map[string]struct{ entry, keep time.Duration }{
		"the ending is kept longer than the session was": {8 * day, 90 * day},
		"the session was scheduled long ago":             {time.Hour, time.Second},
	} {
		t.Run(why, func(t *testing.T) {
			server := redistest.Start(t)
			reg, c := redisregistry.New(server.Pool(), emptyPrefix()), dial(t, server)
			rec := due(t, reg, "alice")
			entries := theKey(t, c, "*{due:*")
			_, err := c.Do("PEXPIRE", entries, of.entry.Milliseconds())
			require.NoError(t, err)
			onlyDue(t, reg)
			ended, err := reg.EndDue(ctx, []scsguard.Key{rec.Key}, scsguard.Ending{Keep: of.keep})
			require.NoError(t, err)
			require.Len(t, ended, 1)
			entry, err := redis.Int64(c.Do("PTTL", entries))
			require.NoError(t, err)
			record, err := redis.Int64(c.Do("PTTL", theKey(t, c, "{*}:g:*")))
			require.NoError(t, err)
			require.GreaterOrEqual(t, entry, record)
		})
	}
}

// A sweep may have had much to do between Due and EndDue.
func TestAnEndingHasALeaseOfItsOwnHoweverLateItComes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg, c := redisregistry.New(server.Pool(), emptyPrefix()), dial(t, server)
	rec := handedOut(t, reg, "alice")
	time.Sleep(time.Second)
	before := time.Now()
	ended, err := reg.EndDue(ctx, []scsguard.Key{rec.Key}, scsguard.Ending{})
	require.NoError(t, err)
	require.Len(t, ended, 1)
	entries, err := redis.Int64Map(c.Do("ZRANGE", theKey(t, c, "*{due:*"), 0, -1, "WITHSCORES"))
	require.NoError(t, err)
	for _, until := range entries {
		require.GreaterOrEqual(t, time.UnixMilli(until).Sub(before), scsguard.Lease)
	}
}

// They share what has been read a moment ago.
func TestSweepsOfOneProcessEndEachSessionOnce(t *testing.T) {
	t.Parallel()
	const n = 120
	server := redistest.Start(t)
	reg, c := redisregistry.New(server.Pool(), emptyPrefix()), dial(t, server)
	for i := range n {
		due(t, reg, fmt.Sprint("user", i))
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	told := make(map[string]int)
	sweep := func() error {
		for {
			list, err := reg.Due(ctx, 7)
			if err != nil || len(list) == 0 {
				return err
			}
			keys := make([]scsguard.Key, len(list))
			for i, rec := range list {
				keys[i] = rec.Key
			}
			dead, err := reg.EndDue(ctx, append(keys, keys...), ending(""))
			if err != nil {
				return err
			}
			mu.Lock()
			for _, rec := range dead {
				told[rec.Session]++
			}
			mu.Unlock()
			if err := reg.ConfirmAll(ctx, append(dead, dead...)); err != nil {
				return err
			}
		}
	}
	for range 6 {
		all.Go(func() { assert.NoError(t, sweep()) })
	}
	all.Wait()
	require.Len(t, told, n)
	for session, times := range told {
		require.Equal(t, 1, times, session)
	}
	left, err := redis.Strings(c.Do("KEYS", "*{due:*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
