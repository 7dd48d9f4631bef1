package scsguard_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestOfTwoSinksTheOneThatHangsKeepsNoRecordFromTheOther(t *testing.T) {
	hung, good := &hungSink{}, &sink{}
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		session := b.login(t, "alice")
		hung.mu.Lock()
		hung.hang = make(chan struct{})
		hung.mu.Unlock()
		require.Equal(t, 200, b.get("/logout").Code)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Contains(t, good.endings(t), session+"/end", "before the other's time is up")
		require.Equal(t, http.StatusServiceUnavailable, a.browser().get("/login?user=bob").Code, "but both have to keep what grants access")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.False(t, a.guard.Health().OK)
		hung.mu.Lock()
		close(hung.hang)
		hung.hang = nil
		hung.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.True(t, a.guard.Health().OK)
		for _, s := range []*sink{good, &hung.sink} {
			require.Contains(t, s.endings(t), session+"/end")
			require.Len(t, s.lines, len(unique(s.lines)), "and neither of them twice")
		}
		require.Len(t, good.endings(t), len(hung.endings(t)))
	}, func(cfg *scsguard.Config) { cfg.Audit = scsguard.MultiSink(hung, good) })
}

func unique(list []string) map[string]bool {
	set := make(map[string]bool)
	for _, s := range list {
		set[s] = true
	}
	return set
}

func TestAMultiSinkHasItsRecordsKeptOnceAndForgetsThemInTime(t *testing.T) {
	ctx := context.Background()
	good, bad := &sink{}, &sink{err: errDown}
	m := scsguard.MultiSink(good, bad)
	record := func(i int) [][]byte { return [][]byte{[]byte(fmt.Sprint(i))} }
	const bound = 11_000 // what a guard keeps to repeat it
	for i := range bound + 1 {
		require.Error(t, m.Append(ctx, record(i)))
	}
	require.Len(t, good.lines, bound+1)
	require.Error(t, m.Append(ctx, record(bound)))
	require.Error(t, m.Append(ctx, record(1)))
	require.Len(t, good.lines, bound+1, "they were kept already")
	require.Error(t, m.Append(ctx, record(0)))
	require.Len(t, good.lines, bound+2, "memory is bounded")
}

func TestAMultiSinkOfNoneSaysThatItKeepsNothing(t *testing.T) {
	require.ErrorContains(t, scsguard.MultiSink().Append(context.Background(), [][]byte{[]byte("{}")}), "Discard")
}

// lazyWriter writes less than it was given and says nothing.
type lazyWriter struct {
	bytes.Buffer
	most int
}

func (w *lazyWriter) Write(p []byte) (int, error) { return w.Buffer.Write(p[:min(len(p), w.most)]) }

func TestAWriterThatWritesLessThanItWasGivenHasFailed(t *testing.T) {
	w := &lazyWriter{most: 4}
	s := scsguard.NewWriterSink(w)
	require.ErrorIs(t, s.Append(context.Background(), [][]byte{[]byte(`{"a":1}`)}), io.ErrShortWrite)
	w.most = 0
	require.ErrorIs(t, s.Append(context.Background(), [][]byte{[]byte(`{"a":1}`)}), io.ErrShortWrite)
	w.most = 100
	require.NoError(t, s.Append(context.Background(), [][]byte{[]byte(`{"a":1}`)}))
	require.NoError(t, s.Append(context.Background(), [][]byte{[]byte(`{"b":2}`)}))
	require.Equal(t, "{\"a\"\n{\"a\":1}\n{\"b\":2}\n", w.String(), "a torn line is ended, also after an attempt that wrote nothing")
}

func TestAWriterSinkWhoseTimeIsUpWritesNothing(t *testing.T) {
	var b bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, scsguard.NewWriterSink(&b).Append(ctx, [][]byte{[]byte("{}")}), context.Canceled)
	require.Empty(t, b.String(), "its caller has given up, and may have told somebody so")
}

func TestHealthSaysWhichSinkDoesNotAnswer(t *testing.T) {
	hung := &hungSink{}
	bubble(t, func(t *testing.T, a *app) {
		hung.hang = make(chan struct{}) // of this bubble
		require.Equal(t, http.StatusServiceUnavailable, a.browser().get("/login?user=bob").Code)
		problems := a.guard.Health().Problems
		require.Len(t, problems, 1)
		require.ErrorContains(t, problems[0].Err, "sink 2")
		close(hung.hang)
	}, func(cfg *scsguard.Config) { cfg.Audit = scsguard.MultiSink(&sink{}, hung) })
}
