package registrytest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scsguard/scsguard"
)

// A trial is a check at work on a registry. Its methods call the registry with
// what a guard would give it, and end the check when the registry returns an
// error or something is not as expected.
type trial struct {
	ctx context.Context
	reg scsguard.Registry
	ids *identifiers
	// began is before everything that the trial does.
	began time.Time
}

// identifiers makes names that look like the guard's own and can be told apart
// in a message.
type identifiers struct {
	prefix string
	n      atomic.Uint32
}

func newTrial(ctx context.Context, reg scsguard.Registry) *trial {
	return &trial{ctx: ctx, reg: reg, ids: &identifiers{prefix: rand.Text()[:20]}, began: time.Now()}
}

// in returns a trial of the namespace with that name.
func (t *trial) in(namespace string) *trial {
	other := *t
	other.reg = t.reg.Namespace(namespace)
	return &other
}

// twice returns two values of one namespace, as two processes have them.
func (t *trial) twice() [2]*trial { return [2]*trial{t.in("both"), t.in("both")} }

func (t *trial) session() string {
	return fmt.Sprintf("%s%06d", t.ids.prefix, t.ids.n.Add(1))
}

// short is what messages call a session: its number within the check.
func short(session string) string {
	if len(session) < 6 {
		return fmt.Sprintf("%q", session)
	}
	return "#" + strings.TrimLeft(session[len(session)-6:], "0")
}

// key returns a new store key: 43 base64url characters, as scs makes them.
func (t *trial) key() scsguard.Key {
	sum := sha256.Sum256([]byte(t.session()))
	return scsguard.Key(base64.RawURLEncoding.EncodeToString(sum[:]))
}

// failure is what ends a check.
type failure struct{ err error }

func (t *trial) failf(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}

// failureOf runs f and returns what ended it.
func failureOf(f func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = p.err
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	f()
	return nil
}

// atOnce runs functions at the same moment and waits for all of them.
func (t *trial) atOnce(fs ...func()) {
	errs := make([]error, len(fs))
	var running sync.WaitGroup
	var ready atomic.Int32
	for _, i := range mathrand.Perm(len(fs)) { // on one processor, this is their order
		running.Go(func() {
			// Whoever slept would be woken one after the other.
			for ready.Add(1); int(ready.Load()) < len(fs); {
				runtime.Gosched()
			}
			dawdle()
			errs[i] = failureOf(fs[i])
		})
	}
	running.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if n := len(errs); n > 3 {
		errs = append(errs[:3], fmt.Errorf("and %d more like that", n-3))
	}
	if len(errs) > 0 {
		panic(failure{errors.Join(errs...)})
	}
}

// dawdle takes up to a few microseconds, so that over some rounds each of two
// calls comes at every point of the other. The clock may stand still.
func dawdle() {
	var n atomic.Uint32
	for range mathrand.IntN(600) {
		n.Add(1)
	}
}

// crowd runs f n times at the same moment.
func (t *trial) crowd(n int, f func(i int)) {
	fs := make([]func(), n)
	for i := range fs {
		fs[i] = func() { f(i) }
	}
	t.atOnce(fs...)
}

// wait lets time pass.
func (t *trial) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		t.failf("%w", t.ctx.Err())
	}
}

// eventually asks f until it says yes, but no longer than limit.
func (t *trial) eventually(limit time.Duration, f func() bool) bool {
	for end := time.Now().Add(limit); ; t.wait(20 * time.Millisecond) {
		switch {
		case f():
			return true
		case time.Now().After(end):
			return false
		}
	}
}

// tick is longer than the clocks of a registry and its caller may differ while
// the caller waits for an answer on a machine that has much to do, and than any
// rounding of an age.
const tick = 100 * time.Millisecond

// afterLease waits until every lease taken so far is over for everybody.
func (t *trial) afterLease() { t.wait(scsguard.Lease + 300*time.Millisecond) }

// The limits of a record as a guard would make it.
const (
	idle     = 15 * time.Minute
	absolute = 8 * time.Hour
)

