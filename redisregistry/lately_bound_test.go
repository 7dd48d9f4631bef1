package redisregistry

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestWhatNobodyAsksForAgainIsKeptWithinBounds(t *testing.T) {
	var c lately
	ks := newKeyspace(defaultPrefix, "")
	for i := range 100 * mostLately {
		c.keep(ks, stored{key: scsguard.Key(fmt.Sprint(i))})
		require.LessOrEqual(t, len(c.list), mostLately)
	}
	last := scsguard.Key(fmt.Sprint(100*mostLately - 1))
	_, ok := c.take(newKeyspace(defaultPrefix, "other"), last)
	require.False(t, ok, "another namespace has its own")
	_, ok = c.take(ks, last)
	require.True(t, ok)
	_, ok = c.take(ks, last)
	require.False(t, ok, "it is true at most once")
}

func TestTheLeaseOfASweepServesAnEndingWithinItsBounds(t *testing.T) {
	now := time.Now()
	dead := stored{raw: fresh, rec: scsguard.Record{State: scsguard.StateEnded, Absolute: now}, keep: time.Hour}
	kept := now.Add(time.Hour + scsguard.TombstoneMargin)
	for _, c := range []struct {
		lease  lease
		serves bool
	}{
		{lease{}, false},
		{lease{now.Add(scsguard.Lease), kept}, true},
		{lease{now.Add(scsguard.Lease), kept.Add(-1)}, false},
		{lease{now.Add(scsguard.Lease + 1), kept}, false}, // Redis's clock was set
		{lease{now.Add(scsguard.Lease - leaseSpent), kept}, true},
		{lease{now.Add(scsguard.Lease - leaseSpent - 1), kept}, false},
	} {
		require.Equal(t, c.serves, c.lease.serves(dead, now), c)
	}
}
