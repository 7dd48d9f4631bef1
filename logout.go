package scsguard

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// Logout ends the session of the request, and with it everything in the session
// data. Put may be called afterwards; it begins an anonymous session. Logout
// stands in the place of Destroy of the session manager. If nobody is logged in
// it does nothing.
//
// It never waits for the trail. If the registry cannot be reached it returns
// [ErrUnavailable]: the cookie is cleared nevertheless and the ending is
// repeated until it succeeds, but somebody who has a copy of the token could go
// on using it until then, so answer 503 and not "you are logged out".
func (g *Guard) Logout(ctx context.Context) error {
	r, err := g.attach(ctx)
	if err != nil {
		return err
	}
	defer g.tellPostponed(ctx, r)
	r.turn.Lock()
	defer r.turn.Unlock()
	rec, ok := r.session()
	if d := r.takeDetached(); d != nil {
		rec, ok = d.rec, true
	}
	if !ok {
		return g.forget(ctx, r)
	}
	vctx := g.withVerb(g.withRequest(ctx, r))
	if err := g.sm.Destroy(vctx); err != nil {
		return err
	}
	dead, won, err := g.end(ctx, r, Target{Key: rec.Key}, Ending{Reason: EndUser})
	r.mu.Lock()
	r.phase, r.key, r.rec = anonymous, "", Record{}
	r.undelivered, r.rotated = false, false
	if err == nil && !won {
		// It had ended already, and its browser may have logged in again since.
		r.stale = true
	}
	r.mu.Unlock()
	if err != nil {
		g.deleteData(ctx, rec.Key)
		return errors.Join(err, g.forget(ctx, r))
	}
	if !won && dead.State != StateEnded {
		g.deleteData(ctx, rec.Key)
	}
	return g.forget(ctx, r)
}

// End ends one session by its public ID: another one of the user who is logged
// in, or, with [Of], one of any user (and then say [By] whom). A session that
// does not exist, has ended or belongs to somebody else is [ErrNotFound]. Other
// errors: [ErrNotLoggedIn] or [ErrNoSession] without Of, [ErrUnavailable].
func (g *Guard) End(ctx context.Context, session string, opts ...EndOption) error {
	if g == nil {
		return ErrNoGuard
	}
	var o endOptions
	for _, opt := range opts {
		opt.end(&o)
	}
	r, own, err := g.ender(ctx, o.user == "")
	if err != nil {
		return err
	}
	if o.user == "" {
		o.user = own.User
	}
	if r == nil {
		_, won, err := g.end(ctx, nil, Target{User: o.user, Session: session}, o.ending(EndUser))
		return found(won, err)
	}
	defer g.tellPostponed(ctx, r)
	r.turn.Lock()
	defer r.turn.Unlock()
	rec, won, err := g.end(ctx, r, Target{User: o.user, Session: session}, o.ending(EndUser))
	if won && rec.Session == own.Session {
		r.takeDetached()
		r.leave(rec)
	}
	return found(won, err)
}

func found(won bool, err error) error {
	if err == nil && !won {
		return ErrNotFound
	}
	return err
}

// ender returns the request and its live session, the zero Record if it has
// none. A job of an administrator has neither.
func (g *Guard) ender(ctx context.Context, needed bool) (*request, Record, error) {
	r, err := g.attach(ctx)
	if err != nil {
		if needed {
			return nil, Record{}, err
		}
		return nil, Record{}, nil
	}
	rec, ok := g.whose(ctx, r)
	switch {
	case ok:
		return r, rec, nil
	case needed:
		return r, Record{}, ErrNotLoggedIn
	}
	return r, Record{}, nil
}

// ending says why, in the trail's words. Who acts for himself is no actor.
func (o endOptions) ending(reason EndReason) Ending {
	if o.actor != "" && o.actor != o.user {
		reason = EndAdmin
	}
	return Ending{Reason: reason, Actor: o.actor, Detail: o.detail}
}

// EndOthers ends all sessions of the user who is logged in except his own
// (ASVS 5.0 7.4.3), logins in progress included, and returns how many. Errors:
// [ErrNotLoggedIn], [ErrNoSession], [ErrUnavailable].
func (g *Guard) EndOthers(ctx context.Context) (int, error) {
	r, own, err := g.ender(ctx, true)
	if err != nil {
		return 0, err
	}
	return g.revoke(ctx, r, Revocation{User: own.User, Except: own.Session, Ending: Ending{Reason: EndUser}})
}

