package investigate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whether there is a doubt about a time is looked up; that it is there can be seen.
func TestADoubtIsFoundWhereverItIs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var d doubts
		for range rng.IntN(8) {
			x := Doubt{From: at(float64(rng.IntN(30)))}
			if rng.IntN(10) > 0 {
				x.To = at(float64(rng.IntN(30)))
			}
			if rng.IntN(10) == 0 {
				x.From = time.Time{}
			}
			d.add(x)
		}
		for from := range 31 {
			for _, to := range []int{from, from + 1, rng.IntN(31)} {
				want := slices.ContainsFunc(d.list, func(x Doubt) bool { return x.overlaps(at(float64(from)), at(float64(to))) })
				require.Equal(t, want, d.any(at(float64(from)), at(float64(to))), "%d to %d: %v", from, to, d.list)
				require.Equal(t, want, len(d.within(at(float64(from)), at(float64(to)))) > 0)
			}
		}
	}
}

// gaps is a trail of sessions at the same time, in which thousands of gaps are told of.
func gaps(t *testing.T, sessions, n int) *hand {
	h := newHand(t)
	log := h.stream()
	var batch [][]byte
	for i := range n {
		batch = append(batch, fmt.Appendf(nil, `{"id":"G%d","time":%s,"event":"audit.gap","outcome":"failure","details":{"from":%s,"to":%s,"lost.extend":"3"}}`,
			i, quoted(30), quoted(20+float64(i%50)/10), quoted(25)))
	}
	for s := range sessions {
		name := fmt.Sprint("S", s)
		batch = append(batch, []byte(h.login(name, float64(s)/10)))
		for i := range 8 {
			batch = append(batch, []byte(h.extend(name, i+2, float64(s)/10+float64(i)*5, "activity")))
		}
		if s%2 == 0 {
			batch = append(batch, []byte(h.logout(name, 10, 41)))
		}
	}
	batch = append(batch, []byte(h.login("late", 23)), []byte(h.login("short", 15)), []byte(h.logout("short", 2, 22)))
	require.NoError(t, log.Append(context.Background(), batch))
	require.NoError(t, log.Close())
	return h
}

// The verdict for one of many moments is the answer, without its reasons.
func TestTheVerdictIsThatOfTheAnswer(t *testing.T) {
	trail, err := Open(Options{AllowUnanchored: true}, gaps(t, 5, 20).source())
	require.NoError(t, err)
	all, d, err := trail.histories(context.Background(), func(*fields) bool { return true })
	require.NoError(t, err)
	verdicts := make(map[Verdict]int)
	for _, h := range all {
		for minute := -10.0; minute < 70; minute += 0.25 {
			v := d.verdict(h, at(minute))
			require.Equal(t, d.active(h, at(minute)).Verdict, v, "%s at %v", h.ID, minute)
			verdicts[v]++
		}
	}
	require.Len(t, verdicts, 3)
}

// Thousands of gaps, and as many sessions at the same time as there are pairs listed,
// took hours.
func TestManyDoubtsAboutManySessionsAreBounded(t *testing.T) {
	trail, err := Open(Options{AllowUnanchored: true}, gaps(t, 40, 4000).source())
	require.NoError(t, err)
	answer, lives, err := trail.ActiveOf(context.Background(), "alice", at(24))
	require.NoError(t, err)
	require.Equal(t, Unknown, answer.Verdict)
	require.Contains(t, answer.Why, "(and 3279 more)")
	require.Len(t, lives, 41)
	for _, l := range lives {
		require.Len(t, l.Answer.Doubts, maxReasons)
	}
	require.LessOrEqual(t, len(answer.Rests), 3*maxReasons)
	pairs, answer, err := trail.Concurrent(context.Background(), ConcurrentQuery{User: "alice", From: at(20), To: at(25)})
	require.NoError(t, err)
	require.NotEmpty(t, pairs)
	require.NotEqual(t, No, answer.Verdict)
}
