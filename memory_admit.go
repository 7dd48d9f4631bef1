package scsguard

import (
	"context"
	"time"
)

// Admit reserves a place or refuses.
func (m *MemoryRegistry) Admit(_ context.Context, a Admission) (Admitted, error) {
	s := m.userShard(a.Record.User)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	u := s.user(a.Record.User)
	out := Admitted{LastLogin: u.last}
	if m.refused(u, a) {
		out.Denied = DeniedRevoked
		return out, nil
	}

	for _, p := range u.sorted() {
		if e, over := p.entry.rec.Overdue(now); over {
			// Counting it no longer is only right once it is dead: a late Touch
			// could prolong it.
			e.Keep = a.By.Keep
			if m.end(p.entry, e, now) {
				out.Overdue = append(out.Overdue, p.entry.rec)
			}
		}
	}
	// Before the limit: a login in progress under this very key holds a place, too.
	if m.entry(a.Record.Key) != nil {
		out.Denied, out.Record = m.occupied(a.Record.Key, s, u.id)
		return out, nil
	}
	want := a.claim()
	// Only now: a login that was abandoned has unmarked its victims.
	var staying, leaving []*place
	for _, p := range u.sorted() {
		switch {
		case p.victim != nil: // it makes room for another login already
		case want.names(p):
			leaving = append(leaving, p)
		default:
			staying = append(staying, p)
		}
	}
	if over := len(staying) + 1 - a.Limit.Max; a.Limit.Max > 0 && over > 0 {
		switch a.Limit.OnExceed {
		case Deny:
			out.Denied, out.Others = DeniedLimit, records(staying)
			return out, nil
		case EvictOldest:
			leaving = append(leaving, staying[:over]...)
			staying = staying[over:]
		}
	}
	return m.reserve(s, u, a, out, staying, leaving, now), nil
}

// refused reports whether the user proved who he is before his sessions were
// ended. The user's shard is locked, so an EndAll that has not come to this user
// yet will find the reservation.
func (m *MemoryRegistry) refused(u *memoryUser, a Admission) bool {
	everyone := m.everyone.Load()
	return a.AuthenticatedAt.Before(u.notBefore) || everyone != nil && a.AuthenticatedAt.Before(*everyone)
}

// reserve marks the victims and takes the place.
func (m *MemoryRegistry) reserve(s *userShard, u *memoryUser, a Admission, out Admitted, staying, leaving []*place, now time.Time) Admitted {
	e := &entry{rec: a.Record, shard: s, keep: a.By.Keep, retention: a.Retention}
	e.node.entry = e
	e.rec.State, e.rec.Lease = StateReserved, now.Add(Lease)
	if !m.create(e) {
		out.Denied, out.Record = m.occupied(a.Record.Key, s, u.id)
		return out
	}
	if !m.addExternal(e, a.AuthenticatedAt) {
		m.drop(e)
		out.Denied = DeniedRevoked
		return out
	}
	want := a.claim()
	for _, p := range leaving {
		ending := want.endingFor(p)
		p.victim, p.by = &ending, a.Record.Session
	}
	u.seq++
	u.places[a.Record.Session] = &place{seq: u.seq, limit: a.Limit, entry: e, from: a.Browser, claim: &want}
	s.remember(u, now)
	s.queue.schedule(&e.node, e.rec.Lease)
	out.Record, out.Others = e.rec, records(staying)
	return out
}

// claim is what a login asks for besides its own place.
type claim struct {
	replaces string
	browser  Key
	end      string
	by       Ending
}

func (a Admission) claim() claim { return claim{a.Replaces, a.Browser, a.End, a.By} }

// replacesAt reports whether the place belongs to the browser that logs in.
func (c claim) replacesAt(p *place) bool {
	return p.entry.rec.Session == c.replaces || c.browser != "" && p.from == c.browser
}

// names reports whether the place has to go whatever the limit is.
func (c claim) names(p *place) bool { return c.replacesAt(p) || p.entry.rec.Session == c.end }

// endingFor is how the session at a place ends for the login.
func (c claim) endingFor(p *place) Ending {
	ending := c.by
	ending.Kind = EventLogout
	switch {
	case c.replacesAt(p):
		ending.Reason = EndReplaced
	case p.entry.rec.Session == c.end:
		ending.Reason = EndUser
	default:
		ending.Reason = EndEvicted
	}
	return ending
}

// occupied says why nothing can be created under key.
func (m *MemoryRegistry) occupied(key Key, s *userShard, user string) (Denial, Record) {
	if e := m.entry(key); e != nil && e.shard == s && e.rec.User == user && (e.rec.State == StateLive || e.rec.State == StateReserved) {
		return DeniedExists, e.rec
	}
	return DeniedRevoked, Record{}
}

