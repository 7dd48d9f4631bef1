package scsguard

import (
	"context"
	"time"
)

// end makes an entry dead and puts it into the outbox. It reports whether this
// call did it. The entry's shard is locked.
func (m *MemoryRegistry) end(e *entry, ending Ending, now time.Time) bool {
	rec := &e.rec
	if !rec.End(ending) {
		return false
	}
	u := e.shard.user(rec.User)
	u.handDown(rec.Session)
	delete(u.places, rec.Session)
	m.removeExternal(e)
	e.keep = max(e.keep, ending.Keep)
	e.shard.queue.schedule(&e.node, now.Add(Lease))
	m.watchers.tell(*rec)
	return true
}

// tombstoneUntil is when an entry that is dead and told of may be forgotten.
func (e *entry) tombstoneUntil(now time.Time) time.Time {
	until := e.rec.Absolute
	if least := now.Add(e.keep); until.Before(least) {
		until = least
	}
	return until.Add(TombstoneMargin)
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
	defer e.shard.mu.Unlock()
	if t.Exact && e.rec.State != StateLive {
		return e.rec, false, nil
	}
	if e.rec.State == StateMoved && ending.Reason == EndReplaced {
		e.rec.ReplacedAt = ending.At
	}
	e = m.present(e)
	now := time.Now()
	if t.IfDue {
		overdue, over := e.rec.Overdue(now)
		if !over {
			return e.rec, false, nil
		}
		overdue.Keep = ending.Keep
		ending = overdue
	}
	won := m.end(e, ending, now)
	if !won && e.rec.State == StateEnded && ending.Reason == EndReplaced {
		e.rec.ReplacedAt = ending.At
	}
	return e.rec, won, nil
}

// target finds the entry of a target and locks its shard, or returns nil.
func (m *MemoryRegistry) target(t Target) *entry {
	if t.Key != "" {
		return m.locked(t.Key)
	}
	s := m.userShard(t.User)
	s.mu.Lock()
	if u := s.users[t.User]; u != nil {
		if p := u.places[t.Session]; p != nil {
			return p.entry
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
	e := &entry{
		rec: Record{Session: t.Session, User: t.User, Key: t.Key, State: StateEnded, Ending: ending,
			Confirmed: t.Session == "", Absolute: now},
		shard: m.userShard(""), keep: ending.Keep, retention: max(ending.Keep, TombstoneMargin),
	}
	if ending.Reason == EndReplaced {
		e.rec.ReplacedAt = ending.At
	}
	e.node.entry = e
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	if !m.create(e) {
		return Record{}, false
	}
	look := e.tombstoneUntil(now)
	if !e.rec.Confirmed {
		look = now.Add(Lease)
	}
	e.shard.queue.schedule(&e.node, look)
	return e.rec, true
}

// EndAll ends many sessions.
func (m *MemoryRegistry) EndAll(_ context.Context, r Revocation) (Revoked, error) {
	var out Revoked
	sweep := func(s *userShard, entries []*entry) {
		now := time.Now()
		for _, e := range entries {
			if e.rec.Session == r.Except {
				continue
			}
			if overdue, over := e.rec.Overdue(now); over { // it was over before, and says so
				overdue.Keep = r.Ending.Keep
				if m.end(e, overdue, now) {
					s.queue.schedule(&e.node, now)
				}
				continue
			}
			if !m.end(e, r.Ending, now) {
				continue
			}
			out.Total++
			if len(out.Ended) < MaxRevoked {
				out.Ended = append(out.Ended, e.rec)
			} else {
				s.queue.schedule(&e.node, now) // for the next Due
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
				all = append(all, u.entries()...)
			}
			sweep(s, all)
			s.mu.Unlock()
		}
	case r.External != "":
		for _, e := range m.closeExternal(r.External) {
			e.shard.mu.Lock()
			sweep(e.shard, []*entry{m.present(e)})
			e.shard.mu.Unlock()
		}
	default:
		s := m.userShard(r.User)
		s.mu.Lock()
		defer s.mu.Unlock()
		u := s.user(r.User)
		out.Before = u.notBefore
		if everyone := m.everyone.Load(); everyone != nil && everyone.After(out.Before) {
			out.Before = *everyone
		}
		u.notBefore = time.Now()
		s.remember(u, u.notBefore)
		sweep(s, u.entries())
	}
	return out, nil
}

// entries returns what the user holds, oldest first.
func (u *memoryUser) entries() []*entry {
	var list []*entry
	for _, p := range u.sorted() {
		list = append(list, p.entry)
	}
	return list
}

// Confirm says that the ending is in the trail.
func (m *MemoryRegistry) Confirm(_ context.Context, rec Record) error {
	e := m.locked(rec.Key)
	if e == nil {
		return nil
	}
	defer e.shard.mu.Unlock()
	if e.rec.State == StateEnded && !e.rec.Confirmed {
		e.rec.Confirmed = true
		e.shard.queue.schedule(&e.node, e.tombstoneUntil(time.Now()))
	}
	return nil
}

// The index of external IDs. Its lock is taken while a user shard is locked,
// never the other way round.

// addExternal enters e, unless the ID was ended after the user proved who he is.
func (m *MemoryRegistry) addExternal(e *entry, authenticated time.Time) bool {
	if e.rec.External == "" {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if authenticated.Before(m.closed[e.rec.External]) {
		return false
	}
	set := m.externals[e.rec.External]
	if set == nil {
		set = make(map[*entry]struct{})
		m.externals[e.rec.External] = set
	}
	set[e] = struct{}{}
	return true
}

// moveExternal lets a session be found under its new key, and at no moment under
// none.
func (m *MemoryRegistry) moveExternal(from, to *entry) {
	if from.rec.External == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	set := m.externals[from.rec.External]
	delete(set, from)
	set[to] = struct{}{}
}

func (m *MemoryRegistry) removeExternal(e *entry) {
	if e.rec.External == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	set := m.externals[e.rec.External]
	delete(set, e)
	if len(set) == 0 {
		delete(m.externals, e.rec.External)
	}
}

// closeExternal refuses later logins under an external ID and returns the
// sessions that have it. It is remembered for an hour: longer than a login can
// be in progress at the identity provider.
func (m *MemoryRegistry) closeExternal(id string) []*entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed[id] = time.Now()
	list := make([]*entry, 0, len(m.externals[id]))
	for e := range m.externals[id] {
		list = append(list, e)
	}
	return list
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
