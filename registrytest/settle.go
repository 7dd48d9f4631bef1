package registrytest

import (
	"fmt"
	"time"

	"github.com/scsguard/scsguard"
)

// What becomes of the sessions that a login has marked, if other logins come
// between its Admit and its Settle, and what becomes of the login.

func settleChecks() []check {
	return []check{
		{name: "victims are alive until Settle", run: victimsLive},
		{name: "settling again changes nothing", run: settleAgain},
		{name: "settling again does not end the victims of others", run: settleAgainBesideOthers},
		{name: "settling again does nothing to another login under the key", run: settleAgainUnderItsKey},
		{name: "every marked session is dead before a new one lives", run: everyVictim},
		{name: "a login that another one has marked ends with its own Settle", run: markedLogin},
		{name: "a victim that moves is ended under its new key", run: victimMoves},
		{name: "a login that was ended before Settle never lives", run: endedBeforeSettle},
	}
}

func undoChecks() []check {
	return []check{
		{name: "giving a place back leaves everything as it was", run: giveBack},
		{name: "a login that is ended before it lives unmarks its victims", run: endedUnmarks},
		{name: "who is marked himself hands his victims down when he gives up", run: handDown},
		{name: "the cap holds for a login admitted while others made room", run: roomThatComesBack},
	}
}

func victimsLive(t *trial) {
	victim := t.login("alice", evict(1))
	adm := t.reserve(t.admission("alice", evict(1)))
	t.wantLive("alice", victim)
	if !t.touch(victim.Key, scsguard.Activity{At: time.Now(), Event: true}).Live {
		t.failf("a victim is not live before Settle")
	}
	if _, ended := t.end(scsguard.Target{Key: victim.Key, IfDue: true}, ending(scsguard.EndIdle)); ended {
		t.failf("a victim is overdue")
	}
	s := t.settle(adm, true)
	t.wantSessions("Ended", s.Ended, victim)
	if s.Ended[0].Seq != victim.Seq+2 {
		t.failf("the ending has the number %d, not %d: an event between Admit and Settle is lost", s.Ended[0].Seq, victim.Seq+2)
	}
	if t.touch(victim.Key, scsguard.Activity{At: time.Now()}).Live {
		t.failf("a victim is live after Settle")
	}
	t.wantState(victim, scsguard.StateEnded)
	t.wantLive("alice", s.Record)
}

func settleAgain(t *trial) {
	other := t.login("alice", noCap)
	adm := t.reserve(t.admission("alice", noCap))
	s := t.settle(adm, true)
	t.touch(other.Key, scsguard.Activity{TakeWarnings: true})
	t.touch(s.Record.Key, scsguard.Activity{Event: true})
	now := t.get(s.Record.Key)
	for _, commit := range []bool{true, false, true} {
		again := t.settle(adm, commit)
		if commit && (!again.Live || len(again.Ended) != 0) {
			t.failf("settled again, the session is %v and ended %s", again.Record.State, numbers(again.Ended))
		}
		t.wantRecord("Get", t.get(s.Record.Key), now)
		t.wantLive("alice", other, now)
	}
	if w := t.touch(other.Key, scsguard.Activity{TakeWarnings: true}).Warnings; len(w) != 0 {
		t.failf("settled again, a login warns the others again")
	}
	t.ended(now, scsguard.EndUser)
	if t.settle(adm, true).Live {
		t.failf("settled again, a session that has ended lives")
	}
	t.wantState(now, scsguard.StateEnded)

	undone := t.reserve(t.admission("alice", noCap))
	t.settle(undone, false)
	t.settle(undone, false)
	if t.settle(undone, true).Live {
		t.failf("a login that was undone lives")
	}
	t.wantLive("alice", other)
}

func settleAgainBesideOthers(t *trial) {
	undone := t.reserve(t.admission("alice", noCap))
	t.settle(undone, false)
	old := t.login("alice", noCap)
	done := t.reserve(t.admission("alice", noCap))
	live := t.settle(done, true).Record
	adm := t.reserve(t.admission("alice", evict(1))) // it has marked both, and may still be undone
	for _, again := range []scsguard.Admitted{undone, done} {
		if s := t.settle(again, true); len(s.Ended) != 0 {
			t.failf("settled again, a login ends %s", numbers(s.Ended))
		}
		t.wantLive("alice", old, live)
	}
	t.settle(adm, false)
	t.wantLive("alice", old, live)
}

