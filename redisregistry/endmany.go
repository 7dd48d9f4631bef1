package redisregistry

import (
	"errors"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

// endMany is endRecord for many sessions, in as many round trips as for one. Of those
// that it has ended, won says so; the others are as they are now. Each step is done for
// all before the next begins: should this process die, or an answer be an error, a sweep
// finds what was ended.
func (r *Registry) endMany(l *link, list []stored, how func(stored) (scsguard.Ending, bool)) (won []bool, err error) {
	won = make([]bool, len(list))
	var at []int // where in list those are that have to end
	var next []stored
	for i, s := range list {
		if !s.there() {
			continue
		}
		ending, do := how(s)
		n := s
		if !do || !n.rec.End(ending) {
			continue
		}
		n.keep = max(s.keep, ending.Keep)
		at, next = append(at, i), append(next, n)
	}

	intents := make([]scriptCall, len(next))
	for i, n := range next {
		intents[i] = r.scheduling(l, n, l.now.Add(scsguard.Lease), "set")
	}
	if _, err := l.runEach(dueScript, intents); err != nil {
		return won, err
	}

	swaps := make([]scriptCall, len(next))
	values := make([][]byte, len(next))
	for i, n := range next {
		if values[i], err = n.encode(); err != nil {
			return won, err
		}
		swaps[i] = swapping(l, r.keyspace, list[at[i]], n, values[i], true)
	}
	replies, err := l.runEach(recordScript, swaps)
	if err != nil {
		return won, err
	}
	for i, reply := range replies {
		answer, err := redis.Values(reply, nil)
		if err != nil || len(answer) == 0 {
			return won, errors.Join(err, shortAnswer(answer, 1))
		}
		now := &list[at[i]]
		if done, _ := redis.Int(answer[0], nil); done == 1 {
			*now, won[at[i]] = next[i], true
			now.raw = values[i]
			r.recall.remember(r.keyspace, *now)
			continue
		}
		// Somebody has changed it in this moment, so it is looked at by itself.
		if *now, err = l.look(r.keyspace, now.key); err != nil {
			return won, err
		}
		if *now, won[at[i]], err = r.endRecord(l, *now, how); err != nil {
			return won, err
		}
	}
	return won, nil
}
