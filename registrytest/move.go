package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

func moveChecks() []check {
	return []check{
		{name: "a session that moves goes on under its new key", run: moves},
		{name: "what a rotation leaves zero stays as it was", run: moveKeeps},
		{name: "a rotation changes what it names", run: moveChanges},
		{name: "what others recorded before the move is kept", run: moveKeepsTouches},
		{name: "no touch is lost beside a move", run: touchBesideMove},
		{name: "of two moves of the same key exactly one wins", run: oneMoveWins},
		{name: "nothing moves to a key that has a record or a tombstone", run: noMoveToUsedKey},
		{name: "what has ended or moved does not move", run: noMoveFromUsedKey},
	}
}

func moves(t *trial) {
	rec, other := t.login("alice", noCap), t.login("alice", noCap)
	rec = t.get(rec.Key) // the other login has warned it
	rot := scsguard.Rotation{To: t.key(), At: time.Now(), Grace: time.Minute, Fingerprint: "another digest"}
	won, current := t.move(rec.Key, rot)
	if !won {
		t.failf("the session does not move, but is %v", current.State)
	}
	want := rec
	want.Key, want.TokenSince, want.Fingerprint = rot.To, rot.At, rot.Fingerprint
	t.wantRecord("Move", current, want)
	t.wantRecord("Get of the new key", t.get(rot.To), want)
	old := t.wantState(rec, scsguard.StateMoved)
	switch {
	case old.Session != rec.Session || old.User != rec.User:
		t.failf("under its old key the session is %s of %q", short(old.Session), old.User)
	case old.Successor != rot.To:
		t.failf("the old key does not name its successor")
	case !near(old.MovedAt, rot.At) || !near(old.GraceUntil, rot.At.Add(rot.Grace)):
		t.failf("it moved at %v with a grace until %v, not at %v with a minute", old.MovedAt, old.GraceUntil, rot.At)
	case old.Fingerprint != rot.Fingerprint:
		t.failf("under the old key the fingerprint is %q, not that of who got the new token", old.Fingerprint)
	}
	t.wantLive("alice", current, other)
	t.wantRecord("List", t.list("alice")[0], want)
	t.wantSessions("Due", t.due(10))

	// Without a grace the old token is worth nothing at once.
	won, _ = t.move(rot.To, scsguard.Rotation{To: t.key(), At: time.Now()})
	if old := t.get(rot.To); !won || old.GraceUntil.After(time.Now().Add(slack)) {
		t.failf("moved without a grace (won %v), the old token is served until %v", won, old.GraceUntil)
	}
}

func moveKeeps(t *trial) {
	a := t.admission("alice", noCap)
	a.Record.Role, a.Record.BaseRole, a.Record.External, a.Record.Actor = "clerk", "clerk", "sid", "support:7"
	a.Record.Extra, a.Record.LongestGap = []byte{1, 2}, time.Minute
	rec := t.complete(a).Record
	t.login("alice", noCap)
	want := t.get(rec.Key)
	at := time.Now()
	won, current := t.move(rec.Key, scsguard.Rotation{To: t.key(), At: at})
	if !won {
		t.failf("the session does not move, but is %v", current.State)
	}
	want.Key, want.TokenSince = current.Key, at
	t.wantRecord("Move", current, want)
	if old := t.wantState(rec, scsguard.StateMoved); old.Fingerprint != rec.Fingerprint {
		t.failf("moved without a fingerprint, the old key has %q, not %q as before", old.Fingerprint, rec.Fingerprint)
	}
}

func moveChanges(t *trial) {
	a := t.admission("alice", noCap)
	a.Record.Role, a.Record.BaseRole = "clerk", "clerk"
	a.Record.Created, a.Record.AuthTime, a.Record.LastActivity = ago(time.Hour), ago(time.Hour), ago(10*time.Minute)
	rec := t.complete(a).Record
	want := rec
	move := func(what string, rot scsguard.Rotation) {
		rot.To, rot.At = t.key(), time.Now()
		won, current := t.move(want.Key, rot)
		if !won {
			t.failf("%s: the session does not move, but is %v", what, current.State)
		}
		want.Key, want.TokenSince = rot.To, rot.At
		t.wantRecord(what, current, want)
		t.wantRecord(what, t.get(rot.To), want)
	}
	want.Role = "admin"
	move("a role", scsguard.Rotation{Role: "admin"})
	want.LastActivity, want.LongestGap = ago(4*time.Minute), 6*time.Minute
	move("activity", scsguard.Rotation{Activity: ago(4 * time.Minute)})
	move("activity before the last one", scsguard.Rotation{Activity: ago(7 * time.Minute)})
	want.Seq += 2
	move("events", scsguard.Rotation{Events: 2})
	want.Role = "clerk"
	move("the role of the login", scsguard.Rotation{ResetRole: true})
	proof := scsguard.Authentication{Time: ago(time.Minute), Methods: []string{"hwk", "pin"}, AAL: 3}
	want.AuthTime, want.Methods, want.AAL, want.LongestGap = proof.Time, proof.Methods, proof.AAL, 0
	move("an authentication", scsguard.Rotation{Auth: &proof})
	want.Absolute, want.AbsoluteSince = time.Now().Add(absolute+time.Hour), time.Now()
	move("a new absolute deadline", scsguard.Rotation{Absolute: want.Absolute})
	t.wantLive("alice", rec)
}

