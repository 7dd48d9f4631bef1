package scsguard

import (
	"sync"
	"time"
)

// coalescer lets the first of many equal events through and counts the others,
// which are told as one when the window is over: a flood of failed logins must
// not become a flood in the trail.
type coalescer struct {
	window time.Duration
	limit  int // keys at a time; beyond it everything shares one key

	mu     sync.Mutex
	counts map[string]*tally
}

type tally struct {
	timer *time.Timer
	more  int
	mixed bool
	tell  func(more int, mixed bool)
}

func newCoalescer(window time.Duration, limit int) *coalescer {
	return &coalescer{window: window, limit: limit, counts: make(map[string]*tally)}
}

// first reports whether key has not been seen in its window. tell is called at
// the end of the window if there were more, with their number. Beyond the limit
// all further keys of a kind share a window, and mixed says so.
func (c *coalescer) first(kind, key string, tell func(more int, mixed bool)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	full := kind + "\x00" + key
	t, ok := c.counts[full]
	if !ok && len(c.counts) >= c.limit {
		full = kind
		t, ok = c.counts[full]
	}
	if ok {
		t.more++
		t.tell = tell
		return false
	}
	t = &tally{tell: tell, mixed: full == kind}
	t.timer = time.AfterFunc(c.window, func() { c.end(full, t) })
	c.counts[full] = t
	return true
}

func (c *coalescer) end(key string, t *tally) {
	c.mu.Lock()
	if c.counts[key] != t {
		c.mu.Unlock()
		return // flush was faster
	}
	delete(c.counts, key)
	more, tell := t.more, t.tell
	c.mu.Unlock()
	if more > 0 {
		tell(more, t.mixed)
	}
}

// flush ends all windows.
func (c *coalescer) flush() {
	c.mu.Lock()
	open := make(map[string]*tally, len(c.counts))
	for key, t := range c.counts {
		t.timer.Stop()
		open[key] = t
	}
	c.mu.Unlock()
	for key, t := range open {
		c.end(key, t)
	}
}
