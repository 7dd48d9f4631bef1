package registrytest

import (
	"fmt"
	"time"

	"github.com/scsguard/scsguard"
)

func dueChecks() []check {
	return []check{
		{name: "nothing is due that lives within its limits or is done with", run: nothingDue},
		{name: "Due hands out no more than asked for", run: dueIsBounded},
		{name: "what is due is handed out to one caller at a time", run: dueIsLeased},
		{name: "a session that was touched since its deadline is not due", run: touchedIsNotDue},
		{name: "confirming the living, the unknown, or again does nothing", run: confirmIsHarmless},
		{name: "a confirmed ending leaves its tombstone", run: confirmKeepsTombstone},
		{name: "who is told of an ending has the first lease to write it down", run: firstLease, long: true},
		{name: "an ending is handed out after a lease, unless it is confirmed", run: dueUntilConfirmed, long: true},
		{name: "what is overdue is handed out again after a lease", run: dueAgain, long: true},
	}
}

// nothingDue has ends confirmed at once by who ended them.
func nothingDue(t *trial) {
	live := t.logins(3, "alice", noCap)
	t.reserve(t.admission("alice", noCap))
	t.settle(t.reserve(t.admission("alice", noCap)), false)
	t.detached(live[0], owner, time.Minute)
	t.moved(live[1])
	t.end(scsguard.Target{Key: t.key()}, ending(scsguard.EndAborted))
	t.confirm(t.ended(live[2], scsguard.EndUser))
	t.confirm(t.ended(t.moved(t.login("bob", noCap)), scsguard.EndUser))
	t.login("bob", noCap)
	for _, rec := range t.complete(t.admission("bob", evict(1))).Ended {
		t.confirm(rec)
	}
	recs, _ := t.endAll(scsguard.Revocation{User: "bob"})
	for _, rec := range recs {
		t.confirm(rec)
	}
	t.wantSessions("Due", t.due(100))
}

// overdue logs n users in whose sessions are overdue at once.
func (t *trial) overdue(n int) []scsguard.Record {
	list := make([]scsguard.Record, n)
	for i := range list {
		list[i] = t.complete(t.stale(fmt.Sprintf("user %d", i))).Record
	}
	return list
}

func dueIsBounded(t *trial) {
	all := t.overdue(10)
	var got []scsguard.Record
	for _, n := range []int{0, 1, 3, 2, 100} {
		list := t.due(n)
		if want := min(n, len(all)-len(got)); len(list) != want {
			t.failf("Due(%d) hands out %d of %d records", n, len(list), len(all)-len(got))
		}
		got = append(got, list...)
	}
	t.wantSet("Due", got, all...)
	for _, rec := range got {
		t.wantRecord("Due", rec, t.get(rec.Key))
	}
}

func dueIsLeased(t *trial) {
	both := t.twice()
	all := both[0].overdue(40)
	lists := make([][]scsguard.Record, 8)
	t.crowd(len(lists), func(i int) {
		for range 8 {
			lists[i] = append(lists[i], both[i%2].due(3)...)
		}
	})
	var got []scsguard.Record
	for _, list := range lists {
		got = append(got, list...)
	}
	t.wantSet("Due, of eight callers at once", got, all...)
	t.wantSessions("Due, again at once", both[1].due(100))
}

func touchedIsNotDue(t *trial) {
	rec := t.complete(t.stale("alice")).Record
	t.touch(rec.Key, scsguard.Activity{At: ago(11 * time.Minute)})
	t.touch(rec.Key, scsguard.Activity{At: ago(time.Minute)})
	moving := t.complete(t.stale("bob")).Record
	rot := scsguard.Rotation{To: t.key(), At: time.Now(), Activity: ago(11 * time.Minute)}
	t.move(moving.Key, rot)
	t.touch(rot.To, scsguard.Activity{At: ago(time.Minute)})
	t.wantSessions("Due", t.due(10))
	t.wantLive("alice", rec)
	t.wantLive("bob", moving)
}

func confirmIsHarmless(t *trial) {
	rec, away := t.login("alice", noCap), t.login("alice", noCap)
	moved := t.moved(t.login("alice", noCap))
	t.detached(away, owner, time.Minute)
	reserved := t.reserve(t.admission("alice", noCap))
	for _, r := range []scsguard.Record{rec, away, moved, reserved.Record} {
		before := t.get(r.Key)
		r.State, r.Ending = scsguard.StateEnded, ending(scsguard.EndUser) // somebody is wrong
		t.confirm(r)
		t.wantRecord("after Confirm", t.get(r.Key), before)
	}
	live := t.settle(reserved, true)
	if !live.Live {
		t.failf("Confirm ends a login in progress")
	}
	t.wantLive("alice", rec, moved, live.Record)
	unknown := rec
	unknown.Key, unknown.State = t.key(), scsguard.StateEnded
	t.confirm(unknown)
	t.wantUnknown(unknown.Key)
	dead := t.ended(rec, scsguard.EndUser)
	for range 3 {
		t.confirm(dead)
	}
	if got := t.wantState(rec, scsguard.StateEnded); !got.Confirmed {
		t.failf("after Confirm the ending is not confirmed")
	}
}

func confirmKeepsTombstone(t *trial) {
	old := t.login("alice", noCap)
	dead := t.ended(t.moved(old), scsguard.EndAdmin)
	t.confirm(dead)
	got := t.wantState(dead, scsguard.StateEnded)
	if got.Ending.Reason != scsguard.EndAdmin || got.Session != dead.Session {
		t.failf("after Confirm the tombstone says %q, not why the session ended", got.Ending.Reason)
	}
	t.wantState(old, scsguard.StateMoved)
	a := t.admission("alice", noCap)
	a.Record.Key = dead.Key
	if adm := t.admit(a); adm.Denied == "" && t.settle(adm, true).Live {
		t.failf("after Confirm a session begins under the key of one that has ended")
	}
	if won, _ := t.move(t.login("alice", noCap).Key, scsguard.Rotation{To: dead.Key, At: time.Now()}); won {
		t.failf("after Confirm a session moves to the key of one that has ended")
	}
	if _, ended := t.end(scsguard.Target{Key: old.Key}, ending(scsguard.EndUser)); ended {
		t.failf("after Confirm a session ends again")
	}
	t.wantState(dead, scsguard.StateEnded)
}

