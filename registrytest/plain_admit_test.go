package registrytest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/scsguard/scsguard"
)

// fold is how a careless storage compares user IDs.
func (p *plain) fold(user string) string {
	switch p.root.fault {
	case foldsCase:
		return strings.ToLower(user)
	case trimsBlanks:
		return strings.TrimSpace(user)
	case repairsUTF8:
		return strings.ToValidUTF8(user, "\ufffd")
	}
	return user
}

func (p *plain) Admit(_ context.Context, a scsguard.Admission) (scsguard.Admitted, error) {
	now, unlock := p.lock()
	defer unlock()
	u := p.user(a.Record.User)
	out := scsguard.Admitted{LastLogin: u.last}
	if p.refused(u, a) {
		out.Denied = scsguard.DeniedRevoked
		return out, nil
	}
	if !p.has(limitBeforeKey) && p.occupied(a, &out) {
		return out, nil
	}
	marked := make(map[*row]bool)
	for _, r := range slices.Clone(u.rows) {
		marked[r] = r.marked() && p.has(countsBeforeItEnds)
		if e, over := p.overdue(r, now); over && !p.has(overdueHoldPlaces) {
			if p.has(discountsOverdue) {
				continue
			}
			if e.Keep = a.By.Keep; p.has(datesFromAdmission) {
				e.At = a.By.At
			}
			p.end(r, e, now)
			out.Overdue = append(out.Overdue, r.Record)
		}
	}
	var staying, leaving []*row
	for _, r := range u.rows {
		_, over := p.overdue(r, now)
		switch {
		case over && p.has(discountsOverdue), marked[r], r.State == scsguard.StateReserved && p.has(reservesNothing):
		case r.marked() && (p.has(marksOnce) || !p.named(r, a)):
		case p.named(r, a):
			leaving = append(leaving, r)
			if p.has(chargesReplaced) {
				staying = append(staying, r)
			}
		default:
			staying = append(staying, r)
		}
	}
	p.gap(admitsWithoutLock)
	if p.has(ordersByCreated) {
		slices.SortStableFunc(staying, func(a, b *row) int { return a.Created.Compare(b.Created) })
	}
	over := len(staying) + 1 - a.Limit.Max
	if a.Limit.Max == 0 || over <= 0 {
		over = 0
		if p.has(replacesAtTheCap) {
			staying, leaving = append(leaving, staying...), nil
		}
	}
	switch {
	case over > 0 && a.Limit.OnExceed == scsguard.Deny:
		out.Denied, out.Others = scsguard.DeniedLimit, recordsOf(staying)
		if p.has(refusalMarks) {
			p.markAll(leaving, a, &row{}, now)
		}
		return out, nil
	case over > 0 && a.Limit.OnExceed == scsguard.EvictOldest:
		if p.has(evictsOne) {
			over = 1
		}
		leaving, staying = append(leaving, staying[:over]...), staying[over:]
	}
	if p.occupied(a, &out) {
		return out, nil
	}
	r := &row{Record: a.Record, limit: a.Limit, from: a.Browser, keep: a.By.Keep, retention: a.Retention}
	r.State, r.Lease = scsguard.StateReserved, now.Add(scsguard.Lease)
	p.space.rows[r.Key] = r
	p.markAll(leaving, a, r, now)
	if p.has(evictsTheNewest) && len(leaving) > 0 {
		leaving[0].unmark(r)
		r.marks = []mark{{by: r, ending: scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndEvicted}}}
	}
	u.rows = append(u.rows, r)
	if p.has(lastLoginIsAnyTry) {
		u.last = scsguard.LastLogin{Time: r.Created, IP: r.IP, UserAgent: r.UserAgent}
	}
	out.Record, out.Others = r.Record, recordsOf(staying)
	return out, nil
}

// occupied refuses a login whose key has a record or a tombstone.
func (p *plain) occupied(a scsguard.Admission, out *scsguard.Admitted) bool {
	r := p.space.rows[a.Record.Key]
	switch {
	case r == nil || p.has(admitsAnyKey):
		return false
	case r.State == scsguard.StateEnded && !p.has(tombstonesExist), p.has(existsIsRevoked),
		r.State == scsguard.StateReserved && p.has(reservedIsRevoked):
		out.Denied = scsguard.DeniedRevoked
	default:
		out.Denied = scsguard.DeniedExists
		if !p.has(existsWithoutRecord) {
			out.Record = r.Record
		}
	}
	return true
}

