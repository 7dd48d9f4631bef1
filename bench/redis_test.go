package bench

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"
	"golang.org/x/perf/benchmath"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// howMany is how many sessions there are. A million takes a while to make.
func howMany() []int {
	counts := []int{1_000}
	if most() > 100_000 {
		counts = append(counts, 100_000)
	}
	return append(counts, max(most(), 20_000))
}

func newKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/127.0.0.0 Safari/537.36"

func admit(b *testing.B, reg scsguard.Registry, user string, idle time.Duration) scsguard.Record {
	b.Helper()
	now, ctx := time.Now(), context.Background()
	adm, err := reg.Admit(ctx, scsguard.Admission{
		Record: scsguard.Record{
			Session: rand.Text(), User: user, Role: "user", BaseRole: "user", Key: scsguard.Key(newKey()), Seq: 1, Created: now, AuthTime: now,
			Methods: []string{"pwd", "otp"}, AAL: 2, LoginAAL: 2, LastActivity: now, Idle: idle, Absolute: now.Add(8 * time.Hour),
			AbsoluteSince: now, TokenSince: now, UserAgent: agent, Fingerprint: strings.Repeat("f", 32),
		},
		AuthenticatedAt: now.Add(time.Second), By: scsguard.Ending{Kind: scsguard.EventLogout, Keep: 8 * time.Hour}, Retention: 7 * 24 * time.Hour,
	})
	if err != nil || adm.Denied != "" {
		b.Fatal(err, adm.Denied)
	}
	s, err := reg.Settle(ctx, adm, true)
	if err != nil || !s.Live {
		b.Fatal(err)
	}
	return s.Record
}

