package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scsguard/scsguard"
)

// BenchmarkFlood measures requests and logins of others while somebody logs the same
// user in again and again, which is ordinary for a flood of guessed passwords that
// turn out right, and for a script.
func BenchmarkFlood(b *testing.B) {
	sm, g := newGuard(b, world{values: 5}, scsguard.Codec{}, func(c *scsguard.Config) {
		c.Limit = scsguard.Limit{Max: 5, OnExceed: scsguard.EvictOldest}
	})
	a := guardedApp(b, guardCodec, world{values: 5, others: 1000}, sm, g)
	visitors, n := everybody(a), 0
	login := func(user string) { logIn(b, sm, g, user, 5) }
	x := 0.0
	meanwhile := []struct {
		name string
		work func(i int)
	}{
		{"nothing", nil},
		{"logins of one user", func(int) { login("mallory") }},
		{"logins of 1,000 users", func(i int) { login(fmt.Sprintf("bot %d", i%1000)) }},
		{"arithmetic", func(i int) {
			for range 1000 {
				x += float64(i)
			}
		}},
	}
	requests, others := make([][][]time.Duration, len(meanwhile)), make([][][]time.Duration, len(meanwhile))
	for turn := 0; b.Loop(); turn++ {
		for i := range meanwhile {
			who := (turn + i) % len(meanwhile)
			stop := beside(meanwhile[who].work)
			requests[who] = append(requests[who], timed(round()/2, visitors.get))
			others[who] = append(others[who], timed(round()/2, func() { n++; login(fmt.Sprintf("honest %d", n%1000)) }))
			stop()
		}
	}
	for i, m := range meanwhile {
		r, o := quotients(p99(requests[i]), p99(requests[0])), quotients(p99(others[i]), p99(others[0]))
		flooding.add(m.name, duration(summary(p99(requests[i])).Center), interval(summary(r)), duration(summary(p99(others[i])).Center), interval(summary(o)))
		if i == 1 {
			goal("p99 of others' requests in a flood of logins of one user / without", 2, summary(r))
			goal("p99 of others' logins in a flood of logins of one user / without", 2, summary(o))
		}
		b.ReportMetric(summary(r).Center, unit(m.name))
	}
	b.ReportMetric(0, "ns/op")
}

func quotients(a, b []float64) []float64 {
	q := make([]float64, len(a))
	for i := range q {
		q[i] = a[i] / b[i]
	}
	return q
}

// beside does work again and again in a goroutine of its own until stop is called.
func beside(work func(i int)) (stop func()) {
	if work == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			work(i)
		}
	})
	return func() { cancel(); wg.Wait() }
}

// timed does work for that long and returns how long it took each time.
func timed(d time.Duration, work func()) (took []time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		began := time.Now()
		work()
		took = append(took, time.Since(began))
	}
	return took
}

// p99 returns the time that 99 of 100 took at most, for each of the parts that rounds
// are dealt out to: in one round alone it is the time of two or three.
func p99(rounds [][]time.Duration) []float64 {
	parts := make([][]time.Duration, min(7, len(rounds))) // six are needed for an interval
	for i, took := range rounds {
		parts[i%len(parts)] = append(parts[i%len(parts)], took...)
	}
	times := make([]float64, len(parts))
	for i, took := range parts {
		slices.Sort(took)
		times[i] = percentile(took, 0.99)
	}
	return times
}

// endurance is how long the soak takes: SCSGUARD_BENCH_SOAK, such as 10m.
func endurance() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("SCSGUARD_BENCH_SOAK")); err == nil {
		return d
	}
	return 500 * time.Millisecond
}

// BenchmarkSoak has all processors serve a thousand sessions and strangers without a
// pause, and looks whether heap and goroutines grow. Nobody logs in or out: what has
// ended is remembered for a TombstoneMargin, so that heap would grow for an hour.
func BenchmarkSoak(b *testing.B) {
	sm, g := newGuard(b, world{}, scsguard.Codec{}, func(c *scsguard.Config) { c.SweepEvery = time.Second })
	a := guardedApp(b, guardCodec, world{values: 5, others: 1000}, sm, g)
	a.handler = g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, user := sm.GetInt(r.Context(), "visits"), sm.GetString(r.Context(), "user")
		switch {
		case user == "":
		case time.Now().UnixNano()%10 == 0:
			sm.Put(r.Context(), "since", time.Now().UnixNano()) // it is stored anew
		default:
			sm.Put(r.Context(), "visits", n) // it is as it was
		}
		_, _ = io.WriteString(w, user)
	}))
	var requests atomic.Int64
	live := func() func(int) {
		regulars := everybody(a)
		var others []*client
		for _, v := range []visit{anonymous, noCookie, miss, forged} {
			c, _ := visitor(a, v)
			others = append(others, c)
		}
		return func(i int) {
			for range 100 {
				regulars.get()
			}
			others[i%len(others)].get()
			requests.Add(101)
		}
	}
	const checks = 10
	for b.Loop() {
		soaking.rows = nil
		requests.Store(0)
		began := time.Now()
		for check := range checks {
			var stops []func()
			for range runtime.GOMAXPROCS(0) {
				stops = append(stops, beside(live()))
			}
			time.Sleep(endurance() / checks)
			for _, stop := range stops {
				stop()
			}
			heap := liveHeap() / 1e6
			soaking.add(time.Since(began).Round(time.Millisecond).String(), grouped(int(requests.Load())), fmt.Sprintf("%.1f MB", heap), fmt.Sprint(runtime.NumGoroutine()))
			if check == checks-1 {
				b.ReportMetric(heap, "MB")
				b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
			}
		}
	}
}
