package scsguard_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// What comes at the wrong moment: a write while the session ends, a write after
// the grace of its token, a crash between an ending and its record in the trail.

func TestDataThatIsWrittenWhileItsSessionEndsDoesNotStayBehind(t *testing.T) {
	sm := newManager()
	store := &meddlingStore{Store: sm.Store}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		store.meddle = func() {
			n, err := a.guard.EndAll(context.Background(), "alice")
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.Empty(t, storeKeys(t, sm), "its data goes with it")
		}
		res := b.get("/put?k=late&v=x")
		require.Equal(t, 200, res.Code)
		require.Empty(t, res.Header.Values("Set-Cookie"))
		require.Empty(t, storeKeys(t, sm), "and what was written a moment later, too")
	}, withMemoryRegistry)
}

func TestAWriteWithAnOldTokenFollowsTheSessionOnlyWithinItsGrace(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{10*time.Second - time.Nanosecond, "x"}, {10 * time.Second, ""}} {
		bubble(t, func(t *testing.T, a *app) {
			entered, release := a.pause("/slow", nil, func(w http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "late", "x") })
			b := a.browser()
			b.login(t, "alice")
			slow := b.copy().inFlight("/slow", entered)
			require.Equal(t, 200, b.get("/elevate?role=admin").Code)
			time.Sleep(c.after)
			close(release)
			require.Empty(t, (<-slow).Header.Values("Set-Cookie"))
			require.Equal(t, c.want, b.get("/get?k=late").Body)
			require.Len(t, storeKeys(t, a.sm), 1)
		})
	}
}

func TestAnEndingIsWrittenByAnotherProcessIfItsOwnDiesBeforeTheTrailHasIt(t *testing.T) {
	registry, store := scsguard.NewMemoryRegistry(), newManager().Store
	dying, next := newManager(), newManager()
	dying.Store, next.Store = store, store
	synctest.Test(t, func(t *testing.T) {
		share := func(cfg *scsguard.Config) {
			cfg.Registry, cfg.Keys, cfg.SweepEvery = registry, [][]byte{make([]byte, 32)}, -1
		}
		a := newApp(t, dying, share)
		b := a.browser()
		session := b.login(t, "alice")
		a.sink.fail(errors.New("disk full"))
		require.Equal(t, 200, b.get("/logout").Code)
		synctest.Wait()
		require.Empty(t, a.sink.endings(t)) // and now the power goes

		other := newApp(t, next, share)
		time.Sleep(scsguard.Lease)
		_, err := other.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Equal(t, "user", other.sink.endings(t)[session+"/end"].str("reason"))
	})
}

// It has the token from before the rotation, and by now the rotation says whose that was.
func TestAWriteFromAnotherDeviceDoesNotFollowTheSessionToItsNewToken(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		entered, release := a.pause("/slow", nil, func(w http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "late", "x") })
		b := a.browser()
		b.login(t, "alice")
		thief := b.copy()
		thief.agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
		slow := thief.inFlight("/slow", entered)
		require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		close(release)
		require.Empty(t, (<-slow).Header.Values("Set-Cookie"))
		require.Empty(t, b.get("/get?k=late").Body)
		require.Len(t, storeKeys(t, a.sm), 1)
	})
}
