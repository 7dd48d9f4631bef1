package contract

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/boltstore"
	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// store is a kind of session store.
type store struct {
	name     string
	durable  bool // sessions outlive the process, so the guard has to be given a registry
	ownClock bool // it cannot be run in simulated time
	start    func(t *testing.T)
	open     func(t *testing.T) scs.Store // an empty one, after start
}

func stores() []*store { return []*store{inMemory(), inFile(), inRedis()} }

func inMemory() *store {
	return &store{
		name:  "memstore",
		start: func(*testing.T) {},
		open:  func(*testing.T) scs.Store { return memstore.NewWithCleanupInterval(0) },
	}
}

// inFile is a store in a file of this process.
func inFile() *store {
	s := &store{name: "boltstore", durable: true}
	var db *bbolt.DB
	s.start = func(t *testing.T) {
		var err error
		// What boltstore returns lies in the mapped file, so the mapping must not
		// move: it is as large as it will ever be.
		db, err = bbolt.Open(filepath.Join(t.TempDir(), "sessions"), 0o600, &bbolt.Options{NoSync: true, InitialMmapSize: 64 << 20})
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
	}
	s.open = func(t *testing.T) scs.Store {
		require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
			for _, name := range buckets(tx) {
				if err := tx.DeleteBucket(name); err != nil {
					return err
				}
			}
			return nil
		}))
		return copying{boltstore.NewWithCleanupInterval(db, 0)}
	}
	return s
}

func buckets(tx *bbolt.Tx) (names [][]byte) {
	_ = tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		names = append(names, append([]byte(nil), name...))
		return nil
	})
	return names
}

// copying copies what boltstore returns: the file under it may be written to
// while an iteration goes on.
type copying struct{ *boltstore.BoltStore }

func (s copying) Find(token string) ([]byte, bool, error) {
	b, found, err := s.BoltStore.Find(token)
	return append([]byte(nil), b...), found, err
}

func (s copying) All() (map[string][]byte, error) {
	all, err := s.BoltStore.All()
	for token, b := range all {
		all[token] = append([]byte(nil), b...)
	}
	return all, err
}

// inRedis is a store in another process with a clock of its own.
func inRedis() *store {
	s := &store{name: "redisstore", durable: true, ownClock: true}
	var pool *redis.Pool
	s.start = func(t *testing.T) { pool = startRedis(t) }
	s.open = func(*testing.T) scs.Store {
		return redisstore.NewWithPrefix(pool, fmt.Sprintf("test:%d:", prefixes.Add(1)))
	}
	return s
}

var prefixes atomic.Int64

// startRedis starts a Redis server that the test owns, and stops it after it.
func startRedis(t *testing.T) *redis.Pool {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		const missing = "redis-server is not installed, so no promise is checked over Redis. Debian and Ubuntu: sudo apt-get install redis-server"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	for range 5 { // another program may take the port before the server does
		port := freePort(t)
		server := exec.Command(bin, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no", "--dir", t.TempDir())
		require.NoError(t, server.Start())
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			_ = server.Wait()
		}()
		stop := func() {
			_ = server.Process.Kill()
			<-stopped
		}
		pool := &redis.Pool{MaxIdle: 8, Dial: func() (redis.Conn, error) {
			return redis.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), redis.DialConnectTimeout(time.Second))
		}}
		if err := ready(pool, server.Process.Pid, stopped); err != nil {
			_ = pool.Close()
			stop()
			t.Logf("port %d: %v", port, err)
			continue
		}
		t.Cleanup(func() {
			_ = pool.Close()
			stop()
		})
		return pool
	}
	t.Fatal("redis-server does not come up")
	return nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// ready waits until the server answers, and makes sure that it is the one that
// was started.
func ready(pool *redis.Pool, pid int, stopped <-chan struct{}) error {
	err := errors.New("it never answered")
	for range 500 {
		select {
		case <-stopped:
			return errors.New("it stopped at once")
		case <-time.After(10 * time.Millisecond):
		}
		var info string
		if info, err = redisInfo(pool); err != nil {
			continue
		}
		if !contains(info, fmt.Sprintf("process_id:%d", pid)) {
			return errors.New("it is somebody else's")
		}
		return nil
	}
	return err
}
