package scsguard

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Protect loads the session of each request, ends it if it is over, and saves
// it before the first byte of the response. It stands in the place of
// LoadAndSave of the session manager, and should be the outermost handler that
// deals with sessions. A Protect within another of the same guard does nothing.
//
// Protect never answers for the application as long as its parts work: a
// request whose session has ended is anonymous, and [Guard.Ended] tells why. If
// the store or the registry cannot be reached it answers 503, so that nobody
// who is logged in is taken for anonymous, and leaves the cookie alone.
func (g *Guard) Protect(next http.Handler) http.Handler {
	g.mustExist()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if g.requestFrom(req.Context()) != nil {
			next.ServeHTTP(w, req)
			return
		}
		g.serve(w, req, next)
	})
}

// LoadAndSave is Protect under the name that scs users know.
func (g *Guard) LoadAndSave(next http.Handler) http.Handler { return g.Protect(next) }

// errInside reports LoadAndSave of the session manager around Protect. It has
// loaded the session without the guard's view of the request, and would write
// its own cookie after the guard's.
var errInside = errors.New("scsguard: Protect is mounted inside LoadAndSave of the session manager; mount Protect in its place")

func (g *Guard) serve(w http.ResponseWriter, req *http.Request, next http.Handler) {
	r := g.newRequest(req)
	r.varies(w.Header())
	if err := g.checkManager(); err != nil {
		g.sm.ErrorFunc(w, req, err)
		return
	}
	_, r.passive = req.Context().Value(passiveKey{g}).(passive)
	var ctx context.Context = &r.carrier
	token, err := g.token(ctx, r, req)
	if err == nil {
		ctx, err = g.load(ctx, r, token)
	}
	g.tellPostponed(ctx, r)
	if err != nil {
		g.fail(w, req, err)
		return
	}
	original := req
	req = req.WithContext(ctx)
	r.mu.Lock()
	r.http, r.ctx, r.deadline = req, ctx, g.sm.Deadline(ctx)
	r.mu.Unlock()
	defer func() {
		g.cleanUp(ctx, r)
		g.tellPostponed(ctx, r)
	}()
	req, r = g.restore(original, req, r)
	ctx = req.Context()

	rw := &r.answer
	*rw = response{w: w, r: r, req: req}
	defer g.touchLater(ctx, r)()
	next.ServeHTTP(rw, req)
	rw.finish()
	if r.wasTold() && rw.discarded() {
		r.untell()
	}
}

// varies says that the response depends on the cookie, once.
func (r *request) varies(h http.Header) {
	values := h["Vary"]
	if slices.Contains(values, "Cookie") {
		return
	}
	if len(values) == 0 {
		values = r.vary[:0] // no other request may see what the application does to it
	}
	h["Vary"] = append(values, "Cookie")
}

// load loads the session with that token, or an empty one if it must not be
// used. A session that another request changes meanwhile is loaded again.
func (g *Guard) load(base context.Context, r *request, token string) (context.Context, error) {
	if token == "" {
		return g.loadEmpty(base)
	}
	ctx := base
	err := g.whileEnrolling(base, func() (err error) {
		ctx, err = g.loadOnce(base, r, token)
		return err
	})
	return ctx, err
}

// loadEmpty loads the data of a visitor who has no session.
func (g *Guard) loadEmpty(base context.Context) (context.Context, error) {
	ctx, err := g.sm.Load(base, "")
	if err != nil {
		return base, err
	}
	return ctx, g.checkMount(base, ctx)
}

// checkMount reports that Load returned its argument, as it does if there is session
// data in it.
func (g *Guard) checkMount(base, ctx context.Context) error {
	if ctx != base {
		return nil
	}
	g.health.note(ComponentMount, errInside)
	return errInside
}

