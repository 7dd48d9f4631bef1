package registrytest

import (
	"context"
	"slices"
	"time"

	"github.com/scsguard/scsguard"
)

// What the reference registry does with a session while it lives.

func (p *plain) Touch(_ context.Context, key scsguard.Key, act scsguard.Activity) (scsguard.Touched, error) {
	now, unlock := p.lock()
	defer unlock()
	r := p.space.rows[key]
	switch {
	case r == nil:
		return scsguard.Touched{}, nil
	case r.State == scsguard.StateEnded && r.Session != "" && p.has(touchRevives):
		r.State = scsguard.StateLive
		u := p.user(r.User)
		u.rows = append(u.rows, r)
	case r.State != scsguard.StateLive:
		return scsguard.Touched{}, nil
	case !act.At.IsZero() && !p.active(r, act.At):
		if e, over := p.overdue(r, now); over && p.has(touchEndsTheOverdue) {
			p.end(r, e, now)
		}
		return scsguard.Touched{}, nil
	}
	if _, over := p.overdue(r, now); over && act.At.IsZero() && p.has(refusesTheOverdue) {
		return scsguard.Touched{}, nil
	}
	before := r.Mismatch
	if p.has(tellsNoMismatch) {
		before = ""
	}
	p.apply(r, act)
	seq := r.Seq
	if act.Event {
		p.gap(numbersWithoutLock)
		seq++
		r.Seq = seq
	}
	touched := scsguard.Touched{Live: true, Seq: r.Seq, Mismatch: before}
	if act.TakeWarnings {
		touched.Warnings = r.Warnings
		if !p.has(warnsForEver) {
			r.Warnings = nil
		}
	}
	return touched, nil
}

// apply changes the single fields that an activity names.
func (p *plain) apply(r *row, act scsguard.Activity) {
	before := r.Record
	r.Tighten(act.Idle, act.Absolute)
	if p.has(loosens) && act.Idle > 0 {
		r.Idle = act.Idle
	}
	if p.has(loosens) && !act.Absolute.IsZero() {
		r.Absolute = act.Absolute
	}
	r.tightened = r.tightened || r.Idle != before.Idle || !r.Absolute.Equal(before.Absolute)
	if p.has(touchTakesTheLease) {
		r.leased = time.Time{}
	}
	if act.Extended && !p.has(countsNoExtension) {
		r.Extends++
	}
	if act.ResetRole && !p.has(touchResetsNoRole) {
		r.Role = r.BaseRole
	}
	if act.ForgetAuth && !p.has(touchForgetsNoAuth) {
		r.AuthTime = time.Time{}
	}
	if act.Fingerprint != "" && !p.has(touchKeepsFingerprint) || p.has(touchEmpties) {
		r.Fingerprint = act.Fingerprint
	}
	if act.Mismatch != "" && !p.has(touchKeepsMismatch) || p.has(touchEmpties) {
		r.Mismatch = act.Mismatch
	}
	if act.Extra != nil && !p.has(touchKeepsExtra) && (len(act.Extra) > 0 || !p.has(emptyExtraIsNone)) || p.has(touchEmpties) {
		r.Extra = act.Extra
	}
}

// active records activity, unless the session was over by then.
func (p *plain) active(r *row, at time.Time) bool {
	if p.has(refusesOldActivity) && at.Before(r.LastActivity.Add(-time.Minute)) {
		return false
	}
	before := r.Record
	if !r.Active(at) && !p.has(countsLateActivity) {
		return false
	}
	if p.has(countsLateActivity) && at.After(before.LastActivity) || p.has(movesBackwards) {
		r.LongestGap, r.LastActivity = max(before.LongestGap, at.Sub(before.LastActivity)), at
	}
	return true
}

func (p *plain) Detach(_ context.Context, key scsguard.Key, owner string, lease time.Duration) (scsguard.Record, bool, error) {
	now, unlock := p.lock()
	defer unlock()
	r := p.space.rows[key]
	switch {
	case r == nil || r.State == scsguard.StateReserved:
		return scsguard.Record{}, false, nil
	case p.has(detachFollows):
		r = p.present(key)
	}
	if !p.heldBy(r, owner) {
		return r.Record, false, nil
	}
	if r.State == scsguard.StateLive || !p.has(renewsNoLease) {
		r.Lease = now.Add(lease)
	}
	r.State, r.Owner, r.leased = scsguard.StateDetached, owner, time.Time{}
	if p.has(detachFreesPlace) {
		p.leave(r)
	}
	return r.Record, true, nil
}

func (p *plain) heldBy(r *row, owner string) bool {
	return r.State == scsguard.StateLive || r.State == scsguard.StateDetached && (r.Owner == owner || p.has(detachedIsAnybodys))
}

func (p *plain) Move(_ context.Context, from scsguard.Key, rot scsguard.Rotation) (bool, scsguard.Record, error) {
	now, unlock := p.lock()
	defer unlock()
	r := p.space.rows[from]
	if r == nil || r.State == scsguard.StateReserved {
		return false, scsguard.Record{}, nil
	}
	over := !rot.Absolute.IsZero() && !now.Before(r.Absolute) && !p.has(revivesTheOver)
	switch {
	case over, !p.heldBy(r, rot.Owner):
		if now := p.present(from); now != nil {
			return false, now.Record, nil
		}
		return false, r.Record, nil
	case p.space.rows[rot.To] != nil && !p.has(movesAnywhere):
		return false, r.Record, nil
	}
	next := *r
	p.gap(movesWithoutLock)
	if !p.has(movesWithoutLock) {
		next = *r
	}
	if p.has(movesTheFirstRecord) {
		next.Record = r.settled
	}
	p.rotate(&next, rot)
	next.look, _ = next.Due()
	if p.has(leavesMarksBehind) {
		next.marks = nil
	}
	p.gap(touchesBetween)
	p.space.rows[rot.To] = &next
	r.State, r.Successor, r.MovedAt, r.GraceUntil = scsguard.StateMoved, rot.To, rot.At, rot.At.Add(rot.Grace)
	if rot.Fingerprint != "" {
		r.Fingerprint = rot.Fingerprint
	}
	r.forget = p.tombstoneUntil(r, now)
	u := p.user(r.User)
	if i := slices.Index(u.rows, r); i >= 0 {
		u.rows[i] = &next
	} else {
		u.rows = append(u.rows, &next)
	}
	if p.has(movesToTheEnd) {
		u.rows = append(slices.DeleteFunc(u.rows, func(o *row) bool { return o == &next }), &next)
	}
	return true, next.Record, nil
}

func (p *plain) rotate(r *row, rot scsguard.Rotation) {
	before := r.Record
	if p.has(rolesStay) {
		rot.Role, rot.ResetRole = "", false
	}
	if rot.Auth != nil && p.has(everyProofIsFull) {
		auth := *rot.Auth
		auth.Full, rot.Auth = true, &auth
	}
	r.Rotate(rot)
	r.leased = time.Time{}
	switch {
	case p.has(moveResets):
		r.Fingerprint = rot.Fingerprint
	case p.has(moveKeepsMismatch):
		r.Mismatch = before.Mismatch
	case p.has(moveClearsMismatch):
		r.Mismatch = ""
	case p.has(loginAALStays):
		r.LoginAAL = before.LoginAAL
	case p.has(staysRemembered):
		r.Remembered = before.Remembered
	case p.has(deadlineSinceTheMove) && !rot.Absolute.IsZero():
		r.AbsoluteSince = rot.At
	case p.has(deadlineSinceTheLogin):
		r.AbsoluteSince = before.AbsoluteSince
	}
}
