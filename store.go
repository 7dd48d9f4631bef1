package scsguard

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
)

// guardedStore stands in for the application's store. scs hands its context to
// it, and with that the guard's view of the request, so the rules hold on every
// path that reaches the store, also on a hand-written Load.
type guardedStore struct {
	g *Guard
}

// iterableStore is a guardedStore around a store that can be iterated. scs
// finds out by the methods a store has, so they must not be there otherwise.
type iterableStore struct {
	guardedStore
}

func newStore(g *Guard) scs.Store {
	switch g.inner.(type) {
	case scs.IterableStore, scs.IterableCtxStore:
		return &iterableStore{guardedStore{g}}
	}
	return &guardedStore{g}
}

func (s *guardedStore) guard() *Guard { return s.g }

// Unwrap returns the application's store.
func (s *guardedStore) Unwrap() scs.Store { return s.g.inner }

// Find is FindCtx for callers without a context.
func (s *guardedStore) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit is CommitCtx for callers without a context.
func (s *guardedStore) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

// Delete is DeleteCtx for callers without a context.
func (s *guardedStore) Delete(token string) error {
	return s.DeleteCtx(context.Background(), token)
}

// FindCtx returns the data of a session that lives, and nothing of one that
// does not.
func (s *guardedStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if b, scratch := ctx.Value(scratchKey{s.g}).([]byte); scratch {
		return b, true, nil
	}
	if !validToken(token) {
		return nil, false, nil // no token of scs: the store's key syntax is not for visitors to play with
	}
	r, key := s.g.requestFrom(ctx), Key(token)
	switch {
	case r == nil:
		return s.g.findBare(ctx, key)
	case r.isLoading():
		return s.g.findOwn(ctx, r, key)
	}
	return s.g.findOther(ctx, r, key)
}

func (r *request) isLoading() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loading
}

// maxHops bounds how often a lookup follows a session that moves while it is
// being looked up.
const maxHops = 8

// findOwn is the lookup of the session a request came with. Nobody else has the
// request yet, so the record is read to where it is to be.
func (g *Guard) findOwn(ctx context.Context, r *request, key Key) ([]byte, bool, error) {
	rec := &r.rec
	b, found, err := g.lookUp(ctx, r, key, rec)
	if err != nil {
		*rec = Record{}
		return nil, false, err
	}
	switch rec.State {
	case StateUnknown: // anonymous, or it has lost its record: its mark will tell, once it is decoded
		if found {
			r.found(anonymous, loadedData{key, b, b})
		}
		return b, found, nil
	case StateLive:
		r.found(live, loadedData{key, b, b})
		return b, true, nil
	case StateMoved:
		return g.findSuccessor(ctx, r, *rec, key)
	}
	r.close(*rec, rec.replacedSince(r.arrived.Add(-cookieTravel)))
	return nil, false, nil
}

// found makes data, with the record that was read, the session of the request.
func (r *request) found(as phase, data loadedData) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.key, r.data, r.phase = data.key, data, as
	r.wasLive = r.wasLive || as == live
}

// lookUp returns the record under key, judged, and its data. A live one has data,
// or it is ended.
func (g *Guard) lookUp(ctx context.Context, r *request, key Key, rec *Record) ([]byte, bool, error) {
	for hop := 0; ; hop++ {
		b, found, err := g.fetch(ctx, key, rec)
		if err == nil {
			err = g.judge(ctx, r, rec, key)
		}
		if err != nil || rec.State != StateLive || found {
			return b, found, err
		}
		// A rotation between the two reads leaves the old data gone, so look again
		// before the session counts as lost.
		if hop == 0 {
			continue
		}
		*rec, _, err = g.lose(ctx, r, *rec)
		return nil, false, err
	}
}

// findSuccessor serves a request that was under way with the old token while
// the session got a new one. Later, or from another device, the old token is
// worth nothing and its use is recorded.
func (g *Guard) findSuccessor(ctx context.Context, r *request, old Record, key Key) ([]byte, bool, error) {
	if !time.Now().Before(old.GraceUntil) || !g.sameDevice(r, old.Fingerprint) {
		g.reused(ctx, r, old)
		r.close(old, old.replacedSince(r.arrived.Add(-cookieTravel)))
		return nil, false, nil
	}
	rec := old
	for hop := 0; rec.State == StateMoved && hop < maxHops; hop++ {
		var next Record
		b, found, err := g.lookUp(ctx, r, rec.Successor, &next)
		if err != nil {
			return nil, false, err
		}
		if next.State == StateLive && found {
			r.grace(key, old, next)
			r.keep(loadedData{next.Key, b, b})
			return b, true, nil
		}
		rec = next
	}
	r.close(rec, true)
	return nil, false, nil
}

