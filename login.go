package scsguard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Login begins a session of the user, whom the application has authenticated.
// It stands in the place of RenewToken and Put of the session manager: the
// token is new, and the old one is worth nothing from now on (session fixation;
// ASVS 5.0 7.2.4). Data put into the session before stays in it.
//
// A login of the same user in the same browser replaces his session there and
// takes no place of the cap. One of another user ends the first user's session,
// and begins with empty session data: nobody sees what another has left.
//
// The login is in the trail before Login returns, together with the warning of
// concurrent sessions; if it cannot be written nobody is logged in and nobody
// is ended. Errors: [*LimitError] at the cap, [ErrRevoked] if all
// sessions of the user were ended after he proved who he is, [*EndedError] if
// the session was ended while it began, [ErrResponseStarted] after the first
// byte of the response, [ErrUnavailable] if something could not be reached,
// [*ConfigError] if the policy makes no sense. After an error the request is
// what it was before. Without an error the session may have been replaced
// already by a login in another tab, whose cookie the browser gets.
func (g *Guard) Login(ctx context.Context, user string, opts ...LoginOption) (Session, error) {
	if err := g.open(); err != nil {
		return Session{}, err
	}
	if user == "" || len(user) > maxUserLen {
		return Session{}, fmt.Errorf("scsguard: a user ID has 1 to %d bytes, this one %d; log in with an ID of your own that fits", maxUserLen, len(user))
	}
	r, err := g.attach(ctx)
	if err != nil {
		return Session{}, err
	}
	defer g.tellPostponed(ctx, r)
	r.turn.Lock()
	defer r.turn.Unlock()
	if r.hasStarted() {
		return Session{}, ErrResponseStarted
	}
	var o loginOptions
	for _, opt := range opts {
		opt.login(&o)
	}
	if err := errors.Join(o.check(), o.checkRemember(g, r), o.checkProfile(g)); err != nil {
		return Session{}, err
	}
	l := &login{g: g, r: r, user: user, o: o}
	s, err := l.run(ctx)
	l.settleFamilies(ctx, err != nil)
	return s, err
}

func (r *request) hasStarted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started
}

// login is one login on its way.
type login struct {
	g    *Guard
	r    *request
	user string
	o    loginOptions
	// noticed says that the application has put its user key into the session data,
	// beside whatever else it wants to keep there, and did not call Login.
	noticed bool
	kind    EventKind // EventLogin or EventEnroll

	limits   Timeouts
	limit    Limit
	rec      Record
	proved   time.Time     // when the user proved who he is
	cookie   *familyCookie // of the family that begins with it
	prior    Record        // the session of the browser before, if there was one
	had      bool
	before   tokenState
	taken    map[string]any // what another user had left in the session data
	recorded string         // the ID of the event, once it may be in the trail
}

func (l *login) run(ctx context.Context) (Session, error) {
	g, r := l.g, l.r
	if err := l.prepare(ctx); err != nil {
		return Session{}, err
	}
	if err := l.findPrior(ctx); err != nil {
		return Session{}, err
	}
	vctx, err := l.newToken(ctx)
	if err != nil {
		return Session{}, err
	}
	if !l.noticed && (l.had && l.prior.User != l.user || !l.had && g.isOfOther(r, l.before.mark, l.user)) {
		l.taken = g.takeValues(ctx)
	}
	leave := l.queue(ctx)
	defer leave()
	adm, err := l.admit(ctx)
	if err != nil {
		l.undo(ctx)
		return Session{}, err
	}
	if _, _, err := g.sm.Commit(vctx); err != nil {
		if _, back := g.settle(ctx, adm, false); back != nil {
			err = errors.Join(err, back) // its lease ends it
		}
		return Session{}, l.fail(ctx, err)
	}
	events := l.events(&adm)
	l.recorded = events[0].ID
	if err := g.grant(events...); err != nil {
		return Session{}, l.abort(ctx, err)
	}
	settled, err := g.settle(ctx, adm, true)
	if err != nil {
		return Session{}, l.abort(ctx, err)
	}
	r.postpone(events...)
	g.afterEnd(ctx, r, settled.Ended...)
	if !settled.Live {
		return l.stillborn(ctx, settled.Record)
	}
	l.takeOver(ctx, settled)
	s := settled.Record.public()
	s.Current, s.LastLogin, s.Others = true, adm.LastLogin, publicSessions(adm.Others, "")
	if r.api {
		token := g.sm.Token(ctx)
		s.token = &token
	}
	return s, nil
}

