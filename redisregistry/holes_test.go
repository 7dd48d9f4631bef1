package redisregistry_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
	"github.com/scsguard/scsguard/redisregistry"
)

// What breaks in scs, and in others, on a real Redis.

func TestAStoreTakesOverTheSessionsOfTheOther(t *testing.T) {
	pool := startRedis(t).Pool()
	const token = "0123456789012345678901234567890123456789012"
	theirs, ours := redisstore.NewWithPrefix(pool, "theirs:"), redisregistry.NewStore(pool, redisregistry.Prefix("theirs:"))
	expiry := time.Now().Add(time.Hour)
	require.NoError(t, theirs.Commit(token, []byte{0, 1, 0xff}, expiry))
	b, found, err := ours.FindCtx(ctx, token)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, []byte{0, 1, 0xff}, b)
	all, err := ours.AllCtx(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{token: {0, 1, 0xff}}, all)

	require.NoError(t, ours.CommitCtx(ctx, token, []byte("new"), expiry))
	b, found, err = theirs.Find(token)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "new", string(b))
	all, err = theirs.All()
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{token: []byte("new")}, all)
	c := pool.Get()
	defer c.Close()
	ttl, err := redis.Int64(c.Do("PTTL", "theirs:"+token))
	require.NoError(t, err)
	require.InDelta(t, time.Hour.Milliseconds(), ttl, 60_000)

	require.NoError(t, ours.Delete(token))
	_, found, err = theirs.Find(token)
	require.NoError(t, err)
	require.False(t, found)
}

func TestAnApplicationOnRedisstoreKeepsItsSessionsAndIteratesOverThemOnly(t *testing.T) {
	pool := startRedis(t).Pool()
	before := newApp(t, pool, redisregistry.Prefix("app:"), func(sm *scs.SessionManager, _ *scsguard.Config) { sm.Store = redisstore.NewWithPrefix(pool, "app:") })
	b, _ := login(t, before, "alice")
	require.Equal(t, "alice", who(b))
	after := newApp(t, pool, redisregistry.Prefix("app:"))
	moved := after.Browser(t)
	moved.SetToken(b.Token())
	require.Equal(t, "alice", who(moved))
	for _, a := range []*app{before, after} {
		n := 0
		require.NoError(t, a.Sessions.Iterate(ctx, func(ctx context.Context) error {
			n++
			require.Equal(t, "alice", a.Sessions.GetString(ctx, "user"))
			return nil
		}), "the keys of the registry are none of the store's")
		require.Equal(t, 1, n)
	}
}

func TestH4_a_deadline_in_the_past_ends_the_session(t *testing.T) {
	a := newApp(t, startRedis(t).Pool(), emptyPrefix())
	a.handle("/past", func(_ http.ResponseWriter, r *http.Request) error {
		a.Sessions.SetDeadline(r.Context(), time.Now().Add(-time.Second))
		return nil
	})
	b, session := login(t, a, "alice")
	thief := b.Clone()
	require.Equal(t, http.StatusOK, b.Get("/past").Status)
	require.True(t, strings.HasPrefix(who(thief), "401"))
	all, err := a.store.All()
	require.NoError(t, err)
	require.Empty(t, all)
	guardtest.Flush(t, a.Guard)
	a.Trail.Ending(t, session)
}

func TestACommitWithoutTimeLeftDeletes(t *testing.T) {
	s := redisregistry.NewStore(startRedis(t).Pool())
	const token = "0123456789012345678901234567890123456789012"
	for _, expiry := range []time.Time{{}, time.Now().Add(-time.Hour), time.Now(), time.Now().Add(time.Microsecond)} {
		require.NoError(t, s.Commit(token, []byte("x"), time.Now().Add(time.Hour)))
		require.NoError(t, s.Commit(token, []byte("y"), expiry))
		_, found, err := s.Find(token)
		require.NoError(t, err)
		require.False(t, found)
		_, swapped, err := s.SwapCtx(ctx, token, nil, []byte("z"), expiry)
		require.NoError(t, err)
		require.True(t, swapped)
	}
}

