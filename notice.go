package scsguard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
)

// With Config.UserID, the application's own user key says who is logged in,
// whoever has written it. Where it differs from what the guard knows, somebody was
// logged in or out without the guard's verbs: by a handler that was never changed,
// or by an instance without the guard. What the verb would have done is done then,
// before anything is committed.

// claimed returns who is logged in, as the application says.
func (g *Guard) claimed(ctx context.Context) (string, error) {
	if g.cfg.UserID == nil {
		return "", nil
	}
	user := g.cfg.UserID(ctx)
	if len(user) > maxUserLen {
		return "", fmt.Errorf("scsguard: Config.UserID returned %d bytes; a user ID has at most %d, so return a shorter one", len(user), maxUserLen)
	}
	return user, nil
}

// scratchKey finds encoded session data in a context: what a Load with it yields.
type scratchKey struct{ g *Guard }

// scratchToken stands for the data in the context. It reaches no store.
const scratchToken = "scratch"

// scratch loads encoded session data into a context of its own, within a store
// method: that of the caller may hold the session whose lock scs has.
func (g *Guard) scratch(b []byte) (context.Context, error) {
	return g.sm.Load(context.WithValue(context.Background(), scratchKey{g}, b), scratchToken)
}

// claimedIn is claimed for encoded data.
func (g *Guard) claimedIn(b []byte) (string, error) {
	if g.cfg.UserID == nil {
		return "", nil
	}
	ctx, err := g.scratch(b)
	if err != nil {
		return "", err
	}
	return g.claimed(ctx)
}

// change is what has become of the user key in a request.
type change uint8

const (
	unchanged change = iota
	loggedIn         // somebody was logged in, in place of anybody who was before
	loggedOut
)

// noticed compares whom the application has put into the session with whom the
// guard knows, and returns both.
func (g *Guard) noticed(ctx context.Context, r *request) (what change, user string, rec Record, err error) {
	if g.cfg.UserID == nil || g.sm.Status(ctx) != scs.Modified {
		return unchanged, "", Record{}, nil
	}
	if user, err = g.claimed(ctx); err != nil {
		return unchanged, "", Record{}, err
	}
	rec, known := g.whose(ctx, r)
	if _, fresh := r.waiting(); fresh && user != rec.User {
		return unchanged, user, rec, fmt.Errorf("scsguard: Login was called for user %q, but Config.UserID says %q; "+
			"put the same ID into the session, where UserID finds it, or leave UserID nil", rec.User, user)
	}
	switch {
	case known && user == rec.User, !known && user == "":
		return unchanged, user, rec, nil
	case user == "":
		return loggedOut, user, rec, nil
	case !known && r.holdsDataOf(user, g.sm.GetString(ctx, markKey)):
		return unchanged, user, rec, nil // what is left of a session that has ended: it is not stored
	case !g.sm.Deadline(ctx).After(time.Now()):
		return unchanged, user, rec, nil // nor is what the application has given no time to live
	}
	return loggedIn, user, rec, nil
}

// holdsDataOf reports whether session data with that mark is what the request
// still has of a session of the user that ended while the request was under way.
func (r *request) holdsDataOf(user, mark string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return mark != "" && r.rec.User == user
}

// notice does what is missing before the session is saved.
func (g *Guard) notice(ctx context.Context, r *request, w http.ResponseWriter) error {
	if g.cfg.UserID == nil {
		return nil
	}
	what, user, rec, err := g.noticed(ctx, r)
	switch {
	case err != nil:
		return errors.Join(err, g.abort(ctx, r))
	case what == loggedIn:
		if err := g.open(); err != nil {
			return err
		}
		l := &login{g: g, r: r, user: user, noticed: true}
		_, err := l.run(ctx)
		if l.settleFamilies(ctx, err != nil); err != nil {
			r.keepRenounced()
			return &refusedLogin{err}
		}
	case what == loggedOut:
		err := g.noticeLogout(ctx, r, rec)
		if err != nil && !g.isStale(ctx, r, false) {
			g.deliver(ctx, r, w, "", time.Time{})
		}
		return err
	}
	return nil
}

