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

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// plain is where the flooded server answers without any session.
const plain = "/plain"

// BenchmarkFlood measures requests and logins of others while somebody logs one user
// in again and again, as a script does, or whoever has his password. It is over HTTP,
// for that is what others notice, and among as many sessions as a server may have:
// in a heap of a few megabytes each login would have a good part of a collection to
// pay for. Without and with a flood take turns every few milliseconds. A p99 is of
// several turns, for which thousands of times are put together.
//
// Nobody checks a password: that takes a processor a thousand times as long as a login,
// and no flood would be one.
//
// A flood as fast as it is answered takes a processor to itself, and of two there are
// none to spare. So beside it there are one that leaves some, and the same of many
// users, of a handler without sessions and of plain arithmetic: they show what the
// processors owe, and what the guard does.
func BenchmarkFlood(b *testing.B) {
	users, turns := 1_000, 2*samples
	if large() {
		users, turns = min(most(), 100_000), 24*samples
	}
	sm, g := newGuard(b, world{values: 5}, scsguard.Codec{}, func(c *scsguard.Config) {
		c.Limit = scsguard.Limit{Max: 5, OnExceed: scsguard.EvictOldest}
	})
	a := guardedApp(b, guardCodec, world{values: 5, others: users}, sm, g)
	addr := serve(b, flooded(sm, g, a.handler))
	logInAs := func(names ...string) *caller {
		c := callAs(b, addr, "POST /login", "Content-Length: 0\r\nX-User: ", names[0])
		c.turns = names
		return c
	}
	visitors := call(b, addr, a.cookies[hit])
	visitors.turns = a.others
	honest := logInAs(many("honest", 1000)...)
	again := func(c *caller) func(int) { return func(int) { c.mustAsk() } }
	one, bots := again(logInAs("mallory")), again(logInAs(many("bot", 1000)...))
	x := 0.0
	nothing, arithmetic := &flood{name: "nothing"}, &flood{name: "arithmetic", work: func(i int) {
		for range 1_000 {
			x += float64(i)
		}
	}}
	ofOne := &flood{name: "logins of one user, as fast as they are answered", work: one, one: true}
	ofMany := &flood{name: "logins of 1,000 users, as fast as they are answered", work: bots}
	floods := []*flood{
		nothing,
		{name: "1,000 logins a second of one user", work: paced(time.Millisecond, one), one: true},
		{name: "1,000 logins a second of 1,000 users", work: paced(time.Millisecond, bots)},
		ofOne, ofMany,
		{name: "requests without a session, as fast as they are answered", work: again(callAs(b, addr, "GET "+plain, "Cookie: ", "a=b"))},
		arithmetic,
	}
	runtime.GC()
	for b.Loop() {
		for turn := range turns {
			for i := range floods {
				f := floods[(turn+i)%len(floods)]
				stop := beside(f.work)
				began := time.Now()
				_, requests := loop(b, []*caller{visitors}, round()/2)
				_, logins := loop(b, []*caller{honest}, round()/2)
				f.requests[turn%samples] = append(f.requests[turn%samples], requests...)
				f.logins[turn%samples] = append(f.logins[turn%samples], logins...)
				f.took += time.Since(began)
				f.done += stop()
			}
		}
	}
	for _, f := range floods {
		requests, logins := f.requests.p99(), f.logins.p99()
		r, l := summary(quotients(requests, nothing.requests.p99())), summary(quotients(logins, nothing.logins.p99()))
		flooding.add(f.name, grouped(int(float64(f.done)/f.took.Seconds())), duration(summary(requests).Center), interval(r), duration(summary(logins).Center), interval(l))
		if f.one {
			goal("p99 of others' requests, "+f.name+" / without", 2, r)
			goal("p99 of others' logins, "+f.name+" / without", 2, l)
		}
		b.ReportMetric(r.Center, unit(f.name))
		b.ReportMetric(l.Center, unit(f.name)+":logins")
	}
	over := func(other *flood) string {
		return interval(summary(quotients(ofOne.requests.p99(), other.requests.p99())))
	}
	flooding.say("As fast as they are answered, logins of one user make the p99 of others' requests %s times what logins of 1,000 users make it, and\n"+
		"%s times what arithmetic does. Beyond 1 the first would be time that others wait for that user's logins to wait for each other;\n"+
		"the second is what logins take of the processors and leave for the collector besides keeping one of them busy.",
		over(ofMany), over(arithmetic))
	b.ReportMetric(0, "ns/op")
}

// A flood is what somebody does beside others, and what they notice of it.
type flood struct {
	name             string
	work             func(i int) // nil: nothing
	one              bool        // it is of logins of one user
	requests, logins times       // of others
	done             int
	took             time.Duration
}

// samples are how many p99 there are of the same. Six are needed for an interval.
const samples = 9

// times are those of pieces of work, for each sample.
type times [samples][]time.Duration

// p99 returns the time that 99 of 100 took at most, of each sample.
func (t *times) p99() []float64 {
	var all []float64
	for _, took := range t {
		slices.Sort(took)
		all = append(all, percentile(took, 0.99))
	}
	return all
}

// flooded is an application with a login.
func flooded(sm *scs.SessionManager, g *scsguard.Guard, page http.Handler) http.Handler {
	answer := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "alice") }
	mux := http.NewServeMux()
	mux.Handle("GET /", page)
	mux.HandleFunc("GET "+plain, answer)
	mux.Handle("POST /login", g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		put(r.Context(), sm, 5)
		if _, err := g.Login(r.Context(), r.Header.Get("X-User")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, r)
	})))
	return mux
}

// many returns n names of one length.
func many(name string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s %06d", name, i)
	}
	return all
}

// paced does work so often, however long it takes.
func paced(every time.Duration, work func(i int)) func(i int) {
	var began time.Time
	return func(i int) {
		if i == 0 {
			began = time.Now()
		}
		time.Sleep(time.Until(began.Add(time.Duration(i) * every)))
		work(i)
	}
}

func quotients(a, b []float64) []float64 {
	q := make([]float64, len(a))
	for i := range q {
		q[i] = a[i] / b[i]
	}
	return q
}

// beside does work again and again in a goroutine of its own until stop is called,
// which returns how often that was.
func beside(work func(i int)) (stop func() int) {
	if work == nil {
		return func() int { return 0 }
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for ; ctx.Err() == nil; n++ {
			work(n)
		}
	})
	return func() int { cancel(); wg.Wait(); return n }
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
			var stops []func() int
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
