package auditlog

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// anchorPatience is how long one anchor may take for one head.
const anchorPatience = 10 * time.Second

// anchored is an anchor and what it knows of this process's streams. The lock of
// the log guards it.
type anchored struct {
	anchor Anchor
	turn   chan struct{}    // capacity 1, full while it is told: an older head must not come after a newer one
	sizes  map[string]int64 // what it keeps, by stream

	since   time.Time // when the first record came that it was not told of yet
	telling time.Time // the same of what it is being told now
	err     error
	fork    error // it contradicts the log: stays for ever
}

// lag is the age of the oldest record that the anchor does not cover.
func (a *anchored) lag(now time.Time) time.Duration {
	oldest := a.since
	if !a.telling.IsZero() && (oldest.IsZero() || a.telling.Before(oldest)) {
		oldest = a.telling
	}
	if oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(oldest))
}

// pushAnchors has the anchors told without waiting for their time.
func (l *Log) pushAnchors() {
	select {
	case l.push <- struct{}{}:
	default:
	}
}

// anchorLoop tells the anchors how far the log has come.
func (l *Log) anchorLoop() {
	defer close(l.shut)
	if len(l.anchors) == 0 {
		return
	}
	ticker := time.NewTicker(l.cfg.AnchorEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.push:
		case <-l.done:
			_ = l.Anchor(context.Background())
			return
		}
		_ = l.Anchor(context.Background())
	}
}

// Anchor tells all anchors at once how far the log has come, and returns their
// errors. The log does so by itself every Config.AnchorEvery; this is for a
// moment that matters, say before a machine is handed over.
func (l *Log) Anchor(ctx context.Context) error {
	errs := make(chan error, len(l.anchors))
	for _, a := range l.anchors {
		go func() { errs <- l.tell(ctx, a) }() // a slow one does not keep the others from it
	}
	var all []error
	for range l.anchors {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// tell puts the heads that an anchor does not have yet.
func (l *Log) tell(ctx context.Context, a *anchored) (err error) {
	ctx, cancel := context.WithTimeout(ctx, anchorPatience)
	defer cancel()
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return fmt.Errorf("auditlog: anchor: it has not answered an earlier call yet: %w", ctx.Err())
	}
	l.mu.Lock()
	var todo []Head
	for i := range l.heads {
		if h := &l.heads[i]; a.sizes[h.stream] < h.size {
			todo = append(todo, h.head())
		}
	}
	if len(todo) == 0 {
		l.mu.Unlock()
		return nil
	}
	if a.telling.IsZero() {
		a.telling = a.since
	}
	a.since = time.Time{}
	l.mu.Unlock()

	for _, h := range todo {
		if err = a.anchor.Put(ctx, h); err != nil {
			err = fmt.Errorf("auditlog: anchor: %w", err)
			break
		}
		l.mu.Lock()
		a.sizes[h.Stream] = max(a.sizes[h.Stream], h.Size)
		l.mu.Unlock()
	}
	l.mu.Lock()
	a.err = err
	if err == nil {
		a.telling = time.Time{}
	}
	first := errors.Is(err, ErrFork) && a.fork == nil
	if first {
		a.fork = err
	}
	l.mu.Unlock()
	if first {
		l.alarm(Alarm{todo[0].Stream, err})
	}
	return err
}