func (g *Guard) loadOnce(base context.Context, r *request, token string) (context.Context, error) {
	r.mu.Lock()
	r.loading, r.came = true, g.storeKey(token)
	r.mu.Unlock()
	ctx, err := g.sm.Load(base, token)
	r.mu.Lock()
	r.loading = false
	r.mu.Unlock()
	switch {
	case errors.Is(err, ErrUnavailable):
		return base, err
	case err != nil:
		return g.discardUnreadable(base, r)
	}
	if err := g.checkMount(base, ctx); err != nil {
		return base, err
	}
	if r.hasSession() {
		rec := &r.rec // nobody else has the request yet
		in, err := g.judgePolicy(ctx, r, rec)
		if err == nil && rec.State == StateLive {
			err = g.bind(ctx, r, rec, in.binding)
		}
		if err != nil {
			return base, err
		}
		if rec.State == StateLive && g.isForeign(g.sm.GetString(ctx, markKey), *rec) {
			if *rec, err = g.loseForeign(ctx, r, *rec); err != nil {
				return base, err
			}
		}
		if rec.State == StateLive {
			r.mu.Lock()
			r.limits = in.Timeouts
			r.mu.Unlock()
			if g.cfg.UserID == nil {
				return ctx, nil
			}
			return g.reconcile(base, ctx, r, *rec)
		}
		r.close(*rec, false)
		return g.sm.Load(base, "")
	}
	return g.loadAnonymous(base, ctx, r)
}

// seen returns when an anonymous session was last used. What cannot be read is
// long ago.
func (g *Guard) seen(ctx context.Context) time.Time {
	return seenAt(g.sm.Get(ctx, seenKey))
}

func seenAt(v any) time.Time {
	s, _ := v.(string)
	ns, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// loadAnonymous looks at data that has no record.
func (g *Guard) loadAnonymous(base, ctx context.Context, r *request) (context.Context, error) {
	if g.sm.Token(ctx) == "" {
		return ctx, nil // there was none
	}
	key := r.dataKey()
	if mark := g.sm.GetString(ctx, markKey); mark != "" {
		if followed, err := g.followRenewal(ctx, r, key, mark); err != nil {
			return base, err
		} else if followed {
			return base, errEnrolling // look again
		}
		rec, err := g.lostRecord(ctx, r, key, mark)
		if err != nil {
			return base, err
		}
		if r.set(&Record{}, ""); rec.State == StateEnded {
			r.close(rec, false)
		}
		return g.sm.Load(base, "")
	}
	now := time.Now()
	over := !now.Before(g.sm.Deadline(ctx)) // scs trusts the store with this; not every store can be trusted
	user, err := g.claimed(ctx)
	if err != nil {
		return base, err
	}
	if user == "" && g.anonymousIdle > 0 && g.sm.Exists(ctx, seenKey) {
		seen := g.seen(ctx)
		over = over || !now.Before(seen.Add(g.anonymousIdle)) || seen.After(now.Add(ClockSkew))
	}
	switch {
	case !over && user == "":
		return ctx, nil
	case !over:
		return g.enrollLoaded(base, ctx, r, user)
	}
	r.set(&Record{}, "")
	if err := g.remove(ctx, key); err != nil {
		return base, err
	}
	return g.sm.Load(base, "")
}

func (r *request) dataKey() Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.key
}

// lostRecord deals with data that says somebody is logged in while the registry
// knows nothing of it: after a registry that forgot, or a forgery in the store.
// Nobody can say whether the session was ended, so it is. A session of another
// guard lives there; here it is nothing, and the zero Record is returned.
func (g *Guard) lostRecord(ctx context.Context, r *request, key Key, mark string) (Record, error) {
	session, ours := g.unmark(mark)
	if !ours {
		return Record{}, nil
	}
	// Record and data are two reads. A session that was enrolled between them has a
	// record by now.
	if rec, err := g.get(ctx, key); err != nil {
		return Record{}, err
	} else if rec.State != StateUnknown {
		return Record{}, errEnrolling
	}
	rec, _, err := g.end(ctx, r, Target{Key: key, Session: session}, Ending{Reason: EndLost, Detail: "record"})
	return rec, err
}

// isForeign reports whether data with that mark is another session's than that of the
// record under its key: a store, or a cache before it, that mixes them up, or whoever
// writes to it, would show one user what is another's.
func (g *Guard) isForeign(mark string, rec Record) bool {
	return mark != "" && mark != g.mark(rec.Session)
}

