package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
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

// BenchmarkGrowth compares a request among many live sessions with one among few: of
// the same visitor, and of all in turn.
func BenchmarkGrowth(b *testing.B) {
	open := map[string]func(*testing.B, world) app{
		scsIdle: openSCS(scsIdle, idle), guardCodec: openGuard(guardCodec, scsguard.Codec{}),
	}
	for _, name := range []string{scsIdle, guardCodec} {
		b.Run(unit(name), func(b *testing.B) {
			var all []contestant
			for _, n := range crowds() {
				a := open[name](b, world{values: 5, others: n - 1})
				c, _ := visitor(a, hit)
				all = append(all, contestant{"same of " + grouped(n), c.get})
				if n > 1 {
					all = append(all, contestant{"all of " + grouped(n), everybody(a).get})
				}
			}
			runtime.GC()
			results := contest(b, 16, "same of 1", all)
			for _, n := range crowds() {
				same := find(results, "same of "+grouped(n))
				growth.add(grouped(n), name+", the same visitor", duration(same.ns.Center), interval(same.ratio))
				turns := same
				if n > 1 {
					turns = find(results, "all of "+grouped(n))
					growth.add(grouped(n), name+", all in turn", duration(turns.ns.Center), interval(turns.ratio))
				}
				plotted(&bySessions, name, float64(n), turns.ns.Center/1e3)
				if name == guardCodec && n == crowds()[2] {
					goal("growth: a request among "+grouped(n)+" sessions / among 1, the same visitor", 1.2, same.ratio)
					goal("growth: a request among "+grouped(n)+" sessions / among 1, all in turn", 1.2, turns.ratio)
				}
			}
		})
	}
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

// BenchmarkMemory reports how much memory a live session takes beyond what scs needs.
func BenchmarkMemory(b *testing.B) {
	n := crowds()[2]
	perSession := func(fill func(*scs.SessionManager)) float64 {
		before := liveHeap()
		sm := newManager(world{})
		fill(sm)
		after := liveHeap()
		runtime.KeepAlive(sm)
		return (after - before) / float64(n)
	}
	var theirs, ours float64
	for b.Loop() {
		theirs = perSession(func(sm *scs.SessionManager) {
			sm.Codec = scsguard.Codec{} // what the guard stores is not to be compared with gob
			for i := range n {
				send(b, sm.LoadAndSave, "", func(ctx context.Context) error {
					put(ctx, sm, 5)
					sm.Put(ctx, "__scsguard", fmt.Sprintf("%026d", i)) // nor that the guard marks it
					return nil
				})
			}
		})
		ours = perSession(func(sm *scs.SessionManager) {
			sm.Codec = scsguard.Codec{}
			g, err := scsguard.New(sm, scsguard.Config{Audit: trail(), SweepEvery: -1})
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				logIn(b, sm, g, fmt.Sprintf("user-%d@example.com", i), 5)
			}
			runtime.KeepAlive(g)
		})
	}
	b.ReportMetric(ours-theirs, "B/session")
	memory.add(grouped(n), "scs", fmt.Sprintf("%.0f", theirs), "")
	memory.add(grouped(n), "guard", fmt.Sprintf("%.0f", ours), fmt.Sprintf("%.0f", ours-theirs))
	goal("memory of a session beyond scs, bytes", 600, exactly(ours-theirs))
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
