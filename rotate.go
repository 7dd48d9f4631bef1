package scsguard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// Elevate raises (or changes) the role of the session, with a new token (ASVS
// 5.0 7.2.4) and an event that is in the trail before it returns. With
// [Methods] or [AAL] it counts as a re-authentication, too. Requests that are
// under way with the old token go on as the same session, but with the role of
// the login.
//
// Errors: [ErrNotLoggedIn], [ErrResponseStarted], [ErrMoved] if another request
// of the session got a new token at the same time, [ErrUnavailable]. After an
// error nothing has changed.
func (g *Guard) Elevate(ctx context.Context, role string, opts ...AuthOption) (Session, error) {
	if role == "" {
		return Session{}, errors.New("scsguard: Elevate needs a role; to return to the role of the login call Drop")
	}
	var o authOptions
	for _, opt := range opts {
		opt.auth(&o)
	}
	if err := o.check(); err != nil {
		return Session{}, err
	}
	r, err := g.attach(ctx)
	if err != nil {
		return Session{}, err
	}
	defer g.tellPostponed(ctx, r)
	r.turn.Lock()
	defer r.turn.Unlock()
	rec, err := g.own(ctx, r)
	if err != nil {
		return Session{}, err
	}
	return g.changeRole(ctx, r, rec, role, o, true)
}

// Drop returns to the role of the login, with a new token. It is no grant, so
// it does not wait for the trail, and if the token cannot be changed (the store
// is down, the response has started) the role is taken away nevertheless and the
// error says so. Without an elevation it does nothing. Errors as for Elevate.
func (g *Guard) Drop(ctx context.Context) (Session, error) {
	r, err := g.attach(ctx)
	if err != nil {
		return Session{}, err
	}
	defer g.tellPostponed(ctx, r)
	r.turn.Lock()
	defer r.turn.Unlock()
	rec, err := g.own(ctx, r)
	if err != nil && !errors.Is(err, ErrResponseStarted) {
		return Session{}, err
	}
	if rec.Role == rec.BaseRole {
		return rec.public(), err
	}
	if err == nil {
		var s Session
		if s, err = g.changeRole(ctx, r, rec, rec.BaseRole, authOptions{}, false); err == nil {
			return s, nil
		}
	}
	if lowered, ok := g.lower(ctx, r, rec); ok {
		rec = lowered
	}
	return current(rec), err
}

// lower takes the role away without a new token.
func (g *Guard) lower(ctx context.Context, r *request, rec Record) (Record, bool) {
	old, touched, err := g.touchOwn(ctx, r, rec, Activity{ResetRole: true, Event: true})
	if err != nil {
		return rec, false
	}
	now := old
	now.Role, now.Seq = old.BaseRole, touched.Seq
	r.mu.Lock()
	r.rec.Role, r.rec.Seq = now.Role, now.Seq
	r.mu.Unlock()
	e := g.event(r, EventPrivilegeChange, now)
	e.detail("from", old.Role)
	e.detail("to", now.Role)
	g.trail.post(e)
	r.postpone(e)
	return now, true
}

func (g *Guard) changeRole(ctx context.Context, r *request, rec Record, role string, o authOptions, wait bool) (Session, error) {
	rot := Rotation{Role: role, ResetRole: role == rec.BaseRole, Events: 1}
	if len(o.methods) > 0 || o.aal > 0 {
		rot.Auth = o.on(rec)
	}
	next, err := g.rotate(ctx, r, rec, rot, wait, func(next Record) []Event {
		e := g.event(r, EventPrivilegeChange, next)
		e.detail("from", rec.Role)
		e.detail("to", role)
		if rot.Auth != nil {
			e.AuthMethods, e.AAL, e.AuthTime = rot.Auth.Methods, rot.Auth.AAL, rot.Auth.Time
		}
		return []Event{e}
	})
	return current(next), err
}

// check refuses what cannot have been proved.
func (o authOptions) check() error {
	if o.aal < 0 || o.aal > 3 {
		return fmt.Errorf("scsguard: AAL %d does not exist; NIST SP 800-63B has 1 to 3, and 0 is unknown", o.aal)
	}
	return nil
}

