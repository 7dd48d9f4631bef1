package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

func expiryChecks() []check {
	return []check{
		{name: "a tombstone outlives its session's deadline, and is forgotten", run: tombstoneExpires},
		{name: "an old key is forgotten after its session's deadline", run: movedExpires},
		{name: "an ending that nobody confirms is forgotten after its retention", run: unconfirmedExpires},
		{name: "an ending that nobody confirms has a tombstone for as long as it says", run: unconfirmedKeeps},
		{name: "what is known of a user is forgotten", run: userExpires},
		{name: "that an external ID was ended is remembered for a while, and forgotten", run: externalExpires},
		{name: "nothing of a session is forgotten while it lives", run: liveStays},
		{name: "in the end nothing is left", run: nothingIsLeft},
	}
}

// longAgo is longer than anything has to be remembered that has ended.
const longAgo = 3 * 365 * 24 * time.Hour

// sweep does what a guard's sweep does: ends what is overdue, confirms what has
// ended.
func (t *trial) sweep() {
	for {
		list := t.due(100)
		if len(list) == 0 {
			return
		}
		for _, rec := range list {
			if rec.State != scsguard.StateEnded {
				rec, _ = t.end(scsguard.Target{Key: rec.Key, IfDue: true}, ending(""))
			}
			t.confirm(rec)
		}
	}
}

// pass lets time pass, with a sweep in every step.
func (t *trial) pass(d, step time.Duration) {
	for ; d > 0; d -= step {
		t.wait(min(d, step))
		t.sweep()
	}
}

func tombstoneExpires(t *trial) {
	rec := t.login("alice", noCap)
	t.confirm(t.ended(rec, scsguard.EndUser))
	keeping := t.admission("bob", noCap) // at a guard whose session data lives longer
	e := ending(scsguard.EndUser)
	e.Keep = 3 * absolute
	kept := t.complete(keeping).Record
	dead, _ := t.end(scsguard.Target{Key: kept.Key}, e)
	t.confirm(dead)
	victim, a := t.login("carol", noCap), t.admission("carol", evict(1))
	a.By.Keep = e.Keep
	t.confirm(t.complete(a).Ended[0])
	buried, lost := t.key(), t.lost()
	t.end(scsguard.Target{Key: buried}, ending(scsguard.EndAborted))
	dead, _ = t.end(lost, e)
	t.confirm(dead)
	t.pass(absolute, time.Hour)
	t.wantState(rec, scsguard.StateEnded)
	t.wantState(scsguard.Record{Key: buried}, scsguard.StateEnded)
	t.pass(2*absolute, time.Hour)
	t.wantState(kept, scsguard.StateEnded)
	t.wantState(victim, scsguard.StateEnded)
	t.wantState(dead, scsguard.StateEnded)
	t.pass(longAgo, 24*time.Hour)
	for _, key := range []scsguard.Key{rec.Key, kept.Key, victim.Key, buried, lost.Key} {
		t.wantUnknown(key)
	}
}

func movedExpires(t *trial) {
	old := t.login("alice", noCap)
	rec := t.moved(old)
	t.pass(absolute, idle/2) // the session times out, the old token stays known
	t.wantState(old, scsguard.StateMoved)
	t.wantState(rec, scsguard.StateEnded)
	t.pass(longAgo, 24*time.Hour)
	t.wantUnknown(old.Key)
	t.wantUnknown(rec.Key)
}

func unconfirmedExpires(t *trial) {
	a := t.admission("alice", noCap)
	rec := t.complete(a).Record
	t.ended(rec, scsguard.EndUser)
	t.wait(absolute + a.Retention - time.Hour)
	t.wantSessions("Due before the retention is over", t.due(10), rec)
	t.wantState(rec, scsguard.StateEnded)
	lost := t.lose()
	t.wait(longAgo)
	t.wantSessions("Due after the retention", t.due(10))
	t.wantUnknown(rec.Key)
	t.wantUnknown(lost.Key)
}

// unconfirmedKeeps: the session data may outlive both the deadline and the
// retention, and must not find its key free then.
func unconfirmedKeeps(t *trial) {
	a := t.admission("alice", noCap)
	a.Retention = time.Hour
	e := ending(scsguard.EndUser)
	e.Keep = 3 * absolute
	rec := t.complete(a).Record
	t.end(scsguard.Target{Key: rec.Key}, e)
	lost := t.lost()
	t.end(lost, e)
	for range 3 {
		t.wait(absolute)
		t.due(10) // and whoever got it dies
	}
	t.wait(scsguard.TombstoneMargin / 2)
	t.due(10)
	t.wantState(rec, scsguard.StateEnded)
	t.wantState(scsguard.Record{Key: lost.Key}, scsguard.StateEnded)
}