// errMergeElsewhere reports a merge into a session that is not the request's: whose
// it is cannot be asked here.
var errMergeElsewhere = errors.New("scsguard: MergeSession merges into the session of the request only, not into one of an Iterate")

// findOther is a lookup within a request that has its session already: the
// first half of MergeSession.
func (g *Guard) findOther(ctx context.Context, r *request, key Key) ([]byte, bool, error) {
	var rec Record
	b, found, err := g.lookUp(ctx, r, key, &rec)
	if err != nil {
		return nil, false, err
	}
	switch rec.State {
	case StateUnknown:
		if found && g.markIn(b) != "" {
			return nil, false, nil // its record is lost: not a session that anything may be taken from
		}
		if !found {
			return nil, false, nil
		}
		if user, err := g.claimedIn(b); err != nil || user == "" {
			return b, true, err
		}
		// Somebody was logged in there before the guard came. Only as a session that
		// may be enrolled it can be merged.
		if _, found, err := g.findBare(ctx, key); err != nil || !found {
			return nil, false, err
		}
		return g.findOther(ctx, r, key)
	case StateLive:
		if !g.owns(r, ctx) {
			return nil, false, errMergeElsewhere
		}
		if key == r.dataKey() {
			return nil, false, nil // its own, which the session manager may know by another token
		}
		if g.isForeign(g.markIn(b), rec) {
			_, err := g.loseForeign(ctx, r, rec)
			return nil, false, err
		}
		own, loggedIn := r.session()
		if fate := r.openFate(); fate != nil {
			own, loggedIn = fate.rec, true
		}
		switch {
		case loggedIn && own.User != rec.User, !loggedIn && g.isOfOther(r, g.sm.GetString(ctx, markKey), rec.User):
			return nil, false, ErrOtherUser
		case !loggedIn && r.hasStarted():
			return nil, false, ErrResponseStarted // it needs a new token, which nobody could be told
		}
		r.mu.Lock()
		r.merging, r.wasLive = key, true
		r.mu.Unlock()
		return b, found, nil
	}
	return nil, false, nil
}

// findBare is a lookup without a request: a hand-written Load in a test, a job
// or another transport. Whoever has a token uses the session, so it counts as
// activity. There is nobody to look at the data later, so it is decoded here.
// What cannot be decoded, Load reports. Config.Policy is not asked, since it may
// read the session that is only being loaded; verbs ask it, and enrolment does.
func (g *Guard) findBare(ctx context.Context, key Key) (b []byte, found bool, err error) {
	err = g.whileEnrolling(ctx, func() (err error) {
		b, found, err = g.findBareOnce(ctx, key)
		return err
	})
	return b, found, err
}

func (g *Guard) findBareOnce(ctx context.Context, key Key) ([]byte, bool, error) {
	var rec Record
	b, found, err := g.lookUp(ctx, nil, key, &rec)
	if err == nil && rec.State == StateLive && g.cfg.Policy == nil {
		_, err = g.judgePolicy(ctx, nil, &rec)
	}
	if err != nil || !found || (rec.State != StateLive && rec.State != StateUnknown) {
		return nil, false, err
	}
	if rec.State == StateLive {
		if g.isForeign(g.markIn(b), rec) {
			_, err := g.loseForeign(ctx, nil, rec)
			return nil, false, err
		}
		over, err := g.noticeBare(ctx, rec, b)
		if over && errors.Is(err, errElsewhere) {
			err = nil // it has ended, which is an answer
		}
		if over || err != nil {
			return nil, false, err
		}
		g.touchBare(ctx, rec)
		return b, true, nil
	}
	deadline, values, err := g.sm.Codec.Decode(b)
	if err != nil {
		return b, true, nil
	}
	if mark := markOf(values); mark != "" {
		_, err := g.lostRecord(ctx, nil, key, mark)
		return nil, false, err
	}
	if g.cfg.UserID == nil || !time.Now().Before(deadline) {
		return b, time.Now().Before(deadline), nil
	}
	return g.enrollBare(ctx, key, b, deadline)
}

