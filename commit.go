package scsguard

import (
	"context"
	"errors"
	"strings"
	"time"
)

// markKey is the session value that says "somebody is logged in here": the
// session ID. A session that carries it and has no record has lost its record,
// and is not served.
const markKey = "__scsguard"

// seenKey is the session value that says when an anonymous session was last
// used: nanoseconds since 1970, in text, which every codec keeps as it is.
// Anonymous sessions have no record.
const seenKey = "__scsguard.seen"

// deadlineSlack is how much two readings of one deadline may differ when a
// registry keeps time by a clock of its own. A deadline that differs by less
// was not moved.
const deadlineSlack = time.Second

// mark returns the value of markKey for a session. It names the namespace, so
// that a session of one guard that is shown to another is foreign there, not
// lost.
func (g *Guard) mark(session string) string {
	if g.cfg.Namespace == "" {
		return session
	}
	return session + "@" + g.cfg.Namespace
}

// unmark splits a mark. ours is false if another guard set it.
func (g *Guard) unmark(mark string) (session string, ours bool) {
	session, namespace, _ := strings.Cut(mark, "@")
	return session, namespace == g.cfg.Namespace
}

// markIn returns the mark in encoded session data, "" if there is none. Data
// that cannot be decoded has none either; Load of the session manager fails on
// it.
func (g *Guard) markIn(b []byte) string {
	_, values, err := g.sm.Codec.Decode(b)
	if err != nil {
		return ""
	}
	return markOf(values)
}

func markOf(values map[string]any) string {
	mark, _ := values[markKey].(string)
	return mark
}

// CommitCtx stores the data of a session that lives. What a session writes that
// has ended meanwhile is dropped without an error, so that the answer of a slow
// request is not an error page.
func (s *guardedStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	g := s.g
	key := g.aliases.resolve(Key(token))
	if v := g.verbFrom(ctx); v != nil {
		return g.commitVerb(ctx, v, key, b, expiry)
	}
	ctx = context.WithoutCancel(ctx) // a client that hangs up must not lose what it wrote
	r := g.requestFrom(ctx)
	if r != nil {
		key = r.resolve(key)
		own, err := g.isOwn(ctx, r, key)
		if err != nil {
			return err
		}
		if !own {
			r = nil // an iteration commits another session
		}
	}
	if done, err := g.commitDetached(ctx, r, key, b, expiry); done || err != nil {
		return err
	}
	rec, err := g.get(ctx, key)
	if err != nil {
		return err
	}
	switch rec.State {
	case StateLive:
		if r == nil {
			if over, err := g.noticeBare(ctx, rec, b); over || err != nil {
				return err
			}
		} else if held, err := g.holdBack(r, rec.User, b); held || err != nil {
			return err
		}
		return g.commitLive(ctx, r, rec, b, expiry)
	case StateUnknown:
		return g.commitAnonymous(ctx, r, key, b, expiry)
	case StateMoved:
		// The session got a new token while this request was under way. What it
		// changed belongs to the session still, but its cookie is older.
		if next, ok := g.graceSuccessor(ctx, r, rec); ok {
			r.grace(key, rec, next)
			return g.commitLive(ctx, r, next, b, expiry)
		}
	}
	if r != nil {
		r.hush()
	}
	return nil
}

// commitVerb stores the data that a verb of the guard gives a new token.
func (g *Guard) commitVerb(ctx context.Context, v *verb, key Key, b []byte, expiry time.Time) error {
	r := g.requestFrom(ctx)
	if r.loadedData().key == key { // a session that was enrolled keeps its token, and others may be writing it
		stored, err := g.writeOwn(ctx, r, key, g.markIn(b), b, expiry, expiry)
		if err == nil {
			r.keep(loadedData{key, b, stored})
		}
		return err
	}
	stored, err := g.mergedWith(r, v.others, b, v.rec, expiry)
	if err != nil {
		return err
	}
	if err := g.write(ctx, key, stored, expiry); err != nil {
		return err
	}
	r.keep(loadedData{key, b, stored})
	return nil
}

