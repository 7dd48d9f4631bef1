package scsguard

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/alexedwards/scs/v2"
)

// save commits the session and writes the cookie into the header of w. It runs
// once per request, before the first byte of the response. It returns the status
// that the session data had.
func (g *Guard) save(ctx context.Context, r *request, w http.ResponseWriter) (status scs.Status, err error) {
	r.await()
	r.turn.Lock()
	defer r.turn.Unlock()
	if r.isBlank() && g.sm.Status(ctx) == scs.Unmodified {
		r.begin()
		return scs.Unmodified, nil
	}
	g.touchActivity(ctx, r)
	destroyed := g.cfg.Remember.Store != nil && g.sm.Status(ctx) == scs.Destroyed // only its cookie depends on it
	err = g.notice(ctx, r, w)
	if err == nil {
		g.renewIfDue(ctx, r)
		status = g.slideAnonymous(ctx, r, g.sm.Status(ctx))
		err = g.saveStatus(ctx, r, w, status)
	} else if rec, rotated := r.rotatedTo(); rotated {
		// As in saveStatus: the session that a login was to replace goes on.
		token := g.sm.Token(ctx)
		if token = r.tokenOf(g.storeKey(token), token); token != "" {
			g.deliver(ctx, r, w, token, rec.Absolute)
		}
	}
	g.deleteRenounced(ctx, r)
	g.writeFamily(ctx, r, w, err == nil, destroyed)
	r.begin()
	return status, err
}

// isBlank reports whether a request came without a session and nothing has happened
// to it since, but perhaps to its data.
func (r *request) isBlank() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase == anonymous && r.key == "" && r.family == nil && r.isClosed()
}

func (g *Guard) saveStatus(ctx context.Context, r *request, w http.ResponseWriter, status scs.Status) error {
	switch status {
	case scs.Unmodified:
		return g.settleFate(ctx, r)
	case scs.Destroyed:
		err := g.settleFate(ctx, r)
		if !g.isStale(ctx, r, false) {
			g.deliver(ctx, r, w, "", time.Time{})
		}
		return err
	}
	if !r.hasSession() && r.openFate() == nil && g.nothingToSave(ctx, r) {
		return nil
	}
	token, expiry, err := g.commit(ctx, r)
	rec, rotated := r.rotatedTo()
	switch {
	case err != nil && rotated:
		// The session has its new token already, and its data as it was then. The
		// error page must carry it, or the browser would be left with a dead one.
		token, expiry = g.sm.Token(ctx), rec.Absolute
	case err != nil:
		return errors.Join(err, g.abort(ctx, r))
	}
	if token = r.tokenOf(g.storeKey(token), token); token != "" && !g.isStale(ctx, r, true) {
		g.deliver(ctx, r, w, token, expiry)
	}
	return err
}

// nothingToSave reports whether the data of an anonymous request is not worth a
// session: nothing was put into it, or no cookie could lead to it.
func (g *Guard) nothingToSave(ctx context.Context, r *request) bool {
	r.mu.Lock()
	untouched := r.untouched
	r.mu.Unlock()
	return untouched && len(g.sm.Keys(ctx)) == 0 || r.dataKey() == "" && g.isStale(ctx, r, true)
}

// isStale reports whether the browser may have a newer cookie than the one this
// request would set or clear: because its session ended or moved meanwhile, or
// because somebody has logged in since with the token that the request came
// with, in another tab. unknown is the answer if that cannot be found out: a new
// cookie can wait, a logout must clear the old one.
func (g *Guard) isStale(ctx context.Context, r *request, unknown bool) bool {
	r.mu.Lock()
	stale, loggedIn, came := r.stale, r.phase == live, r.came
	r.mu.Unlock()
	if stale || loggedIn || came == "" || came == g.storeKey(g.sm.Token(ctx)) {
		return stale
	}
	rec, err := g.get(context.WithoutCancel(ctx), came)
	if err != nil {
		return unknown
	}
	if rec.replacedSince(r.arrived.Add(-cookieTravel)) {
		r.hush()
		return true
	}
	return false
}

// saveWithoutCookie is save for a connection that the handler takes over.
func (g *Guard) saveWithoutCookie(ctx context.Context, r *request) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	g.touchActivity(ctx, r)
	g.deleteRenounced(ctx, r)
	err := g.settleFate(ctx, r) // a renewal cannot be told to the browser, so it is a destruction
	if what, _, rec, wrong := g.noticed(ctx, r); wrong != nil || what == loggedIn {
		return errors.Join(err, wrong, ErrResponseStarted)
	} else if what == loggedOut {
		err = errors.Join(err, g.noticeLogout(ctx, r, rec))
	}
	if err == nil && g.sm.Status(ctx) == scs.Modified && r.dataKey() != "" {
		_, _, err = g.commit(ctx, r)
	}
	r.begin()
	return err
}

