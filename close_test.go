package scsguard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// shared makes a guard one of several on a registry, so that Close leaves the
// sessions alone.
func shared(registry scsguard.Registry) func(*scsguard.Config) {
	return func(cfg *scsguard.Config) { cfg.Registry, cfg.Keys = registry, [][]byte{make([]byte, 32)} }
}

// Requests go on while the program shuts down. Whatever they began has an
// ending, and none of them is logged in afterwards.
func TestCloseUnderLoadLeavesOneEndingForEveryLogin(t *testing.T) {
	slow := &slowSink{}
	bubble(t, func(t *testing.T, a *app) {
		var requests sync.WaitGroup
		for i := range 200 {
			b := a.browser()
			requests.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				b.get(fmt.Sprintf("/login?user=user%d", i%20))
				time.Sleep(20 * time.Millisecond)
				switch i % 4 {
				case 0:
					b.get("/logout")
				case 1:
					b.get("/elevate?role=admin")
				case 2:
					b.get(fmt.Sprintf("/login?user=user%d", i%20))
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, a.guard.Close(context.Background()))
		atClose := len(slow.events(t))
		requests.Wait()
		synctest.Wait()
		alive := 0
		for i := range 20 {
			list, err := a.guard.SessionsOf(context.Background(), fmt.Sprintf("user%d", i))
			require.NoError(t, err)
			alive += len(list)
		}
		require.Zero(t, alive)
		ends := slow.endings(t)
		require.Len(t, slow.events(t, scsguard.EventLogout), len(ends), "exactly one each")
		logins, shutdown := 0, 0
		for _, e := range slow.events(t, scsguard.EventLogin) {
			if e.str("outcome") == "success" {
				logins++
				require.Contains(t, ends, e.str("session")+"/end")
			}
		}
		for _, e := range ends {
			if e.str("reason") == "shutdown" {
				shutdown++
			}
		}
		require.Greater(t, logins, 20)
		require.Greater(t, shutdown, 10)
		require.Greater(t, atClose, 60)
	}, func(cfg *scsguard.Config) { cfg.Audit = slow })
}

func TestCloseWithACancelledContextGivesUpAtOnceAndSaysWhatIsNotWritten(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		for _, user := range []string{"alice", "bob"} {
			a.browser().login(t, user)
		}
		a.sink.fail(errDown)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		start := time.Now()
		err := a.guard.Close(ctx)
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "2 entries of the trail are not written")
		require.Equal(t, err, a.guard.Close(context.Background()), "a second call says the same")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		calls := a.sink.appends()
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, calls, a.sink.appends(), "nothing goes on in the background")
	})
}

func TestASecondCloseWaitsForTheFirst(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.browser().login(t, "alice")
		a.sink.fail(errDown)
		first := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			first <- a.guard.Close(ctx)
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := a.guard.Close(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "has not returned yet")
		start := time.Now()
		err = a.guard.Close(context.Background())
		require.Equal(t, 9*time.Second, time.Since(start))
		require.ErrorContains(t, err, "1 entries of the trail are not written")
		require.Equal(t, <-first, err)
	})
}

func TestAfterCloseNothingIsGrantedAndEverythingCanBeTakenAway(t *testing.T) {
	registry, other := scsguard.NewMemoryRegistry(), newManager()
	bubble(t, func(t *testing.T, a *app) {
		newApp(t, other, shared(registry)) // another guard, with which the sessions go on
		a.handle("/transfer", func(w http.ResponseWriter, r *http.Request) error {
			return a.guard.Record(r.Context(), scsguard.Event{Kind: "transfer"})
		})
		b, c := a.browser(), a.browser()
		session, second := b.login(t, "alice"), c.login(t, "alice")
		require.NoError(t, a.guard.Close(context.Background()))
		for _, path := range []string{"/login?user=alice", "/elevate?role=admin", "/reauth?full=1", "/extend", "/transfer"} {
			res := b.get(path)
			require.Equal(t, http.StatusInternalServerError, res.Code, path)
			require.Contains(t, res.Body, scsguard.ErrClosed.Error(), path)
		}
		require.Equal(t, "alice", b.whoami(), "who is logged in at another guard is served to the end")
		require.Equal(t, 200, b.get("/logout").Code)
		require.NoError(t, a.guard.End(context.Background(), second, scsguard.Of("alice")))
		require.Equal(t, "401 ended_by_you", c.whoami())
		synctest.Wait()
		require.Contains(t, a.sink.endings(t), session+"/end")
		require.Contains(t, a.sink.endings(t), second+"/end")
		_, err := a.guard.Login(context.Background(), "alice")
		require.ErrorIs(t, err, scsguard.ErrClosed)
	}, shared(registry))
}

func TestALoginThatWasUnderWayWhenTheGuardClosedIsNotGranted(t *testing.T) {
	store := &pausingStore{MemStore: memstore.NewWithCleanupInterval(0)}
	registry, sm, other := scsguard.NewMemoryRegistry(), newManager(), newManager()
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		newApp(t, other, shared(registry))
		store.pause = func() { require.NoError(t, a.guard.Close(context.Background())) }
		b := a.browser()
		res := b.get("/login?user=alice")
		require.Equal(t, http.StatusInternalServerError, res.Code)
		require.Contains(t, res.Body, scsguard.ErrClosed.Error())
		require.Equal(t, "401", b.whoami())
		require.Empty(t, storeKeys(t, sm))
	}, shared(registry))
}

// askedRegistry counts how often it is asked for what is due.
type askedRegistry struct {
	scsguard.Registry
	asked *atomic.Int64
}

func (r askedRegistry) Namespace(name string) scsguard.Registry {
	return askedRegistry{r.Registry.Namespace(name), r.asked}
}

