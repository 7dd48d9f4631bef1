package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

// Whom a login beyond the cap meets, and who has to go for it.

func capChecks() []check {
	return []check{
		{name: "without a cap, and with Warn, everybody is let in", run: warnLetsIn},
		{name: "Deny refuses the login beyond the cap and lists who fills it", run: denyRefuses},
		{name: "a place is taken from Admit on", run: placesAreReserved},
		{name: "EvictOldest ends the oldest and never the newest", run: evictsOldest},
		{name: "the oldest is who was admitted first, whatever the clocks say", run: orderOfAdmission},
		{name: "a lower cap evicts as many as it takes", run: lowerCap},
		{name: "a login replaces the session of its browser and costs no place", run: replaces},
		{name: "logins that came with the same token replace each other", run: sameBrowser},
		{name: "the session that the user chose to end costs no place", run: chosenEnd},
		{name: "overdue sessions are ended before they are discounted", run: overdueAreEnded},
		{name: "a login gets no key that has a record", run: usedKeys},
		{name: "a login is told what lies under its key", run: keyIsTaken},
		{name: "a login is told of the login before it", run: lastLogin},
		{name: "the others are warned of a login once", run: warnings},
	}
}

func warnLetsIn(t *trial) {
	for _, limit := range []scsguard.Limit{noCap, warn(1), {Max: 0, OnExceed: scsguard.EvictOldest}, {Max: 0, OnExceed: scsguard.Deny}} {
		user := "user of " + limit.OnExceed.String()
		if limit == noCap {
			user = "alice"
		}
		var live []scsguard.Record
		for range 4 {
			adm := t.reserve(t.admission(user, limit))
			t.wantSessions("Others", adm.Others, live...)
			s := t.settle(adm, true)
			t.wantSessions("Ended", s.Ended)
			live = append(live, s.Record)
			t.wantLive(user, live...)
		}
	}
}

func denyRefuses(t *trial) {
	live := t.logins(2, "alice", deny(2))
	a := t.admission("alice", deny(2))
	for range 2 { // a refusal takes no place
		adm := t.admit(a)
		if adm.Denied != scsguard.DeniedLimit {
			t.failf("a third login at a cap of two is not denied by the limit (Denied is %q)", adm.Denied)
		}
		t.wantSessions("Others of a refusal", adm.Others, live...)
		t.wantRecord("Others of a refusal", adm.Others[0], t.get(live[0].Key))
		t.wantUnknown(a.Record.Key)
		t.wantLive("alice", live...)
	}
	t.login("bob", deny(2)) // somebody else's cap is his own
	t.ended(live[0], scsguard.EndUser)
	t.wantLive("alice", live[1], t.complete(a).Record)
}

func placesAreReserved(t *trial) {
	first := t.reserve(t.admission("alice", deny(1)))
	if t.admit(t.admission("alice", deny(1))).Denied != scsguard.DeniedLimit {
		t.failf("two logins in progress have the only place")
	}
	rec := t.settle(first, true).Record
	t.ended(rec, scsguard.EndUser)
	second := t.reserve(t.admission("alice", deny(1)))
	t.settle(second, false)
	t.wantLive("alice", t.login("alice", deny(1)))
}

func evictsOldest(t *trial) {
	var live []scsguard.Record
	for range 6 {
		a := t.admission("alice", evict(2))
		a.By = request(a.By)
		var victims []scsguard.Record
		if len(live) == 2 {
			victims, live = live[:1], live[1:]
		}
		adm := t.reserve(a)
		t.wantSessions("Others", adm.Others, live...)
		t.wantLive("alice", append(append([]scsguard.Record(nil), victims...), live...)...) // alive until Settle
		s := t.settle(adm, true)
		if !s.Live {
			t.failf("the newest login is the victim: it is %v (%s)", s.Record.State, s.Record.Ending.Reason)
		}
		live = append(live, s.Record)
		t.wantLive("alice", live...)
		t.wantSessions("Ended", s.Ended, victims...)
		for i, rec := range s.Ended {
			// The others have been warned meanwhile; that changes no number.
			t.wantEnded("Settle", rec, victims[i], scsguard.EventLogout, scsguard.EndEvicted)
			t.wantEnded("Get", t.get(rec.Key), victims[i], scsguard.EventLogout, scsguard.EndEvicted)
			want := a.By
			want.Reason = scsguard.EndEvicted
			t.wantEnding("Settle", rec, want)
		}
	}
}

