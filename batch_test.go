package scsguard_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// batchRegistry ends and confirms many sessions in one call, and counts the calls.
type batchRegistry struct {
	scsguard.Registry
	ends, confirms atomic.Int64 // of one session
	batches        atomic.Int64 // of many
	confirmed      atomic.Int64 // batches
	most           int          // sessions that EndDue ends before it fails; 0: all
	cannotConfirm  bool
}

func (r *batchRegistry) Namespace(string) scsguard.Registry { return r }

func (r *batchRegistry) End(ctx context.Context, t scsguard.Target, e scsguard.Ending) (scsguard.Record, bool, error) {
	r.ends.Add(1)
	return r.Registry.End(ctx, t, e)
}

func (r *batchRegistry) Confirm(ctx context.Context, rec scsguard.Record) error {
	r.confirms.Add(1)
	return r.Registry.Confirm(ctx, rec)
}

func (r *batchRegistry) EndDue(ctx context.Context, keys []scsguard.Key, e scsguard.Ending) (ended []scsguard.Record, err error) {
	r.batches.Add(1)
	for _, key := range keys {
		if r.most > 0 && len(ended) == r.most {
			return ended, errDown
		}
		rec, won, err := r.Registry.End(ctx, scsguard.Target{Key: key, IfDue: true}, e)
		if err != nil {
			return ended, err
		}
		if won {
			ended = append(ended, rec)
		}
	}
	return ended, nil
}

func (r *batchRegistry) ConfirmAll(ctx context.Context, recs []scsguard.Record) error {
	r.confirmed.Add(1)
	if r.cannotConfirm {
		return errDown
	}
	for _, rec := range recs {
		if err := r.Registry.Confirm(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}

// batchStore deletes the data of many sessions in one call, unless it is down.
type batchStore struct {
	scs.Store
	down         atomic.Bool
	one, batches atomic.Int64
}

func (s *batchStore) Delete(token string) error {
	s.one.Add(1)
	if s.down.Load() {
		return errDown
	}
	return s.Store.Delete(token)
}

func (s *batchStore) DeleteManyCtx(_ context.Context, tokens []string) error {
	s.batches.Add(1)
	if s.down.Load() {
		return errDown
	}
	for _, token := range tokens {
		if err := s.Store.Delete(token); err != nil {
			return err
		}
	}
	return nil
}

func (s *batchStore) All() (map[string][]byte, error) { return s.Store.(scs.IterableStore).All() }

// inBatches runs a test of an application whose registry and store deal with many
// sessions at once, and in which 40 users are logged in.
func inBatches(t *testing.T, f func(t *testing.T, a *app, registry *batchRegistry, store *batchStore)) {
	t.Helper()
	sm := newManager()
	registry, store := &batchRegistry{Registry: scsguard.NewMemoryRegistry()}, &batchStore{Store: sm.Store}
	sm.Store = store
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, sm, func(cfg *scsguard.Config) {
			cfg.Registry, cfg.Keys, cfg.SweepEvery = registry, [][]byte{make([]byte, 32)}, -1
		})
		for i := range 40 {
			a.browser().login(t, fmt.Sprintf("user%d", i))
		}
		f(t, a, registry, store)
	})
}

func TestASweepEndsManySessionsInOneCall(t *testing.T) {
	inBatches(t, func(t *testing.T, a *app, registry *batchRegistry, store *batchStore) {
		time.Sleep(time.Hour) // idle for too long, and the data is still there
		ended, err := a.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Equal(t, 40, ended)
		require.Len(t, a.sink.events(t, scsguard.EventTimeout), 40)
		require.Equal(t, []int64{1, 1, 1}, []int64{registry.batches.Load(), registry.confirmed.Load(), store.batches.Load()})
		require.Equal(t, []int64{0, 0, 0}, []int64{registry.ends.Load(), registry.confirms.Load(), store.one.Load()})
		require.Empty(t, storeKeys(t, a.sm))
		time.Sleep(scsguard.Lease + time.Second)
		ended, err = a.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Zero(t, ended)
		require.Len(t, a.sink.events(t, scsguard.EventTimeout), 40)
	})
}