func (r askedRegistry) Due(ctx context.Context, n int) ([]scsguard.Record, error) {
	r.asked.Add(1)
	return r.Registry.Due(ctx, n)
}

func TestCloseStopsTheSweep(t *testing.T) {
	asked := new(atomic.Int64)
	bubble(t, func(t *testing.T, a *app) {
		time.Sleep(time.Hour)
		require.Greater(t, asked.Load(), int64(100))
		require.NoError(t, a.guard.Close(context.Background()))
		before := asked.Load()
		time.Sleep(time.Hour)
		require.Equal(t, before, asked.Load())
	}, shared(askedRegistry{scsguard.NewMemoryRegistry(), asked}))
}

func TestCloseEndsMoreSessionsThanTheTrailCanBeGivenAtOnce(t *testing.T) {
	const sessions = 11_000
	slow, registry := &slowSink{}, scsguard.NewMemoryRegistry()
	bubble(t, func(t *testing.T, a *app) {
		populate(t, registry, sessions)
		require.NoError(t, a.guard.Close(context.Background()))
		require.Len(t, slow.lines, sessions)
		require.Len(t, slow.endings(t), sessions)
	}, func(cfg *scsguard.Config) { cfg.Audit, cfg.Registry = slow, registry })
}

func TestCloseTriesOnceMoreWhatCouldNotBeDone(t *testing.T) {
	for name, heals := range map[string]bool{"and it can be done now": true, "and says what is left": false} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			store := &brokenStore{Store: memstore.NewWithCleanupInterval(0)}
			sm.Store = store
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				a.browser().login(t, "alice")
				store.set(nil, nil, errDown)
				n, err := a.guard.EndAll(context.Background(), "alice")
				require.NoError(t, err)
				require.Equal(t, 1, n)
				if !heals {
					require.ErrorContains(t, a.guard.Close(context.Background()), "0 endings and 1 deletions")
					return
				}
				store.set(nil, nil, nil)
				require.NoError(t, a.guard.Close(context.Background()))
				require.Empty(t, storeKeys(t, sm))
			}, withMemoryRegistry)
		})
	}
}

func TestCloseWaitsForWhatTheApplicationIsTold(t *testing.T) {
	var told []string
	bubble(t, func(t *testing.T, a *app) {
		session := a.browser().login(t, "alice")
		require.NoError(t, a.guard.End(context.Background(), session, scsguard.Of("alice")))
		require.NoError(t, a.guard.Close(context.Background()))
		require.Equal(t, []string{"login", "logout"}, told)
	}, func(cfg *scsguard.Config) {
		var mu sync.Mutex
		cfg.OnEvent = func(_ context.Context, e scsguard.Event) {
			time.Sleep(time.Second) // a mail is sent
			mu.Lock()
			told = append(told, string(e.Kind))
			mu.Unlock()
		}
	})
}

func TestCloseTellsOfTheFailuresThatWereStillCounted(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		for range 5 {
			a.guard.LoginFailed(context.Background(), "alice", "password")
		}
		require.NoError(t, a.guard.Close(context.Background()))
		failed := a.sink.events(t, scsguard.EventLoginFailed)
		require.Len(t, failed, 2)
		require.Equal(t, map[string]any{"count": "4"}, failed[1]["details"])
		time.Sleep(time.Minute)
		require.Len(t, a.sink.events(t, scsguard.EventLoginFailed), 2, "and not again at the end of the window")
	})
}

// stuckRegistry does not answer, and does not look at its context either.
type stuckRegistry struct {
	scsguard.Registry
	stuck chan struct{}
	armed *atomic.Bool
}

func (r stuckRegistry) Namespace(name string) scsguard.Registry {
	return stuckRegistry{r.Registry.Namespace(name), r.stuck, r.armed}
}

func (r stuckRegistry) Due(ctx context.Context, n int) ([]scsguard.Record, error) {
	if r.armed.Load() {
		<-r.stuck
	}
	return r.Registry.Due(ctx, n)
}

func TestCloseDoesNotWaitForASweepThatHangs(t *testing.T) {
	sm := newManager()
	synctest.Test(t, func(t *testing.T) {
		registry := stuckRegistry{scsguard.NewMemoryRegistry(), make(chan struct{}), new(atomic.Bool)}
		guard, err := scsguard.New(sm, scsguard.Config{Audit: &sink{}, Registry: registry, Keys: [][]byte{make([]byte, 32)}})
		require.NoError(t, err)
		registry.armed.Store(true)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		err = guard.Close(ctx)
		require.Equal(t, time.Second, time.Since(start))
		require.True(t, err == nil || errors.Is(err, context.DeadlineExceeded))
		close(registry.stuck)
	})
}

func TestCloseWritesTheEndingsThatHadToWait(t *testing.T) {
	const sessions = 11_000
	slow, registry := &slowSink{}, scsguard.NewMemoryRegistry()
	bubble(t, func(t *testing.T, a *app) {
		populate(t, registry, sessions)
		n, err := a.guard.EndEveryone(context.Background())
		require.NoError(t, err)
		require.Equal(t, sessions, n)
		require.NoError(t, a.guard.Close(context.Background()))
		require.Len(t, slow.endings(t), sessions)
	}, func(cfg *scsguard.Config) { cfg.Audit, cfg.Registry = slow, registry })
}

func TestCloseWritesAnEndingThatTheFullQueueRefused(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		session := b.login(t, "alice")
		a.sink.fail(errDown)
		for i := range 10_000 {
			a.guard.LoginFailed(context.Background(), fmt.Sprint("u", i), "password")
		}
		require.Equal(t, 200, b.get("/logout").Code)
		a.sink.fail(nil)
		require.NoError(t, a.guard.Close(context.Background()))
		require.Contains(t, a.sink.endings(t), session+"/end")
	})
}
