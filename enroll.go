package scsguard

import (
	"context"
	"errors"
	"time"
)

// Sessions that were logged in without the guard, before it came or by an instance
// that does not have it yet, carry the application's user key and no mark. Each is
// enrolled when it is first seen: it gets a record under the key it has, and from
// then on it is a session like any other. Nobody has to log in again.

// errEnrolling reports that several requests enrol one session. It is tried
// again, and is an answer only if that leads nowhere.
var errEnrolling = &UnavailableError{Component: ComponentRegistry, Op: "enroll", Err: errors.New("another request is enrolling the session")}

// enrollPause is how long a request waits before it looks again at a session that
// another request is enrolling.
const enrollPause = 10 * time.Millisecond

// whileEnrolling calls f again for as long as another request is enrolling the
// session, and a call of the registry may take.
func (g *Guard) whileEnrolling(ctx context.Context, f func() error) error {
	err := f()
	if !errors.Is(err, errEnrolling) {
		return err // as nearly always
	}
	for begun := time.Now(); errors.Is(err, errEnrolling) && time.Since(begun) <= g.cfg.CallTimeout; err = f() {
		pause := time.NewTimer(enrollPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
	return err
}

// enrollLoaded enrols the session that a request has just loaded.
func (g *Guard) enrollLoaded(base, ctx context.Context, r *request, user string) (context.Context, error) {
	rec, err := g.enroll(ctx, &login{g: g, r: r, user: user}, r.dataKey(), g.sm.Deadline(ctx))
	if err != nil {
		return base, err
	}
	if rec.State != StateLive {
		r.set(&Record{}, "")
		r.close(rec, false)
		return g.sm.Load(base, "")
	}
	r.set(&rec, rec.Key)
	return ctx, g.keepMark(ctx, r, rec)
}

// keepMark puts the mark into data that lacks it: it was enrolled, or an instance
// without the guard has cleared it. Without the mark, a registry that forgot would
// take an ended session for one to be enrolled.
func (g *Guard) keepMark(ctx context.Context, r *request, rec Record) error {
	if r.isGraced() || g.sm.GetString(ctx, markKey) == g.mark(rec.Session) {
		return nil
	}
	g.sm.Put(ctx, markKey, g.mark(rec.Session))
	g.sm.Remove(ctx, seenKey)
	if g.sm.Deadline(ctx).After(rec.Absolute) {
		g.sm.SetDeadline(ctx, rec.Absolute.UTC())
	}
	return g.storeMark(ctx, r, rec, func() error {
		_, _, err := g.sm.Commit(g.withVerb(ctx))
		return err
	})
}

// storeMark writes data to which the mark was added. Its session may have ended
// meanwhile, or its data may have been deleted by an instance without the guard:
// writing it must not bring it back. errEnrolling says to look again.
func (g *Guard) storeMark(ctx context.Context, r *request, rec Record, write func() error) error {
	if _, found, err := g.find(ctx, rec.Key); err != nil {
		return err
	} else if !found {
		if _, _, err := g.lose(ctx, r, rec); err != nil {
			return err
		}
		return errEnrolling
	}
	if err := write(); err != nil {
		return err
	}
	after, err := g.keepIfLive(ctx, rec.Key)
	if err == nil && after.State != StateLive {
		err = errEnrolling
	}
	return err
}

// enrollBare is enrollLoaded for a Load without a request.
func (g *Guard) enrollBare(ctx context.Context, key Key, b []byte, deadline time.Time) ([]byte, bool, error) {
	loaded, err := g.scratch(b)
	if err != nil {
		return nil, false, err
	}
	user, err := g.claimed(loaded)
	if err != nil || user == "" {
		return b, true, err
	}
	r := &request{arrived: time.Now()}
	rec, err := g.enroll(loaded, &login{g: g, r: r, user: user}, key, deadline)
	g.tellLater(ctx, nil, r.later...)
	if err != nil || rec.State != StateLive {
		return nil, false, err
	}
	if b, err = g.corrected(b, rec, true, deadline); err != nil {
		return nil, false, err
	}
	return b, true, g.storeMark(ctx, nil, rec, func() error { return g.write(ctx, key, b, rec.Absolute) })
}

// enroll makes a record for the session under key. It waits for the trail, as
// every grant does; if that fails the session stays as it is, and the next request
// tries again. A record that is not live in the answer says why the session is
// over. errEnrolling says that somebody else was faster.
func (g *Guard) enroll(ctx context.Context, l *login, key Key, deadline time.Time) (Record, error) {
	if err := g.open(); err != nil {
		return Record{}, err
	}
	if err := l.prepare(ctx); err != nil {
		return Record{}, err
	}
	l.kind = EventEnroll
	l.backdate(key, deadline)
	if !l.rec.Absolute.After(time.Now()) {
		return l.turnAway(ctx, EndAbsolute)
	}
	if l.limit.OnExceed != Warn {
		l.limit.OnExceed = Deny // its login is older than the others': it would be the one to go
	}
	a := l.admission()
	a.Browser = "" // those who come with the same token enrol the same session
	adm, err := l.ask(ctx, a)
	switch {
	case err != nil:
		return Record{}, err
	case adm.Denied == DeniedExists:
		return Record{}, errEnrolling
	case adm.Denied != "":
		return l.refused(ctx, adm)
	}
	events := l.events(&adm)
	if err := g.grant(events...); err != nil {
		if _, back := g.settle(ctx, adm, false); back != nil {
			err = errors.Join(err, back) // its lease ends it
		}
		g.retract(ctx, l.r, events) // they may be in the trail nevertheless
		return Record{}, err
	}
	settled, err := g.settle(ctx, adm, true)
	if err != nil {
		return Record{}, err // it lives, or its lease ends it
	}
	l.r.postpone(events...)
	g.afterEnd(ctx, l.r, settled.Ended...)
	l.r.mu.Lock()
	l.r.limits = l.limits
	l.r.mu.Unlock()
	return settled.Record, nil
}

// backdate makes the record one of a login in the past. scs gives a session its
// Lifetime at login, so its deadline tells when that was, unless the application
// has set another; one that would lie in the future says nothing. What is not known
// counts against the session: its user may have been away for as long as it exists,
// and a token that was renewed lately proves nothing, so it was never authenticated
// recently.
func (l *login) backdate(key Key, deadline time.Time) {
	rec, now := &l.rec, l.rec.Created
	own((*string)(&key)) // a part of the Cookie header
	rec.Key, rec.AuthTime, rec.LongestGap, l.proved = key, time.Time{}, l.limits.Absolute, time.Time{}
	if since := deadline.Add(-l.g.sm.Lifetime); !since.After(now) {
		rec.Created, l.proved, rec.LongestGap = since, since, now.Sub(since)
		rec.AbsoluteSince, rec.TokenSince = since, since
		rec.Absolute = since.Add(l.limits.Absolute)
	}
	if deadline.Before(rec.Absolute) {
		rec.Absolute = deadline
	}
}

// refused deals with a session that must not be enrolled: all sessions of the user
// were ended since he logged in, or he has as many as he may have.
func (l *login) refused(ctx context.Context, adm Admitted) (Record, error) {
	rec, err := l.g.get(ctx, l.rec.Key)
	switch {
	case err != nil:
		return Record{}, err
	case rec.State != StateUnknown: // another request was faster, with one result or the other
		return Record{}, errEnrolling
	case adm.Denied == DeniedLimit:
		return l.turnAway(ctx, EndEvicted)
	}
	return l.turnAway(ctx, EndRevoked)
}

// turnAway ends a session that never had a record. Its key gets a tombstone, so
// that an instance without the guard, which may still write its data, does not
// bring it back.
func (l *login) turnAway(ctx context.Context, reason EndReason) (Record, error) {
	g := l.g
	ending := g.ending(l.r, Ending{Reason: reason})
	if _, _, err := g.end(ctx, l.r, Target{Key: l.rec.Key}, ending); err != nil {
		return Record{}, err
	}
	g.deleteData(ctx, l.rec.Key)
	e := g.event(l.r, EventEnroll, l.rec)
	e.Session, e.SessionSeq = "", 0 // it was never given out
	e.Outcome, e.Reason, e.Created = OutcomeFailure, string(reason), l.rec.Created
	g.trail.post(e)
	l.r.postpone(e)
	return Record{State: StateEnded, User: l.user, Ending: ending}, nil
}
