package scsguard_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// findingStore is a store that can read the records of a registry.
type findingStore struct {
	ctxStore
	registry *countingGets
	asked    int
	cannot   bool
	err      error
	forge    func(*scsguard.Record, *[]byte)
}

// countingGets counts lookups that go past the store.
type countingGets struct {
	scsguard.Registry
	gets int
}

func (r *countingGets) Namespace(string) scsguard.Registry { return r }

func (r *countingGets) Get(ctx context.Context, key scsguard.Key) (scsguard.Record, error) {
	r.gets++
	return r.Registry.Get(ctx, key)
}

func (s *findingStore) FindRecordCtx(ctx context.Context, registry scsguard.Registry, key scsguard.Key) (scsguard.Record, []byte, bool, bool, error) {
	if s.cannot || registry != scsguard.Registry(s.registry) {
		return scsguard.Record{}, nil, false, false, nil
	}
	s.asked++
	if s.err != nil {
		return scsguard.Record{}, nil, false, true, s.err
	}
	rec, err := s.registry.Registry.Get(ctx, key)
	if err != nil {
		return rec, nil, false, true, err
	}
	b, found, err := s.FindCtx(ctx, string(key))
	if s.forge != nil {
		s.forge(&rec, &b)
	}
	return rec, b, found || b != nil, true, err
}

func findBubble(t *testing.T, f func(*testing.T, *app, *findingStore)) {
	sm := newManager()
	registry := &countingGets{Registry: scsguard.NewMemoryRegistry()}
	store := &findingStore{ctxStore: ctxStore{memstore.NewWithCleanupInterval(0)}, registry: registry}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) { f(t, a, store) }, func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys = registry, [][]byte{make([]byte, 32)}
	})
}

func TestAStoreThatReadsTheRecordIsAskedOnceForBoth(t *testing.T) {
	findBubble(t, func(t *testing.T, a *app, s *findingStore) {
		b := a.browser()
		b.login(t, "alice")
		for _, cannot := range []bool{false, true} {
			s.cannot = cannot
			s.asked, s.registry.gets = 0, 0
			require.Equal(t, "alice", b.whoami())
			if cannot {
				require.Equal(t, []int{0, 1}, []int{s.asked, s.registry.gets}, "a store that cannot answer is passed over")
			} else {
				require.Equal(t, []int{1, 0}, []int{s.asked, s.registry.gets})
			}
		}
		s.cannot = false
		_, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		require.Equal(t, "401 ended_by_admin", b.whoami())
		guest := a.browser()
		guest.get("/put?k=cart&v=book")
		require.Equal(t, "book", guest.get("/get?k=cart").Body)
	})
}

func TestAStoreThatCannotReadARecordNowIsAnsweredWith503(t *testing.T) {
	findBubble(t, func(t *testing.T, a *app, s *findingStore) {
		b := a.browser()
		b.login(t, "alice")
		s.err, s.registry.gets = errDown, 0
		require.Equal(t, http.StatusServiceUnavailable, b.get("/whoami").Code)
		require.Zero(t, s.registry.gets, "nobody else is asked: half an answer is none")
		require.False(t, a.guard.Health().OK)
		s.err = nil
		require.Equal(t, "alice", b.whoami())
		require.True(t, a.guard.Health().OK)
	})
}

func TestDataBesideARecordThatIsOverIsNobodys(t *testing.T) {
	findBubble(t, func(t *testing.T, a *app, s *findingStore) {
		b := a.browser()
		b.login(t, "alice")
		kept := storeKeys(t, a.sm)[b.token()]
		b.copy().get("/logout")
		s.forge = func(_ *scsguard.Record, data *[]byte) { *data = kept } // a deletion that has not come through yet
		require.Equal(t, "401 ended_by_you", b.whoami())
		require.Empty(t, b.get("/get?k=user").Body)
		s.forge = func(rec *scsguard.Record, data *[]byte) {
			*rec, *data = scsguard.Record{State: scsguard.StateDetached, Session: "S", Key: rec.Key, Lease: time.Now().Add(time.Hour)}, kept
		}
		require.Empty(t, b.get("/get?k=user").Body)
	})
}
