package registrytest

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/scsguard/scsguard"
)

func readingChecks() []check {
	return []check{
		{name: "what is unknown is an answer and no error", run: unknownIsAnAnswer},
		{name: "a login in progress is unknown to readers", run: reservedIsUnknown},
		{name: "a record keeps every field it was admitted with", run: recordIsWhole},
		{name: "a record that makes no sense lives for nobody", run: nonsense},
		{name: "users with similar names are different users", run: similarUsers},
		{name: "arguments are not changed, and answers do not change later", run: slicesAreValues},
		{name: "namespaces do not see each other's sessions", run: namespacesAreApart},
		{name: "ending all in one namespace does nothing to another", run: namespacesEndApart},
		{name: "two values of one namespace are the same registry", run: namespacesAreShared},
	}
}

func unknownIsAnAnswer(t *trial) {
	key, now := t.key(), time.Now()
	t.wantUnknown(key)
	if t.touch(key, scsguard.Activity{At: now, Event: true}).Live {
		t.failf("Touch of an unknown key says it is live")
	}
	if _, detached := t.detach(key, owner, time.Minute); detached {
		t.failf("Detach of an unknown key says it is detached")
	}
	won, current := t.move(key, scsguard.Rotation{To: t.key(), At: now})
	if won {
		t.failf("Move of an unknown key wins")
	}
	t.wantRecord("Move of an unknown key", current, scsguard.Record{})
	if _, ended := t.end(scsguard.Target{User: "nobody", Session: t.session()}, ending(scsguard.EndAdmin)); ended {
		t.failf("End of an unknown session says that it ended")
	}
	for _, r := range []scsguard.Revocation{{User: "nobody"}, {External: "nothing"}, {Everyone: true}} {
		if ended, total := t.endAll(r); len(ended) != 0 || total != 0 {
			t.failf("EndAll in an empty registry ends %d sessions and returns %s", total, numbers(ended))
		}
	}
	t.confirm(scsguard.Record{Key: key, User: "nobody", Session: t.session(), State: scsguard.StateEnded})
	t.wantSessions("List of an unknown user", t.list("nobody"))
	t.wantSessions("Due of an empty registry", t.due(10))
	t.wantUnknown(key)
}

func reservedIsUnknown(t *trial) {
	adm := t.reserve(t.admission("alice", noCap))
	key := adm.Record.Key
	t.wantUnknown(key)
	t.wantLive("alice")
	if t.touch(key, scsguard.Activity{At: time.Now()}).Live {
		t.failf("Touch says that a login in progress is live")
	}
	if _, detached := t.detach(key, owner, time.Minute); detached {
		t.failf("a login in progress can be detached")
	}
	if won, _ := t.move(key, scsguard.Rotation{To: t.key(), At: time.Now()}); won {
		t.failf("a login in progress can be moved")
	}
	t.wantSessions("Due before the lease is over", t.due(10))
	s := t.settle(adm, true)
	if !s.Live {
		t.failf("the login does not live after Settle, but is %v", s.Record.State)
	}
	t.wantLive("alice", s.Record)
}

func recordIsWhole(t *trial) {
	a := t.admission("alice", noCap)
	r := &a.Record
	r.Role, r.BaseRole, r.Methods, r.AAL, r.LoginAAL = "clerk", "clerk", []string{"pwd", "otp"}, 2, 2
	r.Created, r.AuthTime, r.LastActivity = ago(5*time.Minute), ago(6*time.Minute), ago(4*time.Minute)
	r.AbsoluteSince, r.TokenSince = ago(3*time.Minute), ago(2*time.Minute)
	r.Idle, r.Absolute = 17*time.Minute, time.Now().Add(7*time.Hour)
	r.LongestGap = time.Minute
	r.IP = netip.MustParseAddr("2001:db8::7")
	r.UserAgent = "Agent/1.0 (\xff\xfe '\"\\;) \u2028 <b>" // a header may hold any byte but the control characters
	r.Remembered, r.Actor, r.External = true, "support:7", "https://idp.example|sid-1"
	r.Extra = []byte{0, 1, 0xff, '"', '\n'}
	want := a.Record
	adm := t.reserve(a)
	adm.Record.Seq, want.Seq = 3, 3 // the login has written more than one event
	s := t.settle(adm, true)
	want.State = scsguard.StateLive
	if !s.Live {
		t.failf("the login does not live after Settle, but is %v", s.Record.State)
	}
	t.wantRecord("Settle", s.Record, want)
	t.wantRecord("Get", t.get(want.Key), want)
	t.wantLive("alice", want)
	t.wantRecord("List", t.list("alice")[0], want)
	dead := t.ended(want, scsguard.EndUser)
	t.wantEnded("End", dead, want, scsguard.EventLogout, scsguard.EndUser)
	t.wantEnded("Get of an ended session", t.get(want.Key), want, scsguard.EventLogout, scsguard.EndUser)
}

