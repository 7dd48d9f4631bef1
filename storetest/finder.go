package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// Pair is a store that is a [scsguard.RecordFinder], with a registry that it can
// read and one that it cannot. Both are empty.
type Pair struct {
	Store    scs.Store
	Registry scsguard.Registry
	// Foreign is a registry that the store knows nothing of. Default: a
	// [scsguard.MemoryRegistry].
	Foreign scsguard.Registry
}

// RunFinder checks that a store which is a [scsguard.RecordFinder] returns what its
// registry and the store itself would, as subtests. open returns an empty pair
// each time.
func RunFinder(t *testing.T, open func(t *testing.T) Pair) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, c := range finderChecks() {
		t.Run(c.name, func(t *testing.T) { report(t, c.try(ctx, open(t))) })
	}
}

// CheckFinder is RunFinder outside of tests: it returns all failures, joined.
func CheckFinder(ctx context.Context, open func(ctx context.Context) (Pair, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var errs []error
	for _, c := range finderChecks() {
		pair, err := open(ctx)
		if err == nil {
			err = c.try(ctx, pair)
		} else {
			err = fmt.Errorf("%s: open: %w", c.name, err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

type finderCheck struct {
	name string
	run  func(context.Context, *finder) error
}

func (c finderCheck) try(ctx context.Context, p Pair) error {
	reader, ok := p.Store.(scsguard.RecordFinder)
	if !ok {
		return fmt.Errorf("%s: %T is no scsguard.RecordFinder", c.name, p.Store)
	}
	if p.Foreign == nil {
		p.Foreign = scsguard.NewMemoryRegistry()
	}
	if err := c.run(ctx, &finder{Pair: p, reader: reader, client: newClient(p.Store)}); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

func finderChecks() []finderCheck {
	return []finderCheck{
		{"record and data are those that registry and store return", sameAsBoth},
		{"a registry of another kind is not answered for", foreign},
		{"each namespace has its own records", ownNamespace},
		{"a lookup beside writes returns a whole record and whole data", besideWrites},
		{"a lookup whose context is done returns an error", finderGivesUp},
	}
}

// finder is a pair under test.
type finder struct {
	Pair
	reader scsguard.RecordFinder
	client *client
}

// login makes a live session, with or without data.
func (f *finder) login(ctx context.Context, r scsguard.Registry, data []byte) (scsguard.Key, error) {
	key, now := scsguard.Key(newToken()), time.Now()
	adm, err := r.Admit(ctx, scsguard.Admission{
		Record: scsguard.Record{
			Session: newToken(), User: "alice:*{\x00", Role: "clerk", BaseRole: "clerk", Key: key, Created: now, AuthTime: now, Methods: []string{"pwd", "otp"},
			AAL: 2, LoginAAL: 2, LastActivity: now, Idle: time.Hour, Absolute: now.Add(8 * time.Hour), AbsoluteSince: now, TokenSince: now,
			Fingerprint: "F", IP: netip.MustParseAddr("192.0.2.1"), UserAgent: "UA", Seq: 1,
		},
		AuthenticatedAt: now, Retention: time.Hour,
	})
	if err != nil {
		return key, fmt.Errorf("admit: %w", err)
	}
	if data != nil {
		if err := f.client.commit(ctx, string(key), data, later()); err != nil {
			return key, fmt.Errorf("commit: %w", err)
		}
	}
	if _, err := r.Settle(ctx, adm, true); err != nil {
		return key, fmt.Errorf("settle: %w", err)
	}
	return key, nil
}

// want demands what the registry and the store return by themselves. Data of what
// is neither live nor unknown is nobody's, and may be left out.
func (f *finder) want(ctx context.Context, r scsguard.Registry, key scsguard.Key) error {
	wantRec, err := r.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	wantData, wantFound, err := f.client.find(ctx, string(key))
	if err != nil {
		return fmt.Errorf("find: %w", err)
	}
	rec, data, found, ok, err := f.reader.FindRecordCtx(ctx, r, key)
	needed := wantRec.State == scsguard.StateLive || wantRec.State == scsguard.StateUnknown
	switch {
	case err != nil:
		return fmt.Errorf("find record: %w", err)
	case !ok:
		return errors.New("find record: it does not answer for its own registry")
	case !sameRecord(rec, wantRec):
		return fmt.Errorf("find record: %+v, where Get returns %+v", rec, wantRec)
	case needed && (found != wantFound || found && !bytes.Equal(data, wantData)):
		return fmt.Errorf("find record: data %.20q (found: %v), where FindCtx returns %.20q (%v)", data, found, wantData, wantFound)
	}
	return nil
}

// sameRecord compares all that a registry keeps as it is. A registry that keeps
// times by a clock of its own reckons them anew in each answer.
func sameRecord(a, b scsguard.Record) bool {
	for _, t := range [][2]*time.Time{
		{&a.Created, &b.Created}, {&a.AuthTime, &b.AuthTime}, {&a.LastActivity, &b.LastActivity}, {&a.Absolute, &b.Absolute}, {&a.AbsoluteSince, &b.AbsoluteSince},
		{&a.TokenSince, &b.TokenSince}, {&a.Lease, &b.Lease}, {&a.MovedAt, &b.MovedAt}, {&a.GraceUntil, &b.GraceUntil}, {&a.ReplacedAt, &b.ReplacedAt},
		{&a.Ending.At, &b.Ending.At}, {&a.Ending.Due, &b.Ending.Due},
	} {
		if d := t[0].Sub(*t[1]).Abs(); d > time.Second || t[0].IsZero() != t[1].IsZero() {
			return false
		}
		*t[0], *t[1] = time.Time{}, time.Time{}
	}
	return reflect.DeepEqual(a, b)
}

func sameAsBoth(ctx context.Context, f *finder) error {
	live, err := f.login(ctx, f.Registry, []byte("data of a login"))
	if err != nil {
		return err
	}
	bare, err := f.login(ctx, f.Registry, nil)
	if err != nil {
		return err
	}
	ended, err := f.login(ctx, f.Registry, []byte("data of what has ended"))
	if err != nil {
		return err
	}
	if _, _, err := f.Registry.End(ctx, scsguard.Target{Key: ended}, scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndUser, At: time.Now()}); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	detached, err := f.login(ctx, f.Registry, []byte("data of what is detached"))
	if err != nil {
		return err
	}
	if _, _, err := f.Registry.Detach(ctx, detached, "owner", time.Minute); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	moved, err := f.login(ctx, f.Registry, []byte("data of what has moved"))
	if err != nil {
		return err
	}
	next := scsguard.Key(newToken())
	if _, _, err := f.Registry.Move(ctx, moved, scsguard.Rotation{To: next, At: time.Now(), Grace: time.Minute, Fingerprint: "G"}); err != nil {
		return fmt.Errorf("move: %w", err)
	}
	anonymous, err := f.client.keep(ctx, []byte("data of a guest"), later())
	if err != nil {
		return err
	}
	reserved := scsguard.Key(newToken())
	now := time.Now()
	if _, err := f.Registry.Admit(ctx, scsguard.Admission{
		Record: scsguard.Record{Session: newToken(), User: "bob", Key: reserved, Created: now, LastActivity: now, Idle: time.Hour, Absolute: now.Add(time.Hour)},
	}); err != nil {
		return fmt.Errorf("admit: %w", err)
	}
	for name, key := range map[string]scsguard.Key{
		"a login": live, "a login without data": bare, "an ended session": ended, "a detached session": detached, "a moved session": moved, "its successor": next,
		"a guest": scsguard.Key(anonymous), "a reserved place": reserved, "nothing": scsguard.Key(newToken()),
	} {
		if err := f.want(ctx, f.Registry, key); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func foreign(ctx context.Context, f *finder) error {
	key, err := f.login(ctx, f.Foreign, []byte("data"))
	if err != nil {
		return err
	}
	rec, _, _, ok, err := f.reader.FindRecordCtx(ctx, f.Foreign, key)
	switch {
	case err != nil:
		return fmt.Errorf("find record: %w", err)
	case ok:
		return fmt.Errorf("find record: it answers %v for a registry that it cannot read", rec.State)
	}
	return nil
}

func ownNamespace(ctx context.Context, f *finder) error {
	staff, customers := f.Registry.Namespace("staff"), f.Registry.Namespace("customers")
	key, err := f.login(ctx, staff, []byte("data"))
	if err != nil {
		return err
	}
	for _, r := range []scsguard.Registry{f.Registry, staff, customers} {
		if err := f.want(ctx, r, key); err != nil {
			return err
		}
	}
	return nil
}

func besideWrites(ctx context.Context, f *finder) error {
	data := func(n int) []byte { return bytes.Repeat([]byte{'a' + byte(n%26)}, 1000+n%26) }
	key, err := f.login(ctx, f.Registry, data(0))
	if err != nil {
		return err
	}
	var once sync.Once
	stop := make(chan struct{})
	return crowd(4, func(i int) error {
		for round := 1; ; round++ {
			if i == 0 {
				defer once.Do(func() { close(stop) })
				if round > 50 {
					return nil
				}
				if _, err := f.Registry.Touch(ctx, key, scsguard.Activity{At: time.Now(), Event: true}); err != nil {
					return fmt.Errorf("touch: %w", err)
				}
				if err := f.client.commit(ctx, string(key), data(round), later()); err != nil {
					return fmt.Errorf("commit: %w", err)
				}
				if err := wait(ctx, time.Nanosecond); err != nil { // so that others come between two writes, also in a bubble
					return err
				}
				continue
			}
			select {
			case <-stop:
				return nil
			default:
			}
			rec, b, found, _, err := f.reader.FindRecordCtx(ctx, f.Registry, key)
			switch {
			case err != nil:
				return fmt.Errorf("find record: %w", err)
			case rec.State != scsguard.StateLive || rec.Key != key || !found:
				return fmt.Errorf("find record beside writes: %v, found %v", rec.State, found)
			case !bytes.Equal(b, data(int(b[0]-'a'))):
				return fmt.Errorf("find record beside writes: %d bytes of more than one commit", len(b))
			}
			if err := wait(ctx, time.Nanosecond); err != nil {
				return err
			}
		}
	})
}

func finderGivesUp(ctx context.Context, f *finder) error {
	key, err := f.login(ctx, f.Registry, []byte("data"))
	if err != nil {
		return err
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, _, _, err := f.reader.FindRecordCtx(done, f.Registry, key); err == nil {
		return errors.New("FindRecordCtx with a context that is done returns no error")
	}
	return f.want(ctx, f.Registry, key)
}