// noticeLogout ends a session whose user the application has removed. The rest of
// its data goes on with nobody logged in, under a token that the session never had.
func (g *Guard) noticeLogout(ctx context.Context, r *request, rec Record) error {
	renewed := r.takeDetached() != nil
	dead, won, err := g.end(ctx, r, Target{Key: rec.Key}, Ending{Reason: EndDestroyed, Detail: "user key"})
	g.sm.Remove(ctx, markKey)
	if !renewed {
		deadline := g.sm.Deadline(ctx)
		if err := g.sm.RenewToken(g.withVerb(ctx)); err != nil {
			return err
		}
		g.sm.SetDeadline(ctx, deadline)
	}
	r.mu.Lock()
	r.phase, r.key, r.rec = anonymous, "", Record{}
	r.undelivered, r.rotated, r.left = false, false, true
	r.stale = r.stale || err == nil && !won // its browser may have logged in again since
	r.mu.Unlock()
	if err != nil || !won && dead.State != StateEnded {
		g.deleteData(ctx, rec.Key)
	}
	return errors.Join(err, g.forget(ctx, r))
}

// noticeLate deals with a user key that was changed after the first byte of the
// response, when no cookie can be sent: a login is dropped, a logout counts. It
// reports whether the data may be stored.
func (g *Guard) noticeLate(ctx context.Context, r *request) (store bool) {
	what, user, rec, err := g.noticed(ctx, r)
	switch {
	case err != nil:
		return false
	case what == loggedOut:
		_ = g.noticeLogout(ctx, r, rec) // retried by end
	case what == loggedIn:
		e := g.event(r, EventLogin, Record{User: user, IP: r.ip, UserAgent: r.userAgent})
		e.Outcome, e.Reason = OutcomeFailure, "response_started"
		g.trail.post(e)
		r.postpone(e)
	}
	return what == unchanged
}

// errElsewhere reports another user's login where the guard cannot give the
// session a new token.
var errElsewhere = errors.New("scsguard: another user was put into a logged-in session outside of Protect, where it cannot get a new token; call Guard.Login, or mount Protect")

// errPlanted reports a login under a token that an anonymous session had.
var errPlanted = errors.New("scsguard: a user was put into an anonymous session outside of Protect without a new token, which another may know (session fixation); " +
	"call Guard.Login, or RenewToken of the session manager first, or mount Protect")

// noticeBare is noticing in a commit without a request. over means that the
// session ended, and nothing is to be stored.
func (g *Guard) noticeBare(ctx context.Context, rec Record, b []byte) (over bool, err error) {
	if g.cfg.UserID == nil {
		return false, nil
	}
	user, err := g.claimedIn(b)
	if err != nil || user == rec.User {
		return false, err
	}
	if _, _, err := g.end(ctx, nil, Target{Key: rec.Key}, Ending{Reason: EndDestroyed, Detail: "user key"}); err != nil {
		return true, err
	}
	if user != "" {
		return true, errElsewhere
	}
	return true, nil
}

// holdBack reports whether data that the application commits itself, within a
// request, says that somebody else has logged in than the guard knows. Nothing is
// stored then: save is still to do the login, under a new token, and may have to
// refuse it. Until then another request with the old token, or after a panic the
// next one, would be enrolled. A logout is stored at once.
func (g *Guard) holdBack(r *request, known string, b []byte) (bool, error) {
	if r.isMarked() {
		return false, nil
	}
	user, err := g.claimedIn(b)
	return user != "" && user != known, err
}

// refusePlanted refuses a login in a commit without a request under a token that an
// anonymous session had before: whoever planted it would be logged in, too. Under a
// new token the login is noticed when the session is next seen.
func (g *Guard) refusePlanted(ctx context.Context, key Key, b []byte) error {
	user, err := g.claimedIn(b)
	if err != nil || user == "" {
		return err
	}
	old, found, err := g.find(ctx, key)
	if err != nil || !found {
		return err
	}
	if before, err := g.claimedIn(old); err != nil || before != user {
		return errors.Join(err, errPlanted)
	}
	return nil
}

