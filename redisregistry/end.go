package redisregistry

import (
	"context"
	_ "embed"
	"errors"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

//go:embed lua/everyone.lua
var everyoneLua string

var everyoneScript = newScript("everyone", everyoneLua)

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
	_, places, err := r.places(l, t.User)
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

// EndAll ends many sessions: first it refuses logins that were authenticated before,
// then it ends what it finds. A login that is not found after that finds itself
// refused.
func (r *Registry) EndAll(ctx context.Context, rev scsguard.Revocation) (out scsguard.Revoked, err error) {
	err = r.call(ctx, func(l *link) error {
		switch {
		case rev.Everyone:
			return r.endEveryone(l, rev, &out)
		case rev.External != "":
			return r.endExternal(l, rev, &out)
		}
		return r.endUser(l, rev, &out)
	})
	return out, err
}

func (r *Registry) endUser(l *link, rev scsguard.Revocation, out *scsguard.Revoked) error {
	reply, err := l.ask(revokeScript, r.user(rev.User), scsguard.UserMemory.Milliseconds())
	if err != nil {
		return err
	}
	if len(reply) == 0 {
		return errAnswer
	}
	before, err := redis.String(reply[0], nil)
	if err != nil {
		return err
	}
	places, err := parsePlaces(reply[1:])
	if err != nil {
		return err
	}
	out.Before = l.moment(before)
	everyone, err := redis.String(l.do("GET", r.everyone()))
	if err != nil && !errors.Is(err, redis.ErrNil) {
		return err
	}
	if t := l.moment(everyone); t.After(out.Before) {
		out.Before = t
	}
	return r.endPlaces(l, rev, out, places, time.Time{})
}

// moment reads one in microseconds of Redis's clock. What is no number is none.
func (l *link) moment(micros string) time.Time {
	n, err := redis.Int64([]byte(micros), nil)
	if err != nil {
		return time.Time{}
	}
	return l.off.fromRedis(time.UnixMicro(n))
}

func (r *Registry) endExternal(l *link, rev scsguard.Revocation, out *scsguard.Revoked) error {
	reply, err := l.ask(externalScript, r.external(rev.External), "close", scsguard.TombstoneMargin.Milliseconds())
	if err != nil {
		return err
	}
	fields, err := parsePlaces(reply)
	if err != nil {
		return err
	}
	places := fields[:0]
	for _, f := range fields {
		if f.session[0] == 'p' {
			places = append(places, place{f.session[1:], f.key})
		}
	}
	return r.endPlaces(l, rev, out, places, time.Time{})
}

// endEveryone walks over all due entries, since whoever lives has one.
func (r *Registry) endEveryone(l *link, rev scsguard.Revocation, out *scsguard.Revoked) error {
	reply, err := l.ask(everyoneScript, r.everyone(), scsguard.UserMemory.Milliseconds())
	if err != nil {
		return err
	}
	// Whoever logged in well after that need not go. The second is for what the clocks
	// cannot tell.
	since := l.now.Add(time.Second)
	_ = reply
	for part := range dueParts {
		cursor := "0"
		for {
			reply, err := redis.Values(l.do("ZSCAN", r.due(part), cursor, "COUNT", readBatch))
			if err != nil || len(reply) != 2 {
				return errors.Join(err, shortAnswer(reply, 2))
			}
			if cursor, err = redis.String(reply[0], nil); err != nil {
				return err
			}
			members, err := redis.Strings(reply[1], nil)
			if err != nil {
				return err
			}
			var places []place
			for i := 0; i < len(members); i += 2 {
				if e, ok := parseEntry(members[i]); ok {
					places = append(places, place{e.session, e.key})
				}
			}
			if err := r.endPlaces(l, rev, out, places, since); err != nil {
				return err
			}
			if cursor == "0" {
				break
			}
		}
	}
	return nil
}

func shortAnswer(reply []any, n int) error {
	if len(reply) < n {
		return errAnswer
	}
	return nil
}

// endPlaces ends the sessions at places, but for those created after since.
func (r *Registry) endPlaces(l *link, rev scsguard.Revocation, out *scsguard.Revoked, places []place, since time.Time) error {
	ending := l.off.endingToRedis(rev.Ending)
	held, err := r.holders(l, places)
	if err != nil {
		return err
	}
	for i, s := range held {
		session := places[i].session
		if session == rev.Except {
			continue
		}
		if s.raw == nil { // a login that has no record yet: it will find that it must not have one
			if s, _, err = r.bury(l, s, scsguard.Target{Key: s.key}, ending); err != nil {
				return err
			}
		}
		if s.rec.Session != session || !since.IsZero() && s.rec.Created.After(since) {
			continue
		}
		if err := r.revoke(l, s, ending, out); err != nil {
			return err
		}
	}
	return nil
}

// revoke ends one of many. What was overdue ends by that, and is not counted.
func (r *Registry) revoke(l *link, s stored, ending scsguard.Ending, out *scsguard.Revoked) error {
	wasOver := false
	s, won, err := r.end(l, s, func(now stored) (scsguard.Ending, bool) {
		overdue, over := now.rec.Overdue(l.now)
		if wasOver = over; over {
			overdue.Keep = ending.Keep
			return overdue, true
		}
		return ending, true
	})
	if err != nil || !won {
		return err
	}
	if !wasOver {
		if out.Total++; len(out.Ended) < scsguard.MaxRevoked {
			out.Ended = append(out.Ended, l.off.recordFromRedis(s.rec))
			return nil
		}
	}
	return r.schedule(l, s, l.now, "set") // for the next Due
}
