package scsguard

import (
	"context"
	"errors"
	"time"
)

// The application may call RenewToken or Destroy of the session manager itself.
// Both reach the store as a deletion of the request's own key, with the lock of
// the session data held, so what they are cannot be asked. The record is
// detached: dead to everybody at once, as scs promises of the old token. What
// follows decides. Data committed under a new key that still carries the mark is
// a renewal, and the record moves there. Anything else was a destruction.

// detachment is a session that is detached, and since when.
type detachment struct {
	rec    Record
	at     time.Time
	others []byte // what was stored last, if writes are merged
}

// deleteOwn handles a deletion of the request's own session.
func (g *Guard) deleteOwn(ctx context.Context, r *request, own Record) error {
	r.mu.Lock()
	started, late := r.started, r.started || r.phase == graced
	r.mu.Unlock()
	if !late {
		moved, err := g.detach(ctx, r, own)
		if err != nil || !moved {
			return err
		}
	}
	// No cookie can tell the browser of a new token, so a renewal has to keep the
	// token that the session has. Which of the two it is can be seen as soon as scs
	// lets go of its lock; until then, for as long as that takes, a destroyed
	// session is still alive.
	r.findOut(func() {
		if g.sm.GetString(ctx, markKey) == "" {
			_ = g.destroyed(ctx, r, own) // retried by end
			r.close(own, true)
			return
		}
		r.swap(g.storeKey(g.sm.Token(ctx)), own.Key)
		e := g.event(r, EventRenew, own)
		e.Outcome, e.Reason = OutcomeFailure, "token_moved"
		if started {
			e.Reason = "response_started"
		}
		g.trail.post(e)
		g.tellLater(ctx, r, e)
	})
	return nil
}

// detach makes the session of the request dead to everybody, as scs promises of
// the old token of RenewToken and Destroy, and leaves open which it was. It
// reports whether the session has got another token meanwhile: then nothing was
// done to it.
func (g *Guard) detach(ctx context.Context, r *request, rec Record) (moved bool, err error) {
	detached, ok, err := g.callDetach(ctx, rec.Key, r.id())
	switch {
	case err != nil:
		return false, err
	case !ok && detached.State == StateMoved:
		return true, nil
	case !ok:
		r.close(detached, true)
		return false, g.remove(ctx, rec.Key)
	}
	d := &detachment{rec: detached, at: time.Now()}
	if own := r.loadedData(); own.key == rec.Key {
		d.others, _ = g.othersData(ctx, rec.Key) // without it the last writer wins
	}
	r.mu.Lock()
	if r.over { // a goroutine that the handler left behind: no commit will decide
		r.mu.Unlock()
		return false, g.destroyed(ctx, r, detached)
	}
	r.detached = d
	r.phase = anonymous
	r.keepAway = time.AfterFunc(Lease/2, func() { g.extendLease(r, detached) })
	r.mu.Unlock()
	// Whatever becomes of the session, nobody is served by this data any more. That
	// it cannot be deleted now is no reason to fail, and to have ended the session.
	g.deleteData(ctx, rec.Key)
	return false, nil
}

// id names the request to the registry.
func (r *request) id() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner == "" {
		r.owner = newSessionID()
	}
	return r.owner
}

type detachAnswer struct {
	rec Record
	ok  bool
}

func (g *Guard) callDetach(ctx context.Context, key Key, owner string) (Record, bool, error) {
	a, err := call(g, context.WithoutCancel(ctx), ComponentRegistry, "detach", func(ctx context.Context) (detachAnswer, error) {
		rec, ok, err := g.registry.Detach(ctx, key, owner, Lease)
		return detachAnswer{rec, ok}, err
	})
	return a.rec, a.ok, err
}

// extendLease keeps a detached session from being given up while the handler
// that will decide about it still runs.
func (g *Guard) extendLease(r *request, rec Record) {
	_, ok, err := g.callDetach(context.Background(), rec.Key, rec.Owner)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.detached != nil && r.detached.rec.Key == rec.Key && (ok || err != nil) {
		r.keepAway.Reset(Lease / 2)
	}
}

// takeDetached returns the session whose fate is open, and leaves none.
func (r *request) takeDetached() *detachment {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.detached
	r.detached = nil
	if r.keepAway != nil {
		r.keepAway.Stop()
	}
	return d
}

func (r *request) openFate() *detachment {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.detached
}

// settleFate ends a session that the application deleted, if nothing was
// committed after it.
func (g *Guard) settleFate(ctx context.Context, r *request) error {
	if d := r.takeDetached(); d != nil {
		return g.destroyed(ctx, r, d.rec)
	}
	return nil
}

// goesOn reports whether a mark says that the session goes on: its own mark, or
// that of a session which was merged into it.
func (g *Guard) goesOn(r *request, d *detachment, mark string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return mark == g.mark(d.rec.Session) || mark != "" && mark == r.absorbed
}

