package redisregistry

import (
	_ "embed"
	"errors"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

//go:embed lua/record.lua
var recordLua string

var recordScript = newScript("record", recordLua)

// read returns what lies under keys of records, each in its state of this moment.
func (l *link) read(ks keyspace, keys ...scsguard.Key) ([]stored, error) {
	commands := make([]command, len(keys))
	for i, key := range keys {
		commands[i] = command{"GET", []any{ks.record(key)}}
	}
	replies, err := l.pipeline(commands...)
	if err != nil {
		return nil, err
	}
	list := make([]stored, len(keys))
	for i, key := range keys {
		raw, err := bytesOrNil(replies[i], nil)
		if err != nil {
			return nil, err
		}
		list[i] = decode(key, raw)
	}
	for i := range list {
		if list[i].parent == "" {
			continue
		}
		if list[i], err = l.promoted(ks, list[i]); err != nil {
			return nil, err
		}
	}
	for i := range list {
		if err := l.buryAgain(ks, &list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func bytesOrNil(reply any, err error) ([]byte, error) {
	raw, err := redis.Bytes(reply, err)
	if errors.Is(err, redis.ErrNil) {
		return nil, nil
	}
	return raw, err
}

// promoted asks the old key whether the session has come: then it lives here,
// whether or not who moved it has come to say so.
func (l *link) promoted(ks keyspace, s stored) (stored, error) {
	raw, err := bytesOrNil(l.do("GET", ks.record(s.parent)))
	if err != nil {
		return s, err
	}
	if old := decode(s.parent, raw); old.rec.State == scsguard.StateMoved && old.rec.Successor == s.key {
		s.parent = ""
	}
	return s, nil
}

// look returns what lies under one key.
func (l *link) look(ks keyspace, key scsguard.Key) (stored, error) {
	list, err := l.read(ks, key)
	if err != nil {
		return stored{}, err
	}
	return list[0], nil
}

// present follows a session to its present key.
func (l *link) present(ks keyspace, s stored) (stored, error) {
	for s.rec.State == scsguard.StateMoved && l.ctx.Err() == nil {
		next, err := l.look(ks, s.rec.Successor)
		if err != nil || !next.there() {
			return s, err
		}
		s = next
	}
	return s, l.ctx.Err()
}

// swap puts next in the place of what was read, unless that has changed: then it
// returns what is there now. next without raw is nothing. tell publishes it.
func (l *link) swap(ks keyspace, was, next stored, tell bool) (now stored, swapped bool, err error) {
	var value []byte
	if next.raw != nil {
		if value, err = next.encode(); err != nil {
			return was, false, err
		}
	}
	call := swapping(l, ks, was, next, value, tell)
	reply, err := l.ask(recordScript, call.key, call.args...)
	if err != nil {
		return was, false, err
	}
	if len(reply) != 2 {
		return was, false, errAnswer
	}
	current, err := bytesOrNil(reply[1], nil)
	if err != nil {
		return was, false, err
	}
	if done, _ := redis.Int(reply[0], nil); done == 1 {
		next.key, next.raw = was.key, value
		return next, true, nil
	}
	if len(current) == 0 {
		current = nil
	}
	now = decode(was.key, current)
	if now.parent != "" {
		now, err = l.promoted(ks, now)
	}
	return now, false, err
}

// swapEach is swap for as many records, in one round trip. done says which were as they
// were; of the others nothing is known. It says so too with an error that Redis answers
// to one of them.
func (l *link) swapEach(ks keyspace, was, next []stored, tell bool) (done []bool, err error) {
	calls := make([]scriptCall, len(next))
	for i := range next {
		value, err := next[i].encode()
		if err != nil {
			return nil, err
		}
		calls[i] = swapping(l, ks, was[i], next[i], value, tell)
		next[i].raw = value
	}
	replies, refused := l.runEach(recordScript, calls)
	if refused != nil && !isRefused(refused) {
		return nil, refused
	}
	done = make([]bool, len(next))
	for i, reply := range replies {
		answer, err := redis.Values(reply, nil)
		switch {
		case err != nil && refused != nil: // it is one of those
		case err != nil || len(answer) == 0:
			return nil, errors.Join(err, shortAnswer(answer, 1))
		default:
			n, _ := redis.Int(answer[0], nil)
			done[i] = n == 1
		}
	}
	return done, refused
}

// swapping is what a swap asks Redis for.
func swapping(l *link, ks keyspace, was, next stored, value []byte, tell bool) scriptCall {
	channel := ""
	if tell {
		channel = ks.channel()
	}
	return scriptCall{ks.record(was.key), []any{was.raw, value, next.ttl(l.now).Milliseconds(), channel, string(was.key)}}
}

// change swaps until it has done what f wants: f changes the record it is given, and
// says whether that is to be written.
func (l *link) change(ks keyspace, s stored, f func(*stored) (write bool, err error)) (stored, bool, error) {
	for {
		next := s
		write, err := f(&next)
		if err != nil || !write {
			return s, false, err
		}
		now, swapped, err := l.swap(ks, s, next, false)
		if err != nil || swapped {
			return now, swapped, err
		}
		s = now
	}
}

// new marks a record that is to be written where nothing is.
var fresh = []byte{}
