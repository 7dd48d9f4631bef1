package redisregistry_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
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
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// wire counts round trips: each time somebody writes after he has read, or begins.
type wire struct{ trips atomic.Int64 }

func (w *wire) pool(t *testing.T, server *redistest.Server) *redis.Pool {
	pool := &redis.Pool{MaxIdle: 8, DialContext: func(ctx context.Context) (redis.Conn, error) {
		return redis.DialContext(ctx, "tcp", server.Addr, redis.DialContextFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, addr)
			return &wireConn{Conn: c, wire: w}, err
		}))
	}}
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

type wireConn struct {
	net.Conn
	wire  *wire
	asked atomic.Bool
}

func (c *wireConn) Write(b []byte) (int, error) {
	if !c.asked.Swap(true) {
		c.wire.trips.Add(1)
	}
	return c.Conn.Write(b)
}

func (c *wireConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.asked.Store(false)
	return n, err
}

func TestARequestIsOneRoundTripOnTheWireAndTwoWithTheOtherStore(t *testing.T) {
	server := startRedis(t)
	for name, of := range map[string]struct {
		trips int64
		store func(*redis.Pool) setting
	}{
		"ours": {1, func(*redis.Pool) setting { return func(*scs.SessionManager, *scsguard.Config) {} }},
		"scs/redisstore": {2, func(pool *redis.Pool) setting {
			return func(sm *scs.SessionManager, _ *scsguard.Config) { sm.Store = redisstore.NewWithPrefix(pool, "trips:") }
		}},
	} {
		w := &wire{}
		pool := w.pool(t, server)
		a := newApp(t, pool, redisregistry.Prefix("trips:"), of.store(pool))
		b, _ := login(t, a, "alice")
		require.Equal(t, "alice", who(b))
		before := w.trips.Load()
		for range 10 {
			require.Equal(t, "alice", who(b))
		}
		require.Equal(t, 10*of.trips, w.trips.Load()-before, name)
	}
}

// What ends together costs as many round trips as two that do, and one more if that takes
// so long that a sweep has to schedule its endings anew.
func TestManySessionsEndInTheRoundTripsOfFew(t *testing.T) {
	server := startRedis(t)
	for name, end := range map[string]func(t *testing.T, a *app, reg scsguard.Registry, n int){
		"a sweep": func(t *testing.T, a *app, reg scsguard.Registry, n int) {
			for _, rec := range listed(t, reg) {
				_, err := reg.Touch(ctx, rec.Key, scsguard.Activity{Absolute: time.Now().Add(-time.Second)})
				require.NoError(t, err)
			}
			ended, err := a.Guard.Sweep(ctx)
			require.NoError(t, err)
			require.Equal(t, n, ended)
		},
		"EndAll": func(t *testing.T, a *app, _ scsguard.Registry, n int) {
			ended, err := a.Guard.EndAll(ctx, "alice")
			require.NoError(t, err)
			require.Equal(t, n, ended)
			guardtest.Flush(t, a.Guard)
		},
	} {
		trips := make(map[int]int64)
		for _, n := range []int{2, 60} {
			w, prefix := &wire{}, emptyPrefix()
			a := newApp(t, w.pool(t, server), prefix)
			for range n {
				_, _ = login(t, a, "alice")
			}
			reg := redisregistry.New(server.Pool(), prefix) // what it asks is not counted
			all := listed(t, reg)
			require.Len(t, all, n)
			before := w.trips.Load()
			end(t, a, reg, n)
			trips[n] = w.trips.Load() - before
			requireNoPlaces(t, server.Pool())
			for _, rec := range all {
				_, found, err := redisregistry.NewStore(server.Pool(), prefix).Find(string(rec.Key))
				require.NoError(t, err)
				require.False(t, found, "the data of what has ended is still there")
				now, err := reg.Get(ctx, rec.Key)
				require.NoError(t, err)
				require.True(t, now.Confirmed)
			}
		}
		t.Logf("%s: %v", name, trips)
		require.LessOrEqual(t, trips[60], trips[2]+1, name)
	}
}

func listed(t *testing.T, reg scsguard.Registry) []scsguard.Record {
	all, err := reg.List(ctx, "alice")
	require.NoError(t, err)
	return all
}

// Several processes do not wait for each other before they write.
func TestH15_processes_that_write_different_keys_keep_all_of_them(t *testing.T) {
	server := startRedis(t)
	pool, prefix := server.Pool(), emptyPrefix()
	processes := make([]*app, 4)
	for i := range processes {
		processes[i] = newApp(t, pool, prefix, merging)
	}
	b, _ := login(t, processes[0], "alice")
	require.Equal(t, http.StatusOK, b.Get("/put?k=old").Status)
	var requests sync.WaitGroup
	for i := range 100 {
		tab := processes[i%len(processes)].Browser(t)
		tab.SetToken(b.Token())
		requests.Go(func() { insist(t, tab, fmt.Sprintf("/put?k=new%d", i)) })
	}
	last := processes[1].Browser(t)
	last.SetToken(b.Token())
	requests.Go(func() { insist(t, last, "/remove?k=old") })
	requests.Wait()
	keys := strings.Fields(b.Get("/keys").Body)
	for i := range 100 {
		require.Contains(t, keys, fmt.Sprintf("new%d", i))
	}
	require.NotContains(t, keys, "old", "what was deleted stays deleted")
	require.Equal(t, "alice", who(b))
}

