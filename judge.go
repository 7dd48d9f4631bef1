package scsguard

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// cookieTravel is how long a browser may still send the token it had before a
// login or rotation. A response to such a request must not set a cookie: it
// would overwrite the new one.
const cookieTravel = 10 * time.Second

// replacedSince reports whether the token gave way to another one in the same
// browser after t: by a login, a rotation, or a renewal that is under way.
func (r *Record) replacedSince(t time.Time) bool {
	return r.State == StateDetached || r.State == StateMoved && (r.MovedAt.After(t) || r.ReplacedAt.After(t)) ||
		r.State == StateEnded && (r.ReplacedAt.After(t) || r.Ending.Reason == EndReplaced && r.Ending.At.After(t))
}

func (g *Guard) get(ctx context.Context, key Key) (Record, error) {
	if g.memory != nil { // cannot fail
		return g.memory.Get(ctx, key)
	}
	return call(g, ctx, ComponentRegistry, "get", func(ctx context.Context) (Record, error) {
		return g.registry.Get(ctx, key)
	})
}

// fetch reads a record and its data, at the same time where the registry is
// not in this process. A record is long, and this is on the path of every request:
// the caller says where it is to be.
func (g *Guard) fetch(ctx context.Context, key Key, rec *Record) (b []byte, found bool, err error) {
	if g.memory != nil { // cannot fail
		if g.memory.get(key, rec); rec.State != StateLive && rec.State != StateUnknown {
			return nil, false, nil
		}
		return g.find(ctx, key)
	}
	*rec, b, found, err = g.fetchAfar(ctx, key)
	return b, found, err
}

func (g *Guard) fetchAfar(ctx context.Context, key Key) (rec Record, b []byte, found bool, err error) {
	if g.finder != nil {
		if rec, b, found, ok, err := g.findRecord(ctx, key); ok || err != nil {
			return rec, b, found, err
		}
	}
	return g.fetchBoth(ctx, key)
}

// fetchBoth asks registry and store at the same time. A store that takes no context is
// not waited for any longer than one that does: the goroutine that asks it is the only
// one, since to wake another takes longer than many a store.
func (g *Guard) fetchBoth(ctx context.Context, key Key) (rec Record, b []byte, found bool, err error) {
	within := limit(ctx, g.cfg.CallTimeout)
	defer within.end()
	asked := make(chan foundData, 1)
	go func() {
		d, err := caught(func() (foundData, error) {
			d := g.findIn(within, key)
			return d, d.err
		})
		d.err = err
		asked <- d
	}()
	rec, err = g.get(ctx, key)
	d, findErr := g.awaitData(ctx, within, asked)
	return rec, d.b, d.found, errors.Join(err, findErr)
}

// awaitData waits for the data as long as within allows.
func (g *Guard) awaitData(ctx, within context.Context, asked <-chan foundData) (d foundData, err error) {
	select {
	case d = <-asked:
	default:
		select {
		case d = <-asked:
		case <-within.Done():
			d.err = within.Err()
		}
	}
	return d, g.outcome(ctx, ComponentStore, "find", d.err)
}

// findRecord asks a store that can read both at once. ok is false if it cannot
// answer for this registry.
func (g *Guard) findRecord(ctx context.Context, key Key) (rec Record, b []byte, found, ok bool, err error) {
	_, err = call(g, ctx, ComponentStore, "find", func(ctx context.Context) (_ struct{}, err error) {
		rec, b, found, ok, err = g.finder.FindRecordCtx(ctx, g.registry, key)
		return struct{}{}, err
	})
	switch {
	case err != nil:
		return Record{}, nil, false, false, err
	case ok:
		g.health.note(ComponentRegistry, nil)
	}
	return rec, b, found, ok, nil
}

type foundData struct {
	b     []byte
	found bool
	err   error
}

// findIn asks the store itself, with the context if it takes one.
func (g *Guard) findIn(ctx context.Context, key Key) (d foundData) {
	if s, ok := g.inner.(ctxFinder); ok {
		d.b, d.found, d.err = s.FindCtx(ctx, string(key))
	} else {
		d.b, d.found, d.err = g.inner.Find(string(key))
	}
	return d
}

type ctxFinder interface {
	FindCtx(ctx context.Context, token string) ([]byte, bool, error)
}

func (g *Guard) find(ctx context.Context, key Key) ([]byte, bool, error) {
	if g.memStore { // cannot fail, and this is on the path of every request
		return g.inner.Find(string(key))
	}
	d, err := call(g, ctx, ComponentStore, "find", func(ctx context.Context) (foundData, error) {
		ask := func() (foundData, error) {
			d := g.findIn(ctx, key)
			return d, d.err
		}
		if _, ok := g.inner.(ctxFinder); ok {
			return ask()
		}
		return patient(g, ctx, ask)
	})
	return d.b, d.found, err
}

// write stores data. It must not be lost because the client hung up, and an
// expiry that has passed is a deletion: some stores would keep such data for
// ever.
func (g *Guard) write(ctx context.Context, key Key, b []byte, expiry time.Time) error {
	if !expiry.After(time.Now()) {
		return g.remove(ctx, key)
	}
	_, err := call(g, context.WithoutCancel(ctx), ComponentStore, "commit", func(ctx context.Context) (struct{}, error) {
		if s, ok := g.inner.(interface {
			CommitCtx(context.Context, string, []byte, time.Time) error
		}); ok {
			return struct{}{}, s.CommitCtx(ctx, string(key), b, expiry)
		}
		return patient(g, ctx, func() (struct{}, error) { return struct{}{}, g.inner.Commit(string(key), b, expiry) })
	})
	return err
}

