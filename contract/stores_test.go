package contract

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/alexedwards/scs/boltstore"
	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/scsguard/scsguard/internal/redistest"
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
	s.start = func(t *testing.T) { pool = redistest.Start(t).Pool() }
	s.open = func(*testing.T) scs.Store {
		return redisstore.NewWithPrefix(pool, fmt.Sprintf("test:%d:", prefixes.Add(1)))
	}
	return s
}

var prefixes atomic.Int64