func records(places []*place) []Record {
	list := make([]Record, len(places))
	for i, p := range places {
		list[i] = p.entry.rec
	}
	return list
}

// Settle completes an admission.
func (m *MemoryRegistry) Settle(_ context.Context, a Admitted, commit bool) (Settled, error) {
	s := m.userShard(a.Record.User)
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.user(a.Record.User)
	own := m.entry(a.Record.Key)
	if own != nil && own.rec.Session != a.Record.Session {
		own = nil // the key is another login's by now
	}
	if !commit {
		m.giveBack(s, u, own, a.Record.Session)
		return Settled{Record: a.Record}, nil
	}
	if own != nil {
		own = m.present(own)
	}
	if own == nil || own.rec.State != StateReserved {
		return settledBefore(own, a), nil
	}
	now := time.Now()
	// Every marked session has to be dead before this one lives, also those that
	// another login has marked and not ended yet. The cap would not hold
	// otherwise. This session may be among them.
	var out Settled
	end := func(p *place, ending Ending) {
		ending.At = now
		if m.end(p.entry, ending, now) {
			out.Ended = append(out.Ended, p.entry.rec)
		}
	}
	for _, p := range u.sorted() {
		if p.victim != nil {
			end(p, *p.victim)
		}
	}
	if self := u.places[own.rec.Session]; self != nil && self.claim != nil {
		for _, p := range u.sorted() { // another login had marked him first, and has failed
			if p.seq < self.seq && self.claim.names(p) {
				end(p, self.claim.endingFor(p))
			}
		}
	}
	for _, p := range u.beyond(own) {
		ending := Ending{Kind: EventLogout, Reason: EndEvicted, Detail: own.rec.Session, Keep: own.keep}
		if p.entry == own {
			ending.Reason, ending.Detail = EndAborted, "limit"
		}
		end(p, ending)
	}
	if own.rec.State != StateReserved {
		out.Record = own.rec
		return out, nil
	}
	own.rec.State, own.rec.Lease, own.rec.Seq = StateLive, time.Time{}, a.Record.Seq
	u.places[own.rec.Session].claim = nil
	due, _ := own.rec.Due()
	s.queue.schedule(&own.node, due)
	if own.rec.Created.After(u.last.Time) {
		u.last = LastLogin{Time: own.rec.Created, IP: own.rec.IP, UserAgent: own.rec.UserAgent}
	}
	s.remember(u, now)
	for _, p := range u.places {
		if p.entry != own {
			p.entry.rec.Warn(Warning{Time: own.rec.Created, Session: own.rec.Session, IP: own.rec.IP, UserAgent: own.rec.UserAgent})
		}
	}
	out.Live, out.Record = true, own.rec
	return out, nil
}

// settledBefore is the answer for an admission that is over.
func settledBefore(own *entry, a Admitted) Settled {
	if own != nil {
		return Settled{Live: own.rec.State == StateLive, Record: own.rec}
	}
	return Settled{Record: Record{Session: a.Record.Session, User: a.Record.User, State: StateEnded,
		Ending: Ending{Kind: EventLogout, Reason: EndAborted, At: time.Now()}}}
}

// beyond returns whom the login has to end so that the cap holds, if there is no
// room for it although it has a place: others that were to make room for a login
// which has failed stayed, and this one was admitted counting on them.
func (u *memoryUser) beyond(own *entry) []*place {
	self := u.places[own.rec.Session]
	if self == nil || self.limit.Max == 0 || self.limit.OnExceed == Warn {
		return nil
	}
	var alive []*place
	for _, p := range u.sorted() {
		if s := p.entry.rec.State; s == StateLive || s == StateDetached {
			alive = append(alive, p)
		}
	}
	over := len(alive) + 1 - self.limit.Max
	switch {
	case over <= 0:
		return nil
	case self.limit.OnExceed == Deny:
		return []*place{self}
	}
	return alive[:over]
}

// giveBack undoes a reservation that nobody has learned of.
func (m *MemoryRegistry) giveBack(s *userShard, u *memoryUser, own *entry, session string) {
	if own == nil || own.rec.State != StateReserved {
		return
	}
	u.handDown(session)
	delete(u.places, session)
	m.removeExternal(own)
	own.rec.State = StateUnknown // for whoever has found it and waits for the lock
	s.queue.remove(&own.node)
	m.drop(own)
}

// handDown says what becomes of the victims of a login that will not happen.
// They may stay; but if the login is itself a victim, the one that marked it
// counts on their places.
func (u *memoryUser) handDown(session string) {
	heir := u.places[session]
	for _, p := range u.places {
		switch {
		case p.by != session:
		case heir != nil && heir.victim != nil:
			p.by = heir.by
			p.victim.Reason, p.victim.Detail = EndEvicted, heir.by
		default:
			p.victim, p.by = nil, ""
		}
	}
}
