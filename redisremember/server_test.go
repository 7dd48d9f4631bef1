package redisremember_test

import (
	"context"
	"testing"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/internal/redistest"
)

// server is a Redis server of a test.
type server struct {
	*redistest.Server
	pool *redis.Pool
}

func startRedis(t *testing.T) *server {
	t.Helper()
	s := redistest.Start(t)
	return &server{s, s.Pool()}
}

func (s *server) do(cmd string, args ...any) (any, error) {
	conn := s.pool.Get()
	defer conn.Close()
	return conn.Do(cmd, args...)
}

// requireNothingForEver checks that every key has a time to live.
func (s *server) requireNothingForEver(t *testing.T) {
	t.Helper()
	c, err := s.Dial(context.Background())
	require.NoError(t, err)
	defer c.Close()
	keys, err := redistest.Immortal(context.Background(), c)
	require.NoError(t, err)
	require.Empty(t, keys, "these are kept for ever")
}
