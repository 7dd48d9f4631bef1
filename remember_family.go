package scsguard

import (
	"context"
	"errors"
	"time"
)

// family is what the store keeps of one remembered browser. Its times are on the
// store's clock.
//
// It goes through these steps, each one Swap. A use of the current token claims
// the family for a Lease; whoever has claimed it logs the user in and then makes
// the next token current, with what he has answered. Others that come with the
// same token wait for that and answer the same. A crash before the second step
// leaves the token as good as it was, and the next claim's login takes the place
// of what the crash has left; a crash after it leaves an answer for whoever comes
// back with the used token in its grace. So at no moment two tokens are good that
// do not lead to the same session.
type family struct {
	ID      string // public: the selector of its tokens
	User    string
	AAL     int // of the login
	Created time.Time
	// Since is the moment whose EndAll ends it: when it began, or when its browser
	// has ended all others.
	Since   time.Time
	Expires time.Time // never moves
	Device  string    // see rememberedDevice

	Current string // hash of the token that is good
	Session string // the last session it was used for

	Used      string // hash of the token before, if there was one
	UsedUntil time.Time
	UsedBy    string // fingerprint of the request that used it
	Answer    string // sealed: what it was answered with

	Owner string // who has claimed it, until Lease
	Lease time.Time
}

const familyVersion = 1

func (f *family) fields(w fields) {
	w.text(1, &f.ID)
	w.text(2, &f.User)
	number(w, 3, &f.AAL)
	w.time(4, &f.Created, time.Time{})
	w.time(5, &f.Since, f.Created)
	w.time(6, &f.Expires, f.Created)
	w.text(7, &f.Device)
	w.text(8, &f.Current)
	w.text(9, &f.Session)
	w.text(10, &f.Used)
	w.time(11, &f.UsedUntil, f.Created)
	w.text(12, &f.UsedBy)
	w.text(13, &f.Answer)
	w.text(14, &f.Owner)
	w.time(15, &f.Lease, f.Created)
}

func (f family) encode() []byte {
	w := fieldWriter{b: []byte{familyVersion}}
	f.fields(fields{w: &w})
	return w.b
}

var errFamily = errors.New("scsguard: what is kept of a remembered browser cannot be read")

func decodeFamily(b []byte) (f family, err error) {
	if len(b) == 0 || b[0] != familyVersion {
		return family{}, errFamily
	}
	r := readFields(string(b[1:]))
	f.fields(fields{r: &r})
	if !r.whole() || f.ID == "" {
		return family{}, errFamily
	}
	return f, nil
}

// keptFamily is a family as the store had it.
type keptFamily struct {
	family
	raw   []byte    // nil if it is absent
	now   time.Time // by the store's clock,
	asked time.Time // and a moment before that by this process's
}

// lives reports whether the family's token is good for anything.
func (k *keptFamily) lives() bool {
	return k.raw != nil && k.now.Before(k.Expires)
}

// local converts a time of the store to this process's clock, never to a later
// moment than it was.
func (k *keptFamily) local(t time.Time) time.Time { return k.asked.Add(t.Sub(k.now)) }

func (g *Guard) familyKey(id string) string { return g.cfg.Namespace + "/" + id }

// loadFamily reads a family. One that cannot be read, of a later version perhaps,
// is left alone and does not live.
func (g *Guard) loadFamily(ctx context.Context, id string) (keptFamily, error) {
	return call(g, ctx, ComponentRemember, "load", func(ctx context.Context) (keptFamily, error) {
		k := keptFamily{asked: time.Now()}
		raw, now, err := g.cfg.Remember.Store.Load(ctx, g.familyKey(id))
		if err != nil {
			return k, err
		}
		k.now = now
		if len(raw) == 0 {
			return k, nil
		}
		f, err := decodeFamily(raw)
		if err != nil || f.ID != id {
			return k, nil // nobody can say what its tokens are good for
		}
		k.family, k.raw = f, raw
		return k, nil
	})
}

// swapFamily puts next in the place of what k was. A client that hangs up must
// not leave the step half done.
func (g *Guard) swapFamily(ctx context.Context, k keptFamily, next family) (bool, error) {
	ttl := next.Expires.Sub(k.now)
	if ttl <= 0 {
		return false, nil
	}
	return g.callSwap(ctx, next.ID, k.raw, next.encode(), ttl)
}

func (g *Guard) callSwap(ctx context.Context, id string, old, value []byte, ttl time.Duration) (bool, error) {
	return call(g, context.WithoutCancel(ctx), ComponentRemember, "swap", func(ctx context.Context) (bool, error) {
		return g.cfg.Remember.Store.Swap(ctx, g.familyKey(id), old, value, ttl)
	})
}

// changeFamily changes a family that lives, unless change says that there is
// nothing to be done.
func (g *Guard) changeFamily(ctx context.Context, id string, change func(keptFamily) (next family, ok bool)) error {
	return g.untilSwapped(ctx, id, func(k keptFamily) (bool, error) {
		next, ok := change(k)
		if !ok {
			return true, nil
		}
		return g.swapFamily(ctx, k, next)
	})
}

// endFamily makes every token of a family worthless. Before that it ends the
// session that was restored last, unless keep names it: another request may have
// restored one just now, and it would live on with nobody to end it. What is
// restored later finds the family gone and is taken back.
func (g *Guard) endFamily(ctx context.Context, r *request, id, keep string, e Ending) error {
	return g.untilSwapped(ctx, id, func(k keptFamily) (bool, error) {
		if k.Session != keep {
			if _, _, err := g.end(ctx, r, Target{User: k.User, Session: k.Session}, e); err != nil {
				return false, err
			}
		}
		return g.callSwap(ctx, id, k.raw, nil, 0)
	})
}

// mustEndFamily is endFamily, repeated until it succeeds.
func (g *Guard) mustEndFamily(ctx context.Context, r *request, id, keep string, e Ending) error {
	err := g.endFamily(ctx, r, id, keep, e)
	if err != nil {
		e = g.ending(r, e)
		g.retries.add(retryEnd, "family "+id, func(ctx context.Context) error { return g.endFamily(ctx, nil, id, keep, e) })
	}
	return err
}

// untilSwapped tries a step on a family that lives until nobody else is faster.
func (g *Guard) untilSwapped(ctx context.Context, id string, step func(keptFamily) (done bool, err error)) error {
	ctx = context.WithoutCancel(ctx)
	for range maxRestores {
		k, err := g.loadFamily(ctx, id)
		if err != nil || !k.lives() {
			return err
		}
		if done, err := step(k); done || err != nil {
			return err
		}
	}
	return &UnavailableError{Component: ComponentRemember, Op: "swap", Err: errRestore}
}