// fill makes n bystanders: copies of what one session is in Redis, under other names.
func fill(b *testing.B, pool *redis.Pool, reg scsguard.Registry, n int) {
	b.Helper()
	rec := admit(b, reg, "bystander", time.Hour)
	c := pool.Get()
	defer c.Close()
	raw, err := redis.Bytes(c.Do("GET", "{scs:session:"+string(rec.Key)+"}:g:"))
	if err != nil {
		b.Fatal(err)
	}
	keys, err := redis.Strings(c.Do("KEYS", "scsguard::{user:*"))
	if err != nil || len(keys) != 1 {
		b.Fatal(err, keys)
	}
	place, err := redis.StringMap(c.Do("HGETALL", keys[0]))
	if err != nil {
		b.Fatal(err)
	}
	later := time.Now().Add(time.Hour).UnixMilli()
	const batch = 5000
	for done := 0; done < n; done += batch {
		for range min(batch, n-done) {
			key, session := newKey(), rand.Text()
			user := "scsguard::{user:" + newKey()[:22] + "}"
			_ = c.Send("SET", "{scs:session:"+key+"}:g:", raw, "PX", 8*time.Hour.Milliseconds())
			fields := []any{user}
			for name, value := range place {
				if name[0] == 'p' {
					name = "p" + session
				}
				fields = append(fields, name, value)
			}
			_ = c.Send("HSET", fields...)
			_ = c.Send("PEXPIRE", user, scsguard.UserMemory.Milliseconds())
			bytes, _ := base64.RawURLEncoding.DecodeString(key)
			member := "\x21\x00" + string(bytes) + string(rune(len(session))) + session + "bystander"
			_ = c.Send("ZADD", "scsguard::{due:"+strconv.Itoa(int(key[0])%16)+"}", later, member)
		}
		if _, err := c.Do(""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRedisGrowth compares a request among many sessions with one among few.
func BenchmarkRedisGrowth(b *testing.B) {
	counts := []int{1, 1_000, 5_000}
	if large() {
		counts[2] = min(most(), 100_000)
	}
	var all []contestant
	for _, n := range counts {
		pool := redistest.Start(b).Pool()
		if n > 1 {
			fill(b, pool, redisregistry.New(pool), n-1)
		}
		a := openGuard(guardCodec, scsguard.Codec{})(b, world{values: 5,
			store: func() scs.Store { return redisregistry.NewStore(pool) }, registry: func() scsguard.Registry { return redisregistry.New(pool) }})
		c, _ := visitor(a, hit)
		all = append(all, contestant{grouped(n), c.get})
	}
	for _, r := range contest(b, 4, "1", all) {
		growth.add(r.name, guardCodec+", on Redis, the same visitor", duration(r.ns.Center), interval(r.ratio))
		if r.name == grouped(counts[2]) {
			goal("growth on Redis: a request among "+r.name+" sessions / among 1", 1.2, r.ratio)
		}
	}
}

// BenchmarkRedisEndAll ends the five sessions of one user among those of many: it has to
// take as long among a million as among a thousand.
func BenchmarkRedisEndAll(b *testing.B) {
	var few float64
	for _, n := range howMany() {
		b.Run(fmt.Sprintf("among %d", n), func(b *testing.B) {
			pool := redistest.Start(b).Pool()
			reg := redisregistry.New(pool)
			fill(b, pool, reg, n)
			var took []float64
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				user := fmt.Sprintf("user %d", i)
				for range 5 {
					admit(b, reg, user, time.Hour)
				}
				b.StartTimer()
				began := time.Now()
				out, err := reg.EndAll(context.Background(), scsguard.Revocation{User: user, Ending: scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndRevoked, At: time.Now()}})
				if took = append(took, float64(time.Since(began))); err != nil || out.Total != 5 {
					b.Fatal(err, out.Total)
				}
			}
			r := summary(took)
			if few == 0 {
				few = r.Center
			}
			growth.add(grouped(n), "EndAll of five sessions, on Redis", duration(r.Center), interval(over(r, few)))
			if n == slices.Max(howMany()) {
				goal("growth on Redis: EndAll of five sessions among "+grouped(n)+" / among "+grouped(howMany()[0]), 1.2, over(r, few))
			}
		})
	}
}

// over divides what was measured by a number.
func over(s benchmath.Summary, by float64) benchmath.Summary {
	s.Center, s.Lo, s.Hi = s.Center/by, s.Lo/by, s.Hi/by
	return s
}

// BenchmarkRedisSweep finds 100 sessions that are due among many that live, ends them,
// and has their endings in the trail.
func BenchmarkRedisSweep(b *testing.B) {
	for _, n := range howMany() {
		b.Run(fmt.Sprintf("100 of %d", n), func(b *testing.B) {
			pool := redistest.Start(b).Pool()
			reg := redisregistry.New(pool)
			fill(b, pool, reg, n)
			_, g := newGuard(b, world{store: func() scs.Store { return redisregistry.NewStore(pool) }, registry: func() scsguard.Registry { return reg }, others: n}, scsguard.Codec{})
			var took []float64
			for b.Loop() {
				b.StopTimer()
				for i := range 100 {
					admit(b, reg, fmt.Sprintf("user %d %d", len(took), i), time.Millisecond)
				}
				time.Sleep(50 * time.Millisecond) // more than the clocks may seem to differ
				b.StartTimer()
				began := time.Now()
				ended, err := g.Sweep(context.Background())
				if took = append(took, float64(time.Since(began))); err != nil || ended != 100 {
					b.Fatal(err, ended)
				}
			}
			r := summary(took)
			growth.add(grouped(n), "a sweep that ends 100 of them, on Redis", duration(r.Center), "")
			if n == slices.Max(howMany()) {
				goal("a sweep of 100 sessions that are due among "+grouped(n)+" on Redis, milliseconds", 10, over(r, 1e6))
			}
		})
	}
}

// usedBy is how much memory Redis has in use.
func usedBy(b *testing.B, c redis.Conn) float64 {
	b.Helper()
	info, err := redis.String(c.Do("INFO", "memory"))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	n, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
	if err != nil {
		b.Fatal(err)
	}
	return float64(n)
}

// The keys of a session, by what they hold.
var kindsOfKeys = []struct{ name, pattern string }{
	{"session data, with the guard's mark", "scs:session:*"}, {"record", "{scs:session:*}:g:"},
	{"places of the user", "scsguard::{user:*"}, {"due entry", "scsguard::{due:*"},
}

// BenchmarkRedisMemory reports what a session costs in Redis beyond what scs/redisstore
// stores, where each user has one, and what of it lies in which keys.
func BenchmarkRedisMemory(b *testing.B) {
	n := 2_000
	if large() {
		n = min(most(), 100_000)
	}
	for b.Loop() {
		theirs, server := measured(b, n, func(pool *redis.Pool) func(int) {
			sm := newManager(world{store: func() scs.Store { return redisstore.New(pool) }})
			sm.Codec = scsguard.Codec{} // what the guard stores is not to be compared with gob
			return func(int) { scsLogIn(b, sm, 5) }
		})
		server.Stop()
		ours, server := measured(b, n, func(pool *redis.Pool) func(int) {
			w := world{store: func() scs.Store { return redisregistry.NewStore(pool) }, registry: func() scsguard.Registry { return redisregistry.New(pool) }}
			sm, g := newGuard(b, w, scsguard.Codec{})
			return func(i int) { logIn(b, sm, g, fmt.Sprintf("user-%d@example.com", i), 5) }
		})
		sessions := grouped(n)
		memoryOnRedis.add(sessions, "scs on redisstore", fmt.Sprintf("%.0f", theirs), "")
		memoryOnRedis.add(sessions, "guard", fmt.Sprintf("%.0f", ours), fmt.Sprintf("%.0f", ours-theirs))
		for _, kind := range kindsOfKeys {
			memoryOnRedis.add(sessions, "of that: "+kind.name, fmt.Sprintf("%.0f", memoryOf(b, server, kind.pattern)/float64(n)), "")
		}
		b.ReportMetric(ours-theirs, "B/session")
		goal("memory of a session in Redis beyond scs, bytes", 1024, exactly(ours-theirs))
	}
}

// measured has n sessions made in a Redis of their own, and returns what one takes.
func measured(b *testing.B, n int, open func(*redis.Pool) func(int)) (float64, *redistest.Server) {
	server := redistest.Start(b)
	pool := server.Pool()
	logIn := open(pool)
	c := pool.Get()
	defer c.Close()
	logIn(n) // scripts and the like
	before := usedBy(b, c)
	for i := range n {
		logIn(i)
	}
	return (usedBy(b, c) - before) / float64(n), server
}

// memoryOf is how much the keys of a pattern take, by their own account: the tables that
// they hang in are not in it.
func memoryOf(b *testing.B, server *redistest.Server, pattern string) float64 {
	const sum = `local n, cursor = 0, ARGV[1]
repeat
  local r = redis.call('SCAN', cursor, 'MATCH', ARGV[2], 'COUNT', 1000)
  cursor = r[1]
  for _, k in ipairs(r[2]) do n = n + redis.call('MEMORY', 'USAGE', k, 'SAMPLES', 0) end
until cursor == '0'
return n`
	c, err := server.Dial(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	n, err := redis.Int64(c.Do("EVAL", sum, 0, 0, pattern))
	if err != nil {
		b.Fatal(err)
	}
	return float64(n)
}