func orderOfAdmission(t *trial) {
	// Three processes, whose clocks differ by seconds, and two logins in one
	// moment.
	now := time.Now()
	var live []scsguard.Record
	for _, offset := range []time.Duration{2 * time.Second, -2 * time.Second, 0, 0, -time.Second} {
		a := t.admission("alice", noCap)
		at := now.Add(offset)
		a.Record.Created, a.Record.LastActivity, a.Record.AuthTime = at, at, at
		live = append(live, t.complete(a).Record)
		t.wantLive("alice", live...)
	}
	early, late := t.admission("alice", noCap), t.admission("alice", noCap)
	first, second := t.reserve(early), t.reserve(late)
	rec := t.settle(second, true).Record // it overtakes the other, and stays behind it
	live = append(live, t.settle(first, true).Record, rec)
	t.wantLive("alice", live...)
	live[0] = t.moved(live[0]) // a new token makes no session younger
	t.wantLive("alice", live...)
	for len(live) > 1 {
		a := t.admission("alice", evict(len(live)))
		a.Record.Created, a.Record.LastActivity = now.Add(-time.Minute), now.Add(-time.Minute)
		s := t.complete(a)
		t.wantSessions("Ended", s.Ended, live[0])
		live = append(live[1:], s.Record)
		t.ended(live[0], scsguard.EndUser)
		live = live[1:]
	}
}

func lowerCap(t *trial) {
	live := t.logins(4, "alice", noCap)
	adm := t.admit(t.admission("alice", deny(2)))
	if adm.Denied != scsguard.DeniedLimit {
		t.failf("a fifth login at a cap of two is not denied")
	}
	t.wantSessions("Others of a refusal", adm.Others, live...)
	s := t.complete(t.admission("alice", evict(2)))
	t.wantSessions("Ended", s.Ended, live[:3]...)
	t.wantLive("alice", live[3], s.Record)
}

func replaces(t *trial) {
	prior := t.login("alice", deny(1))
	a := t.admission("alice", deny(1))
	a.Replaces = prior.Session
	adm := t.reserve(a)
	t.wantSessions("Others", adm.Others)
	t.wantLive("alice", prior)
	s := t.settle(adm, true)
	t.wantSessions("Ended", s.Ended, prior)
	t.wantEnded("Settle", s.Ended[0], prior, scsguard.EventLogout, scsguard.EndReplaced)
	t.wantLive("alice", s.Record)

	bob := t.login("bob", deny(1)) // Replaces means the user's own sessions only
	other := t.admission("alice", evict(2))
	other.Replaces = bob.Session
	t.complete(other)
	t.wantLive("bob", bob)
}

func sameBrowser(t *trial) {
	token := t.key()
	from := func(browser scsguard.Key, limit scsguard.Limit) scsguard.Admission {
		a := t.admission("alice", limit)
		a.Browser = browser
		return a
	}
	first := t.complete(from(token, deny(1))).Record
	second := t.complete(from(token, deny(1)))
	t.wantSessions("Ended", second.Ended, first)
	t.wantEnded("Settle", second.Ended[0], first, scsguard.EventLogout, scsguard.EndReplaced)

	// Two tabs at the same time: the later one is the browser's session.
	one := t.reserve(from(token, deny(1)))
	two := t.reserve(from(token, deny(1)))
	s := t.settle(two, true)
	if !s.Live {
		t.failf("the login of the second tab does not live")
	}
	late := t.settle(one, true)
	if late.Live || late.Record.Ending.Reason != scsguard.EndReplaced {
		t.failf("the login of the first tab is %v (%s), not replaced", late.Record.State, late.Record.Ending.Reason)
	}
	t.wantLive("alice", s.Record)

	// A browser that sent no token is not the same as another that sent none.
	t.complete(from("", deny(2)))
	if t.admit(from("", deny(2))).Denied != scsguard.DeniedLimit {
		t.failf("a login without a token replaces another one without a token")
	}
}

