package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// SCSGUARD_BENCH_SESSIONS is how many sessions there are at the most: `make bench`
// makes a million, which takes a while.
func most() int {
	n, _ := strconv.Atoi(os.Getenv("SCSGUARD_BENCH_SESSIONS"))
	return n
}

// large says whether there is time for more than a look whether a benchmark works.
func large() bool { return most() > 0 }

// guardTouch is a guard that has a request's activity to record.
const guardTouch = guardCodec + ", a request that is recorded as activity"

// crowds are how many sessions live in memory.
func crowds() []int { return []int{1, 1_000, max(most(), 2_000)} }

// grouped writes a number so that it can be read.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// untouched is an option for guards among whose sessions there is time for a minute to
// pass: only the requests of one in so many would record activity, or all of them,
// as the number of sessions has it.
func untouched(c *scsguard.Config) { c.Timeouts.Touch = idle - time.Minute }

// touching has every request record activity, which is due once a minute else.
func touching(c *scsguard.Config) { c.Timeouts.Touch = time.Nanosecond }

// BenchmarkGrowth compares a request among many live sessions with one among few: of
// the same visitor, and of all in turn.
func BenchmarkGrowth(b *testing.B) {
	open := map[string]func(*testing.B, world) app{
		scsIdle: openSCS(scsIdle, idle), guardCodec: openGuard(guardCodec, scsguard.Codec{}, untouched),
	}
	var more float64 // that the guard's costs among the most, all in turn
	for _, name := range []string{scsIdle, guardCodec} {
		b.Run(unit(name), func(b *testing.B) {
			var all []contestant
			var ready []func(int)
			for _, n := range crowds() {
				a := open[name](b, world{values: 5, others: n - 1})
				c, _ := visitor(a, hit)
				all = append(all, contestant{"same of " + grouped(n), c.get})
				if n > 1 {
					turns := everybody(a)
					all, ready = append(all, contestant{"all of " + grouped(n), turns.get}), append(ready, turns.ready)
				}
			}
			if name == guardCodec {
				a := openGuard(guardTouch, scsguard.Codec{}, touching)(b, world{values: 5})
				c, _ := visitor(a, hit)
				all = append(all, contestant{guardTouch, c.get})
			}
			runtime.GC()
			results := contest(b, 16, "same of 1", all, ready...)
			base := find(results, "same of 1").ns.Center
			for _, n := range crowds() {
				same := find(results, "same of "+grouped(n))
				growth.grew(grouped(n), name+", the same visitor", same, base)
				turns := same
				if n > 1 {
					turns = find(results, "all of "+grouped(n))
					growth.grew(grouped(n), name+", all in turn", turns, base)
				}
				if n == 1 && name == guardCodec {
					growth.grew("1", guardTouch, find(results, guardTouch), base)
				}
				plotted(&bySessions, name, float64(n), turns.ns.Center/1e3)
				if name == guardCodec && n == crowds()[2] {
					more = turns.ns.Center - base
					goal("growth: a request among "+grouped(n)+" sessions / among 1, the same visitor", 1.2, same.ratio)
					goal("growth: a request among "+grouped(n)+" sessions / among 1, all in turn, without a server", 1.2, turns.ratio)
				}
			}
		})
	}
	b.Run("parts", func(b *testing.B) {
		parts := growthParts(b)
		growth.say("Among %s sessions instead of one, all in turn, a request of the guard takes %s more. It has to find data and record of its\n"+
			"session. After a request of one visitor, among so many instead of one, %s takes more:\n"+
			"what a processor needs to fetch memory that it has not seen for long.", grouped(crowds()[2]), duration(more), parts)
	})
}

