package scsguard_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// panickingStore and panickingRegistry panic while they are told to.
type panickingStore struct {
	ctxStore
	broken *atomic.Bool
}

func (s *panickingStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if s.broken.Load() {
		panic("store")
	}
	return s.ctxStore.FindCtx(ctx, token)
}

func (s *panickingStore) DeleteCtx(ctx context.Context, token string) error {
	if s.broken.Load() {
		panic("store")
	}
	return s.ctxStore.DeleteCtx(ctx, token)
}

type panickingRegistry struct {
	scsguard.Registry
	broken *atomic.Bool
}

func (r *panickingRegistry) Namespace(string) scsguard.Registry { return r }

func (r *panickingRegistry) Due(ctx context.Context, n int) ([]scsguard.Record, error) {
	if r.broken.Load() {
		panic("registry")
	}
	return r.Registry.Due(ctx, n)
}

func (r *panickingRegistry) Confirm(ctx context.Context, rec scsguard.Record) error {
	if r.broken.Load() {
		panic("registry")
	}
	return r.Registry.Confirm(ctx, rec)
}

// A panic in a goroutine that no server has started ends the process, and with it
// everybody else's requests.
func TestAStoreOrARegistryThatPanicsIsOneThatFails(t *testing.T) {
	var broken atomic.Bool
	store := &panickingStore{ctxStore{memstore.NewWithCleanupInterval(0)}, &broken}
	registry := &panickingRegistry{scsguard.NewMemoryRegistry(), &broken}
	sm := newManager()
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		session := b.login(t, "alice")

		broken.Store(true)
		require.Equal(t, http.StatusServiceUnavailable, b.get("/whoami").Code)
		for _, p := range a.guard.Health().Problems {
			require.ErrorContains(t, p.Err, "panic: store")
		}
		_, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err, "the data goes later, and the registry is told later")
		synctest.Wait()
		_, err = a.guard.Sweep(context.Background())
		var down *scsguard.UnavailableError
		require.True(t, errors.As(err, &down))
		require.Equal(t, scsguard.ComponentRegistry, down.Component)
		time.Sleep(time.Minute) // the sweep and the retries go on by themselves

		broken.Store(false)
		time.Sleep(time.Minute)
		require.True(t, a.guard.Health().OK)
		require.Equal(t, "revoked", a.sink.endings(t)[session+"/end"].str("reason"))
		require.Empty(t, storeKeys(t, sm))
	}, func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys = registry, [][]byte{make([]byte, 32)}
	})
}
