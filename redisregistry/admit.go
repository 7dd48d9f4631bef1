package redisregistry

import (
	"context"
	"errors"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

// Admit reserves a place or refuses. The order: due entry, record (reserved, and only
// where nothing is), place. So whoever finds the place finds the record, and whoever
// ends everybody finds the due entry.
func (r *Registry) Admit(ctx context.Context, a scsguard.Admission) (out scsguard.Admitted, err error) {
	err = r.call(ctx, func(l *link) error {
		out, err = r.admit(l, a)
		return err
	})
	return out, err
}

func (r *Registry) admit(l *link, a scsguard.Admission) (scsguard.Admitted, error) {
	last, places, err := r.places(l, a.Record.User, countedPlaces)
	if err != nil {
		return scsguard.Admitted{}, err
	}
	out := scsguard.Admitted{LastLogin: last}
	a.AuthenticatedAt = l.off.latest(a.AuthenticatedAt)
	if refused, err := r.refusedToAll(l, a); err != nil || refused {
		out.Denied = scsguard.DeniedRevoked
		return out, err
	}

	known := make(map[string]stored)
	var dead []string
	if out.Overdue, dead, err = r.clear(l, a, places, known); err != nil {
		return out, err
	}

	own := stored{key: a.Record.Key, raw: fresh, rec: l.off.recordToRedis(a.Record), keep: a.By.Keep, retention: a.Retention}
	own.rec.State, own.rec.Lease = scsguard.StateReserved, l.now.Add(scsguard.Lease)
	if err := r.schedule(l, own, own.rec.Lease, "set"); err != nil {
		return out, err
	}
	denied, found, err := r.reserveRecord(l, a, &own)
	if err != nil {
		return out, err
	}
	if denied == "" {
		if denied, out.Others, err = r.reservePlace(l, a, own, dead, known); err != nil {
			return out, err
		}
		if denied != "" {
			err = r.withdraw(l, own)
		}
	} else {
		out.Record = l.off.recordFromRedis(found)
		err = errors.Join(r.leaveExternal(l, own.rec), r.unschedule(l, entryOf(own.rec)))
	}
	out.Denied = denied
	if denied == "" {
		out.Record = l.off.recordFromRedis(own.rec)
	}
	return out, err
}

// clear ends those who are overdue, and finds who is dead already: neither counts. It
// remembers the records of the others.
func (r *Registry) clear(l *link, a scsguard.Admission, places []place, known map[string]stored) (overdue []scsguard.Record, dead []string, err error) {
	held, err := r.holders(l, places)
	if err != nil {
		return nil, nil, err
	}
	// Counting them no longer is only right once they are dead: a late Touch could
	// prolong them.
	won, err := r.endMany(l, held, func(now stored) (scsguard.Ending, bool) {
		e, over := now.rec.Overdue(l.now)
		e.Keep = a.By.Keep
		return e, over
	})
	if err != nil {
		return nil, nil, err
	}
	var over []scsguard.Record
	for i, s := range held {
		session := places[i].session
		if won[i] {
			over = append(over, s.rec)
			overdue = append(overdue, l.off.recordFromRedis(s.rec))
		}
		switch {
		case !s.there(), s.rec.State == scsguard.StateEnded, s.rec.Session != session:
			dead = append(dead, session)
		default:
			known[session] = s
			if s.key != places[i].key {
				if err := r.rekey(l, s, places[i].key, s.key); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	_ = r.forgetMany(l, over) // they are dead all the same, as in end
	return overdue, dead, nil
}

// refusedToAll reports whether the user proved who he is before everybody's sessions
// were ended. It is asked again after the due entry is there.
func (r *Registry) refusedToAll(l *link, a scsguard.Admission) (bool, error) {
	before, err := redis.Int64(l.do("GET", r.everyone()))
	if errors.Is(err, redis.ErrNil) {
		return false, nil
	}
	return a.AuthenticatedAt.UnixMicro() < before, err
}

// reserveRecord creates the record unless there is one, or the user proved who he is
// before everybody's sessions, or those under the external ID, were ended. Whoever ends
// them from here on finds the entries that lead to it.
func (r *Registry) reserveRecord(l *link, a scsguard.Admission, own *stored) (scsguard.Denial, scsguard.Record, error) {
	nothing := scsguard.Record{}
	if refused, err := r.refusedToAll(l, a); err != nil || refused {
		return scsguard.DeniedRevoked, nothing, err
	}
	if own.rec.External != "" {
		may, err := redis.Ints(l.ask(externalScript, r.external(own.rec.External), "enter", own.rec.Session, packed(own.key),
			a.AuthenticatedAt.UnixMicro(), own.ttl(l.now).Milliseconds()))
		if err != nil {
			return "", nothing, err
		}
		if len(may) != 1 || may[0] != 1 {
			return scsguard.DeniedRevoked, nothing, nil
		}
	}
	now, created, err := l.swap(r.keyspace, stored{key: own.key}, *own, false)
	if err != nil {
		return "", nothing, err
	}
	if created {
		*own = now
		return "", nothing, nil
	}
	if s := now.rec.State; now.there() && now.rec.User == own.rec.User && (s == scsguard.StateLive || s == scsguard.StateReserved) {
		return scsguard.DeniedExists, now.rec, nil
	}
	return scsguard.DeniedRevoked, nothing, nil
}

// reservePlace asks the index of the user.
func (r *Registry) reservePlace(l *link, a scsguard.Admission, own stored, dead []string, known map[string]stored) (scsguard.Denial, []scsguard.Record, error) {
	by, err := encodeEnding(l.off.endingToRedis(a.By))
	if err != nil {
		return "", nil, err
	}
	ttl := max(own.ttl(l.now), scsguard.UserMemory)
	reply, err := l.ask(admitScript, r.user(own.rec.User), append([]any{
		own.rec.Session, packed(own.key), a.AuthenticatedAt.UnixMicro(), a.Limit.Max, modeOf(a.Limit),
		fromToken(a.Browser), a.Replaces, a.End, by, ttl.Milliseconds(),
	}, anys(dead)...)...)
	if err != nil {
		return "", nil, err
	}
	if len(reply) == 0 {
		return "", nil, errAnswer
	}
	denied, err := redis.String(reply[0], nil)
	if err != nil {
		return "", nil, err
	}
	staying, err := parsePlaces(reply[1:])
	if err != nil {
		return "", nil, err
	}
	others, err := r.others(l, staying, known)
	return scsguard.Denial(denied), others, err
}

// modeOf is what the scripts call it.
func modeOf(limit scsguard.Limit) string {
	switch limit.OnExceed {
	case scsguard.Deny:
		return "deny"
	case scsguard.EvictOldest:
		return "evict"
	}
	return "warn"
}

// others returns the records at places. Most are known from just before.
func (r *Registry) others(l *link, places []place, known map[string]stored) ([]scsguard.Record, error) {
	var missing []place
	for _, p := range places {
		if _, ok := known[p.session]; !ok {
			missing = append(missing, p)
		}
	}
	found, err := r.holders(l, missing)
	if err != nil {
		return nil, err
	}
	for i, s := range found {
		if s.there() {
			known[missing[i].session] = s
		}
	}
	list := make([]scsguard.Record, 0, len(places))
	for _, p := range places {
		if s, ok := known[p.session]; ok {
			list = append(list, l.off.recordFromRedis(s.rec))
		}
	}
	return list, nil
}

// withdraw takes a reservation back that nobody has learned of. The record goes
// first: a place without one is nobody's.
func (r *Registry) withdraw(l *link, own stored) error {
	for own.there() && own.rec.State == scsguard.StateReserved {
		now, gone, err := l.swap(r.keyspace, own, stored{key: own.key}, false)
		if err != nil {
			return err
		}
		if gone {
			if err := r.forget(l, own.rec); err != nil {
				return err
			}
			return r.unschedule(l, entryOf(own.rec))
		}
		if now.rec.Session != own.rec.Session {
			return nil
		}
		own = now
	}
	return nil
}

// Settle completes an admission.
func (r *Registry) Settle(ctx context.Context, a scsguard.Admitted, commit bool) (out scsguard.Settled, err error) {
	err = r.call(ctx, func(l *link) error {
		own, err := l.look(r.keyspace, a.Record.Key)
		if err != nil {
			return err
		}
		if own.rec.Session != a.Record.Session {
			own = stored{key: a.Record.Key} // the key is another login's by now
		}
		if !commit {
			out = scsguard.Settled{Record: a.Record}
			return r.withdraw(l, own)
		}
		if own, err = l.present(r.keyspace, own); err != nil {
			return err
		}
		if own.rec.State == scsguard.StateReserved {
			out, err = r.settle(l, own, a.Record.Seq)
			return err
		}
		out = settledBefore(l, own, a)
		return nil
	})
	return out, err
}

// settledBefore is the answer for an admission that is over.
func settledBefore(l *link, own stored, a scsguard.Admitted) scsguard.Settled {
	if own.there() {
		return scsguard.Settled{Live: own.rec.State == scsguard.StateLive, Record: l.off.recordFromRedis(own.rec)}
	}
	return scsguard.Settled{Record: scsguard.Record{Session: a.Record.Session, User: a.Record.User, State: scsguard.StateEnded,
		Ending: scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndAborted, At: time.Now()}}}
}