// newToken gives the session a new token. A login that was noticed has what else
// the application did to it: a token that is new already, and a deadline of its own.
func (l *login) newToken(ctx context.Context) (context.Context, error) {
	g, r := l.g, l.r
	if !l.noticed {
		return g.changeToken(ctx, r, &l.before, &l.rec)
	}
	if deadline := g.sm.Deadline(ctx); !deadline.Equal(r.loadedDeadline()) && deadline.Before(l.rec.Absolute) {
		l.rec.Absolute = deadline
	}
	if key := g.storeKey(g.sm.Token(ctx)); r.isFresh(key) {
		return g.keepToken(ctx, r, &l.before, &l.rec), nil
	}
	return g.changeToken(ctx, r, &l.before, &l.rec)
}

// findPrior finds the session of the browser before, also if the application
// has just called RenewToken of the session manager out of habit.
func (l *login) findPrior(ctx context.Context) error {
	g, r := l.g, l.r
	l.prior, l.had = r.session()
	d := r.openFate()
	switch {
	case d == nil:
		return nil
	case g.goesOn(r, d, g.sm.GetString(ctx, markKey)):
		l.prior, l.had = d.rec, true
		return nil
	}
	return g.settleFate(ctx, r)
}

// prepare makes the record.
func (l *login) prepare(ctx context.Context) error {
	g, r := l.g, l.r
	now := r.arrived.Add(time.Since(r.arrived)) // by the same reading of the system's clock, should it be set meanwhile
	l.o.weaken()
	l.kind = EventLogin
	in, err := g.policy(ctx, Subject{User: l.user, Role: l.o.role, IP: r.ip, Methods: l.o.methods, AAL: l.o.aal, Remembered: l.o.remembered})
	if err != nil {
		return err
	}
	l.proved = l.authTime()
	l.limits, l.limit = in.Timeouts, in.limit
	l.rec = Record{
		Session: newSessionID(), User: l.user, Role: l.o.role, BaseRole: l.o.role,
		Created: now, AuthTime: l.proved, Methods: l.o.methods, AAL: l.o.aal, LoginAAL: l.o.aal,
		LastActivity: now, Idle: l.limits.Idle, Absolute: now.Add(l.limits.Absolute), AbsoluteSince: now, TokenSince: now,
		Fingerprint: g.fingerprint(r).String(), IP: r.ip, UserAgent: r.userAgent,
		Remembered: l.o.remembered, Actor: l.o.actor, External: l.o.external, Seq: 1,
	}
	l.remembered()
	l.begin(ctx)
	return nil
}

