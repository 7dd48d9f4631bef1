package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

// A login whose process died between Admit and Settle. It holds its place for
// a lease and no longer.

func abandonedChecks() []check {
	return []check{
		{name: "a login that nobody settles is undone after its lease", run: abandonedIsDue, long: true},
		{name: "an abandoned login holds no place after its lease", run: abandonedPlace, long: true},
		{name: "the victims of an abandoned login count again", run: abandonedVictims, long: true},
	}
}

func abandonedIsDue(t *trial) {
	old := t.login("alice", evict(1))
	adm := t.reserve(t.admission("alice", evict(1)))
	t.wantSessions("Due before the lease is over", t.due(10))
	if _, ended := t.end(scsguard.Target{Key: adm.Record.Key, IfDue: true}, ending("")); ended {
		t.failf("a login in progress ends before its lease is over")
	}
	t.afterLease()
	t.wantSessions("Due after the lease", t.due(10), adm.Record)
	rec, ended := t.end(scsguard.Target{Key: adm.Record.Key, IfDue: true}, ending(""))
	if !ended || rec.Ending.Kind != scsguard.EventLogout || rec.Ending.Reason != scsguard.EndAborted {
		t.failf("the abandoned login is %v (%s %q), not aborted", rec.State, rec.Ending.Kind, rec.Ending.Reason)
	}
	s := t.settle(adm, true) // the process was only slow
	if s.Live || s.Record.Ending.Reason != scsguard.EndAborted || len(s.Ended) != 0 {
		t.failf("settled too late, the login is %v (%s) and ends %s", s.Record.State, s.Record.Ending.Reason, numbers(s.Ended))
	}
	t.wantLive("alice", old)
	s = t.complete(t.admission("alice", noCap))
	t.wantSessions("Ended", s.Ended)
	t.wantLive("alice", old, s.Record)
}

func abandonedPlace(t *trial) {
	started := time.Now()
	adm := t.reserve(t.admission("alice", deny(1)))
	refused := t.admit(t.admission("alice", deny(1)))
	if refused.Denied != scsguard.DeniedLimit && time.Since(started) < scsguard.Lease {
		t.failf("a login in progress holds no place")
	}
	t.afterLease()
	a := t.admission("alice", deny(1))
	next := t.reserve(a)
	t.wantSessions("Overdue", next.Overdue, adm.Record)
	if e := next.Overdue[0].Ending; e.Kind != scsguard.EventLogout || e.Reason != scsguard.EndAborted {
		t.failf("Overdue: the abandoned login ended as %s %q, not as aborted", e.Kind, e.Reason)
	}
	s := t.settle(next, true)
	if t.settle(adm, true).Live {
		t.failf("a login lives although its place was given to another one")
	}
	t.wantLive("alice", s.Record)
}

// abandonedVictims: who had to go for the abandoned login stays, and therefore
// has to go for the next one.
func abandonedVictims(t *trial) {
	for _, user := range []string{"evicted", "replaced"} {
		prior := t.login(user, evict(1))
		a := t.admission(user, evict(1))
		if user == "replaced" {
			a.Replaces = prior.Session
		}
		t.reserve(a)
	}
	t.afterLease()
	for _, user := range []string{"evicted", "replaced"} {
		s := t.complete(t.admission(user, evict(1)))
		t.wantLive(user, s.Record)
	}
}
