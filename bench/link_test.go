package bench

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// oneWay is how long a relay keeps what it is given, in each direction: together a
// round trip between two hosts of one data centre.
const oneWay = 250 * time.Microsecond

// far returns a pool whose connections reach addr over a relay that delays them. Over
// loopback a round trip takes less time than to decode a session; nobody's Redis is
// that near but in a benchmark.
func far(b *testing.B, addr string) *redis.Pool {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", addr)
			if err != nil {
				_ = near.Close()
				continue
			}
			open.Go(func() { relay(there, near) })
			open.Go(func() { relay(near, there) })
		}
	})
	pool := &redis.Pool{MaxIdle: 128, DialContext: func(ctx context.Context) (redis.Conn, error) {
		return redis.DialContext(ctx, "tcp", l.Addr().String())
	}}
	b.Cleanup(func() {
		_ = pool.Close()
		_ = l.Close()
		open.Wait()
	})
	return pool
}

// relay hands on what comes, each piece oneWay after it came.
func relay(to io.WriteCloser, from io.ReadCloser) {
	type piece struct {
		b   []byte
		due time.Time
	}
	pieces := make(chan piece, 64)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 32<<10)
			n, err := from.Read(b)
			if n > 0 {
				pieces <- piece{b[:n], time.Now().Add(oneWay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		pause(time.Until(p.due))
		if _, err := to.Write(p.b); err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	for range pieces { // until the reader has seen that
	}
}
