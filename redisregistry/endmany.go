package redisregistry

import (
	"context"
	"slices"

	"github.com/scsguard/scsguard"
)

// endMany is endRecord for many sessions, in as many round trips as for one. Of those
// that it has ended, won says so; the others are as they are now. Each step is done for
// all before the next begins: should this process die, or an answer be an error, a sweep
// finds what was ended.
func (r *Registry) endMany(l *link, list []stored, how func(stored) (scsguard.Ending, bool)) (won []bool, err error) {
	won = make([]bool, len(list))
	at := make([]int, 0, len(list)) // where in list those are that have to end
	next := make([]stored, 0, len(list))
	for i, s := range list {
		if !s.there() {
			continue
		}
		ending, do := how(s)
		if !do {
			continue
		}
		n := s
		if !n.rec.End(ending) {
			continue
		}
		n.keep, n.lease = max(s.keep, ending.Keep), lease{}
		at, next = append(at, i), append(next, n)
	}

	var intents []scriptCall
	for i, n := range next {
		if list[at[i]].lease.serves(n, l.now) {
			continue // a sweep finds it when the lease is over
		}
		intents = append(intents, r.scheduling(l, n, l.now.Add(scsguard.Lease), "set"))
	}
	if _, err := l.runTogether(dueScript, intents); err != nil {
		return won, err
	}

	was := make([]stored, len(next))
	for i := range next {
		was[i] = list[at[i]]
	}
	done, err := l.swapEach(r.keyspace, was, next, true)
	for i := range done {
		if done[i] {
			list[at[i]], won[at[i]] = next[i], true
			r.recall.remember(r.keyspace, next[i])
			r.lately.keep(r.keyspace, next[i])
		}
	}
	if err != nil {
		return won, err
	}
	for i := range done {
		if done[i] {
			continue
		}
		// Somebody has changed it in this moment, so it is looked at by itself.
		now := &list[at[i]]
		if *now, err = l.look(r.keyspace, now.key); err != nil {
			return won, err
		}
		if *now, won[at[i]], err = r.endRecord(l, *now, how); err != nil {
			return won, err
		}
	}
	return won, nil
}

// EndDue ends the sessions that are overdue.
func (r *Registry) EndDue(ctx context.Context, keys []scsguard.Key, e scsguard.Ending) (ended []scsguard.Record, err error) {
	err = r.call(ctx, func(l *link) error {
		return inParts(keys, readBatch, func(some ...scsguard.Key) error {
			over, err := r.endDue(l, some, e)
			ended = slices.Grow(ended, len(over))
			for _, rec := range over {
				ended = append(ended, l.off.recordFromRedis(rec))
			}
			return err
		})
	})
	return ended, err
}

// inParts does for many, size of them at a time, what may be done again. Where Redis
// refuses it for one of a part, it is done for each by itself, so that this one keeps no
// other from it.
func inParts[T any](list []T, size int, do func(...T) error) error {
	var refused refusals
	for some := range slices.Chunk(list, size) {
		err := do(some...)
		if isRefused(err) && len(some) > 1 {
			err = inParts(some, 1, do)
		}
		if err = refused.spare(err); err != nil {
			return err
		}
	}
	return refused.first
}

func (r *Registry) endDue(l *link, keys []scsguard.Key, e scsguard.Ending) (over []scsguard.Record, err error) {
	list, err := r.readLately(l, r.mayEnd, keys...)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].rec.State == scsguard.StateMoved {
			if list[i], err = l.present(r.keyspace, list[i]); err != nil {
				return nil, err
			}
		}
	}
	won, err := r.endMany(l, list, func(now stored) (scsguard.Ending, bool) {
		overdue, is := now.rec.Overdue(l.now)
		overdue.Keep = e.Keep
		return overdue, is
	})
	over = make([]scsguard.Record, 0, len(list))
	for i := range list {
		if won[i] {
			over = append(over, list[i].rec)
		}
	}
	_ = r.forgetMany(l, over) // they are dead all the same, as in end
	return over, err
}

// forgetMany is forget for many.
func (r *Registry) forgetMany(l *link, recs []scsguard.Record) error {
	var refused refusals
	if err := refused.spare(r.releaseMany(l, recs)); err != nil {
		return err
	}
	if err := refused.spare(r.leaveExternals(l, recs)); err != nil {
		return err
	}
	return refused.first
}

// releaseMany is release for sessions of any users. Those of one go together: each time
// costs as much as he has sessions.
func (r *Registry) releaseMany(l *link, recs []scsguard.Record) error {
	var calls []scriptCall
	for _, rec := range recs {
		if rec.User != "" {
			calls = append(calls, scriptCall{r.user(rec.User), []any{rec.Session}})
		}
	}
	_, err := l.runTogether(releaseScript, calls)
	return err
}

// ConfirmAll says that endings are in the trail.
func (r *Registry) ConfirmAll(ctx context.Context, recs []scsguard.Record) error {
	return r.call(ctx, func(l *link) error {
		return inParts(recs, readBatch, func(some ...scsguard.Record) error { return r.confirmMany(l, some) })
	})
}

// confirmMany is confirm for many, in as many round trips as for one.
func (r *Registry) confirmMany(l *link, recs []scsguard.Record) error {
	keys := make([]scsguard.Key, len(recs))
	for i, rec := range recs {
		keys[i] = rec.Key
	}
	list, err := r.readLately(l, (*stored).ended, keys...)
	if err != nil {
		return err
	}
	was, next := make([]stored, 0, len(list)), make([]stored, 0, len(list))
	var done []entry
	for _, s := range list {
		if confirmed := s; confirmed.confirm() {
			was, next = append(was, s), append(next, confirmed)
		} else if s.ended() {
			done = append(done, entryOf(s.rec))
		}
	}
	swapped, err := l.swapEach(r.keyspace, was, next, false)
	if err != nil {
		return err
	}
	for i, s := range next {
		if swapped[i] {
			done = append(done, entryOf(s.rec))
		} else if err := r.confirm(l, s.key); err != nil {
			return err
		}
	}
	return r.unscheduleMany(l, done)
}

// unscheduleMany is unschedule for many.
func (r *Registry) unscheduleMany(l *link, entries []entry) error {
	calls := make([]scriptCall, len(entries))
	for i, e := range entries {
		calls[i] = scriptCall{r.dueOf(e.session), []any{e.member()}}
	}
	var commands []command
	for _, c := range together(calls) {
		commands = append(commands, command{"ZREM", append([]any{c.key}, c.args...)})
	}
	return l.each(commands...)
}
