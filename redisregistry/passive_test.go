package redisregistry_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

// poll mounts a page that asks again and again without anybody sitting before it.
func (a *app) poll(path string) {
	a.mux.Handle(path, a.Guard.Passive(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := a.Guard.Current(r.Context())
		if !ok {
			http.Error(w, string(a.Guard.Ended(r.Context())), http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, s.User)
	})))
}

// A page that polls on one process, while its user left long ago, keeps the session
// alive nowhere, writes nothing, and is told when the time is over.
func TestPassiveRequestsAreHeldToTheLimitsAndProlongNothing(t *testing.T) {
	const idle = 3 * time.Second // longer than a loaded machine takes for what comes before
	server := startRedis(t)
	pool, prefix := server.Pool(), emptyPrefix()
	here, there := newApp(t, pool, prefix, limits(idle, time.Hour)), newApp(t, pool, prefix, limits(idle, time.Hour))
	there.poll("/poll")
	began := time.Now()
	b, session := login(t, here, "alice")
	polling := there.Browser(t)
	polling.SetToken(b.Token())
	c := pool.Get()
	defer c.Close()
	key := "{" + keyPrefix(t, c) + b.Token() + "}:g:"
	before, err := redis.Bytes(c.Do("GET", key))
	require.NoError(t, err)
	var answer guardtest.Answer
	served := 0
	for answer.Status != http.StatusUnauthorized {
		if answer = polling.Get("/poll"); answer.Status == http.StatusOK {
			require.Equal(t, "alice", answer.Body)
			require.Empty(t, answer.Header.Values("Set-Cookie"))
			now, err := redis.Bytes(c.Do("GET", key))
			require.NoError(t, err)
			require.Equal(t, before, now, "what asks by itself changes nothing")
			served++
		}
		require.Less(t, time.Since(began), 5*idle)
		time.Sleep(20 * time.Millisecond)
	}
	require.Contains(t, answer.Body, "idle")
	require.Positive(t, served)
	require.GreaterOrEqual(t, time.Since(began), idle)
	require.Equal(t, "401 idle", who(b), "nor does it live where its user is")
	guardtest.Flush(t, there.Guard)
	guardtest.Flush(t, here.Guard)
	ending := there.Trail.Ending(t, session)
	require.Equal(t, scsguard.EventTimeout, ending.Kind)
}

// keyPrefix is what the keys of the session data begin with.
func keyPrefix(t *testing.T, c redis.Conn) string {
	t.Helper()
	keys, err := redis.Strings(c.Do("KEYS", "{*}:g:"))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	const token = 43
	return keys[0][1 : len(keys[0])-len("}:g:")-token]
}
