package registrytest

import (
	"slices"
	"time"

	"github.com/scsguard/scsguard"
)

func endChecks() []check {
	return []check{
		{name: "an ended session is dead at once and says why", run: endedIsDead},
		{name: "what has ended is not ended again", run: endedOnce},
		{name: "of several callers exactly one ends a session", run: oneEnds},
		{name: "End follows a session to its present key", run: endFollows},
		{name: "nobody ends another user's session by its name", run: endByName},
		{name: "an unknown key gets a tombstone", run: tombstones},
		{name: "a key that a login has replaced says when", run: replacedAt},
		{name: "Exact ends only what is live under this very key", run: endExact},
		{name: "IfDue ends only what is overdue", run: endIfDue},
		{name: "a session that was touched survives IfDue", run: touchedSurvives},
	}
}

func endedIsDead(t *trial) {
	live := t.logins(3, "alice", deny(3))
	e := request(ending(scsguard.EndAdmin))
	want := t.get(live[1].Key)
	dead, ended := t.end(scsguard.Target{Key: live[1].Key}, e)
	if !ended {
		t.failf("End answers that it did not end the session, which is %v", dead.State)
	}
	for what, got := range map[string]scsguard.Record{"End": dead, "Get": t.get(live[1].Key)} {
		t.wantEnded(what, got, want, e.Kind, e.Reason)
		t.wantEnding(what, got, e)
	}
	t.wantLive("alice", live[0], live[2])
	if t.touch(live[1].Key, scsguard.Activity{At: time.Now()}).Live {
		t.failf("Touch says that an ended session is live")
	}
	t.wantLive("alice", live[0], live[2], t.login("alice", deny(3))) // its place is free
}

func endedOnce(t *trial) {
	rec := t.login("alice", noCap)
	want := t.ended(rec, scsguard.EndUser)
	targets := []scsguard.Target{
		{Key: rec.Key}, {Key: rec.Key, Exact: true}, {Key: rec.Key, IfDue: true}, {User: "alice", Session: rec.Session},
	}
	for _, target := range targets {
		if _, ended := t.end(target, ending(scsguard.EndAdmin)); ended {
			t.failf("a session ends twice")
		}
		t.wantRecord("Get", t.get(rec.Key), want)
	}
	if dead, _ := t.end(scsguard.Target{Key: rec.Key}, ending(scsguard.EndAdmin)); dead.State != scsguard.StateEnded || dead.Ending.Reason != scsguard.EndUser {
		t.failf("End of what has ended answers %v (%s), not how it ended", dead.State, dead.Ending.Reason)
	}
	if _, total := t.endAll(scsguard.Revocation{User: "alice"}); total != 0 {
		t.failf("EndAll ends what has ended")
	}
	t.wantRecord("Get", t.get(rec.Key), want)
}

func oneEnds(t *trial) {
	both := t.twice()
	const rounds, n = 20, 10
	for range rounds {
		rec := both[0].login("alice", noCap)
		moved := both[0].moved(rec)
		told := make([]int, n)
		t.crowd(n, func(i int) {
			var ended bool
			switch r := both[i%2]; i % 5 {
			case 0:
				_, told[i] = r.endAll(scsguard.Revocation{User: "alice"})
				return
			case 1:
				_, ended = r.end(scsguard.Target{User: "alice", Session: rec.Session}, ending(scsguard.EndUser))
			case 2:
				_, ended = r.end(scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser))
			default:
				_, ended = r.end(scsguard.Target{Key: moved.Key}, ending(scsguard.EndUser))
			}
			if ended {
				told[i] = 1
			}
		})
		total := 0
		for _, n := range told {
			total += n
		}
		if total != 1 {
			t.failf("of %d callers at once %d were told that they ended the session", n, total)
		}
		both[0].wantState(moved, scsguard.StateEnded)
	}
}

