package scsguard_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// inspected is a registry whose storage is set up by the test. It tells nobody of
// endings, though it says that it does.
type inspected struct {
	scsguard.Registry

	mu     sync.Mutex
	faults []scsguard.FieldError
	err    error
}

func (i *inspected) set(err error, faults ...scsguard.FieldError) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults, i.err = faults, err
}

func (i *inspected) Namespace(string) scsguard.Registry { return i }

func (i *inspected) Inspect(context.Context) ([]scsguard.FieldError, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.faults, i.err
}

var forgets = scsguard.FieldError{Field: "Registry: policy", Value: "random", Problem: "it forgets", Cure: "change it"}

func (i *inspected) Watch(ctx context.Context) (<-chan scsguard.Record, error) {
	silent := make(chan scsguard.Record)
	context.AfterFunc(ctx, func() { close(silent) })
	return silent, nil
}

func newInspected() *inspected { return &inspected{Registry: scsguard.NewMemoryRegistry()} }

func withRegistry(reg scsguard.Registry) func(*scsguard.Config) {
	return func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys = reg, [][]byte{make([]byte, 32)}
	}
}

func TestNewRefusesARegistryWhoseStorageForgets(t *testing.T) {
	reg := newInspected()
	reg.set(nil, forgets)
	cfg := scsguard.Config{Audit: &sink{}}
	withRegistry(reg)(&cfg)
	sm := newManager()
	store := sm.Store
	_, err := scsguard.New(sm, cfg)
	var wrong *scsguard.ConfigError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, []scsguard.FieldError{forgets}, wrong.Fields)
	require.Same(t, store, sm.Store, "a mistake changes nothing")
}

func TestAStorageThatIsChangedLaterOrCannotBeAskedIsAMatterOfHealth(t *testing.T) {
	reg := newInspected()
	reg.set(errors.New("it does not answer"))
	bubble(t, func(t *testing.T, a *app) {
		require.False(t, a.guard.Health().OK)
		reg.set(nil)
		time.Sleep(time.Minute)
		require.True(t, a.guard.Health().OK)
		reg.set(nil, forgets)
		time.Sleep(time.Minute)
		health := a.guard.Health()
		require.Len(t, health.Problems, 1)
		require.Equal(t, scsguard.ComponentStorage, health.Problems[0].Component)
		require.ErrorContains(t, health.Problems[0], "it forgets")
		reg.set(nil)
		_, err := a.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.True(t, a.guard.Health().OK)
	}, withRegistry(reg))
}

func TestCutOffAsksARegistryThatTellsAsWell(t *testing.T) {
	reg := newInspected()
	bubble(t, func(t *testing.T, a *app) {
		entered, cut := a.stream("/stream")
		b := a.browser()
		session := b.login(t, "alice")
		stream := b.copy().inFlight("/stream", entered)
		time.Sleep(time.Minute)
		_, _, err := reg.End(context.Background(), scsguard.Target{User: "alice", Session: session},
			scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndAdmin, At: time.Now()}) // in another process, and nobody heard of it
		require.NoError(t, err)
		start := time.Now()
		require.Equal(t, "ended_by_admin", (<-stream).Body)
		require.LessOrEqual(t, time.Since(start), 30*time.Second)
		var ended *scsguard.EndedError
		require.ErrorAs(t, <-cut, &ended)
	}, withRegistry(reg))
}
