package redisregistry

import (
	"fmt"
	"testing"

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