// named reports whether an admission names a session that has to go, whatever
// the cap.
func (p *plain) named(r *row, a scsguard.Admission) bool {
	return r.Session == a.Replaces && !p.has(ignoresReplaces) || r.Session == a.End && !p.has(ignoresEnd) ||
		r.from == a.Browser && (a.Browser != "" || p.has(matchesNoBrowser))
}

// markAll marks who has to go for the login r.
func (p *plain) markAll(leaving []*row, a scsguard.Admission, r *row, now time.Time) {
	for _, v := range leaving {
		e := a.By
		e.Kind, e.Reason = scsguard.EventLogout, scsguard.EndEvicted
		switch {
		case v.Session == a.Replaces, a.Browser != "" && v.from == a.Browser:
			e.Reason = scsguard.EndReplaced
		case v.Session == a.End:
			e.Reason = scsguard.EndUser
		}
		switch {
		case p.has(losesMarks):
			p.leave(v)
		case p.has(endsAtAdmit):
			p.end(v, e, now)
		default:
			v.marks = append(v.marks, mark{by: r, ending: e})
		}
	}
}

func recordsOf(rows []*row) []scsguard.Record {
	list := make([]scsguard.Record, len(rows))
	for i, r := range rows {
		list[i] = r.Record
	}
	return list
}

func (p *plain) refused(u *plainUser, a scsguard.Admission) bool {
	if p.has(forgetsNotBefore) || p.has(trustsTheUnknown) && a.AuthenticatedAt.IsZero() {
		return false
	}
	for _, t := range []time.Time{u.notBefore, p.space.everyone, p.space.closed[a.Record.External]} {
		if a.AuthenticatedAt.Before(t) || p.has(refusesEqual) && !t.IsZero() && a.AuthenticatedAt.Equal(t) {
			return true
		}
	}
	return false
}

func (p *plain) Settle(_ context.Context, a scsguard.Admitted, commit bool) (scsguard.Settled, error) {
	now, unlock := p.lock()
	defer unlock()
	r := p.space.rows[a.Record.Key]
	if r == nil || r.Session != a.Record.Session && !p.has(settlesByKey) {
		return scsguard.Settled{Record: scsguard.Record{State: scsguard.StateEnded, Session: a.Record.Session, User: a.Record.User,
			Ending: scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndAborted, At: now}}}, nil
	}
	if r.State == scsguard.StateEnded && p.has(settleRevives) {
		r.State = scsguard.StateReserved
		p.user(r.User).rows = append(p.user(r.User).rows, r)
	}
	if again := r.State == scsguard.StateLive && (p.has(settlesAgain) || p.has(undoesTheLive) && !commit); r.State != scsguard.StateReserved && !again {
		now := p.present(r.Key)
		return scsguard.Settled{Live: now.State == scsguard.StateLive, Record: now.Record}, nil
	}
	if !commit {
		if !p.has(keepsUndone) {
			p.giveUp(r)
			p.leave(r)
		}
		r.State = scsguard.StateUnknown
		delete(p.space.rows, r.Key)
		return scsguard.Settled{Record: a.Record}, nil
	}
	u := p.user(r.User)
	var out scsguard.Settled
	endMarked := func() {
		for _, v := range slices.Clone(u.rows) {
			if !v.marked() || v.marks[0].by != r && p.has(endsOwnVictimsOnly) {
				continue
			}
			e := v.marks[0].ending
			if !p.has(datesFromAdmission) {
				e.At = now
			}
			p.end(v, e, now)
			out.Ended = append(out.Ended, v.Record)
		}
	}
	if p.has(livesBeforeVictimsDie) {
		r.State = scsguard.StateLive
		p.gap(livesBeforeVictimsDie)
		if r.State == scsguard.StateLive {
			r.State = scsguard.StateReserved
		}
	}
	endMarked()
	p.makeRoom(u, r, &out, now)
	out.Record = r.Record
	if r.State == scsguard.StateEnded {
		return out, nil
	}
	r.State, r.Lease, r.Seq, r.leased = scsguard.StateLive, time.Time{}, a.Record.Seq, time.Time{}
	if r.Created.After(u.last.Time) || p.has(lastLoginGoesBack) {
		u.last = scsguard.LastLogin{Time: r.Created, IP: r.IP, UserAgent: r.UserAgent}
	}
	for _, o := range u.rows {
		if o != r {
			w := scsguard.Warning{Time: r.Created, Session: r.Session, IP: r.IP, UserAgent: r.UserAgent}
			p.warn(o, w)
		}
	}
	r.settled = r.Record
	r.look, _ = r.Due()
	out.Live, out.Record = true, r.Record
	return out, nil
}