// DeleteCtx deletes a session. scs calls it from RenewToken, Destroy and
// MergeSession, and these cannot be told apart here: see detach.
func (s *guardedStore) DeleteCtx(ctx context.Context, token string) error {
	g := s.g
	if g.inVerb(ctx) || !validToken(token) {
		return nil // a verb deletes what it has to, in its own order
	}
	ctx = context.WithoutCancel(ctx)
	r, key := g.requestFrom(ctx), g.aliases.resolve(Key(token))
	if r != nil {
		key = r.resolve(key)
		if own, ok := r.session(); ok && own.Key == key {
			return g.deleteOwn(ctx, r, own)
		}
	}
	rec, err := g.get(ctx, key)
	if err != nil {
		return err
	}
	if rec.State != StateLive {
		if r != nil && rec.State != StateUnknown && key == r.dataKey() {
			r.hush() // it gave way to something newer while this request was under way
		}
		if r != nil && rec.State == StateUnknown && g.cfg.UserID != nil && r.renounce(key) {
			return nil
		}
		return g.remove(ctx, key)
	}
	if r == nil {
		return g.detachBare(ctx, rec)
	}
	merging, loggedIn := r.merges(key)
	switch {
	case merging && loggedIn: // two sessions of one user become one
		r.mu.Lock()
		r.absorbed = g.mark(rec.Session)
		r.mu.Unlock()
		return g.endOther(ctx, r, key, EndReplaced)
	case merging:
		moved, err := g.detach(ctx, r, rec)
		if moved {
			return ErrMoved
		}
		return err
	}
	return g.endOther(ctx, r, key, EndDestroyed) // an iteration that destroys it
}

// merges reports whether key is the session that MergeSession has just read,
// and whether there is a session to merge it into.
func (r *request) merges(key Key) (merging, loggedIn bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	merging = r.merging == key
	r.merging = ""
	return merging, r.phase == live || r.phase == graced || r.detached != nil
}

func (g *Guard) endOther(ctx context.Context, r *request, key Key, reason EndReason) error {
	_, _, err := g.end(ctx, r, Target{Key: key}, Ending{Kind: EventLogout, Reason: reason})
	return err
}

// All is AllCtx for callers without a context.
func (s *iterableStore) All() (map[string][]byte, error) {
	return s.AllCtx(context.Background())
}

// AllCtx returns the data of all sessions that live. What has ended or cannot
// be decoded is left out, so that one broken session does not end an iteration
// over all.
func (s *iterableStore) AllCtx(ctx context.Context) (map[string][]byte, error) {
	g := s.g
	if r := g.requestFrom(ctx); r != nil {
		r.mu.Lock()
		r.iterating = true // contexts of other sessions will carry this request, too
		r.mu.Unlock()
	}
	all, err := call(g, ctx, ComponentStore, "all", func(ctx context.Context) (map[string][]byte, error) {
		switch inner := g.inner.(type) {
		case scs.IterableCtxStore:
			return inner.AllCtx(ctx)
		case scs.IterableStore:
			return inner.All()
		}
		return nil, fmt.Errorf("type %T does not support iteration", g.inner)
	})
	if err != nil {
		return nil, err
	}
	alive := make(map[string][]byte, len(all))
	for token, b := range all {
		rec, err := g.get(ctx, Key(token))
		if err == nil {
			err = g.judge(ctx, nil, &rec, Key(token))
		}
		if err != nil {
			return nil, err
		}
		deadline, values, err := g.sm.Codec.Decode(b)
		switch {
		case err != nil, !time.Now().Before(deadline):
		case rec.State == StateLive && !g.isForeign(markOf(values), rec), rec.State == StateUnknown && values[markKey] == nil:
			alive[token] = b
		}
	}
	if g.sm.HashTokenInStore {
		g.aliases.learn(alive)
	}
	return alive, nil
}

// aliases leads from the hash of a store key to the store key. With
// HashTokenInStore, scs takes what an iteration yields for tokens and hashes
// them once more, so a Destroy or Commit within an iteration would miss.
//
// It is on the path of every write, so it takes no lock.
type aliases struct{ known atomic.Pointer[keyAliases] }

type keyAliases struct {
	keys  map[Key]Key
	until time.Time
}

// aliasesFor is how long an iteration may take.
const aliasesFor = time.Hour

func (a *aliases) learn(all map[string][]byte) {
	keys := make(map[Key]Key, len(all))
	for key := range all {
		keys[Key(hashToken(key))] = Key(key)
	}
	a.known.Store(&keyAliases{keys, time.Now().Add(aliasesFor)})
}

func (a *aliases) resolve(key Key) Key {
	if known := a.known.Load(); known != nil {
		if real, ok := known.keys[key]; ok {
			return real
		}
	}
	return key
}

// expire forgets the aliases of an iteration that must be over.
func (a *aliases) expire(now time.Time) {
	if known := a.known.Load(); known != nil && now.After(known.until) {
		a.known.CompareAndSwap(known, nil)
	}
}