// isOwn reports whether key is the request's: the one it has, or a new one. It
// can be another session's only within Iterate of the session manager.
func (g *Guard) isOwn(ctx context.Context, r *request, key Key) (bool, error) {
	r.mu.Lock()
	own := !r.iterating || key == r.key
	r.mu.Unlock()
	if own {
		return true, nil
	}
	known, err := g.known(ctx, key)
	return !known, err
}

// known reports whether there is, or was, a session under key.
func (g *Guard) known(ctx context.Context, key Key) (bool, error) {
	var rec Record
	_, found, err := g.fetch(ctx, key, &rec)
	return found || rec.State != StateUnknown, err
}

// graceSuccessor returns the live session that a moved record leads to, if the
// request may still act for it.
func (g *Guard) graceSuccessor(ctx context.Context, r *request, rec Record) (Record, bool) {
	if r == nil || !time.Now().Before(rec.GraceUntil) || !g.sameDevice(r, rec.Fingerprint) {
		return Record{}, false
	}
	rec, err := g.present(ctx, r, rec)
	return rec, err == nil && rec.State == StateLive
}

// present follows a session that has moved to where it is now.
func (g *Guard) present(ctx context.Context, r *request, rec Record) (Record, error) {
	for hop := 0; rec.State == StateMoved && hop < maxHops; hop++ {
		next, err := g.judged(ctx, r, rec.Successor)
		if err != nil {
			return rec, err
		}
		rec = next
	}
	return rec, nil
}

// commitLive stores the data of a logged-in session until its absolute
// deadline, however far the application moved its own.
func (g *Guard) commitLive(ctx context.Context, r *request, rec Record, b []byte, expiry time.Time) error {
	if !time.Now().Before(rec.Absolute) {
		_, err := g.endCommitted(ctx, r, Target{Key: rec.Key, IfDue: true}, Ending{})
		return err
	}
	rec, over, err := g.applyDeadline(ctx, r, rec, expiry)
	if err != nil || over {
		return err
	}
	b, err = g.corrected(b, rec, r == nil || !r.isMarked(), expiry)
	if err != nil {
		return err
	}
	stored, err := g.writeOwn(ctx, r, rec.Key, g.mark(rec.Session), b, rec.Absolute, rec.Absolute)
	if err != nil {
		return err
	}
	after, err := g.keepIfLive(ctx, rec.Key)
	if err != nil {
		return err
	}
	if after.State != StateLive {
		return g.commitLate(ctx, r, rec.Key, after, b, expiry)
	}
	r.keep(loadedData{rec.Key, b, stored})
	return nil
}

// keepIfLive looks at a session whose data was just written, and returns its record.
// It may have ended between the look and the write: its record is dead, but its data
// must not stay behind either.
func (g *Guard) keepIfLive(ctx context.Context, key Key) (Record, error) {
	rec, err := g.get(ctx, key)
	if err != nil || rec.State == StateLive {
		return rec, err
	}
	return rec, g.remove(ctx, key)
}

// commitLate deals with data that was written while its session ended, or got a new
// token.
func (g *Guard) commitLate(ctx context.Context, r *request, key Key, after Record, b []byte, expiry time.Time) error {
	if g.swapper != nil && after.State == StateMoved {
		// Whether the rotation has taken this write along nobody can say. Merging it
		// a second time does no harm.
		if next, ok := g.graceSuccessor(ctx, r, after); ok {
			r.grace(key, after, next)
			return g.commitLive(ctx, r, next, b, expiry)
		}
	}
	if r != nil {
		r.hush()
	}
	return nil
}

// applyDeadline takes over a deadline that the application has set: one that has
// passed ends the session, an earlier one tightens its absolute deadline. The
// deadline that was loaded is not the application's wish: a full
// re-authentication may have moved the record's since.
func (g *Guard) applyDeadline(ctx context.Context, r *request, rec Record, deadline time.Time) (now Record, over bool, err error) {
	if r != nil {
		if deadline.Equal(r.loadedDeadline()) {
			return rec, false, nil
		}
	}
	switch {
	case !deadline.After(time.Now()):
		rec, err = g.endCommitted(ctx, r, Target{Key: rec.Key}, Ending{Reason: EndDestroyed, Detail: "deadline"})
		return rec, true, err
	case deadline.Before(rec.Absolute.Add(-deadlineSlack)):
		err = g.shorten(ctx, r, &rec, deadline)
	}
	return rec, false, err
}

