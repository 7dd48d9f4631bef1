package scsguard_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestWhatWaitsToBeDeletedIsBounded(t *testing.T) {
	const sessions = 10_100
	sm, registry := newManager(), scsguard.NewMemoryRegistry()
	store := &brokenStore{Store: sm.Store}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		populate(t, registry, sessions)
		store.set(nil, nil, errDown)
		n, err := a.guard.EndEveryone(context.Background())
		require.NoError(t, err, "ending sessions does not need the store")
		require.Equal(t, sessions, n)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, a.sink.endings(t), sessions)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorContains(t, a.guard.Close(ctx), "0 endings and 10000 deletions")
	}, func(cfg *scsguard.Config) { cfg.Registry = registry })
}

// clingingStore does not answer to a deletion.
type clingingStore struct {
	*immortalStore
	clings chan struct{}
}

func (s *clingingStore) Delete(token string) error {
	<-s.clings
	return s.immortalStore.Delete(token)
}

func TestAStoreThatHangsIsWaitedForOnceHoweverManySessionsEnd(t *testing.T) {
	sm := newManager()
	sm.Store = &clingingStore{immortalStore: &immortalStore{}}
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		store := a.guard.Store().(*clingingStore)
		store.clings = make(chan struct{})
		for range 50 {
			a.browser().login(t, "alice")
		}
		start := time.Now()
		n, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		require.Equal(t, 50, n)
		require.Equal(t, 2*time.Second, time.Since(start))
		close(store.clings)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, store.data)
	}, withMemoryRegistry)
}

// pickyRegistry cannot end some sessions.
type pickyRegistry struct {
	scsguard.Registry
	refuses func(scsguard.Target) bool
	calls   *atomic.Int64
}

func (r pickyRegistry) Namespace(name string) scsguard.Registry {
	return pickyRegistry{r.Registry.Namespace(name), r.refuses, r.calls}
}

func (r pickyRegistry) End(ctx context.Context, t scsguard.Target, e scsguard.Ending) (scsguard.Record, bool, error) {
	r.calls.Add(1)
	if r.refuses(t) {
		return scsguard.Record{}, false, errDown
	}
	return r.Registry.End(ctx, t, e)
}

func TestALogoutThatCanNeverBeDoneKeepsNoOtherFromItsTurn(t *testing.T) {
	var down atomic.Bool
	stuck := new(atomic.Pointer[string])
	picky := pickyRegistry{scsguard.NewMemoryRegistry(), func(t scsguard.Target) bool {
		return down.Load() || stuck.Load() != nil && string(t.Key) == *stuck.Load()
	}, new(atomic.Int64)}
	bubble(t, func(t *testing.T, a *app) {
		first, second := a.browser(), a.browser()
		first.login(t, "alice")
		session := second.login(t, "bob")
		thief, token := second.copy(), first.token()
		stuck.Store(&token)
		down.Store(true)
		require.Equal(t, http.StatusServiceUnavailable, first.get("/logout").Code)
		require.Equal(t, http.StatusServiceUnavailable, second.get("/logout").Code)
		time.Sleep(time.Second)
		down.Store(false)
		time.Sleep(10 * time.Second)
		require.Equal(t, "401 ended_by_you", thief.whoami())
		synctest.Wait()
		end := a.sink.endings(t)[session+"/end"]
		require.Equal(t, "user", end.str("reason"))
		require.Equal(t, stamp(time.Now().Add(-11*time.Second)), end.str("time"), "it tells of when he logged out")
		stuck.Store(nil)
	}, shared(picky))
}

func TestALogoutIsRepeatedAlsoWhileTheStoreIsDown(t *testing.T) {
	var down atomic.Bool
	picky := pickyRegistry{scsguard.NewMemoryRegistry(), func(scsguard.Target) bool { return down.Load() }, new(atomic.Int64)}
	sm := newManager()
	store := &brokenStore{Store: sm.Store}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		others := make([]string, 50)
		for i := range others {
			others[i] = a.browser().login(t, "bob")
		}
		b := a.browser()
		session := b.login(t, "alice")
		store.set(nil, nil, errDown)
		_, err := a.guard.EndAll(context.Background(), "bob")
		require.NoError(t, err)
		down.Store(true)
		require.Equal(t, http.StatusServiceUnavailable, b.get("/logout").Code)
		time.Sleep(time.Minute)
		down.Store(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Contains(t, a.sink.endings(t), session+"/end")
		store.set(nil, nil, nil)
		time.Sleep(time.Minute)
		require.Empty(t, storeKeys(t, sm), "and what is left of all of them is deleted")
	}, shared(picky))
}

func TestTheSameLogoutManyTimesIsRepeatedOnce(t *testing.T) {
	var down atomic.Bool
	picky := pickyRegistry{scsguard.NewMemoryRegistry(), func(scsguard.Target) bool { return down.Load() }, new(atomic.Int64)}
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		down.Store(true)
		for range 20 { // he presses the button again and again, in a tab that kept the cookie
			require.Equal(t, http.StatusServiceUnavailable, b.copy().get("/logout").Code)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorContains(t, a.guard.Close(ctx), "1 endings and 0 deletions")
		calls := picky.calls.Load()
		time.Sleep(time.Minute)
		require.Equal(t, calls, picky.calls.Load(), "nothing goes on after Close")
	}, shared(picky))
}

func TestAFloodOfLoginsBeyondTheCapIsToldAsTwoEvents(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.browser().login(t, "alice")
		for range 100 {
			require.Equal(t, http.StatusConflict, a.browser().get("/login?user=alice").Code)
		}
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventLoginDenied), 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		denied := a.sink.events(t, scsguard.EventLoginDenied)
		require.Len(t, denied, 2)
		require.Equal(t, map[string]any{"count": "99"}, denied[1]["details"])
		require.NotEqual(t, denied[0].str("id"), denied[1].str("id"))
		require.Equal(t, "limit", denied[1].str("reason"))
	}, limit(1, scsguard.Deny))
}

// What is kept of a failed login is bounded by its name, too.
func TestFailedLoginsOfOneUserAreNotSpreadByLongNames(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		for i := range 50 {
			a.guard.LoginFailed(context.Background(), strings.Repeat("x", 300)+fmt.Sprint(i), "password")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		failed := a.sink.events(t, scsguard.EventLoginFailed)
		require.Len(t, failed, 2)
		require.Equal(t, map[string]any{"count": "49"}, failed[1]["details"])
		a.guard.LoginFailed(context.Background(), "alice", "password")
		a.guard.LoginFailed(context.Background(), "alice\x00", "password")
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventLoginFailed), 4, "different names are different")
	})
}

// Each failed login is remembered for a while, so that equal ones are counted.
func TestAFloodOfFailedLoginsKeepsNothingOfItsRequests(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		var request weak.Pointer[http.Request]
		var name weak.Pointer[byte]
		a.mux.HandleFunc("/wrong", func(_ http.ResponseWriter, r *http.Request) {
			sent := strings.Repeat("all that he sent ", 1<<10)
			request, name = weak.Make(r), weak.Make(unsafe.StringData(sent))
			a.guard.LoginFailed(r.Context(), sent[:200], "password")
			a.guard.LoginFailed(r.Context(), sent, "password")
		})
		a.browser().get("/wrong")
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventLoginFailed), 2)
		runtime.GC()
		require.Nil(t, name.Value())
		require.Nil(t, request.Value())
	})
}