// nonsense: without the benefit of the doubt. A session that began tomorrow
// would have no limits until then.
func nonsense(t *trial) {
	for what, spoil := range map[string]func(*scsguard.Record){
		"no idle limit":                     func(r *scsguard.Record) { r.Idle = 0 },
		"an absolute limit before it began": func(r *scsguard.Record) { r.Absolute = r.Created.Add(-time.Hour) },
		"activity before it began":          func(r *scsguard.Record) { r.LastActivity = r.Created.Add(-2 * scsguard.ClockSkew) },
		"a beginning in the future": func(r *scsguard.Record) {
			r.Created = r.Created.Add(2 * scsguard.ClockSkew)
			r.LastActivity = r.Created
		},
	} {
		var recs []scsguard.Record
		for _, user := range []string{"ended by IfDue, with ", "ended by a login, with "} {
			a := t.admission(user+what, noCap)
			spoil(&a.Record)
			recs = append(recs, a.Record)
			t.settle(t.reserve(a), true)
			t.wantLive(a.Record.User)
		}
		dead, ended := t.end(scsguard.Target{Key: recs[0].Key, IfDue: true}, ending(""))
		if !ended {
			t.failf("a session with %s is not overdue, but %v", what, dead.State)
		}
		adm := t.reserve(t.admission(recs[1].User, deny(1)))
		t.wantSessions("Overdue", adm.Overdue, recs[1])
		for _, rec := range append(adm.Overdue, dead) {
			if e := rec.Ending; e.Kind != scsguard.EventLogout || e.Reason != scsguard.EndInvalid {
				t.failf("a session with %s ended as %s %q, not as invalid", what, e.Kind, e.Reason)
			}
		}
	}
}

