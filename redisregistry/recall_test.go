package redisregistry

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func endedOf(session string) stored {
	return stored{key: scsguard.Key("key of " + session), raw: fresh, rec: scsguard.Record{Session: session, State: scsguard.StateEnded,
		Ending: scsguard.Ending{Reason: scsguard.EndAdmin}}}
}

func TestEndingsAreRememberedForAWhileAndNotWithoutAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c recall
		ks := newKeyspace(defaultPrefix, "")
		alive := func(session string) bool {
			_, dead := c.endingOf(ks, &stored{raw: fresh, rec: scsguard.Record{Session: session, State: scsguard.StateLive}})
			return !dead
		}
		require.True(t, alive("first"))
		c.remember(ks, endedOf("first"))
		require.False(t, alive("first"))
		_, dead := c.endingOf(newKeyspace(defaultPrefix, "other"), &stored{raw: fresh, rec: scsguard.Record{Session: "first", State: scsguard.StateLive}})
		require.False(t, dead, "it is another's in another namespace")
		for i := range mostRecall - 1 {
			c.remember(ks, endedOf(fmt.Sprint(i)))
		}
		require.False(t, alive("first"))
		c.remember(ks, endedOf("one more"))
		require.True(t, alive("first"), "the oldest gives way")
		require.Len(t, c.order, mostRecall)
		require.Len(t, c.ended, mostRecall)
		time.Sleep(recallFor + 1)
		c.remember(ks, endedOf("much later"))
		require.Len(t, c.order, 1)
		require.Len(t, c.ended, 1)
		require.Len(t, c.keys(ks), 1)
	})
}
