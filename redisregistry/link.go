package redisregistry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard/internal/redisfault"
)

// A Pool hands out connections. *redis.Pool is one. Give it a DialContext, so that
// a server that does not answer costs no longer than the context allows, and a
// redis.DialWriteTimeout, so that neither does one that takes nothing.
type Pool interface {
	GetContext(ctx context.Context) (redis.Conn, error)
}

// server is what registries of all namespaces, and a store, share.
type server struct {
	pool   Pool
	clock  clock
	recall recall
	lately lately
}

// link is one connection for the time of one call.
type link struct {
	*server
	ctx  context.Context
	conn redis.Conn
	off  offset
	now  time.Time // Redis's, as of its last answer that said so
	// answered says that Redis has answered something.
	answered bool
	burying  bool // see buryAgain
}

// connect gets a connection. A pool may dial without a look at the context, so it is
// not waited for any longer than that allows.
func (s *server) connect(ctx context.Context) (*link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p, ok := s.pool.(*redis.Pool); ok && p.DialContext != nil && p.TestOnBorrow == nil {
		conn, err := p.GetContext(ctx)
		return s.connected(ctx, conn, err)
	}
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
		return s.connected(ctx, r.conn, r.err)
	case <-ctx.Done():
		go func() {
			if r := <-got; r.conn != nil {
				_ = r.conn.Close()
			}
		}()
		return nil, fmt.Errorf("scsguard: no connection to Redis: %w", ctx.Err())
	}
}

func (s *server) connected(ctx context.Context, conn redis.Conn, err error) (*link, error) {
	if err == nil {
		err = conn.Err()
	}
	if err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, fmt.Errorf("scsguard: no connection to Redis: %w", err)
	}
	return &link{server: s, ctx: ctx, conn: conn}, nil
}

func (l *link) close() { _ = l.conn.Close() } // what it could report was reported by the calls

// with runs f with a connection, and with another one if the first thing that f asked
// found it closed by the other side: after a restart of Redis a pool is full of those,
// and each would cost a visitor an error. What f asks first changes nothing, or may be
// done twice.
func (s *server) with(ctx context.Context, f func(*link) error) error {
	var err error
	for range redisfault.StaleConnections {
		var l *link
		if l, err = s.connect(ctx); err != nil {
			return err
		}
		if err = f(l); redisfault.Replica(err) {
			_, _ = l.send("QUIT") // else it would be handed out again and again
		}
		l.close()
		if err == nil || l.answered || ctx.Err() != nil || !redisfault.Stale(err) {
			return err
		}
	}
	return err
}

// isRefused reports whether Redis has refused something that it may do for another key: it
// is there, and can write.
func isRefused(err error) bool {
	var refused redis.Error
	return errors.As(err, &refused) && !redisfault.Replica(err)
}

// refusals are errors that Redis answered for one of many, and that must not keep the
// others from what is done for them.
type refusals struct{ first error }

// spare notes an error of that kind, and returns any other one.
func (r *refusals) spare(err error) error {
	if !isRefused(err) {
		return err
	}
	if r.first == nil {
		r.first = err
	}
	return nil
}
