package redisregistry

import (
	"context"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

// Move gives a session a new key. The instant is the change of the old record: until
// then the new one waits, and counts for nobody; from then on it lives, even if this
// process does not come to say so.
func (r *Registry) Move(ctx context.Context, from scsguard.Key, rot scsguard.Rotation) (won bool, current scsguard.Record, err error) {
	err = r.call(ctx, func(l *link) error {
		s, err := l.look(r.keyspace, from)
		if err != nil || !s.there() {
			return err
		}
		rot.At, rot.Activity, rot.Absolute = l.off.toRedis(rot.At), l.off.toRedis(rot.Activity), l.off.toRedis(rot.Absolute)
		if rot.Auth != nil {
			auth := *rot.Auth
			auth.Time = l.off.toRedis(auth.Time)
			rot.Auth = &auth
		}
		s, won, err = r.move(l, s, rot)
		current = l.off.recordFromRedis(s.rec)
		return err
	})
	return won, current, err
}

// movable reports whether a rotation may move what is there now.
func movable(l *link, s stored, rot scsguard.Rotation) bool {
	over := !rot.Absolute.IsZero() && !l.now.Before(s.rec.Absolute) // nothing brings back what is over
	return s.there() && !over && s.rec.HeldBy(rot.Owner)
}

func (r *Registry) move(l *link, s stored, rot scsguard.Rotation) (stored, bool, error) {
	waiting := stored{key: rot.To}
	if rot.To == s.key {
		return s, false, nil
	}
	for {
		if !movable(l, s, rot) {
			if err := r.unwait(l, waiting, s); err != nil {
				return s, false, err
			}
			s, err := l.present(r.keyspace, s)
			return s, false, err
		}
		next := s
		next.key, next.raw, next.parent = rot.To, fresh, s.key
		next.rec.Rotate(rot)
		due, _ := next.rec.Due()
		if waiting.raw == nil {
			if err := r.schedule(l, next, due, "set"); err != nil {
				return s, false, err
			}
		}
		now, swapped, err := l.swap(r.keyspace, waiting, next, false)
		if err != nil {
			return s, false, err
		}
		if !swapped { // nothing may live under that key
			if waiting.raw == nil {
				err = r.unscheduleUnless(l, next, now)
			}
			return s, false, err
		}
		waiting = now

		old := s
		old.rec.MoveTo(next.rec, rot)
		if now, swapped, err = l.swap(r.keyspace, s, old, false); err != nil {
			return s, false, err
		}
		if swapped {
			return r.arrived(l, s, waiting)
		}
		s = now // somebody has recorded something, or was faster
	}
}

// unscheduleUnless drops the due entry of a move that did not happen, unless it is
// that of the session which has the key: it moves to where it is.
func (r *Registry) unscheduleUnless(l *link, next, there stored) error {
	if there.rec.Session == next.rec.Session && there.there() {
		return nil
	}
	return r.unschedule(l, entryOf(next.rec))
}

// unwait takes back the record of a move that has lost.
func (r *Registry) unwait(l *link, waiting, s stored) error {
	if waiting.raw == nil {
		return nil
	}
	now, gone, err := l.swap(r.keyspace, waiting, stored{key: waiting.key}, false)
	if err != nil || !gone && now.rec.Session == waiting.rec.Session {
		return err
	}
	return r.unschedule(l, entry{waiting.key, s.rec.Session, s.rec.User})
}

// arrived says that a session has come to its new key.
func (r *Registry) arrived(l *link, from, waiting stored) (stored, bool, error) {
	next := waiting
	next.parent = ""
	now, swapped, err := l.swap(r.keyspace, waiting, next, false)
	if err != nil {
		return next, true, nil // it lives there: every reader sees that the old key leads to it
	}
	switch {
	case swapped:
	case !now.there(): // somebody took it for one that nobody needs
		_, _, err = l.swap(r.keyspace, now, next, false)
	case now.rec.Session == "": // a tombstone was laid there at the last moment
		return r.arrivedDead(l, now, next)
	}
	if err == nil {
		err = r.rekey(l, next, from.key, next.key)
	}
	if err == nil {
		_ = r.leave(l, entryOf(from.rec)) // after an error a sweep does both
	}
	return next, true, nil
}

// leave drops the due entry of a key that a session has left. While somebody walks over
// the entries it stays: he may have passed the place of the new one, and not come to
// this. It is asked after the new one is there, so that who begins to walk later finds
// that.
func (r *Registry) leave(l *link, e entry) error {
	walks, err := redis.Int(l.do("EXISTS", r.walks()))
	if err != nil || walks > 0 {
		return err
	}
	return r.unschedule(l, e)
}

// arrivedDead ends a session that came to a key which nothing may live under, so that
// its ending is told.
func (r *Registry) arrivedDead(l *link, tombstone, next stored) (stored, bool, error) {
	e := tombstone.rec.Ending
	next.rec.End(e)
	next.keep = max(next.keep, e.Keep)
	if err := r.schedule(l, next, l.now.Add(scsguard.Lease), "set"); err != nil {
		return next, false, err
	}
	if _, _, err := l.swap(r.keyspace, tombstone, next, true); err != nil {
		return next, false, err
	}
	return next, false, r.forget(l, next.rec)
}
