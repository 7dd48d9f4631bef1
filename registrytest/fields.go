package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

// What a Touch changes besides counting, and that it never decides whether a
// session lives.

func fieldChecks() []check {
	return []check{
		{name: "Touch changes the fields that it names and no other", run: touchFields},
		{name: "without an activity Touch works on an overdue session, and it never ends one", run: touchOverdue},
		{name: "a Touch leaves what is due with who got it", run: touchKeepsLease},
		{name: "a session whose limit is tightened is due at its new limit, and not before", run: tightenedIsDueLater},
	}
}

func touchFields(t *trial) {
	a := t.admission("alice", noCap)
	a.Record.Role, a.Record.BaseRole = "admin", "clerk"
	a.Record.Mismatch, a.Record.Extra = "another digest", []byte{1, 2}
	rec := t.complete(a).Record
	want := rec
	for _, step := range []struct {
		what   string
		act    scsguard.Activity
		change func(*scsguard.Record)
	}{
		{"nothing", scsguard.Activity{}, func(*scsguard.Record) {}},
		{"an event", scsguard.Activity{Event: true}, func(r *scsguard.Record) { r.Seq++ }},
		{"a fingerprint", scsguard.Activity{Fingerprint: "digest by a new key"}, func(r *scsguard.Record) { r.Fingerprint = "digest by a new key" }},
		{"a mismatch", scsguard.Activity{Mismatch: "a third digest"}, func(r *scsguard.Record) { r.Mismatch = "a third digest" }},
		{"something extra", scsguard.Activity{Extra: []byte{0, 0xff}}, func(r *scsguard.Record) { r.Extra = []byte{0, 0xff} }},
		{"an empty Extra, which is not nil", scsguard.Activity{Extra: []byte{}}, func(r *scsguard.Record) { r.Extra = nil }},
		{"the role of the login", scsguard.Activity{ResetRole: true}, func(r *scsguard.Record) { r.Role = r.BaseRole }},
		{"that the authentication is forgotten", scsguard.Activity{ForgetAuth: true}, func(r *scsguard.Record) { r.AuthTime = time.Time{} }},
		{"all of them", scsguard.Activity{
			Event: true, Extended: true, ResetRole: true, ForgetAuth: true, Fingerprint: "f", Mismatch: "m", Extra: []byte("x"),
		}, func(r *scsguard.Record) {
			r.Seq, r.Extends, r.Fingerprint, r.Mismatch, r.Extra = r.Seq+1, r.Extends+1, "f", "m", []byte("x")
		}},
	} {
		step.change(&want)
		if touched := t.touch(rec.Key, step.act); !touched.Live || touched.Seq != want.Seq {
			t.failf("Touch with %s answers live %v and the number %d, not %d", step.what, touched.Live, touched.Seq, want.Seq)
		}
		t.wantRecord("after a Touch with "+step.what, t.get(rec.Key), want)
	}
	proof := scsguard.Authentication{Time: ago(time.Minute), Methods: []string{"pwd"}, AAL: 1}
	if won, current := t.move(rec.Key, scsguard.Rotation{To: t.key(), At: time.Now(), Auth: &proof}); !won || !near(current.AuthTime, proof.Time) {
		t.failf("authenticated again (won %v), the session says that this was at %v, not a minute ago", won, current.AuthTime)
	}
}

// touchOverdue: what a guard has to note of a session must not be lost because
// it is overdue, and only who ends it may decide that it is dead.
func touchOverdue(t *trial) {
	aged := t.stale("bob")
	aged.Record.LastActivity, aged.Record.Idle, aged.Record.Absolute = ago(time.Minute), idle, ago(30*time.Second)
	for reason, a := range map[scsguard.EndReason]scsguard.Admission{scsguard.EndIdle: t.stale("alice"), scsguard.EndAbsolute: aged} {
		a.Record.Role, a.Record.BaseRole = "admin", "clerk"
		rec := t.complete(a).Record
		act := scsguard.Activity{
			At: time.Now(), Idle: 10 * time.Minute, Absolute: ago(10 * time.Second), Event: true, Extended: true, TakeWarnings: true,
			ResetRole: true, ForgetAuth: true, Fingerprint: "f", Mismatch: "m", Extra: []byte("x"),
		}
		if touched := t.touch(rec.Key, act); touched.Live || len(touched.Warnings) > 0 {
			t.failf("Touch records activity of a session whose %s limit has passed", reason)
		}
		t.wantRecord("after activity that was refused", t.get(rec.Key), rec)

		act.At, act.Idle, act.Absolute = time.Time{}, 0, time.Time{}
		if touched := t.touch(rec.Key, act); !touched.Live || touched.Seq != rec.Seq+1 {
			t.failf("Touch without an activity of a session whose %s limit has passed answers live %v and the number %d, not %d",
				reason, touched.Live, touched.Seq, rec.Seq+1)
		}
		want := rec
		want.Seq, want.Extends, want.Role, want.AuthTime = rec.Seq+1, 1, "clerk", time.Time{}
		want.Fingerprint, want.Mismatch, want.Extra = "f", "m", []byte("x")
		t.wantRecord("after a Touch without an activity", t.get(rec.Key), want)
		t.wantLive(rec.User)
		dead, ended := t.end(scsguard.Target{Key: rec.Key, IfDue: true}, ending(""))
		if !ended {
			t.failf("after a Touch without an activity the session is no longer overdue, but %v", dead.State)
		}
		t.wantEnded("End", dead, want, scsguard.EventTimeout, reason)
	}
}

func touchKeepsLease(t *trial) {
	rec := t.complete(t.stale("alice")).Record
	t.wantSessions("Due", t.due(10), rec)
	t.touch(rec.Key, scsguard.Activity{Event: true})
	t.touch(rec.Key, scsguard.Activity{Idle: rec.Idle / 2})
	t.touch(rec.Key, scsguard.Activity{Absolute: ago(time.Minute)})
	t.wantSessions("Due, again at once after a Touch", t.due(10))
}

func tightenedIsDueLater(t *trial) {
	const soon = 300 * time.Millisecond
	byIdle, byAbsolute := t.seen("alice", 10*time.Minute), t.seen("bob", 10*time.Minute)
	t.wantSessions("Due", t.due(10))
	started := time.Now()
	t.touch(byIdle.Key, scsguard.Activity{Idle: time.Since(byIdle.LastActivity) + soon})
	t.touch(byAbsolute.Key, scsguard.Activity{Absolute: started.Add(soon)})
	due := t.due(10)
	if len(due) > 0 && time.Since(started) < soon-tick {
		t.failf("Due hands out %s, whose new limits have not passed yet", numbers(due))
	}
	t.eventually(soon+2*time.Second, func() bool {
		due = append(due, t.due(10)...)
		return len(due) >= 2
	})
	t.wantSet("Due, after the new limits have passed", due, byIdle, byAbsolute)
	t.wantLive("alice")
	t.wantLive("bob")
}
