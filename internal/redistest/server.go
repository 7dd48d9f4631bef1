// Package redistest starts Redis servers for tests.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// A Server is a Redis server of a test.
type Server struct {
	Addr string

	t    testing.TB
	args []string
	cmd  *exec.Cmd
	done chan struct{}
}

const missing = "redis-server is not installed, so nothing is checked over Redis. Debian and Ubuntu: sudo apt-get install redis-server"

// Start starts a server on a free port, in a temporary folder, which keeps nothing.
// The test stops it. Without redis-server the test is skipped, and fails where CI is
// true. args are further settings.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, append([]string{"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, args...))
}

// StartSentinel starts a Sentinel with a configuration, which it changes.
func StartSentinel(t testing.TB, conf string) *Server {
	t.Helper()
	return start(t, []string{"--sentinel"}, conf)
}

func start(t testing.TB, args []string, first ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	for range 5 { // another program may take the port before the server does
		s := &Server{Addr: freeAddr(t), t: t}
		s.args = slices.Concat(first, []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(s.Port())}, args)
		if err := s.Restart(); err != nil {
			t.Logf("%s: %v", s.Addr, err)
			continue
		}
		t.Cleanup(s.Stop)
		return s
	}
	t.Fatal("redis-server does not come up")
	return nil
}

// freeAddr returns an address on which nobody listens. The system gives none of these
// ports to a connection that asks for any: else one of a test beside could take that of
// a server which is started anew.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("no port is free")
	return ""
}

// Restart starts the server, anew after [Server.Stop].
func (s *Server) Restart() error {
	s.cmd = exec.Command("redis-server", s.args...)
	s.cmd.SysProcAttr = dieWithParent()
	s.done = make(chan struct{})
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, done := s.cmd, s.done
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	if err := s.ready(); err != nil {
		s.Stop()
		return err
	}
	return nil
}

// Stop kills the server.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// ready waits until the server answers, and makes sure that it is the one that was
// started.
func (s *Server) ready() error {
	err := errors.New("it never answered")
	for range 3000 { // half a minute: a machine may have much else to do
		select {
		case <-s.done:
			return errors.New("it stopped at once")
		case <-time.After(10 * time.Millisecond):
		}
		var info string
		if info, err = s.info(); err != nil {
			continue
		}
		if !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", s.cmd.Process.Pid)) {
			return errors.New("it is somebody else's")
		}
		return nil
	}
	return err
}

func (s *Server) info() (string, error) {
	c, err := redis.Dial("tcp", s.Addr, redis.DialConnectTimeout(time.Second))
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.Do("PING"); err != nil { // it is still loading what it has on disk, and serves nobody
		return "", err
	}
	return redis.String(c.Do("INFO", "server"))
}

// Dial opens a connection.
func (s *Server) Dial(ctx context.Context) (redis.Conn, error) {
	return redis.DialContext(ctx, "tcp", s.Addr, redis.DialConnectTimeout(5*time.Second))
}

// Pool returns a pool of connections, which the test closes.
func (s *Server) Pool() *redis.Pool {
	pool := &redis.Pool{MaxIdle: 128, DialContext: s.Dial}
	s.t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// Port returns the port of the server.
func (s *Server) Port() int {
	_, port, _ := net.SplitHostPort(s.Addr)
	n, _ := strconv.Atoi(port)
	return n
}

// Immortal returns the keys that begin with any of the prefixes and would never
// expire.
func Immortal(ctx context.Context, c redis.Conn) ([]string, error) {
	var found []string
	cursor := "0"
	for {
		reply, err := redis.Values(redis.DoContext(c, ctx, "SCAN", cursor, "COUNT", 1000))
		if err != nil {
			return nil, err
		}
		keys, err := redis.Strings(reply[1], nil)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			_ = c.Send("PTTL", key)
		}
		left, err := redis.Int64s(redis.DoContext(c, ctx, ""))
		if err != nil && !errors.Is(err, redis.ErrNil) {
			return nil, err
		}
		for i, ms := range left {
			if ms == -1 {
				found = append(found, keys[i])
			}
		}
		if cursor, err = redis.String(reply[0], nil); err != nil || cursor == "0" {
			return found, err
		}
	}
}
