package registrytest

import (
	"fmt"
	"time"

	"github.com/scsguard/scsguard"
)

func endAllChecks() []check {
	return []check{
		{name: "EndAll ends the sessions of a user but for the exception", run: endAllOfUser},
		{name: "EndAll ends the sessions under an external ID, whoever has them", run: endAllOfExternal},
		{name: "EndAll ends the sessions of everyone but for the exception", run: endAllOfEveryone},
		{name: "of many sessions EndAll returns a thousand, and Due the others at once", run: endAllOfMany},
		{name: "what is overdue is no victim of EndAll but ends by its limit", run: endAllOfTheOverdue},
		{name: "EndAll says since when logins of the user were refused", run: endAllSaysBefore, long: true},
	}
}

// wantAllEnded demands that r ended exactly these sessions, and confirms them.
func (t *trial) wantAllEnded(r scsguard.Revocation, want ...scsguard.Record) {
	before := make(map[string]scsguard.Record)
	for _, rec := range want {
		before[rec.Session] = rec
		if now := t.get(rec.Key); now.State != scsguard.StateUnknown { // not so a login in progress
			before[rec.Session] = now
		}
	}
	r.Ending = request(ending(scsguard.EndRevoked))
	ended, total := t.endAll(r)
	if total != len(want) {
		t.failf("EndAll says that it ended %d sessions, not %d", total, len(want))
	}
	t.wantSet("EndAll", ended, want...)
	for _, rec := range ended {
		t.wantEnded("EndAll", rec, before[rec.Session], scsguard.EventLogout, scsguard.EndRevoked)
		t.wantEnded("Get", t.get(rec.Key), before[rec.Session], scsguard.EventLogout, scsguard.EndRevoked)
		t.wantEnding("EndAll", rec, r.Ending)
		t.confirm(rec)
	}
}

func endAllOfUser(t *trial) {
	bob := t.login("bob", noCap)
	rec, kept, moving, away := t.login("alice", noCap), t.login("alice", noCap), t.login("alice", noCap), t.login("alice", noCap)
	moved := t.moved(moving)
	t.detached(away, owner, absolute)
	reserved := t.reserve(t.admission("alice", noCap)).Record
	t.wantAllEnded(scsguard.Revocation{User: "alice", Except: kept.Session}, rec, moved, away, reserved)
	t.wantLive("alice", kept)
	t.wantLive("bob", bob)
	t.wantAllEnded(scsguard.Revocation{User: "alice"}, kept)
	t.wantAllEnded(scsguard.Revocation{User: "alice"})
	t.wantLive("alice")
	t.wantLive("bob", bob)
	t.wantLive("alice", t.login("alice", deny(1)))
}

func endAllOfExternal(t *trial) {
	under := func(user, external string) scsguard.Record {
		a := t.admission(user, noCap)
		a.Record.External = external
		return t.complete(a).Record
	}
	alice, bob, other, without := under("alice", "sid 1"), under("bob", "sid 1"), under("alice", "sid 2"), under("alice", "")
	moved, gone := t.moved(under("alice", "sid 1")), under("bob", "sid 1")
	t.ended(gone, scsguard.EndUser)
	t.wantAllEnded(scsguard.Revocation{External: "sid 1"}, alice, bob, moved)
	t.wantLive("alice", other, without)
	t.wantLive("bob")
	t.wantAllEnded(scsguard.Revocation{External: "sid 2", Except: other.Session})
	t.wantAllEnded(scsguard.Revocation{External: "sid 2"}, other)
	t.wantLive("alice", without)
}

func endAllOfEveryone(t *trial) {
	alice, bob, carol := t.logins(2, "alice", noCap), t.login("bob", noCap), t.login("carol", noCap)
	moved := t.moved(carol)
	reserved := t.reserve(t.admission("dave", noCap)).Record
	t.wantAllEnded(scsguard.Revocation{Everyone: true, Except: bob.Session}, alice[0], alice[1], moved, reserved)
	t.wantLive("bob", bob)
	t.wantLive("alice")
	t.wantAllEnded(scsguard.Revocation{Everyone: true}, bob)
	t.wantAllEnded(scsguard.Revocation{Everyone: true})
}

