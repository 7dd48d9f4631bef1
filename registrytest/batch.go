package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

// batchChecks pass if the registry is no [scsguard.Batcher].
func batchChecks() []check {
	return []check{
		{name: "EndDue ends of many sessions those that are overdue, and tells which", run: ofMany(endDueOfMany)},
		{name: "EndDue leaves alone what IfDue leaves alone", run: ofMany(endDueLeaves)},
		{name: "a session that EndDue has ended holds no place", run: ofMany(endDueFrees)},
		{name: "of callers of EndDue and End exactly one ends a session", run: ofMany(oneEndsDue)},
		{name: "what EndDue has ended is handed out after a lease, unless it is confirmed", run: ofMany(endDueIsDue), long: true},
		{name: "ConfirmAll confirms what has ended, and nothing else", run: ofMany(confirmMany)},
		{name: "what changes beside ConfirmAll is confirmed all the same", run: ofMany(confirmBeside)},
	}
}

// ofMany makes a check of one that needs a [scsguard.Batcher].
func ofMany(f func(*trial, scsguard.Batcher)) func(*trial) {
	return func(t *trial) {
		if batcher, ok := t.reg.(scsguard.Batcher); ok {
			f(t, batcher)
		}
	}
}

func (t *trial) endDue(b scsguard.Batcher, recs ...scsguard.Record) []scsguard.Record {
	keys := make([]scsguard.Key, len(recs))
	for i, rec := range recs {
		keys[i] = rec.Key
	}
	ended, err := b.EndDue(t.ctx, keys, ending(scsguard.EndAdmin))
	t.must("EndDue", err)
	return ended
}

func (t *trial) confirmAll(b scsguard.Batcher, recs ...scsguard.Record) {
	t.must("ConfirmAll", b.ConfirmAll(t.ctx, recs))
}

// endDueOfMany has more sessions than are asked for at once anywhere, in several states,
// and names some of them twice.
func endDueOfMany(t *trial, b scsguard.Batcher) {
	t.wantSessions("EndDue of nobody", t.endDue(b))
	all := t.overdue(20)
	before := make(map[string]scsguard.Record)
	for i, rec := range all {
		if i%5 == 0 { // whoever looks for it under its old key has to follow it
			t.moved(rec)
		}
		before[rec.Session] = t.present(rec)
	}
	fresh := t.login("fresh", noCap)
	named := append([]scsguard.Record{fresh, all[3]}, all...)
	ended := t.endDue(b, named...)
	t.wantSet("EndDue", ended, all...)
	for _, rec := range ended {
		was := before[rec.Session]
		due, _ := was.Due()
		t.wantEnded("EndDue", rec, was, scsguard.EventTimeout, scsguard.EndIdle)
		t.wantRecord("Get", t.get(rec.Key), rec)
		if !near(rec.Ending.Due, due) || rec.Ending.Keep != absolute {
			t.failf("EndDue: the session was due at %v and its ending is kept for %v, not %v and %v", rec.Ending.Due, rec.Ending.Keep, due, absolute)
		}
	}
	t.wantSessions("EndDue, again", t.endDue(b, named...))
	t.wantLive("fresh", fresh)
}

// present is a session's record under its present key.
func (t *trial) present(rec scsguard.Record) scsguard.Record {
	for rec = t.get(rec.Key); rec.State == scsguard.StateMoved; {
		rec = t.get(rec.Successor)
	}
	return rec
}

func endDueLeaves(t *trial, b scsguard.Batcher) {
	fresh, away, dead := t.login("alice", noCap), t.login("alice", noCap), t.login("alice", noCap)
	t.detached(away, owner, time.Minute)
	t.ended(dead, scsguard.EndUser)
	adm := t.reserve(t.admission("alice", noCap))
	touched := t.complete(t.stale("bob")).Record
	t.touch(touched.Key, scsguard.Activity{At: ago(11 * time.Minute)})
	t.touch(touched.Key, scsguard.Activity{At: ago(time.Minute)})
	unknown := scsguard.Record{Key: t.key()}
	all := []scsguard.Record{fresh, away, dead, touched, unknown, adm.Record}
	var before []scsguard.Record
	for _, rec := range all {
		before = append(before, t.get(rec.Key))
	}
	t.wantSessions("EndDue of what is not due", t.endDue(b, all...))
	for i, rec := range all {
		t.wantRecord("after EndDue", t.get(rec.Key), before[i])
	}
	t.wantLive("bob", touched)
	rec := t.settle(adm, true)
	if !rec.Live {
		t.failf("EndDue ends a login in progress")
	}
	t.wantLive("alice", fresh, rec.Record)
	a := t.admission("carol", noCap)
	a.Record.Key = unknown.Key
	t.complete(a) // nothing may lie there
}