func endFollows(t *trial) {
	first := t.login("alice", noCap)
	last := t.moved(t.moved(first))
	want := t.get(last.Key)
	dead, ended := t.end(scsguard.Target{Key: first.Key}, ending(scsguard.EndUser))
	if !ended {
		t.failf("End does not find the session under its present key: it answers %v", dead.State)
	}
	t.wantEnded("End", dead, want, scsguard.EventLogout, scsguard.EndUser)
	t.wantState(last, scsguard.StateEnded)
	t.wantState(first, scsguard.StateMoved)
	t.wantLive("alice")

	other := t.login("alice", noCap)
	moved := t.moved(other)
	if dead, ended := t.end(scsguard.Target{User: "alice", Session: other.Session}, ending(scsguard.EndUser)); !ended || dead.Key != moved.Key {
		t.failf("a session that has moved cannot be ended by its name: ended %v, and it is %v", ended, dead.State)
	}
	t.wantState(moved, scsguard.StateEnded)
}

func endByName(t *trial) {
	alice, bob := t.login("alice", noCap), t.login("bob", noCap)
	for _, target := range []scsguard.Target{
		{User: "bob", Session: alice.Session}, {User: "alice", Session: bob.Session},
		{User: "", Session: alice.Session}, {User: "alice", Session: ""}, {User: "alice", Session: t.session()},
	} {
		if rec, ended := t.end(target, ending(scsguard.EndUser)); ended || rec.Session != "" {
			t.failf("the user %q ends the session %s of somebody else (or learns of it): ended %v", target.User, short(rec.Session), ended)
		}
	}
	t.wantLive("alice", alice)
	t.wantLive("bob", bob)
	want := t.get(alice.Key)
	dead, ended := t.end(scsguard.Target{User: "alice", Session: alice.Session}, ending(scsguard.EndUser))
	if !ended {
		t.failf("a session cannot be ended by its name")
	}
	t.wantEnded("End", dead, want, scsguard.EventLogout, scsguard.EndUser)
	t.wantLive("alice")
}

func tombstones(t *trial) {
	a := t.admission("alice", noCap)
	if _, ended := t.end(scsguard.Target{Key: a.Record.Key}, ending(scsguard.EndAborted)); ended {
		t.failf("End of an unknown key answers that it ended a session")
	}
	if got := t.get(a.Record.Key); got.State != scsguard.StateEnded || got.Session != "" || got.User != "" {
		t.failf("after End of an unknown key Get answers %v, not a tombstone", got.State)
	}
	if adm := t.admit(a); adm.Denied == "" && t.settle(adm, true).Live {
		t.failf("a session begins under a key with a tombstone")
	}
	t.wantLive("alice")
	if t.touch(a.Record.Key, scsguard.Activity{At: time.Now()}).Live {
		t.failf("Touch says that a tombstone is live")
	}
	// These two ask about a session. Where there is none they leave nothing.
	for _, target := range []scsguard.Target{{Exact: true}, {IfDue: true}} {
		a := t.admission("alice", noCap)
		target.Key = a.Record.Key
		t.end(target, ending(scsguard.EndLost))
		t.wantUnknown(a.Record.Key)
		t.ended(t.complete(a).Record, scsguard.EndUser)
	}
}

// replacedAt: the cookie of a login must not be overwritten by the answer to a
// request that came with what the browser had before.
func replacedAt(t *trial) {
	unknown, dead, live := t.key(), t.login("alice", noCap), t.login("alice", noCap)
	t.ended(dead, scsguard.EndUser)
	want := t.get(dead.Key)
	e := ending(scsguard.EndReplaced)
	e.At = ago(2 * time.Minute)
	for _, key := range []scsguard.Key{unknown, dead.Key} {
		if _, ended := t.end(scsguard.Target{Key: key}, e); ended {
			t.failf("what has ended, or never was, ends by being replaced")
		}
	}
	want.ReplacedAt = e.At
	t.wantRecord("replaced after it had ended", t.get(dead.Key), want)
	if got := t.get(unknown); got.State != scsguard.StateEnded || !near(got.ReplacedAt, e.At) {
		t.failf("an unknown key that was replaced is %v, replaced at %v", got.State, got.ReplacedAt)
	}
	t.ended(live, scsguard.EndReplaced)
	old := t.login("alice", noCap)
	t.moved(old)
	t.end(scsguard.Target{Key: old.Key}, e)
	if got := t.get(old.Key); got.State != scsguard.StateMoved || !near(got.ReplacedAt, e.At) {
		t.failf("a key that has moved and was replaced is %v, replaced at %v", got.State, got.ReplacedAt)
	}
	for _, reason := range []scsguard.EndReason{scsguard.EndUser, scsguard.EndAborted} {
		key := t.key()
		t.end(scsguard.Target{Key: key}, ending(reason))
		t.end(scsguard.Target{Key: key}, ending(reason))
		if got := t.get(key); !got.ReplacedAt.IsZero() {
			t.failf("a key that was ended by %q says that it was replaced", reason)
		}
	}
}

