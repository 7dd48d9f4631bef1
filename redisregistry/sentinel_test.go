package redisregistry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// dialPrimary asks each Sentinel in turn. The server that they name may have just become a
// replica, so it is asked itself. (docs/redis.md shows these two functions.)
func dialPrimary(sentinels []string, name string) func(context.Context) (redis.Conn, error) {
	return func(ctx context.Context) (redis.Conn, error) {
		var errs []error
		for _, addr := range sentinels {
			c, err := primaryBy(ctx, addr, name)
			if err == nil {
				return c, nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}
}

func primaryBy(ctx context.Context, sentinel, name string) (redis.Conn, error) {
	asking, cancel := context.WithTimeout(ctx, 200*time.Millisecond) // one that is gone must not use up the time of the others
	defer cancel()
	s, err := redis.DialContext(asking, "tcp", sentinel)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	addr, err := redis.Strings(redis.DoContext(s, asking, "SENTINEL", "get-master-addr-by-name", name))
	if err != nil {
		return nil, err
	}
	c, err := redis.DialContext(ctx, "tcp", net.JoinHostPort(addr[0], addr[1]))
	if err != nil {
		return nil, err
	}
	role, err := redis.Values(redis.DoContext(c, ctx, "ROLE"))
	if err == nil && string(role[0].([]byte)) == "master" {
		return c, nil
	}
	return nil, errors.Join(fmt.Errorf("%s is no primary", addr), err, c.Close())
}

func TestTheDialFunctionOfTheDocsIsThisOne(t *testing.T) {
	doc, err := os.ReadFile("../docs/redis.md")
	require.NoError(t, err)
	src, err := os.ReadFile("sentinel_test.go")
	require.NoError(t, err)
	_, code, found := strings.Cut(string(src), "func dialPrimary")
	require.True(t, found)
	code, _, found = strings.Cut(code, "\nfunc Test")
	require.True(t, found)
	require.Contains(t, string(doc), "func dialPrimary"+strings.TrimRight(code, "\n"))
}

func TestAfterAFailoverSessionsGoOn(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+fmt.Sprint(primary.Port()))
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "sentinel monitor app 127.0.0.1 %d 1\nsentinel down-after-milliseconds app 500\nsentinel failover-timeout app 3000\n", primary.Port()), 0o600))
	sentinel := redistest.StartSentinel(t, conf)

	silent, err := net.Listen("tcp", "127.0.0.1:0") // one that hangs
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	pool := &redis.Pool{MaxIdle: 8, DialContext: dialPrimary([]string{"127.0.0.1:1", silent.Addr().String(), sentinel.Addr}, "app")}
	t.Cleanup(func() { _ = pool.Close() })
	a := newApp(t, pool, emptyPrefix(), callsAtMost)
	b, _ := login(t, a, "alice")
	require.Equal(t, "alice", who(b))
	c, err := primary.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	require.Eventually(t, func() bool { // the replica has it, and Sentinel knows the replica
		n, err := redis.Int(c.Do("WAIT", 1, 1000))
		s, dialErr := sentinel.Dial(ctx)
		if err != nil || dialErr != nil || n < 1 {
			return false
		}
		defer s.Close()
		replicas, err := redis.Values(s.Do("SENTINEL", "replicas", "app"))
		return err == nil && len(replicas) == 1
	}, time.Minute, 100*time.Millisecond)

	primary.Stop()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		answer := b.Get("/whoami")
		if answer.Status == http.StatusOK {
			require.Equal(t, "alice", answer.Body)
			break
		}
		require.Equal(t, http.StatusServiceUnavailable, answer.Status, "nobody is logged out meanwhile")
		require.Less(t, time.Since(began), time.Minute)
	}
	_, _ = login(t, a, "bob")
	mortalityOf(t, replica)
}

// Somebody makes a server a replica without Sentinel, and its connections stay open.
func TestAServerThatHasBecomeAReplicaIsLeft(t *testing.T) {
	t.Parallel()
	first, second := redistest.Start(t), redistest.Start(t)
	primary := first
	pool := &redis.Pool{MaxIdle: 8, DialContext: func(ctx context.Context) (redis.Conn, error) { return primary.Dial(ctx) }}
	t.Cleanup(func() { _ = pool.Close() })
	reg := redisregistry.New(pool)
	w := &world{t: t, healthy: reg, told: make(map[string]int)}
	rec := w.login(scsguard.Limit{})
	faults, err := reg.Inspect(ctx)
	require.NoError(t, err)
	require.Empty(t, faults)

	c, err := first.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Do("REPLICAOF", "127.0.0.1", second.Port())
	require.NoError(t, err)
	faults, err = reg.Inspect(ctx)
	require.NoError(t, err)
	require.Len(t, faults, 1)
	require.ErrorContains(t, faults[0], "replica")
	primary = second
	_, _, err = reg.End(ctx, scsguard.Target{Key: rec.Key}, ending(scsguard.EndAdmin))
	require.ErrorContains(t, err, "READONLY", "it is not done, and nobody is told that it were")
	_, _, err = reg.End(ctx, scsguard.Target{Key: rec.Key}, ending(scsguard.EndAdmin))
	require.NoError(t, err, "the next one asks whoever is the primary now")
	faults, err = reg.Inspect(ctx)
	require.NoError(t, err)
	require.Empty(t, faults)
}