// makeRoom ends who came back into a place that was counted as free, because
// the login that was to end him was undone.
func (p *plain) makeRoom(u *plainUser, r *row, out *scsguard.Settled, now time.Time) {
	masked := []fault{roomIsForgotten, admitsWithoutLock, reservesNothing, evictsOne, endsOwnVictimsOnly, handsNothingDown, leavesMarksBehind, countsBeforeItEnds}
	if r.limit.Max == 0 || r.limit.OnExceed == scsguard.Warn || slices.Contains(masked, p.root.fault) {
		return
	}
	var alive []*row
	for _, o := range u.rows {
		if o.State == scsguard.StateLive || o.State == scsguard.StateDetached {
			alive = append(alive, o)
		}
	}
	over := len(alive) + 1 - r.limit.Max
	if over <= 0 || r.State != scsguard.StateReserved {
		return
	}
	e := scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndEvicted, At: now, Detail: r.Session, Keep: r.keep}
	victims := alive[:over]
	if p.has(noRoomEndsTheNewest) {
		victims = alive[len(alive)-over:]
	}
	if denied := r.limit.OnExceed == scsguard.Deny && !p.has(noRoomEvicts); denied || p.has(noRoomEndsTheLogin) {
		victims = []*row{r}
		if e.Detail = "limit"; !p.has(noRoomIsEvicted) {
			e.Reason = scsguard.EndAborted
		}
	}
	for _, v := range victims {
		p.end(v, e, now)
		out.Ended = append(out.Ended, v.Record)
	}
}

func (p *plain) warn(r *row, w scsguard.Warning) {
	switch n := len(r.Warnings); {
	case p.has(sharesWarnings) && n == scsguard.MaxWarnings:
		copy(r.Warnings, r.Warnings[1:])
		r.Warnings[n-1] = w
	case p.has(keepsAllWarnings):
		r.Warnings = append(slices.Clone(r.Warnings), w)
	default:
		r.Warn(w)
	}
}

// giveUp says what becomes of the victims of a login that will not live.
func (p *plain) giveUp(r *row) {
	if p.has(forgetsToUnmark) {
		return
	}
	for _, v := range p.user(r.User).rows {
		i := slices.IndexFunc(v.marks, func(m mark) bool { return m.by == r })
		if i < 0 {
			continue
		}
		given := v.marks[i].ending
		v.unmark(r)
		if p.has(handsNothingDown) {
			continue
		}
		for _, heir := range r.marks {
			e := heir.ending
			e.Reason, e.Detail = scsguard.EndEvicted, heir.by.Session
			if p.has(handsReasonDown) {
				e = given
			}
			v.marks = append(v.marks, mark{by: heir.by, ending: e})
		}
	}
}

// leave gives the place back.
func (p *plain) leave(r *row) {
	u := p.user(r.User)
	u.rows = slices.DeleteFunc(u.rows, func(o *row) bool { return o == r })
}

// rowsOf returns what a revocation names.
func (p *plain) rowsOf(r scsguard.Revocation) []*row {
	var list []*row
	for _, name := range slices.Sorted(maps.Keys(p.space.users)) {
		if !r.Everyone && r.External == "" && name != p.fold(r.User) {
			continue
		}
		for _, o := range p.space.users[name].rows {
			if (r.Everyone || r.External == "" || o.External == r.External) && (o.State != scsguard.StateReserved || !p.has(missesReserved)) {
				list = append(list, o)
			}
		}
	}
	return list
}
