package redisregistry

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

// Due returns records that need attention and leases them to the caller. It asks all
// parts at once, so what it costs in round trips does not grow with their number.
func (r *Registry) Due(ctx context.Context, n int) (list []scsguard.Record, err error) {
	if n <= 0 {
		return nil, nil
	}
	var refused refusals
	err = r.call(ctx, func(l *link) error {
		if err := r.recheck(l); err != nil {
			return err
		}
		for {
			more, err := r.dueOnce(l, n, &list, &refused)
			if err != nil || !more || len(list) >= n {
				return err
			}
		}
	})
	if len(list) > 0 {
		return list, nil // these are leased: what is left comes next time
	}
	return nil, errors.Join(err, refused.first)
}

// dueOnce goes through all parts. more says that what it did has made more due: the
// rest of an EndAll was done.
func (r *Registry) dueOnce(l *link, n int, list *[]scsguard.Record, refused *refusals) (more bool, err error) {
	parts, err := r.partsDue(l, refused)
	if err != nil {
		return false, err
	}
	for len(parts) > 0 && len(*list) < n {
		var leased []leased
		leased, parts, err = r.lease(l, parts, min(n-len(*list), readBatch))
		if err = refused.spare(err); err != nil {
			return false, err
		}
		resumed, err := r.attendAll(l, leased, list, refused)
		if err != nil {
			return false, err
		}
		more = more || resumed
	}
	return more, nil
}

// A duePart is a part of the due entries and how many of them are due.
type duePart struct{ part, count int }

// partsDue returns the parts in which something is due, in an order of chance, so
// that sweeps of many processes do not meet.
func (r *Registry) partsDue(l *link, refused *refusals) ([]duePart, error) {
	until := score(l.now) // of the last answer, which is young enough: what is due since comes next time
	commands := make([]command, dueParts)
	for i := range commands {
		commands[i] = command{"ZCOUNT", []any{r.due(i), "-inf", until}}
	}
	replies, err := l.pipeline(commands...)
	if err != nil {
		return nil, err
	}
	var parts []duePart
	for _, i := range rand.Perm(dueParts) {
		count, err := redis.Int(replies[i], nil)
		if err = refused.spare(err); err != nil {
			return nil, err
		}
		if count > 0 {
			parts = append(parts, duePart{i, count})
		}
	}
	return parts, nil
}

// leased is a due entry that belongs to the caller.
type leased struct {
	entry
	lease
}

// A lease is one that a sweep has of a due entry: until when, and until when Redis keeps
// the entry. The zero lease is none.
type lease struct{ until, kept time.Time }

// leaseSpent is how much of its lease a sweep may have spent on looking at what it has
// leased. It is less than the second by which two readings of a time may differ.
const leaseSpent = scsguard.Lease / 10

func parseLease(until, kept string) (lease, error) {
	u, err := strconv.ParseInt(until, 10, 64)
	if err != nil {
		return lease{}, err
	}
	k, err := strconv.ParseInt(kept, 10, 64)
	return lease{time.UnixMilli(u), time.UnixMilli(k)}, err
}

// serves reports whether the due entry is as good as a new one for s, which has ended:
// whoever is told of that has the first lease to write it down, no more than that if the
// clock of Redis was set, and the entry lives as long as the record.
func (e lease) serves(s stored, now time.Time) bool {
	left := e.until.Sub(now)
	return left >= scsguard.Lease-leaseSpent && left <= scsguard.Lease && !e.kept.Before(now.Add(s.ttl(now)))
}

// lease takes up to n entries out of parts, and returns the parts that have more.
func (r *Registry) lease(l *link, parts []duePart, n int) (out []leased, rest []duePart, err error) {
	var calls []scriptCall
	var asked []duePart
	for _, p := range parts {
		if take := min(p.count, n); take > 0 {
			calls = append(calls, scriptCall{r.due(p.part), []any{take, scsguard.Lease.Milliseconds()}})
			asked = append(asked, duePart{p.part, take})
			p.count, n = p.count-take, n-take
		}
		if p.count > 0 {
			rest = append(rest, p)
		}
	}
	replies, err := l.runEach(leaseScript, calls)
	if err != nil {
		return nil, rest, err
	}
	for i, reply := range replies {
		texts, err := redis.Strings(reply, nil)
		n := len(texts) - 4 // behind the members: two moments, and the time
		if err != nil || n < 0 {
			return nil, nil, errAnswer
		}
		members := texts[:n]
		lease, err := parseLease(texts[n], texts[n+1])
		if err != nil {
			return nil, nil, errAnswer
		}
		for _, m := range members {
			e, ok := parseEntry(m)
			if !ok { // nothing can be done about it, ever
				if _, err := l.do("ZREM", r.due(asked[i].part), m); err != nil {
					return nil, nil, err
				}
				continue
			}
			out = append(out, leased{e, lease})
		}
	}
	return out, rest, nil
}