// settleAgainUnderItsKey: the token of a login that failed may be that of the
// next one.
func settleAgainUnderItsKey(t *trial) {
	undone := t.reserve(t.admission("alice", deny(1)))
	t.settle(undone, false)
	a := t.admission("alice", deny(1))
	a.Record.Key = undone.Record.Key
	next := t.reserve(a)
	again := func() {
		for _, commit := range []bool{true, false} {
			if s := t.settle(undone, commit); s.Live {
				t.failf("settled again (commit %v), a login that was undone is live as %s", commit, short(s.Record.Session))
			}
		}
	}
	again()
	t.wantUnknown(next.Record.Key)
	s := t.settle(next, true)
	if !s.Live || s.Record.Session != next.Record.Session {
		t.failf("the login that has the key now is %v (%s)", s.Record.State, s.Record.Ending.Reason)
	}
	again()
	t.wantLive("alice", s.Record)
	t.ended(s.Record, scsguard.EndUser)
	t.wantLive("alice", t.login("alice", deny(1)))
}

func everyVictim(t *trial) {
	old := t.login("alice", evict(1))
	slow := t.reserve(t.admission("alice", evict(1)))
	fast := t.reserve(t.admission("alice", evict(1)))
	s := t.settle(fast, true)
	t.wantState(old, scsguard.StateEnded)
	t.wantLive("alice", s.Record)
	t.wantSessions("Ended", s.Ended, old, slow.Record)
	for _, rec := range s.Ended {
		if rec.State != scsguard.StateEnded || rec.Ending.Reason != scsguard.EndEvicted {
			t.failf("Ended: the session %s is %v (%s), not evicted", short(rec.Session), rec.State, rec.Ending.Reason)
		}
	}
	late := t.settle(slow, true)
	if late.Live || late.Record.Ending.Reason != scsguard.EndEvicted {
		t.failf("the slow login is %v (%s), not evicted", late.Record.State, late.Record.Ending.Reason)
	}
	t.wantSessions("Ended", late.Ended)
	t.wantLive("alice", s.Record)
}

func markedLogin(t *trial) {
	old := t.login("alice", evict(1))
	first := t.reserve(t.admission("alice", evict(1)))
	second := t.reserve(t.admission("alice", evict(1)))
	s := t.settle(first, true)
	if s.Live || s.Record.Ending.Reason != scsguard.EndEvicted {
		t.failf("a login marked by a later one is %v (%s), not evicted", s.Record.State, s.Record.Ending.Reason)
	}
	t.wantSessions("Ended", s.Ended, old, first.Record)
	t.wantLive("alice")
	t.wantState(first.Record, scsguard.StateEnded)
	t.wantLive("alice", t.settle(second, true).Record)
}

func victimMoves(t *trial) {
	for name, end := range map[string]func(a *scsguard.Admission, victim scsguard.Record){
		"evicted":  func(*scsguard.Admission, scsguard.Record) {},
		"replaced": func(a *scsguard.Admission, victim scsguard.Record) { a.Replaces = victim.Session },
	} {
		victim := t.login(name, evict(1))
		a := t.admission(name, evict(1))
		end(&a, victim)
		adm := t.reserve(a)
		moved := t.moved(victim)
		s := t.settle(adm, true)
		t.wantSessions("Ended", s.Ended, victim)
		if s.Ended[0].Key != moved.Key {
			t.failf("the victim is not ended under its present key, where its data lies")
		}
		t.wantState(moved, scsguard.StateEnded)
		t.wantLive(name, s.Record)
	}
}

// endedBeforeSettle: whatever ends a login in progress leaves a tombstone, and
// Settle tells of it.
func endedBeforeSettle(t *trial) {
	for name, end := range map[string]func(scsguard.Record){
		"by its key": func(rec scsguard.Record) { t.end(scsguard.Target{Key: rec.Key}, ending(scsguard.EndAborted)) },
		"by its session": func(rec scsguard.Record) {
			t.end(scsguard.Target{User: rec.User, Session: rec.Session}, ending(scsguard.EndAborted))
		},
	} {
		adm := t.reserve(t.admission(name, deny(1)))
		end(adm.Record)
		s := t.settle(adm, true)
		if s.Live || s.Record.State != scsguard.StateEnded || s.Record.Ending.Reason != scsguard.EndAborted {
			t.failf("a login that was ended %s is %v (%s) after Settle", name, s.Record.State, s.Record.Ending.Reason)
		}
		t.wantState(adm.Record, scsguard.StateEnded)
		t.wantLive(name, t.login(name, deny(1))) // and its place is free
	}
}