func chosenEnd(t *trial) {
	live := t.logins(2, "alice", deny(2))
	a := t.admission("alice", deny(2))
	a.End = live[1].Session
	adm := t.reserve(a)
	t.wantSessions("Others", adm.Others, live[0])
	s := t.settle(adm, true)
	t.wantSessions("Ended", s.Ended, live[1])
	t.wantEnded("Settle", s.Ended[0], live[1], scsguard.EventLogout, scsguard.EndUser)
	t.wantLive("alice", live[0], s.Record)

	bob := t.login("bob", deny(1)) // nobody makes room by another user's session
	other := t.admission("alice", deny(2))
	other.End = bob.Session
	if t.admit(other).Denied != scsguard.DeniedLimit {
		t.failf("another user's session makes room")
	}
	t.wantLive("bob", bob)
}

func overdueAreEnded(t *trial) {
	aged := t.stale("alice")
	aged.Record.LastActivity, aged.Record.Idle, aged.Record.Absolute = ago(time.Minute), idle, ago(30*time.Second)
	over := t.sideBySide(t.stale("alice"), aged)
	adm := t.reserve(t.admission("alice", deny(1)))
	t.wantSessions("Others", adm.Others)
	t.wantSessions("Overdue", adm.Overdue, over...)
	t.wantEnded("Overdue", adm.Overdue[0], over[0], scsguard.EventTimeout, scsguard.EndIdle)
	t.wantEnded("Overdue", adm.Overdue[1], over[1], scsguard.EventTimeout, scsguard.EndAbsolute)
	for _, rec := range adm.Overdue {
		due, _ := rec.Due()
		if !near(rec.Ending.Due, due) {
			t.failf("Overdue: the session was due at %v, not %v", rec.Ending.Due, due)
		}
	}
	// A request that was under way before the deadline comes too late: the place
	// is somebody else's.
	if t.touch(over[0].Key, scsguard.Activity{At: ago(11 * time.Minute)}).Live {
		t.failf("a session that was discounted is live")
	}
	t.settle(adm, false)
	t.wantState(over[0], scsguard.StateEnded)
	t.wantLive("alice", t.login("alice", deny(1)))
}

func usedKeys(t *trial) {
	live, moving, dead, buried := t.login("alice", noCap), t.login("alice", noCap), t.login("alice", noCap), t.key()
	moved := t.moved(moving)
	t.ended(dead, scsguard.EndUser)
	t.end(scsguard.Target{Key: buried}, ending(scsguard.EndAborted))
	reserved := t.reserve(t.admission("alice", noCap))
	for what, key := range map[string]scsguard.Key{
		"a live session": live.Key, "a session that moved": moving.Key, "a session that ended": dead.Key,
		"a tombstone": buried, "a login in progress": reserved.Record.Key,
	} {
		before := t.get(key)
		a := t.admission("bob", noCap)
		a.Record.Key = key
		if adm := t.admit(a); adm.Denied == "" && t.settle(adm, true).Live {
			t.failf("a login gets the key of %s", what)
		}
		t.wantRecord("the key of "+what, t.get(key), before)
	}
	t.wantLive("bob")
	t.wantLive("alice", live, moved, t.settle(reserved, true).Record)
}

