package bench

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchmath"
)

// A contestant does the work that is compared.
type contestant struct {
	name string
	work func()
}

// A result is what a contest found out about one contestant.
type result struct {
	name   string
	ns     benchmath.Summary // of one piece of work
	ratio  benchmath.Summary // to the same round of the contestant that all are compared with
	allocs float64
	took   []float64 // of each round
}

// over compares with another contestant of the same contest, round by round.
func (r result) over(other result) benchmath.Summary { return summary(quotients(r.took, other.took)) }

// confidence is that of all intervals. They are benchstat's: of the median, with
// nothing assumed of how times are distributed.
const confidence = 0.95

func summary(samples []float64) benchmath.Summary {
	return benchmath.AssumeNothing.Summary(benchmath.NewSample(samples, &benchmath.DefaultThresholds), confidence)
}

// contest lets contestants take turns, batch pieces of work at a time, so that what
// else the machine does falls on all of them. Each round begins with another one. The
// ratio is that of two neighbours in one round. ready is called before each batch and
// not timed: what a server would just have read from its network is in the caches.
func contest(b *testing.B, batch int, base string, all []contestant, ready ...func(batch int)) []result {
	b.Helper()
	baseIndex := -1
	for i, c := range all {
		if c.name == base {
			baseIndex = i
		}
		c.work() // whatever is done once, such as the end of a session that is over
	}
	took := make([][]float64, len(all))
	for round := 0; b.Loop(); round++ {
		for i := range all {
			who := (round + i) % len(all)
			for _, f := range ready {
				f(batch)
			}
			began := time.Now()
			for range batch {
				all[who].work()
			}
			took[who] = append(took[who], float64(time.Since(began))/float64(batch))
		}
	}
	b.StopTimer()
	results := make([]result, len(all))
	for i, c := range all {
		results[i] = result{name: c.name, ns: summary(took[i]), allocs: testing.AllocsPerRun(100, c.work), took: took[i]}
		results[i].ratio = summary(quotients(took[i], took[baseIndex]))
		b.ReportMetric(results[i].ratio.Center, unit(c.name))
	}
	b.ReportMetric(0, "ns/op") // of all together, which says nothing
	return results
}

// unit makes a name one that a benchmark can report.
func unit(name string) string { return strings.NewReplacer(" ", "-", ",", "").Replace(name) }

// visiting returns contestants that visit applications.
func visiting(apps []app, v visit) []contestant {
	var all []contestant
	for _, a := range apps {
		if c, ok := visitor(a, v); ok {
			all = append(all, contestant{a.name, c.get})
		}
	}
	return all
}