func TestWhatEndsTogetherIsDeletedAndConfirmedTogether(t *testing.T) {
	inBatches(t, func(t *testing.T, a *app, registry *batchRegistry, store *batchStore) {
		for range 4 {
			a.browser().login(t, "user7")
		}
		ended, err := a.guard.EndAll(context.Background(), "user7")
		require.NoError(t, err)
		require.Equal(t, 5, ended)
		synctest.Wait()
		require.Equal(t, []int64{1, 1}, []int64{registry.confirmed.Load(), store.batches.Load()})
		require.Len(t, storeKeys(t, a.sm), 39)
	})
}

func TestOfABatchThatFailsHalfwayNoEndingIsLost(t *testing.T) {
	inBatches(t, func(t *testing.T, a *app, registry *batchRegistry, _ *batchStore) {
		time.Sleep(time.Hour) // idle for too long, and the data is still there
		registry.most = 15
		ended, err := a.guard.Sweep(context.Background())
		require.ErrorIs(t, err, errDown)
		require.Equal(t, 15, ended)
		require.Len(t, a.sink.events(t, scsguard.EventTimeout), 15)
		require.Len(t, storeKeys(t, a.sm), 25)

		registry.most = 0
		time.Sleep(scsguard.Lease + time.Second)
		ended, err = a.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Equal(t, 25, ended)
		require.Len(t, a.sink.endings(t), 40)
		require.Empty(t, storeKeys(t, a.sm))
	})
}

func TestDataOfManySessionsThatCannotBeDeletedIsDeletedLater(t *testing.T) {
	inBatches(t, func(t *testing.T, a *app, _ *batchRegistry, store *batchStore) {
		time.Sleep(time.Hour) // idle for too long, and the data is still there
		store.down.Store(true)
		ended, err := a.guard.Sweep(context.Background())
		require.NoError(t, err, "they are dead, whatever becomes of their data")
		require.Equal(t, 40, ended)
		require.Zero(t, store.one.Load(), "nobody waits once more for a store that is down")
		require.Len(t, storeKeys(t, a.sm), 40)
		store.down.Store(false)
		time.Sleep(time.Minute)
		require.Empty(t, storeKeys(t, a.sm))
	})
}

func TestEndingsThatCannotBeConfirmedTogetherAreHandedOutAgain(t *testing.T) {
	inBatches(t, func(t *testing.T, a *app, registry *batchRegistry, _ *batchStore) {
		time.Sleep(time.Hour) // idle for too long, and the data is still there
		registry.cannotConfirm = true
		ended, err := a.guard.Sweep(context.Background())
		require.NoError(t, err, "they are in the trail")
		require.Equal(t, 40, ended)
		registry.cannotConfirm = false
		time.Sleep(scsguard.Lease + time.Second)
		ended, err = a.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Zero(t, ended)
		require.Len(t, a.sink.endings(t), 40, "written again under the same IDs")
		left, err := registry.Due(context.Background(), 100)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// What ends together may be more than there is room for while the trail cannot be
// written. It is dead all the same, and the registry hands out again what did not fit.
func TestOfEndingsThatEndTogetherThoseThatDoNotFitComeAgain(t *testing.T) {
	inBatches(t, func(t *testing.T, a *app, registry *batchRegistry, store *batchStore) {
		a.sink.fail(errDown)
		for range 9_980 { // of a user without sessions
			_, err := a.guard.EndAll(context.Background(), "mallory")
			require.NoError(t, err)
		}
		ended, err := a.guard.EndEveryone(context.Background())
		require.NoError(t, err)
		require.Equal(t, 40, ended)
		require.Equal(t, 10_000, a.guard.Counters().Waiting)
		require.Empty(t, storeKeys(t, a.sm))
		a.sink.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Less(t, len(a.sink.events(t, scsguard.EventLogout)), 40)
		for range 2 {
			ended, err = a.guard.Sweep(context.Background())
			require.NoError(t, err)
			require.Zero(t, ended)
			ids := make(map[string]bool)
			for _, e := range a.sink.events(t, scsguard.EventLogout) {
				if e.str("session") != "" {
					require.False(t, ids[e.str("id")], "written twice")
					ids[e.str("id")] = true
				}
			}
			require.Len(t, ids, 40)
			time.Sleep(scsguard.Lease + time.Second)
		}
		due, err := registry.Due(context.Background(), 100)
		require.NoError(t, err)
		require.Empty(t, due)
	})
}