func TestH5_a_request_across_the_absolute_deadline_leaves_nothing_alive(t *testing.T) {
	a := newApp(t, startRedis(t).Pool(), emptyPrefix(), limits(2900*time.Millisecond, 3*time.Second))
	entered, release := a.pause("/slow", func(r *http.Request) { a.Sessions.Put(r.Context(), "k", "v") })
	b, session := login(t, a, "alice")
	thief := b.Clone()
	answered := get(b, "/slow")
	<-entered
	time.Sleep(3500 * time.Millisecond)
	close(release)
	answer := <-answered
	require.Equal(t, http.StatusOK, answer.Status)
	require.Empty(t, answer.Header.Values("Set-Cookie"))
	require.True(t, strings.HasPrefix(who(thief), "401"))
	guardtest.Flush(t, a.Guard)
	require.Equal(t, scsguard.EventTimeout, a.Trail.Ending(t, session).Kind)
	all, err := a.store.All()
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestH15_a_hundred_requests_that_write_different_keys_keep_all_of_them(t *testing.T) {
	a := newApp(t, startRedis(t).Pool(), emptyPrefix(), merging)
	b, _ := login(t, a, "alice")
	for i := range 10 {
		require.Equal(t, http.StatusOK, b.Get(fmt.Sprintf("/put?k=old%d", i)).Status)
	}
	var requests sync.WaitGroup
	for i := range 100 {
		requests.Go(func() {
			insist(t, b.Clone(), fmt.Sprintf("/put?k=new%d", i))
		})
	}
	for i := range 10 {
		requests.Go(func() { insist(t, b.Clone(), fmt.Sprintf("/remove?k=old%d", i)) })
	}
	requests.Wait()
	keys := strings.Fields(b.Get("/keys").Body)
	for i := range 100 {
		require.Contains(t, keys, fmt.Sprintf("new%d", i))
	}
	for i := range 10 {
		require.NotContains(t, keys, fmt.Sprintf("old%d", i), "what was deleted stays deleted")
	}
}

// insist asks until it is served, as Retry-After says: on a machine that has too much to
// do a hundred requests at once take longer than a call may.
func insist(t *testing.T, b *guardtest.Browser, target string) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		answer := b.Get(target)
		if answer.Status == http.StatusOK || time.Now().After(end) || answer.Status != http.StatusServiceUnavailable {
			require.Equal(t, http.StatusOK, answer.Status)
			return
		}
	}
}