func endExact(t *trial) {
	old, gone, away := t.login("alice", noCap), t.login("alice", noCap), t.login("alice", noCap)
	moved := t.moved(old)
	t.ended(gone, scsguard.EndUser)
	t.detached(away, owner, time.Minute)
	reserved := t.reserve(t.admission("alice", noCap))
	for what, key := range map[string]scsguard.Key{
		"moved on": old.Key, "ended": gone.Key, "been detached": away.Key, "not begun": reserved.Record.Key,
	} {
		before := t.get(key)
		if _, ended := t.end(scsguard.Target{Key: key, Exact: true}, ending(scsguard.EndLost)); ended {
			t.failf("Exact ends a session that has %s", what)
		}
		t.wantRecord("after End", t.get(key), before)
	}
	rec := t.settle(reserved, true).Record
	t.wantLive("alice", moved, rec)
	dead, ended := t.end(scsguard.Target{Key: moved.Key, Exact: true}, ending(scsguard.EndLost))
	if !ended || dead.Ending.Reason != scsguard.EndLost {
		t.failf("Exact does not end a live session: it is %v (%s)", dead.State, dead.Ending.Reason)
	}
	t.wantLive("alice", rec)
}

func endIfDue(t *trial) {
	fresh := t.login("alice", noCap)
	if rec, ended := t.end(scsguard.Target{Key: fresh.Key, IfDue: true}, ending("")); ended || rec.State != scsguard.StateLive {
		t.failf("IfDue ends a session that is not overdue: it is %v", rec.State)
	}
	t.wantRecord("after End", t.get(fresh.Key), fresh)
	a := t.stale("alice")
	a.Record.LastActivity, a.Record.Absolute = ago(time.Minute), ago(30*time.Second)
	over := t.sideBySide(t.stale("alice"), a)
	t.wantLive("alice", fresh)
	moved := t.moved(over[0])
	for i, reason := range []scsguard.EndReason{scsguard.EndIdle, scsguard.EndAbsolute} {
		before := t.get(over[i].Key)
		if i == 0 {
			before = t.get(moved.Key)
		}
		due, _ := before.Due()
		dead, ended := t.end(scsguard.Target{Key: over[i].Key, IfDue: true}, ending(scsguard.EndAdmin))
		if !ended {
			t.failf("IfDue does not end a session that is overdue: it is %v", dead.State)
		}
		t.wantEnded("End", dead, before, scsguard.EventTimeout, reason)
		if !near(dead.Ending.Due, due) {
			t.failf("the session was due at %v, not %v", dead.Ending.Due, due)
		}
	}
	t.wantLive("alice", fresh)
}

func touchedSurvives(t *trial) {
	rec := t.complete(t.stale("alice")).Record
	if due := t.due(10); !slices.Equal(sessions(due), sessions([]scsguard.Record{rec})) {
		t.failf("Due hands out %s, not the session that is overdue", numbers(due))
	}
	// A request that arrived before the deadline, and one after it that this allows.
	t.touch(rec.Key, scsguard.Activity{At: ago(11 * time.Minute)})
	t.touch(rec.Key, scsguard.Activity{At: ago(time.Minute)})
	want := t.get(rec.Key)
	if now, ended := t.end(scsguard.Target{Key: rec.Key, IfDue: true}, ending("")); ended || now.State != scsguard.StateLive {
		t.failf("a session that was touched since Due saw it ends: it is %v", now.State)
	}
	t.wantRecord("after End", t.get(rec.Key), want)
	t.wantLive("alice", rec)

	moving := t.complete(t.stale("bob")).Record // the same by a move
	rot := scsguard.Rotation{To: t.key(), At: time.Now(), Activity: ago(11 * time.Minute)}
	t.move(moving.Key, rot)
	t.touch(rot.To, scsguard.Activity{At: ago(time.Minute)})
	if now, ended := t.end(scsguard.Target{Key: moving.Key, IfDue: true}, ending("")); ended {
		t.failf("a session that moved and was touched since Due saw it ends: it is %v", now.State)
	}
}
