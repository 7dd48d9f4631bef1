package redisregistry

import (
	"context"
	_ "embed"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

//go:embed lua/swap.lua
var swapLua string

var swapScript = newScript("swap", swapLua)

// A Store keeps session data in Redis, under the keys and with the bytes of
// scs/redisstore: each takes over from the other, with all sessions. Make one with
// [NewStore]. Its methods are safe for concurrent use, and take no longer than their
// context allows; those without a context wait as long as the pool's connections do.
type Store struct {
	*server
	prefix string
	wrong  string
}

var (
	_ scs.CtxStore          = (*Store)(nil)
	_ scs.IterableCtxStore  = (*Store)(nil)
	_ scs.IterableStore     = (*Store)(nil)
	_ scsguard.BatchDeleter = (*Store)(nil)
	_ scsguard.RecordFinder = (*Store)(nil)
	_ scsguard.Swapper      = (*Store)(nil)
)

// NewStore returns the session store in the Redis that pool leads to. Give the same
// pool and prefix to [New], so that data and record are read in one round trip.
func NewStore(pool Pool, opts ...Option) *Store {
	o := collect(opts)
	return &Store{server: &server{pool: pool}, prefix: o.prefix, wrong: prefixProblem(o.prefix)}
}

// call runs f with a connection.
func (s *Store) call(ctx context.Context, f func(*link) error) error {
	if s.wrong != "" {
		return errors.New("scsguard: redisregistry.Prefix: it " + s.wrong + "; choose another one")
	}
	return s.with(ctx, f)
}

// Find is FindCtx for callers without a context.
func (s *Store) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit is CommitCtx for callers without a context.
func (s *Store) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

// Delete is DeleteCtx for callers without a context.
func (s *Store) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// All is AllCtx for callers without a context.
func (s *Store) All() (map[string][]byte, error) { return s.AllCtx(context.Background()) }

// FindCtx returns the data of a session.
func (s *Store) FindCtx(ctx context.Context, token string) (b []byte, found bool, err error) {
	err = s.call(ctx, func(l *link) error {
		b, err = bytesOrNil(l.do("GET", s.prefix+token))
		return err
	})
	return b, b != nil, err
}

// timeToLive is how long data lives that expires at a moment: whole milliseconds, as
// ages travel between clocks that differ. Zero is no time at all.
func timeToLive(expiry time.Time) int64 { return max(time.Until(expiry).Milliseconds(), 0) }

// CommitCtx stores the data of a session until expiry. One that is over already
// deletes it: nothing is ever kept for good.
func (s *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	ttl := timeToLive(expiry)
	if ttl == 0 {
		return s.DeleteCtx(ctx, token)
	}
	return s.call(ctx, func(l *link) error {
		_, err := l.do("SET", s.prefix+token, b, "PX", ttl)
		return err
	})
}

// DeleteCtx deletes the data of a session.
func (s *Store) DeleteCtx(ctx context.Context, token string) error {
	return s.call(ctx, func(l *link) error {
		_, err := l.do("DEL", s.prefix+token)
		return err
	})
}

// DeleteManyCtx deletes the data of many sessions in one round trip.
func (s *Store) DeleteManyCtx(ctx context.Context, tokens []string) error {
	return s.call(ctx, func(l *link) error {
		for some := range slices.Chunk(tokens, readBatch) {
			commands := make([]command, len(some))
			for i, token := range some { // one each, since a cluster has them in as many slots
				commands[i] = command{"DEL", []any{s.prefix + token}}
			}
			if err := l.each(commands...); err != nil {
				return err
			}
		}
		return nil
	})
}

// AllCtx returns the data of all sessions. It goes through the keys step by step, so
// that Redis serves others meanwhile.
func (s *Store) AllCtx(ctx context.Context) (map[string][]byte, error) {
	all := make(map[string][]byte)
	err := s.call(ctx, func(l *link) error {
		cursor := "0"
		for {
			reply, err := redis.Values(l.do("SCAN", cursor, "MATCH", escapeGlob(s.prefix)+"*", "COUNT", readBatch))
			if err != nil || len(reply) != 2 {
				return errors.Join(err, shortAnswer(reply, 2))
			}
			if cursor, err = redis.String(reply[0], nil); err != nil {
				return err
			}
			keys, err := redis.Strings(reply[1], nil)
			if err != nil {
				return err
			}
			if err := s.collect(l, keys, all); err != nil || cursor == "0" {
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// collect reads the data under keys. What expires meanwhile is left out.
func (s *Store) collect(l *link, keys []string, all map[string][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	commands := make([]command, len(keys))
	for i, key := range keys {
		commands[i] = command{"GET", []any{key}}
	}
	replies, err := l.pipeline(commands...)
	if err != nil {
		return err
	}
	for i, key := range keys {
		if refused, ok := replies[i].(redis.Error); ok && strings.HasPrefix(string(refused), "WRONGTYPE") {
			continue // no session's: somebody else has a key that begins so
		}
		b, err := bytesOrNil(replies[i], nil)
		if err != nil {
			return err
		}
		if b != nil {
			all[strings.TrimPrefix(key, s.prefix)] = b
		}
	}
	return nil
}

// escapeGlob makes a text that matches itself only.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(s)
}

// FindRecordCtx returns record and data in one round trip, as they were at one moment,
// if registry is one of this package with the same pool and prefix.
func (s *Store) FindRecordCtx(ctx context.Context, registry scsguard.Registry, key scsguard.Key) (rec scsguard.Record, data []byte, found, ok bool, err error) {
	r, ok := registry.(*Registry)
	if !ok || r.prefix != s.prefix || !samePool(r.pool, s.pool) {
		return rec, nil, false, false, nil
	}
	if err := r.usable(); err != nil {
		return rec, nil, false, true, err
	}
	err = r.with(ctx, func(l *link) error {
		// Both lie in one slot, so that a cluster answers as well.
		both := r.record(key)
		replies, err := l.pipeline(command{"MGET", []any{both[1 : 1+len(s.prefix)+len(key)], both}})
		if err != nil {
			return err
		}
		values, err := redis.Values(replies[0], nil)
		if err != nil || len(values) != 2 {
			return errors.Join(err, shortAnswer(values, 2))
		}
		if data, err = bytesOrNil(values[0], nil); err != nil {
			return err
		}
		raw, err := bytesOrNil(values[1], nil)
		if err != nil {
			return err
		}
		there := stored{key: key}
		if there.read(raw); there.parent != "" {
			if there, err = l.promoted(r.keyspace, there); err != nil {
				return err
			}
		}
		if err := l.buryAgain(r.keyspace, &there); err != nil {
			return err
		}
		if there.visible() {
			rec = there.rec
			l.off.fromRedisInto(&rec)
		}
		return nil
	})
	if err != nil {
		return scsguard.Record{}, nil, false, true, err
	}
	return rec, data, data != nil, true, nil
}

// samePool reports whether two pools are the same one. Those that cannot be compared
// are not.
func samePool(a, b Pool) bool {
	if p, ok := a.(*redis.Pool); ok {
		q, ok := b.(*redis.Pool)
		return ok && p == q
	}
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// SwapCtx stores new under token until expiry, if what is there is still old.
func (s *Store) SwapCtx(ctx context.Context, token string, old, new []byte, expiry time.Time) (current []byte, swapped bool, err error) {
	there := 1
	if old == nil {
		there = 0
	}
	err = s.call(ctx, func(l *link) error {
		reply, err := redis.Values(l.run(swapScript, s.prefix+token, there, old, new, timeToLive(expiry)))
		if err != nil || len(reply) < 1 {
			return errors.Join(err, shortAnswer(reply, 1))
		}
		done, err := redis.Int(reply[0], nil)
		if swapped = done == 1; swapped || err != nil || len(reply) < 2 {
			return err
		}
		current, err = redis.Bytes(reply[1], nil)
		return err
	})
	return current, swapped, err
}
