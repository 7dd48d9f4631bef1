package scsguard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestAU5_5_TheAlternateSinkIsUsedBeforeAnythingIsRefused(t *testing.T) {
	first, second := &sink{}, &sink{}
	bubble(t, func(t *testing.T, a *app) {
		a.browser().login(t, "one")
		require.Empty(t, second.lines)
		require.True(t, a.guard.Health().OK)

		first.fail(errDown)
		from := time.Now()
		b := a.browser()
		b.login(t, "two")
		require.Len(t, second.events(t, scsguard.EventLogin), 1)
		health := a.guard.Health()
		require.False(t, health.OK)
		require.True(t, health.Serving(), "nobody is refused because of it")
		require.Equal(t, scsguard.ComponentAudit, health.Problems[0].Component)
		require.ErrorIs(t, health.Problems[0].Err, errDown)

		second.fail(errDown)
		require.Equal(t, http.StatusServiceUnavailable, a.browser().get("/login?user=nobody").Code, "both fail")
		require.False(t, a.guard.Health().Serving())
		require.Equal(t, 200, b.get("/logout").Code)
		second.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, second.endings(t), 2, "of two, and of the login that was refused")

		first.fail(nil)
		a.browser().login(t, "three")
		synctest.Wait()
		require.True(t, a.guard.Health().OK)
		var heard []string
		for _, e := range first.events(t) {
			heard = append(heard, e.word())
		}
		require.Equal(t, []string{"login one", "audit.gap ", "login three"}, heard, "it is told of what it missed before anything else")
		gap := first.events(t, scsguard.EventGap)[0]
		require.Equal(t, "alternate_sink", gap.str("reason"))
		require.Equal(t, map[string]any{"from": from.UTC().Format("2006-01-02T15:04:05.000000Z"), "to": gap.str("time"), "elsewhere": "4", "cause": errDown.Error()}, gap["details"])
		require.Len(t, second.lines, 4)
	}, func(cfg *scsguard.Config) { cfg.Audit = scsguard.FallbackSink(first, second) })
}

func TestAPrimarySinkThatHangsOrPanicsCostsHalfOfTheTimeOnce(t *testing.T) {
	hung, second := &hungSink{}, &sink{}
	var broken atomic.Bool
	bubble(t, func(t *testing.T, a *app) {
		hung.hang = make(chan struct{}) // of this bubble
		start := time.Now()
		a.browser().login(t, "alice")
		require.LessOrEqual(t, time.Since(start), time.Second)
		start = time.Now()
		for range 10 {
			a.browser().login(t, "alice")
		}
		time.Sleep(2 * time.Second) // it is asked again, and still owes an answer
		a.browser().login(t, "alice")
		require.Equal(t, 2*time.Second, time.Since(start))
		hung.mu.Lock()
		require.Equal(t, 1, hung.pending)
		hung.mu.Unlock()
		require.Len(t, second.events(t, scsguard.EventLogin), 12)

		hung.mu.Lock()
		close(hung.hang)
		hung.hang = nil
		hung.mu.Unlock()
		broken.Store(true)
		time.Sleep(2 * time.Second)
		a.browser().login(t, "bob")
		require.ErrorContains(t, a.guard.Health().Problems[0].Err, "boom")
		broken.Store(false)
		time.Sleep(2 * time.Second)
		a.browser().login(t, "carol")
		require.True(t, a.guard.Health().OK)
		require.Equal(t, "carol", hung.events(t, scsguard.EventLogin)[1].str("user"))
	}, func(cfg *scsguard.Config) {
		cfg.Audit = scsguard.FallbackSink(scsguard.SinkFunc(func(ctx context.Context, records [][]byte) error {
			if broken.Load() {
				panic("boom")
			}
			return hung.Append(ctx, records)
		}), second)
	})
}

// anxiousSink keeps everything and has something to say.
type anxiousSink struct {
	sink
	problem atomic.Pointer[error]
}

func (s *anxiousSink) Problem() error {
	if p := s.problem.Load(); p != nil {
		return *p
	}
	return nil
}

func TestWhatASinkSaysOfItselfIsAWarning(t *testing.T) {
	anxious := &anxiousSink{}
	for name, audit := range map[string]scsguard.Sink{"alone": anxious, "of several": scsguard.MultiSink(&sink{}, anxious), "behind another": scsguard.FallbackSink(&sink{}, anxious)} {
		t.Run(name, func(t *testing.T) {
			anxious.problem.Store(nil)
			bubble(t, func(t *testing.T, a *app) {
				require.True(t, a.guard.Health().OK)
				lag := errors.New("the anchor is 2 min behind")
				anxious.problem.Store(&lag)
				start := time.Now()
				for range 2 {
					health := a.guard.Health()
					require.False(t, health.OK)
					require.True(t, health.Serving())
					require.Len(t, health.Problems, 1)
					require.Equal(t, scsguard.ComponentAudit, health.Problems[0].Component)
					require.ErrorIs(t, health.Problems[0].Err, lag)
					require.Equal(t, start, health.Problems[0].Since)
					a.browser().login(t, "alice")
					time.Sleep(time.Minute)
				}
				anxious.fail(errDown)
				if a.browser().get("/login?user=bob").Code == http.StatusServiceUnavailable { // not behind another
					health := a.guard.Health()
					require.Len(t, health.Problems, 1, "one component, one problem")
					require.False(t, health.Serving())
					require.ErrorIs(t, health.Problems[0].Err, lag)
					require.ErrorIs(t, health.Problems[0].Err, errDown)
				}
				anxious.fail(nil)
				time.Sleep(2 * time.Second)
				anxious.problem.Store(nil)
				require.True(t, a.guard.Health().OK)
			}, func(cfg *scsguard.Config) { cfg.Audit = audit })
		})
	}
}

