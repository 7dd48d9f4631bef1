package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// on is a guard in a process of its own, as far as Redis can tell.
func on(b *testing.B, server *redistest.Server, options ...func(*scsguard.Config)) (*scs.SessionManager, *scsguard.Guard) {
	pool := server.Pool()
	return newGuard(b, world{
		store: func() scs.Store { return redisregistry.NewStore(pool) }, registry: func() scsguard.Registry { return redisregistry.New(pool) },
	}, scsguard.Codec{}, options...)
}

// BenchmarkRedisOutage asks for pages while Redis hangs, and while it is down: how long
// are visitors kept waiting, and how long does it take until they are served again, once
// it is back?
func BenchmarkRedisOutage(b *testing.B) {
	const visitors, limit = 20, 500 * time.Millisecond
	for _, outage := range []struct {
		name  string
		begin func(*redistest.Server)
		end   func(*redistest.Server) error
	}{
		{"hangs", (*redistest.Server).Pause, func(s *redistest.Server) error { s.Resume(); return nil }},
		{"is down", (*redistest.Server).Stop, (*redistest.Server).Restart},
	} {
		b.Run(outage.name, func(b *testing.B) {
			server := redistest.Start(b, "--appendonly", "yes", "--appendfsync", "always")
			sm, g := on(b, server, func(c *scsguard.Config) { c.CallTimeout = limit })
			cookies := make([]string, visitors)
			for i := range cookies {
				cookies[i] = logIn(b, sm, g, fmt.Sprint("user ", i), 5)
			}
			page := g.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			status := func(cookie string) int {
				rec := httptest.NewRecorder()
				page.ServeHTTP(rec, browser("/", cookie))
				return rec.Code
			}
			var mu sync.Mutex
			var waited []time.Duration
			var slowest time.Duration // to serve everybody again
			for b.Loop() {
				outage.begin(server)
				var all sync.WaitGroup
				for _, cookie := range cookies {
					all.Go(func() {
						for range 5 {
							began := time.Now()
							if code := status(cookie); code != http.StatusServiceUnavailable {
								b.Error("answered", code, "without Redis")
							}
							mu.Lock()
							waited = append(waited, time.Since(began))
							mu.Unlock()
						}
					})
				}
				all.Wait()
				if err := outage.end(server); err != nil {
					b.Fatal(err)
				}
				back := time.Now()
				for _, cookie := range cookies {
					for status(cookie) != http.StatusOK {
						time.Sleep(time.Millisecond)
					}
				}
				slowest = max(slowest, time.Since(back))
			}
			slices.Sort(waited)
			p99 := percentile(waited, 0.99)
			away.add("Redis "+outage.name, duration(p99), duration(float64(slowest)))
			goal("p99 of answers while Redis "+outage.name+", beyond the CallTimeout, milliseconds", 100, exactly(max(p99-float64(limit), 0)/1e6))
			goal("everybody is served again after Redis "+outage.name+", seconds", 5, exactly(slowest.Seconds()))
			b.ReportMetric(p99/1e6, "p99-ms")
			b.ReportMetric(float64(slowest)/1e6, "recovery-ms")
		})
	}
}

// BenchmarkRedisCutOff ends sessions in one process and looks at how long their streams
// go on in another one.
func BenchmarkRedisCutOff(b *testing.B) {
	server := redistest.Start(b)
	sm, here := on(b, server)
	_, there := on(b, server)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		user := fmt.Sprint("user ", i)
		cookie := logIn(b, sm, here, user, 5)
		entered, cut := make(chan struct{}), make(chan time.Time, 1)
		stream := there.Protect(there.CutOff(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
			cut <- time.Now()
		})))
		go stream.ServeHTTP(httptest.NewRecorder(), browser("/", cookie))
		<-entered
		b.StartTimer()
		began := time.Now()
		if n, err := here.EndAll(context.Background(), user); n != 1 {
			b.Fatal(errors.Join(err, fmt.Errorf("%d sessions have ended", n)))
		}
		took = append(took, (<-cut).Sub(began))
	}
	slices.Sort(took)
	p99 := percentile(took, 0.99)
	away.add("a stream goes on in another process after its session was ended", duration(p99), "")
	goal("p99 of how long a stream goes on in another process after its session was ended, milliseconds", 250, exactly(p99/1e6))
	b.ReportMetric(p99/1e6, "p99-ms")
}
