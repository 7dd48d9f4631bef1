package redisregistry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

// A failover, or a restart, may forget what was written last, and an ending with it:
// then the session lives again. So a process remembers for a while what it knows to have
// ended, and ends it again as soon as it sees it alive, with the same ending.
//
// It is not what the promises stand on: it is lost with the process, and what another
// process has ended is only known to one that watches.

const (
	recallFor  = 10 * time.Minute // longer than any failover should take
	mostRecall = 1 << 14          // endings, some megabytes; the oldest go first
)

// recall is what a process remembers. It is safe for concurrent use.
type recall struct {
	known   atomic.Int64 // how many there are, for those who ask on the path of every request
	mu      sync.RWMutex
	ended   map[recalled]remembered
	order   []recalled        // the oldest first
	servers map[string]string // who answered when all were looked at last, by namespace
}

type recalled struct{ namespace, session string }

type remembered struct {
	key    scsguard.Key
	ending scsguard.Ending // on Redis's clock
	at     time.Time
}

// remember takes note of a session that has ended.
func (c *recall) remember(ks keyspace, s stored) {
	if s.rec.Session == "" {
		return
	}
	now := time.Now()
	name := recalled{ks.own, s.rec.Session}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.order) > 0 && (len(c.order) >= mostRecall || now.Sub(c.ended[c.order[0]].at) > recallFor) {
		delete(c.ended, c.order[0])
		c.order = c.order[1:]
	}
	if c.ended == nil {
		c.ended = make(map[recalled]remembered)
	}
	if _, ok := c.ended[name]; !ok {
		c.ended[name] = remembered{s.key, s.rec.Ending, now}
		c.order = append(c.order, name)
	}
	c.known.Store(int64(len(c.order)))
}

// endingOf returns how a session has ended that is seen alive.
func (c *recall) endingOf(ks keyspace, s *stored) (scsguard.Ending, bool) {
	if c.known.Load() == 0 || !s.there() || s.rec.State == scsguard.StateMoved || s.rec.State == scsguard.StateEnded {
		return scsguard.Ending{}, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.ended[recalled{ks.own, s.rec.Session}]
	return r.ending, ok
}

// server returns who answered when all were looked at last.
func (c *recall) server(ks keyspace) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.servers[ks.own]
}

func (c *recall) setServer(ks keyspace, server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.servers == nil {
		c.servers = make(map[string]string)
	}
	c.servers[ks.own] = server
}

// keys are those under which sessions of a namespace have ended.
func (c *recall) keys(ks keyspace) (keys []scsguard.Key) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for name, r := range c.ended {
		if name.namespace == ks.own {
			keys = append(keys, r.key)
		}
	}
	return keys
}

// buryAgain ends a session that was read and is alive although it has ended. The sweep
// hands the ending out, and who writes it to the trail once more writes the same event.
func (l *link) buryAgain(ks keyspace, s *stored) error {
	ending, dead := l.recall.endingOf(ks, s)
	if !dead || l.burying {
		return nil
	}
	l.burying = true // what is looked at meanwhile is that very session
	defer func() { l.burying = false }()
	r := &Registry{server: l.server, keyspace: ks}
	now, _, err := r.end(l, *s, func(stored) (scsguard.Ending, bool) { return ending, true })
	*s = now
	return err
}

// recheck looks at all sessions that are remembered, if another server answers than
// before: nobody may come to those that live again, at least not to this process.
func (r *Registry) recheck(l *link) error {
	replies, err := l.pipeline(command{"INFO", []any{"server"}})
	if err != nil {
		return err
	}
	info, err := redis.String(replies[0], nil)
	if err != nil { // not a right that everybody gives
		return nil
	}
	before, server := r.recall.server(r.keyspace), infoOf(info)["run_id"]
	if before == server {
		return nil
	}
	var keys []scsguard.Key
	if before != "" {
		keys = r.recall.keys(r.keyspace)
	}
	err = inParts(keys, readBatch, func(some ...scsguard.Key) error {
		_, err := l.read(r.keyspace, some...)
		return err
	})
	if err != nil && !isRefused(err) {
		return err
	}
	r.recall.setServer(r.keyspace, server)
	return nil
}