// keyIsTaken: a tombstone says nothing about anybody, and a record is the
// caller's own.
func keyIsTaken(t *trial) {
	live, dead, buried := t.login("alice", noCap), t.login("alice", noCap), t.key()
	t.ended(dead, scsguard.EndUser)
	t.end(scsguard.Target{Key: buried}, ending(scsguard.EndAborted))
	a := t.admission("alice", noCap)
	a.Record.Key = live.Key
	adm := t.admit(a)
	if adm.Denied != scsguard.DeniedExists {
		t.failf("a login under the key of a live session of the same user is denied as %q, not as %q", adm.Denied, scsguard.DeniedExists)
	}
	t.wantRecord("the record under the key", adm.Record, t.get(live.Key))
	first := t.reserve(t.admission("alice", noCap))
	a.Record.Key = first.Record.Key
	if adm := t.admit(a); adm.Denied != scsguard.DeniedExists || adm.Record.State != scsguard.StateReserved {
		t.failf("a login under the key of one in progress is denied as %q with a record that is %v, not as %q with one that is reserved", adm.Denied, adm.Record.State, scsguard.DeniedExists)
	}
	b := t.admission("bob", deny(1))
	second := t.reserve(b)
	if b.Record.Session += "again"; t.admit(b).Denied != scsguard.DeniedExists {
		t.failf("a login under the key of one in progress that fills the limit is denied by the limit, which that very key fills")
	}
	t.settle(first, false)
	t.settle(second, false)
	for what, key := range map[string]scsguard.Key{"a session that has ended": dead.Key, "a tombstone": buried} {
		a := t.admission("alice", noCap)
		a.Record.Key = key
		if adm := t.admit(a); adm.Denied != scsguard.DeniedRevoked {
			t.failf("a login under the key of %s is denied as %q, not as %q", what, adm.Denied, scsguard.DeniedRevoked)
		}
	}
	t.wantLive("alice", live)
}

func lastLogin(t *trial) {
	want := scsguard.LastLogin{}
	expect := func(what string, adm scsguard.Admitted) {
		if l := adm.LastLogin; l.Time.IsZero() != want.Time.IsZero() || !near(l.Time, want.Time) || l.IP != want.IP || l.UserAgent != want.UserAgent {
			t.failf("%s: the last login is %v, not %v", what, l, want)
		}
	}
	first := t.admission("alice", noCap)
	first.Record.Created, first.Record.LastActivity = ago(10*time.Minute), ago(10*time.Minute)
	adm := t.reserve(first)
	expect("the first login", adm)
	rec := t.settle(adm, true).Record
	want = scsguard.LastLogin{Time: rec.Created, IP: rec.IP, UserAgent: rec.UserAgent}
	t.ended(rec, scsguard.EndUser)
	undone := t.reserve(t.admission("alice", noCap))
	expect("a login after the session has ended", undone)
	t.settle(undone, false)
	older := t.admission("alice", noCap)
	older.Record.Created, older.Record.LastActivity = ago(20*time.Minute), ago(5*time.Minute)
	adm = t.reserve(older)
	expect("a login after one that was undone", adm)
	t.settle(adm, true)
	adm = t.reserve(t.admission("alice", noCap))
	expect("a login after an older session was enrolled", adm)
	t.settle(adm, true)
	want = scsguard.LastLogin{}
	expect("another user's login", t.reserve(t.admission("bob", noCap)))
}

func warnings(t *trial) {
	take := func(rec scsguard.Record) []scsguard.Warning {
		touched := t.touch(rec.Key, scsguard.Activity{TakeWarnings: true})
		if !touched.Live {
			t.failf("the session %s is not live", short(rec.Session))
		}
		return touched.Warnings
	}
	expect := func(what string, got []scsguard.Warning, want ...scsguard.Record) {
		if len(got) != len(want) {
			t.failf("%s: %d warnings, not %d", what, len(got), len(want))
		}
		for i, w := range got {
			if rec := want[i]; w.Session != rec.Session || w.IP != rec.IP || w.UserAgent != rec.UserAgent || !near(w.Time, rec.Created) {
				t.failf("%s: warning %d is %v, not of the login %s", what, i, w, short(rec.Session))
			}
		}
	}
	first := t.login("alice", noCap)
	t.settle(t.reserve(t.admission("alice", noCap)), false)
	expect("a login that was undone", take(first))
	second := t.login("alice", noCap)
	t.login("bob", noCap)
	expect("the record", t.get(first.Key).Warnings, second)
	if w := t.touch(first.Key, scsguard.Activity{At: time.Now()}).Warnings; len(w) != 0 {
		t.failf("Touch hands out warnings that nobody asked for")
	}
	first = t.moved(first)
	expect("after a move", take(first), second)
	expect("the second time", take(first))
	expect("the new session itself", take(second))
	many := t.logins(7, "alice", noCap)
	expect("after seven logins the last five", take(first), many[2:]...)
	expect("the second time", take(first))
}
