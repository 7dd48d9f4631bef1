package scsguard_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// word returns what identifies an event in a test.
func (e event) word() string { return e.str("event") + " " + e.str("user") }

func words(events []event) []string {
	list := make([]string, len(events))
	for i, e := range events {
		list[i] = e.word()
	}
	return list
}

func TestWhatCouldNotBeWrittenIsWrittenInItsOrderAndBeforeWhatCameLater(t *testing.T) {
	slow := &slowSink{}
	bubble(t, func(t *testing.T, a *app) {
		var want []string
		for round := range 5 {
			slow.fail(errDown)
			for i := range 20 { // some while an attempt is under way, some in between
				user := fmt.Sprint("u", round, ".", i)
				a.guard.LoginFailed(context.Background(), user, "password")
				want = append(want, "login_failed "+user)
				time.Sleep(9 * time.Millisecond)
			}
			time.Sleep(time.Minute)
			slow.fail(nil)
			start := time.Now()
			a.browser().login(t, "alice")
			want = append(want, "login alice")
			require.LessOrEqual(t, time.Since(start), 150*time.Millisecond, "who waits for the trail makes it try at once")
		}
		require.Equal(t, want, words(slow.events(t, scsguard.EventLoginFailed, scsguard.EventLogin)))
	}, func(cfg *scsguard.Config) { cfg.Audit = slow })
}

func TestEventsAreWrittenInTheOrderInWhichTheyWereGiven(t *testing.T) {
	slow := &slowSink{}
	bubble(t, func(t *testing.T, a *app) {
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if i%2 == 0 {
					a.guard.LoginFailed(context.Background(), fmt.Sprint(i), "password")
				} else if err := a.guard.Record(context.Background(), scsguard.Event{Kind: "transfer", User: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		events := slow.events(t)
		require.Len(t, events, 100)
		for i, e := range events {
			require.Equal(t, fmt.Sprint(i), e.str("user"))
		}
	}, func(cfg *scsguard.Config) { cfg.Audit = slow })
}

// The registry hands an ending out again and again as long as nobody confirms
// it, and the trail is still trying.
func TestAnEndingThatIsRepeatedForHoursIsWrittenOnce(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		out, idles := b.login(t, "alice"), a.browser().login(t, "bob")
		a.sink.fail(errDown)
		require.Equal(t, 200, b.get("/logout").Code)
		time.Sleep(3 * time.Hour)
		a.sink.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventLogout, scsguard.EventTimeout), 2)
		require.Contains(t, a.sink.endings(t), out+"/end")
		require.Contains(t, a.sink.endings(t), idles+"/end")
	})
}

// forgetfulSink keeps what it is given and says that it could not, as after an
// answer that got lost on the way.
type forgetfulSink struct {
	sink
	forgets atomic.Bool
}

func (s *forgetfulSink) Append(ctx context.Context, records [][]byte) error {
	if err := s.sink.Append(ctx, records); err != nil || !s.forgets.CompareAndSwap(true, false) {
		return err
	}
	return errDown
}

func TestWhatWasRefusedAlthoughTheTrailKeptItIsRetracted(t *testing.T) {
	for path, kind := range map[string]scsguard.EventKind{
		"/login?user=alice": scsguard.EventLogin, "/elevate?role=admin": scsguard.EventPrivilegeChange, "/reauth": scsguard.EventReauth,
		"/extend": scsguard.EventExtend, "/transfer": "transfer",
	} {
		t.Run(path, func(t *testing.T) {
			out := &forgetfulSink{}
			bubble(t, func(t *testing.T, a *app) {
				a.handle("/transfer", func(w http.ResponseWriter, r *http.Request) error {
					return a.guard.Record(r.Context(), scsguard.Event{Kind: "transfer"})
				})
				b := a.browser()
				b.login(t, "alice")
				before := len(out.events(t, kind))
				out.forgets.Store(true)
				require.Equal(t, http.StatusServiceUnavailable, b.get(path).Code)
				require.Equal(t, "alice", b.whoami(), "nothing was granted")
				time.Sleep(time.Second)
				synctest.Wait()
				events := out.events(t, kind)[before:]
				require.Len(t, events, 2)
				require.Equal(t, "success", events[0].str("outcome"))
				require.Equal(t, "failure", events[1].str("outcome"))
				require.Equal(t, events[0].str("id"), events[1]["details"].(map[string]any)["retracts"])
				if kind == scsguard.EventLogin {
					require.Contains(t, out.endings(t), events[0].str("session")+"/end", "and the session that never was has an ending")
				}
			}, func(cfg *scsguard.Config) { cfg.Audit = out })
		})
	}
}

