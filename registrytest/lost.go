package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

// A session whose data is there and whose record is not. Nobody knows what became
// of it, so it has to end, and that has to be told like any other ending.

func lostChecks() []check {
	return []check{
		{name: "a session that has lost its record ends once, and stays dead", run: lostEnds},
		{name: "of several who miss the record of a session exactly one ends it", run: oneLoses},
		{name: "the ending of a lost session is handed out until it is confirmed, and a tombstone is not", run: lostIsDue, long: true},
	}
}

// lost returns a target that names a session without a record.
func (t *trial) lost() scsguard.Target { return scsguard.Target{Key: t.key(), Session: t.session()} }

// lose ends a session without a record, which must succeed.
func (t *trial) lose() scsguard.Record {
	rec, ended := t.end(t.lost(), ending(scsguard.EndLost))
	if !ended {
		t.failf("the ending of a session that has lost its record answers that nothing has ended")
	}
	return rec
}

func lostEnds(t *trial) {
	target := t.lost()
	for _, asking := range []scsguard.Target{{Key: target.Key, Session: target.Session, Exact: true}, {Key: target.Key, Session: target.Session, IfDue: true}} {
		if _, ended := t.end(asking, ending(scsguard.EndLost)); ended {
			t.failf("Exact or IfDue ends a session without a record")
		}
		t.wantUnknown(target.Key)
	}
	e := request(ending(scsguard.EndLost))
	dead, ended := t.end(target, e)
	if !ended {
		t.failf("the ending of a session that has lost its record answers that nothing has ended")
	}
	for what, got := range map[string]scsguard.Record{"End": dead, "Get": t.get(target.Key)} {
		if got.State != scsguard.StateEnded || got.Session != target.Session || got.Key != target.Key || got.Confirmed {
			t.failf("%s: the lost session is %v under the name %s (confirmed %v), not ended as %s and unconfirmed",
				what, got.State, short(got.Session), got.Confirmed, short(target.Session))
		}
		t.wantEnding(what, got, e)
	}
	for _, again := range []scsguard.Target{target, {Key: target.Key}, {Key: target.Key, Session: t.session()}} {
		if _, ended := t.end(again, ending(scsguard.EndUser)); ended {
			t.failf("a lost session ends twice")
		}
		t.wantRecord("after another End", t.get(target.Key), dead)
	}
	a := t.admission("alice", noCap)
	a.Record.Key = target.Key
	if adm := t.admit(a); adm.Denied != scsguard.DeniedRevoked {
		t.failf("a login under the key of a lost session is not refused as under any tombstone (Denied is %q)", adm.Denied)
	}
	rec := t.login("alice", noCap)
	if won, _ := t.move(rec.Key, scsguard.Rotation{To: target.Key, At: time.Now()}); won {
		t.failf("a session moves to the key of a lost one")
	}
	if t.touch(target.Key, scsguard.Activity{At: time.Now()}).Live {
		t.failf("Touch says that a lost session is live")
	}
	t.wantRecord("in the end", t.get(target.Key), dead)
	t.wantLive("alice", rec)
}

func oneLoses(t *trial) {
	both := t.twice()
	for range 20 {
		target := t.lost()
		var told [6]bool
		t.crowd(len(told), func(i int) { _, told[i] = both[i%2].end(target, ending(scsguard.EndLost)) })
		n := 0
		for _, ok := range told {
			if ok {
				n++
			}
		}
		if n != 1 {
			t.failf("of %d callers at once %d were told that they ended a lost session", len(told), n)
		}
	}
}

func lostIsDue(t *trial) {
	waiting, confirmed := t.lose(), t.lose()
	t.end(scsguard.Target{Key: t.key()}, ending(scsguard.EndAborted)) // nobody's session: there is nothing to tell
	t.confirm(confirmed)
	t.afterLease()
	var due []scsguard.Record
	t.eventually(2*time.Second, func() bool {
		due = append(due, t.due(10)...)
		return len(due) > 0
	})
	t.wantSessions("Due, after a lease", due, waiting)
	t.wantRecord("Due", due[0], t.get(waiting.Key))
	t.confirm(due[0])
	for _, rec := range []scsguard.Record{waiting, confirmed} {
		want := rec
		want.Confirmed = true
		t.wantRecord("after Confirm", t.get(rec.Key), want)
		a := t.admission("alice", noCap)
		a.Record.Key = rec.Key
		if t.admit(a).Denied == "" {
			t.failf("after Confirm a session begins under the key of a lost one")
		}
	}
}