// BenchmarkHTTPGrowth is BenchmarkGrowth over HTTP: what a request really costs, and
// costs more, with one connection.
func BenchmarkHTTPGrowth(b *testing.B) {
	n := crowds()[2]
	var all []contestant
	for _, open := range []struct {
		name string
		app  func(*testing.B, world) app
	}{{scsIdle, openSCS(scsIdle, idle)}, {guardCodec, openGuard(guardCodec, scsguard.Codec{}, untouched)}} {
		few, many := open.app(b, world{values: 5}), open.app(b, world{values: 5, others: n - 1})
		same, others := call(b, serve(b, few.handler), few.cookies[hit]), call(b, serve(b, many.handler), many.cookies[hit])
		others.turns = many.others
		all = append(all, contestant{open.name + ", same of 1", same.mustAsk}, contestant{open.name + ", all of " + grouped(n), others.mustAsk})
	}
	runtime.GC()
	results := contest(b, 16, guardCodec+", same of 1", all)
	for _, name := range []string{scsIdle, guardCodec} {
		few, many := find(results, name+", same of 1"), find(results, name+", all of "+grouped(n))
		ratio := many.over(few)
		many.ratio, few.ratio = ratio, exactly(1)
		growth.grew("1", name+", over HTTP, the same visitor", few, few.ns.Center)
		growth.grew(grouped(n), name+", over HTTP, all in turn", many, few.ns.Center)
		b.ReportMetric(ratio.Center, unit(name)+"-grows")
		if name == guardCodec {
			goal("growth: a request among "+grouped(n)+" sessions / among 1, all in turn, over HTTP", 1.2, ratio)
		}
	}
}

// grew adds a row of how much more a request costs than one among one session.
func (s *section) grew(sessions, who string, r result, base float64) {
	time := duration(r.ns.Center)
	if more := r.ns.Center - base; more > 0 {
		time += " (+" + duration(more) + ")"
	}
	s.add(sessions, who, time, interval(r.ratio))
}

// BenchmarkLogin compares a login with scs's, and one among many sessions with one
// among few.
func BenchmarkLogin(b *testing.B) {
	login := func(w world, options ...func(*scsguard.Config)) func() {
		sm, g := newGuard(b, w, scsguard.Codec{}, options...)
		for i := range w.others {
			logIn(b, sm, g, fmt.Sprintf("user %d", i), w.values)
		}
		return func() {
			cookie := logIn(b, sm, g, rand.Text(), 5)
			send(b, g.Protect, cookie, g.Logout) // so that there are not more and more of them
		}
	}
	theirs := newManager(world{})
	theirs.IdleTimeout = idle
	all := []contestant{
		{scsIdle, func() { send(b, theirs.LoadAndSave, scsLogIn(b, theirs, 5), theirs.Destroy) }},
		{guardSealed, login(world{}, func(c *scsguard.Config) { c.Audit = sealed(b) })},
	}
	for _, n := range crowds() {
		all = append(all, contestant{grouped(n), login(world{values: 5, others: n})})
	}
	runtime.GC()
	const base = "1"
	results := contest(b, 4, base, all)
	for _, r := range results[:2] {
		logins.add("1", r.name+", and a logout", duration(r.ns.Center), interval(r.ratio), fmt.Sprintf("%.0f", r.allocs))
	}
	for i, n := range crowds() {
		r := results[i+2]
		logins.add(grouped(n), guardCodec+", and a logout", duration(r.ns.Center), interval(r.ratio), fmt.Sprintf("%.0f", r.allocs))
		if n == crowds()[2] {
			goal("growth: a login among "+grouped(n)+" sessions / among 1", 1.2, r.ratio)
		}
	}
}

