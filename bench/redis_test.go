package bench

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// guardedOn returns the guarded application of a store and a registry, logged in.
func guardedOn(b *testing.B, store scs.Store, reg scsguard.Registry) (http.Handler, string) {
	b.Helper()
	sm := newManager()
	sm.Store, sm.IdleTimeout = store, 15*time.Minute
	g, err := scsguard.New(sm, scsguard.Config{Audit: scsguard.Discard(), SweepEvery: -1, Registry: reg, Keys: [][]byte{make([]byte, 32)}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = g.Close(context.Background()) })
	ctx, err := sm.Load(context.Background(), "")
	if err != nil {
		b.Fatal(err)
	}
	for k, v := range values(5) {
		sm.Put(ctx, k, v)
	}
	if _, err := g.Login(ctx, "alice"); err != nil {
		b.Fatal(err)
	}
	return g.Protect(handler(sm)), sm.Token(ctx)
}

// plainOn returns the same application over scs alone, with an idle timeout.
func plainOn(b *testing.B, store scs.Store) (http.Handler, string) {
	b.Helper()
	sm := newManager()
	sm.Store, sm.IdleTimeout = store, 15*time.Minute
	ctx, err := sm.Load(context.Background(), "")
	if err != nil {
		b.Fatal(err)
	}
	for k, v := range values(5) {
		sm.Put(ctx, k, v)
	}
	token, _, err := sm.Commit(ctx)
	if err != nil {
		b.Fatal(err)
	}
	return sm.LoadAndSave(handler(sm)), token
}

// BenchmarkRedisRatio takes turns, and compares medians: of a guarded request (with our
// store, and with scs/redisstore), of one of scs with an idle timeout, and of one bare
// GET of the same bytes.
func BenchmarkRedisRatio(b *testing.B) {
	pool := redistest.Start(b).Pool()
	theirs := redisstore.New(pool)
	store, reg := redisregistry.NewStore(pool), redisregistry.New(pool)
	protected, ourToken := guardedOn(b, store, reg)
	ours := newClient(protected, ourToken)
	mixed := newClient(guardedOn(b, redisstore.New(pool), redisregistry.New(pool)))
	h, token := plainOn(b, theirs)
	plain := newClient(h, token)
	runs := []func(){
		func() {
			c := pool.Get()
			defer c.Close()
			if _, err := redis.Bytes(c.Do("GET", "scs:session:"+token)); err != nil {
				b.Fatal(err)
			}
		},
		func() { plain.get(b) },
		func() { ours.get(b) },
		func() { mixed.get(b) },
		func() {
			if rec, _, found, ok, err := store.FindRecordCtx(context.Background(), reg, scsguard.Key(ourToken)); err != nil || !ok || !found || rec.State != scsguard.StateLive {
				b.Fatal(rec.State, found, ok, err)
			}
		},
	}
	took := make([][]time.Duration, len(runs))
	for b.Loop() {
		for i, run := range runs {
			start := time.Now()
			run()
			took[i] = append(took[i], time.Since(start))
		}
	}
	median := make([]float64, len(runs))
	for i := range took {
		slices.Sort(took[i])
		median[i] = float64(took[i][len(took[i])/2])
	}
	b.ReportMetric(median[0], "GET-ns")
	b.ReportMetric(median[4]/median[0], "record+data/GET")
	b.ReportMetric(median[2]/median[1], "ours/scs")
	b.ReportMetric(median[2]/median[0], "ours/GET")
	b.ReportMetric(median[3]/median[1], "ours-on-redisstore/scs")
	b.ReportMetric(median[3]/median[0], "ours-on-redisstore/GET")
}

// howMany is how many sessions there are. A million takes a while to make.
func howMany() []int {
	if os.Getenv("SCSGUARD_BENCH_LARGE") != "" {
		return []int{1_000, 100_000, 1_000_000}
	}
	return []int{1_000, 20_000}
}

func newKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/127.0.0.0 Safari/537.36"

func logIn(b *testing.B, reg scsguard.Registry, user string, idle time.Duration) scsguard.Record {
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
	rec := logIn(b, reg, "bystander", time.Hour)
	c := pool.Get()
	defer c.Close()
	raw, err := redis.Bytes(c.Do("GET", "{scs:session:"+string(rec.Key)+"}:guard:"))
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
			user := "scsguard::{user:" + newKey() + "}"
			_ = c.Send("SET", "{scs:session:"+key+"}:guard:", raw, "PX", 8*time.Hour.Milliseconds())
			_ = c.Send("HSET", user, "p"+session, place["p"+rec.Session], "#seq", 1, "#last", place["#last"], "#lt", place["#lt"])
			_ = c.Send("PEXPIRE", user, scsguard.UserMemory.Milliseconds())
			member := string(rune(len(key))) + key + string(rune(len(session))) + session + "bystander"
			_ = c.Send("ZADD", "scsguard::{due:"+strconv.Itoa(int(key[0])%16)+"}", later, member)
		}
		if _, err := c.Do(""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRedisEndAll ends the five sessions of one user among those of many: it has to
// take as long among a million as among a thousand.
func BenchmarkRedisEndAll(b *testing.B) {
	for _, n := range howMany() {
		b.Run(fmt.Sprintf("among %d", n), func(b *testing.B) {
			pool := redistest.Start(b).Pool()
			reg := redisregistry.New(pool)
			fill(b, pool, reg, n)
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				user := fmt.Sprintf("user %d", i)
				for range 5 {
					logIn(b, reg, user, time.Hour)
				}
				b.StartTimer()
				out, err := reg.EndAll(context.Background(), scsguard.Revocation{User: user, Ending: scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndRevoked, At: time.Now()}})
				if err != nil || out.Total != 5 {
					b.Fatal(err, out.Total)
				}
			}
		})
	}
}

// BenchmarkRedisDue looks for 100 sessions that are due among many that live.
func BenchmarkRedisDue(b *testing.B) {
	for _, n := range howMany() {
		b.Run(fmt.Sprintf("100 of %d", n), func(b *testing.B) {
			pool := redistest.Start(b).Pool()
			reg := redisregistry.New(pool)
			fill(b, pool, reg, n)
			var due time.Duration
			rounds := 0
			for b.Loop() {
				b.StopTimer()
				for i := range 100 {
					logIn(b, reg, fmt.Sprintf("user %d %d", rounds, i), time.Millisecond)
				}
				time.Sleep(10 * time.Millisecond)
				b.StartTimer()
				start := time.Now()
				recs, err := reg.Due(context.Background(), 100)
				due += time.Since(start)
				rounds++
				if err != nil || len(recs) != 100 {
					b.Fatal(err, len(recs))
				}
				for _, rec := range recs { // as a guard does
					ended, won, err := reg.End(context.Background(), scsguard.Target{Key: rec.Key, IfDue: true}, scsguard.Ending{})
					if err == nil && won {
						err = reg.Confirm(context.Background(), ended)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(due.Microseconds())/1000/float64(rounds), "ms/Due")
		})
	}
}

// BenchmarkRedisMemory reports what a session costs in Redis beside its data.
func BenchmarkRedisMemory(b *testing.B) {
	pool := redistest.Start(b).Pool()
	reg := redisregistry.New(pool)
	c := pool.Get()
	defer c.Close()
	used := func() int {
		info, err := redis.String(c.Do("INFO", "memory"))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(info, "used_memory:")
		n, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	logIn(b, reg, "first", time.Hour)
	before, n := used(), 0
	for b.Loop() {
		logIn(b, reg, fmt.Sprintf("user-%d@example.com", n), time.Hour)
		n++
	}
	b.ReportMetric(float64(used()-before)/float64(n), "B/session")
}
