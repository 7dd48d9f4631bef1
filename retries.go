package scsguard

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// retries repeats work that takes something away until it succeeds. Its owner
// has been told of the failure and gone on.
//
// Endings come before deletions: a session that could not be ended is alive, and
// data that could not be deleted belongs to a session that is dead.
type retries struct {
	mu      sync.Mutex
	lists   [2][]*retry // by kind, in the order in which they are tried
	running bool
	stop    chan struct{}
	done    chan struct{} // closed when run returns
	closed  bool
}

type retryKind int

const (
	retryEnd retryKind = iota
	retryDelete
)

type retry struct {
	name string
	task func(context.Context) error
}

const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
	// maxDeletions bounds what is kept while the store is down. Beyond it the data
	// goes when its own time to live is over. Endings are not bounded: there is at
	// most one for each logout that was answered with 503.
	maxDeletions = 10_000
)

func newRetries() *retries { return &retries{stop: make(chan struct{})} }

// add repeats task until it returns nil. A second one of the same kind and name
// is the same work.
func (r *retries) add(kind retryKind, name string, task func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.lists[kind]
	if r.closed || kind == retryDelete && len(list) >= maxDeletions {
		return
	}
	for _, old := range list {
		if old.name == name {
			return
		}
	}
	r.lists[kind] = append(list, &retry{name, task})
	if !r.running {
		r.running = true
		r.done = make(chan struct{})
		go r.run(r.done)
	}
}

func (r *retries) run(done chan struct{}) {
	defer close(done)
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-r.stop:
			timer.Stop()
			return
		}
		if r.round(context.Background()) == 0 {
			return
		}
	}
}

// round tries each kind until one task fails: then what it needs is down, and
// the others would only wait as long. That one goes to the end of the line, so
// that it cannot keep the others from their turn. round returns how many are
// left; if none is, run has ended.
func (r *retries) round(ctx context.Context) int {
	for kind := range r.lists {
		for {
			r.mu.Lock()
			if len(r.lists[kind]) == 0 {
				r.mu.Unlock()
				break
			}
			first := r.lists[kind][0]
			r.mu.Unlock()
			err := first.task(ctx)
			r.mu.Lock()
			r.lists[kind] = r.lists[kind][1:]
			if err != nil {
				r.lists[kind] = append(r.lists[kind], first)
			}
			r.mu.Unlock()
			if err != nil {
				break
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	left := len(r.lists[retryEnd]) + len(r.lists[retryDelete])
	if left == 0 {
		r.running = false
	}
	return left
}

// close tries everything once more and stops.
func (r *retries) close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	running, done := r.running, r.done
	r.mu.Unlock()
	close(r.stop)
	if running {
		select {
		case <-done:
		case <-ctx.Done(): // a call in it does not answer
		}
	}
	if ctx.Err() == nil {
		r.round(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if ends, deletions := len(r.lists[retryEnd]), len(r.lists[retryDelete]); ends+deletions > 0 {
		return fmt.Errorf("scsguard: %d endings and %d deletions of dead sessions' data could not be completed", ends, deletions)
	}
	return nil
}
