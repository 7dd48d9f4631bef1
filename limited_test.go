package scsguard

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestACallEndsAtItsLimitWhetherOrNotSomebodyWaits(t *testing.T) {
	for name, wait := range map[string]func(context.Context){
		"nobody waits":   func(context.Context) {},
		"somebody waits": func(c context.Context) { c.Done() },
		"a context within is waiting": func(c context.Context) {
			within, cancel := context.WithCancel(c)
			context.AfterFunc(within, cancel)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := limit(t.Context(), time.Second)
				defer c.end()
				wait(c)
				time.Sleep(time.Second - 1)
				require.NoError(t, c.Err(), "a nanosecond before its limit")
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				require.ErrorIs(t, c.Err(), context.DeadlineExceeded)
				<-c.Done()
			})
		})
	}
}

func TestALimitIsNeverLaterThanThatAroundIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		around, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := limit(around, time.Minute)
		defer c.end()
		deadline, ok := c.Deadline()
		require.True(t, ok)
		require.Equal(t, time.Second, time.Until(deadline))
	})
}

func TestWhatACallLeavesBehindMayStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		around, cancel := context.WithCancel(t.Context())
		waited, unwaited, left := limit(around, time.Minute), limit(around, time.Minute), limit(around, time.Minute)
		waited.Done()
		for _, c := range []*limited{waited, unwaited} {
			c.end()
			require.ErrorIs(t, c.Err(), context.Canceled)
			<-c.Done()
			require.ErrorIs(t, c.Err(), context.Canceled)
		}
		require.NoError(t, left.Err())
		cancel()
		require.ErrorIs(t, left.Err(), context.Canceled, "the visitor has hung up")
		<-left.Done()
	})
}

// A driver may derive several contexts from that of each call.
func TestContextsWithinACallTakeNoGoroutineEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type name struct{}
		c := limit(context.WithValue(t.Context(), name{}, "kept"), time.Second)
		require.Equal(t, "kept", c.Value(name{}))
		before := runtime.NumGoroutine()
		var within []context.Context
		for range 100 {
			ctx, cancel := context.WithCancel(c)
			defer cancel()
			within = append(within, ctx)
		}
		require.Less(t, runtime.NumGoroutine(), before+50) // other tests run beside
		require.Equal(t, "kept", within[0].Value(name{}))
		c.end()
		synctest.Wait()
		for _, ctx := range within {
			require.Error(t, ctx.Err())
		}
	})
}
