package redisregistry_test

import (
	"context"
	"crypto/rand"
	"hash/fnv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// EndEveryone walks over many due entries while sessions change under it.

// loginInOnePart logs in n users whose due entries lie in the same part, so that Redis
// hands them out in several steps.
func loginInOnePart(t *testing.T, reg scsguard.Registry, n int) []scsguard.Record {
	t.Helper()
	recs := make([]scsguard.Record, 0, n)
	for len(recs) < n {
		a := admission(rand.Text(), scsguard.Limit{})
		h := fnv.New32a()
		_, _ = h.Write([]byte(a.Record.Session))
		if h.Sum32()%16 != 0 {
			continue
		}
		adm, err := reg.Admit(ctx, a)
		require.NoError(t, err)
		s, err := reg.Settle(ctx, adm, true)
		require.NoError(t, err)
		recs = append(recs, s.Record)
	}
	return recs
}

func requireNobodyLives(t *testing.T, reg scsguard.Registry, recs []scsguard.Record) {
	t.Helper()
	alive := 0
	for _, rec := range recs {
		list, err := reg.List(ctx, rec.User)
		require.NoError(t, err)
		alive += len(list)
	}
	require.Zero(t, alive, "of %d sessions that were to end these live", len(recs))
}

func TestASessionThatMovesWhileEveryonesAreEndedEndsToo(t *testing.T) {
	t.Parallel()
	pool := redistest.Start(t).Pool()
	m := &mortal{pool: pool, n: 1 << 40}
	reg := redisregistry.New(pool)
	recs := loginInOnePart(t, reg, 1500)
	var once sync.Once
	m.after = func(command string) {
		if command != "ZSCAN" {
			return
		}
		once.Do(func() { // the first of several steps
			for _, rec := range recs {
				_, _, err := reg.Move(ctx, rec.Key, scsguard.Rotation{To: newKey(), At: time.Now()})
				require.NoError(t, err)
			}
		})
	}
	_, err := redisregistry.New(m).EndAll(ctx, scsguard.Revocation{Everyone: true, Ending: ending(scsguard.EndRevoked)})
	require.NoError(t, err)
	requireNobodyLives(t, reg, recs)
}

// What Redis says of where a walk has come to means nothing to another server.
func TestAnEndOfEveryoneGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	pool := server.Pool()
	reg := redisregistry.New(pool)
	recs := loginInOnePart(t, reg, 2600)
	m := &mortal{pool: pool, n: 3, served: true} // it says what it is about to do, and dies
	_, err := redisregistry.New(m).EndAll(ctx, scsguard.Revocation{Everyone: true, Ending: ending(scsguard.EndRevoked)})
	require.Error(t, err)
	time.Sleep(scsguard.Lease + 100*time.Millisecond)

	// A sweep ends some of them, and Redis is started anew after that.
	sliced, cancel := context.WithCancel(ctx)
	defer cancel()
	m = &mortal{pool: pool, n: 1 << 40}
	m.after = func(command string) {
		if command == "ZREM" { // it has ended its share, and says so
			cancel()
		}
	}
	_, _ = redisregistry.New(m).Due(sliced, 10)
	require.Error(t, sliced.Err())
	server.Stop()
	require.NoError(t, server.Restart())
	w := &world{t: t, healthy: reg, told: make(map[string]int)}
	time.Sleep(scsguard.Lease + 100*time.Millisecond)
	w.sweep()
	requireNobodyLives(t, reg, recs)
}

// What has to be done for all sessions of a user together must not be done for each.
func TestEndingAllOfAUserWithManySessionsChangesHisIndexOnce(t *testing.T) {
	t.Parallel()
	pool := redistest.Start(t).Pool()
	w := &world{t: t, healthy: redisregistry.New(pool), told: make(map[string]int)}
	const n = 200
	for range n {
		w.login(scsguard.Limit{})
	}
	m := &mortal{pool: pool, n: 1 << 40}
	out, err := redisregistry.New(m).EndAll(ctx, scsguard.Revocation{User: "alice", Ending: ending(scsguard.EndRevoked)})
	require.NoError(t, err)
	require.Equal(t, n, out.Total)
	require.Less(t, m.trips.Load(), int64(30), "as many round trips as for one")
	requireNoPlaces(t, pool)
}

// requireNoPlaces demands that nobody holds a place in the index of any user.
func requireNoPlaces(t *testing.T, pool *redis.Pool) {
	t.Helper()
	c := pool.Get()
	defer c.Close()
	fields, err := redis.Strings(c.Do("EVAL", "local n = {} for _, k in ipairs(redis.call('KEYS', '*{user:*')) do for _, f in ipairs(redis.call('HKEYS', k)) do n[#n+1] = f end end return n", 0))
	require.NoError(t, err)
	for _, f := range fields {
		require.True(t, strings.HasPrefix(f, "#"), "%q holds a place", f)
	}
}

// Many are ended together. What could not be said before the ending of one of them must
// keep it from ending: else nobody would find an ending that this process does not come
// to write down.
func TestOfManyNobodyEndsWhoseEndingNobodyWouldFind(t *testing.T) {
	t.Parallel()
	pool := redistest.Start(t).Pool()
	w := &world{t: t, healthy: redisregistry.New(pool), told: make(map[string]int)}
	c := pool.Get()
	defer c.Close()
	partOf := func(rec scsguard.Record) string {
		part, err := redis.String(c.Do("EVAL", `for _, k in ipairs(redis.call('KEYS', '*{due:*')) do
  for _, m in ipairs(redis.call('ZRANGE', k, 0, -1)) do if string.find(m, ARGV[1], 1, true) then return k end end
end`, 0, rec.Session))
		require.NoError(t, err)
		return part
	}
	first := w.login(scsguard.Limit{})
	second := w.login(scsguard.Limit{})
	for partOf(second) == partOf(first) {
		second = w.login(scsguard.Limit{})
	}
	broken, inBroken := partOf(second), 0
	for _, rec := range w.sessions {
		if partOf(rec) == broken {
			inBroken++
		}
	}
	_, err := c.Do("SET", broken, "no place for entries", "EX", 100)
	require.NoError(t, err)
	var out scsguard.Revoked
	for len(out.Ended) == 0 { // what it is about to do may have to be said in that part, too: then it ends nobody
		out, err = w.healthy.EndAll(ctx, scsguard.Revocation{User: "alice", Ending: ending(scsguard.EndRevoked)})
		require.ErrorContains(t, err, "WRONGTYPE")
	}
	require.Len(t, out.Ended, len(w.sessions)-inBroken)
	now, err := w.healthy.Get(ctx, second.Key)
	require.NoError(t, err)
	require.Equal(t, scsguard.StateLive, now.State)
	_, err = c.Do("DEL", broken)
	require.NoError(t, err)
	out, err = w.healthy.EndAll(ctx, scsguard.Revocation{User: "alice", Ending: ending(scsguard.EndRevoked)})
	require.NoError(t, err)
	require.Len(t, out.Ended, inBroken)
}