// endCommitted ends a session in place of storing its data.
func (g *Guard) endCommitted(ctx context.Context, r *request, t Target, e Ending) (Record, error) {
	rec, _, err := g.end(ctx, r, t, e)
	if err == nil && r != nil {
		r.close(rec, true)
	}
	return rec, err
}

// shorten moves the absolute deadline to an earlier one that the application
// set.
func (g *Guard) shorten(ctx context.Context, r *request, rec *Record, deadline time.Time) error {
	touched, err := g.touch(ctx, rec.Key, Activity{Absolute: deadline, Event: true})
	if err != nil || !touched.Live {
		return err
	}
	old := *rec
	rec.Tighten(0, deadline)
	rec.Seq = touched.Seq
	if r != nil {
		r.mu.Lock()
		if r.rec.Key == rec.Key {
			r.rec.Absolute, r.rec.Seq = rec.Absolute, rec.Seq
		}
		r.mu.Unlock()
	}
	e := g.extended(r, *rec, old, "application")
	g.trail.post(e)
	g.tellLater(ctx, r, e)
	return nil
}

// corrected returns the data with what must not be otherwise: the deadline it
// holds, by which an instance without the guard would judge it, and the mark,
// which Clear of the session manager removes and MergeSession overwrites.
// Within Protect the mark is set before the data is encoded, so only a bare Load
// and a merge have to look.
func (g *Guard) corrected(b []byte, rec Record, checkMark bool, expiry time.Time) ([]byte, error) {
	late := expiry.After(rec.Absolute.Add(deadlineSlack))
	if !late && !checkMark {
		return b, nil
	}
	deadline, values, err := g.sm.Codec.Decode(b)
	if err != nil {
		return nil, err
	}
	mark := g.mark(rec.Session)
	if values[markKey] == mark && !late {
		return b, nil
	}
	if late {
		deadline = rec.Absolute.UTC()
	}
	if values == nil {
		values = make(map[string]any)
	}
	values[markKey] = mark
	return g.sm.Codec.Encode(deadline, values)
}

// mayHoldMarks reports whether data that the request commits may carry the mark
// of a login. Only then is it decoded to look.
func (r *request) mayHoldMarks() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wasLive || r.iterating
}

// commitAnonymous stores the data of a session without a record.
func (g *Guard) commitAnonymous(ctx context.Context, r *request, key Key, b []byte, expiry time.Time) error {
	if (r == nil || r.mayHoldMarks()) && g.markIn(b) != "" {
		if r != nil {
			r.hush()
		}
		return nil // it was a login, and its record is gone
	}
	if r == nil {
		if err := g.refusePlanted(ctx, key, b); err != nil {
			return err
		}
	} else if held, err := g.holdBack(r, "", b); held || err != nil {
		return err
	}
	own((*string)(&key)) // a map keeps the last key that was written, and with it the whole Cookie header
	stored, err := g.writeOwn(ctx, r, key, "", b, time.Time{}, g.anonymousExpiry(expiry))
	if errors.Is(err, errMarked) {
		r.hush()
		return nil // the same, seen a moment later
	}
	if err != nil {
		return err
	}
	after, err := g.get(ctx, key)
	if err != nil {
		return err
	}
	if after.State != StateUnknown { // a login replaced it at the same moment
		if r != nil {
			r.hush()
		}
		return g.remove(ctx, key)
	}
	r.keep(loadedData{key, b, stored})
	return nil
}

// anonymousExpiry returns how long to keep an anonymous session with that
// deadline.
func (g *Guard) anonymousExpiry(deadline time.Time) time.Time {
	if idle := time.Now().Add(g.anonymousIdle); g.anonymousIdle > 0 && idle.Before(deadline) {
		return idle
	}
	return deadline
}
