package main

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/redisregistry"
	"github.com/scsguard/scsguard/redisremember"
)

// shareSessions keeps sessions in Redis, so that all servers with the same Redis and
// the same key are one application. (What a demo keeps elsewhere stays in each of them:
// balances, and changed passwords.)
func shareSessions(sessions *scs.SessionManager, cfg *scsguard.Config, o options) error {
	addr := o.redis
	if !strings.Contains(addr, "://") {
		addr = "redis://" + addr
	}
	pool := &redis.Pool{
		MaxIdle: 64, IdleTimeout: 4 * time.Minute,
		DialContext: func(ctx context.Context) (redis.Conn, error) { return redis.DialURLContext(ctx, addr) },
	}
	key, err := sharedKey(o.key)
	if err != nil {
		return err
	}
	sessions.Store = redisregistry.NewStore(pool)
	cfg.Registry, cfg.Keys = redisregistry.New(pool), [][]byte{key}
	if cfg.Remember.Store != nil {
		cfg.Remember.Store = redisremember.New(pool)
	}
	return nil
}

// sharedKey reads the secret that all servers share. Whoever finds none makes one; of
// several who start at the same time one is faster, and all take his.
func sharedKey(file string) ([]byte, error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	draft, err := os.CreateTemp(dir, "key")
	if err != nil {
		return nil, err
	}
	defer os.Remove(draft.Name())
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // it never fails
	_, err = draft.Write(fresh)
	if err = errors.Join(err, draft.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(draft.Name(), file); err != nil && !os.IsExist(err) {
		return nil, err
	}
	return os.ReadFile(file)
}
