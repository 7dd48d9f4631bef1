package redisregistry

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

const (
	// watchBuffer is how many endings a watcher may be behind.
	watchBuffer = 1024
	// watchPing is how often a subscription is asked whether it still stands, and
	// watchSilence how long it may say nothing: a connection can be gone without a word.
	watchPing    = time.Second
	watchSilence = 3 * time.Second
)

// Watch sends the record of every session of the namespace that ends, until ctx is
// done. It holds a connection of the pool for that long. The channel is closed, too,
// when the connection is lost or the reader is too far behind: then endings may have
// been missed, and whoever watches has to look himself, and watch again.
func (r *Registry) Watch(ctx context.Context) (<-chan scsguard.Record, error) {
	if err := r.usable(); err != nil {
		return nil, err
	}
	l, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := l.pipeline(); err != nil { // for the time
		l.close()
		return nil, err
	}
	sub := &subscription{conn: redis.PubSubConn{Conn: l.conn}, link: l, endings: make(chan scsguard.Record, watchBuffer), keyspace: r.keyspace}
	if err := sub.begin(r.channel()); err != nil {
		l.close()
		return nil, err
	}
	go sub.receive(ctx)
	return sub.endings, nil
}

// subscription is one watcher's connection.
type subscription struct {
	conn    redis.PubSubConn
	link    *link
	endings chan scsguard.Record
	keyspace
}

// begin returns when Redis says that it will tell.
func (s *subscription) begin(channel string) error {
	if err := s.conn.Subscribe(channel); err != nil {
		return err
	}
	err, _ := s.conn.ReceiveWithTimeout(watchSilence).(error)
	return err
}

// receive hands on what Redis tells until the connection or ctx is done.
func (s *subscription) receive(ctx context.Context) {
	defer close(s.endings)
	defer s.link.close()
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asking.Go(func() {
		ping := time.NewTicker(watchPing)
		defer ping.Stop()
		for {
			select {
			case <-ctx.Done():
				_ = s.conn.Unsubscribe() // the answer ends what waits below
				return
			case <-ping.C:
				if s.conn.Ping("") != nil {
					return
				}
			}
		}
	})
	for {
		switch m := s.conn.ReceiveWithTimeout(watchSilence).(type) {
		case error:
			return
		case redis.Subscription:
			if m.Count == 0 {
				return
			}
		case redis.Message:
			if !s.tell(ctx, m.Data) {
				return
			}
		}
	}
}

// tell hands an ending on, and reports whether that could be done.
func (s *subscription) tell(ctx context.Context, message []byte) bool {
	ended, ok := parseMessage(message)
	if !ok {
		return true // of a later version: it is asked for when the time comes
	}
	s.link.recall.remember(s.keyspace, ended)
	if ctx.Err() != nil {
		return false
	}
	select {
	case s.endings <- s.link.off.recordFromRedis(ended.rec):
		return true
	default:
		return false
	}
}

// parseMessage reads what lua/record.lua publishes.
func parseMessage(b []byte) (stored, bool) {
	size, rest, ok := bytes.Cut(b, []byte(":"))
	n, err := strconv.Atoi(string(size))
	if !ok || err != nil || n < 0 || n > len(rest) {
		return stored{}, false
	}
	s := decode(scsguard.Key(rest[:n]), rest[n:])
	return s, s.ended()
}
