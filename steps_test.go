package scsguard_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/scsguard/scsguard"
)

// steps stands between a guard and its parts: a test may do something right
// before a call, let it fail, or see how often it was made. As drivers do, every
// call fails whose context is done.
type steps struct {
	mu     sync.Mutex
	once   map[string]func()
	broken []string
	calls  map[string]int
	latest time.Time // until when the store was to keep something
}

// stepped puts steps around the store of a manager and a registry in memory.
func stepped(sm *scs.SessionManager) (*steps, func(*scsguard.Config)) {
	s := &steps{once: make(map[string]func()), calls: make(map[string]int)}
	sm.Store = steppedStore{memstore.NewWithCleanupInterval(0), s}
	return s, func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys = steppedRegistry{scsguard.NewMemoryRegistry(), s}, [][]byte{make([]byte, 32)}
	}
}

// before does something before the next call of that name, once.
func (s *steps) before(op string, do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.once[op] = do
}

// fail makes all calls of these names fail, and all others work.
func (s *steps) fail(ops ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = ops
}

// counted returns how often each call was made.
func (s *steps) counted() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// keptUntil returns the latest moment until which the store was to keep
// something.
func (s *steps) keptUntil() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

func (s *steps) step(ctx context.Context, op string) error {
	s.mu.Lock()
	s.calls[op]++
	do := s.once[op]
	delete(s.once, op)
	broken := slices.Contains(s.broken, op)
	s.mu.Unlock()
	if do != nil {
		do()
	}
	if broken {
		return errDown
	}
	return ctx.Err()
}

type steppedStore struct {
	*memstore.MemStore
	*steps
}

func (s steppedStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if err := s.step(ctx, "find"); err != nil {
		return nil, false, err
	}
	return s.Find(token)
}

func (s steppedStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	if err := s.step(ctx, "commit"); err != nil {
		return err
	}
	s.mu.Lock()
	if expiry.After(s.latest) {
		s.latest = expiry
	}
	s.mu.Unlock()
	return s.Commit(token, b, expiry)
}

func (s steppedStore) DeleteCtx(ctx context.Context, token string) error {
	if err := s.step(ctx, "delete"); err != nil {
		return err
	}
	return s.Delete(token)
}

type steppedRegistry struct {
	scsguard.Registry
	*steps
}

func (r steppedRegistry) Namespace(name string) scsguard.Registry {
	return steppedRegistry{r.Registry.Namespace(name), r.steps}
}

func (r steppedRegistry) Get(ctx context.Context, key scsguard.Key) (scsguard.Record, error) {
	if err := r.step(ctx, "get"); err != nil {
		return scsguard.Record{}, err
	}
	return r.Registry.Get(ctx, key)
}

func (r steppedRegistry) Admit(ctx context.Context, a scsguard.Admission) (scsguard.Admitted, error) {
	if err := r.step(ctx, "admit"); err != nil {
		return scsguard.Admitted{}, err
	}
	return r.Registry.Admit(ctx, a)
}

func (r steppedRegistry) Settle(ctx context.Context, a scsguard.Admitted, commit bool) (scsguard.Settled, error) {
	if err := r.step(ctx, "settle"); err != nil {
		return scsguard.Settled{}, err
	}
	return r.Registry.Settle(ctx, a, commit)
}

func (r steppedRegistry) Touch(ctx context.Context, key scsguard.Key, act scsguard.Activity) (scsguard.Touched, error) {
	if err := r.step(ctx, "touch"); err != nil {
		return scsguard.Touched{}, err
	}
	return r.Registry.Touch(ctx, key, act)
}

func (r steppedRegistry) Detach(ctx context.Context, key scsguard.Key, owner string, lease time.Duration) (scsguard.Record, bool, error) {
	if err := r.step(ctx, "detach"); err != nil {
		return scsguard.Record{}, false, err
	}
	return r.Registry.Detach(ctx, key, owner, lease)
}

func (r steppedRegistry) Move(ctx context.Context, from scsguard.Key, rot scsguard.Rotation) (bool, scsguard.Record, error) {
	if err := r.step(ctx, "move"); err != nil {
		return false, scsguard.Record{}, err
	}
	return r.Registry.Move(ctx, from, rot)
}

func (r steppedRegistry) End(ctx context.Context, t scsguard.Target, e scsguard.Ending) (scsguard.Record, bool, error) {
	if err := r.step(ctx, "end"); err != nil {
		return scsguard.Record{}, false, err
	}
	return r.Registry.End(ctx, t, e)
}

func (r steppedRegistry) EndAll(ctx context.Context, rev scsguard.Revocation) (scsguard.Revoked, error) {
	if err := r.step(ctx, "end all"); err != nil {
		return scsguard.Revoked{}, err
	}
	return r.Registry.EndAll(ctx, rev)
}
