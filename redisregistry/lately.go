package redisregistry

import (
	"sync"

	"github.com/scsguard/scsguard"
)

// Between the parts of a sweep, Due, EndDue and ConfirmAll, lie milliseconds. What one of
// them has read or written, the next one in this process need not read again: whether it
// is still so says the swap, and what is not is looked at.

// mostLately is how many records are kept, a few megabytes. Those that nobody asks
// for again, since a call has failed, go when there are as many.
const mostLately = 4 * readBatch

// lately holds records as they were a moment ago. It is safe for concurrent use.
type lately struct {
	mu   sync.Mutex
	list map[string]stored // by their keys in Redis
}

// keep takes note of a record that Redis holds as it is in s.raw.
func (c *lately) keep(ks keyspace, s stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.list == nil {
		c.list = make(map[string]stored)
	}
	if len(c.list) >= mostLately {
		clear(c.list)
	}
	c.list[ks.record(s.key)] = s
}

// take returns what was kept, once.
func (c *lately) take(ks keyspace, key scsguard.Key) (stored, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := ks.record(key)
	s, ok := c.list[name]
	delete(c.list, name)
	return s, ok
}

// readLately returns what lies under keys, or has lain there a moment ago, if that is such
// a record as the caller is to change. Others are read: nothing would tell him that they
// have changed, since what he leaves as it is he does not swap.
func (r *Registry) readLately(l *link, such func(*stored) bool, keys ...scsguard.Key) ([]stored, error) {
	list := make([]stored, len(keys))
	var unknown []scsguard.Key
	var at []int // where in list
	for i, key := range keys {
		s, ok := r.lately.take(r.keyspace, key)
		if list[i] = s; !ok || !such(&s) {
			unknown, at = append(unknown, key), append(at, i)
		}
	}
	found, err := l.read(r.keyspace, unknown...) // if there is none, too: for the time
	if err != nil {
		return nil, err
	}
	for j, i := range at {
		list[i] = found[j]
	}
	return list, nil
}

// mayEnd reports whether a record is one that can end, and not one of a session that has
// ended already, as this process remembers: a failover may have brought that back.
func (r *Registry) mayEnd(s *stored) bool {
	_, dead := r.recall.endingOf(r.keyspace, s)
	return !dead && !s.ended()
}
