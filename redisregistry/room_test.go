package redisregistry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// How much room things take in Redis.

// While a login is in progress the index of its user says more than Redis keeps in one
// row. Redis never goes back to one by itself, and it takes half the memory.
func TestALoginLeavesTheIndexOfItsUserInOneRow(t *testing.T) {
	server := startRedis(t)
	pool := server.Pool()
	reg := redisregistry.New(pool)
	w := &world{t: t, healthy: reg, told: make(map[string]int)}
	c := pool.Get()
	defer c.Close()
	index := func() string {
		keys, err := redis.Strings(c.Do("KEYS", "scsguard::{user:*"))
		require.NoError(t, err)
		require.Len(t, keys, 1)
		return keys[0]
	}
	for _, mode := range []scsguard.OnExceed{scsguard.Warn, scsguard.EvictOldest} {
		for range 4 {
			a := admission("alice", scsguard.Limit{Max: 3, OnExceed: mode})
			a.Record.UserAgent = strings.Repeat("none that anybody knows ", 9)
			a.Record.Key, a.Browser = newKey(), newKey()
			adm, err := reg.Admit(ctx, a)
			require.NoError(t, err)
			before, err := redis.Int64(c.Do("PTTL", index()))
			require.NoError(t, err)
			s, err := reg.Settle(ctx, adm, true)
			require.NoError(t, err)
			require.True(t, s.Live)
			w.confirm(s.Ended...)
			encoding, err := redis.String(c.Do("OBJECT", "ENCODING", index()))
			require.NoError(t, err)
			require.Contains(t, []string{"listpack", "ziplist"}, encoding)
			after, err := redis.Int64(c.Do("PTTL", index()))
			require.NoError(t, err)
			require.InDelta(t, before, after, 60_000, "it lives as long as before")
			adm, err = reg.Admit(ctx, admission("alice", scsguard.Limit{}))
			require.NoError(t, err)
			require.Equal(t, a.Record.UserAgent, adm.LastLogin.UserAgent, "the last login is told whole")
			require.WithinDuration(t, a.Record.Created, adm.LastLogin.Time, time.Second)
			_, err = reg.Settle(ctx, adm, false)
			require.NoError(t, err)
		}
	}
}

// The last login is kept in pieces. None of an earlier, longer one may stay behind.
func TestAShortUserAgentReplacesALongOne(t *testing.T) {
	t.Parallel()
	reg := redisregistry.New(redistest.Start(t).Pool())
	for _, agent := range []string{strings.Repeat("long ", 90), "short", ""} {
		a := admission("alice", scsguard.Limit{})
		a.Record.UserAgent = agent
		adm, err := reg.Admit(ctx, a)
		require.NoError(t, err)
		_, err = reg.Settle(ctx, adm, true)
		require.NoError(t, err)
		adm, err = reg.Admit(ctx, admission("alice", scsguard.Limit{}))
		require.NoError(t, err)
		require.Equal(t, agent, adm.LastLogin.UserAgent)
		_, err = reg.Settle(ctx, adm, false)
		require.NoError(t, err)
	}
}
