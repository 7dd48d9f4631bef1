package registrytest

import (
	"context"
	"errors"
	"time"

	"github.com/scsguard/scsguard"
)

// end makes a row dead and puts it into the outbox.
func (p *plain) end(r *row, e scsguard.Ending, now time.Time) bool {
	switch r.State {
	case scsguard.StateReserved, scsguard.StateLive, scsguard.StateDetached:
	case scsguard.StateEnded:
		if p.has(endsTwice) && r.Session != "" {
			r.Ending = e
			return true
		}
		return false
	default:
		return false
	}
	p.gap(endsWithoutLock)
	p.giveUp(r)
	if !p.has(leaksPlaces) {
		p.leave(r)
	}
	if p.has(forgetsTheRequest) {
		e = scsguard.Ending{Kind: e.Kind, Reason: e.Reason, At: e.At, Due: e.Due, Keep: e.Keep}
	}
	r.State, r.Ending, r.Confirmed = scsguard.StateEnded, e, false
	r.Lease, r.Owner, r.Warnings, r.marks = time.Time{}, "", nil, nil
	if !p.has(numbersNoEnding) {
		r.Seq++
	}
	r.keep = max(r.keep, e.Keep)
	if r.leased = now.Add(scsguard.Lease); p.has(endsWithoutLease) {
		r.leased = time.Time{}
	}
	if r.forget = r.Absolute.Add(r.retention); !p.has(forgetsUnconfirmed) {
		r.forget = later(r.forget, p.tombstoneUntil(r, now))
	}
	p.tell(r)
	return true
}

