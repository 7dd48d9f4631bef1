package registrytest

import (
	"fmt"
	"time"

	"github.com/scsguard/scsguard"
)

// Who goes for a login because the login says so, who goes although it was
// somebody else who wanted that, and what happens if that was not enough.

func roomChecks() []check {
	return []check{
		{name: "what a login replaces or its user chose ends whatever the limit, and evicts nobody else", run: namedAlwaysEnd},
		{name: "a refusal by the limit marks nobody", run: refusalMarksNobody},
		{name: "who has to go for two logins goes if one of them fails", run: namedTwice},
		{name: "a victim that was handed down ends as evicted", run: handedDownAsEvicted},
		{name: "without room EvictOldest ends the oldest, and Deny ends the login", run: withoutRoom},
		{name: "an ending has the time at which it happened", run: endingsHaveTheirTime},
	}
}

func namedAlwaysEnd(t *trial) {
	for i, limit := range []scsguard.Limit{noCap, warn(1), deny(5), evict(5)} {
		user := fmt.Sprintf("user %d", i)
		stays := t.login(user, noCap)
		for reason, name := range map[scsguard.EndReason]func(*scsguard.Admission, string){
			scsguard.EndReplaced: func(a *scsguard.Admission, session string) { a.Replaces = session },
			scsguard.EndUser:     func(a *scsguard.Admission, session string) { a.End = session },
		} {
			victim := t.login(user, noCap)
			a := t.admission(user, limit)
			name(&a, victim.Session)
			adm := t.reserve(a)
			t.wantSessions("Others", adm.Others, stays)
			t.wantLive(user, stays, victim)
			before := t.get(victim.Key)
			s := t.settle(adm, true)
			t.wantSessions("Ended", s.Ended, victim)
			t.wantEnded("Settle", s.Ended[0], before, scsguard.EventLogout, reason)
			t.wantLive(user, stays, s.Record)
			t.ended(s.Record, scsguard.EndUser)
		}
	}
	// Three go, so there is room for two, and the oldest stays.
	token := t.key()
	live := t.logins(3, "alice", noCap)
	tab := t.admission("alice", noCap)
	tab.Browser = token
	live = append(live, t.complete(tab).Record)
	a := t.admission("alice", evict(2))
	a.Replaces, a.End, a.Browser = live[1].Session, live[2].Session, token
	adm := t.reserve(a)
	t.wantSessions("Others", adm.Others, live[0])
	s := t.settle(adm, true)
	t.wantSessions("Ended, oldest first", s.Ended, live[1:]...)
	t.wantLive("alice", live[0], s.Record)
}

func refusalMarksNobody(t *trial) {
	live := t.logins(3, "alice", noCap)
	a := t.admission("alice", deny(1))
	a.Replaces = live[2].Session
	adm := t.admit(a)
	if adm.Denied != scsguard.DeniedLimit {
		t.failf("a login that replaces one of three sessions is let in at a cap of one (Denied is %q)", adm.Denied)
	}
	t.wantSessions("Others of a refusal", adm.Others, live[:2]...)
	s := t.complete(t.admission("alice", noCap))
	t.wantSessions("Ended by a login after the refusal", s.Ended)
	t.wantLive("alice", append(live, s.Record)...)
}

// namedTwice: two logins want the end of one session, and one of them fails. That
// is no reason for the other to leave its browser with two sessions.
func namedTwice(t *trial) {
	token := t.key()
	for what, name := range map[string]func(*scsguard.Admission, string){
		"replaced":         func(a *scsguard.Admission, session string) { a.Replaces = session },
		"chosen":           func(a *scsguard.Admission, session string) { a.End = session },
		"of one browser":   func(a *scsguard.Admission, _ string) { a.Browser = token },
		"replaced by both": func(a *scsguard.Admission, session string) { a.Replaces = session },
	} {
		for _, laterFails := range []bool{false, true} {
			user := fmt.Sprintf("%s %v", what, laterFails)
			b := t.admission(user, noCap)
			b.Browser = token
			victim := t.complete(b).Record
			earlier, later := t.admission(user, evict(1)), t.admission(user, noCap)
			name(&later, victim.Session)
			if what == "replaced by both" {
				earlier.Limit = noCap
				name(&earlier, victim.Session)
			}
			failing, going := t.reserve(earlier), t.reserve(later)
			if laterFails {
				failing, going = going, failing
			}
			t.settle(failing, false)
			t.wantLive(user, victim)
			s := t.settle(going, true)
			if !s.Live {
				t.failf("%s: the login is %v (%s)", what, s.Record.State, s.Record.Ending.Reason)
			}
			t.wantSessions("Ended, "+what, s.Ended, victim)
			t.wantLive(user, s.Record)
		}
	}
}

