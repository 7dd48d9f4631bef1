package redisregistry

import (
	"context"

	"github.com/scsguard/scsguard"
)

// endRecord ends a session, wherever it is by now, if how says so of what it is then.
// Of all callers exactly one is told that it did. The due entry comes first: should
// this process die, a sweep finds the ending after a lease.
func (r *Registry) endRecord(l *link, s stored, how func(stored) (scsguard.Ending, bool)) (stored, bool, error) {
	for {
		var err error
		if s, err = l.present(r.keyspace, s); err != nil || !s.there() {
			return s, false, err
		}
		ending, do := how(s)
		next := s
		if !do || !next.rec.End(ending) {
			return s, false, nil
		}
		next.keep = max(s.keep, ending.Keep)
		if err := r.schedule(l, next, l.now.Add(scsguard.Lease), "set"); err != nil {
			return s, false, err
		}
		now, swapped, err := l.swap(r.keyspace, s, next, true)
		if swapped {
			r.recall.remember(r.keyspace, now)
		}
		if err != nil || swapped {
			return now, swapped, err
		}
		s = now
	}
}

// end is endRecord, and gives the session's place back. If that fails the session is
// dead all the same, and the next login of the user finds out.
func (r *Registry) end(l *link, s stored, how func(stored) (scsguard.Ending, bool)) (stored, bool, error) {
	s, won, err := r.endRecord(l, s, how)
	if won && err == nil {
		_ = r.forget(l, s.rec)
	}
	return s, won, err
}

// End ends one session.
func (r *Registry) End(ctx context.Context, t scsguard.Target, e scsguard.Ending) (rec scsguard.Record, ended bool, err error) {
	err = r.call(ctx, func(l *link) error {
		s, found, err := r.target(l, t)
		if err != nil || !found {
			return err
		}
		e = l.off.endingToRedis(e)
		for err == nil {
			if s.there() {
				s, ended, err = r.endTarget(l, s, t, e)
			}
			if s.there() || t.Key == "" || t.IfDue || t.Exact { // else there is nothing, or the login was withdrawn
				break
			}
			var buried bool
			if s, buried, err = r.bury(l, s, t, e); buried {
				ended = t.Session != ""
				break
			}
		}
		if err == nil && s.there() {
			rec = l.off.recordFromRedis(s.rec)
		}
		return err
	})
	if err != nil {
		return scsguard.Record{}, false, err
	}
	return rec, ended, nil
}

// target finds what a target names. Nothing under a key is found, too.
func (r *Registry) target(l *link, t scsguard.Target) (stored, bool, error) {
	if t.Key != "" {
		s, err := l.look(r.keyspace, t.Key)
		return s, true, err
	}
	_, places, err := r.places(l, t.User, allPlaces)
	if err != nil {
		return stored{}, false, err
	}
	for _, p := range places {
		if p.session == t.Session {
			s, err := l.look(r.keyspace, p.key)
			return s, s.there() && s.rec.Session == t.Session, err
		}
	}
	return stored{}, false, nil
}

// endTarget ends the session that a record leads to.
func (r *Registry) endTarget(l *link, s stored, t scsguard.Target, e scsguard.Ending) (stored, bool, error) {
	replaced := func(s stored) (stored, error) {
		now, _, err := l.change(r.keyspace, s, func(s *stored) (bool, error) {
			if !s.there() || s.bad || s.rec.State != scsguard.StateMoved && s.rec.State != scsguard.StateEnded {
				return false, nil
			}
			s.rec.ReplacedAt = e.At
			return true, nil
		})
		return now, err
	}
	var err error
	if !t.Exact && s.rec.State == scsguard.StateMoved && e.Reason == scsguard.EndReplaced {
		if s, err = replaced(s); err != nil {
			return s, false, err
		}
	}
	if t.Exact && s.rec.State != scsguard.StateLive {
		return s, false, nil
	}
	s, won, err := r.end(l, s, func(now stored) (scsguard.Ending, bool) {
		switch {
		case t.Exact:
			return e, now.key == t.Key && now.rec.State == scsguard.StateLive
		case t.IfDue:
			overdue, over := now.rec.Overdue(l.now)
			overdue.Keep = e.Keep
			return overdue, over
		}
		return e, true
	})
	if err == nil && !won && !t.Exact && s.rec.State == scsguard.StateEnded && e.Reason == scsguard.EndReplaced {
		s, err = replaced(s)
	}
	return s, won, err
}

// bury puts a tombstone under a key that nothing is known of. If it is that of a
// session which has lost its record, the ending has to be told of.
func (r *Registry) bury(l *link, s stored, t scsguard.Target, e scsguard.Ending) (stored, bool, error) {
	next := stored{key: s.key, raw: fresh, keep: e.Keep, retention: max(e.Keep, scsguard.TombstoneMargin),
		rec: scsguard.Record{Session: t.Session, User: t.User, Key: s.key, State: scsguard.StateEnded, Ending: e,
			Confirmed: t.Session == "", Absolute: l.now}}
	if e.Reason == scsguard.EndReplaced {
		next.rec.ReplacedAt = e.At
	}
	if t.Session != "" {
		if err := r.schedule(l, next, l.now.Add(scsguard.Lease), "set"); err != nil {
			return s, false, err
		}
	}
	return l.swap(r.keyspace, s, next, t.Session != "")
}
