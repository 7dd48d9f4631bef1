package scsguard_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// farRegistry is one in which to end a session and to confirm that takes a while, or
// fails for one.
type farRegistry struct {
	scsguard.Registry
	way  time.Duration
	down scsguard.Key
}

func (r *farRegistry) Namespace(name string) scsguard.Registry { return r }

func (r *farRegistry) End(ctx context.Context, t scsguard.Target, e scsguard.Ending) (scsguard.Record, bool, error) {
	if time.Sleep(r.way); t.Key == r.down {
		return scsguard.Record{}, false, errDown
	}
	return r.Registry.End(ctx, t, e)
}

func (r *farRegistry) Confirm(ctx context.Context, rec scsguard.Record) error {
	time.Sleep(r.way)
	return r.Registry.Confirm(ctx, rec)
}

// swept logs n users in, lets their time pass, and sweeps.
func swept(t *testing.T, n int, registry *farRegistry, before func([]scsguard.Record)) (took time.Duration, ended int, err error) {
	sm := newManager()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, sm, func(cfg *scsguard.Config) {
			cfg.Registry, cfg.Keys, cfg.SweepEvery = registry, [][]byte{make([]byte, 32)}, -1
		})
		for i := range n {
			a.browser().login(t, fmt.Sprintf("user%d", i))
		}
		list, listErr := registry.List(context.Background(), "user0")
		require.NoError(t, listErr)
		before(list)
		time.Sleep(24 * time.Hour)
		start := time.Now()
		ended, err = a.guard.Sweep(context.Background())
		took = time.Since(start)
		require.Len(t, a.sink.events(t, scsguard.EventTimeout), ended)
	})
	return took, ended, err
}

func TestASweepDoesNotAttendToOneSessionAfterTheOther(t *testing.T) {
	took, ended, err := swept(t, 40, &farRegistry{Registry: scsguard.NewMemoryRegistry(), way: time.Millisecond}, func([]scsguard.Record) {})
	require.NoError(t, err)
	require.Equal(t, 40, ended)
	require.LessOrEqual(t, took, 10*time.Millisecond, "eight at a time are ended, and eight confirmed")
}

func TestASessionThatCannotBeEndedKeepsASweepFromNoOther(t *testing.T) {
	registry := &farRegistry{Registry: scsguard.NewMemoryRegistry()}
	_, ended, err := swept(t, 40, registry, func(list []scsguard.Record) { registry.down = list[0].Key })
	require.True(t, errors.Is(err, errDown), err)
	require.Equal(t, 39, ended)
}