// attendAll decides what each entry needs, and adds to list the records that need
// attention. resumed says that the rest of an EndAll was done.
func (r *Registry) attendAll(l *link, all []leased, list *[]scsguard.Record, refused *refusals) (resumed bool, err error) {
	var intents []entry
	var sessions []leased
	var keys []scsguard.Key
	for _, e := range all {
		if e.key == "" {
			intents = append(intents, e.entry)
		} else {
			sessions, keys = append(sessions, e), append(keys, e.key)
		}
	}
	found, err := l.read(r.keyspace, keys...)
	switch {
	case isRefused(err) && len(sessions) > 1: // that one must not keep a sweep from the others
		for _, e := range sessions {
			if _, err := r.attendAll(l, []leased{e}, list, refused); err != nil {
				return false, err
			}
		}
	case refused.spare(err) != nil:
		return false, err
	}
	*list = slices.Grow(*list, len(found))
	var todo chores
	for i, s := range found {
		rec, ok, err := r.attend(l, sessions[i], s, &todo)
		if err = refused.spare(err); err != nil {
			return false, err
		}
		if ok {
			*list = append(*list, rec)
		}
	}
	if err := r.tidy(l, todo, list, refused); err != nil {
		return false, err
	}
	for _, e := range intents { // last: what they end is handed out by itself
		if err := refused.spare(r.resume(l, e)); err != nil {
			return false, err
		}
	}
	return len(intents) > 0, nil
}

// chores are what entries need whose turn has come, for all of a kind in one round trip:
// every session that lives comes once in its idle time, and most have been used since.
type chores struct {
	later []scriptCall // whom to look at when their time has come
	gone  []entry      // of which nothing is left to be done
	dead  []stored     // whose endings nobody has confirmed
}

// tidy does the chores, and hands out the endings.
func (r *Registry) tidy(l *link, todo chores, list *[]scsguard.Record, refused *refusals) error {
	if _, err := l.runTogether(dueScript, todo.later); refused.spare(err) != nil {
		return err
	}
	if err := r.unscheduleMany(l, todo.gone); refused.spare(err) != nil {
		return err
	}
	dead := make([]scsguard.Record, len(todo.dead))
	for i, s := range todo.dead {
		dead[i] = s.rec
	}
	if err := r.forgetMany(l, dead); refused.spare(err) != nil { // whoever ended them may not have come to that
		return err
	}
	for _, rec := range dead { // also if their places could not be dropped: the trail must have their endings
		*list = append(*list, l.off.recordFromRedis(rec))
	}
	return nil
}

// attend decides what an entry whose turn has come needs.
func (r *Registry) attend(l *link, e leased, s stored, todo *chores) (scsguard.Record, bool, error) {
	none := scsguard.Record{}
	switch {
	case s.raw == nil, s.bad:
		return r.lost(l, e.entry, s)
	case !s.there():
		return none, false, r.wait(l, e.entry, s, e.until.UnixMilli())
	}
	switch s.rec.State {
	case scsguard.StateLive:
		if due, _ := s.rec.Due(); due.After(l.now) {
			if _, over := s.rec.Overdue(l.now); !over {
				todo.later = append(todo.later, r.scheduling(l, s, due, e.until.UnixMilli()))
				return none, false, nil
			}
		}
	case scsguard.StateReserved, scsguard.StateDetached:
		if s.rec.Lease.After(l.now) {
			todo.later = append(todo.later, r.scheduling(l, s, s.rec.Lease, e.until.UnixMilli()))
			return none, false, nil
		}
	case scsguard.StateEnded:
		if s.rec.Confirmed {
			todo.gone = append(todo.gone, e.entry)
		} else {
			todo.dead = append(todo.dead, s)
		}
		return none, false, nil
	default: // moved: whoever moved it may not have come to say so everywhere
		now, err := l.present(r.keyspace, s)
		if err == nil {
			err = r.rekey(l, now, s.key, now.key)
		}
		if err != nil {
			return none, false, err
		}
		return none, false, r.leave(l, e.entry)
	}
	s.lease = e.lease
	r.lately.keep(r.keyspace, s)
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
	err = r.release(l, e.user, e.session)
	return l.off.recordFromRedis(now.rec), true, err
}

// wait is for a record that waits for its session to move to it. It is needed as long
// as that may happen.
func (r *Registry) wait(l *link, e entry, s stored, lease int64) error {
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