func (g *Guard) remove(ctx context.Context, key Key) error {
	_, err := call(g, context.WithoutCancel(ctx), ComponentStore, "delete", func(ctx context.Context) (struct{}, error) {
		if s, ok := g.inner.(interface {
			DeleteCtx(context.Context, string) error
		}); ok {
			return struct{}{}, s.DeleteCtx(ctx, string(key))
		}
		return patient(g, ctx, func() (struct{}, error) { return struct{}{}, g.inner.Delete(string(key)) })
	})
	return err
}

// removeMany is remove of the data of many sessions, for a store that can do that at
// once.
func (g *Guard) removeMany(ctx context.Context, recs []Record) error {
	tokens := make([]string, 0, len(recs))
	for i := range recs {
		if key := recs[i].Key; key != "" {
			tokens = append(tokens, string(key))
		}
	}
	_, err := call(g, context.WithoutCancel(ctx), ComponentStore, "delete", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, g.deleter.DeleteManyCtx(ctx, tokens)
	})
	return err
}

// patient runs a call of a store that takes no context, and gives up waiting
// when ctx is done. The call itself goes on: only its own driver can end it.
func patient[T any](g *Guard, ctx context.Context, fn func() (T, error)) (T, error) {
	if g.inProcess(ComponentStore) {
		return fn()
	}
	type answer struct {
		v   T
		err error
	}
	ch := make(chan answer, 1)
	go func() {
		v, err := caught(fn)
		ch <- answer{v, err}
	}()
	select {
	case a := <-ch:
		return a.v, a.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// judged reads the record under key and judges it.
func (g *Guard) judged(ctx context.Context, r *request, key Key) (Record, error) {
	rec, err := g.get(ctx, key)
	if err != nil {
		return rec, err
	}
	err = g.judge(ctx, r, &rec, key)
	return rec, err
}

// judge ends a record that is over, and makes it what it is then.
func (g *Guard) judge(ctx context.Context, r *request, rec *Record, key Key) error {
	if rec.State != StateLive {
		return nil
	}
	if _, over := rec.Overdue(time.Now()); !over {
		return nil
	}
	now, _, err := g.end(ctx, r, Target{Key: key, IfDue: true}, Ending{})
	*rec = now
	return err
}

// judgePolicy applies the policy of today to a session of yesterday. The
// stricter limits go into the record first, and the record decides, so that
// activity another request has recorded meanwhile counts.
func (g *Guard) judgePolicy(ctx context.Context, r *request, rec *Record) (inForce, error) {
	var ip netip.Addr
	if r != nil {
		ip = r.ip
	}
	t, err := g.policy(ctx, Subject{User: rec.User, Role: rec.Role, IP: ip, Methods: rec.Methods, AAL: rec.AAL, Remembered: rec.Remembered})
	if err != nil {
		g.health.note(ComponentPolicy, err)
		return inForce{Timeouts: g.cfg.Timeouts, binding: g.cfg.Binding}, nil // the record's own limits hold; Login refuses such a policy
	}
	g.health.note(ComponentPolicy, nil)
	absolute := rec.AbsoluteSince.Add(t.Absolute)
	if t.Idle >= rec.Idle && !absolute.Before(rec.Absolute.Add(-deadlineSlack)) {
		return t, nil
	}
	touched, err := g.touch(ctx, rec.Key, Activity{Idle: t.Idle, Absolute: absolute, Event: true})
	if err != nil {
		return t, err
	}
	if !touched.Live {
		*rec, err = g.judged(ctx, r, rec.Key)
		return t, err
	}
	old := *rec
	rec.Tighten(t.Idle, absolute)
	rec.Seq = touched.Seq
	e := g.extended(r, *rec, old, "policy")
	g.trail.post(e)
	g.tellLater(ctx, r, e)
	return t, g.judge(ctx, r, rec, rec.Key)
}

func (g *Guard) touch(ctx context.Context, key Key, act Activity) (Touched, error) {
	return call(g, context.WithoutCancel(ctx), ComponentRegistry, "touch", func(ctx context.Context) (Touched, error) {
		return g.registry.Touch(ctx, key, act)
	})
}

// lose ends a session whose data is gone, unless it has moved to another key
// meanwhile.
func (g *Guard) lose(ctx context.Context, r *request, rec Record) (Record, bool, error) {
	return g.end(ctx, r, Target{Key: rec.Key, Exact: true}, Ending{Reason: EndLost, Detail: "data"})
}

// reused records the use of a token that had been replaced. A browser that
// lost the answer to the rotation does this as well as a thief.
func (g *Guard) reused(ctx context.Context, r *request, old Record) {
	e := g.event(r, EventTokenReuse, old)
	e.Outcome, e.Reason = OutcomeFailure, "expired_token"
	if time.Now().Before(old.GraceUntil) {
		e.Reason = "other_device"
	}
	g.recordCoalesced(ctx, r, "reuse", old.Session, e)
}
