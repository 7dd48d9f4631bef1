package investigate

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// several is a trail of three streams with three sessions and a transaction.
func several(t *testing.T) *hand {
	h := newHand(t)
	for i := range 3 {
		session := fmt.Sprint("S", i)
		h.write(h.login(session, float64(10*i)), h.extend(session, 2, float64(10*i)+5, "activity"),
			h.ev("transfer", session, 3, float64(10*i)+6, fmt.Sprintf(`"transaction":"T%d"`, i)), h.logout(session, 4, float64(10*i)+7))
	}
	return h
}

func TestManyQuestionsReadEachByteOnce(t *testing.T) {
	h := several(t)
	ctx := context.Background()
	trail, read := counted(t, h.source())
	answers := make(map[string]Verdict)
	keep := func(name string, a Answer, err error) error { answers[name] = a.Verdict; return err }
	for _, err := range trail.Together(ctx,
		Question{Ask: func(t *Trail) error { a, err := t.Active(ctx, "S1", at(11)); return keep("active", a, err) }},
		Question{Ask: func(t *Trail) error { _, a, err := t.Sessions(ctx, Filter{}); return keep("sessions", a, err) }},
		Question{Ask: func(t *Trail) error { _, a, err := t.Review(ctx, ReviewQuery{}); return keep("review", a, err) }},
		Question{Ask: func(t *Trail) error {
			_, a, err := t.Concurrent(ctx, ConcurrentQuery{User: "alice"})
			return keep("concurrent", a, err)
		}},
		Question{Ask: func(t *Trail) error {
			n := 0
			err := t.Collect(ctx, func() Collector {
				n = 0
				return Collector{Look: func(*Glance) bool { n++; return false }}
			})
			require.Equal(h.t, 18, n, "with opened and closed")
			return err
		}},
		Question{Ask: func(*Trail) error { return nil }},
	) {
		require.NoError(t, err)
	}
	require.Equal(t, map[string]Verdict{"active": Yes, "sessions": Yes, "review": No, "concurrent": No}, answers)
	require.NotZero(t, *read)
	require.True(t, trail.Intact())
}

// What has to be read again is read again for all who need it.
func TestQuestionsThatReadAgainDoSoTogether(t *testing.T) {
	h := several(t)
	ctx := context.Background()
	passes := 0
	trail, err := Open(Options{}, h.source())
	require.NoError(t, err)
	trail.opts.Progress = func(done, total int64) { passes++ }
	ask := func(id string) Question {
		return Question{Ask: func(t *Trail) error {
			list, a, err := t.Transaction(ctx, id)
			if len(list) != 1 || a.Verdict != Yes {
				return fmt.Errorf("%s: %v", id, a)
			}
			return err
		}}
	}
	for _, err := range trail.Together(ctx, ask("T0"), ask("T1"), ask("T2")) {
		require.NoError(t, err)
	}
	require.Equal(t, 3, passes, "one report of progress for each of three streams, once")
}

// A question that fails, or asks for too much, costs the others nothing.
func TestAQuestionThatFailsIsAloneWithThat(t *testing.T) {
	h := several(t)
	ctx := context.Background()
	defer func(n int) { maxEvents = n }(maxEvents)
	maxEvents = 5
	broken := errors.New("broken")
	var list []Listed
	trail, _ := counted(t, h.source())
	errs := trail.Together(ctx,
		Question{Ask: func(t *Trail) error { _, _, err := t.Timeline(ctx, TimelineQuery{}); return err }},
		Question{Ask: func(t *Trail) (err error) { list, _, err = t.Sessions(ctx, Filter{}); return err }},
		Question{Ask: func(*Trail) error { return broken }},
		Question{Ask: func(t *Trail) error {
			return errors.Join(t.Together(ctx, Question{Ask: func(t *Trail) error { _, err := t.Active(ctx, "S1", at(11)); return err }})...)
		}},
	)
	require.ErrorContains(t, errs[0], "more than 5 events")
	require.NoError(t, errs[1])
	require.Len(t, list, 3)
	require.Equal(t, broken, errs[2])
	require.NoError(t, errs[3])

	only, err := Open(Options{}, h.source())
	require.NoError(t, err)
	errs = only.Together(ctx, Question{Ask: func(t *Trail) error { _, _, err := t.Timeline(ctx, TimelineQuery{}); return err }})
	require.ErrorContains(t, errs[0], "more than 5 events")
	require.False(t, only.Intact(), "nobody has verified it to its end")
	require.True(t, only.Unanchored())
	require.False(t, only.Complete())
}

// Without an anchor it is the question that decides whether it is answered.
func TestEachQuestionSaysWhetherItNeedsAnAnchor(t *testing.T) {
	h := several(t)
	source := h.source()
	source.Options.Anchors = nil
	trail, err := Open(Options{}, source)
	require.NoError(t, err)
	var verdicts [2]Verdict
	ask := func(i int) func(*Trail) error {
		return func(trail *Trail) error { verdicts[i] = h.alive(trail, "S1", 11).Verdict; return nil }
	}
	trail.Together(context.Background(), Question{true, ask(0)}, Question{false, ask(1)})
	require.Equal(t, [2]Verdict{Yes, Unknown}, verdicts)
}

// Whoever was asked last waits, so that questions together cost no more than one.
func TestQuestionsTogetherKeepNoMoreThanOneAlone(t *testing.T) {
	h := newHand(t)
	log := h.stream()
	for i := range 10 {
		var batch [][]byte
		for n := range 500 {
			batch = append(batch, []byte(h.login(fmt.Sprint("S", i, "-", n), float64(i))))
		}
		require.NoError(t, log.Append(context.Background(), batch))
	}
	require.NoError(t, log.Close())
	defer func(n int) { maxTogether = n }(maxTogether)
	maxTogether = 1500
	trail, err := Open(Options{AllowUnanchored: true}, h.source())
	require.NoError(t, err)
	ctx := context.Background()
	kept, most, begun := [3]int{}, 0, 0
	ask := func(i int) Question {
		return Question{Ask: func(trail *Trail) error {
			err := trail.Collect(ctx, func() Collector {
				kept[i] = 0
				begun++
				return Collector{Look: func(g *Glance) bool {
					kept[i]++
					most = max(most, kept[0]+kept[1]+kept[2])
					return false
				}, Kept: func() int { return kept[i] }}
			})
			require.Equal(t, 5002, kept[i])
			kept[i] = 0 // it is over
			return err
		}}
	}
	for _, err := range trail.Together(ctx, ask(0), ask(1), ask(2)) {
		require.NoError(t, err)
	}
	require.LessOrEqual(t, most, 5002+2*1024, "one alone may keep more than all together")
	require.Equal(t, 3+2+2+1+1, begun, "first together, then those that were left, one by one")
}