// begin says that no cookie can be sent from now on, and that what had to be
// sent was.
func (r *request) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	r.answer.told = r.undelivered || r.rotated
	r.undelivered, r.rotated = false, false
}

// rotatedTo returns the session and whether it got a token that the browser has
// not been told.
func (r *request) rotatedTo() (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rec, r.rotated && r.phase == live
}

// waiting returns the session whose login the browser has not been told.
func (r *request) waiting() (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rec, r.undelivered && r.phase == live
}

// abort ends a login that could not be delivered.
func (g *Guard) abort(ctx context.Context, r *request) error {
	rec, undelivered := r.waiting()
	if !undelivered {
		return nil
	}
	dead, _, err := g.end(ctx, r, Target{Key: rec.Key}, Ending{Reason: EndAborted})
	r.close(dead, true)
	return err
}

// commit stores the session's data, with the mark that Clear of the session
// manager may have removed, and returns what the cookie needs.
func (g *Guard) commit(ctx context.Context, r *request) (token string, expiry time.Time, err error) {
	if rec, ok := r.session(); ok && g.sm.GetString(ctx, markKey) != g.mark(rec.Session) {
		g.sm.Put(ctx, markKey, g.mark(rec.Session))
	}
	retired, err := g.freshToken(ctx, r)
	if err != nil {
		return "", time.Time{}, err
	}
	r.setMarked(true)
	token, expiry, err = g.sm.Commit(ctx)
	r.setMarked(false)
	if err != nil {
		return "", time.Time{}, err
	}
	if retired != "" {
		g.retire(ctx, r, retired)
	}
	rec, loggedIn := r.session()
	switch {
	case loggedIn && rec.Absolute.Before(expiry):
		expiry = rec.Absolute
	case !loggedIn && g.anonymousIdle > 0:
		if idle := time.Now().Add(g.anonymousIdle); idle.Before(expiry) {
			expiry = idle
		}
	}
	return token, expiry, nil
}

func (r *request) setMarked(marked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marked = marked
}

// isMarked reports whether the data that is being committed carries the mark: not
// if the application calls Commit of the session manager after a Clear.
func (r *request) isMarked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.marked
}

// freshToken gives the session a new token if a logged-in session was merged
// into an anonymous one: its old token may have been planted (session fixation).
// It returns the key that is no longer to be used.
func (g *Guard) freshToken(ctx context.Context, r *request) (retired Key, err error) {
	d, old := r.openFate(), r.resolve(g.storeKey(g.sm.Token(ctx)))
	if d == nil || old == "" || old != r.dataKey() || old == d.rec.Key {
		return "", nil
	}
	if !g.goesOn(r, d, g.sm.GetString(ctx, markKey)) {
		return "", nil
	}
	return old, g.sm.RenewToken(g.withVerb(ctx))
}

// retire makes a token worthless after its browser has got another one by a
// login: whoever planted it must not share what comes now, and a slow answer to
// a request that came with it must not touch the cookie.
func (g *Guard) retire(ctx context.Context, r *request, key Key) {
	_, _, _ = g.end(ctx, r, Target{Key: key}, Ending{Reason: EndReplaced}) // retried by end
	g.deleteData(ctx, key)
}

// slideAnonymous prolongs an anonymous session that has an idle timeout, with a
// write at most once per Touch interval. It returns the status of the data after that.
func (g *Guard) slideAnonymous(ctx context.Context, r *request, status scs.Status) scs.Status {
	if g.anonymousIdle == 0 {
		return status
	}
	r.mu.Lock()
	slides, stored := r.phase != live && r.phase != graced && !r.passive, r.key != ""
	r.mu.Unlock()
	if !slides {
		return status
	}
	var due bool
	switch status {
	case scs.Unmodified:
		due = stored && g.sm.Token(ctx) != "" && r.arrived.Sub(g.seen(ctx)) >= g.cfg.Timeouts.Touch
	case scs.Modified:
		due = !g.nothingToSave(ctx, r)
	}
	if due {
		g.sm.Put(ctx, seenKey, strconv.FormatInt(r.arrived.UnixNano(), 10))
		return scs.Modified
	}
	return status
}

func (r *request) isPassive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passive
}