func TestNoInterleavingBringsALoggedOutSessionBack(t *testing.T) {
	pool, prefix := startRedis(t).Pool(), emptyPrefix()
	a, other := newApp(t, pool, prefix), newApp(t, pool, prefix)
	other.handle("/busy", func(_ http.ResponseWriter, r *http.Request) error {
		time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
		other.Sessions.Put(r.Context(), "late", "x")
		return nil
	})
	for range 60 {
		b, _ := login(t, a, "alice")
		thief, slow := b.Clone(), other.Browser(t)
		slow.SetToken(b.Token())
		var both sync.WaitGroup
		both.Go(func() { slow.Get("/busy") })
		both.Go(func() { require.Equal(t, http.StatusOK, b.Get("/logout").Status) })
		both.Wait()
		require.True(t, strings.HasPrefix(who(thief), "401"))
	}
	list, err := a.Guard.Registry().List(ctx, "alice")
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestTheOldTokenDoesNotSurviveARotation(t *testing.T) {
	pool, prefix := startRedis(t).Pool(), emptyPrefix()
	a, other := newApp(t, pool, prefix), newApp(t, pool, prefix)
	entered, release := other.pause("/slow", func(r *http.Request) { other.Sessions.Put(r.Context(), "late", "x") })
	b, _ := login(t, a, "alice")
	old := other.Browser(t)
	old.SetToken(b.Token())
	answered := get(old, "/slow")
	<-entered
	require.Equal(t, http.StatusOK, b.Get("/elevate").Status)
	close(release)
	require.Empty(t, (<-answered).Header.Values("Set-Cookie"))
	require.Equal(t, "alice", who(b))
	require.Equal(t, http.StatusOK, b.Get("/logout").Status)
	require.Equal(t, "401 ended_by_you", who(old))
}

func TestParallelRequestsAroundARotationStayLoggedIn(t *testing.T) {
	a := newApp(t, startRedis(t).Pool(), emptyPrefix())
	b, _ := login(t, a, "alice")
	for range 5 {
		var requests sync.WaitGroup
		for range 20 {
			c := b.Clone()
			requests.Go(func() { require.Equal(t, "alice", who(c)) })
		}
		requests.Go(func() { require.Equal(t, http.StatusOK, b.Get("/elevate").Status) })
		requests.Wait()
		require.Equal(t, "alice", who(b))
	}
}

func TestPollsWithinATouchIntervalWriteNothing(t *testing.T) {
	server := startRedis(t)
	a := newApp(t, server.Pool(), emptyPrefix())
	b, _ := login(t, a, "alice")
	require.Equal(t, "alice", who(b))
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Do("CONFIG", "RESETSTAT")
	require.NoError(t, err)
	for range 100 {
		answer := b.Get("/whoami")
		require.Equal(t, http.StatusOK, answer.Status)
		require.Empty(t, answer.Header.Values("Set-Cookie"))
	}
	stats, err := redis.String(c.Do("INFO", "commandstats"))
	require.NoError(t, err)
	for line := range strings.Lines(stats) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		require.Contains(t, []string{"", "# Commandstats", "cmdstat_mget", "cmdstat_time", "cmdstat_config|resetstat", "cmdstat_info"}, name)
	}
}

func TestOneBrowserHasOneSessionHoweverOftenItLogsIn(t *testing.T) {
	a := newApp(t, startRedis(t).Pool(), emptyPrefix(), limit(1, scsguard.Deny))
	b, _ := login(t, a, "alice")
	for range 4 {
		require.Equal(t, http.StatusOK, b.Get("/login?user=alice").Status)
	}
	var tabs sync.WaitGroup
	for range 3 {
		tab := b.Clone()
		tabs.Go(func() { tab.Get("/login?user=alice") })
	}
	tabs.Wait()
	list, err := a.Guard.Registry().List(ctx, "alice")
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// A crash of Redis, or an administrator, may have taken one half of a session.
func TestASessionWithoutDataOrWithoutRecordEndsAndHoldsNoPlace(t *testing.T) {
	for name, lose := range map[string]string{"data": "app:", "record": "{app:"} {
		t.Run(name, func(t *testing.T) {
			server := startRedis(t)
			a := newApp(t, server.Pool(), redisregistry.Prefix("app:"), limit(1, scsguard.Deny))
			b, session := login(t, a, "alice")
			c, err := server.Dial(ctx)
			require.NoError(t, err)
			defer c.Close()
			keys, err := redis.Strings(c.Do("KEYS", "*"))
			require.NoError(t, err)
			for _, key := range keys {
				if strings.HasPrefix(key, lose) {
					_, err = c.Do("DEL", key)
					require.NoError(t, err)
				}
			}
			require.True(t, strings.HasPrefix(who(b), "401"), "it is nobody's session now")
			guardtest.Flush(t, a.Guard)
			require.Equal(t, "lost", string(a.Trail.Ending(t, session).Reason))
			_, _ = login(t, a, "alice")
		})
	}
}

func TestARecordThatCannotBeReadHasEnded(t *testing.T) {
	server := startRedis(t)
	pool := server.Pool()
	a := newApp(t, pool, redisregistry.Prefix("app:"), limit(2, scsguard.Deny))
	c := pool.Get()
	defer c.Close()
	b, session := login(t, a, "alice")
	good, _ := login(t, a, "alice")
	key := "{app:" + b.Token() + "}:g:"
	for _, rubbish := range []string{"", "\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\x00\x00\x00\x00\x02", strings.Repeat("x", 100)} {
		_, err := c.Do("SET", key, rubbish, "PX", 1_000_000)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(who(b), "401"), "%q", rubbish)
	}
	require.Equal(t, "alice", who(good))
	infos, err := a.Guard.Registry().List(ctx, "alice")
	require.NoError(t, err)
	require.Len(t, infos, 1, "one broken record is nobody else's trouble")
	_, _ = login(t, a, "alice")
	_, err = a.Guard.EndAll(ctx, "alice")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(who(good), "401"))

	// The sweep finds it when its time has come, and tells of it.
	keys, err := redis.Strings(c.Do("KEYS", "scsguard@*{due:*"))
	require.NoError(t, err)
	for _, k := range keys {
		members, err := redis.Strings(c.Do("ZRANGE", k, 0, -1))
		require.NoError(t, err)
		for _, m := range members {
			_, err = c.Do("ZADD", k, 1, m)
			require.NoError(t, err)
		}
	}
	guardtest.Flush(t, a.Guard)
	require.Equal(t, "invalid", string(a.Trail.Ending(t, session).Reason))
}

