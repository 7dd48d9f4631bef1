package registrytest

import (
	"time"

	"github.com/scsguard/scsguard"
)

// The methods of the registry, for a trial. An error ends the check: nothing
// that a check asks for is beyond what a registry can do.

func (t *trial) must(method string, err error) {
	if err != nil {
		t.failf("%s: %w", method, err)
	}
}

func (t *trial) get(key scsguard.Key) scsguard.Record {
	rec, err := t.reg.Get(t.ctx, key)
	t.must("Get", err)
	return rec
}

func (t *trial) admit(a scsguard.Admission) scsguard.Admitted {
	adm, err := t.reg.Admit(t.ctx, a)
	t.must("Admit", err)
	return adm
}

func (t *trial) settle(a scsguard.Admitted, commit bool) scsguard.Settled {
	s, err := t.reg.Settle(t.ctx, a, commit)
	t.must("Settle", err)
	return s
}

func (t *trial) touch(key scsguard.Key, act scsguard.Activity) scsguard.Touched {
	touched, err := t.reg.Touch(t.ctx, key, act)
	t.must("Touch", err)
	return touched
}

// owner is who detaches, where only one does.
const owner = "request 1"

func (t *trial) detach(key scsguard.Key, by string, lease time.Duration) (scsguard.Record, bool) {
	rec, detached, err := t.reg.Detach(t.ctx, key, by, lease)
	t.must("Detach", err)
	return rec, detached
}

func (t *trial) move(from scsguard.Key, rot scsguard.Rotation) (bool, scsguard.Record) {
	won, current, err := t.reg.Move(t.ctx, from, rot)
	t.must("Move", err)
	return won, current
}

// moved moves a session to a new key, which must succeed.
func (t *trial) moved(rec scsguard.Record) scsguard.Record {
	won, current := t.move(rec.Key, scsguard.Rotation{To: t.key(), At: time.Now(), Grace: time.Minute, Fingerprint: rec.Fingerprint, Events: 1})
	if !won {
		t.failf("the session %s does not move, but is %v", short(rec.Session), current.State)
	}
	return current
}

func (t *trial) end(target scsguard.Target, e scsguard.Ending) (scsguard.Record, bool) {
	rec, ended, err := t.reg.End(t.ctx, target, e)
	t.must("End", err)
	return rec, ended
}

// ended ends a session by its key, which must succeed.
func (t *trial) ended(rec scsguard.Record, reason scsguard.EndReason) scsguard.Record {
	dead, ok := t.end(scsguard.Target{Key: rec.Key}, ending(reason))
	if !ok {
		t.failf("the session %s cannot be ended: it is %v", short(rec.Session), dead.State)
	}
	return dead
}

func (t *trial) revoke(r scsguard.Revocation) scsguard.Revoked {
	if r.Ending.Kind == "" {
		r.Ending = ending(scsguard.EndRevoked)
	}
	revoked, err := t.reg.EndAll(t.ctx, r)
	t.must("EndAll", err)
	return revoked
}

func (t *trial) endAll(r scsguard.Revocation) ([]scsguard.Record, int) {
	revoked := t.revoke(r)
	return revoked.Ended, revoked.Total
}

func (t *trial) list(user string) []scsguard.Record {
	list, err := t.reg.List(t.ctx, user)
	t.must("List", err)
	return list
}

func (t *trial) due(n int) []scsguard.Record {
	list, err := t.reg.Due(t.ctx, n)
	t.must("Due", err)
	if len(list) > n {
		t.failf("Due(%d) hands out %d records", n, len(list))
	}
	return list
}

func (t *trial) confirm(rec scsguard.Record) {
	t.must("Confirm", t.reg.Confirm(t.ctx, rec))
}
