package bench

import (
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchmath"
)

// The report is made of what the benchmarks of one run found out. `make bench` prints
// it and writes it to docs/performance.md, whose numbers all come from there.

var writing = flag.String("performance", "", "the `folder` to write performance.md and its plots to")

// A section of the report is one table under a heading, and what it shows.
type section struct {
	title, text string
	head        []string
	rows        [][]string
	shows       []string
}

const comparing = "| | time | time / scs with IdleTimeout | allocations | allocations / its |"

var cells = strings.Split(strings.Trim(comparing, "| "), " | ")

var (
	targets = &section{title: "The targets", head: []string{"what", "goal", "measured", "met"},
		text: "Met means that the whole interval is within the goal, open that the goal lies in it."}
	inMemory = &section{title: "A request, in memory", head: append([]string{"visit, values"}, head(cells)...),
		text: "One process, no network, an `http.ResponseWriter` that only remembers. Guards enforce an idle and an absolute timeout, bind\n" +
			"sessions to their device and write a trail. gorilla/sessions has no idle timeout and is only read."}
	onRedis = &section{title: "A request, on Redis", head: append([]string{"values"}, head(cells)...),
		text: "Redis on the same machine. A time is that of all round trips, of encoding and of decoding. A GET right after another finds Redis and\n" +
			"the connection awake, as no request does, which has other work to do as well: so there is a guard in memory whose handler has one GET to\n" +
			"make, and nothing of it."}
	farRedis = &section{title: "A request, on Redis half a millisecond away", head: append([]string{"values"}, head(cells)...),
		text: "The same over a relay that keeps everything for a quarter of a millisecond in each direction, as a network would, the bare GET as well."}
	logins = &section{title: "A login", head: []string{"among", "", "time", "ratio", "allocations"},
		text: "With five values. The ratio is to the guard among one session."}
	growth = &section{title: "Growth", head: []string{"live sessions", "", "time (more than among one)", "time / same library, one session"},
		text: "The same visitor again and again, and all visitors in turn: their sessions are not in the processor's caches, with scs as with the\n" +
			"guard. Without a server, where a request costs a few microseconds, each line that is fetched from memory shows in the ratio; to\n" +
			"fetch what scs stores is part of it. Of the guard's requests one a minute in each session records its activity, which costs more and\n" +
			"has a row of its own; the others do not. Over HTTP is what a request really costs: one connection over loopback, client and server on\n" +
			"the same processors."}
	memory = &section{title: "Memory", head: []string{"live sessions", "", "bytes a session", "beyond scs"},
		text: "Live heap after a collection, divided by the number of sessions. Each is of another user in another network; there are ten browsers.\n" +
			"Of a session that was logged out the registry keeps a tombstone until an hour after its deadline, and of its user his last login."}
	memoryOnRedis = &section{title: "Memory of Redis", head: []string{"sessions", "", "bytes a session", "beyond scs"},
		text: "Growth of used_memory divided by the number of sessions. Each user has one; where he has more, his places are paid for once."}
	away = &section{title: "Redis away, and endings elsewhere", head: []string{"", "p99", "everybody served again after, at most"},
		text: "20 visitors ask five times each while Redis hangs (its process is stopped) or is down; the CallTimeout is half a second. All are\n" +
			"answered 503. The last line is of two processes on one Redis: a session is ended in one, a stream under `CutOff` in the other."}
	strangersIn = &section{title: "Cookies that are worth nothing", head: []string{"visit", "", "time", "time / a valid cookie"},
		text: "What an attacker can make the server do with a cookie that he made up, or one that is over."}
	overHTTP = &section{title: "Over HTTP", head: []string{"connections", "", "requests/s", "p50", "p99", "p99.9", "requests/s / scs with IdleTimeout"},
		text: "net/http over loopback, keep-alive, a closed loop: each connection asks again when it was answered. The client runs on the same\n" +
			"processors, and takes its part of them."}
	flooding = &section{title: "A flood of logins of one user", head: []string{"meanwhile", "done a second", "others' requests p99", "/ without", "others' logins p99", "/ without"},
		text: "Over HTTP, in a process with up to 100,000 sessions: one connection floods, another asks for the pages of everybody else, and then logs\n" +
			"others in. Clients and server share the processors. Passwords are not checked, which would take a thousand times as long as the logins."}
	soaking = &section{title: "Endurance", head: []string{"after", "requests", "live heap", "goroutines"},
		text: "As many requests as the processors bear, of 1,000 sessions and of strangers; some change their session. Nobody logs in or out: what has\n" +
			"ended is remembered for an hour after its deadline."}
	sections = []*section{targets, inMemory, onRedis, farRedis, logins, growth, memory, memoryOnRedis, away, strangersIn, overHTTP, flooding, soaking}
)

