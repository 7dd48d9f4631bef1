package scsguard

import (
	"context"
	"time"
)

// Extend starts the idle timeout anew because the user asked for it, by the
// button of a warning (WCAG 2.2 2.2.1). The absolute timeout stays. The event is
// in the trail before Extend returns; if it cannot be written, nothing is
// extended. Errors: [ErrNotLoggedIn], [ErrUnavailable], [*EndedError] if the
// session ended meanwhile.
func (g *Guard) Extend(ctx context.Context) (Session, error) {
	if err := g.open(); err != nil {
		return Session{}, err
	}
	r, err := g.attach(ctx)
	if err != nil {
		return Session{}, err
	}
	defer g.tellPostponed(ctx, r)
	r.turn.Lock()
	defer r.turn.Unlock()
	if err := g.decideFate(ctx, r); err != nil {
		return Session{}, err
	}
	old, ok := r.session()
	if !ok {
		return Session{}, ErrNotLoggedIn
	}
	rec, now := old, time.Now()
	rec.Active(now)
	rec.Seq++
	e := g.extended(r, rec, old, "request")
	if err := g.grant(e); err != nil {
		g.retract(ctx, r, []Event{e})
		return Session{}, err
	}
	old, touched, err := g.touchOwn(ctx, r, old, Activity{At: now, Event: true, Extended: true})
	if err != nil {
		g.retract(ctx, r, []Event{e})
		return Session{}, err
	}
	rec = old
	rec.Active(now)
	rec.Seq = touched.Seq
	r.mu.Lock()
	r.rec, r.touched = rec, true
	r.mu.Unlock()
	r.postpone(e)
	return current(rec), nil
}

// extendActivity is the reason of an extend that nobody asked for.
const extendActivity = "activity"

// extended is the event of a deadline that moved.
func (g *Guard) extended(r *request, rec, old Record, reason string) Event {
	e := g.event(r, EventExtend, rec)
	e.Reason = reason
	e.IdleExpires, e.AbsoluteExpires = rec.LastActivity.Add(rec.Idle), rec.Absolute
	e.IdleExpiresOld, e.AbsoluteExpiresOld = old.LastActivity.Add(old.Idle), old.Absolute
	return e
}