func TestScriptsThatWereFlushedAreSentAgain(t *testing.T) {
	server := startRedis(t)
	pool := server.Pool()
	w := &world{t: t, healthy: redisregistry.New(pool), told: make(map[string]int)}
	c := pool.Get()
	defer c.Close()
	flush := func(string) {
		_, err := c.Do("SCRIPT", "FLUSH")
		require.NoError(t, err)
	}
	for verb, do := range verbs {
		old, first := w.login(deny), w.login(deny)
		flush("")
		m := &mortal{pool: pool, n: 1 << 40, after: flush} // before each command
		require.NoError(t, do(w, redisregistry.New(m), old, first), verb)
		out, err := w.healthy.EndAll(ctx, scsguard.Revocation{User: "alice", Ending: ending(scsguard.EndRevoked)})
		require.NoError(t, err)
		w.confirm(out.Ended...)
	}
	for range 4 { // the last of them tells all others at once
		w.login(scsguard.Limit{})
	}
	m := &mortal{pool: pool, n: 1 << 40, after: flush}
	dying := redisregistry.New(m)
	adm, err := dying.Admit(ctx, admission("alice", scsguard.Limit{}))
	require.NoError(t, err)
	s, err := dying.Settle(ctx, adm, true)
	require.NoError(t, err)
	require.True(t, s.Live)
	_, swapped, err := redisregistry.NewStore(pool).SwapCtx(ctx, string(newKey()), nil, []byte("x"), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.True(t, swapped)
}

// Half of what there is may be gone without anybody having been there to see it.
func TestSessionsWhoseDataIsGoneHoldNoPlace(t *testing.T) {
	server := startRedis(t)
	a := newApp(t, server.Pool(), redisregistry.Prefix("gone:"), limit(2, scsguard.Deny))
	var sessions []string
	for range 2 {
		_, session := login(t, a, "alice")
		sessions = append(sessions, session)
	}
	require.Equal(t, http.StatusConflict, a.Browser(t).Get("/login?user=alice").Status)
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	keys, err := redis.Strings(c.Do("KEYS", "gone:*"))
	require.NoError(t, err)
	_, err = c.Do("DEL", redis.Args{}.AddFlat(keys)...)
	require.NoError(t, err)
	for range 2 {
		_, _ = login(t, a, "alice")
	}
	guardtest.Flush(t, a.Guard)
	for _, session := range sessions {
		require.Equal(t, "lost", string(a.Trail.Ending(t, session).Reason))
	}
}

// The rights that the docs give to an application are enough, and not more than it needs
// to reach its own keys.
func TestTheRightsOfTheDocsAreEnough(t *testing.T) {
	server := startRedis(t)
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Do("ACL", redis.Args{"SETUSER", "app", "on", ">secret", "resetkeys", "resetchannels", "-@all"}.AddFlat(rightsOfTheDocs(t))...)
	require.NoError(t, err)
	pool := &redis.Pool{MaxIdle: 8, DialContext: func(ctx context.Context) (redis.Conn, error) {
		return redis.DialContext(ctx, "tcp", server.Addr, redis.DialUsername("app"), redis.DialPassword("secret"))
	}}
	t.Cleanup(func() { _ = pool.Close() })
	w := &world{t: t, healthy: redisregistry.New(pool), told: make(map[string]int)}
	for verb, do := range verbs {
		old, first := w.login(deny), w.login(deny)
		require.NoError(t, do(w, w.healthy, old, first), verb)
		_, err := w.healthy.EndAll(ctx, scsguard.Revocation{User: "alice", Ending: ending(scsguard.EndRevoked)})
		require.NoError(t, err)
	}
	_, err = w.healthy.Inspect(ctx)
	require.NoError(t, err)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	_, err = w.healthy.Watch(watching)
	require.NoError(t, err)
	store := redisregistry.NewStore(pool)
	require.NoError(t, store.Commit(string(newKey()), []byte("x"), time.Now().Add(time.Hour)))
	all, err := store.All()
	require.NoError(t, err)
	require.Len(t, all, 1)
	other := pool.Get()
	defer other.Close()
	_, err = other.Do("GET", "somebody else's")
	require.ErrorContains(t, err, "NOPERM")
}

// rightsOfTheDocs are those of the line in docs/redis.md.
func rightsOfTheDocs(t *testing.T) []string {
	doc, err := os.ReadFile("../docs/redis.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(doc), "An ACL for the application: `")
	require.True(t, found)
	rights, _, found := strings.Cut(rest, "`")
	require.True(t, found)
	return strings.Fields(rights)
}