// EndAll ends all sessions of a user: his account was disabled, or, with
// [PasswordChanged], his password was changed (ASVS 5.0 7.4.2, 7.4.3). Logins in
// progress are ended as well, and one that was authenticated before is refused
// later, except with [Guard.Login] in the same request, unless somebody else has
// ended the user's sessions since this request came. It returns how many
// sessions were ended. After [ErrUnavailable] some may have been; call it again.
func (g *Guard) EndAll(ctx context.Context, user string, opts ...RevokeOption) (int, error) {
	if user == "" {
		return 0, ErrNotFound
	}
	return g.revokeWith(ctx, Revocation{User: user}, opts)
}

// EndEveryone ends all sessions of all users in the guard's namespace, logins
// in progress included (ASVS 5.0 7.4.5): after a breach. Say [By] whom. It
// returns how many sessions were ended, with that of the request unless
// [ExceptCurrent] is given. After [ErrUnavailable] some may have been; call it
// again.
func (g *Guard) EndEveryone(ctx context.Context, opts ...RevokeOption) (int, error) {
	return g.revokeWith(ctx, Revocation{Everyone: true}, opts)
}

// EndExternal ends the sessions that the identity provider knows by that ID
// (OpenID Connect Back-Channel Logout 1.0), logins in progress included, and
// returns how many. After [ErrUnavailable] some may have been; call it again.
func (g *Guard) EndExternal(ctx context.Context, id string, opts ...RevokeOption) (int, error) {
	if id == "" {
		return 0, ErrNotFound
	}
	return g.revokeWith(ctx, Revocation{External: id}, opts)
}

func (g *Guard) revokeWith(ctx context.Context, rev Revocation, opts []RevokeOption) (int, error) {
	if g == nil {
		return 0, ErrNoGuard
	}
	o := endOptions{user: rev.User}
	for _, opt := range opts {
		opt.revoke(&o)
	}
	if o.detail == "" && rev.External != "" {
		o.detail = "external " + rev.External
	}
	r, own, err := g.ender(ctx, false)
	if err != nil {
		return 0, err
	}
	if o.exceptCurrent {
		rev.Except = own.Session
	}
	rev.Ending = o.ending(EndRevoked)
	return g.revoke(ctx, r, rev)
}

// revoke ends many sessions and records the act itself, by whom and how many,
// also if there were none: an account that is disabled may have no session.
func (g *Guard) revoke(ctx context.Context, r *request, rev Revocation) (int, error) {
	if r == nil {
		revoked, err := g.endMany(ctx, nil, rev)
		e := g.revocation(nil, rev, revoked, err)
		g.trail.post(e)
		g.tell(ctx, e)
		return revoked.Total, err
	}
	defer g.tellPostponed(ctx, r)
	r.turn.Lock()
	defer r.turn.Unlock()
	revoked, err := g.endMany(ctx, r, rev)
	e := g.revocation(r, rev, revoked, err)
	if own, ok := g.whose(ctx, r); ok {
		e.detail("by_session", own.Session)
		g.closeIfEnded(ctx, r, own, revoked.Ended)
		if rev.Except == own.Session && err == nil {
			g.spareFamily(ctx, own, rev, revoked)
		}
	}
	r.proved(rev.User, revoked.Before)
	g.trail.post(e)
	r.postpone(e)
	return revoked.Total, err
}

// revocation is the event of a call that ended many sessions.
func (g *Guard) revocation(r *request, rev Revocation, revoked Revoked, err error) Event {
	e := g.event(r, EventRevoke, Record{User: rev.User})
	e.Actor, e.Reason = rev.Ending.Actor, rev.Ending.Detail
	e.detail("count", strconv.Itoa(revoked.Total))
	switch {
	case rev.Everyone:
		e.detail("whose", "everyone")
	case rev.External != "":
		e.detail("whose", "external")
	}
	if err != nil {
		e.Outcome = OutcomeFailure
	}
	return e
}

// closeIfEnded makes the request anonymous if its session is among those that
// were ended.
func (g *Guard) closeIfEnded(ctx context.Context, r *request, own Record, among []Record) {
	for _, rec := range among { // no need to ask, and the answer could fail to come
		if rec.Session == own.Session {
			r.takeDetached()
			r.leave(rec)
			return
		}
	}
	rec, err := g.judged(ctx, r, own.Key)
	if err == nil {
		rec, err = g.present(ctx, r, rec)
	}
	if err == nil && rec.State == StateEnded {
		r.takeDetached()
		r.leave(rec)
	}
}

// proved lets a Login of that user later in the request count as after the
// EndAll it has just made. It does not if somebody else had ended the user's
// sessions since the request came: what this request proved may be the password
// that was changed.
func (r *request) proved(user string, before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if user == "" || before.After(r.authStart(user)) {
		return
	}
	r.authUser, r.authAt = user, time.Now()
}

// authStart is when the user proved who he is, as far as the request knows. r.mu
// is held.
func (r *request) authStart(user string) time.Time {
	if user != "" && user == r.authUser {
		return r.authAt
	}
	return r.arrived
}
