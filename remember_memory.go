package scsguard

import (
	"bytes"
	"context"
	"sync"
	"time"
)

// A MemoryRememberStore is a [RememberStore] in the memory of one process. It
// forgets everybody when the process ends. It starts no goroutine: what has
// expired is dropped while other things are written.
type MemoryRememberStore struct {
	mu     sync.Mutex
	values map[string]remembered
	purge  int // how many values there may be before what has expired is looked for
}

type remembered struct {
	value   []byte
	expires time.Time
}

const minPurge = 1000

// NewMemoryRememberStore returns an empty store.
func NewMemoryRememberStore() *MemoryRememberStore {
	return &MemoryRememberStore{values: make(map[string]remembered), purge: minPurge}
}

func (g *Guard) remembersInMemory() bool {
	_, ok := g.cfg.Remember.Store.(*MemoryRememberStore)
	return ok
}

// Load returns a copy of the value under id.
func (s *MemoryRememberStore) Load(ctx context.Context, id string) ([]byte, time.Time, error) {
	now := time.Now()
	if err := ctx.Err(); err != nil {
		return nil, now, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.at(id, now)), now, nil
}

// at returns what is under id, nil if there is nothing any more. s.mu is held.
func (s *MemoryRememberStore) at(id string, now time.Time) []byte {
	if v, ok := s.values[id]; ok && now.Before(v.expires) {
		return v.value
	}
	return nil
}

// Swap puts value in the place of old.
func (s *MemoryRememberStore) Swap(ctx context.Context, id string, old, value []byte, ttl time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !bytes.Equal(s.at(id, now), old) {
		return false, nil
	}
	if len(value) == 0 {
		delete(s.values, id)
		return true, nil
	}
	s.values[id] = remembered{bytes.Clone(value), now.Add(ttl)}
	if len(s.values) > s.purge {
		for id, v := range s.values {
			if !now.Before(v.expires) {
				delete(s.values, id)
			}
		}
		s.purge = max(minPurge, 2*len(s.values)) // so that each write pays for looking at one other
	}
	return true, nil
}