// authTime is when the user proved who he is.
func (l *login) authTime() time.Time {
	if l.o.atGiven {
		return l.o.proved()
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.r.authStart(l.user)
}

// admit asks for a place, and records a refusal.
func (l *login) admit(ctx context.Context) (Admitted, error) {
	adm, err := l.ask(ctx, l.admission())
	if err != nil || adm.Denied == "" {
		return adm, err
	}
	l.denied(ctx, adm)
	if adm.Denied == DeniedLimit {
		return adm, &LimitError{User: l.user, Max: l.limit.Max, Sessions: publicSessions(adm.Others, "")}
	}
	return adm, ErrRevoked
}

func (l *login) admission() Admission {
	a := Admission{
		Record: l.rec, Limit: l.limit, AuthenticatedAt: l.proved, End: l.o.endSession, Browser: l.r.came,
		By: l.g.ending(l.r, Ending{Detail: l.rec.Session}), Retention: l.g.cfg.Retention,
	}
	if l.had && l.prior.User == l.user {
		a.Replaces = l.prior.Session
	}
	l.claimsPlace(&a)
	return a
}

// ask asks for a place. Before a refusal, places of sessions whose data is gone
// are cleared: nobody can use them.
func (l *login) ask(ctx context.Context, a Admission) (Admitted, error) {
	g, r := l.g, l.r
	for attempt := 0; ; attempt++ {
		adm, err := call(g, context.WithoutCancel(ctx), ComponentRegistry, "admit", func(ctx context.Context) (Admitted, error) {
			return g.registry.Admit(ctx, a)
		})
		if err != nil {
			return adm, err
		}
		g.afterEnd(ctx, r, adm.Overdue...)
		if adm.Denied != DeniedLimit || attempt > 0 || !l.clearGhosts(ctx, adm.Others) {
			return adm, nil
		}
	}
}

// clearGhosts ends sessions without data and reports whether there were any.
func (l *login) clearGhosts(ctx context.Context, recs []Record) bool {
	cleared := false
	for _, rec := range recs {
		if rec.State != StateLive {
			continue
		}
		if _, found, err := l.g.find(ctx, rec.Key); err != nil || found {
			continue // a store that is down says nothing about the session
		}
		if _, won, err := l.g.lose(ctx, l.r, rec); err == nil && won {
			cleared = true
		}
	}
	return cleared
}

// denied records a refusal. It stands whether or not that can be written.
func (l *login) denied(ctx context.Context, adm Admitted) {
	g := l.g
	base := g.event(l.r, EventLoginDenied, Record{User: l.user, Actor: l.o.actor, IP: l.r.ip, UserAgent: l.r.userAgent})
	base.Outcome, base.Reason = OutcomeFailure, string(adm.Denied)
	base.AuthMethods, base.AAL, base.AuthTime = l.rec.Methods, l.rec.AAL, l.rec.AuthTime
	if l.rec.Remembered {
		base.detail("remembered", "true")
	}
	base.Max, base.Concurrent, base.Others = l.limit.Max, len(adm.Others), sessionIDs(adm.Others)
	g.recordCoalesced(ctx, l.r, "denied", base.IP.String()+"\x00"+l.user, base)
}

// events are what the login writes, in one Append.
func (l *login) events(adm *Admitted) []Event {
	g := l.g
	e := g.event(l.r, l.kind, l.rec)
	if l.kind == EventLogin {
		e.Time = l.rec.Created
	}
	if l.noticed {
		e.detail("noticed", "user key")
	}
	e.AuthMethods, e.AAL, e.AuthTime = l.rec.Methods, l.rec.AAL, l.rec.AuthTime
	e.Created, e.IdleExpires, e.AbsoluteExpires = l.rec.Created, l.rec.LastActivity.Add(l.rec.Idle), l.rec.Absolute
	e.Fingerprint = l.rec.Fingerprint
	if l.rec.Role != "" {
		e.detail("role", l.rec.Role)
	}
	if l.rec.Remembered {
		e.detail("remembered", "true")
	}
	if l.rec.Remember != "" {
		e.detail("remember_id", l.rec.Remember)
	}
	if l.rec.External != "" {
		e.detail("external_id", l.rec.External)
	}
	events := []Event{e}
	if len(adm.Others) > 0 {
		adm.Record.Seq = l.rec.Seq + 1
		events = append(events, l.warning(adm))
	}
	return events
}

// warning is the event of a login that leaves the user with two or more
// sessions.
func (l *login) warning(adm *Admitted) Event {
	e := l.g.event(l.r, EventConcurrentWarning, adm.Record)
	e.Concurrent, e.Others, e.Max = len(adm.Others)+1, sessionIDs(adm.Others), l.limit.Max
	different := false
	for _, o := range adm.Others {
		different = different || network(o.IP) != network(l.rec.IP)
	}
	e.detail("different_network", strconv.FormatBool(different))
	return e
}

func sessionIDs(recs []Record) []string {
	ids := make([]string, len(recs))
	for i, rec := range recs {
		ids[i] = rec.Session
	}
	return ids
}

// abort ends a login that the trail or the registry may have kept although they
// reported an error, as often as it takes, so that what may be there has an
// ending.
func (l *login) abort(ctx context.Context, cause error) error {
	_, _, _ = l.g.end(ctx, l.r, Target{Key: l.rec.Key}, Ending{Reason: EndAborted}) // retried by end
	return l.fail(ctx, cause)
}

// fail undoes what the login did to the session data, and records that it did
// not happen.
func (l *login) fail(ctx context.Context, cause error) error {
	g := l.g
	g.deleteData(ctx, l.rec.Key)
	l.undo(ctx)
	e := g.event(l.r, EventLogin, l.rec)
	e.Outcome, e.Reason = OutcomeFailure, failureReason(cause)
	if l.recorded != "" {
		e.detail("retracts", l.recorded)
	}
	g.trail.post(e)
	l.r.postpone(e)
	return cause
}

// undo gives the session data its old token, and what another user had in it.
func (l *login) undo(ctx context.Context) {
	l.g.restoreToken(ctx, l.r, l.before, l.rec.Key)
	for key, v := range l.taken {
		l.g.sm.Put(ctx, key, v)
	}
}

func failureReason(err error) string {
	var u *UnavailableError
	if errors.As(err, &u) {
		return string(u.Component) + "_unavailable"
	}
	return "error"
}

func (g *Guard) settle(ctx context.Context, adm Admitted, commit bool) (Settled, error) {
	return call(g, context.WithoutCancel(ctx), ComponentRegistry, "settle", func(ctx context.Context) (Settled, error) {
		return g.registry.Settle(ctx, adm, commit)
	})
}

// stillborn deals with a login that is in the trail and was ended before it
// lived: by another login beyond the cap, another tab, or EndAll.
func (l *login) stillborn(ctx context.Context, rec Record) (Session, error) {
	g, r := l.g, l.r
	g.deleteData(ctx, l.rec.Key)
	refusal := error(endedError(rec))
	if reason := rec.Ending.Reason; reason == EndRevoked || reason == EndAdmin {
		refusal = ErrRevoked
	}
	if l.had && rec.Ending.Reason != EndReplaced {
		// Whoever was logged in before, another user perhaps, goes on.
		if prior, err := g.judged(ctx, r, l.prior.Key); err == nil && prior.State == StateLive {
			l.undo(ctx)
			return Session{}, refusal
		}
	}
	if l.had {
		_, _, _ = g.end(ctx, r, Target{Key: l.prior.Key}, Ending{Reason: EndReplaced, Detail: l.rec.Session}) // retried by end
	}
	r.mu.Lock()
	r.wasLive = true // the session data carries the mark of a login, and must not be stored
	r.mu.Unlock()
	r.close(rec, true)
	if rec.Ending.Reason == EndReplaced && !r.api {
		// Another tab of the same browser was a moment later, and the browser gets
		// its cookie. For this visitor nothing went wrong.
		return rec.public(), nil
	}
	return Session{}, refusal
}

// takeOver makes the session the request's own and ends what the browser had
// before.
func (l *login) takeOver(ctx context.Context, settled Settled) {
	g, r, rec := l.g, l.r, settled.Record
	old := r.dataKey()
	r.takeDetached()
	r.set(&rec, rec.Key)
	r.mu.Lock()
	r.stale, r.undelivered, r.touched, r.untouched = false, r.http != nil, true, false
	r.limits, r.deadline = l.limits, rec.Absolute
	came := r.came
	r.mu.Unlock()
	if l.had && l.prior.User != l.user {
		_, _, _ = g.end(ctx, r, Target{Key: l.prior.Key}, Ending{Reason: EndReplaced, Detail: rec.Session}) // retried by end
	}
	// A session that had ended before does not know yet that it gave way to a login.
	replaced := l.had && (l.prior.User != l.user || slices.ContainsFunc(settled.Ended, func(rec Record) bool { return rec.Session == l.prior.Session }))
	for _, key := range []Key{came, old} {
		if key != "" && key != rec.Key && (!replaced || key != l.prior.Key) {
			g.retire(ctx, r, key)
		}
		if came == old {
			break
		}
	}
	if between := l.before.key; l.noticed && between != came && between != old && between != rec.Key {
		g.deleteData(ctx, between) // a commit of the application's own, under a token that nobody was told
	}
}
