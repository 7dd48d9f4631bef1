package scsguard

import (
	"context"
	"sync"
)

var _ Watcher = (*MemoryRegistry)(nil)

// watchBuffer is how many endings a watcher may be behind.
const watchBuffer = 1024

// watchers are those who want to know of endings. Their lock is taken last.
type watchers struct {
	mu  sync.Mutex
	set map[chan Record]struct{}
}

// Watch sends the record of every session that ends, until ctx is done. To one who
// falls too far behind the channel is closed.
func (m *MemoryRegistry) Watch(ctx context.Context) (<-chan Record, error) {
	ch := make(chan Record, watchBuffer)
	m.watchers.mu.Lock()
	if m.watchers.set == nil {
		m.watchers.set = make(map[chan Record]struct{})
	}
	m.watchers.set[ch] = struct{}{}
	m.watchers.mu.Unlock()
	context.AfterFunc(ctx, func() {
		m.watchers.mu.Lock()
		defer m.watchers.mu.Unlock()
		m.watchers.drop(ch)
	})
	return ch, nil
}

// tell never waits: it is called with a shard locked.
func (w *watchers) tell(rec Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.set {
		select {
		case ch <- rec:
		default:
			w.drop(ch)
		}
	}
}

// drop closes a channel that is not closed yet. w.mu is held.
func (w *watchers) drop(ch chan Record) {
	if _, ok := w.set[ch]; ok {
		delete(w.set, ch)
		close(ch)
	}
}
