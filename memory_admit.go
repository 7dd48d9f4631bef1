package scsguard

import (
	"context"
	"hash/maphash"
	"slices"
	"time"
)

// Admit reserves a place or refuses.
func (m *MemoryRegistry) Admit(_ context.Context, a Admission) (Admitted, error) {
	s := m.userShard(a.Record.User)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	u := s.user(a.Record.User)
	out := Admitted{LastLogin: u.lastLogin()}
	if m.refused(u, a) {
		out.Denied = DeniedRevoked
		return out, nil
	}

	for _, e := range slices.Clone(u.sessions) {
		if ending, over := e.overdue(now); over {
			// Counting it no longer is only right once it is dead: a late Touch
			// could prolong it.
			ending.Keep = a.By.Keep
			if m.end(e, ending, now) {
				out.Overdue = append(out.Overdue, e.record())
			}
		}
	}
	// Before the limit: a login in progress under this very key holds a place, too.
	if m.entry(a.Record.Key) != nil {
		out.Denied, out.Record = m.occupied(a.Record.Key, s, u.id)
		return out, nil
	}
	want := m.claim(a)
	// Only now: a login that was abandoned has unmarked its victims.
	var staying, leaving []*entry
	for _, e := range u.sessions {
		switch {
		case e.marked(): // it makes room for another login already
		case want.names(e):
			leaving = append(leaving, e)
		default:
			staying = append(staying, e)
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
	return a.AuthenticatedAt.Before(u.before().notBefore) || everyone != nil && a.AuthenticatedAt.Before(*everyone)
}

// reserve marks the victims and takes the place.
func (m *MemoryRegistry) reserve(s *userShard, u *memoryUser, a Admission, out Admitted, staying, leaving []*entry, now time.Time) Admitted {
	rec := a.Record
	rec.User, rec.State, rec.Lease = u.id, StateReserved, now.Add(Lease)
	own(&rec.Actor, &rec.External, &rec.Remember)
	want := m.claim(a)
	e := &entry{shard: m.shardIndex(u.id), from: want.browser, pending: &underWay{claim: &want}}
	e.write(&rec, conditions{limit: a.Limit, keep: a.By.Keep, retention: a.Retention})
	if !m.create(e) {
		out.Denied, out.Record = m.occupied(a.Record.Key, s, u.id)
		return out
	}
	if !m.addExternal(e, a.AuthenticatedAt) {
		m.drop(e)
		out.Denied = DeniedRevoked
		return out
	}
	for _, victim := range leaving {
		ending := want.endingFor(victim)
		victim.mark(&ending, rec.Session)
	}
	s.add(u, e)
	s.queue.schedule(e, rec.Lease)
	out.Record, out.Others = rec, records(staying)
	return out
}

// claim is what a login asks for besides its own place.
type claim struct {
	replaces string
	browser  uint64 // a hash of the token's key
	end      string
	by       Ending
}

func (m *MemoryRegistry) claim(a Admission) claim {
	c := claim{replaces: a.Replaces, end: a.End, by: a.By}
	if a.Browser != "" {
		c.browser = max(1, maphash.String(m.seed, string(a.Browser))) // 64 bits of a secret hash tell one user's tokens apart
	}
	return c
}

// replacesAt reports whether the place belongs to the browser that logs in.
func (c claim) replacesAt(e *entry) bool {
	return e.session() == c.replaces || c.browser != 0 && e.from == c.browser
}

// names reports whether the place has to go whatever the limit is.
func (c claim) names(e *entry) bool { return c.replacesAt(e) || e.session() == c.end }

// endingFor is how the session at a place ends for the login.
func (c claim) endingFor(e *entry) Ending {
	ending := c.by
	ending.Kind = EventLogout
	switch {
	case c.replacesAt(e):
		ending.Reason = EndReplaced
	case e.session() == c.end:
		ending.Reason = EndUser
	default:
		ending.Reason = EndEvicted
	}
	return ending
}

// occupied says why nothing can be created under key.
func (m *MemoryRegistry) occupied(key Key, s *userShard, user string) (Denial, Record) {
	if e := m.entry(key); e != nil && m.shard(e) == s && e.user == user && (e.state == StateLive || e.state == StateReserved) {
		return DeniedExists, e.record()
	}
	return DeniedRevoked, Record{}
}

func records(entries []*entry) []Record {
	list := make([]Record, len(entries))
	for i, e := range entries {
		list[i] = e.record()
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
	if own != nil && (m.shard(own) != s || own.session() != a.Record.Session) {
		own = nil // the key is another login's by now
	}
	if !commit {
		m.giveBack(s, u, own)
		return Settled{Record: a.Record}, nil
	}
	if own != nil {
		own = m.present(own)
	}
	if own == nil || own.state != StateReserved {
		return settledBefore(own, a), nil
	}
	now := time.Now()
	// Every marked session has to be dead before this one lives, also those that
	// another login has marked and not ended yet. The cap would not hold
	// otherwise. This session may be among them.
	var out Settled
	end := func(e *entry, ending Ending) {
		ending.At = now
		if m.end(e, ending, now) {
			out.Ended = append(out.Ended, e.record())
		}
	}
	for _, e := range slices.Clone(u.sessions) {
		if e.marked() {
			end(e, *e.pending.victim)
		}
	}
	if i, want := slices.Index(u.sessions, own), own.claims(); i >= 0 && want != nil {
		for _, e := range slices.Clone(u.sessions[:i]) { // another login had marked him first, and has failed
			if want.names(e) {
				end(e, want.endingFor(e))
			}
		}
	}
	for _, e := range u.beyond(own) {
		ending := Ending{Kind: EventLogout, Reason: EndEvicted, Detail: own.session(), Keep: own.conditions().keep}
		if e == own {
			ending.Reason, ending.Detail = EndAborted, "limit"
		}
		end(e, ending)
	}
	rec := own.record()
	if rec.State != StateReserved {
		out.Record = rec
		return out, nil
	}
	rec.State, rec.Lease, rec.Seq = StateLive, time.Time{}, a.Record.Seq
	m.write(own, &rec)
	own.pending = nil // nobody has marked it
	s.queue.schedule(own, own.due())
	for _, e := range u.sessions {
		if e != own {
			other := e.record()
			other.Warn(Warning{Time: rec.Created, Session: rec.Session, IP: rec.IP, UserAgent: rec.UserAgent})
			m.write(e, &other)
		}
	}
	out.Live, out.Record = true, own.record()
	return out, nil
}

// settledBefore is the answer for an admission that is over.
func settledBefore(own *entry, a Admitted) Settled {
	if own != nil {
		return Settled{Live: own.state == StateLive, Record: own.record()}
	}
	return Settled{Record: Record{Session: a.Record.Session, User: a.Record.User, State: StateEnded,
		Ending: Ending{Kind: EventLogout, Reason: EndAborted, At: time.Now()}}}
}

// giveBack undoes a reservation that nobody has learned of.
func (m *MemoryRegistry) giveBack(s *userShard, u *memoryUser, own *entry) {
	if own == nil || own.state != StateReserved {
		return
	}
	u.handDown(own)
	s.remove(u, own, time.Now())
	m.removeExternal(own)
	s.queue.remove(own)
	m.drop(own)
}