// dueUntilConfirmed ends sessions in every way there is, as processes that die
// at once and confirm nothing.
func dueUntilConfirmed(t *trial) {
	var unconfirmed, confirmed []scsguard.Record
	note := func(recs ...scsguard.Record) {
		for i, rec := range recs {
			if i%2 == 0 {
				unconfirmed = append(unconfirmed, rec)
			} else {
				t.confirm(rec)
				confirmed = append(confirmed, rec)
			}
		}
	}
	note(t.ended(t.login("End", noCap), scsguard.EndUser), t.ended(t.moved(t.login("End", noCap)), scsguard.EndUser))
	t.logins(2, "Settle", noCap)
	note(t.complete(t.admission("Settle", evict(1))).Ended...)
	t.logins(2, "EndAll", noCap)
	recs, _ := t.endAll(scsguard.Revocation{User: "EndAll"})
	note(recs...)
	t.sideBySide(t.stale("Admit"), t.stale("Admit"))
	adm := t.reserve(t.admission("Admit", noCap))
	t.settle(adm, true)
	note(adm.Overdue...)
	var timedOut []scsguard.Record
	for _, rec := range t.sideBySide(t.stale("IfDue"), t.stale("IfDue")) {
		dead, _ := t.end(scsguard.Target{Key: rec.Key, IfDue: true}, ending(""))
		timedOut = append(timedOut, dead)
	}
	note(timedOut...)
	if len(unconfirmed) != 5 || len(confirmed) != 5 {
		t.failf("of 10 sessions %d and %d have ended", len(unconfirmed), len(confirmed))
	}
	seen := make(map[string]bool)
	t.eventually(scsguard.Lease+3*time.Second, func() bool {
		for _, rec := range t.due(100) {
			seen[rec.Session] = true
			t.wantRecord("Due", rec, t.get(rec.Key))
		}
		for _, rec := range unconfirmed {
			if !seen[rec.Session] {
				return false
			}
		}
		return true
	})
	for _, rec := range unconfirmed {
		if !seen[rec.Session] {
			t.failf("the ending of %s by %s is not handed out, although nobody has confirmed it", short(rec.Session), rec.User)
		}
	}
	for _, rec := range confirmed {
		if seen[rec.Session] {
			t.failf("the ending of %s by %s is handed out, although it was confirmed", short(rec.Session), rec.User)
		}
	}
}

// firstLease: were an ending handed out at once, every ending would be written
// twice, by who ended the session and by the next sweep.
func firstLease(t *trial) {
	started := time.Now()
	all := []scsguard.Record{t.ended(t.login("End", noCap), scsguard.EndUser), t.lose()}
	named := t.login("End by name", noCap)
	dead, _ := t.end(scsguard.Target{User: named.User, Session: named.Session}, ending(scsguard.EndUser))
	over := t.complete(t.stale("IfDue")).Record
	t.wantSessions("Due of what is overdue", t.due(10), over) // its lease is not that of the ending
	timedOut, _ := t.end(scsguard.Target{Key: over.Key, IfDue: true}, ending(""))
	all = append(all, dead, timedOut)
	t.complete(t.stale("Admit"))
	all = append(all, t.reserve(t.admission("Admit", noCap)).Overdue...)
	t.login("Settle", noCap)
	marked := t.reserve(t.admission("Settle", evict(1)))
	t.reserve(t.admission("Settle", evict(1)))
	all = append(all, t.settle(marked, true).Ended...) // an old session, and itself
	t.login("EndAll", noCap)
	recs, _ := t.endAll(scsguard.Revocation{User: "EndAll"})
	all = append(all, recs...)
	if len(all) != 8 {
		t.failf("of 8 sessions %d have ended", len(all))
	}
	due := make(map[string]bool)
	t.eventually(scsguard.Lease+3*time.Second, func() bool {
		list := t.due(100)
		for _, rec := range list {
			due[rec.Session] = true
			if rec.State == scsguard.StateEnded && time.Since(started) < scsguard.Lease {
				t.failf("the ending of %s by %s is handed out %v after somebody was told of it",
					short(rec.Session), rec.User, time.Since(started).Round(time.Millisecond))
			}
		}
		for _, rec := range all {
			if !due[rec.Session] {
				return false
			}
		}
		return true
	})
	for _, rec := range all {
		if !due[rec.Session] {
			t.failf("the ending of %s by %s is not handed out after a lease", short(rec.Session), rec.User)
		}
	}
}

func dueAgain(t *trial) {
	all := t.overdue(5)
	away := t.login("alice", noCap)
	t.detached(away, owner, time.Millisecond)
	all = append(all, away)
	t.wait(tick)
	t.wantSet("Due", t.due(100), all...)
	t.wantSessions("Due, again at once", t.due(100))
	t.afterLease()
	var got []scsguard.Record
	t.eventually(2*time.Second, func() bool {
		got = append(got, t.due(100)...)
		return len(got) >= len(all)
	})
	t.wantSet("Due, after a lease", got, all...)
	for _, rec := range all {
		if _, ended := t.end(scsguard.Target{Key: rec.Key, IfDue: true}, ending("")); !ended {
			t.failf("what Due hands out cannot be ended by IfDue")
		}
	}
}