// fullSink refuses, but for what may use its reserve.
type fullSink struct {
	sink
	low      atomic.Bool
	reserved int
}

func (s *fullSink) Append(ctx context.Context, records [][]byte) error {
	if s.low.Load() {
		return errors.New("too little space is left")
	}
	return s.sink.Append(ctx, records)
}

func (s *fullSink) AppendReserved(ctx context.Context, records [][]byte) error {
	s.mu.Lock()
	s.reserved++
	s.mu.Unlock()
	return s.sink.Append(ctx, records)
}

func TestAU5_TheReserveOfTheSinkIsForWhatTakesAccessAway(t *testing.T) {
	full := &fullSink{}
	for name, audit := range map[string]scsguard.Sink{"alone": full, "of several": scsguard.MultiSink(&sink{}, full), "behind another": scsguard.FallbackSink(&sink{err: errDown}, full)} {
		t.Run(name, func(t *testing.T) {
			full.low.Store(false)
			full.lines, full.reserved = nil, 0
			bubble(t, func(t *testing.T, a *app) {
				b := a.browser()
				session := b.login(t, "alice")
				require.Zero(t, full.reserved)
				full.low.Store(true)
				a.guard.LoginFailed(context.Background(), "eve", "password")
				require.Equal(t, http.StatusServiceUnavailable, a.browser().get("/login?user=bob").Code)
				require.Equal(t, 200, b.get("/logout").Code)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.Equal(t, "user", full.endings(t)[session+"/end"].str("reason"), "in the trail although it refuses everything else")
				require.Empty(t, full.events(t, scsguard.EventLoginFailed))
				require.Len(t, full.events(t, scsguard.EventLogin), 1)
				require.False(t, a.guard.Health().OK)
				full.low.Store(false)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.Len(t, full.events(t, scsguard.EventLoginFailed), 1)
				require.Equal(t, "failure", full.events(t, scsguard.EventLogin)[1].str("outcome"))
				require.Equal(t, name != "behind another", a.guard.Health().OK)
				require.True(t, a.guard.Health().Serving())
				require.Len(t, full.lines, len(unique(full.lines)), "nothing twice")
			}, func(cfg *scsguard.Config) { cfg.Audit = audit })
		})
	}
}

func TestWhatIsAllowedUnrecordedDoesNotUseUpTheReserve(t *testing.T) {
	full := &fullSink{}
	bubble(t, func(t *testing.T, a *app) {
		full.low.Store(true)
		b := a.browser()
		session := b.login(t, "alice")
		require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Empty(t, full.lines)
		require.Equal(t, 200, b.get("/logout").Code)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, full.lines, 1)
		require.Contains(t, full.endings(t), session+"/end")
		full.low.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, full.events(t, scsguard.EventLogin), 1)
	}, allowAndFlag, func(cfg *scsguard.Config) { cfg.Audit = full })
}

// strictSink keeps account of its gaps.
type strictSink struct {
	sink
	gaps []string
}

func (s *strictSink) ReportLoss(from, to time.Time, counts map[string]int64, cause string) {
	s.gaps = append(s.gaps, fmt.Sprint(to.Sub(from), " ", counts, " ", cause))
}

func TestASinkThatKeepsAccountOfGapsIsToldOfThem(t *testing.T) {
	for name, wrap := range map[string]func(scsguard.Sink) scsguard.Sink{
		"alone":      func(s scsguard.Sink) scsguard.Sink { return s },
		"of several": func(s scsguard.Sink) scsguard.Sink { return scsguard.MultiSink(&sink{}, s) },
		"behind":     func(s scsguard.Sink) scsguard.Sink { return scsguard.FallbackSink(&sink{err: errDown}, s) },
	} {
		t.Run(name, func(t *testing.T) {
			strict := &strictSink{}
			bubble(t, func(t *testing.T, a *app) {
				strict.fail(errDown)
				for i := range 7501 {
					a.guard.LoginFailed(context.Background(), fmt.Sprint("u", i), "password")
				}
				time.Sleep(time.Minute)
				strict.fail(nil)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.Len(t, strict.gaps, 1)
				require.Contains(t, strict.gaps[0], "map[login_failed:1]")
				require.Len(t, strict.events(t, scsguard.EventGap), 1, "and its readers are told by an event")
			}, func(cfg *scsguard.Config) { cfg.Audit = wrap(strict) })
		})
	}
	t.Run("what it missed itself", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			strict := &strictSink{}
			s := scsguard.FallbackSink(strict, &sink{})
			strict.fail(errDown)
			for range 3 {
				require.NoError(t, s.Append(context.Background(), [][]byte{[]byte("{}")}))
			}
			strict.fail(nil)
			time.Sleep(time.Second)
			require.NoError(t, s.Append(context.Background(), [][]byte{[]byte("{}")}))
			require.NoError(t, s.Append(context.Background(), [][]byte{[]byte("{}")}))
			require.Equal(t, []string{"1s map[elsewhere:3] given to the alternate sink"}, strict.gaps)
		})
	})
}
