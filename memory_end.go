package scsguard

import (
	"context"
	"slices"
	"strings"
	"time"
)

// end makes an entry dead and puts it into the outbox. It reports whether this
// call did it. The entry's shard is locked.
func (m *MemoryRegistry) end(e *entry, ending Ending, now time.Time) bool {
	rec := e.record()
	if !rec.End(ending) {
		return false
	}
	s := m.shard(e)
	u := s.user(rec.User)
	u.handDown(e)
	s.remove(u, e, now)
	m.removeExternal(e)
	c := e.conditions()
	c.keep = max(c.keep, ending.Keep)
	m.writeWith(e, &rec, c)
	s.queue.schedule(e, now.Add(Lease))
	m.watchers.tell(rec)
	return true
}

// tombstoneUntil is when an entry that is dead and told of may be forgotten.
func (e *entry) tombstoneUntil(now time.Time) time.Time {
	until := e.record().Absolute
	if least := now.Add(e.conditions().keep); until.Before(least) {
		until = least
	}
	return until.Add(TombstoneMargin)
}

// replaced notes that a login took over from a token that is worth nothing any more.
func (m *MemoryRegistry) replaced(e *entry, at time.Time) {
	rec := e.record()
	rec.ReplacedAt = at
	m.write(e, &rec)
}

// End ends one session.
func (m *MemoryRegistry) End(_ context.Context, t Target, ending Ending) (Record, bool, error) {
	e := m.target(t)
	for e == nil {
		if t.Key == "" || t.IfDue || t.Exact {
			return Record{}, false, nil
		}
		if rec, ok := m.bury(t, ending); ok {
			return rec, t.Session != "", nil
		}
		e = m.target(t) // something has come to lie there meanwhile
	}
	defer m.shard(e).mu.Unlock()
	if t.Exact && e.state != StateLive {
		return e.record(), false, nil
	}
	if e.state == StateMoved && ending.Reason == EndReplaced {
		m.replaced(e, ending.At)
	}
	e = m.present(e)
	now := time.Now()
	if t.IfDue {
		overdue, over := e.overdue(now)
		if !over {
			return e.record(), false, nil
		}
		overdue.Keep = ending.Keep
		ending = overdue
	}
	won := m.end(e, ending, now)
	if !won && e.state == StateEnded && ending.Reason == EndReplaced {
		m.replaced(e, ending.At)
	}
	return e.record(), won, nil
}

// target finds the entry of a target and locks its shard, or returns nil.
func (m *MemoryRegistry) target(t Target) *entry {
	if t.Key != "" {
		return m.locked(t.Key)
	}
	s := m.userShard(t.User)
	s.mu.Lock()
	if u := s.users[t.User]; u != nil {
		if e := u.session(t.Session); e != nil {
			return e
		}
	}
	s.mu.Unlock()
	return nil
}

// bury puts a tombstone under a key that nothing is known of. If it is that of a
// session which has lost its record, the ending has to be told of. It reports
// whether there was room for a tombstone.
func (m *MemoryRegistry) bury(t Target, ending Ending) (Record, bool) {
	now := time.Now()
	rec := Record{Session: t.Session, User: t.User, Key: t.Key, State: StateEnded, Ending: ending,
		Confirmed: t.Session == "", Absolute: now}
	if ending.Reason == EndReplaced {
		rec.ReplacedAt = ending.At
	}
	own((*string)(&rec.Key), &rec.Session, &rec.User)
	e := &entry{shard: m.shardIndex("")}
	e.write(&rec, conditions{keep: ending.Keep, retention: max(ending.Keep, TombstoneMargin)})
	s := m.shard(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.create(e) {
		return Record{}, false
	}
	look := e.tombstoneUntil(now)
	if !rec.Confirmed {
		look = now.Add(Lease)
	}
	s.queue.schedule(e, look)
	return rec, true
}

// EndAll ends many sessions.
func (m *MemoryRegistry) EndAll(_ context.Context, r Revocation) (Revoked, error) {
	var out Revoked
	sweep := func(s *userShard, entries []*entry) {
		now := time.Now()
		for _, e := range entries {
			if e.session() == r.Except {
				continue
			}
			if overdue, over := e.overdue(now); over { // it was over before, and says so
				overdue.Keep = r.Ending.Keep
				if m.end(e, overdue, now) {
					s.queue.schedule(e, now)
				}
				continue
			}
			if !m.end(e, r.Ending, now) {
				continue
			}
			out.Total++
			if len(out.Ended) < MaxRevoked {
				out.Ended = append(out.Ended, e.record())
			} else {
				s.queue.schedule(e, now) // for the next Due
			}
		}
	}
	switch {
	case r.Everyone:
		now := time.Now()
		m.everyone.Store(&now) // before the first user is visited: later logins see it, earlier ones are found
		for i := range m.users {
			s := &m.users[i]
			s.mu.Lock()
			var all []*entry
			for _, u := range s.users {
				all = append(all, u.sessions...)
			}
			sweep(s, all)
			s.mu.Unlock()
		}
	case r.External != "":
		for _, e := range m.closeExternal(r.External) {
			s := m.shard(e)
			s.mu.Lock()
			sweep(s, []*entry{m.present(e)})
			s.mu.Unlock()
		}
	default:
		s := m.userShard(r.User)
		s.mu.Lock()
		defer s.mu.Unlock()
		u := s.user(r.User)
		p := u.before()
		out.Before = p.notBefore
		if everyone := m.everyone.Load(); everyone != nil && everyone.After(out.Before) {
			out.Before = *everyone
		}
		p.notBefore = time.Now()
		u.setPast(p)
		s.remember(u, p.notBefore)
		sweep(s, slices.Clone(u.sessions))
	}
	return out, nil
}

// Confirm says that the ending is in the trail.
func (m *MemoryRegistry) Confirm(_ context.Context, rec Record) error {
	e := m.locked(rec.Key)
	if e == nil {
		return nil
	}
	s, now := m.shard(e), e.record()
	defer s.mu.Unlock()
	if now.State == StateEnded && !now.Confirmed {
		now.Confirmed = true
		m.write(e, &now)
		s.queue.schedule(e, e.tombstoneUntil(time.Now()))
	}
	return nil
}

// The index of external IDs. Its lock is taken while a user shard is locked,
// never the other way round.

// addExternal enters e, unless the ID was ended after the user proved who he is.
func (m *MemoryRegistry) addExternal(e *entry, authenticated time.Time) bool {
	id := e.external()
	if id == "" {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if authenticated.Before(m.closed[id]) {
		return false
	}
	m.externals[id] = append(m.externals[id], e)
	return true
}

// moveExternal lets a session be found under its new key, and at no moment under
// none.
func (m *MemoryRegistry) moveExternal(from, to *entry) {
	if from.external() == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.externals[from.external()]
	list[slices.Index(list, from)] = to
}

func (m *MemoryRegistry) removeExternal(e *entry) {
	id := e.external()
	if id == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.externals[id]
	if i := slices.Index(list, e); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if m.externals[id] = list; len(list) == 0 {
		delete(m.externals, id)
	}
}

// closeExternal refuses later logins under an external ID and returns the
// sessions that have it. It is remembered for an hour: longer than a login can
// be in progress at the identity provider.
func (m *MemoryRegistry) closeExternal(id string) []*entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed[strings.Clone(id)] = time.Now()
	return slices.Clone(m.externals[id])
}

// forgetExternals drops what is remembered of external IDs for long enough.
func (m *MemoryRegistry) forgetExternals(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, at := range m.closed {
		if now.Sub(at) > TombstoneMargin {
			delete(m.closed, id)
		}
	}
}