func TestTheEventsOfASessionAreInOrderHoweverManyGoOnAtOnce(t *testing.T) {
	slow := &slowSink{}
	bubble(t, func(t *testing.T, a *app) {
		var users sync.WaitGroup
		for i := range 100 {
			b := a.browser()
			users.Go(func() {
				time.Sleep(time.Duration(i*7) * time.Millisecond)
				b.get(fmt.Sprint("/login?user=u", i))
				b.get("/extend")
				b.get("/elevate?role=admin")
				b.get("/logout")
			})
		}
		users.Wait()
		require.NoError(t, a.guard.Close(context.Background()))
		seq := make(map[string]float64)
		for _, e := range slow.events(t) {
			require.Equal(t, seq[e.str("session")]+1, e["session_seq"], e.word())
			seq[e.str("session")]++
		}
		require.Len(t, seq, 100)
		for _, last := range seq {
			require.EqualValues(t, 4, last)
		}
		require.Less(t, slow.appends(), 100)
	}, func(cfg *scsguard.Config) { cfg.Audit = slow })
}

// batchSink remembers the size of the largest Append.
type batchSink struct {
	sink
	largest int
}

func (s *batchSink) Append(ctx context.Context, records [][]byte) error {
	s.mu.Lock()
	s.largest = max(s.largest, len(records))
	s.mu.Unlock()
	return s.sink.Append(ctx, records)
}

func TestABacklogIsWrittenInPortions(t *testing.T) {
	out := &batchSink{}
	bubble(t, func(t *testing.T, a *app) {
		out.fail(errDown)
		for i := range 3500 {
			a.guard.LoginFailed(context.Background(), fmt.Sprint("u", i), "password")
		}
		time.Sleep(10 * time.Second)
		out.fail(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		failed := out.events(t, scsguard.EventLoginFailed)
		require.Len(t, failed, 3500)
		for i, e := range failed {
			require.Equal(t, fmt.Sprint("u", i), e.str("user"))
		}
		require.Equal(t, 1000, out.largest)
	}, func(cfg *scsguard.Config) { cfg.Audit = out })
}

func TestASinkThatPanicsIsASinkThatFails(t *testing.T) {
	out := &sink{}
	var broken atomic.Bool
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		session := b.login(t, "alice")
		broken.Store(true)
		require.Equal(t, http.StatusServiceUnavailable, a.browser().get("/login?user=bob").Code)
		require.Equal(t, 200, b.get("/logout").Code)
		synctest.Wait()
		health := a.guard.Health()
		require.Equal(t, scsguard.ComponentAudit, health.Problems[0].Component)
		require.ErrorContains(t, health.Problems[0].Err, "boom")
		broken.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Contains(t, out.endings(t), session+"/end")
		require.True(t, a.guard.Health().OK)
	}, func(cfg *scsguard.Config) {
		cfg.Audit = scsguard.SinkFunc(func(ctx context.Context, records [][]byte) error {
			if broken.Load() {
				panic("boom")
			}
			return out.Append(ctx, records)
		})
	})
}

func TestOnAuditFailureIsCalledWithinASecondAndOnceAtATime(t *testing.T) {
	var calls, running, most atomic.Int64
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		a.sink.fail(errDown)
		require.Equal(t, 200, b.get("/logout").Code, "nobody waits for the trail")
		time.Sleep(time.Second)
		synctest.Wait()
		require.EqualValues(t, 1, calls.Load())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.EqualValues(t, 1, most.Load())
		require.Greater(t, calls.Load(), int64(2), "as long as it fails")
		a.sink.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		healed := calls.Load()
		a.browser().login(t, "bob")
		time.Sleep(time.Hour)
		require.Equal(t, healed, calls.Load())
	}, func(cfg *scsguard.Config) {
		cfg.OnAuditFailure = func(error) {
			calls.Add(1)
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(10 * time.Second) // somebody is called out of bed
			running.Add(-1)
		}
	})
}

