package bench

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// Names of contestants.
const (
	bareGET      = "one GET"
	guardAndGET  = "guard, Codec, in memory, and one GET in its handler"
	scsIdle      = "scs, IdleTimeout"
	guardGob     = "guard, gob"
	guardCodec   = "guard, Codec"
	guardUnbound = "guard, Codec, without binding"
	guardSealed  = "guard, Codec, sealed trail"
	guardTheirs  = "guard, gob, on redisstore"
	codecTheirs  = "guard, Codec, on redisstore"
	scsWithout   = "scs"
	guardFull    = guardSealed // what the goals are about
)

// everything returns one application of each library.
func everything(b *testing.B, w world) []app {
	apps := []app{
		openPlain(b, w),
		openSCS(scsWithout, 0)(b, w),
		openSCS(scsIdle, idle)(b, w),
		openGuard(guardGob, scs.GobCodec{})(b, w),
		openGuard(guardUnbound, scsguard.Codec{}, func(c *scsguard.Config) {
			c.Binding = scsguard.Binding{Network: scsguard.Off, UserAgent: scsguard.Off}
		})(b, w),
		openGuard(guardCodec, scsguard.Codec{})(b, w),
		openGuard(guardSealed, scsguard.Codec{}, func(c *scsguard.Config) { c.Audit = sealed(b) })(b, w),
		openGorilla(b, w),
	}
	time.Sleep(time.Until(soon())) // what is to be over is over
	return apps
}

// sealed is a trail on disk, with checkpoints.
func sealed(b *testing.B) *auditlog.Log {
	l := openLog(b, b.TempDir(), nil)
	b.Cleanup(func() { _ = l.Close() })
	return l
}

// BenchmarkRequest compares a request of each kind in memory.
func BenchmarkRequest(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("hit/values=%d", n), func(b *testing.B) {
			results := contest(b, 16, scsIdle, visiting(everything(b, world{values: n}), hit))
			inMemory.compare(fmt.Sprintf("hit, %d", n), results, scsIdle)
			goals(fmt.Sprintf("memory, %d values", n), results)
		})
	}
	for _, v := range []visit{static, anonymous, noCookie, miss, forged} {
		b.Run(unit(string(v)), func(b *testing.B) {
			inMemory.compare(string(v)+", 5", contest(b, 16, scsIdle, visiting(everything(b, world{values: 5}), v)), scsIdle)
		})
	}
	b.Run("hit/others=1000", func(b *testing.B) {
		inMemory.compare("hit, 5, of 1,000 sessions", contest(b, 16, scsIdle, visiting(everything(b, world{values: 5, others: 1000}), hit)), scsIdle)
	})
}

// goals compares with what a request may cost.
func goals(where string, results []result) {
	theirs := find(results, scsIdle)
	for _, g := range []struct {
		name  string
		limit float64
	}{{guardFull, 0.20}, {guardGob, 0.85}} {
		ours := find(results, g.name)
		goal(where+": time of "+g.name, g.limit, ours.ratio)
		goal(where+": allocations of "+g.name, g.limit, exactly(ours.allocs/theirs.allocs))
	}
}

// BenchmarkRedisRequest compares on Redis: with our store, which needs one round trip,
// with scs/redisstore, and with one bare GET of the same bytes.
func BenchmarkRedisRequest(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("values=%d", n), func(b *testing.B) {
			results := contestOn(b, redistest.Start(b).Pool(), n)
			onRedis.compare(fmt.Sprint(n), results, scsIdle)
			apart(b, onRedis, n, results)
			if n == sizes[0] {
				redisGoals(b, "Redis", results)
			}
		})
	}
	b.Run("far", func(b *testing.B) {
		results := contestOn(b, far(b, redistest.Start(b).Addr), sizes[0])
		farRedis.compare(fmt.Sprint(sizes[0]), results, scsIdle)
		apart(b, farRedis, sizes[0], results)
		redisGoals(b, "Redis, half a millisecond away", results)
	})
}

// contestOn lets all applications of n values on Redis take turns.
func contestOn(b *testing.B, pool *redis.Pool, n int) []result {
	theirs := world{values: n, store: func() scs.Store { return redisstore.New(pool) }, registry: func() scsguard.Registry { return redisregistry.New(pool) }}
	ours := theirs
	ours.store = func() scs.Store { return redisregistry.NewStore(pool) }
	apps := []app{
		openSCS(scsWithout, 0)(b, theirs),
		openSCS(scsIdle, idle)(b, theirs),
		openGuard(guardTheirs, scs.GobCodec{})(b, theirs),
		openGuard(codecTheirs, scsguard.Codec{})(b, theirs),
		openGuard(guardGob, scs.GobCodec{})(b, ours),
		openGuard(guardCodec, scsguard.Codec{})(b, ours),
	}
	key := "scs:session:" + apps[len(apps)-1].cookies[hit][len("__Host-session="):]
	get := func() {
		c := pool.Get()
		defer c.Close()
		if _, err := redis.Bytes(c.Do("GET", key)); err != nil {
			panic(err)
		}
	}
	sm, g := newGuard(b, world{}, scsguard.Codec{})
	both := guardedApp(b, guardAndGET, world{values: n}, sm, g)
	both.handler = g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		get()
		scsSite(sm).ServeHTTP(w, r)
	}))
	return contest(b, 4, scsIdle, append([]contestant{{bareGET, get}}, visiting(append(apps, both), hit)...))
}

// apart says what of a request on Redis is the round trip, and what the guard does
// besides: a GET after some microseconds of other work takes longer than one after
// another, which finds Redis and its connection awake.
func apart(b *testing.B, in *section, n int, results []result) {
	get, both, guard := find(results, bareGET), find(results, guardAndGET), find(results, guardCodec)
	in.say("With %d values the guard takes %s times what a guard in memory takes with one GET in its handler, which takes %s times what\n"+
		"one GET takes after another.", n, interval(guard.over(both)), interval(both.over(get)))
	b.ReportMetric(guard.over(both).Center, unit(guardCodec)+"/memory-and-GET")
}

// redisGoals compares with what a request may cost.
func redisGoals(b *testing.B, where string, results []result) {
	goal(where+": time of "+guardCodec, 0.50, find(results, guardCodec).ratio)
	for _, g := range []struct {
		name  string
		limit float64
	}{{guardCodec, 1.25}, {codecTheirs, 1.40}, {guardTheirs, 1.40}} {
		got := find(results, g.name).over(find(results, bareGET))
		goal(where+": time of "+g.name+" / one GET", g.limit, got)
		b.ReportMetric(got.Center, unit(g.name)+"/GET")
	}
}