func TestEndingAllMissesNobody(t *testing.T) {
	for name, how := range map[string][]setting{"tokens as they are": nil, "hashed tokens": {hashed}} {
		t.Run(name, func(t *testing.T) {
			pool, prefix := startRedis(t).Pool(), emptyPrefix()
			a, other := newApp(t, pool, prefix, how...), newApp(t, pool, prefix, how...)
			var before []*guardtest.Browser
			var sessions []string
			for range 20 {
				b, session := login(t, a, "alice")
				before, sessions = append(before, b), append(sessions, session)
			}
			var mu sync.Mutex
			var beside []*guardtest.Browser
			var requests sync.WaitGroup
			for _, old := range before {
				requests.Go(func() {
					b := other.Browser(t)
					if b.Get("/login?user=alice").Status == http.StatusOK {
						mu.Lock()
						beside = append(beside, b)
						mu.Unlock()
					}
				})
				requests.Go(func() { who(old.Clone()) })
			}
			_, err := a.Guard.EndAll(ctx, "alice")
			require.NoError(t, err)
			requests.Wait()
			list, err := a.Guard.Registry().List(ctx, "alice")
			require.NoError(t, err)
			for _, rec := range list {
				require.NotContains(t, sessions, rec.Session, "who lives has logged in since")
			}
			_, err = a.Guard.EndAll(ctx, "alice")
			require.NoError(t, err)
			for _, b := range append(before, beside...) {
				require.True(t, strings.HasPrefix(who(b), "401"))
			}
		})
	}
}

func TestAUserIDMayHoldAnyBytes(t *testing.T) {
	a := newApp(t, startRedis(t).Pool(), emptyPrefix(), limit(1, scsguard.Deny))
	for _, user := range []string{"a:b", "*", "{a}", "a}{b", "\xff\x00", "\u00e9", "#nb", strings.Repeat("x", 500)} {
		s, err := a.Guard.Registry().Admit(ctx, admission(user, deny))
		require.NoError(t, err)
		_, err = a.Guard.Registry().Settle(ctx, s, true)
		require.NoError(t, err)
		list, err := a.Guard.Registry().List(ctx, user)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, user, list[0].User)
	}
}

// counted counts how often somebody asks Redis for something.
type counted struct {
	redisregistry.Pool
	n atomic.Int64
}

func (c *counted) GetContext(ctx context.Context) (redis.Conn, error) {
	c.n.Add(1)
	return c.Pool.GetContext(ctx)
}

func TestARequestAsksRedisOnce(t *testing.T) {
	pool := &counted{Pool: startRedis(t).Pool()}
	a := newApp(t, pool, emptyPrefix())
	b, _ := login(t, a, "alice")
	require.Equal(t, "alice", who(b))
	before := pool.n.Load()
	for range 10 {
		require.Equal(t, "alice", who(b))
	}
	require.EqualValues(t, 10, pool.n.Load()-before)
}