// on returns what the session has proved with o in addition to what it had. The
// AAL that a login has reached is not lost by a weaker proof, unless that is a full
// one, which takes its place, or one after another device was seen (StepUp): the
// session is that device's from now on, and nothing else was proved there (NIST SP
// 800-63B-4 5.1). The methods are those of the new proof only, so that
// an old one never counts as recent.
func (o authOptions) on(rec Record) *Authentication {
	at := time.Now()
	if o.atGiven {
		at = o.proved()
	}
	a := &Authentication{Time: at, Methods: o.methods, AAL: o.aal, Full: o.full}
	if !o.full && !rec.doubted() {
		a.AAL = max(a.AAL, rec.AAL)
	}
	return a
}

// Reauthenticated says that the user has proved again who he is. The session
// gets a new token and a new time of authentication. With [Full] its absolute
// timeout starts anew (NIST SP 800-63B-4 5.2), which nothing else can do.
//
// Errors as for [Guard.Elevate], and [ErrWeakerLogin].
func (g *Guard) Reauthenticated(ctx context.Context, opts ...ReauthOption) (Session, error) {
	var o authOptions
	for _, opt := range opts {
		opt.reauth(&o)
	}
	if err := o.check(); err != nil {
		return Session{}, err
	}
	r, err := g.attach(ctx)
	if err != nil {
		return Session{}, err
	}
	defer g.tellPostponed(ctx, r)
	r.turn.Lock()
	defer r.turn.Unlock()
	rec, err := g.own(ctx, r)
	if err != nil {
		return Session{}, err
	}
	rot := Rotation{Auth: o.on(rec), Activity: time.Now(), Events: 2}
	if o.full {
		if err := o.renews(rec); err != nil {
			return Session{}, err
		}
		t, err := g.policy(ctx, Subject{User: rec.User, Role: rec.Role, IP: r.ip, Methods: o.methods, AAL: o.aal})
		if err != nil {
			return Session{}, err
		}
		rot.Absolute = rot.Auth.Time.Add(t.Absolute)
	}
	next, err := g.rotate(ctx, r, rec, rot, true, func(next Record) []Event {
		e := g.event(r, EventReauth, next)
		e.AuthMethods, e.AAL, e.AuthTime = rot.Auth.Methods, rot.Auth.AAL, rot.Auth.Time
		e.SessionSeq--
		return []Event{e, g.extended(r, next, rec, "reauth")}
	})
	return current(next), err
}

// renews reports why a proof does not start a new absolute timeout.
func (o authOptions) renews(rec Record) error {
	if o.aal < rec.LoginAAL {
		return fmt.Errorf("%w: AAL %d, but the login had AAL %d", ErrWeakerLogin, o.aal, rec.LoginAAL)
	}
	last := rec.AuthTime
	if last.IsZero() { // forgotten, since another device was seen
		last = rec.AbsoluteSince
	}
	if o.atGiven && !o.proved().After(last) {
		return fmt.Errorf("%w: it is not later than the last authentication, at %s", ErrWeakerLogin, encodeTime(last))
	}
	return nil
}

func current(rec Record) Session {
	s := rec.public()
	s.Current = rec.Session != ""
	return s
}

// own returns the session of the request for a verb that changes its token.
func (g *Guard) own(ctx context.Context, r *request) (Record, error) {
	if err := g.open(); err != nil {
		return Record{}, err
	}
	if err := g.decideFate(ctx, r); err != nil {
		return Record{}, err
	}
	rec, ok := r.session()
	if !ok {
		return Record{}, ErrNotLoggedIn
	}
	if _, over := rec.Overdue(time.Now()); over { // the handler took its time
		now, err := g.judged(ctx, r, rec.Key)
		if err == nil && now.State == StateEnded {
			r.close(now, true)
			err = endedError(now)
		}
		if err != nil {
			return Record{}, err
		}
	}
	switch {
	case r.hasStarted():
		return rec, ErrResponseStarted
	case r.isGraced(): // it has the old token and cannot get a cookie
		return rec, ErrMoved
	}
	return rec, nil
}

// decideFate commits a session whose token the application has renewed itself,
// so that it has a record again that a verb can act on.
func (g *Guard) decideFate(ctx context.Context, r *request) error {
	d := r.openFate()
	if d == nil {
		return nil
	}
	if !g.goesOn(r, d, g.sm.GetString(ctx, markKey)) {
		return g.settleFate(ctx, r)
	}
	_, _, err := g.commit(ctx, r)
	return err
}

