package redisremember_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"
)

// server is a Redis server that a test owns.
type server struct {
	pool *redis.Pool
	cmd  *exec.Cmd
	done chan struct{}
}

// startRedis starts a server on a free port and stops it after the test.
func startRedis(t *testing.T) *server {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		const missing = "redis-server is not installed, so nothing is checked over Redis. Debian and Ubuntu: sudo apt-get install redis-server"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	for range 5 { // another program may take the port before the server does
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
		s := &server{done: make(chan struct{})}
		s.cmd = exec.Command(bin, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no", "--dir", t.TempDir())
		require.NoError(t, s.cmd.Start())
		go func() {
			defer close(s.done)
			_ = s.cmd.Wait()
		}()
		s.pool = &redis.Pool{MaxIdle: 16, DialContext: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		}}
		if err := s.ready(); err != nil {
			s.stop()
			t.Logf("port %d: %v", port, err)
			continue
		}
		t.Cleanup(s.stop)
		return s
	}
	t.Fatal("redis-server does not come up")
	return nil
}

func (s *server) stop() {
	_ = s.pool.Close()
	_ = s.cmd.Process.Kill()
	<-s.done
}

// ready waits until the server answers, and makes sure that it is the one that was
// started.
func (s *server) ready() error {
	for range 500 {
		select {
		case <-s.done:
			return errors.New("it stopped at once")
		case <-time.After(10 * time.Millisecond):
		}
		info, err := redis.String(s.do("INFO", "server"))
		if err != nil {
			continue
		}
		if !strings.Contains(info, fmt.Sprintf("process_id:%d", s.cmd.Process.Pid)) {
			return errors.New("it is somebody else's")
		}
		return nil
	}
	return errors.New("it never answered")
}

func (s *server) do(cmd string, args ...any) (any, error) {
	conn := s.pool.Get()
	defer conn.Close()
	return conn.Do(cmd, args...)
}

// requireNothingForEver checks that every key has a time to live.
func (s *server) requireNothingForEver(t *testing.T) {
	t.Helper()
	keys, err := redis.Strings(s.do("KEYS", "*"))
	require.NoError(t, err)
	for _, key := range keys {
		left, err := redis.Int64(s.do("PTTL", key))
		require.NoError(t, err)
		require.NotEqual(t, int64(-1), left, "%q is kept for ever", key)
	}
}
