package redisregistry_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/redisregistry"
)

// refusing is a pool on whose connections every command with a key is refused, while
// refusal says so. Others are answered.
type refusing struct {
	*redis.Pool
	refusal atomic.Pointer[redis.Error]
}

func (p *refusing) GetContext(ctx context.Context) (redis.Conn, error) {
	c, err := p.Pool.GetContext(ctx)
	return &refusingConn{Conn: c, pool: p}, err
}

type refusingConn struct {
	redis.Conn
	pool *refusing
	sent []string
}

func keyless(command string) bool { return command == "TIME" || command == "INFO" }

func (c *refusingConn) Send(command string, args ...any) error {
	c.sent = append(c.sent, command)
	if c.pool.refusal.Load() != nil && !keyless(command) {
		return nil
	}
	return c.Conn.Send(command, args...)
}

func (c *refusingConn) Do(command string, args ...any) (any, error) {
	return c.DoWithTimeout(0, command, args...)
}

func (c *refusingConn) ReceiveWithTimeout(d time.Duration) (any, error) {
	return redis.ReceiveWithTimeout(c.Conn, d)
}

func (c *refusingConn) DoWithTimeout(d time.Duration, command string, args ...any) (any, error) {
	refusal := c.pool.refusal.Load()
	if refusal == nil || keyless(command) {
		c.sent = nil
		return redis.DoWithTimeout(c.Conn, d, command, args...)
	}
	if command != "" {
		return nil, *refusal
	}
	answered, err := redis.Values(redis.DoWithTimeout(c.Conn, d, ""))
	if err != nil {
		return nil, err
	}
	all := make([]any, 0, len(c.sent))
	for _, name := range c.sent {
		if keyless(name) {
			all, answered = append(all, answered[0]), answered[1:]
		} else {
			all = append(all, *refusal)
		}
	}
	c.sent = nil
	return all, nil
}

func TestWhateverRedisRefusesNobodyBecomesAnonymousOrIsLetIn(t *testing.T) {
	pool := &refusing{Pool: startRedis(t).Pool()}
	prefix := emptyPrefix()
	a := newApp(t, pool, prefix, hashed)
	for _, refusal := range []redis.Error{
		"LOADING Redis is loading the dataset in memory",
		"OOM command not allowed when used memory > 'maxmemory'.",
		"MOVED 7612 127.0.0.1:7001",
		"CLUSTERDOWN The cluster is down",
		"READONLY You can't write against a read only replica.",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"BUSY Redis is busy running a script.",
		"NOPERM this user has no permissions to run the command",
		"NOSCRIPT No matching script.",
		"WRONGTYPE Operation against a key holding the wrong kind of value",
	} {
		t.Run(string(refusal)[:4], func(t *testing.T) {
			b, _ := login(t, a, "alice")
			token := b.Token()
			pool.refusal.Store(&refusal)
			for _, path := range []string{"/whoami", "/put?k=x", "/elevate", "/login?user=alice"} {
				answer := b.Get(path)
				require.Equal(t, http.StatusServiceUnavailable, answer.Status, path)
				require.Empty(t, answer.Header.Values("Set-Cookie"), path)
			}
			require.Equal(t, http.StatusServiceUnavailable, a.Browser(t).Get("/login?user=alice").Status)
			require.False(t, a.Guard.Health().OK)
			pool.refusal.Store(nil)
			require.Equal(t, token, b.Token())
			require.Equal(t, "alice", who(b))
		})
	}
}

// What Redis refuses for one session, such as one in a slot of a cluster that is down, it
// does for the others.
func TestASessionThatRedisRefusesKeepsASweepFromNoOther(t *testing.T) {
	pool, prefix := startRedis(t).Pool(), emptyPrefix()
	a, reg := newApp(t, pool, prefix), redisregistry.New(pool, prefix)
	const n = 30
	users := 0
	overdue := func() (keys []scsguard.Key) {
		for range n {
			users++
			user := fmt.Sprint("user", users)
			_, _ = login(t, a, user)
			list, err := reg.List(ctx, user)
			require.NoError(t, err)
			_, err = reg.Touch(ctx, list[0].Key, scsguard.Activity{Absolute: time.Now().Add(-time.Second)})
			require.NoError(t, err)
			keys = append(keys, list[0].Key)
		}
		return keys
	}
	c := pool.Get()
	defer c.Close()
	spoil := func(key scsguard.Key) {
		names, err := redis.Strings(c.Do("KEYS", "*"+string(key)+"}:g:*"))
		require.NoError(t, err)
		require.Len(t, names, 1)
		for _, command := range [][]any{{"DEL"}, {"HSET", "not", "a record"}, {"PEXPIRE", 100_000}} {
			_, err := c.Do(command[0].(string), append([]any{names[0]}, command[1:]...)...)
			require.NoError(t, err)
		}
	}

	spoil(overdue()[n/2]) // Due comes to it
	ended, err := a.Guard.Sweep(ctx)
	require.NoError(t, err)
	require.Equal(t, n-1, ended)

	keys := overdue()
	spoil(keys[n/2]) // after Due has handed it out
	over, err := reg.EndDue(ctx, keys, ending(""))
	require.ErrorContains(t, err, "WRONGTYPE")
	require.Len(t, over, n-1)
	require.ErrorContains(t, reg.ConfirmAll(ctx, append(over[:n/2:n/2], append([]scsguard.Record{{Key: keys[n/2]}}, over[n/2:]...)...)), "WRONGTYPE")
	for _, rec := range over {
		now, err := reg.Get(ctx, rec.Key)
		require.NoError(t, err)
		require.True(t, now.Confirmed)
	}
}
