package redisregistry

import (
	"context"
	"errors"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

// A Registry is a [scsguard.Registry] and a [scsguard.Watcher] in Redis. Make one with
// [New]. Its methods are safe for concurrent use; processes that use the same Redis,
// prefix and namespace share it. A call takes no longer than its context allows.
type Registry struct {
	*server
	keyspace
	wrong           string // why it cannot work
	evictionAllowed bool
}

var (
	_ scsguard.Batcher   = (*Registry)(nil)
	_ scsguard.Inspector = (*Registry)(nil)
	_ scsguard.Queuer    = (*Registry)(nil)
	_ scsguard.Registry  = (*Registry)(nil)
	_ scsguard.Watcher   = (*Registry)(nil)
)

// An Option changes how a [Registry] or a [Store] works.
type Option func(*options)

type options struct {
	prefix          string
	evictionAllowed bool
}

// Prefix sets what the keys of the session data begin with. The default is
// "scs:session:", that of scs/redisstore. Registry and store need the same one, and
// applications that share a Redis need different ones. It must not hold braces nor
// begin like the keys of the registry, "scsguard"; otherwise every call fails, and
// scsguard.New does.
func Prefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// AllowEviction accepts a Redis that evicts keys when its memory is full, and says why:
// because its memory never is full, or because sessions may be lost here. It has no
// meaning for a [Store].
func AllowEviction(why string) Option {
	return func(o *options) { o.evictionAllowed = why != "" }
}

func collect(opts []Option) options {
	o := options{prefix: defaultPrefix}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// New returns the registry in the Redis that pool leads to. It asks nothing of it
// yet.
func New(pool Pool, opts ...Option) *Registry {
	o := collect(opts)
	return &Registry{server: &server{pool: pool}, keyspace: newKeyspace(o.prefix, ""), wrong: prefixProblem(o.prefix),
		evictionAllowed: o.evictionAllowed}
}

// Namespace returns the part of the registry with that name.
func (r *Registry) Namespace(name string) scsguard.Registry {
	part := *r
	part.keyspace = newKeyspace(r.prefix, name)
	return &part
}

// QueueLogins says that the logins of one user in one process shall wait for each
// other.
func (r *Registry) QueueLogins() bool { return true }

func (r *Registry) usable() error {
	if r.wrong != "" {
		return errors.New("scsguard: redisregistry.Prefix: it " + r.wrong + "; choose another one")
	}
	return nil
}

// call runs f with a connection.
func (r *Registry) call(ctx context.Context, f func(*link) error) error {
	if err := r.usable(); err != nil {
		return err
	}
	return r.with(ctx, f)
}

// Get returns the record under key.
func (r *Registry) Get(ctx context.Context, key scsguard.Key) (rec scsguard.Record, err error) {
	if err := r.usable(); err != nil {
		return rec, err
	}
	err = r.with(ctx, func(l *link) error {
		s, err := l.look(r.keyspace, key)
		rec = l.visible(s)
		return err
	})
	return rec, err
}

// visible is a record as readers see it, on the clock of this process.
func (l *link) visible(s stored) scsguard.Record {
	if !s.visible() {
		return scsguard.Record{}
	}
	return l.off.recordFromRedis(s.rec)
}

// List returns the user's live sessions, oldest login first.
func (r *Registry) List(ctx context.Context, user string) (list []scsguard.Record, err error) {
	if err := r.usable(); err != nil {
		return nil, err
	}
	err = r.with(ctx, func(l *link) error {
		list = nil
		_, places, err := r.places(l, user, allPlaces)
		if err != nil {
			return err
		}
		held, err := r.holders(l, places)
		if err != nil {
			return err
		}
		for i, s := range held {
			_, over := s.rec.Overdue(l.now)
			if s.there() && s.rec.State == scsguard.StateLive && s.rec.Session == places[i].session && !over {
				list = append(list, l.off.recordFromRedis(s.rec))
			}
		}
		return nil
	})
	return list, err
}

// Touch updates single fields of a live record.
func (r *Registry) Touch(ctx context.Context, key scsguard.Key, act scsguard.Activity) (t scsguard.Touched, err error) {
	err = r.call(ctx, func(l *link) error {
		s, err := l.look(r.keyspace, key)
		if err != nil || !s.there() {
			return err
		}
		act.At, act.Absolute = l.off.toRedis(act.At), l.off.toRedis(act.Absolute)
		_, _, err = l.change(r.keyspace, s, func(s *stored) (bool, error) {
			t = scsguard.Touched{}
			if !s.there() {
				return false, nil
			}
			before, _ := s.rec.Due()
			t = s.rec.Touch(act)
			due, _ := s.rec.Due()
			if t.Live && due.Before(before) && before.After(l.now) { // it was tightened: the sweep has to come earlier
				return true, r.schedule(l, *s, due, "earlier")
			}
			return t.Live, nil
		})
		for i := range t.Warnings {
			t.Warnings[i].Time = l.off.fromRedis(t.Warnings[i].Time)
		}
		return err
	})
	if err != nil {
		t = scsguard.Touched{}
	}
	return t, err
}

// Detach makes a live record dead to every reader for now.
func (r *Registry) Detach(ctx context.Context, key scsguard.Key, owner string, lease time.Duration) (rec scsguard.Record, detached bool, err error) {
	err = r.call(ctx, func(l *link) error {
		s, err := l.look(r.keyspace, key)
		if err != nil {
			return err
		}
		s, detached, err = l.change(r.keyspace, s, func(s *stored) (bool, error) {
			if !s.there() || !s.rec.HeldBy(owner) {
				return false, nil
			}
			s.rec.State, s.rec.Owner, s.rec.Lease = scsguard.StateDetached, owner, l.now.Add(lease)
			return true, r.schedule(l, *s, s.rec.Lease, "set")
		})
		rec = l.visible(s)
		return err
	})
	return rec, detached, err
}

// Confirm says that the ending is in the trail.
func (r *Registry) Confirm(ctx context.Context, rec scsguard.Record) error {
	return r.call(ctx, func(l *link) error { return r.confirm(l, rec.Key) })
}

func (r *Registry) confirm(l *link, key scsguard.Key) error {
	s, err := l.look(r.keyspace, key)
	if err != nil {
		return err
	}
	s, _, err = l.change(r.keyspace, s, func(s *stored) (bool, error) { return s.confirm(), nil })
	if err != nil || !s.ended() {
		return err
	}
	return r.unschedule(l, entryOf(s.rec)) // last, so that whoever dies before is followed by a sweep
}

// schedule says when a sweep has to look at a session: before whatever makes that
// necessary.
func (r *Registry) schedule(l *link, s stored, at time.Time, how any) error {
	return r.scheduleEntry(l, entryOf(s.rec), at, s.ttl(l.now), how)
}

func (r *Registry) scheduleEntry(l *link, e entry, at time.Time, ttl time.Duration, how any) error {
	call := r.schedulingEntry(e, at, ttl, how)
	_, err := l.run(dueScript, call.key, call.args...)
	return err
}

// scheduling is schedule as one of many.
func (r *Registry) scheduling(l *link, s stored, at time.Time, how any) scriptCall {
	return r.schedulingEntry(entryOf(s.rec), at, s.ttl(l.now), how)
}

func (r *Registry) schedulingEntry(e entry, at time.Time, ttl time.Duration, how any) scriptCall {
	return scriptCall{r.dueOf(e.session), []any{e.member(), score(at), (ttl + scsguard.TombstoneMargin).Milliseconds(), how}}
}

// score is a moment in whole milliseconds, not before it, and odd: see lua/lease.lua.
func score(at time.Time) int64 { return (max(at.UnixMicro(), 0)+999)/1000 | 1 }

func (r *Registry) unschedule(l *link, e entry) error {
	_, err := redis.Int(l.do("ZREM", r.dueOf(e.session), e.member()))
	return err
}
