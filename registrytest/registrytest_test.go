package registrytest

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func openMemory(context.Context) (scsguard.Registry, error) { return scsguard.NewMemoryRegistry(), nil }

func TestMemoryRegistry(t *testing.T) {
	t.Parallel() // most of the time it waits for a lease
	Run(t, func(t *testing.T) scsguard.Registry { return scsguard.NewMemoryRegistry() })
}

func TestMemoryRegistry_in_a_bubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, Check(t.Context(), openMemory))
	})
}

func TestMemoryRegistry_over_years(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, CheckExpiry(t.Context(), openMemory))
	})
}

// More than there is time for where each call crosses a network.
func TestMemoryRegistry_longer_sequences(t *testing.T) {
	t.Parallel()
	for _, limit := range []scsguard.Limit{deny(1), deny(2), evict(1), evict(2)} {
		require.NoError(t, failureOf(func() {
			compareWithList(newTrial(t.Context(), scsguard.NewMemoryRegistry()), limit, sequenceLen+1)
		}), limit)
	}
	require.NoError(t, failureOf(func() { keepsCap(newTrial(t.Context(), scsguard.NewMemoryRegistry()), openLen+1) }))
}
