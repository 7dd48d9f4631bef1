package redisregistry_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// callTimeout is long enough for a call of a machine that has much to do.
const callTimeout = 2 * time.Second

func callsAtMost(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.CallTimeout = callTimeout }

// While Redis is down nobody is let in, nobody is logged out, and nobody waits for
// long.
func TestAnOutageLogsNobodyOutAndLetsNobodyIn(t *testing.T) {
	for name, outage := range map[string]struct {
		begin func(*redistest.Server)
		end   func(*redistest.Server) error
	}{
		"down":    {(*redistest.Server).Stop, (*redistest.Server).Restart},
		"hanging": {(*redistest.Server).Pause, func(s *redistest.Server) error { s.Resume(); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			a := newApp(t, server.Pool(), emptyPrefix(), callsAtMost)
			browsers := make([]*guardtest.Browser, 20)
			for i := range browsers {
				browsers[i], _ = login(t, a, fmt.Sprintf("user %d", i))
			}
			askAll(t, a, browsers, func(b *guardtest.Browser) { require.True(t, strings.HasPrefix(who(b), "user ")) })

			outage.begin(server)
			var mu sync.Mutex
			var took []time.Duration
			for range 2 {
				askAll(t, a, browsers, func(b *guardtest.Browser) {
					start := time.Now()
					answer := b.Get("/whoami")
					mu.Lock()
					defer mu.Unlock()
					took = append(took, time.Since(start))
					require.Equal(t, http.StatusServiceUnavailable, answer.Status)
					require.NotEmpty(t, answer.Header.Get("Retry-After"))
					require.Empty(t, answer.Header.Values("Set-Cookie"))
				})
			}
			t.Logf("the slowest answer: %v", slices.Max(took))
			require.Less(t, slices.Max(took), 2*callTimeout, "one call is waited for, and not another one after it")
			require.Equal(t, http.StatusServiceUnavailable, a.Browser(t).Get("/login?user=eve").Status)
			require.Equal(t, http.StatusOK, a.Browser(t).Get("/keys").Status, "who has no cookie needs no Redis")
			require.False(t, a.Guard.Health().OK)

			require.NoError(t, outage.end(server))
			back := time.Now()
			for !strings.HasPrefix(who(browsers[0]), "user ") {
				require.Less(t, time.Since(back), time.Minute)
				time.Sleep(10 * time.Millisecond)
			}
			t.Logf("serving again after %v", time.Since(back))
			for i, b := range browsers {
				require.Equal(t, fmt.Sprintf("user %d", i), who(b), "and nobody is somebody else")
			}
			_, _ = login(t, a, "eve")
			require.True(t, a.Guard.Health().OK)
			mortalityOf(t, server)
		})
	}
}

func askAll(t *testing.T, _ *app, browsers []*guardtest.Browser, f func(*guardtest.Browser)) {
	t.Helper()
	var asking sync.WaitGroup
	for _, b := range browsers {
		asking.Go(func() { f(b) })
	}
	asking.Wait()
}

// A restart leaves a pool full of connections that lead nowhere.
func TestAfterARestartNoVisitorPaysForOldConnections(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	a := newApp(t, server.Pool(), emptyPrefix())
	b, _ := login(t, a, "alice")
	for _, first := range []string{"/whoami", "/login?user=bob", "/put?k=x"} {
		askAll(t, a, slices.Repeat([]*guardtest.Browser{b}, 40), func(b *guardtest.Browser) { who(b) })
		server.Stop()
		require.NoError(t, server.Restart())
		require.Equal(t, http.StatusOK, b.Clone().Get(first).Status, first)
	}
}

func TestAPoolThatIgnoresTheContextCostsNoMoreThanItAllows(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	stuck := &redis.Pool{Dial: func() (redis.Conn, error) {
		<-release
		return nil, context.Canceled
	}}
	limited, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := redisregistry.New(stuck).Get(limited, newKey())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), 10*time.Second)
}

// stream mounts a handler that goes on until it is cut off.
func (a *app) stream(path string) (entered chan struct{}) {
	entered = make(chan struct{})
	a.mux.Handle(path, a.Guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		fmt.Fprint(w, context.Cause(r.Context()))
	})))
	return entered
}

