package scsguard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// swapStore is a stepped store that compares and swaps.
type swapStore struct {
	steppedStore
	mu        *sync.Mutex
	neverDone *bool // it reports a conflict each time
}

var _ scsguard.Swapper = swapStore{}

func (s swapStore) SwapCtx(ctx context.Context, token string, old, new []byte, expiry time.Time) ([]byte, bool, error) {
	if err := s.step(ctx, "swap"); err != nil {
		return nil, false, err
	}
	current, swapped, err := s.swap(token, old, new, expiry)
	if swapped {
		err = s.step(ctx, "swapped") // what fails here has been written nevertheless
	}
	return current, swapped && err == nil, err
}

func (s swapStore) swap(token string, old, new []byte, expiry time.Time) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, _, err := s.MemStore.Find(token)
	if err != nil || *s.neverDone || (old == nil) != (current == nil) || !bytes.Equal(old, current) {
		return current, false, err
	}
	return nil, true, s.MemStore.Commit(token, new, expiry)
}

func (s swapStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	if err := s.step(ctx, "commit"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.MemStore.Commit(token, b, expiry)
}

func (s swapStore) DeleteCtx(ctx context.Context, token string) error {
	if err := s.step(ctx, "delete"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.MemStore.Delete(token)
}

// mergingManager returns a manager whose store can swap, and the change of the
// configuration that goes with it.
func mergingManager(codec scs.Codec) (*scs.SessionManager, *steps, func(*scsguard.Config)) {
	sm := newManager()
	s, change := stepped(sm)
	sm.Store = swapStore{sm.Store.(steppedStore), new(sync.Mutex), new(bool)}
	sm.Codec = codec
	return sm, s, func(cfg *scsguard.Config) {
		change(cfg)
		cfg.MergeWrites = true
	}
}

// jsonCodec is a codec as an application may write one. Its map has its keys in
// order, so equal data has equal bytes.
type jsonCodec struct{}

type jsonSession struct {
	Deadline time.Time
	Values   map[string]any
}

func (jsonCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	return json.Marshal(jsonSession{deadline, values})
}

func (jsonCodec) Decode(b []byte) (time.Time, map[string]any, error) {
	var s jsonSession
	err := json.Unmarshal(b, &s)
	return s.Deadline, s.Values, err
}

// eachCodec are the codecs that merging is tested with.
var eachCodec = map[string]scs.Codec{"gob": scs.GobCodec{}, "JSON": jsonCodec{}}