func giveBack(t *trial) {
	old := t.login("alice", evict(1))
	before := t.get(old.Key)
	a := t.admission("alice", evict(1))
	a.Record.External = "sid"
	adm := t.reserve(a)
	t.settle(adm, false)
	t.wantUnknown(adm.Record.Key)
	t.wantRecord("Get", t.get(old.Key), before)
	if n := t.admit(t.admission("alice", deny(1))); n.Denied != scsguard.DeniedLimit || len(n.Others) != 1 {
		t.failf("after a login was undone the only session does not fill the cap of one")
	}
	if _, total := t.endAll(scsguard.Revocation{External: "sid"}); total != 0 {
		t.failf("a login that was undone is ended")
	}
	s := t.complete(t.admission("alice", noCap)) // were the victim still marked, this would end it
	t.wantSessions("Ended", s.Ended)
	t.wantLive("alice", old, s.Record)
	t.ended(old, scsguard.EndUser)
	t.ended(s.Record, scsguard.EndUser)
	again := t.complete(t.admission("alice", deny(1)))
	t.wantLive("alice", again.Record)
}

func endedUnmarks(t *trial) {
	old := t.login("alice", evict(1))
	adm := t.reserve(t.admission("alice", evict(1)))
	t.end(scsguard.Target{Key: adm.Record.Key}, ending(scsguard.EndAborted))
	if s := t.settle(adm, true); s.Live || len(s.Ended) != 0 {
		t.failf("a login that was ended ends %s all the same", numbers(s.Ended))
	}
	t.wantLive("alice", old)
	s := t.complete(t.admission("alice", noCap))
	t.wantSessions("Ended", s.Ended)
	t.wantLive("alice", old, s.Record)
}

// handDown: the second login marks the first, which has marked the old session
// and gives up. The second was let in because two of three had to go.
func handDown(t *trial) {
	for i, giveUp := range []func(scsguard.Admitted){
		func(adm scsguard.Admitted) { t.settle(adm, false) },
		func(adm scsguard.Admitted) { t.end(scsguard.Target{Key: adm.Record.Key}, ending(scsguard.EndAborted)) },
		func(adm scsguard.Admitted) {
			t.end(scsguard.Target{User: adm.Record.User, Session: adm.Record.Session}, ending(scsguard.EndAdmin))
		},
	} {
		for _, commit := range []bool{true, false} {
			user := fmt.Sprintf("user %d %v", i, commit)
			old := t.login(user, evict(1))
			first := t.reserve(t.admission(user, evict(1)))
			second := t.reserve(t.admission(user, evict(1)))
			giveUp(first)
			t.wantLive(user, old)
			s := t.settle(second, commit)
			if !commit { // nobody needs the room any more
				t.wantLive(user, old, t.login(user, noCap))
				continue
			}
			if !s.Live {
				t.failf("the second login is %v (%s)", s.Record.State, s.Record.Ending.Reason)
			}
			t.wantSessions("Ended", s.Ended, old)
			t.wantLive(user, s.Record)
		}
	}
}

// roomThatComesBack: a login that makes room for itself twice over is undone.
// Another one that was admitted meanwhile may be refused, or be late, or evict:
// but there may not be more sessions than it was admitted under.
func roomThatComesBack(t *trial) {
	for name, second := range map[string]scsguard.Limit{"denying": deny(2), "evicting": evict(2)} {
		live := t.logins(2, name, noCap)
		a := t.admission(name, evict(2))
		a.Replaces, a.End = live[0].Session, live[1].Session
		first := t.reserve(a)
		adm := t.admit(t.admission(name, second))
		t.settle(first, false)
		if adm.Denied == "" {
			t.settle(adm, true)
		}
		if list := t.list(name); len(list) > 2 {
			t.failf("%s: after a login that had to end two sessions was undone, %s live at a cap of two", name, numbers(list))
		}

		name += " with a lower cap"
		t.logins(3, name, noCap)
		first = t.reserve(t.admission(name, evict(1)))
		adm = t.admit(t.admission(name, second))
		t.settle(first, false)
		if adm.Denied == "" && t.settle(adm, true).Live {
			if list := t.list(name); len(list) > 2 {
				t.failf("%s: after a login at a lower cap was undone, %s live at a cap of two", name, numbers(list))
			}
		}
	}
}