func moveKeepsTouches(t *trial) {
	rec := t.seen("alice", 10*time.Minute)
	rot := scsguard.Rotation{To: t.key(), At: time.Now(), Events: 1} // made from what is known so far
	t.touch(rec.Key, scsguard.Activity{At: ago(4 * time.Minute), Idle: time.Hour, Absolute: rec.Absolute.Add(-time.Hour), Event: true, Extended: true})
	want := t.get(rec.Key)
	_, current := t.move(rec.Key, rot)
	want.Key, want.TokenSince, want.Seq = rot.To, rot.At, want.Seq+1
	t.wantRecord("Move", current, want)
}

func touchBesideMove(t *trial) {
	both := t.twice()
	rec := both[0].login("alice", noCap)
	const rounds, n = 20, 8
	for range rounds {
		before := both[0].get(rec.Key)
		live := make([]bool, n)
		var next scsguard.Record
		t.crowd(n, func(i int) {
			if i == n/2 {
				next = both[0].moved(rec)
				return
			}
			live[i] = both[i%2].touch(rec.Key, scsguard.Activity{Event: true, Extended: true}).Live
		})
		want := uint64(0)
		for _, ok := range live {
			if ok {
				want++
			}
		}
		after := both[0].get(next.Key)
		if after.Seq != before.Seq+want+1 || after.Extends != before.Extends+int(want) {
			t.failf("beside a move %d touches were said to be recorded, but %d events and %d extensions are",
				want, after.Seq-before.Seq-1, after.Extends-before.Extends)
		}
		rec = next
	}
}

func oneMoveWins(t *trial) {
	both := t.twice()
	rec := both[0].login("alice", noCap)
	const rounds, n = 10, 12
	for range rounds {
		targets := make([]scsguard.Key, n)
		wins := make([]bool, n)
		answers := make([]scsguard.Record, n)
		t.crowd(n, func(i int) {
			targets[i] = t.key()
			wins[i], answers[i] = both[i%2].move(rec.Key, scsguard.Rotation{To: targets[i], At: time.Now(), Grace: time.Minute})
		})
		winner := -1
		for i, won := range wins {
			if won && winner >= 0 {
				t.failf("two of %d moves at once have won", n)
			}
			if won {
				winner = i
			}
		}
		if winner < 0 {
			t.failf("none of %d moves at once has won", n)
		}
		for i, current := range answers {
			if current.State != scsguard.StateLive || current.Key != targets[winner] || current.Session != rec.Session {
				t.failf("a move beside the one that won is told that the session is %v, not where it is", current.State)
			}
			if i != winner {
				both[0].wantUnknown(targets[i])
			}
		}
		if both[0].get(rec.Key).Successor != targets[winner] {
			t.failf("the old key does not lead to the one that won")
		}
		both[1].wantLive("alice", answers[winner])
		rec = answers[winner]
	}
}

func noMoveToUsedKey(t *trial) {
	rec := t.login("alice", noCap)
	live, moving, dead, buried := t.login("bob", noCap), t.login("bob", noCap), t.login("bob", noCap), t.key()
	t.moved(moving)
	t.ended(dead, scsguard.EndUser)
	t.end(scsguard.Target{Key: buried}, ending(scsguard.EndAborted))
	reserved := t.reserve(t.admission("bob", noCap))
	for what, key := range map[string]scsguard.Key{
		"a live session": live.Key, "a session that moved": moving.Key, "a session that ended": dead.Key,
		"a tombstone": buried, "a login in progress": reserved.Record.Key, "itself": rec.Key,
	} {
		before := t.get(key)
		won, current := t.move(rec.Key, scsguard.Rotation{To: key, At: time.Now()})
		if won || current.State != scsguard.StateLive || current.Key != rec.Key {
			t.failf("a move to the key of %s: won %v, and the session is %v", what, won, current.State)
		}
		t.wantRecord("the key of "+what, t.get(key), before)
		t.wantLive("alice", rec)
	}
	t.moved(rec) // it can still move elsewhere
}

func noMoveFromUsedKey(t *trial) {
	dead := t.login("alice", noCap)
	t.ended(dead, scsguard.EndAdmin)
	to := t.key()
	won, current := t.move(dead.Key, scsguard.Rotation{To: to, At: time.Now()})
	if won || current.State != scsguard.StateEnded || current.Ending.Reason != scsguard.EndAdmin {
		t.failf("a session that has ended moves: won %v, and it is %v", won, current.State)
	}
	t.wantUnknown(to)
	first := t.login("alice", noCap)
	last := t.moved(t.moved(t.moved(first)))
	won, current = t.move(first.Key, scsguard.Rotation{To: to, At: time.Now()})
	if won || current.State != scsguard.StateLive || current.Key != last.Key {
		t.failf("a session that has moved: won %v, and it is %v", won, current.State)
	}
	t.wantUnknown(to)
	t.wantLive("alice", last)
	t.ended(last, scsguard.EndAdmin)
	won, current = t.move(first.Key, scsguard.Rotation{To: to, At: time.Now()})
	if won || current.State != scsguard.StateEnded || current.Ending.Reason != scsguard.EndAdmin {
		t.failf("a session that has moved and ended: won %v, and it is %v", won, current.State)
	}
	t.wantUnknown(to)
}
