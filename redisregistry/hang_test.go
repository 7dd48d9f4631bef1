package redisregistry_test

import (
	"context"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// watched calls after behind each command that waits for its answer.
type watched struct {
	redisregistry.Pool
	after func(command string)
}

func (w watched) GetContext(ctx context.Context) (redis.Conn, error) {
	c, err := w.Pool.GetContext(ctx)
	return watchedConn{c, w.after}, err
}

type watchedConn struct {
	redis.Conn
	after func(command string)
}

func (c watchedConn) DoWithTimeout(timeout time.Duration, command string, args ...any) (any, error) {
	v, err := redis.DoWithTimeout(c.Conn, timeout, command, args...)
	c.after(command)
	return v, err
}

func (c watchedConn) ReceiveWithTimeout(timeout time.Duration) (any, error) {
	return redis.ReceiveWithTimeout(c.Conn, timeout)
}

// The time is over between two questions, and Redis answers none from then on. What was
// prepared for the second one must not be waited for when the connection goes back.
func TestATimeThatIsOverBetweenTwoCommandsCostsNoMore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	pool := server.Pool()
	w := &world{t: t, healthy: redisregistry.New(pool), told: make(map[string]int)}
	w.login(scsguard.Limit{})
	limited, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	hangs := redisregistry.New(watched{pool, func(string) {
		server.Pause()
		<-limited.Done()
	}})
	answered := make(chan error, 1)
	go func() {
		_, err := hangs.List(limited, "alice")
		answered <- err
	}()
	select {
	case err := <-answered:
		require.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(30 * time.Second):
		require.Fail(t, "it waits for a Redis that hangs")
	}
}

// An answer that comes too late must not be taken for that to the next question.
func TestAConnectionThatWasGivenUpIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	pool := &redis.Pool{MaxIdle: 1, MaxActive: 1, Wait: true, DialContext: server.Dial}
	defer pool.Close()
	store := redisregistry.NewStore(pool)
	tokens := []string{string(newKey()), string(newKey())}
	for _, token := range tokens {
		require.NoError(t, store.Commit(token, []byte(token), time.Now().Add(time.Hour)))
	}
	for name, give := range map[string]func() (context.Context, context.CancelFunc){
		"its time was over": func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 50*time.Millisecond) },
		"it was cancelled": func() (context.Context, context.CancelFunc) {
			c, cancel := context.WithCancel(ctx)
			time.AfterFunc(50*time.Millisecond, cancel)
			return c, cancel
		},
	} {
		server.Pause()
		c, cancel := give()
		_, _, err := store.FindCtx(c, tokens[0])
		require.Error(t, err, name)
		cancel()
		server.Resume()
		for range 3 {
			b, found, err := store.FindCtx(ctx, tokens[1])
			require.NoError(t, err, name)
			require.True(t, found, name)
			require.Equal(t, tokens[1], string(b), name)
		}
	}
	require.LessOrEqual(t, pool.ActiveCount(), 1)
}