// commitDetached decides the fate of a detached session by what is committed
// after it: data under a new key that still carries its mark goes on with it,
// anything else has destroyed it. done means that nothing is left to commit.
func (g *Guard) commitDetached(ctx context.Context, r *request, key Key, b []byte, expiry time.Time) (done bool, err error) {
	if r == nil {
		return g.commitOrphan(ctx, key, b, expiry)
	}
	d := r.openFate()
	if d == nil {
		return false, nil
	}
	if !g.goesOn(r, d, g.markIn(b)) || key == d.rec.Key {
		r.takeDetached()
		if key == d.rec.Key {
			r.hush() // nothing is stored, so no cookie may lead there
		}
		return key == d.rec.Key, g.destroyed(ctx, r, d.rec)
	}
	if key == r.dataKey() {
		// A login was merged into an anonymous session. Its token may have been
		// planted, so save gives it a new one before anything is stored.
		return true, nil
	}
	r.takeDetached()
	next, over, err := g.renewed(ctx, r, *d, key, b, expiry)
	if err != nil {
		return true, errors.Join(err, g.destroyed(ctx, r, d.rec))
	}
	if over {
		r.close(next, true)
		return true, nil
	}
	if old := r.dataKey(); old != "" && old != d.rec.Key && old != next.Key {
		g.retire(ctx, r, old) // of the session that the login was merged into
	}
	r.set(&next, next.Key)
	r.mu.Lock()
	r.rotated, r.deadline = true, expiry
	r.stale = false // nobody else has this token, whatever became of the one it came with
	r.mu.Unlock()
	return true, nil
}

// renewed lets a detached session go on under the key that the application's
// RenewToken or MergeSession gave it. over means that it ended instead.
func (g *Guard) renewed(ctx context.Context, r *request, d detachment, key Key, b []byte, expiry time.Time) (now Record, over bool, err error) {
	rec := d.rec
	if !expiry.After(time.Now()) {
		rec, _, err := g.end(ctx, r, Target{Key: rec.Key}, Ending{Reason: EndDestroyed, Detail: "deadline"})
		return rec, true, err
	}
	if b, err = g.corrected(b, rec, true, expiry); err != nil {
		return rec, false, err
	}
	stored, err := g.mergedWith(r, d.others, b, rec, rec.Absolute)
	if err != nil {
		return rec, false, err
	}
	if err := g.write(ctx, key, stored, rec.Absolute); err != nil {
		g.deleteData(ctx, key) // it may be there nevertheless
		return rec, false, err
	}
	rot := Rotation{To: key, Owner: rec.Owner, At: time.Now(), Events: 1}
	if r != nil {
		rot.Fingerprint = g.fingerprintAfter(r, rec, false)
		if !r.isPassive() {
			rot.Activity = r.arrived
		}
	}
	// Nobody uses or shortens a detached session, so these will be its deadlines.
	next := rec
	next.Rotate(rot)
	e := g.extended(r, next, rec, "application")
	e.Kind = EventRenew
	if err := g.keep([]Event{e}); err != nil {
		g.deleteData(ctx, key)
		g.retract(ctx, r, []Event{e}) // it may be in the trail nevertheless
		return rec, false, err
	}
	won, now, err := g.move(ctx, rec, rot)
	if err != nil || !won {
		g.deleteData(ctx, key)
		g.retract(ctx, r, []Event{e})
		return now, !won, err
	}
	r.keep(loadedData{key, b, stored})
	g.tellLater(ctx, r, e)
	// RenewToken has set a deadline of its own, the manager's Lifetime from then
	// on. Only one that is earlier is the application's wish.
	if usual := d.at.Add(g.sm.Lifetime - deadlineSlack); expiry.Before(usual) && expiry.Before(now.Absolute.Add(-deadlineSlack)) {
		err = g.shorten(ctx, r, &now, expiry)
	}
	return now, false, err
}

type moveAnswer struct {
	won bool
	rec Record
}

func (g *Guard) move(ctx context.Context, rec Record, rot Rotation) (bool, Record, error) {
	a, err := call(g, context.WithoutCancel(ctx), ComponentRegistry, "move", func(ctx context.Context) (moveAnswer, error) {
		won, rec, err := g.registry.Move(ctx, rec.Key, rot)
		return moveAnswer{won, rec}, err
	})
	if err == nil && a.won && rot.Auth == nil {
		g.keepMismatch(ctx, rec, &a.rec)
	}
	return a.won, a.rec, err
}

// destroyed ends a session that the application destroyed.
func (g *Guard) destroyed(ctx context.Context, r *request, rec Record) error {
	if r != nil {
		r.mu.Lock()
		r.left = true
		if r.phase == anonymous {
			r.rec = rec // whose data the request may have still
		}
		r.mu.Unlock()
	}
	_, _, err := g.end(ctx, r, Target{Key: rec.Key}, Ending{Kind: EventLogout, Reason: EndDestroyed})
	return err
}
