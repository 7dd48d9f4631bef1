package standin_test

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alicebob/miniredis/v2"
	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/redisregistry"
	"github.com/scsguard/scsguard/redisremember"
	"github.com/scsguard/scsguard/registrytest"
	"github.com/scsguard/scsguard/remembertest"
	"github.com/scsguard/scsguard/storetest"
)

const leftOut = "The stand-in says nothing about: crashes and restarts, outages, several processes, failover, persistence, rights, " +
	"eviction, the speed and the Lua libraries of Redis. Tests of redisregistry and redisremember do, where redis-server is installed."

//go:embed shim.lua
var shim string

// standIn is a Redis in this process whose time passes.
func standIn(t *testing.T) *pool {
	t.Helper()
	m := miniredis.RunT(t)
	p := &pool{server: m, at: time.Now(), Pool: &redis.Pool{MaxIdle: 64, DialContext: func(ctx context.Context) (redis.Conn, error) {
		return redis.DialContext(ctx, "tcp", m.Addr())
	}}}
	t.Cleanup(func() {
		for _, key := range m.Keys() {
			if m.TTL(key) == 0 {
				t.Errorf("the key %q has no time to live", key)
			}
		}
		_ = p.Close()
	})
	return p
}

// pool hands out connections that give scripts what the stand-in's Lua lacks.
type pool struct {
	*redis.Pool
	sources sync.Map // by hash

	server *miniredis.Miniredis
	mu     sync.Mutex
	at     time.Time // on the clock of the server
}

// advance sets the clock of the stand-in, which would stand still, before a command:
// what has expired by then is gone, however much else the machine has to do.
func (p *pool) advance() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if passed := time.Since(p.at); passed >= 20*time.Millisecond { // it looks at every key
		p.server.FastForward(passed)
		p.at = p.at.Add(passed)
	}
}

func (p *pool) GetContext(ctx context.Context) (redis.Conn, error) {
	c, err := p.Pool.GetContext(ctx)
	return &conn{c, p}, err
}

type conn struct {
	redis.Conn
	pool *pool
}

// script is called before each command. It gives a script its libraries. EVALSHA of one that is not known stays as it is,
// and is answered NOSCRIPT.
func (c *conn) script(command string, args []any) (string, []any) {
	c.pool.advance()
	switch command {
	case "EVAL":
		source := args[0].(string)
		sum := sha1.Sum([]byte(source))
		c.pool.sources.Store(hex.EncodeToString(sum[:]), shim+source)
		return command, append([]any{shim + source}, args[1:]...)
	case "EVALSHA":
		if source, ok := c.pool.sources.Load(args[0]); ok {
			return "EVAL", append([]any{source}, args[1:]...)
		}
	}
	return command, args
}

// info answers for the stand-in, which knows nothing of itself.
func info(command string, args []any) (any, bool) {
	if command == "INFO" && len(args) == 1 && args[0] == "server" {
		return []byte("run_id:standin\r\n"), true
	}
	return nil, false
}

func (c *conn) Do(command string, args ...any) (any, error) {
	if answer, ok := info(command, args); ok {
		return answer, nil
	}
	command, args = c.script(command, args)
	return c.Conn.Do(command, args...)
}

func (c *conn) DoContext(ctx context.Context, command string, args ...any) (any, error) {
	command, args = c.script(command, args)
	return redis.DoContext(c.Conn, ctx, command, args...)
}

func (c *conn) DoWithTimeout(timeout time.Duration, command string, args ...any) (any, error) {
	if answer, ok := info(command, args); ok {
		return answer, nil
	}
	command, args = c.script(command, args)
	return redis.DoWithTimeout(c.Conn, timeout, command, args...)
}

func (c *conn) Send(command string, args ...any) error {
	command, args = c.script(command, args)
	return c.Conn.Send(command, args...)
}

func (c *conn) ReceiveWithTimeout(timeout time.Duration) (any, error) {
	return redis.ReceiveWithTimeout(c.Conn, timeout)
}

func (c *conn) ReceiveContext(ctx context.Context) (any, error) {
	return redis.ReceiveContext(c.Conn, ctx)
}

var prefixes atomic.Int64

func prefix() redisregistry.Option {
	return redisregistry.Prefix(fmt.Sprintf("test%d:", prefixes.Add(1)))
}

func TestTheStoreKeepsItsContractOnTheStandIn(t *testing.T) {
	t.Log(leftOut)
	p := standIn(t)
	storetest.Run(t, func(*testing.T) scs.Store { return redisregistry.NewStore(p, prefix()) })
}

func TestRememberedBrowsersKeepTheirContractOnTheStandIn(t *testing.T) {
	t.Log(leftOut)
	p := standIn(t)
	n := 0
	remembertest.Run(t, func(*testing.T) scsguard.RememberStore {
		n++
		return redisremember.NewWithPrefix(p, fmt.Sprintf("test:%d:", n))
	})
}

// It takes a minute here, and seconds on Redis.
func TestTheRegistryKeepsItsContractOnTheStandIn(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err == nil {
		t.Skip("redis-server is installed, so that package redisregistry runs this on Redis")
	}
	t.Log(leftOut)
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // each run of a script makes an interpreter
	registrytest.Run(t, func(t *testing.T) scsguard.Registry { return redisregistry.New(standIn(t), prefix()) })
}

func TestASessionBeginsAndEndsOnTheStandIn(t *testing.T) {
	reg := redisregistry.New(standIn(t))
	now := time.Now()
	limit := scsguard.Limit{Max: 1, OnExceed: scsguard.EvictOldest}
	var first scsguard.Record
	for i := range 2 {
		adm, err := reg.Admit(t.Context(), scsguard.Admission{
			Record: scsguard.Record{Session: fmt.Sprint("s", i), User: "alice", Key: scsguard.Key(fmt.Sprint("k", i)), Created: now, AuthTime: now,
				LastActivity: now, Idle: time.Hour, Absolute: now.Add(time.Hour), AbsoluteSince: now, TokenSince: now},
			Limit: limit, AuthenticatedAt: now, Retention: time.Hour,
			By: scsguard.Ending{Kind: scsguard.EventLogout, At: now, Keep: time.Hour},
		})
		require.NoError(t, err)
		s, err := reg.Settle(t.Context(), adm, true)
		require.NoError(t, err)
		require.True(t, s.Live)
		require.Len(t, s.Ended, i, "the second evicts the first")
		if i == 0 {
			first = s.Record
		}
	}
	rec, err := reg.Get(t.Context(), first.Key)
	require.NoError(t, err)
	require.Equal(t, scsguard.StateEnded, rec.State)
	list, err := reg.List(t.Context(), "alice")
	require.NoError(t, err)
	require.Len(t, list, 1)
}

func TestTheShimKeepsWhatItIsGiven(t *testing.T) {
	p := standIn(t)
	c, err := p.GetContext(t.Context())
	require.NoError(t, err)
	defer c.Close()
	got, err := redis.Strings(c.Do("EVAL", `
local back = cmsgpack.unpack(cmsgpack.pack({12, 'n3:x', '', ARGV[1]}))
return {tostring(back[1] + 1), back[2], back[3], back[4], tostring(struct.unpack('>I2', 'x' .. struct.pack('>I2', 513), 2))}`, 0, "\x00\xff:"))
	require.NoError(t, err)
	require.Equal(t, strings.Split("13|n3:x||\x00\xff:|513", "|"), got)
}
