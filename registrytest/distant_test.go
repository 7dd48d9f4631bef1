package registrytest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// distant is a registry at the other end of a network, with a clock of its own:
// each call takes a while, and times travel as ages in whole milliseconds. The
// suite must not ask it for more than it can know.
type distant struct{ reg scsguard.Registry }

const oneWay = 700 * time.Microsecond

// aged turns a time into an age, as it leaves, and back into a time, as it
// arrives.
func aged(times ...*time.Time) {
	left := time.Now().Add(-oneWay)
	for _, t := range times {
		if !t.IsZero() {
			*t = time.Now().Add(-left.Sub(*t).Truncate(time.Millisecond))
		}
	}
}

func agedRecord(r scsguard.Record) scsguard.Record {
	aged(&r.Created, &r.AuthTime, &r.LastActivity, &r.Absolute, &r.AbsoluteSince, &r.TokenSince,
		&r.Lease, &r.MovedAt, &r.GraceUntil, &r.Ending.At, &r.Ending.Due, &r.ReplacedAt)
	r.Warnings = agedWarnings(r.Warnings)
	return r
}

func agedRecords(list []scsguard.Record) []scsguard.Record {
	aged := make([]scsguard.Record, len(list))
	for i, r := range list {
		aged[i] = agedRecord(r)
	}
	return aged
}

func agedWarnings(list []scsguard.Warning) []scsguard.Warning {
	warnings := make([]scsguard.Warning, len(list))
	for i, w := range list {
		aged(&w.Time)
		warnings[i] = w
	}
	return warnings
}

func travel() { time.Sleep(oneWay) }

func (d *distant) Namespace(name string) scsguard.Registry { return &distant{d.reg.Namespace(name)} }

func (d *distant) Get(ctx context.Context, key scsguard.Key) (scsguard.Record, error) {
	travel()
	rec, err := d.reg.Get(ctx, key)
	travel()
	return agedRecord(rec), err
}

func (d *distant) Admit(ctx context.Context, a scsguard.Admission) (scsguard.Admitted, error) {
	travel()
	a.Record = agedRecord(a.Record)
	aged(&a.AuthenticatedAt, &a.By.At)
	adm, err := d.reg.Admit(ctx, a)
	travel()
	aged(&adm.LastLogin.Time)
	adm.Record, adm.Others, adm.Overdue = agedRecord(adm.Record), agedRecords(adm.Others), agedRecords(adm.Overdue)
	return adm, err
}

func (d *distant) Settle(ctx context.Context, a scsguard.Admitted, commit bool) (scsguard.Settled, error) {
	travel()
	s, err := d.reg.Settle(ctx, a, commit)
	travel()
	s.Record, s.Ended = agedRecord(s.Record), agedRecords(s.Ended)
	return s, err
}

func (d *distant) Touch(ctx context.Context, key scsguard.Key, act scsguard.Activity) (scsguard.Touched, error) {
	travel()
	aged(&act.At, &act.Absolute)
	touched, err := d.reg.Touch(ctx, key, act)
	travel()
	touched.Warnings = agedWarnings(touched.Warnings)
	return touched, err
}

func (d *distant) Detach(ctx context.Context, key scsguard.Key, owner string, lease time.Duration) (scsguard.Record, bool, error) {
	travel()
	rec, detached, err := d.reg.Detach(ctx, key, owner, lease)
	travel()
	return agedRecord(rec), detached, err
}

func (d *distant) Move(ctx context.Context, from scsguard.Key, rot scsguard.Rotation) (bool, scsguard.Record, error) {
	travel()
	aged(&rot.At, &rot.Activity, &rot.Absolute)
	if rot.Auth != nil {
		auth := *rot.Auth
		aged(&auth.Time)
		rot.Auth = &auth
	}
	won, rec, err := d.reg.Move(ctx, from, rot)
	travel()
	return won, agedRecord(rec), err
}

func (d *distant) End(ctx context.Context, t scsguard.Target, e scsguard.Ending) (scsguard.Record, bool, error) {
	travel()
	aged(&e.At, &e.Due)
	rec, ended, err := d.reg.End(ctx, t, e)
	travel()
	return agedRecord(rec), ended, err
}

func (d *distant) EndAll(ctx context.Context, r scsguard.Revocation) (scsguard.Revoked, error) {
	travel()
	aged(&r.Ending.At)
	revoked, err := d.reg.EndAll(ctx, r)
	travel()
	aged(&revoked.Before)
	revoked.Ended = agedRecords(revoked.Ended)
	return revoked, err
}

func (d *distant) List(ctx context.Context, user string) ([]scsguard.Record, error) {
	travel()
	list, err := d.reg.List(ctx, user)
	travel()
	return agedRecords(list), err
}

func (d *distant) Due(ctx context.Context, n int) ([]scsguard.Record, error) {
	travel()
	list, err := d.reg.Due(ctx, n)
	travel()
	return agedRecords(list), err
}

func (d *distant) Confirm(ctx context.Context, rec scsguard.Record) error {
	travel()
	err := d.reg.Confirm(ctx, agedRecord(rec))
	travel()
	return err
}

func (d *distant) EndDue(ctx context.Context, keys []scsguard.Key, e scsguard.Ending) ([]scsguard.Record, error) {
	travel()
	aged(&e.At, &e.Due)
	ended, err := d.reg.(scsguard.Batcher).EndDue(ctx, keys, e)
	travel()
	return agedRecords(ended), err
}

func (d *distant) ConfirmAll(ctx context.Context, recs []scsguard.Record) error {
	travel()
	err := d.reg.(scsguard.Batcher).ConfirmAll(ctx, agedRecords(recs))
	travel()
	return err
}

func TestDistantRegistry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := func(context.Context) (scsguard.Registry, error) { return &distant{newPlain("")}, nil }
		require.NoError(t, Check(t.Context(), open))
	})
}