func endDueFrees(t *trial, b scsguard.Batcher) {
	var all []scsguard.Record
	for _, user := range []string{"alice", "bob"} {
		stale := []scsguard.Admission{t.stale(user), t.stale(user), t.stale(user)}
		for i := range stale {
			stale[i].Record.External = "external " + user
		}
		all = append(all, t.sideBySide(stale...)...)
	}
	t.wantSet("EndDue", t.endDue(b, all...), all...)
	for _, user := range []string{"alice", "bob"} {
		adm := t.admit(t.admission(user, deny(1)))
		if adm.Denied != "" || len(adm.Overdue) > 0 {
			t.failf("after EndDue %s cannot log in (%s), or Admit ends %s once more", user, adm.Denied, numbers(adm.Overdue))
		}
		t.settle(adm, true)
		if _, total := t.endAll(scsguard.Revocation{External: "external " + user}); total != 0 {
			t.failf("EndAll of the external ID ends %d sessions that EndDue has ended", total)
		}
	}
}

func oneEndsDue(t *trial, _ scsguard.Batcher) {
	both := t.twice()
	const rounds, callers, sessions = 5, 8, 6
	for range rounds {
		all := both[0].overdue(sessions)
		told := make([][]scsguard.Record, callers)
		t.crowd(callers, func(i int) {
			r := both[i%2]
			if i%4 < 3 {
				told[i] = r.endDue(r.reg.(scsguard.Batcher), all...)
				return
			}
			for _, rec := range all {
				if dead, ended := r.end(scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser)); ended {
					told[i] = append(told[i], dead)
				}
			}
		})
		var got []scsguard.Record
		for _, list := range told {
			got = append(got, list...)
		}
		both[0].wantSet("what several callers have ended", got, all...)
		for _, rec := range got {
			both[0].wantRecord("Get", both[0].get(rec.Key), rec)
		}
	}
}

func endDueIsDue(t *trial, b scsguard.Batcher) {
	started := time.Now()
	all := t.overdue(8)
	t.wantSet("EndDue", t.endDue(b, all...), all...)
	t.confirmAll(b, all[:4]...)
	var handed []scsguard.Record
	t.eventually(scsguard.Lease+3*time.Second, func() bool {
		list := t.due(100)
		if handed = append(handed, list...); len(list) > 0 && time.Since(started) < scsguard.Lease {
			t.failf("what EndDue has ended is handed out %v after that", time.Since(started).Round(time.Millisecond))
		}
		return len(handed) >= 4
	})
	t.wantSet("Due, after a lease", handed, all[4:]...)
	t.confirmAll(b, handed...)
	t.afterLease()
	t.wantSessions("Due, when all is confirmed", t.due(100))
}

func confirmMany(t *trial, b scsguard.Batcher) {
	t.confirmAll(b)
	rec, away := t.login("alice", noCap), t.login("alice", noCap)
	moved := t.moved(t.login("alice", noCap))
	t.detached(away, owner, time.Minute)
	adm := t.reserve(t.admission("alice", noCap))
	unknown := scsguard.Record{Key: t.key(), Session: rec.Session, User: "alice", State: scsguard.StateEnded}
	alive := []scsguard.Record{rec, away, moved, adm.Record, unknown}
	var before []scsguard.Record
	for i := range alive {
		before = append(before, t.get(alive[i].Key))
		alive[i].State, alive[i].Ending = scsguard.StateEnded, ending(scsguard.EndUser) // somebody is wrong
	}
	var dead []scsguard.Record
	for range 3 {
		dead = append(dead, t.ended(t.login("bob", noCap), scsguard.EndUser))
	}
	t.confirm(dead[1])
	t.confirmAll(b, append(alive, append(dead, dead[0])...)...)
	for i, r := range alive {
		t.wantRecord("after ConfirmAll", t.get(r.Key), before[i])
	}
	for _, r := range dead {
		if got := t.wantState(r, scsguard.StateEnded); !got.Confirmed || got.Ending.Reason != scsguard.EndUser {
			t.failf("after ConfirmAll the ending of %s is confirmed: %v, and its reason %q", short(r.Session), got.Confirmed, got.Ending.Reason)
		}
	}
	if live := t.settle(adm, true); !live.Live {
		t.failf("ConfirmAll ends a login in progress")
	}
}

// confirmBeside has logins with old tokens note on tombstones when they took over.
func confirmBeside(t *trial, _ scsguard.Batcher) {
	both := t.twice()
	for range 20 {
		var all []scsguard.Record
		for _, rec := range both[0].logins(6, "alice", noCap) {
			all = append(all, both[0].ended(rec, scsguard.EndUser))
		}
		t.crowd(7, func(i int) {
			if i == 6 {
				both[1].confirmAll(both[1].reg.(scsguard.Batcher), all...)
				return
			}
			for range 5 {
				both[0].end(scsguard.Target{Key: all[i].Key}, ending(scsguard.EndReplaced))
			}
		})
		for _, rec := range all {
			if got := both[0].wantState(rec, scsguard.StateEnded); !got.Confirmed || got.ReplacedAt.IsZero() {
				t.failf("beside ConfirmAll the ending is confirmed: %v, and was replaced at %v", got.Confirmed, got.ReplacedAt)
			}
		}
	}
}