// reconcile compares a session that was loaded with its record: an instance
// without the guard may have logged its user out, or another one in.
func (g *Guard) reconcile(base, ctx context.Context, r *request, rec Record) (context.Context, error) {
	user, err := g.claimed(ctx)
	switch {
	case err != nil:
		return base, err
	case user == rec.User:
		return ctx, g.keepMark(ctx, r, rec)
	}
	dead, _, err := g.end(ctx, r, Target{Key: rec.Key}, Ending{Reason: EndDestroyed, Detail: "user key"})
	if err != nil {
		return base, err
	}
	r.set(&Record{}, "")
	r.close(dead, false)
	fresh, err := g.sm.Load(base, "")
	if err != nil || user != "" {
		return fresh, err // another user's login without a new token: he has to log in again
	}
	for _, key := range g.sm.Keys(ctx) { // what the application has left after the logout
		if key != markKey {
			g.sm.Put(fresh, key, g.sm.Get(ctx, key))
		}
	}
	return fresh, nil
}

// followRenewal finds the session of data whose mark has no record under its key:
// an instance without the guard has given it a new token, which took its data
// along. If its data is still where the record says, this is a copy.
func (g *Guard) followRenewal(ctx context.Context, r *request, key Key, mark string) (followed bool, err error) {
	session, ours := g.unmark(mark)
	if g.cfg.UserID == nil || !ours {
		return false, nil
	}
	user, err := g.claimed(ctx)
	if err != nil || user == "" {
		return false, err
	}
	recs, err := g.list(ctx, user)
	if err != nil {
		return false, err
	}
	for _, rec := range recs {
		if rec.Session != session {
			continue
		}
		if _, found, err := g.find(ctx, rec.Key); err != nil || found {
			return false, err
		}
		// What was done on the other instance is not known to have been activity, so the
		// deadlines stay. The request that has come here moves them by itself.
		rot := Rotation{To: key, At: time.Now(), Fingerprint: g.fingerprintAfter(r, rec, false), Events: 1}
		next := rec
		next.Rotate(rot)
		e := g.extended(r, next, rec, "application")
		e.Kind = EventRenew
		if err := g.grant(e); err != nil {
			return false, err
		}
		won, _, err := g.move(ctx, rec, rot)
		if err != nil || !won {
			g.retract(ctx, r, []Event{e})
		} else {
			r.postpone(e)
		}
		return true, err // whoever has won, it has a record now, or has ended
	}
	return false, nil
}

// renounce keeps the data of an anonymous session, whose token the application has
// given up, until the session is saved: a login that is refused then must not have
// cost the visitor what he had. It reports whether the key is the request's own.
func (r *request) renounce(key Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started || key != r.key {
		return false
	}
	r.renounced = key
	return true
}

// deleteRenounced deletes what was kept by renounce.
func (g *Guard) deleteRenounced(ctx context.Context, r *request) {
	r.mu.Lock()
	key := r.renounced
	r.renounced = ""
	r.mu.Unlock()
	g.deleteData(ctx, key)
}

// keepRenounced lets it live on.
func (r *request) keepRenounced() {
	r.mu.Lock()
	r.renounced = ""
	r.mu.Unlock()
}

// refusedLogin is a login that was noticed and cannot be: at the cap, or because
// it could not be recorded. The handler's answer says that it succeeded, so it is
// replaced.
type refusedLogin struct{ err error }

func (e *refusedLogin) Error() string { return e.err.Error() }
func (e *refusedLogin) Unwrap() error { return e.err }

// reason is what the visitor is told, "" if it is an internal error.
func (e *refusedLogin) reason() Reason {
	var limit *LimitError
	var ended *EndedError
	switch {
	case errors.As(e.err, &limit):
		return ReasonLimit
	case errors.Is(e.err, ErrRevoked):
		return ReasonLoginRequired
	case errors.As(e.err, &ended):
		return ended.Visitor
	}
	return ""
}
