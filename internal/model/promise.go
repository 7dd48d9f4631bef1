package model

import "fmt"

// A Promise is what the registry owes those who call it.
type Promise uint8

const (
	Cap       Promise = iota + 1 // never more sessions alive than the cap, and none under two keys
	Gone                         // what was ended stays ended, and nobody outlives an EndAll
	OneEnding                    // a session that is over has exactly one ending in the trail, and a living one never has one
	Index                        // the index is what the records say, and no more are evicted or denied than must be
	Cause                        // nobody is ended without a cause
)

func (p Promise) String() string {
	return [...]string{"", "Cap", "Gone", "OneEnding", "Index", "Cause"}[p]
}

func broken(p Promise, format string, args ...any) error {
	return &Violation{Promise: p, Detail: fmt.Sprintf(format, args...)}
}

// check asks for every promise: of the state itself, and of what is left if
// everybody crashes in it.
func (m *machine) check(s *state) error {
	alive, twice := s.alive()
	if twice != 0 {
		return broken(Cap, "session %d is alive under two keys", twice.first())
	}
	if alive.len() > m.Cap {
		return broken(Cap, "%d sessions are alive", alive.len())
	}
	for i := range uint8(maxSessions) {
		if err := checkSession(&s.slots, i, alive.has(i)); err != nil {
			return err
		}
	}
	for k, r := range s.records {
		switch {
		case r.reason == timedOut && !r.due:
			return broken(Cause, "session %d timed out, but it had been touched", r.session)
		case r.reason == lost && s.data.has(uint8(k)):
			return broken(Cause, "session %d was ended for lost data, but it is there", r.session)
		}
	}
	if err := m.checkOutcomes(s, alive); err != nil {
		return err
	}
	if _, known := m.rested[s.slots]; known {
		return nil
	}
	m.rested[s.slots] = struct{}{}
	return m.checkAtRest(s.slots)
}

// checkSession asks what must hold for a session at every moment.
func checkSession(s *slots, i uint8, alive bool) error {
	switch {
	case s.wins[i] > 1:
		return broken(OneEnding, "two callers were told that they ended session %d", i)
	case s.endings[i] > 1:
		return broken(OneEnding, "session %d has two endings in the trail", i)
	case alive && s.wins[i] > 0:
		return broken(Gone, "session %d has ended and is alive", i)
	case alive && s.endings[i] > 0:
		return broken(OneEnding, "session %d is alive, and its ending is in the trail", i)
	case alive && !s.places[i].taken():
		return broken(Index, "session %d is alive and has no place", i)
	}
	return nil
}

// checkOutcomes compares what callers were told with what is.
func (m *machine) checkOutcomes(s *state, alive set) error {
	logins, admitted, allDone, others := 0, 0, true, false
	for i, p := range m.Processes {
		now := s.processes[i]
		switch p.start.at {
		case allIntent:
			others = true
			if early := alive &^ m.late; now.outcome == succeeded && early != 0 {
				return broken(Gone, "session %d is alive after EndAll", early.first())
			}
		case detachRecord:
			others = true
			if now.outcome == wasDestroyed && alive.has(now.session) {
				return broken(Gone, "session %d is alive, but the application destroyed it", now.session)
			}
		case loginQueue:
			logins++
			allDone = allDone && now.at == done && now.outcome != failed
			if now.outcome == succeeded || now.outcome == buried {
				admitted++
			}
		default:
			others = true
		}
	}
	if !allDone || others {
		return nil
	}
	return m.checkCounts(s, logins, admitted)
}

// checkCounts asks for the exact numbers, where there were only logins and each
// came to its end. A login whose lease ran out, and sessions without data, which
// are nobody's, are not foreseen in them.
func (m *machine) checkCounts(s *state, logins, admitted int) error {
	evictions := 0
	for _, r := range s.records {
		switch r.reason {
		case abandoned, lost:
			return nil
		case evicted:
			evictions++
		}
	}
	if m.Deny {
		if want := min(logins, m.Cap-m.Live); admitted != want {
			return broken(Index, "%d logins were admitted, not %d", admitted, want)
		}
		return nil
	}
	if want := max(0, m.Live+logins-m.Cap); evictions != want {
		return broken(Index, "%d sessions were evicted, not %d", evictions, want)
	}
	return nil
}

// checkAtRest supposes that nobody takes another step, except a sweep that finds
// all leases over. After it, the books must balance. They must again when later
// all sessions are past their limits.
func (m *machine) checkAtRest(s slots) error {
	if !m.sweepUntilRest(&s) {
		return broken(Index, "the sweep does not come to rest: %v", &s)
	}
	alive, _ := s.alive()
	if early := alive &^ m.late; s.notBefore > 0 && early != 0 {
		return broken(Gone, "session %d is alive after EndAll and the sweep", early.first())
	}
	for i := range uint8(maxSessions) {
		counts := s.places[i].taken() && s.places[i].victim == 0
		switch {
		case alive.has(i) && s.endings[i] > 0:
			return broken(OneEnding, "after the sweep session %d is alive, and its ending is in the trail", i)
		case !alive.has(i) && s.logins.has(i) && s.endings[i] != 1:
			return broken(OneEnding, "after the sweep session %d is over, with %d endings in the trail", i, s.endings[i])
		case alive.has(i) && !counts:
			return broken(Index, "after the sweep session %d is alive and does not count", i)
		case !alive.has(i) && s.places[i].taken():
			return broken(Index, "after the sweep session %d has a place and is not alive", i)
		case !alive.has(i) && s.due.has(i):
			return broken(Index, "after the sweep session %d is over and still looked at", i)
		}
	}
	for k := range s.records {
		if s.aliveAt(uint8(k)) {
			s.records[k].life, s.records[k].due = live, true
		}
	}
	if !m.sweepUntilRest(&s) {
		return broken(Index, "the last sweep does not come to rest: %v", &s)
	}
	for i := range uint8(maxSessions) {
		if s.logins.has(i) && s.endings[i] != 1 {
			return broken(OneEnding, "past its limit session %d has %d endings in the trail", i, s.endings[i])
		}
	}
	return nil
}

// sweepUntilRest lets one sweep look at every entry, again and again until
// nothing changes. It returns false if that does not happen.
func (m *machine) sweepUntilRest(s *slots) bool {
	const rounds, steps = 5, 100
	t := m.sweeper
	t.state = state{slots: *s}
	t.processes[0].at = sweepPick
	for range rounds {
		before := t.state
		for e := range uint8(intent + 1) {
			if !t.due.has(e) {
				continue
			}
			way := t.due.below(e).len()
			for range steps {
				now := t.state
				t.take(&now, 0, way)
				way = 0
				if t.me.at == sweepPick {
					break
				}
			}
		}
		if t.state == before {
			*s = t.slots
			return true
		}
	}
	return false
}