func deny(n int) scsguard.Limit  { return scsguard.Limit{Max: n, OnExceed: scsguard.Deny} }
func evict(n int) scsguard.Limit { return scsguard.Limit{Max: n, OnExceed: scsguard.EvictOldest} }
func warn(n int) scsguard.Limit  { return scsguard.Limit{Max: n, OnExceed: scsguard.Warn} }

var noCap scsguard.Limit

// admission is what a guard asks for when user logs in.
func (t *trial) admission(user string, limit scsguard.Limit) scsguard.Admission {
	now := time.Now()
	session := t.session()
	return scsguard.Admission{
		Record: scsguard.Record{
			Session: session, User: user, Key: t.key(), Seq: 1,
			Created: now, AuthTime: now, Methods: []string{"pwd"}, AAL: 1, LoginAAL: 1,
			LastActivity: now, Idle: idle, Absolute: now.Add(absolute), AbsoluteSince: now, TokenSince: now,
			Fingerprint: "digest", IP: netip.MustParseAddr("192.0.2.7"), UserAgent: "browser of " + short(session),
		},
		Limit:           limit,
		AuthenticatedAt: now.Add(tick), // after an EndAll just before, also where ages are rounded
		By:              scsguard.Ending{Kind: scsguard.EventLogout, At: now, Detail: session, Keep: absolute},
		Retention:       7 * 24 * time.Hour,
	}
}

// stale is an admission of a session that was idle for too long ten minutes ago.
func (t *trial) stale(user string) scsguard.Admission {
	a := t.admission(user, noCap)
	r := &a.Record
	r.Created, r.AuthTime, r.AbsoluteSince = ago(time.Hour), ago(time.Hour), ago(time.Hour)
	r.LastActivity, r.Idle = ago(30*time.Minute), 20*time.Minute
	return a
}

func ago(d time.Duration) time.Time { return time.Now().Add(-d) }

// ending is an ending as a guard fills it in.
func ending(reason scsguard.EndReason) scsguard.Ending {
	return scsguard.Ending{Kind: scsguard.EventLogout, Reason: reason, At: time.Now(), Keep: absolute}
}

// request adds what an ending knows of the request that it came with.
func request(e scsguard.Ending) scsguard.Ending {
	e.Actor, e.Detail = "support:7", "lost phone"
	e.IP, e.IPSource, e.UserAgent = netip.MustParseAddr("2001:db8::9"), "config", "Agent/2.0 (\xff)"
	return e
}

// reserve asks for a place, which must be given.
func (t *trial) reserve(a scsguard.Admission) scsguard.Admitted {
	adm := t.admit(a)
	if adm.Denied != "" {
		t.failf("the login of %s is denied (%s), beside %s", short(a.Record.Session), adm.Denied, numbers(adm.Others))
	}
	return adm
}

// complete carries out a login, which must succeed.
func (t *trial) complete(a scsguard.Admission) scsguard.Settled {
	s := t.settle(t.reserve(a), true)
	if !s.Live {
		t.failf("the login %s does not live after Settle, but is %v (%s)", short(a.Record.Session), s.Record.State, s.Record.Ending.Reason)
	}
	return s
}

// login logs user in and returns the record.
func (t *trial) login(user string, limit scsguard.Limit) scsguard.Record {
	return t.complete(t.admission(user, limit)).Record
}

// logins logs user in n times.
func (t *trial) logins(n int, user string, limit scsguard.Limit) []scsguard.Record {
	list := make([]scsguard.Record, n)
	for i := range list {
		list[i] = t.login(user, limit)
	}
	return list
}

// sideBySide returns sessions that were admitted side by side: an admission after the
// others would end those that are overdue.
func (t *trial) sideBySide(admissions ...scsguard.Admission) []scsguard.Record {
	places := make([]scsguard.Admitted, len(admissions))
	for i, a := range admissions {
		places[i] = t.reserve(a)
	}
	list := make([]scsguard.Record, len(places))
	for i, adm := range places {
		list[i] = t.settle(adm, true).Record
	}
	return list
}
