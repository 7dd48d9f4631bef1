package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// A caller is one connection to a server, over which one visitor asks again and
// again, or several in turn. It reads no more of an answer than it has to, so that what is measured is
// the server.
type caller struct {
	conn    net.Conn
	r       *bufio.Reader
	request []byte
	who     []byte          // where the request says who asks
	turns   []string        // the same of several who take turns, all of one length
	n       int             // whose turn it is
	took    []time.Duration // since the last round
}

// serve starts a server with that handler, and stops it with the benchmark.
func serve(b *testing.B, h http.Handler) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// call returns a visitor with a cookie.
func call(b *testing.B, addr, cookie string) *caller {
	return callAs(b, addr, "GET /", "Cookie: ", cookie)
}

// callAs returns a caller who says in the last lines of the header who he is.
func callAs(b *testing.B, addr, what, lines, who string) *caller {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	head := what + " HTTP/1.1\r\nHost: " + addr + "\r\nUser-Agent: " + agent + "\r\nAccept-Language: en-GB,en;q=0.5\r\n" + lines
	c := &caller{conn: conn, r: bufio.NewReader(conn), request: []byte(head + who + "\r\n\r\n")}
	c.who = c.request[len(head) : len(head)+len(who)]
	return c
}

// ask makes one request.
func (c *caller) ask() error {
	if len(c.turns) > 0 {
		c.n = next(c.n, len(c.turns))
		copy(c.who, c.turns[c.n])
	}
	began := time.Now()
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	length := -1
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && string(line) != "HTTP/1.1 200 OK\r\n" {
			return fmt.Errorf("the answer is %q", line)
		}
		if len(line) == 2 {
			break
		}
		if name, value, _ := cut(line); textproto.CanonicalMIMEHeaderKey(name) == "Content-Length" {
			if length, err = strconv.Atoi(value); err != nil {
				return err
			}
		}
	}
	if length != len("alice") {
		return fmt.Errorf("the answer has %d bytes", length)
	}
	if _, err := io.CopyN(io.Discard, c.r, int64(length)); err != nil {
		return err
	}
	c.took = append(c.took, time.Since(began))
	return nil
}

// mustAsk is ask for who keeps no times.
func (c *caller) mustAsk() {
	if err := c.ask(); err != nil {
		panic(err)
	}
	c.took = c.took[:0]
}

// cut splits a line of a header.
func cut(line []byte) (name, value string, ok bool) {
	for i, c := range line {
		if c == ':' {
			return string(line[:i]), string(line[i+2 : len(line)-2]), true
		}
	}
	return "", "", false
}

// round is how long one round of a closed loop takes.
func round() time.Duration {
	if large() {
		return 40 * time.Millisecond
	}
	return 20 * time.Millisecond
}

// loop lets all callers ask for that long, and returns how many requests there were
// in a second and how long they took, in order.
func loop(b *testing.B, callers []*caller, d time.Duration) (rate float64, took []time.Duration) {
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	began := time.Now()
	var wg sync.WaitGroup
	for _, c := range callers {
		c.took = c.took[:0]
		wg.Go(func() {
			for again := true; again; again = ctx.Err() == nil { // once at least, however busy the machine is
				if err := c.ask(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	seconds := time.Since(began).Seconds()
	for _, c := range callers {
		took = append(took, c.took...)
	}
	slices.Sort(took)
	return float64(len(took)) / seconds, took
}

// percentile returns the time within which that part of requests was answered.
func percentile(took []time.Duration, part float64) float64 {
	return float64(took[min(int(part*float64(len(took))), len(took)-1)])
}

// BenchmarkHTTP has closed loops ask real servers, which take turns.
func BenchmarkHTTP(b *testing.B) {
	connections := []int{1, 4, 16, 64}
	if !large() {
		connections = []int{1, 4}
	}
	for _, n := range connections {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) {
			w := world{values: 5}
			apps := []app{openPlain(b, w), openSCS(scsWithout, 0)(b, w), openSCS(scsIdle, idle)(b, w), openGuard(guardGob, scs.GobCodec{})(b, w),
				openGuard(guardCodec, scsguard.Codec{})(b, w), openGorilla(b, w)}
			callers := make([][]*caller, len(apps))
			for i, a := range apps {
				addr := serve(b, a.handler)
				for range n {
					callers[i] = append(callers[i], call(b, addr, a.cookies[hit]))
				}
				loop(b, callers[i], round()/10)
			}
			rates, all := make([][]float64, len(apps)), make([][]time.Duration, len(apps))
			for turn := 0; b.Loop(); turn++ {
				for i := range apps {
					who := (turn + i) % len(apps)
					rate, took := loop(b, callers[who], round())
					rates[who], all[who] = append(rates[who], rate), append(all[who], took...)
				}
			}
			for i, a := range apps {
				slices.Sort(all[i])
				ratios := make([]float64, len(rates[i]))
				for turn := range ratios {
					ratios[turn] = rates[i][turn] / rates[2][turn]
				}
				rate, p99 := summary(rates[i]).Center, percentile(all[i], 0.99)
				overHTTP.add(fmt.Sprint(n), a.name, grouped(int(rate)), duration(percentile(all[i], 0.5)), duration(p99),
					duration(percentile(all[i], 0.999)), interval(summary(ratios)))
				b.ReportMetric(summary(ratios).Center, unit(a.name))
				plotted(&byRate, a.name, rate, p99/1e3)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