func endAllOfMany(t *trial) {
	const n, at = scsguard.MaxRevoked + 30, 10
	t.crowd(at, func(i int) {
		for ; i < n; i += at {
			a := t.admission(fmt.Sprintf("user %d", i), noCap)
			a.Record.External = "sid"
			t.complete(a)
		}
	})
	ended, total := t.endAll(scsguard.Revocation{External: "sid"})
	if total != n || len(ended) > scsguard.MaxRevoked {
		t.failf("EndAll ends %d sessions and returns %d, not %d and at most %d", total, len(ended), n, scsguard.MaxRevoked)
	}
	seen := make(map[string]bool)
	for rest := ended; len(rest) > 0; rest = t.due(10) {
		for _, rec := range rest {
			if seen[rec.Session] {
				t.failf("the session %s is given to two callers", short(rec.Session))
			}
			seen[rec.Session] = true
			if rec.State != scsguard.StateEnded || rec.Ending.Reason != scsguard.EndRevoked {
				t.failf("the session %s is %v (%s), not revoked", short(rec.Session), rec.State, rec.Ending.Reason)
			}
			t.confirm(rec)
		}
	}
	if len(seen) != n {
		t.failf("EndAll and Due together give %d of %d records", len(seen), n)
	}
}

// endAllOfTheOverdue: a session that was over before is not one that the call
// ended, and an auditor who counts would be told otherwise.
func endAllOfTheOverdue(t *trial) {
	for _, r := range []scsguard.Revocation{{User: "alice"}, {External: "sid"}, {Everyone: true}} {
		alive := t.login("alice", noCap)
		a := t.stale("alice")
		a.Record.External = "sid"
		over := t.complete(a).Record
		want := 1
		if r.External != "" {
			want = 0
		}
		r.Ending = ending(scsguard.EndRevoked)
		ended, total := t.endAll(r)
		if total != want || len(ended) != want {
			t.failf("EndAll counts %d sessions and returns %d, not the %d that were alive", total, len(ended), want)
		}
		due := t.due(10)
		t.wantSessions("Due at once after EndAll", due, over)
		t.wantEnded("Due", due[0], over, scsguard.EventTimeout, scsguard.EndIdle)
		if at, _ := over.Due(); !near(due[0].Ending.Due, at) {
			t.failf("the session was due at %v, not %v", at, due[0].Ending.Due)
		}
		t.confirm(due[0])
		for _, rec := range ended {
			t.confirm(rec)
		}
		if want == 0 {
			t.ended(alive, scsguard.EndUser)
		}
	}
}

// endAllSaysBefore: whoever ends a user's sessions twice in one request has to
// know whether somebody else has done so in between.
func endAllSaysBefore(t *trial) {
	expect := func(what, user string, want time.Time) {
		before := t.revoke(scsguard.Revocation{User: user}).Before
		if before.IsZero() != want.IsZero() || !near(before, want) {
			t.failf("%s: EndAll says that logins of %s were refused before %v, not %v", what, user, before, want)
		}
	}
	first := time.Now()
	expect("the first time", "alice", time.Time{})
	expect("the first time, after that of another user", "bob", time.Time{})
	t.wait(2*slack + 500*time.Millisecond) // so that two moments can be told apart
	t.revoke(scsguard.Revocation{External: "sid 1"})
	expect("after that of an external ID, which is nobody's", "alice", first)
	everyone := time.Now()
	t.revoke(scsguard.Revocation{Everyone: true})
	expect("after that of everyone", "bob", everyone)
	expect("after that of everyone only", "carol", everyone)
}