func userExpires(t *trial) {
	a := t.admission("alice", noCap)
	a.Record.External = "sid"
	t.ended(t.complete(a).Record, scsguard.EndUser)
	authenticated := time.Now()
	t.wait(tick)
	for _, r := range []scsguard.Revocation{{User: "alice"}, {External: "sid"}, {Everyone: true}} {
		t.endAll(r)
	}
	late := func() scsguard.Admitted {
		a := t.admission("alice", noCap)
		a.Record.External, a.AuthenticatedAt = "sid", authenticated
		return t.admit(a)
	}
	t.pass(365*24*time.Hour, 24*time.Hour)
	if late().Denied != scsguard.DeniedRevoked {
		t.failf("after a year nobody remembers that the sessions of a user were ended")
	}
	t.pass(longAgo, 24*time.Hour)
	adm := t.admit(t.admission("alice", noCap))
	if !adm.LastLogin.Time.IsZero() {
		t.failf("the last login of a user is never forgotten")
	}
}

// externalExpires: the ID is that of a session at the identity provider. A login
// that is still on its way from there must not get in.
func externalExpires(t *trial) {
	a := t.admission("alice", noCap)
	a.Record.External, a.AuthenticatedAt = "sid", time.Now()
	t.wait(tick)
	t.endAll(scsguard.Revocation{External: "sid"})
	t.pass(scsguard.TombstoneMargin-time.Minute, 10*time.Minute)
	if adm := t.admit(a); adm.Denied != scsguard.DeniedRevoked {
		t.failf("within an hour nobody remembers that an external ID was ended (Denied is %q)", adm.Denied)
	}
	t.pass(longAgo, 24*time.Hour)
	late := t.admission("alice", noCap)
	late.Record.External, late.AuthenticatedAt = "sid", a.AuthenticatedAt
	t.reserve(late)
}

// liveStays is about a session that outlives whatever else is forgotten.
func liveStays(t *trial) {
	a := t.admission("alice", deny(1))
	a.Record.Idle, a.Record.Absolute, a.Record.External = 7*24*time.Hour, time.Now().Add(2*longAgo), "sid"
	rec := t.complete(a).Record
	moved := t.moved(rec)
	for range int(longAgo / (24 * time.Hour)) {
		t.pass(24*time.Hour, 24*time.Hour)
		if !t.touch(moved.Key, scsguard.Activity{At: time.Now()}).Live {
			t.failf("a session that is used every day is %v", t.get(moved.Key).State)
		}
	}
	t.wantLive("alice", moved)
	t.wantState(rec, scsguard.StateMoved)
	if t.admit(t.admission("alice", deny(1))).Denied != scsguard.DeniedLimit {
		t.failf("after years a session holds no place any more")
	}
	recs, total := t.endAll(scsguard.Revocation{External: "sid"})
	if total != 1 {
		t.failf("after years a session is not found by its external ID")
	}
	t.wantSessions("EndAll", recs, moved)
}

func nothingIsLeft(t *trial) {
	t.wantLive("alice", t.logins(2, "alice", noCap)...)
	t.reserve(t.admission("alice", noCap)) // abandoned
	t.settle(t.reserve(t.admission("alice", evict(1))), false)
	t.moved(t.login("bob", evict(1)))
	t.detached(t.login("bob", evict(1)), owner, time.Second)
	t.end(scsguard.Target{Key: t.key()}, ending(scsguard.EndAborted))
	t.lose()
	t.ended(t.login("carol", noCap), scsguard.EndUser)
	t.endAll(scsguard.Revocation{External: "sid"})
	t.endAll(scsguard.Revocation{User: "nobody"})
	t.endAll(scsguard.Revocation{Everyone: true})
	t.pass(longAgo, 24*time.Hour)
	if sized, ok := t.reg.(interface{ Len() int }); ok && sized.Len() != 0 {
		t.failf("after years the registry still has %d entries", sized.Len())
	}
	t.wantSessions("Due", t.due(10))
}
