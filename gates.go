package scsguard

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// The middlewares here refuse requests. They belong inside [Guard.Protect], and
// without it refuse everything: a gate that cannot see the session is closed.

// errOutside reports a gate that is not inside Protect.
var errOutside = errors.New("scsguard: a middleware or handler of the guard is mounted outside of Protect, so it refuses everything; mount Protect around it")

// gate serves a request, or refuses it with the reason that check returns.
func (g *Guard) gate(next http.Handler, check func(*request, Record, bool) Reason) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r := g.requestFrom(req.Context())
		if r == nil {
			g.health.note(ComponentMount, errOutside)
			g.reject(w, req, ReasonMisconfigured)
			return
		}
		rec, ok := r.session()
		if d := r.openFate(); !ok && d != nil {
			_, ok = g.Current(req.Context())
			rec = d.rec
		}
		if reason := check(r, rec, ok); reason != "" {
			g.reject(w, req, reason)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// RequireLogin refuses requests without a live session: 401 with the reason why
// the session ended, if there was one. Browsers are sent to Config.LoginURL.
func (g *Guard) RequireLogin(next http.Handler) http.Handler {
	g.mustExist()
	return g.gate(next, func(r *request, _ Record, loggedIn bool) Reason {
		if loggedIn {
			return ""
		}
		return r.loginReason()
	})
}

// loginReason returns why a request without a session has none.
func (r *request) loginReason() Reason {
	if reason := r.endedReason(); reason != "" {
		return reason
	}
	return ReasonLoginRequired
}

func (r *request) endedReason() Reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.unrestored && r.phase != live && r.phase != graced:
		return ReasonUnavailable
	case r.phase != ended:
		return ""
	}
	return reasonOf(r.rec)
}

// EnforceTimeouts refuses requests whose session was ended by a time limit, and
// serves everybody else, also those who never logged in: for pages that are
// public but must not silently turn from "logged in" to "anonymous".
func (g *Guard) EnforceTimeouts(next http.Handler) http.Handler {
	g.mustExist()
	return g.gate(next, func(r *request, _ Record, _ bool) Reason {
		switch reason := r.endedReason(); reason {
		case ReasonIdle, ReasonAbsolute:
			return reason
		}
		return ""
	})
}

// LimitIdle returns a middleware with a stricter idle timeout for the handlers
// within, such as an administration. It refuses a session that has been inactive
// for d or longer at any time since the user last proved who he is, whatever he
// did in between: activity elsewhere does not open the door again, only a login,
// [Guard.Reauthenticated], or [Guard.Elevate] with a method does. The session
// lives on, and the refused request does not count as activity.
//
// It panics if d is not positive, at start-up, where the mistake is.
//
// Activity is recorded at least every d/15, or every d/2 if Config.Timeouts.Touch
// was set. Somebody may be refused that much early by it, never late.
func (g *Guard) LimitIdle(d time.Duration) func(http.Handler) http.Handler {
	g.mustExist()
	if d <= 0 {
		panic("scsguard: LimitIdle needs a positive duration")
	}
	g.recordActivityFor(d)
	return func(next http.Handler) http.Handler {
		return g.gate(next, func(r *request, rec Record, loggedIn bool) Reason {
			if !loggedIn {
				return "" // whether one has to log in is for RequireLogin to say
			}
			if before, graced := r.predecessor(); graced {
				rec = before // the old token is as it was: not recently authenticated
			}
			if r.arrived.Sub(rec.LastActivity) < d && rec.LongestGap < d {
				return ""
			}
			r.pass()
			return ReasonIdle
		})
	}
}

// recordActivityFor makes activity fine enough to be judged by d.
func (g *Guard) recordActivityFor(d time.Duration) {
	every := d / 15
	if g.touchGiven {
		every = d / 2
	}
	for {
		old := g.finestTouch.Load()
		if old != 0 && old <= int64(every) || g.finestTouch.CompareAndSwap(old, max(int64(every), 1)) {
			return
		}
	}
}

// touchEvery returns how often activity is recorded where a policy asks for d.
func (g *Guard) touchEvery(d time.Duration) time.Duration {
	if finest := time.Duration(g.finestTouch.Load()); finest != 0 && finest < d {
		return finest
	}
	return d
}

// predecessor returns the record of the token the request has, if that is the
// one before the last rotation.
func (r *request) predecessor() (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase != graced {
		return Record{}, false
	}
	return *r.before, true
}

// pass makes the request passive.
func (r *request) pass() {
	r.mu.Lock()
	r.passive = true
	r.mu.Unlock()
}

// Passive marks requests that are no activity of the user: polling, status,
// event streams. The limits are enforced on them, and they prolong nothing. It
// works inside of [Guard.Protect] and around it.
func (g *Guard) Passive(next http.Handler) http.Handler {
	g.mustExist()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r := g.requestFrom(req.Context()); r != nil {
			r.pass()
		} else {
			req = req.WithContext(context.WithValue(req.Context(), passiveKey{g}, passive{}))
		}
		next.ServeHTTP(w, req)
	})
}

// passive marks a request that has not come to Protect yet.
type (
	passive    struct{}
	passiveKey struct{ g *Guard }
)