// similarUsers looks for keys made of user IDs without care, and for storage
// that folds case, trims blanks or normalizes Unicode.
func similarUsers(t *trial) {
	users := []string{
		"a", "A", "a ", " a", "a\x00", "a\x00b", "a:b", "a:", ":a", "*", "a*", "?", "[a]", "{a}", "a}", "{", "}{", "%", "_", "'", `\`,
		"\u00e9", "e\u0301", "ss", "\u00df", "\xff", "\xff\xfe", "\xef\xbf\xbd", "\n", "seq", "#nb", "0", "00",
		strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("x", 255) + "y", strings.Repeat("\x00", 256),
	}
	live := make(map[string]scsguard.Record)
	for _, user := range users {
		live[user] = t.login(user, deny(1))
	}
	for _, user := range users {
		t.wantLive(user, live[user])
		if got := t.get(live[user].Key).User; got != user {
			t.failf("the user %q comes back as %q", user, got)
		}
		if t.admit(t.admission(user, deny(1))).Denied != scsguard.DeniedLimit {
			t.failf("the user %q may log in beyond his cap", user)
		}
	}
	for i, user := range users {
		ended, total := t.endAll(scsguard.Revocation{User: user})
		if total != 1 {
			t.failf("EndAll of the user %q ends %d sessions", user, total)
		}
		t.wantSessions("EndAll", ended, live[user])
		t.wantLive(user)
		for _, other := range users[i+1:] {
			if t.get(live[other].Key).State != scsguard.StateLive {
				t.failf("EndAll of the user %q ends the session of %q", user, other)
			}
		}
	}
}

func slicesAreValues(t *trial) {
	a := t.admission("alice", noCap)
	methods, extra := []string{"pwd", "otp"}, []byte("extra")
	a.Record.Methods, a.Record.Extra = slices.Clone(methods), slices.Clone(extra)
	rec := t.complete(a).Record
	t.logins(5, "alice", noCap)
	before := t.get(rec.Key)
	copied := before
	copied.Warnings, copied.Methods, copied.Extra = slices.Clone(before.Warnings), slices.Clone(before.Methods), slices.Clone(before.Extra)
	t.logins(3, "alice", noCap)
	rot := scsguard.Rotation{To: t.key(), At: time.Now(), Auth: &scsguard.Authentication{Time: time.Now(), Methods: []string{"hwk"}, AAL: 3}}
	if won, _ := t.move(rec.Key, rot); !won {
		t.failf("the session does not move")
	}
	t.touch(rot.To, scsguard.Activity{TakeWarnings: true})
	t.endAll(scsguard.Revocation{User: "alice"})
	t.wantRecord("a record that was handed out before", before, copied)
	if !slices.Equal(a.Record.Methods, methods) || !slices.Equal(a.Record.Extra, extra) || rot.Auth.Methods[0] != "hwk" {
		t.failf("an argument has changed: Methods %q, Extra %q, Auth.Methods %q", a.Record.Methods, a.Record.Extra, rot.Auth.Methods)
	}
}

func namespacesAreApart(t *trial) {
	here, there := t.in("customers"), t.in("staff")
	a := here.admission("alice", deny(1))
	a.Record.External = "sid"
	rec := here.complete(a).Record
	for _, other := range []*trial{t, there, t.in("customer"), t.in("customers:"), t.in("Customers")} {
		other.wantUnknown(rec.Key)
		other.wantLive("alice")
		if other.touch(rec.Key, scsguard.Activity{At: time.Now()}).Live {
			t.failf("Touch reaches a session of another namespace")
		}
		if _, detached := other.detach(rec.Key, owner, time.Minute); detached {
			t.failf("Detach reaches a session of another namespace")
		}
		if won, _ := other.move(rec.Key, scsguard.Rotation{To: t.key(), At: time.Now()}); won {
			t.failf("Move reaches a session of another namespace")
		}
		if _, ended := other.end(scsguard.Target{User: "alice", Session: rec.Session}, ending(scsguard.EndAdmin)); ended {
			t.failf("End reaches a session of another namespace")
		}
		adm := other.reserve(other.admission("alice", deny(1))) // a place of its own
		if !adm.LastLogin.Time.IsZero() {
			t.failf("the last login was in another namespace")
		}
		other.settle(adm, false)
	}
	t.complete(t.stale("bob"))
	here.wantSessions("Due of another namespace", here.due(10))
	here.wantLive("alice", rec)
}

func namespacesEndApart(t *trial) {
	here, there := t.in("customers"), t.in("staff")
	a := here.admission("alice", noCap)
	a.Record.External = "sid"
	rec := here.complete(a).Record
	authenticated := time.Now()
	t.wait(tick)
	for _, r := range []scsguard.Revocation{{User: "alice"}, {External: "sid"}, {Everyone: true}} {
		for _, other := range []*trial{t, there} {
			if _, total := other.endAll(r); total != 0 {
				t.failf("EndAll ends %d sessions of another namespace", total)
			}
		}
	}
	here.wantLive("alice", rec)
	late := here.admission("alice", noCap)
	late.Record.External, late.AuthenticatedAt = "sid", authenticated
	here.wantLive("alice", rec, here.complete(late).Record)
}

func namespacesAreShared(t *trial) {
	both := t.twice()
	rec := both[0].login("alice", deny(1))
	both[1].wantLive("alice", rec)
	if both[1].admit(both[1].admission("alice", deny(1))).Denied != scsguard.DeniedLimit {
		t.failf("the cap does not count the sessions of the other value")
	}
	both[1].ended(rec, scsguard.EndUser)
	both[0].wantState(rec, scsguard.StateEnded)
	itself := t.in("")
	rec = t.login("bob", noCap)
	itself.wantLive("bob", rec)
}