// liveHeap is what cannot be collected.
func liveHeap() float64 {
	debug.FreeOSMemory() // two collections: finalizers, too
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkMemory reports how much memory a live session takes beyond what scs needs,
// and how much one that was logged out. Everybody has a name and a network of his
// own; browsers there are a few.
func BenchmarkMemory(b *testing.B) {
	n := crowds()[2]
	var keep *scsguard.Guard
	perSession := func(n int, fill func(*scs.SessionManager, int)) float64 {
		before := liveHeap()
		sm := newManager(world{})
		sm.Codec = scsguard.Codec{} // what the guard stores is not to be compared with gob
		fill(sm, n)
		for keep != nil && keep.Counters().Waiting > 0 { // what has ended is not in the trail yet
			time.Sleep(time.Millisecond)
		}
		after := liveHeap()
		runtime.KeepAlive(sm)
		runtime.KeepAlive(keep)
		keep = nil
		return (after - before) / float64(n)
	}
	guarded := func(then func(g *scsguard.Guard, i int, cookie string)) func(*scs.SessionManager, int) {
		return func(sm *scs.SessionManager, n int) {
			g, err := scsguard.New(sm, scsguard.Config{Audit: scsguard.NewWriterSink(io.Discard), SweepEvery: -1})
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				then(g, i, fromAfar(b, i, g.Protect, "", func(ctx context.Context) error {
					put(ctx, sm, 5)
					_, err := g.Login(ctx, fmt.Sprintf("user-%d@example.com", i))
					return err
				}))
			}
			keep = g
		}
	}
	var theirs, ours, over float64
	for b.Loop() {
		theirs = perSession(n, func(sm *scs.SessionManager, n int) {
			for i := range n {
				fromAfar(b, i, sm.LoadAndSave, "", func(ctx context.Context) error {
					put(ctx, sm, 5)
					sm.Put(ctx, "__scsguard", fmt.Sprintf("%026d", i)) // nor that the guard marks it
					return nil
				})
			}
		})
		ours = perSession(n, guarded(func(*scsguard.Guard, int, string) {}))
		over = perSession(min(n, 100_000), guarded(func(g *scsguard.Guard, i int, cookie string) {
			fromAfar(b, i, g.Protect, cookie, g.Logout)
		}))
	}
	b.ReportMetric(ours-theirs, "B/session")
	b.ReportMetric(over, "B/ended")
	memory.add(grouped(n), "scs", fmt.Sprintf("%.0f", theirs), "")
	memory.add(grouped(n), "guard", fmt.Sprintf("%.0f", ours), fmt.Sprintf("%.0f", ours-theirs))
	memory.add(grouped(min(n, 100_000)), "guard, logged out: what is remembered of session and user", fmt.Sprintf("%.0f", over), "")
	goal("memory of a session beyond scs, bytes", 600, exactly(ours-theirs))
}

// fromAfar is send of a browser in a network of its own.
func fromAfar(b *testing.B, i int, protect func(http.Handler) http.Handler, cookie string, do func(context.Context) error) string {
	moved := func(next http.Handler) http.Handler {
		next = protect(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RemoteAddr = fmt.Sprintf("%d.%d.%d.7:1024", 1+i>>16, i>>8&255, i&255)
			r.Header.Set("User-Agent", strings.Replace(agent, "Chrome/127", fmt.Sprintf("Chrome/%d", 120+i%10), 1))
			next.ServeHTTP(w, r)
		})
	}
	return send(b, moved, cookie, do)
}

// BenchmarkStrangers compares cookies that are worth nothing with one that is valid.
func BenchmarkStrangers(b *testing.B) {
	for _, open := range []struct {
		name string
		app  func(*testing.B, world) app
	}{{scsIdle, openSCS(scsIdle, idle)}, {guardGob, openGuard(guardGob, scs.GobCodec{})}, {guardCodec, openGuard(guardCodec, scsguard.Codec{})}} {
		b.Run(unit(open.name), func(b *testing.B) {
			a := open.app(b, world{values: 5})
			var all []contestant
			for _, v := range []visit{hit, miss, forged, expired} {
				c, _ := visitor(a, v)
				all = append(all, contestant{string(v), c.get})
			}
			time.Sleep(time.Until(soon())) // what is to be over is over
			for _, r := range contest(b, 16, string(hit), all) {
				strangersIn.add(open.name, r.name, duration(r.ns.Center), interval(r.ratio))
				if open.name == guardCodec && r.name != string(hit) {
					goal("a request with a cookie that is "+r.name+" / valid", 1, r.ratio)
				}
			}
		})
	}
}
