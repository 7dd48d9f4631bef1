package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

// After EndAll nobody gets in by what he proved before.

func notBeforeChecks() []check {
	return []check{
		{name: "a login authenticated before EndAll of the user is refused", run: notBefore(scsguard.Revocation{User: "alice"})},
		{name: "a login authenticated before EndAll of the external ID is refused", run: notBefore(scsguard.Revocation{External: "sid 1"})},
		{name: "a login authenticated before EndAll of everyone is refused", run: notBefore(scsguard.Revocation{Everyone: true})},
		{name: "a login in progress at EndAll of the user never lives", run: inProgress(scsguard.Revocation{User: "alice"})},
		{name: "a login in progress at EndAll of the external ID never lives", run: inProgress(scsguard.Revocation{External: "sid 1"})},
		{name: "a login in progress at EndAll of everyone never lives", run: inProgress(scsguard.Revocation{Everyone: true})},
	}
}

// concerned returns an admission that each of the revocations above names.
func (t *trial) concerned(authenticated time.Time) scsguard.Admission {
	a := t.admission("alice", noCap)
	a.Record.External, a.AuthenticatedAt = "sid 1", authenticated
	return a
}

// bystanders returns admissions that r does not name.
func (t *trial) bystanders(r scsguard.Revocation, authenticated time.Time) []scsguard.Admission {
	another := t.concerned(authenticated)
	switch {
	case r.Everyone:
		return nil
	case r.User != "":
		another.Record.User = "bob"
		return []scsguard.Admission{another}
	}
	another.Record.External = "sid 2"
	without := t.concerned(authenticated)
	without.Record.External = ""
	return []scsguard.Admission{another, without}
}

func notBefore(r scsguard.Revocation) func(*trial) {
	return func(t *trial) {
		refused := func(what string, authenticated time.Time) {
			a := t.concerned(authenticated)
			if adm := t.admit(a); adm.Denied != scsguard.DeniedRevoked {
				t.failf("a login authenticated %s is not refused (Denied is %q)", what, adm.Denied)
			}
			t.wantUnknown(a.Record.Key)
		}
		t.settle(t.reserve(t.concerned(time.Time{})), false) // unknown is allowed while there was no EndAll
		before := time.Now()
		t.wait(tick)
		at := time.Now()
		t.endAll(r)
		if time.Now().Equal(at) { // the clock stands still
			t.settle(t.reserve(t.concerned(at)), false)
			refused("a nanosecond before EndAll", at.Add(-1))
		}
		refused("before EndAll", before)
		refused("an hour before EndAll", before.Add(-time.Hour))
		refused("nobody knows when", time.Time{})
		for _, authenticated := range []time.Time{before, {}} {
			for _, a := range t.bystanders(r, authenticated) {
				t.settle(t.reserve(a), false)
			}
		}
		t.wait(tick)
		between := time.Now()
		rec := t.complete(t.concerned(between)).Record
		t.wantLive("alice", rec)
		t.wait(tick)
		ended, total := t.endAll(r)
		if total != 1 {
			t.failf("the second EndAll ends %d sessions, not 1", total)
		}
		t.wantSessions("EndAll", ended, rec)
		refused("between two EndAll", between)
		t.wait(tick)
		t.wantLive("alice", t.complete(t.concerned(time.Now())).Record)
	}
}

func inProgress(r scsguard.Revocation) func(*trial) {
	return func(t *trial) {
		old := t.complete(t.concerned(time.Now())).Record
		a := t.concerned(time.Now())
		a.Limit = evict(1)
		adm := t.reserve(a)
		others := t.bystanders(r, time.Now())
		var spared []scsguard.Admitted
		for _, other := range others {
			spared = append(spared, t.reserve(other))
		}
		ended, total := t.endAll(r)
		if total != 2 {
			t.failf("EndAll ends %d sessions, not the live one and the one in progress", total)
		}
		t.wantSet("EndAll", ended, old, adm.Record)
		s := t.settle(adm, true)
		if s.Live || s.Record.State != scsguard.StateEnded || s.Record.Ending.Reason != scsguard.EndRevoked {
			t.failf("after EndAll the login is %v (%s), not revoked", s.Record.State, s.Record.Ending.Reason)
		}
		t.wantSessions("Ended", s.Ended)
		t.wantState(old, scsguard.StateEnded)
		t.wantState(adm.Record, scsguard.StateEnded)
		for _, other := range spared {
			if !t.settle(other, true).Live {
				t.failf("EndAll ends a login that it does not name")
			}
		}
	}
}