// loseForeign ends a session that has another one's data. Its own is gone.
func (g *Guard) loseForeign(ctx context.Context, r *request, rec Record) (Record, error) {
	dead, _, err := g.end(ctx, r, Target{Key: rec.Key}, Ending{Reason: EndLost, Detail: "another session's data"})
	return dead, err
}

// discardUnreadable ends a session whose data cannot be decoded: after a change
// of types, or damage. Its visitor is anonymous and can log in again; without
// this he would get an error page until the data expires.
func (g *Guard) discardUnreadable(base context.Context, r *request) (context.Context, error) {
	key := r.dataKey()
	if rec, ok := r.session(); ok {
		dead, _, err := g.end(base, r, Target{Key: rec.Key}, Ending{Reason: EndLost, Detail: "unreadable"})
		if err != nil {
			return base, err
		}
		r.close(dead, false)
	} else {
		r.set(&Record{}, "")
		if err := g.remove(base, key); err != nil {
			return base, err
		}
	}
	return g.sm.Load(base, "")
}

// fail answers a request that cannot be served: 503 if a part of the guard is
// unavailable, else the application's own ErrorFunc.
func (g *Guard) fail(w http.ResponseWriter, req *http.Request, err error) {
	var refused *refusedLogin
	reason := Reason("")
	switch {
	case errors.Is(err, ErrUnavailable):
		reason = ReasonUnavailable
	case errors.As(err, &refused):
		reason = refused.reason()
	}
	if reason != "" {
		g.reject(w, req, reason)
		return
	}
	g.sm.ErrorFunc(w, req, err)
}

// touchLater records activity of a request that answers nothing for one Touch
// interval, such as a long upload. The returned function stops that.
func (g *Guard) touchLater(ctx context.Context, r *request) (stop func()) {
	if !r.isTouchDue(g) {
		return func() {}
	}
	t := time.AfterFunc(r.limits.Touch, func() { g.touchActivity(ctx, r) })
	return func() { t.Stop() }
}

// isTouchDue reports whether the last recorded activity is one Touch interval old.
func (r *request) isTouchDue(g *Guard) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return (r.phase == live || r.phase == graced) && r.arrived.Sub(r.rec.LastActivity) >= g.touchEvery(r.limits.Touch)
}

// wasTold reports whether the response tells the browser of a token.
func (r *request) wasTold() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answer.told
}

// untell says that the browser will not see that response.
func (r *request) untell() {
	r.mu.Lock()
	r.rotated = true
	r.mu.Unlock()
}

// cleanUp decides what is still open when a request is over. Usually nothing is.
// After a panic, or a session that could not be encoded, the browser has not been
// told of a token it was to get, so the session is of no use to anybody. Nor can it
// be told by a goroutine that the handler has left behind.
func (g *Guard) cleanUp(ctx context.Context, r *request) {
	r.await()
	if !r.hasStarted() { // it was not saved, and such a goroutine may be logging somebody in
		r.turn.Lock()
		defer r.turn.Unlock()
	}
	if r.finish() {
		return
	}
	_ = g.settleFate(ctx, r) // retried by end
	g.deleteRenounced(ctx, r)
	r.mu.Lock()
	key, untold := r.rec.Key, r.isUntold()
	r.mu.Unlock()
	if untold {
		_, _, _ = g.end(ctx, r, Target{Key: key}, Ending{Reason: EndAborted}) // retried by end
	}
}

// finish makes the request one that is over, and reports whether cleanUp has nothing to
// do.
func (r *request) finish() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over, r.started = true, true
	return r.isClosed() && !r.isUntold()
}

// isClosed reports whether nothing is open about sessions that the request has left.
// r.mu is held.
func (r *request) isClosed() bool { return r.detached == nil && r.renounced == "" }

// isUntold reports whether the browser has not been told of the token that the
// session has now. r.mu is held.
func (r *request) isUntold() bool { return (r.undelivered || r.rotated) && r.phase == live }