// head leaves out the first cell of comparing, which is empty.
func head(cells []string) []string { return append([]string{""}, cells...) }

func (s *section) add(row ...string) { s.rows = append(s.rows, row) }

// say adds a paragraph below the table, with numbers of this run.
func (s *section) say(format string, numbers ...any) {
	s.shows = append(s.shows, fmt.Sprintf(format, numbers...))
}

// compare adds what a contest found out to a table of comparisons.
func (s *section) compare(what string, results []result, base string) {
	var theirs float64
	for _, r := range results {
		if r.name == base {
			theirs = r.allocs
		}
	}
	for _, r := range results {
		s.add(what, r.name, duration(r.ns.Center), interval(r.ratio), fmt.Sprintf("%.0f", r.allocs), fmt.Sprintf("%.2f", r.allocs/theirs))
	}
}

func interval(s benchmath.Summary) string {
	if math.IsInf(s.Lo, 0) || math.IsInf(s.Hi, 0) {
		return fmt.Sprintf("%.2f, in too few rounds to say more", s.Center)
	}
	return fmt.Sprintf("%.2f [%.2f, %.2f]", s.Center, s.Lo, s.Hi)
}

func duration(ns float64) string {
	switch {
	case ns < 1e4:
		return fmt.Sprintf("%.2f µs", ns/1e3)
	case ns < 1e6:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	}
	return fmt.Sprintf("%.2f ms", ns/1e6)
}

// goal adds a line to the targets. limit is the most that is good.
func goal(what string, limit float64, got benchmath.Summary) {
	met := "open"
	switch {
	case got.Hi <= limit:
		met = "yes"
	case got.Lo > limit:
		met = "**no**"
	}
	targets.add(what, fmt.Sprintf("at most %.2f", limit), interval(got), met)
}

// exactly is a number without noise.
func exactly(v float64) benchmath.Summary { return benchmath.Summary{Center: v, Lo: v, Hi: v} }

// find returns the result of a contestant.
func find(results []result, name string) result {
	for _, r := range results {
		if r.name == name {
			return r
		}
	}
	panic("nobody is called " + name)
}

func (s *section) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s\n\n| %s |\n|%s\n", s.title, s.text, strings.Join(s.head, " | "), strings.Repeat(" --- |", len(s.head)))
	last := ""
	for _, row := range s.rows {
		shown := append([]string(nil), row...)
		if row[0] == last {
			shown[0] = ""
		}
		last = row[0]
		fmt.Fprintf(&b, "| %s |\n", strings.Join(shown, " | "))
	}
	for _, text := range s.shows {
		fmt.Fprintf(&b, "\n%s\n", text)
	}
	return b.String()
}

const preface = `# What it costs

Written by ` + "`make bench`" + ` on %s: %s, %s/%s, %d processors. Other machines have other times; ratios travel better. What is compared
takes turns in one run, so that what else the machine does falls on all. Behind a median stands its 95 %% confidence interval, as
benchstat computes it. Every number on this page comes from
that command, called with SESSIONS=%d and SOAK=%s; [bench](../bench) has the benchmarks.

![Time of a request against live sessions](performance-sessions.svg)

![Latency against request rate](performance-rate.svg)

`

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	for _, s := range sections {
		if len(s.rows) > 0 && code == 0 && *writing != "" {
			fmt.Println(s)
		}
	}
	if *writing != "" && code == 0 {
		if err := writeReport(*writing); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func writeReport(dir string) error {
	var b strings.Builder
	fmt.Fprintf(&b, preface, time.Now().Format("2 January 2006"), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), most(), endurance())
	for i, s := range sections {
		if len(s.rows) == 0 {
			return fmt.Errorf("nothing was measured for %q: a report needs all benchmarks in one run", s.title)
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(s.String())
	}
	if err := plotSessions(dir + "/performance-sessions.svg"); err != nil {
		return err
	}
	if err := plotRate(dir + "/performance-rate.svg"); err != nil {
		return err
	}
	return os.WriteFile(dir+"/performance.md", []byte(b.String()), 0o644)
}
