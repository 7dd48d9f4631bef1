package scsguard

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/alexedwards/scs/v2"
)

// Two requests of one session work on copies of its data, and each writes its
// copy back whole. With [Config.MergeWrites] a write is a compare and swap. Where
// somebody else has written meanwhile, the three are merged by key: what this
// request changed since it loaded the session wins, everything else is as the
// others left it. So a key that anybody removed stays removed, unless this
// request has put it, and of two that changed one key the last writer wins.

// loadedData is the session data that a request works on.
type loadedData struct {
	key    Key    // under which it was found or written
	base   []byte // what the session manager held then, encoded
	stored []byte // what the store held then: base, or base merged with what others wrote
}

// keep remembers what the request works on.
func (r *request) keep(d loadedData) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.data = d
	r.mu.Unlock()
}

func (r *request) loadedData() loadedData {
	if r == nil {
		return loadedData{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.data
}

// writeOwn stores the data of a request's session, merged with what others wrote
// if it has to be, and returns what it stored. mark is that of the login, "" for
// an anonymous session; limit is the latest deadline that the data may hold.
//
// Data that is as it was loaded is not written: others may have changed it since.
// Gob has its values in another order each time, so it cannot tell.
func (g *Guard) writeOwn(ctx context.Context, r *request, key Key, mark string, b []byte, limit, expiry time.Time) ([]byte, error) {
	d := r.loadedData()
	if d.key == key && d.base != nil && bytes.Equal(b, d.base) && !encodesInAnyOrder(g.sm.Codec) {
		return d.stored, nil
	}
	if g.swapper == nil || r == nil || !expiry.After(time.Now()) {
		return b, g.write(ctx, key, b, expiry)
	}
	if mark == "" && d.key != key {
		d = loadedData{} // a new token: nobody else has written under it, and what it comes from is deleted
	}
	return g.swapIn(ctx, &threeWay{g: g, loadedData: d, mine: b, mark: mark, limit: limit}, key, expiry)
}

func encodesInAnyOrder(codec scs.Codec) bool {
	switch c := codec.(type) {
	case scs.GobCodec, *scs.GobCodec, gobCodec:
		return true
	case Codec:
		return c.ReadOnly
	}
	return false
}

// maxSwaps bounds how often one write is tried. Requests of one process wait for
// each other, so it is processes that get in each other's way, and in each round
// one of them is done.
const maxSwaps = 100

var errContended = errors.New("the session is being written by too many others at the same time")

// swapIn writes what m merges under key.
func (g *Guard) swapIn(ctx context.Context, m *threeWay, key Key, expiry time.Time) ([]byte, error) {
	waiting, cancel := context.WithTimeout(ctx, g.cfg.CallTimeout)
	unlock, err := g.writers.lock(waiting, key)
	cancel()
	if err != nil {
		return nil, &UnavailableError{Component: ComponentStore, Op: "swap", Err: errors.Join(errContended, err)}
	}
	defer unlock()
	old, merged, err := m.stored, m.mine, error(nil)
	if !bytes.Equal(m.base, m.stored) {
		if merged, expiry, err = m.with(m.stored, expiry); err != nil {
			return nil, err
		}
	}
	for range maxSwaps {
		a, err := call(g, ctx, ComponentStore, "swap", func(ctx context.Context) (swapAnswer, error) {
			current, swapped, err := g.swapper.SwapCtx(ctx, string(key), old, merged, expiry)
			return swapAnswer{current, swapped}, err
		})
		if err != nil {
			return nil, err
		}
		if a.swapped {
			return merged, nil
		}
		old = a.current
		if merged, expiry, err = m.with(a.current, expiry); err != nil {
			return nil, err
		}
	}
	return nil, &UnavailableError{Component: ComponentStore, Op: "swap", Err: errContended}
}

type swapAnswer struct {
	current []byte
	swapped bool
}

// threeWay merges what a request has with what others have stored since it
// loaded its session.
type threeWay struct {
	g *Guard
	loadedData
	mine  []byte
	mark  string    // what the result must carry; "" for an anonymous session
	limit time.Time // the latest deadline it may hold, if it is a login's
}

// errMarked reports the data of a login where an anonymous session was loaded.
var errMarked = errors.New("scsguard: somebody has logged in there")

// with merges with theirs, nil for nothing, and returns how long to keep the
// result.
func (m *threeWay) with(theirs []byte, expiry time.Time) ([]byte, time.Time, error) {
	if m.base == nil || theirs == nil && m.mark != "" {
		// There is nothing to compare with. Or the data of a login has vanished: its
		// record decides whether the session lives, and if it does, this copy is all
		// there is.
		return m.mine, expiry, nil
	}
	codec := m.g.sm.Codec
	was, base, err := codec.Decode(m.base)
	if err != nil {
		return nil, expiry, err
	}
	deadline, mine, err := codec.Decode(m.mine)
	if err != nil {
		return nil, expiry, err
	}
	now, values := was, map[string]any{}
	if theirs != nil {
		if now, values, err = codec.Decode(theirs); err != nil {
			return m.mine, expiry, nil // nobody can read it, so there is nothing to lose
		}
	}
	if m.mark == "" && values[markKey] != nil {
		return nil, expiry, errMarked
	}
	values = mergeValues(base, values, mine)
	if deadline.Equal(was) {
		deadline = now
	}
	if m.mark != "" {
		values[markKey] = m.mark
		if deadline.After(m.limit) {
			deadline = m.limit.UTC()
		}
	} else {
		expiry = m.g.anonymousExpiry(deadline)
	}
	b, err := codec.Encode(deadline, values)
	return b, expiry, err
}

// mergeValues puts into theirs what differs between base and mine.
func mergeValues(base, theirs, mine map[string]any) map[string]any {
	if theirs == nil {
		theirs = make(map[string]any)
	}
	for key := range base {
		if _, kept := mine[key]; !kept {
			delete(theirs, key)
		}
	}
	for key, v := range mine {
		was, known := base[key]
		if known && reflect.DeepEqual(was, v) {
			continue
		}
		if key == seenKey && seenAt(theirs[key]).After(seenAt(v)) {
			continue // a request that took long was not the last to use the session
		}
		theirs[key] = v
	}
	return theirs
}

// othersData returns what is stored of a session that is about to change its
// token, nil if writes are not merged.
func (g *Guard) othersData(ctx context.Context, key Key) ([]byte, error) {
	if g.swapper == nil {
		return nil, nil
	}
	b, _, err := g.find(ctx, key)
	return b, err
}

// mergedWith returns what a request commits under a new token, merged with what
// others had stored under the one before.
func (g *Guard) mergedWith(r *request, others, b []byte, rec Record, limit time.Time) ([]byte, error) {
	d := r.loadedData()
	if others == nil || bytes.Equal(others, d.stored) && bytes.Equal(d.base, d.stored) {
		return b, nil
	}
	m := &threeWay{g: g, loadedData: d, mine: b, mark: g.mark(rec.Session), limit: limit}
	merged, _, err := m.with(others, limit)
	return merged, err
}

// carryOver brings under the new token what others have stored under the old one
// while the session changed it. From now on they find that it has moved, and
// follow it. What fails here costs a write that came in the same moment, not the
// session.
func (g *Guard) carryOver(ctx context.Context, r *request, from, now Record, seen []byte) {
	if g.swapper == nil || seen == nil {
		return
	}
	b, found, err := g.find(ctx, from.Key)
	if err != nil || !found || bytes.Equal(b, seen) {
		return
	}
	d := r.loadedData()
	m := &threeWay{g: g, loadedData: loadedData{key: now.Key, base: seen, stored: d.stored}, mine: b, mark: g.mark(now.Session), limit: now.Absolute}
	if stored, err := g.swapIn(ctx, m, now.Key, now.Absolute); err == nil {
		r.keep(loadedData{key: now.Key, base: d.base, stored: stored})
	}
}