// unconfirmedRegistry cannot be told for some time that an ending is written.
type unconfirmedRegistry struct {
	scsguard.Registry
	down  *atomic.Bool
	calls *atomic.Int64
}

func (r unconfirmedRegistry) Namespace(name string) scsguard.Registry {
	return unconfirmedRegistry{r.Registry.Namespace(name), r.down, r.calls}
}

func (r unconfirmedRegistry) Confirm(ctx context.Context, rec scsguard.Record) error {
	r.calls.Add(1)
	if r.down.Load() {
		return errDown
	}
	return r.Registry.Confirm(ctx, rec)
}

func TestAConfirmationThatFailedIsRepeatedUntilItSucceeds(t *testing.T) {
	registry := unconfirmedRegistry{scsguard.NewMemoryRegistry(), new(atomic.Bool), new(atomic.Int64)}
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		registry.down.Store(true)
		require.Equal(t, 200, b.get("/logout").Code)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Greater(t, registry.calls.Load(), int64(5))
		registry.down.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		calls := registry.calls.Load()
		time.Sleep(time.Hour)
		require.Equal(t, calls, registry.calls.Load())
		require.Len(t, a.sink.endings(t), 1, "written again under the same ID")
	}, shared(registry))
}

// slowRegistry takes its time to confirm.
type slowRegistry struct{ scsguard.Registry }

func (r slowRegistry) Namespace(name string) scsguard.Registry {
	return slowRegistry{r.Registry.Namespace(name)}
}

func (r slowRegistry) Confirm(ctx context.Context, rec scsguard.Record) error {
	time.Sleep(time.Second)
	return r.Registry.Confirm(ctx, rec)
}

func TestASlowRegistryDoesNotHoldUpTheTrail(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		for range 10 {
			b := a.browser()
			b.login(t, "alice")
			b.get("/logout")
		}
		synctest.Wait() // the confirmations are under way
		start := time.Now()
		a.browser().login(t, "bob")
		require.Zero(t, time.Since(start))
	}, shared(slowRegistry{scsguard.NewMemoryRegistry()}))
}

func TestASweepReturnsWhenWhatItEndedIsWritten(t *testing.T) {
	slow := &slowSink{}
	bubble(t, func(t *testing.T, a *app) {
		session := a.browser().login(t, "alice")
		time.Sleep(idle)
		n, err := a.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, "idle", slow.endings(t)[session+"/end"].str("reason"))

		a.browser().login(t, "alice")
		time.Sleep(idle)
		slow.fail(errDown)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		n, err = a.guard.Sweep(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "it says what could not be done")
		require.Equal(t, 1, n)
		slow.fail(nil)
	}, func(cfg *scsguard.Config) { cfg.Audit, cfg.SweepEvery = slow, -1 })
}

