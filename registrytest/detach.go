package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

func detachChecks() []check {
	return []check{
		{name: "a detached session is dead to every reader", run: detachedIsDead},
		{name: "only who has detached a session moves it", run: detachedHasAnOwner},
		{name: "End ends a detached session", run: detachedIsEnded},
		{name: "a detached session keeps its place", run: detachedKeepsPlace},
		{name: "a detached session is due when its lease is over", run: detachedIsDue, long: true},
	}
}

func (t *trial) detached(rec scsguard.Record, by string, lease time.Duration) {
	now, detached := t.detach(rec.Key, by, lease)
	if !detached || now.State != scsguard.StateDetached || now.Session != rec.Session {
		t.failf("Detach answers %v, and that %s is %v", detached, short(now.Session), now.State)
	}
}

func detachedIsDead(t *trial) {
	rec, other := t.login("alice", noCap), t.login("alice", noCap)
	for range 2 { // detaching it again renews the lease
		t.detached(rec, owner, time.Minute)
		now := t.wantState(rec, scsguard.StateDetached)
		if !near(now.Lease, time.Now().Add(time.Minute)) {
			t.failf("the lease ends at %v, not in a minute", now.Lease)
		}
		t.wantLive("alice", other)
		if t.touch(rec.Key, scsguard.Activity{At: time.Now(), Event: true}).Live {
			t.failf("Touch says that a detached session is live")
		}
	}
	dead, moving := t.login("bob", noCap), t.login("bob", noCap)
	t.ended(dead, scsguard.EndUser)
	moved := t.moved(moving)
	for _, rec := range []scsguard.Record{dead, moving} {
		before := t.get(rec.Key)
		now, detached := t.detach(rec.Key, owner, time.Minute)
		if detached {
			t.failf("Detach of a session that is %v answers that it is detached", before.State)
		}
		t.wantRecord("Detach, of what lies under this very key", now, before)
		t.wantRecord("after a Detach", t.get(rec.Key), before)
	}
	t.wantLive("bob", moved)
}

// detachedHasAnOwner: a rotation in one request must not revive what another
// request has destroyed.
func detachedHasAnOwner(t *trial) {
	rec := t.login("alice", noCap)
	t.detached(rec, owner, time.Minute)
	for _, by := range []string{"request 2", ""} {
		if now, detached := t.detach(rec.Key, by, time.Hour); detached || now.State != scsguard.StateDetached {
			t.failf("%q detaches what another one has detached", by)
		}
		to := t.key()
		won, current := t.move(rec.Key, scsguard.Rotation{To: to, Owner: by, At: time.Now()})
		if won || current.State != scsguard.StateDetached {
			t.failf("%q moves what another one has detached: won %v, and the session is %v", by, won, current.State)
		}
		t.wantUnknown(to)
	}
	if lease := t.wantState(rec, scsguard.StateDetached).Lease; !near(lease, time.Now().Add(time.Minute)) {
		t.failf("somebody else's Detach renews the lease, to %v", lease)
	}
	to := t.key()
	won, current := t.move(rec.Key, scsguard.Rotation{To: to, Owner: owner, At: time.Now()})
	if !won || current.State != scsguard.StateLive || current.Key != to {
		t.failf("who has detached the session cannot move it: won %v, and it is %v", won, current.State)
	}
	t.wantState(rec, scsguard.StateMoved)
	t.wantLive("alice", current)
	t.detached(current, "request 2", time.Minute) // it is nobody's again
}

func detachedIsEnded(t *trial) {
	live := t.logins(4, "alice", noCap)
	for _, rec := range live {
		t.detached(rec, owner, time.Minute)
	}
	want := t.get(live[0].Key)
	dead, ended := t.end(scsguard.Target{Key: live[0].Key}, ending(scsguard.EndDestroyed))
	if !ended {
		t.failf("a detached session cannot be ended by its key: it is %v", dead.State)
	}
	t.wantEnded("End", dead, want, scsguard.EventLogout, scsguard.EndDestroyed)
	if dead, ended = t.end(scsguard.Target{User: "alice", Session: live[1].Session}, ending(scsguard.EndUser)); !ended {
		t.failf("a detached session cannot be ended by its name: it is %v", dead.State)
	}
	recs, total := t.endAll(scsguard.Revocation{User: "alice"})
	if total != 2 {
		t.failf("EndAll ends %d of 2 detached sessions", total)
	}
	t.wantSet("EndAll", recs, live[2:]...)
	for _, rec := range live {
		t.wantState(rec, scsguard.StateEnded)
		if won, _ := t.move(rec.Key, scsguard.Rotation{To: t.key(), Owner: owner, At: time.Now()}); won {
			t.failf("a session that was ended while it was detached moves")
		}
	}
	t.wantLive("alice")
}

// detachedKeepsPlace: it may come back without asking anybody.
func detachedKeepsPlace(t *trial) {
	for name, limit := range map[string]scsguard.Limit{"denying": deny(1), "evicting": evict(1)} {
		rec := t.login(name, limit)
		t.detached(rec, owner, time.Minute)
		if adm := t.admit(t.admission(name, limit)); adm.Denied == "" {
			t.settle(adm, true)
		}
		t.move(rec.Key, scsguard.Rotation{To: t.key(), Owner: owner, At: time.Now()})
		if list := t.list(name); len(list) != 1 {
			t.failf("%s: beside a detached session that came back %s live at a cap of one", name, numbers(list))
		}
	}
}

func detachedIsDue(t *trial) {
	abandoned, renewed := t.login("alice", deny(2)), t.login("alice", deny(2))
	const lease = time.Second
	t.detached(abandoned, owner, lease)
	t.detached(renewed, owner, lease)
	t.detached(renewed, owner, time.Hour)
	var due []scsguard.Record
	t.eventually(lease+2*time.Second, func() bool {
		due = append(due, t.due(10)...)
		return len(due) > 0
	})
	t.wantSessions("Due after the lease", due, abandoned)
	if _, ended := t.end(scsguard.Target{Key: renewed.Key, IfDue: true}, ending("")); ended {
		t.failf("a detached session ends before its lease is over")
	}
	before := t.get(abandoned.Key)
	dead, ended := t.end(scsguard.Target{Key: abandoned.Key, IfDue: true}, ending(""))
	if !ended {
		t.failf("a detached session is %v after its lease", dead.State)
	}
	t.wantEnded("End", dead, before, scsguard.EventLogout, scsguard.EndDestroyed)
	t.detached(renewed, owner, lease)
	t.wait(lease + tick)
	adm := t.reserve(t.admission("alice", deny(1))) // its place is free
	t.wantSessions("Overdue", adm.Overdue, renewed)
	if won, _ := t.move(renewed.Key, scsguard.Rotation{To: t.key(), Owner: owner, At: time.Now()}); won {
		t.failf("a detached session comes back although its place was given to another one")
	}
}
