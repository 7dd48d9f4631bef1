package redisremember_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisremember"
	"github.com/scsguard/scsguard/remembertest"
)

func TestTheStoreInRedisKeepsTheContract(t *testing.T) {
	s := startRedis(t)
	n := 0
	remembertest.Run(t, func(t *testing.T) scsguard.RememberStore {
		t.Cleanup(func() { s.requireNothingForEver(t) })
		n++
		return redisremember.NewWithPrefix(s.pool, fmt.Sprintf("test:%d:", n))
	})
}

func TestPrefixesAreApart(t *testing.T) {
	s := startRedis(t)
	ctx := t.Context()
	a, b := redisremember.New(s.pool), redisremember.NewWithPrefix(s.pool, "other:")
	ok, err := a.Swap(ctx, "id", nil, []byte("value"), time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
	value, _, err := b.Load(ctx, "id")
	require.NoError(t, err)
	require.Nil(t, value)
	there, err := redis.String(s.do("GET", redisremember.DefaultPrefix+"id"))
	require.NoError(t, err)
	require.Equal(t, "value", there)
}

// A part of a millisecond is not rounded to none, which Redis refuses, nor to
// for ever.
func TestTheShortestTimeToLiveIsAMillisecond(t *testing.T) {
	s := startRedis(t)
	store := redisremember.New(s.pool)
	ok, err := store.Swap(t.Context(), "id", nil, []byte("value"), 1)
	require.NoError(t, err)
	require.True(t, ok)
	require.Eventually(t, func() bool {
		value, _, err := store.Load(t.Context(), "id")
		return err == nil && value == nil
	}, time.Minute, time.Millisecond)
}

// A server that restarts has forgotten the scripts.
func TestScriptsThatWereFlushedAreSentAgain(t *testing.T) {
	s := startRedis(t)
	store := redisremember.New(s.pool)
	for range 2 {
		_, _, err := store.Load(t.Context(), "id")
		require.NoError(t, err)
		_, err = s.do("SCRIPT", "FLUSH")
		require.NoError(t, err)
		_, err = store.Swap(t.Context(), "id", nil, []byte("value"), time.Hour)
		require.NoError(t, err)
	}
}

func TestAServerThatIsDownOrHangsIsAnErrorInTime(t *testing.T) {
	s := startRedis(t)
	store := redisremember.New(s.pool)
	s.Stop()
	_, _, err := store.Load(t.Context(), "id")
	require.Error(t, err)

	l, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections and says nothing
	require.NoError(t, err)
	defer l.Close()
	pool := &redis.Pool{Dial: func() (redis.Conn, error) { return redis.Dial("tcp", l.Addr().String()) }}
	defer pool.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = redisremember.New(pool).Swap(ctx, "id", nil, []byte("value"), time.Hour)
	require.Error(t, err)
	require.Less(t, time.Since(began), 5*time.Second)
}

// A restart leaves a pool full of connections that lead nowhere. What is asked first
// changes nothing, so that it may be asked again.
func TestAfterARestartNoVisitorPaysForOldConnections(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	pool := server.Pool()
	store := redisremember.New(pool)
	var idle []redis.Conn
	for range 20 {
		idle = append(idle, pool.Get())
		_, err := idle[len(idle)-1].Do("PING")
		require.NoError(t, err)
	}
	for _, c := range idle {
		require.NoError(t, c.Close())
	}
	server.Stop()
	require.NoError(t, server.Restart())
	_, _, err := store.Load(t.Context(), "id")
	require.NoError(t, err)
	ok, err := store.Swap(t.Context(), "id", nil, []byte("value"), time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
}

// What is read from a server that was the primary is old: tokens that were used since
// would be good there once more.
func TestAServerThatHasBecomeAReplicaIsLeft(t *testing.T) {
	t.Parallel()
	old, primary := redistest.Start(t), redistest.Start(t)
	now := old
	pool := &redis.Pool{MaxIdle: 1, DialContext: func(ctx context.Context) (redis.Conn, error) { return now.Dial(ctx) }}
	defer pool.Close()
	store := redisremember.New(pool)
	_, _, err := store.Load(t.Context(), "id")
	require.NoError(t, err)
	c, err := old.Dial(t.Context())
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Do("REPLICAOF", "127.0.0.1", primary.Port())
	require.NoError(t, err)
	now = primary
	_, err = store.Swap(t.Context(), "id", nil, []byte("value"), time.Hour)
	require.ErrorContains(t, err, "READONLY")
	ok, err := store.Swap(t.Context(), "id", nil, []byte("value"), time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
}

// durable is a registry in memory that does not look like one.
type durable struct{ scsguard.Registry }

// Two processes, one Redis, a browser that comes back with ten requests at once,
// and somebody who has copied its cookie.
func TestARememberedBrowserOverRedis(t *testing.T) {
	s := startRedis(t)
	store := redisremember.New(s.pool)
	registry := durable{scsguard.NewMemoryRegistry()}
	first := newSite(t, registry, store, nil)
	second := newSite(t, registry, store, first.sessions.Store)

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar, Transport: first.client.Transport}
	require.Equal(t, "alice", get(t, client, first.url+"/login"))
	home, _ := url.Parse(first.url)
	stolen := cookieOf(t, jar, home, "__Host-remember")

	drop(jar, home)
	sessions := make([]string, 10)
	var wg sync.WaitGroup
	for i := range sessions {
		site := []*site{first, second}[i%2]
		r, err := http.NewRequest(http.MethodGet, site.url+"/whoami", nil)
		require.NoError(t, err)
		r.AddCookie(stolen)
		wg.Go(func() {
			res, err := first.client.Do(r)
			if err != nil {
				return
			}
			defer res.Body.Close()
			sessions[i] = res.Header.Get("Session")
			if i == 0 {
				jar.SetCookies(home, res.Cookies())
			}
		})
	}
	wg.Wait()
	for _, id := range sessions {
		require.NotEmpty(t, id)
		require.Equal(t, sessions[0], id)
	}
	require.Equal(t, "alice", get(t, client, first.url+"/whoami"))
	s.requireNothingForEver(t)

	time.Sleep(grace + 100*time.Millisecond)
	thief, err := http.NewRequest(http.MethodGet, second.url+"/whoami", nil)
	require.NoError(t, err)
	thief.AddCookie(stolen)
	res, err := first.client.Do(thief)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	drop(jar, home)
	require.Contains(t, get(t, client, first.url+"/whoami"), "Please log in")
	left, err := redis.Int(s.do("DBSIZE"))
	require.NoError(t, err)
	require.Zero(t, left)
}

// grace is longer than a loaded machine takes for what has to come within it.
const grace = 5 * time.Second

type site struct {
	sessions *scs.SessionManager
	url      string
	client   *http.Client // every test server has the same certificate
}

func newSite(t *testing.T, registry scsguard.Registry, store scsguard.RememberStore, data scs.Store) *site {
	t.Helper()
	sm := scs.New()
	sm.Cookie.Name, sm.Cookie.Secure = "__Host-session", true
	if data != nil {
		sm.Store = data.(interface{ Unwrap() scs.Store }).Unwrap()
	}
	guard, err := scsguard.New(sm, scsguard.Config{
		Registry: registry, Audit: scsguard.Discard(), Keys: [][]byte{make([]byte, 32)},
		Remember: scsguard.Remember{Store: store, Grace: grace},
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := guard.Login(r.Context(), "alice", scsguard.RememberMe()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte("alice"))
	})
	mux.Handle("/whoami", guard.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := guard.Current(r.Context())
		w.Header().Set("Session", s.ID)
		_, _ = w.Write([]byte(s.User))
	})))
	server := httptest.NewTLSServer(guard.Protect(mux))
	t.Cleanup(func() {
		server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = guard.Close(ctx)
	})
	return &site{sm, server.URL, server.Client()}
}

func get(t *testing.T, c *http.Client, target string) string {
	t.Helper()
	res, err := c.Get(target)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(b)
}

func cookieOf(t *testing.T, jar http.CookieJar, u *url.URL, name string) *http.Cookie {
	t.Helper()
	for _, c := range jar.Cookies(u) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no cookie %s", name)
	return nil
}

// drop forgets the session cookie, as a browser does that is closed.
func drop(jar http.CookieJar, u *url.URL) {
	jar.SetCookies(u, []*http.Cookie{{Name: "__Host-session", Path: "/", MaxAge: -1, Secure: true}})
}