// handedDownAsEvicted: the login that was to replace the session has failed, so
// it makes room for another one and is not replaced by it.
func handedDownAsEvicted(t *trial) {
	for what, tab := range map[string]bool{"evicting": false, "from another tab": true} {
		old := t.login(what, evict(1))
		a, b := t.admission(what, evict(1)), t.admission(what, evict(1))
		a.Replaces = old.Session
		if tab {
			a.Browser = t.key()
			b.Browser = a.Browser
		}
		first, second := t.reserve(a), t.reserve(b)
		t.settle(first, false)
		before := t.get(old.Key)
		s := t.settle(second, true)
		t.wantSessions("Ended, "+what, s.Ended, old)
		t.wantEnded("Settle, "+what, s.Ended[0], before, scsguard.EventLogout, scsguard.EndEvicted)
		t.wantLive(what, s.Record)
	}
}

// withoutRoom: a login that would have ended two sessions has failed. Another
// one was let in meanwhile, since it would have been the second, and is the third.
func withoutRoom(t *trial) {
	for name, limit := range map[string]scsguard.Limit{"evicting": evict(2), "denying": deny(2)} {
		live := t.logins(2, name, noCap)
		a := t.admission(name, evict(2))
		a.Replaces, a.End = live[0].Session, live[1].Session
		failing := t.reserve(a)
		adm := t.admit(t.admission(name, limit))
		t.settle(failing, false)
		if adm.Denied != "" {
			continue // who does not count on a place has room for everybody whom he lets in
		}
		oldest := t.get(live[0].Key)
		s := t.settle(adm, true)
		if limit.OnExceed == scsguard.EvictOldest {
			if !s.Live {
				t.failf("the login is %v (%s), although the oldest has to go", s.Record.State, s.Record.Ending.Reason)
			}
			t.wantSessions("Ended, evicting", s.Ended, live[0])
			t.wantEnded("Settle", s.Ended[0], oldest, scsguard.EventLogout, scsguard.EndEvicted)
			t.wantLive(name, live[1], s.Record)
			continue
		}
		if s.Live || s.Record.State != scsguard.StateEnded || s.Record.Ending.Reason != scsguard.EndAborted {
			t.failf("the login is %v (%s), not aborted for want of room", s.Record.State, s.Record.Ending.Reason)
		}
		t.wantSessions("Ended, denying", s.Ended, adm.Record)
		if e := s.Ended[0].Ending; e.Kind != scsguard.EventLogout || e.Reason != scsguard.EndAborted {
			t.failf("Ended: the login ended as %s %q, not as aborted", e.Kind, e.Reason)
		}
		t.wantState(adm.Record, scsguard.StateEnded)
		t.wantLive(name, live...)
		t.ended(live[0], scsguard.EndUser)
		t.wantLive(name, live[1], t.login(name, deny(2))) // and its place is free
	}
}

// endingsHaveTheirTime: a login may be slow, and a sweep repeated.
func endingsHaveTheirTime(t *trial) {
	at := ago(time.Hour)
	now := func(what string, recs ...scsguard.Record) {
		if len(recs) != 1 {
			t.failf("%s: %d sessions end, not one", what, len(recs))
		}
		if e := recs[0].Ending; !near(e.At, time.Now()) {
			t.failf("%s: the session ended at %v, not now", what, e.At)
		}
	}
	t.login("alice", noCap)
	a := t.admission("alice", evict(1))
	a.By.At = at
	now("evicted by a login", t.complete(a).Ended...)

	t.complete(t.stale("bob"))
	a = t.admission("bob", noCap)
	a.By.At = at
	now("overdue at a login", t.reserve(a).Overdue...)

	rec := t.complete(t.stale("carol")).Record
	e := ending("")
	e.At = at
	dead, _ := t.end(scsguard.Target{Key: rec.Key, IfDue: true}, e)
	now("ended if due", dead)
}