// decide is decideFate for a verb that does not change the session.
func (g *Guard) decide(ctx context.Context, r *request) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	return g.decideFate(ctx, r)
}

// rotate gives a session a new token. Its data is stored under the new key
// first, then the events are durable, then the record moves: at every moment
// the session has exactly one token that works, and a crash leaves one.
func (g *Guard) rotate(ctx context.Context, r *request, rec Record, rot Rotation, wait bool, events func(next Record) []Event) (Record, error) {
	if rot.Absolute.IsZero() {
		var over bool
		var err error
		switch rec, over, err = g.applyDeadline(ctx, r, rec, g.sm.Deadline(ctx)); {
		case err != nil:
			return rec, err
		case over:
			return rec, endedError(rec)
		}
	}
	next := rec
	if !rot.Absolute.IsZero() {
		next.Absolute = rot.Absolute
	}
	others, err := g.othersData(ctx, rec.Key)
	if err != nil {
		return rec, err
	}
	var before tokenState
	vctx, err := g.changeToken(ctx, r, &before, &next)
	if err != nil {
		return rec, err
	}
	if others != nil {
		vctx = context.WithValue(vctx, verbKey{g}, &verb{others: others, rec: next})
	}
	rot.To, rot.At = next.Key, time.Now()
	rot.Grace, rot.Fingerprint = max(g.cfg.RotationGrace, 0), g.fingerprintAfter(r, rec, rot.Auth != nil)
	undo := func() {
		g.deleteData(ctx, next.Key)
		g.restoreToken(ctx, r, before, next.Key)
	}
	if _, _, err := g.sm.Commit(vctx); err != nil {
		undo()
		return rec, err
	}
	planned := next
	planned.State = StateLive
	planned.Rotate(rot)
	told := events(planned)
	if wait {
		if err := g.grant(told...); err != nil {
			undo()
			g.retract(ctx, r, told) // they may be in the trail nevertheless
			return rec, err
		}
	}
	won, now, err := g.move(ctx, rec, rot)
	if err != nil || !won {
		undo()
		if wait {
			g.retract(ctx, r, told)
		}
		return rec, g.lostRotation(r, before, rec, now, err)
	}
	if !wait {
		g.trail.post(told...)
	}
	r.postpone(told...)
	g.carryOver(ctx, r, rec, now, others)
	g.deleteData(ctx, rec.Key)
	r.set(&now, now.Key)
	r.mu.Lock()
	r.rotated, r.deadline = true, now.Absolute
	r.mu.Unlock()
	return now, nil
}

// retract records that events which may be in the trail did not take place.
func (g *Guard) retract(ctx context.Context, r *request, events []Event) {
	for _, e := range events {
		e.Details = maps.Clone(e.Details)
		e.detail("retracts", e.ID)
		e.ID, e.Time, e.Outcome = newSessionID(), time.Now(), OutcomeFailure
		g.trail.post(e)
		g.tellLater(ctx, r, e)
	}
}

// lostRotation says what became of a session that another request moved or
// ended first.
func (g *Guard) lostRotation(r *request, before tokenState, rec, now Record, err error) error {
	switch {
	case err != nil:
		return err
	case now.State == StateLive:
		r.grace(before.key, rec, now)
		return ErrMoved
	}
	r.close(now, true)
	return endedError(now)
}

// renewIfDue gives the session a new token when the present one is old. What
// goes wrong with it is no reason to refuse the request: the old token goes on.
func (g *Guard) renewIfDue(ctx context.Context, r *request) {
	if r.limits.Renew <= 0 {
		return
	}
	rec, ok := r.session()
	if !ok || r.isGraced() || r.isPassive() || time.Since(rec.TokenSince) < r.limits.Renew {
		return
	}
	if g.health.failing(ComponentAudit) {
		return // it would wait for a trail that does not answer; the next request tries again
	}
	_, _ = g.rotate(ctx, r, rec, Rotation{Events: 1}, true, func(next Record) []Event {
		e := g.event(r, EventRenew, next)
		e.Reason = "periodic"
		return []Event{e}
	})
}
