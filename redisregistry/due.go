package redisregistry

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

// Due returns records that need attention and leases them to the caller. Parts in
// which nothing is due cost one command each, all in one round trip.
func (r *Registry) Due(ctx context.Context, n int) (list []scsguard.Record, err error) {
	if n <= 0 {
		return nil, nil
	}
	err = r.call(ctx, func(l *link) error {
		if err := r.recheck(l); err != nil {
			return err
		}
		for {
			more, err := r.dueOnce(l, n, &list)
			if err != nil || !more || len(list) >= n {
				return err
			}
		}
	})
	if len(list) > 0 {
		return list, nil // these are leased: what is left comes next time
	}
	return nil, err
}

// dueOnce goes through all parts. more says that what it did has made more due: the
// rest of an EndAll was done.
func (r *Registry) dueOnce(l *link, n int, list *[]scsguard.Record) (more bool, err error) {
	parts, err := r.partsDue(l)
	if err != nil {
		return false, err
	}
	for _, part := range parts {
		for len(*list) < n {
			want := min(n-len(*list), readBatch)
			batch, err := r.lease(l, part, want)
			*list, more = append(*list, batch.recs...), more || batch.resumed
			if err != nil {
				return false, err
			}
			if batch.taken < want {
				break
			}
		}
	}
	return more, nil
}

// partsDue returns the parts in which something is due, in an order of chance, so
// that sweeps of many processes do not meet.
func (r *Registry) partsDue(l *link) ([]int, error) {
	if _, err := l.pipeline(); err != nil { // for the time
		return nil, err
	}
	until := score(l.now)
	commands := make([]command, dueParts)
	for i := range commands {
		commands[i] = command{"ZCOUNT", []any{r.due(i), "-inf", until}}
	}
	replies, err := l.pipeline(commands...)
	if err != nil {
		return nil, err
	}
	var parts []int
	for _, i := range rand.Perm(dueParts) {
		count, err := redis.Int(replies[i], nil)
		if err != nil {
			return nil, err
		}
		if count > 0 {
			parts = append(parts, i)
		}
	}
	return parts, nil
}

// A batch is what was leased from a part.
type batch struct {
	taken   int               // entries
	recs    []scsguard.Record // of those that need attention
	resumed bool              // an EndAll was completed
}

// lease takes up to n entries of a part and decides what each needs.
func (r *Registry) lease(l *link, part, n int) (out batch, err error) {
	reply, err := l.ask(leaseScript, r.due(part), n, scsguard.Lease.Milliseconds())
	if err != nil {
		return out, err
	}
	texts, err := redis.Strings(reply, nil)
	if err != nil || len(texts) == 0 {
		return out, errAnswer
	}
	members, lease := texts[:len(texts)-1], texts[len(texts)-1]
	out.taken = len(members)
	var entries, intents []entry
	var keys []scsguard.Key
	for _, m := range members {
		e, ok := parseEntry(m)
		switch {
		case !ok: // nothing can be done about it, ever
			_, err = l.do("ZREM", r.due(part), m)
		case e.key == "":
			intents = append(intents, e)
		default:
			entries, keys = append(entries, e), append(keys, e.key)
		}
		if err != nil {
			return out, err
		}
	}
	found, err := l.read(r.keyspace, keys...)
	if err != nil {
		return out, err
	}
	for i, s := range found {
		rec, ok, err := r.attend(l, entries[i], s, lease)
		if err != nil {
			return out, err
		}
		if ok {
			out.recs = append(out.recs, rec)
		}
	}
	for _, e := range intents { // last: what they end is handed out by itself
		out.resumed = true
		if err := r.resume(l, e); err != nil {
			return out, err
		}
	}
	return out, nil
}

// attend decides what an entry whose turn has come needs.
func (r *Registry) attend(l *link, e entry, s stored, lease string) (scsguard.Record, bool, error) {
	none := scsguard.Record{}
	switch {
	case s.raw == nil, s.bad:
		return r.lost(l, e, s)
	case !s.there():
		return none, false, r.wait(l, e, s, lease)
	}
	switch s.rec.State {
	case scsguard.StateLive:
		if due, _ := s.rec.Due(); due.After(l.now) {
			if _, over := s.rec.Overdue(l.now); !over {
				return none, false, r.schedule(l, s, due, lease)
			}
		}
	case scsguard.StateReserved, scsguard.StateDetached:
		if s.rec.Lease.After(l.now) {
			return none, false, r.schedule(l, s, s.rec.Lease, lease)
		}
	case scsguard.StateEnded:
		if s.rec.Confirmed {
			return none, false, r.unschedule(l, e)
		}
		if err := r.forget(l, s.rec); err != nil { // whoever ended it may not have come to that
			return none, false, err
		}
	default: // moved: whoever moved it may not have come to say so everywhere
		if err := r.rekey(l, s.rec, s.key, s.rec.Successor); err != nil {
			return none, false, err
		}
		return none, false, r.leave(l, e)
	}
	return l.off.recordFromRedis(s.rec), true, nil
}

// lost is for an entry whose record is gone or cannot be read: a login that died
// before it had one, or a record that Redis has lost. Either way the session is dead,
// and its ending has to be told, once.
func (r *Registry) lost(l *link, e entry, s stored) (scsguard.Record, bool, error) {
	ending := scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndLost, At: l.now}
	if s.bad {
		ending.Reason = scsguard.EndInvalid
	}
	now, buried, err := r.bury(l, s, scsguard.Target{Key: e.key, Session: e.session, User: e.user}, ending)
	if err != nil || !buried {
		return scsguard.Record{}, false, err
	}
	if err := r.release(l, e.user, e.session); err != nil {
		return scsguard.Record{}, false, err
	}
	return l.off.recordFromRedis(now.rec), true, nil
}

// wait is for a record that waits for its session to move to it. It is needed as long
// as that may happen.
func (r *Registry) wait(l *link, e entry, s stored, lease string) error {
	parent, err := l.look(r.keyspace, s.parent)
	if err != nil {
		return err
	}
	if s := parent.rec.State; s == scsguard.StateLive || s == scsguard.StateDetached {
		due, _ := parent.rec.Due()
		return r.scheduleEntry(l, e, maxTime(due, l.now.Add(scsguard.Lease)), parent.ttl(l.now), lease)
	}
	if parent.rec.State == scsguard.StateMoved && parent.rec.Successor == s.key {
		return nil // it has come in this moment; the lease lets somebody look again
	}
	if _, gone, err := l.swap(r.keyspace, s, stored{key: s.key}, false); err != nil || !gone {
		return err
	}
	return r.unschedule(l, e)
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
