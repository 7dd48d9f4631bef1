package scsguard_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/scsguard/scsguard"
)

// Stores and registries that misbehave, or count.

// immortalStore keeps for ever what is committed with an expiry that is not in
// the future, as a Redis store does that drops the expiry then. It trusts
// nobody's clock otherwise and never expires anything.
type immortalStore struct {
	mu   sync.Mutex
	data map[string][]byte
	past int
}

func (s *immortalStore) Find(token string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.data[token]
	return b, ok, nil
}

func (s *immortalStore) Commit(token string, b []byte, expiry time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		s.data = make(map[string][]byte)
	}
	if !expiry.After(time.Now()) {
		s.past++
	}
	s.data[token] = b
	return nil
}

func (s *immortalStore) Delete(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, token)
	return nil
}

func withMemoryRegistry(cfg *scsguard.Config) { cfg.Registry = scsguard.NewMemoryRegistry() }

// ctxStore is a store that fails when its context is done, as drivers do.
type ctxStore struct{ *memstore.MemStore }

func (s ctxStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	return s.Find(token)
}

func (s ctxStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Commit(token, b, expiry)
}

func (s ctxStore) DeleteCtx(ctx context.Context, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Delete(token)
}

// brokenStore fails on command.
type brokenStore struct {
	scs.Store
	mu     sync.Mutex
	commit error
	find   error
	remove error
}

func (s *brokenStore) set(commit, find, remove error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit, s.find, s.remove = commit, find, remove
}

func (s *brokenStore) errs() (commit, find, remove error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commit, s.find, s.remove
}

func (s *brokenStore) Commit(token string, b []byte, expiry time.Time) error {
	if err, _, _ := s.errs(); err != nil {
		return err
	}
	return s.Store.Commit(token, b, expiry)
}

func (s *brokenStore) Find(token string) ([]byte, bool, error) {
	if _, err, _ := s.errs(); err != nil {
		return nil, false, err
	}
	return s.Store.Find(token)
}

func (s *brokenStore) Delete(token string) error {
	if _, _, err := s.errs(); err != nil {
		return err
	}
	return s.Store.Delete(token)
}

func (s *brokenStore) All() (map[string][]byte, error) { return s.Store.(scs.IterableStore).All() }

var errDown = errors.New("connection refused by 10.9.8.7:6379")

// countingStore counts writes.
type countingStore struct {
	*memstore.MemStore
	mu     sync.Mutex
	writes int
	reads  int
}

func (s *countingStore) Commit(token string, b []byte, expiry time.Time) error {
	s.mu.Lock()
	s.writes++
	s.mu.Unlock()
	return s.MemStore.Commit(token, b, expiry)
}

func (s *countingStore) Find(token string) ([]byte, bool, error) {
	s.mu.Lock()
	s.reads++
	s.mu.Unlock()
	return s.MemStore.Find(token)
}

// countingRegistry counts everything but reads.
type countingRegistry struct {
	scsguard.Registry
	mu     *sync.Mutex
	writes *int
}

func newCountingRegistry() *countingRegistry {
	return &countingRegistry{Registry: scsguard.NewMemoryRegistry(), mu: new(sync.Mutex), writes: new(int)}
}

func (r *countingRegistry) Namespace(name string) scsguard.Registry {
	return &countingRegistry{Registry: r.Registry.Namespace(name), mu: r.mu, writes: r.writes}
}

func (r *countingRegistry) count() {
	r.mu.Lock()
	*r.writes++
	r.mu.Unlock()
}

func (r *countingRegistry) Touch(ctx context.Context, key scsguard.Key, act scsguard.Activity) (scsguard.Touched, error) {
	r.count()
	return r.Registry.Touch(ctx, key, act)
}

func (r *countingRegistry) Move(ctx context.Context, from scsguard.Key, rot scsguard.Rotation) (bool, scsguard.Record, error) {
	r.count()
	return r.Registry.Move(ctx, from, rot)
}

// meddlingStore does something just before data is written.
type meddlingStore struct {
	scs.Store
	meddle func()
}

func (s *meddlingStore) Commit(token string, b []byte, expiry time.Time) error {
	if f := s.meddle; f != nil {
		s.meddle = nil
		f()
	}
	return s.Store.Commit(token, b, expiry)
}

func (s *meddlingStore) All() (map[string][]byte, error) { return s.Store.(scs.IterableStore).All() }