// tell sends an ending to whoever watches.
func (p *plain) tell(r *row) {
	for _, w := range p.space.watchers {
		if !p.has(watchesNothing) {
			select {
			case w <- r.Record:
			default:
			}
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (p *plain) tombstoneUntil(r *row, now time.Time) time.Time {
	until := later(r.Absolute, now.Add(r.keep))
	if p.has(forgetsTombstones) {
		until = now
	}
	return until.Add(scsguard.TombstoneMargin)
}

func (p *plain) End(_ context.Context, t scsguard.Target, e scsguard.Ending) (scsguard.Record, bool, error) {
	now, unlock := p.lock()
	defer unlock()
	if t.Key == "" {
		return p.endByName(t, e, now)
	}
	r := p.space.rows[t.Key]
	switch {
	case r == nil && ((t.IfDue || t.Exact) && !p.has(buriesForAnybody) || p.has(buriesNothing)):
		return scsguard.Record{}, false, nil
	case r == nil:
		p.gap(buriesWithoutLock)
		return p.bury(t, e, now)
	case t.Exact && r.State != scsguard.StateLive && !p.has(exactFollows):
		return r.Record, false, nil
	}
	if r.State == scsguard.StateMoved && !p.has(replacesOnlyTheDead) {
		p.replace(r, e)
	}
	if r = p.present(t.Key); r == nil {
		return scsguard.Record{}, false, nil
	}
	if t.IfDue && (!p.has(endsTheTouched) || r.State != scsguard.StateLive) {
		due, over := p.overdue(r, now)
		if !over {
			return r.Record, false, nil
		}
		if due.Keep = e.Keep; p.has(datesFromAdmission) {
			due.At = e.At
		}
		e = due
	}
	ended := p.end(r, e, now)
	if !ended && r.State == scsguard.StateEnded {
		p.replace(r, e)
	}
	return r.Record, ended, nil
}

// bury puts a tombstone under an unknown key. A session whose record is lost has
// ended by that, and somebody has to tell.
func (p *plain) bury(t scsguard.Target, e scsguard.Ending, now time.Time) (scsguard.Record, bool, error) {
	lost := t.Session != "" && !p.has(buriesTheLost)
	r := &row{Record: scsguard.Record{Key: t.Key, State: scsguard.StateEnded, Ending: e, Absolute: now, Confirmed: !lost}, keep: e.Keep}
	if p.has(tombstonesAreDue) {
		r.Confirmed = false
	}
	if !p.has(losesTheName) {
		r.Session, r.User = t.Session, t.User
	}
	r.forget = p.tombstoneUntil(r, now)
	if lost {
		r.leased = now.Add(scsguard.Lease)
		p.tell(r)
	}
	p.space.rows[t.Key] = r
	p.replace(r, e)
	return r.Record, lost, nil
}

// replace notes when a login took over from a token that was of no use any more.
func (p *plain) replace(r *row, e scsguard.Ending) {
	if e.Reason == scsguard.EndReplaced && !p.has(forgetsReplacedAt) {
		r.ReplacedAt = e.At
	}
}

func (p *plain) endByName(t scsguard.Target, e scsguard.Ending, now time.Time) (scsguard.Record, bool, error) {
	for name, u := range p.space.users {
		if name != p.fold(t.User) && !p.has(endsAnybodys) {
			continue
		}
		for _, r := range u.rows {
			if r.Session == t.Session && (r.State != scsguard.StateDetached || !p.has(detachedIsLost)) {
				ended := p.end(r, e, now)
				return r.Record, ended, nil
			}
		}
	}
	return scsguard.Record{}, false, nil
}

func (p *plain) EndAll(_ context.Context, r scsguard.Revocation) (scsguard.Revoked, error) {
	now, unlock := p.lock()
	defer unlock()
	list := p.rowsOf(r)
	p.gap(listsBeforeNotBefore)
	var out scsguard.Revoked
	switch {
	case r.Everyone:
		p.space.everyone = now
	case r.External != "":
		p.space.closed[r.External] = now
	default:
		u := p.user(r.User)
		out.Before = p.before(u)
		if u.notBefore = now; p.has(beforeIsNow) {
			out.Before = now
		}
	}
	for _, o := range list {
		if o.Session == r.Except && !p.has(exceptsNobody) {
			continue
		}
		if e, over := p.overdue(o, now); over && !p.has(revokesTheOverdue) {
			e.Keep = r.Ending.Keep
			if p.end(o, e, now) {
				o.leased = time.Time{}
			}
			continue
		}
		if !p.end(o, r.Ending, now) {
			continue
		}
		out.Total++
		if len(out.Ended) < scsguard.MaxRevoked || p.has(returnsAll) {
			out.Ended = append(out.Ended, o.Record)
		} else if !p.has(leasesTheRest) {
			o.leased = time.Time{}
		}
	}
	return out, nil
}

// before is the moment before which the user's logins are refused.
func (p *plain) before(u *plainUser) time.Time {
	switch {
	case p.has(losesBefore):
		return time.Time{}
	case p.space.everyone.After(u.notBefore) && !p.has(everyoneIsNobody):
		return p.space.everyone
	}
	return u.notBefore
}

func (p *plain) Due(_ context.Context, n int) ([]scsguard.Record, error) {
	now, unlock := p.lock()
	defer unlock()
	p.expire(now)
	var list []scsguard.Record
	for _, r := range p.space.rows {
		_, over := p.overdue(r, now)
		over = over || r.tightened && r.State == scsguard.StateLive && p.has(tightenedIsDueAtOnce)
		attention := over || r.State == scsguard.StateEnded && !r.Confirmed && !p.has(losesEndings)
		if r.State == scsguard.StateLive && now.Before(r.look) && p.has(queuesOnce) {
			continue
		}
		if !attention && !p.has(handsOutTheLiving) || now.Before(r.leased) || len(list) >= n && !p.has(handsOutTooMany) {
			continue
		}
		if !p.has(handsOutTwice) {
			r.leased = now.Add(scsguard.Lease)
			if p.has(handsOutOnce) {
				r.leased = now.Add(time.Hour)
			}
		}
		list = append(list, r.Record)
	}
	return list, nil
}

// expire forgets what is over.
func (p *plain) expire(now time.Time) {
	if p.has(keepsForEver) {
		return
	}
	const memory = scsguard.UserMemory
	for key, r := range p.space.rows {
		if !r.forget.IsZero() && now.After(r.forget) {
			delete(p.space.rows, key)
		}
	}
	for name, u := range p.space.users {
		if (len(u.rows) == 0 || p.has(forgetsTheLiving)) && now.Sub(u.seen) > memory && !p.has(remembersUsers) {
			delete(p.space.users, name)
		}
	}
	for id, at := range p.space.closed {
		if now.Sub(at) > scsguard.TombstoneMargin || now.After(at) && p.has(forgetsExternals) {
			delete(p.space.closed, id)
		}
	}
	if now.Sub(p.space.everyone) > memory {
		p.space.everyone = time.Time{}
	}
}

func (p *plain) Confirm(_ context.Context, rec scsguard.Record) error {
	now, unlock := p.lock()
	defer unlock()
	r := p.space.rows[rec.Key]
	switch {
	case r == nil && p.has(failsOnUnknown):
		return errors.New("no such key")
	case r == nil:
		return nil
	case p.has(confirmsTheLiving) && r.State == scsguard.StateLive:
		p.end(r, rec.Ending, now)
	case r.State != scsguard.StateEnded || r.Confirmed, p.has(losesConfirmations):
		return nil
	}
	r.Confirmed = true
	r.forget = p.tombstoneUntil(r, now)
	if p.has(confirmDrops) {
		delete(p.space.rows, rec.Key)
	}
	return nil
}

func (p *plain) EndDue(ctx context.Context, keys []scsguard.Key, e scsguard.Ending) (ended []scsguard.Record, err error) {
	for i, key := range keys {
		target := scsguard.Target{Key: key, IfDue: !p.has(batchEndsAll)}
		if p.has(batchBuries) && p.space.rows[key] == nil {
			target.IfDue = false
		}
		rec, won, err := p.End(ctx, target, e)
		if err != nil {
			return ended, err
		}
		if p.has(batchEndsFirst) && i > 0 {
			break
		}
		if won || p.has(batchTellsAll) && rec.State == scsguard.StateEnded {
			p.spoil(&rec)
			ended = append(ended, rec)
		}
	}
	return ended, nil
}

// spoil does to what was ended together what a faulty registry does.
func (p *plain) spoil(rec *scsguard.Record) {
	_, unlock := p.lock()
	defer unlock()
	r := p.space.rows[rec.Key]
	switch {
	case p.has(batchKeepsPlaces):
		p.user(r.User).rows = append(p.user(r.User).rows, r)
	case p.has(batchWithoutLease):
		r.leased = time.Time{}
	case p.has(batchLosesEndings):
		r.Confirmed = true
	case p.has(batchLosesKeep):
		r.Ending.Keep = 0
		*rec = r.Record
	}
}

func (p *plain) ConfirmAll(ctx context.Context, recs []scsguard.Record) error {
	for i, rec := range recs {
		if p.has(batchConfirmsFirst) && i > 0 {
			break
		}
		if p.has(batchConfirmsLiving) && p.space.rows[rec.Key] != nil {
			p.space.rows[rec.Key].Confirmed = true
		}
		if err := p.Confirm(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}
