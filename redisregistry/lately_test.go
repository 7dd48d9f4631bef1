package redisregistry_test

import (
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// overdue logs somebody in whose time is over.
func overdue(t *testing.T, reg *redisregistry.Registry, user string) scsguard.Record {
	t.Helper()
	rec := begin(t, reg, user)
	_, err := reg.Touch(ctx, rec.Key, scsguard.Activity{Absolute: time.Now().Add(-time.Second)})
	require.NoError(t, err)
	return rec
}

// A sweep does not read again what it has read a moment ago, and another process may
// have been there meanwhile.
func TestASweepOverwritesNothingThatHasChangedSinceItHasLooked(t *testing.T) {
	t.Parallel()
	pool, prefix := redistest.Start(t).Pool(), emptyPrefix()
	sweeping, other := redisregistry.New(pool, prefix), redisregistry.New(pool, prefix)
	mine, theirs := overdue(t, other, "alice"), overdue(t, other, "bob")
	due, err := sweeping.Due(ctx, 10)
	require.NoError(t, err)
	require.Len(t, due, 2)

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

// Whoever ends what he has leased need not schedule it once more; but the ending has to
// be remembered for as long as he says.
func TestTheEntryOfAnEndingLivesAsLongAsItsRecord(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg, c := redisregistry.New(server.Pool(), emptyPrefix()), dial(t, server)
	rec := overdue(t, reg, "alice")
	due, err := reg.Due(ctx, 10)
	require.NoError(t, err)
	require.Len(t, due, 1)
	ended, err := reg.EndDue(ctx, []scsguard.Key{rec.Key}, scsguard.Ending{Keep: 90 * 24 * time.Hour})
	require.NoError(t, err)
	require.Len(t, ended, 1)
	var lives []int64
	for _, pattern := range []string{"*{due:*", "{*}:g:*"} {
		names, err := redis.Strings(c.Do("KEYS", pattern))
		require.NoError(t, err)
		require.Len(t, names, 1)
		ttl, err := redis.Int64(c.Do("PTTL", names[0]))
		require.NoError(t, err)
		lives = append(lives, ttl)
	}
	require.GreaterOrEqual(t, lives[0], lives[1])
}
