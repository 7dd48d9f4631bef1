package scsguard

import (
	"context"
	"errors"
	"sync"
	"time"
)

// orphans remembers sessions that were detached on a context without a request,
// until their commit comes or their lease is over.
type orphans struct {
	mu   sync.Mutex
	list map[string]detachment // by mark
}

func (o *orphans) put(mark string, d detachment) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.list == nil {
		o.list = make(map[string]detachment)
	}
	for m, old := range o.list {
		if d.at.After(old.rec.Lease) {
			delete(o.list, m)
		}
	}
	o.list[mark] = d
}

func (o *orphans) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.list) == 0
}

func (o *orphans) holds(mark string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.list[mark]
	return ok
}

// take returns the session that mark names, if it was detached from another key.
func (o *orphans) take(mark string, key Key) (detachment, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok := o.list[mark]
	if !ok || d.rec.Key == key {
		return detachment{}, false
	}
	delete(o.list, mark)
	return d, true
}

// detachBare is detach on a context without a request: nobody will say when its
// work is done, so the lease decides if no commit comes.
func (g *Guard) detachBare(ctx context.Context, rec Record) error {
	detached, ok, err := g.callDetach(ctx, rec.Key, newSessionID())
	if err != nil {
		return err
	}
	if ok {
		g.orphans.put(g.mark(rec.Session), detachment{rec: detached, at: time.Now()})
	}
	g.deleteData(ctx, rec.Key)
	return nil
}

// commitOrphan is commitDetached on a context without a request.
func (g *Guard) commitOrphan(ctx context.Context, key Key, b []byte, expiry time.Time) (done bool, err error) {
	if g.orphans.empty() {
		return false, nil
	}
	d, ok := g.orphans.take(g.markIn(b), key)
	if !ok {
		return false, nil
	}
	var rec Record
	_, found, err := g.fetch(ctx, key, &rec)
	switch {
	case err != nil:
	case rec.State == StateLive && rec.User == d.rec.User: // two sessions of one user become one
		_, _, err = g.end(ctx, nil, Target{Key: d.rec.Key}, Ending{Reason: EndReplaced})
		return false, err
	case rec.State == StateLive:
		err = ErrOtherUser
	case found || rec.State != StateUnknown:
		// Merged into a session that was there before: its token may have been
		// planted, and here nobody can give it a new one.
		return true, g.destroyed(ctx, nil, d.rec)
	default:
		_, _, err = g.renewed(ctx, nil, d, key, b, expiry)
	}
	if err != nil {
		err = errors.Join(err, g.destroyed(ctx, nil, d.rec))
	}
	return true, err
}
