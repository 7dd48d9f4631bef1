package scsguard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Record puts an event of the application into the trail, in the session of the
// request if there is one: a transfer, a change of address. It returns when the
// event is durable, so that what it tells of can be refused if it is not: after
// an error it must not take place, and a later event of the same kind with the
// outcome failure says that it did not.
//
// The application gives Kind, and what it wants of Outcome (default success),
// Reason, User, Transaction and Details; the guard fills in the rest. The kinds
// of [EventKinds] and those that begin with "audit." are the guard's.
func (g *Guard) Record(ctx context.Context, e Event) error {
	if e.Kind == "" || isOwnKind(e.Kind) {
		return fmt.Errorf("scsguard: %q cannot be the kind of an application's event; use a word of your own", e.Kind)
	}
	if err := g.open(); err != nil {
		return err
	}
	r, err := g.attach(ctx)
	if err != nil && !errors.Is(err, ErrNoSession) {
		return err
	}
	rec := Record{}
	if r != nil {
		if err := g.decide(ctx, r); err != nil {
			return err
		}
		if own, ok := r.session(); ok {
			own, touched, err := g.touchOwn(ctx, r, own, Activity{Event: true})
			if err != nil {
				return err
			}
			own.Seq = touched.Seq
			rec = own
		}
	}
	full := g.event(r, e.Kind, rec)
	full.Reason, full.Transaction, full.Details = e.Reason, e.Transaction, e.Details
	if e.Outcome != "" {
		full.Outcome = e.Outcome
	}
	if full.User == "" {
		full.User = e.User
	}
	if err := g.grant(full); err != nil {
		g.retract(ctx, r, []Event{full}) // it may be in the trail nevertheless
		return err
	}
	g.tell(ctx, full)
	return nil
}

// LoginFailed records that somebody tried to log in as user and could not prove
// it, with a word for why ("password", "unknown_user"). It never waits and never
// fails. Failures of the same user from the same address within 10 s after the
// first are counted and told as one event. A refusal by the cap is no failure:
// do not count it against the user.
func (g *Guard) LoginFailed(ctx context.Context, user, reason string) {
	if g == nil {
		return
	}
	r := g.requestFrom(ctx)
	user = strings.Clone(bounded(user, maxUserLen)) // a visitor's word, perhaps a part of all that he sent
	e := g.event(r, EventLoginFailed, Record{User: user})
	if r != nil { // he may be logged in, and have failed to prove it again
		if own, ok := g.whose(ctx, r); ok && own.User == user {
			e.Session, e.TokenHash = own.Session, g.keyHash(own.Key)
		}
	}
	e.Outcome, e.Reason = OutcomeFailure, reason
	g.recordCoalesced(ctx, r, "failed", e.IP.String()+"\x00"+user, e)
	if r != nil {
		g.tellPostponed(ctx, r)
	}
}

// recordCoalesced records the first of many events of one kind and key at once,
// and the number of the others at the end of the window.
func (g *Guard) recordCoalesced(ctx context.Context, r *request, kind, key string, e Event) {
	if g.cfg.OnEvent == nil {
		ctx = context.Background() // the window is not to keep a request for nobody
	}
	again := func(n int, mixed bool) {
		more := e
		more.ID, more.Time, more.Details = newSessionID(), time.Now(), nil
		if mixed { // of several users, from several places
			more = Event{ID: more.ID, Time: more.Time, Kind: e.Kind, Outcome: e.Outcome}
		}
		more.count(n)
		g.trail.post(more)
		g.tell(ctx, more)
	}
	if g.repeated.first(kind, key, again) {
		g.trail.post(e)
		g.tellLater(ctx, r, e)
	}
}

// isOwnKind reports whether an application may not use an event kind.
func isOwnKind(kind EventKind) bool {
	return strings.HasPrefix(string(kind), "audit.") || slices.Contains(EventKinds(), kind)
}
