package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

// A move that says who holds the new token: a client with another fingerprint, a
// user who has authenticated again.

func reauthChecks() []check {
	return []check{
		{name: "a move with a fingerprint forgets the mismatch, and one without keeps both", run: moveMismatch},
		{name: "only a full authentication counts as a login", run: fullAuthentication},
		{name: "a new absolute deadline counts from the authentication, or else from the move", run: deadlineSince},
		{name: "a session past its absolute deadline gets no new one", run: noNewDeadline},
	}
}

// rotated moves a session, which must succeed, and demands that its record is
// what was expected but for what every move changes.
func (t *trial) rotated(what string, from scsguard.Record, rot scsguard.Rotation, want scsguard.Record) scsguard.Record {
	rot.To = t.key()
	if rot.At.IsZero() {
		rot.At = time.Now()
	}
	won, current := t.move(from.Key, rot)
	if !won {
		t.failf("%s: the session does not move, but is %v", what, current.State)
	}
	want.Key, want.TokenSince = rot.To, rot.At
	t.wantRecord(what, current, want)
	t.wantRecord(what, t.get(rot.To), want)
	return want
}

func moveMismatch(t *trial) {
	rec := t.login("alice", noCap)
	t.touch(rec.Key, scsguard.Activity{Mismatch: "another digest"})
	rec = t.get(rec.Key)
	rec = t.rotated("moved without a fingerprint", rec, scsguard.Rotation{}, rec)
	want := rec
	want.Fingerprint, want.Mismatch = "a third digest", ""
	rec = t.rotated("moved with a fingerprint", rec, scsguard.Rotation{Fingerprint: "a third digest"}, want)
	t.touch(rec.Key, scsguard.Activity{Mismatch: "another digest"}) // the new token was seen elsewhere as well
	t.rotated("moved with the fingerprint that it had", t.get(rec.Key), scsguard.Rotation{Fingerprint: "a third digest"}, rec)
}

func fullAuthentication(t *trial) {
	a := t.admission("alice", noCap)
	a.Record.AAL, a.Record.LoginAAL, a.Record.Remembered = 1, 1, true
	rec := t.complete(a).Record
	for _, proof := range []scsguard.Authentication{
		{Time: ago(5 * time.Minute), Methods: []string{"otp"}, AAL: 2},
		{Time: ago(4 * time.Minute), Methods: []string{"pwd", "otp"}, AAL: 3, Full: true},
		{Time: ago(3 * time.Minute), Methods: []string{"pwd"}, AAL: 1},
		{Time: ago(2 * time.Minute), Methods: []string{"pwd", "otp"}, AAL: 2, Full: true},
	} {
		want := rec
		want.AuthTime, want.Methods, want.AAL = proof.Time, proof.Methods, proof.AAL
		what := "after an authentication that is not full"
		if proof.Full {
			want.LoginAAL, want.Remembered = proof.AAL, false
			what = "after a full authentication"
		}
		rec = t.rotated(what, rec, scsguard.Rotation{Auth: &proof}, want)
	}
	t.rotated("after a move without an authentication", rec, scsguard.Rotation{}, rec)
}

func deadlineSince(t *trial) {
	a := t.admission("alice", noCap)
	r := &a.Record
	r.Created, r.AuthTime, r.LastActivity, r.AbsoluteSince = ago(2*time.Hour), ago(2*time.Hour), ago(time.Minute), ago(2*time.Hour)
	rec := t.complete(a).Record
	proof := scsguard.Authentication{Time: ago(10 * time.Minute), Methods: []string{"pwd"}, AAL: 1}
	want := rec
	want.AuthTime = proof.Time
	rec = t.rotated("an authentication and no new deadline", rec, scsguard.Rotation{Auth: &proof}, want)

	proof.Full, proof.Time = true, ago(8*time.Minute)
	want = rec
	want.AuthTime, want.Absolute, want.AbsoluteSince = proof.Time, time.Now().Add(absolute+time.Hour), proof.Time
	rec = t.rotated("a new deadline with an authentication", rec, scsguard.Rotation{Auth: &proof, Absolute: want.Absolute}, want)

	want = rec
	want.Absolute, want.AbsoluteSince = time.Now().Add(absolute+2*time.Hour), ago(3*time.Minute)
	t.rotated("a new deadline without an authentication", rec, scsguard.Rotation{At: ago(3 * time.Minute), Absolute: want.Absolute}, want)
}

// noNewDeadline: the user may have begun to authenticate in time. It is too late
// all the same, and he has to log in.
func noNewDeadline(t *trial) {
	over := func(user string) scsguard.Record {
		a := t.stale(user)
		a.Record.LastActivity, a.Record.Idle, a.Record.Absolute = ago(time.Minute), idle, ago(30*time.Second)
		return t.complete(a).Record
	}
	live, away := over("alice"), over("bob")
	t.detached(away, owner, time.Minute)
	for _, rec := range []scsguard.Record{live, away} {
		before := t.get(rec.Key)
		proof := scsguard.Authentication{Time: ago(2 * time.Minute), Methods: []string{"pwd"}, AAL: 1, Full: true}
		rot := scsguard.Rotation{To: t.key(), Owner: owner, At: time.Now(), Activity: ago(2 * time.Minute), Auth: &proof, Absolute: time.Now().Add(absolute)}
		won, current := t.move(rec.Key, rot)
		if won {
			t.failf("a session that is %v gets a new absolute deadline half a minute after the old one", before.State)
		}
		t.wantRecord("Move", current, before)
		t.wantRecord("after a Move that was refused", t.get(rec.Key), before)
		t.wantUnknown(rot.To)
	}
	t.wantLive("alice")
	dead, ended := t.end(scsguard.Target{Key: live.Key, IfDue: true}, ending(""))
	if !ended || dead.Ending.Reason != scsguard.EndAbsolute {
		t.failf("the session is %v (%s), not overdue by its absolute limit", dead.State, dead.Ending.Reason)
	}
}