func TestASessionThatEndsAnywhereCutsItsStreamsOffEverywhere(t *testing.T) {
	server := startRedis(t)
	pool, prefix := server.Pool(), emptyPrefix()
	here, there := newApp(t, pool, prefix), newApp(t, pool, prefix)
	c := pool.Get()
	defer c.Close()
	fastest := time.Hour
	for i := 0; i < 5 || fastest > 250*time.Millisecond; i++ {
		require.Less(t, i, 50, "a quarter of a second is said to be enough, and the fastest took %v", fastest)
		b, _ := login(t, here, "alice")
		elsewhere := there.Browser(t)
		elsewhere.SetToken(b.Token())
		path := fmt.Sprintf("/stream%d", i)
		entered := there.stream(path)
		stream := get(elsewhere, path)
		<-entered
		requireListening(t, c)
		require.Empty(t, stream)
		start := time.Now()
		require.Equal(t, http.StatusOK, b.Get("/logout").Status)
		answer := <-stream
		require.Contains(t, answer.Body, "ended")
		took := time.Since(start)
		require.Less(t, took, 10*time.Second, "it is told, and does not wait until it looks by itself, every 30 s")
		fastest = min(fastest, took)
	}
}

// requireListening waits until a process has subscribed to what ends.
func requireListening(t *testing.T, c redis.Conn) {
	t.Helper()
	require.Eventually(t, func() bool {
		channels, err := redis.Strings(c.Do("PUBSUB", "CHANNELS"))
		return err == nil && len(channels) == 1
	}, time.Minute, 10*time.Millisecond)
}

func TestAStreamIsCutOffAlthoughTheConnectionThatTellsWasLost(t *testing.T) {
	server := startRedis(t)
	pool, prefix := server.Pool(), emptyPrefix()
	here, there := newApp(t, pool, prefix), newApp(t, pool, prefix)
	b, _ := login(t, here, "alice")
	elsewhere := there.Browser(t)
	elsewhere.SetToken(b.Token())
	entered := there.stream("/stream")
	stream := get(elsewhere, "/stream")
	<-entered
	c := dial(t, server)
	requireListening(t, c)
	start := time.Now()
	killed, err := redis.Int(c.Do("CLIENT", "KILL", "TYPE", "pubsub"))
	require.NoError(t, err)
	require.Equal(t, 1, killed)
	time.Sleep(300 * time.Millisecond) // it has asked, the session lived, and nobody tells it of what comes now
	require.Equal(t, http.StatusOK, b.Get("/logout").Status)
	require.Contains(t, (<-stream).Body, "ended")
	require.Less(t, time.Since(start), 4500*time.Millisecond, "it looks when it listens again, after a second, and does not wait until it would have asked, after five")
}

func TestAWatcherIsToldThatRedisIsGone(t *testing.T) {
	for name, gone := range map[string]func(*redistest.Server){"down": (*redistest.Server).Stop, "hanging": (*redistest.Server).Pause} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			endings, err := redisregistry.New(server.Pool()).Watch(ctx)
			require.NoError(t, err)
			gone(server)
			select {
			case _, open := <-endings:
				require.False(t, open)
			case <-time.After(time.Minute):
				require.Fail(t, "the channel stays open")
			}
		})
	}
}

func TestARedisThatEvictsIsRefused(t *testing.T) {
	server := startRedis(t)
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	for policy, refused := range map[string]bool{"noeviction": false, "allkeys-lru": true, "volatile-ttl": true} {
		_, err = c.Do("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", policy)
		require.NoError(t, err)
		for option, allowed := range map[string]bool{"": false, "it never is full": true} {
			_, err := scsguard.New(guardtest.NewManager(), scsguard.Config{Audit: scsguard.Discard(), Keys: testKeys,
				Registry: redisregistry.New(server.Pool(), redisregistry.AllowEviction(option)), SweepEvery: -1})
			if refused && !allowed {
				require.ErrorContains(t, err, policy)
				require.ErrorContains(t, err, "noeviction")
			} else {
				require.NoError(t, err)
			}
		}
	}
	_, err = c.Do("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "allkeys-lru")
	require.NoError(t, err)
	faults, err := redisregistry.New(server.Pool()).Inspect(ctx)
	require.NoError(t, err)
	require.Empty(t, faults, "its memory is never full")
}

func TestAPrefixThatCannotWorkIsRefused(t *testing.T) {
	pool := startRedis(t).Pool()
	for _, prefix := range []string{"{app}:", "a}", "", "scs", "scsguard:", "scsguard:x"} {
		reg, store := redisregistry.New(pool, redisregistry.Prefix(prefix)), redisregistry.NewStore(pool, redisregistry.Prefix(prefix))
		_, err := scsguard.New(guardtest.NewManager(), scsguard.Config{Audit: scsguard.Discard(), Keys: testKeys, Registry: reg, SweepEvery: -1})
		require.ErrorContains(t, err, "redisregistry.Prefix", "%q", prefix)
		_, err = reg.Get(ctx, newKey())
		require.Error(t, err)
		require.Error(t, store.Commit(string(newKey()), []byte("x"), time.Now().Add(time.Hour)))
		_, err = store.All()
		require.Error(t, err)
	}
}
