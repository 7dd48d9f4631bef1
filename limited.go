package scsguard

import (
	"context"
	"sync"
	"time"
)

// limited is a context that ends at a deadline, as one of context.WithTimeout does. It
// sets up its timer when somebody waits for it: most calls of a request look at the
// deadline only, and to start and stop a timer takes as long as to read a record.
type limited struct {
	context.Context // the parent
	deadline        time.Time

	mu     sync.Mutex
	over   bool            // the call has returned
	waited context.Context // with the timer; nil until somebody waits
	stop   context.CancelFunc
}

// limit returns a context that ends after d. end releases what it holds.
func limit(parent context.Context, d time.Duration) *limited {
	deadline := time.Now().Add(d)
	if earlier, ok := parent.Deadline(); ok && earlier.Before(deadline) {
		deadline = earlier
	}
	return &limited{Context: parent, deadline: deadline}
}

// end says that the call has returned: whatever it has left behind may stop.
func (c *limited) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.stop != nil {
		c.stop()
	}
}

func (c *limited) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *limited) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited == nil {
		c.waited, c.stop = context.WithDeadline(c.Context, c.deadline)
		if c.over {
			c.stop()
		}
	}
	return c.waited.Done()
}

func (c *limited) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.waited != nil:
		return c.waited.Err()
	case c.Context.Err() != nil:
		return c.Context.Err()
	case c.over:
		return context.Canceled
	case !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// Value lets contexts that are derived from this one find the one with the timer, which
// tells them without a goroutine for each.
func (c *limited) Value(key any) any {
	c.mu.Lock()
	waited := c.waited
	c.mu.Unlock()
	if waited != nil {
		return waited.Value(key)
	}
	return c.Context.Value(key)
}
