package scsguard

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// cuts are the requests of a guard that go on no longer than their sessions.
type cuts struct {
	once    sync.Once
	watched atomic.Bool // the registry tells of every ending

	mu   sync.Mutex
	sets map[string]map[*cut]struct{} // by session
}

// add begins to watch over a request.
func (cs *cuts) add(g *Guard, r *request, rec Record, cancel context.CancelCauseFunc) *cut {
	cs.once.Do(g.startWatch)
	c := &cut{g: g, r: r, session: rec.Session, rec: rec, cancel: cancel, wake: make(chan struct{}, 1), done: make(chan struct{})}
	cs.mu.Lock()
	if cs.sets == nil {
		cs.sets = make(map[string]map[*cut]struct{})
	}
	if cs.sets[rec.Session] == nil {
		cs.sets[rec.Session] = make(map[*cut]struct{})
	}
	cs.sets[rec.Session][c] = struct{}{}
	cs.mu.Unlock()
	r.mu.Lock()
	r.cut = c
	r.mu.Unlock()
	c.look() // it may have ended since the request was let in
	go c.run()
	return c
}

func (cs *cuts) remove(c *cut) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	set := cs.sets[c.session]
	if _, ok := set[c]; !ok {
		return
	}
	delete(set, c)
	if len(set) == 0 {
		delete(cs.sets, c.session)
	}
	close(c.done)
}

// notify says that a session has ended.
func (cs *cuts) notify(session string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.sets[session] {
		c.look()
	}
}

// notifyAll says that endings may have been missed.
func (cs *cuts) notifyAll() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, set := range cs.sets {
		for c := range set {
			c.look()
		}
	}
}

// look makes run look at the session.
func (c *cut) look() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// startWatch listens to the registry, if it can tell of endings, until the guard
// is closed. Until it does, the registry is asked.
func (g *Guard) startWatch() {
	if w, ok := g.registry.(Watcher); ok && !g.closed.Load() {
		go g.watch(w)
	}
}

func (g *Guard) watch(w Watcher) {
	for g.life.Err() == nil {
		endings, err := w.Watch(g.life)
		if err != nil {
			g.rest(cutRetry)
			continue
		}
		g.cuts.watched.Store(true)
		g.cuts.notifyAll() // some may have been missed before
		for rec := range endings {
			g.cuts.notify(rec.Session)
		}
		g.cuts.watched.Store(false)
		g.cuts.notifyAll() // and from now on they are asked for
		g.rest(cutRetry)   // one that closes the channel at once is not to be called without an end
	}
}

// rest waits, or until the guard is closed.
func (g *Guard) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.life.Done():
	}
}
