// Package redisremember keeps remembered browsers in Redis: a
// [scsguard.RememberStore] for guards in many processes.
//
//	guard, err := scsguard.New(sessions, scsguard.Config{
//		Remember: scsguard.Remember{Store: redisremember.New(pool)},
//		...
//	})
//
// It needs Redis 5 or later, with Lua, or a server that speaks the same. Each
// browser is one string under one key with a time to live, so any Redis Cluster
// will do; what each call does is one script. The clock is the server's.
//
// # Failover
//
// A Redis that loses its last writes, because its replica had not got them yet or
// its file was not synchronized, brings tokens back that had been used, and browsers
// that had been logged out by themselves. (What EndAll has ended stays ended: the
// registry decides that.) Keep it as you keep the sessions: appendfsync everysec at
// the least, min-replicas-to-write where there are replicas, and no eviction of
// keys (maxmemory-policy noeviction).
package redisremember

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redisfault"
)

// A Pool hands out connections. *redis.Pool is one. Give it a DialContext, so that
// a server that does not answer costs no longer than the context allows.
type Pool interface {
	GetContext(ctx context.Context) (redis.Conn, error)
}

// A Store is a [scsguard.RememberStore] in Redis. It is safe for concurrent use.
type Store struct {
	pool   Pool
	prefix string
}

var _ scsguard.RememberStore = (*Store)(nil)

// DefaultPrefix begins the keys of [New].
const DefaultPrefix = "scsguard:remember:"

// New returns a store under [DefaultPrefix].
func New(pool Pool) *Store { return NewWithPrefix(pool, DefaultPrefix) }

// NewWithPrefix returns a store whose keys begin with prefix: for applications
// that share a Redis.
func NewWithPrefix(pool Pool, prefix string) *Store { return &Store{pool: pool, prefix: prefix} }

var (
	//go:embed load.lua
	loadSource string
	//go:embed swap.lua
	swapSource string
)

// scripts are read once and never change.
var (
	loadScript = redis.NewScript(1, loadSource)
	swapScript = redis.NewScript(1, swapSource)
)

var errAnswer = errors.New("redisremember: an answer that makes no sense; is this Redis?")

// Load returns the value under id and the server's clock.
func (s *Store) Load(ctx context.Context, id string) ([]byte, time.Time, error) {
	var answer []any
	var err error
	for range redisfault.StaleConnections { // it changes nothing, so that it may be asked on another one
		if answer, err = redis.Values(s.run(ctx, loadScript, s.prefix+id)); !redisfault.Stale(err) {
			break
		}
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(answer) != 3 {
		return nil, time.Time{}, errAnswer
	}
	seconds, err1 := redis.Int64(answer[0], nil)
	micros, err2 := redis.Int64(answer[1], nil)
	if err1 != nil || err2 != nil || seconds <= 0 {
		return nil, time.Time{}, errAnswer
	}
	now := time.Unix(seconds, micros*int64(time.Microsecond/time.Nanosecond))
	value, err := redis.Bytes(answer[2], nil)
	switch {
	case errors.Is(err, redis.ErrNil):
		return nil, now, nil
	case err != nil:
		return nil, now, errAnswer
	}
	return value, now, nil
}

// Swap puts value in the place of old.
func (s *Store) Swap(ctx context.Context, id string, old, value []byte, ttl time.Duration) (bool, error) {
	// Redis counts milliseconds. A part of one is rounded down, so that nothing is
	// there when its time is over, but never to none, which would mean for ever.
	millis := max(ttl.Milliseconds(), 1)
	n, err := redis.Int(s.run(ctx, swapScript, s.prefix+id, old, value, millis))
	return n == 1, err
}

// run runs a script on a connection of its own and waits no longer for it than the
// context allows, whatever the pool's dial does.
func (s *Store) run(ctx context.Context, script *redis.Script, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("redisremember: no connection: %w", err)
	}
	defer conn.Close()
	answer, err := script.DoContext(ctx, conn, args...)
	if redisfault.Replica(err) { // else it would be handed out again and again
		_, _ = redis.DoContext(conn, ctx, "QUIT")
		_, _ = redis.DoContext(conn, ctx, "PING") // so that the pool learns that it is closed
	}
	return answer, err
}

func (s *Store) connect(ctx context.Context) (redis.Conn, error) {
	type result struct {
		conn redis.Conn
		err  error
	}
	got := make(chan result, 1)
	go func() {
		conn, err := s.pool.GetContext(ctx)
		got <- result{conn, err}
	}()
	select {
	case r := <-got:
		return r.conn, r.err
	case <-ctx.Done():
		go func() {
			if r := <-got; r.conn != nil {
				_ = r.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}