// touchActivity records that the request was activity, if nothing else was
// recorded within the last Touch interval. It never fails a request: what is
// not recorded ends the session early.
func (g *Guard) touchActivity(ctx context.Context, r *request) {
	r.mu.Lock()
	if r.passive || r.touched || (r.phase != live && r.phase != graced) {
		r.mu.Unlock()
		return
	}
	r.touched = true
	if r.arrived.Sub(r.rec.LastActivity) < g.touchEvery(r.limits.Touch) {
		r.mu.Unlock()
		return
	}
	rec := r.rec
	r.mu.Unlock()
	old, touched, err := g.touchOwn(ctx, r, rec, Activity{At: r.arrived, Event: true})
	if err != nil {
		return
	}
	rec = old
	rec.Active(r.arrived)
	rec.Seq = touched.Seq
	r.mu.Lock()
	if r.rec.Key == rec.Key && r.rec.State == StateLive {
		r.rec.LastActivity, r.rec.Seq = rec.LastActivity, rec.Seq
	}
	r.mu.Unlock()
	e := g.extended(nil, rec, old, extendActivity)
	e.IP, e.IPSource, e.UserAgent, e.RequestID = r.ip, r.ipSource, r.userAgent, r.requestID
	g.trail.post(e)
	r.postpone(e)
}

// touchBare is touchActivity for a Load without a request.
func (g *Guard) touchBare(ctx context.Context, rec Record) {
	now := time.Now()
	if now.Sub(rec.LastActivity) < g.touchEvery(g.cfg.Timeouts.Touch) {
		return
	}
	touched, err := g.touch(ctx, rec.Key, Activity{At: now, Event: true})
	if err != nil || !touched.Live {
		return // what is not recorded ends the session early
	}
	old := rec
	rec.Active(now)
	rec.Seq = touched.Seq
	e := g.extended(nil, rec, old, extendActivity)
	g.trail.post(e)
	g.tellLater(ctx, nil, e)
}

// touchOwn touches the session of the request, also if it got another token while
// the request was under way. It returns the record that was touched, as it was.
// An [*EndedError] says that the session is over, and the request has none.
func (g *Guard) touchOwn(ctx context.Context, r *request, rec Record, act Activity) (Record, Touched, error) {
	for hop := 0; ; hop++ {
		touched, err := g.touch(ctx, rec.Key, act)
		if err != nil || touched.Live {
			return rec, touched, err
		}
		now, err := g.judged(ctx, r, rec.Key)
		if err != nil {
			return rec, touched, err
		}
		next, ok := g.graceSuccessor(ctx, r, now)
		if now.State != StateMoved || !ok || hop >= maxHops {
			r.close(now, true)
			return rec, touched, endedError(now)
		}
		r.grace(rec.Key, now, next)
		rec = next
	}
}

// snapshot is what the session held when it was saved.
type snapshot struct {
	status scs.Status
	cookie bool           // its browser has, or was sent, a cookie for it
	values map[string]any // if it was modified
}

func (g *Guard) snapshot(ctx context.Context, r *request, status scs.Status) snapshot {
	s := snapshot{status: status, cookie: r.dataKey() != ""}
	if s.status == scs.Modified {
		s.cookie = g.sm.Token(ctx) != ""
		s.values = make(map[string]any)
		for _, key := range g.sm.Keys(ctx) {
			s.values[key] = g.sm.Get(ctx, key)
		}
	}
	return s
}

// saveLate stores what the handler changed after the first byte, if the session
// has a cookie: it cannot get one any more.
func (g *Guard) saveLate(ctx context.Context, r *request, saved snapshot) {
	if !saved.cookie || g.sm.Status(ctx) != scs.Modified || !g.changed(ctx, saved) || !g.noticeLate(ctx, r) {
		return
	}
	if rec, ok := r.session(); ok {
		g.sm.Put(ctx, markKey, g.mark(rec.Session))
	}
	_, _, _ = g.sm.Commit(ctx) // health knows; the response is out
}

// changed reports whether the session holds something else than it did. What was
// changed in place, without Put, after the first byte cannot be seen, and is lost
// as in scs.
func (g *Guard) changed(ctx context.Context, saved snapshot) bool {
	if saved.status != scs.Modified {
		return true
	}
	keys := g.sm.Keys(ctx)
	if len(keys) != len(saved.values) {
		return true
	}
	for _, key := range keys {
		old, ok := saved.values[key]
		if !ok || !reflect.DeepEqual(old, g.sm.Get(ctx, key)) {
			return true
		}
	}
	return false
}