// Activity is the most frequent event and says the least, so it may use half of
// the room. Failures are what an attacker can cause, so they leave a quarter to
// what ends and revokes. An ending is handed out again by the registry.
func TestWhenTheQueueFillsActivityIsLostFirstAndAnEndingNever(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		fail := func(from, to int) {
			for i := from; i < to; i++ {
				a.guard.LoginFailed(context.Background(), fmt.Sprint("u", i), "password")
			}
		}
		b := a.browser()
		session := b.login(t, "alice")
		a.sink.fail(errDown)
		start := time.Now()
		fail(0, 5000)
		time.Sleep(2 * time.Minute)
		require.Equal(t, "alice", b.whoami())
		time.Sleep(time.Second)
		fail(5000, 7600)
		for i := range 50 {
			planted := a.browser()
			planted.addr = fmt.Sprintf("198.51.100.%d:1", i)
			r := planted.request("GET", "/put?k=a&v=b")
			for _, letter := range []string{"A", "B"} {
				r.AddCookie(&http.Cookie{Name: "__Host-session", Value: strings.Repeat(letter, 43)})
			}
			planted.do(r)
		}
		require.Equal(t, 7500, a.guard.Counters().Waiting)
		for range 2500 { // of a user without sessions
			_, err := a.guard.EndAll(context.Background(), "mallory")
			require.NoError(t, err)
		}
		require.Equal(t, 10_000, a.guard.Counters().Waiting, "there is room for what removes")
		require.Equal(t, start, a.guard.Counters().OldestWaiting)
		require.Equal(t, 200, b.get("/logout").Code)
		require.Equal(t, "401", b.whoami(), "out, although not even memory can take its ending")
		a.sink.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		gap := a.sink.events(t, scsguard.EventGap)
		require.Len(t, gap, 1)
		require.Equal(t, "failure", gap[0].str("outcome"))
		details := gap[0]["details"].(map[string]any)
		require.Equal(t, start.Add(2*time.Minute).UTC().Format("2006-01-02T15:04:05.000000Z"), details["from"])
		require.GreaterOrEqual(t, gap[0].str("time"), details["to"])
		require.Greater(t, details["to"], details["from"])
		delete(details, "from")
		delete(details, "to")
		require.Equal(t, map[string]any{"lost.extend": "1", "lost.login_failed": "100", "lost.duplicate_cookie": "50", "cause": errDown.Error()}, details)
		require.Equal(t, "audit.gap", a.sink.events(t)[1+1000].str("event"), "right behind the first portion that could be written")
		require.Len(t, a.sink.events(t, scsguard.EventLoginFailed), 7500)
		require.Len(t, a.sink.events(t, scsguard.EventRevoke), 2500)
		require.Contains(t, a.sink.endings(t), session+"/end")
		c := a.guard.Counters()
		require.Equal(t, map[scsguard.EventKind]uint64{"extend": 1, "login_failed": 100, "duplicate_cookie": 50}, c.Lost, "a metric does not forget what was told")
		require.Zero(t, c.Waiting)
		require.Zero(t, c.OldestWaiting)
		require.EqualValues(t, len(a.sink.lines), c.Written)
		require.Positive(t, c.AppendFailures)
	})
}

func TestMoreEndingsThanTheQueueHoldsAreAllWrittenOnce(t *testing.T) {
	const sessions = 11_000
	registry := scsguard.NewMemoryRegistry()
	bubble(t, func(t *testing.T, a *app) {
		populate(t, registry, sessions)
		a.sink.fail(errDown)
		n, err := a.guard.EndEveryone(context.Background())
		require.NoError(t, err)
		require.Equal(t, sessions, n)
		time.Sleep(5 * time.Minute)
		a.sink.fail(nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Len(t, a.sink.endings(t), sessions, "an ending that has to wait is not lost")
		require.Len(t, a.sink.lines, sessions+1, "beside them the revocation")
	}, func(cfg *scsguard.Config) { cfg.Registry = registry })
}

func TestHealthHealsWithoutAnyRequest(t *testing.T) {
	sm := newManager()
	store := &brokenStore{Store: sm.Store}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		store.set(nil, errDown, nil)
		a.sink.fail(errDown)
		start := time.Now()
		require.Equal(t, http.StatusServiceUnavailable, b.get("/whoami").Code)
		a.guard.LoginFailed(context.Background(), "alice", "password")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		health := a.guard.Health()
		require.False(t, health.OK)
		require.Len(t, health.Problems, 2)
		for i, c := range []scsguard.Component{scsguard.ComponentStore, scsguard.ComponentAudit} {
			require.Equal(t, c, health.Problems[i].Component)
			require.True(t, start.Equal(health.Problems[i].Since), "since the first failure in a row")
			require.ErrorIs(t, health.Problems[i].Err, errDown)
		}
		store.set(nil, nil, nil)
		a.sink.fail(nil)
		time.Sleep(35 * time.Second) // a load balancer sends nothing here meanwhile
		synctest.Wait()
		require.Equal(t, scsguard.Health{OK: true}, a.guard.Health())
	}, withMemoryRegistry)
}
