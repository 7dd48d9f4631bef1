package investigate

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/internal/trailgen"
)

// Random histories through the real guard, by several of them at once. For every
// session and many moments the answer of the trail is compared with the registry
// at that moment; then the trail is cut or damaged, and the answer must be the
// truth or unknown.
//
// SCSGUARD_HISTORIES=10000 plays that many, SCSGUARD_SEED=<seed> one.
func TestActiveIsTheTruthOrUnknown(t *testing.T) {
	n, first := 80, uint64(1) // make histories plays thousands
	if more, err := strconv.Atoi(os.Getenv("SCSGUARD_HISTORIES")); err == nil {
		n, first = more, rand.Uint64()>>1
	}
	if seed, err := strconv.ParseUint(os.Getenv("SCSGUARD_SEED"), 10, 64); err == nil {
		n, first = 1, seed
	}
	var sum tally
	for i := range n {
		playHistory(t, first+uint64(i), &sum)
		if t.Failed() {
			t.Fatalf("seed %d", first+uint64(i))
		}
	}
	t.Logf("%d histories, first seed %d: %+v", n, first, sum)
	// An oracle that says unknown to everything is never wrong either.
	require.Greater(t, sum.Sure, 20*sum.Unsure, "a whole trail answers")
	require.Greater(t, sum.DamagedSure, sum.DamagedUnsure/20, "a damaged trail answers as far as it goes")
}

// tally counts answers.
type tally struct {
	Sessions, Yes, No          int
	Sure, Unsure               int
	DamagedSure, DamagedUnsure int
}

// moment is the truth at some time: which sessions are alive.
type truth struct {
	at    time.Time
	alive map[string]string // session to user
}

func playHistory(t *testing.T, seed uint64, sum *tally) {
	rng := rand.New(rand.NewPCG(seed, 1))
	hosts := 1 + rng.IntN(3)
	managers := trailgen.Managers(hosts)
	dir := memoryDir(t)
	defer os.RemoveAll(dir)
	cfg := trailgen.Config{Dir: filepath.Join(dir, "trail"), Anchor: filepath.Join(dir, "anchor"),
		Timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: time.Duration(1+rng.IntN(3)) * time.Hour},
		Limit:    scsguard.Limit{Max: 1 + rng.IntN(3), OnExceed: []scsguard.OnExceed{scsguard.Warn, scsguard.Deny, scsguard.EvictOldest}[rng.IntN(3)]},
	}
	outages := rng.IntN(4) == 0
	if outages && rng.IntN(2) == 0 {
		cfg.Change = func(c *scsguard.Config) { c.OnAuditDown = scsguard.AuditAllowAndFlag }
	} else if rng.IntN(3) == 0 {
		cfg.Change = func(c *scsguard.Config) { // a policy that becomes stricter in the middle
			half := time.Now().Add(time.Hour)
			c.Policy = func(context.Context, scsguard.Subject) scsguard.Policy {
				if time.Now().After(half) {
					return scsguard.Policy{Timeouts: scsguard.Timeouts{Idle: 5 * time.Minute, Absolute: 40 * time.Minute}}
				}
				return scsguard.Policy{}
			}
		}
	}
	var truths []truth
	copied := filepath.Join(dir, "copied")
	synctest.Test(t, func(t *testing.T) {
		w, err := trailgen.New(cfg, managers)
		require.NoError(t, err)
		a := trailgen.NewActor(w, rng, 2, 4)
		a.Outages = outages
		look := func() {
			synctest.Wait()
			now := truth{time.Now(), make(map[string]string)}
			for _, user := range a.Users {
				for id := range w.Alive(user) {
					now.alive[id] = user
				}
			}
			truths = append(truths, now)
		}
		steps := 20 + rng.IntN(40)
		cut := rng.IntN(steps)
		for i := range steps {
			a.Step()
			look()
			a.Pause(4 * time.Minute)
			look()
			if rng.IntN(8) == 0 {
				a.Pause(40 * time.Minute)
				look()
			}
			time.Sleep(time.Microsecond) // of one microsecond the trail tells one thing
			if i == cut {
				require.NoError(t, os.CopyFS(copied, os.DirFS(cfg.Dir)))
			}
		}
		for _, h := range w.Hosts {
			h.Broken.Set(false)
		}
		require.NoError(t, w.Close())
	})

	anchor := auditlog.FileAnchor(cfg.Anchor)
	check := func(what, dir string, whole bool, anchors ...auditlog.Anchor) {
		verify := auditlog.VerifyOptions{Keys: []string{trailgen.VerifierKey()}, Anchors: anchors}
		opts := Options{AllowUnanchored: len(anchors) == 0}
		rep, err := auditlog.Verify(context.Background(), dir, verify)
		require.NoError(t, err)
		trail, err := New(opts, rep)
		require.NoError(t, err)
		what = fmt.Sprintf("seed %d, %s", seed, what)
		onePass(t, trail, func() *Trail {
			trail, err := Open(opts, Source{dir, verify})
			require.NoError(t, err)
			return trail
		}, what)
		compare(t, trail, truths, whole, sum, what)
		for range 2 {
			compareUser(t, trail, truths[rng.IntN(len(truths))], fmt.Sprintf("user%d", 1+rng.IntN(2)), what)
		}
	}
	check("whole", cfg.Dir, true, anchor)
	check("copied in the middle", copied, false)
	for range 2 {
		damaged := filepath.Join(dir, "damaged")
		require.NoError(t, os.CopyFS(damaged, os.DirFS(cfg.Dir)))
		what, gone := damage(t, rng, damaged)
		if gone {
			check(what, damaged, false, anchor)
		} else {
			check(what, damaged, false)
			check(what+", anchored", damaged, false, anchor)
		}
		require.NoError(t, os.RemoveAll(damaged))
	}
}

// memoryDir is a directory in memory, where there is one: a trail syncs its
// directories, and nothing here is about disks.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "scsguard")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// damage does something to a trail that must not go unnoticed. gone means that
// only an anchor can tell.
func damage(t *testing.T, rng *rand.Rand, dir string) (what string, gone bool) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	require.NoError(t, err)
	name := files[rng.IntN(len(files))]
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	lines := bytes.SplitAfter(b, []byte("\n"))
	i := rng.IntN(len(lines) - 1)
	switch rng.IntN(6) {
	case 0:
		what, b = "cut off at a byte", b[:rng.IntN(len(b))]
	case 1:
		what, b = "cut off at a line", bytes.Join(lines[:i], nil)
	case 2:
		what, b = "a line removed", bytes.Join(append(append([][]byte(nil), lines[:i]...), lines[i+1:]...), nil)
	case 3:
		what, b[rng.IntN(len(b))] = "a byte changed", byte('a'+rng.IntN(26))
	case 4:
		what, b = "a line twice", bytes.Join(append(append([][]byte(nil), lines[:i+1]...), lines[i:]...), nil)
	case 5:
		require.NoError(t, os.RemoveAll(filepath.Dir(name)))
		return "a stream removed", true
	}
	require.NoError(t, os.WriteFile(name, b, 0o600))
	return what, false
}

// compare asks for every session at every moment.
func compare(t *testing.T, trail *Trail, truths []truth, whole bool, sum *tally, what string) {
	all, d, err := trail.histories(context.Background(), nil)
	require.NoError(t, err)
	byID := make(map[string]*History)
	for _, h := range all {
		byID[h.ID] = h
	}
	for _, now := range truths {
		for id := range now.alive {
			if byID[id] == nil {
				byID[id] = newHistory(id, nil)
			}
		}
	}
	if whole {
		sum.Sessions += len(all)
		list, _, err := trail.Sessions(context.Background(), Filter{})
		require.NoError(t, err)
		require.Len(t, list, len(all))
		for _, l := range list { // the list is made without keeping the events
			h := byID[l.ID]
			require.Equal(t, []any{h.Begin, h.Over, h.IdleExpires, h.AbsoluteEnd, h.Last, h.Missing, h.Retracted},
				[]any{l.Begin, l.Over, l.IdleExpires, l.AbsoluteEnd, l.Last, l.Missing, l.Retracted}, "%s, session %s\n%s", what, l.ID, tell(h))
		}
	}
	for id, h := range byID {
		for _, now := range truths {
			a := trail.settled(d.active(h, now.at))
			if a.Verdict != Unknown && (a.Verdict == Yes) != (now.alive[id] != "") {
				t.Errorf("%s: session %s at %s: %v (%s), but the truth is %v\n%s", what, id, stamp(now.at), a.Verdict, a.Why, now.alive[id] != "", tell(h))
				return
			}
			switch {
			case !whole && a.Verdict == Unknown:
				sum.DamagedUnsure++
			case !whole:
				sum.DamagedSure++
			case a.Verdict == Unknown:
				sum.Unsure++
			default:
				sum.Sure++
				if a.Verdict == Yes {
					sum.Yes++
				} else {
					sum.No++
				}
			}
		}
	}
}

// onePass demands that a trail that is verified while it is asked says what it says
// when it is verified first.
func onePass(t *testing.T, trail *Trail, open func() *Trail, what string) {
	type outcome struct {
		what   any
		answer Answer
	}
	ctx := context.Background()
	questions := map[string]func(*Trail) (any, Answer, error){
		"sessions": func(t *Trail) (any, Answer, error) { list, a, err := t.Sessions(ctx, Filter{}); return list, a, err },
		"active": func(t *Trail) (any, Answer, error) {
			a, lives, err := t.ActiveOf(ctx, "user1", time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC))
			return lives, a, err
		},
		"concurrent": func(t *Trail) (any, Answer, error) {
			list, a, err := t.Concurrent(ctx, ConcurrentQuery{User: "user2"})
			return list, a, err
		},
		"review": func(t *Trail) (any, Answer, error) { list, a, err := t.Review(ctx, ReviewQuery{}); return list, a, err },
		"timeline": func(t *Trail) (any, Answer, error) {
			list, a, err := t.Timeline(ctx, TimelineQuery{Activity: true})
			return list, a, err
		},
		"extensions": func(t *Trail) (any, Answer, error) { // reads twice
			list, _, err := t.Sessions(ctx, Filter{User: "user1"})
			if err != nil || len(list) == 0 {
				return nil, Answer{}, err
			}
			moves, a, err := t.Extensions(ctx, list[0].ID, Rule{})
			return moves, a, err
		},
		"doubts": func(t *Trail) (any, Answer, error) { list, err := t.Doubts(ctx); return list, Answer{}, err },
		"events": func(t *Trail) (any, Answer, error) {
			var ids []string
			err := t.Events(ctx, func(e *Event) error { ids = append(ids, e.ID); return nil })
			return ids, Answer{}, err
		},
	}
	want := make(map[string]outcome)
	for name, ask := range questions {
		x, a, err := ask(trail)
		require.NoError(t, err)
		want[name] = outcome{x, a}
		x, a, err = ask(open())
		require.NoError(t, err)
		require.Equal(t, want[name], outcome{x, a}, "%s, %s", what, name)
	}
	defer func(n int) { maxTogether = n }(maxTogether)
	for _, maxTogether = range []int{maxTogether, 10} {
		got := make(map[string]outcome)
		var list []Question
		for name, ask := range questions { // in any order
			list = append(list, Question{trail.opts.AllowUnanchored, func(trail *Trail) error {
				x, a, err := ask(trail)
				got[name] = outcome{x, a}
				return err
			}})
		}
		for _, err := range open().Together(ctx, list...) {
			require.NoError(t, err)
		}
		for name := range questions {
			require.Equal(t, want[name], got[name], "%s, %s, all together, %d", what, name, maxTogether)
		}
	}
}

// compareUser asks the same of a user, and whether he had two sessions.
func compareUser(t *testing.T, trail *Trail, now truth, user, what string) {
	n := 0
	for _, u := range now.alive {
		if u == user {
			n++
		}
	}
	a, _, err := trail.ActiveOf(context.Background(), user, now.at)
	require.NoError(t, err)
	if a.Verdict != Unknown && (a.Verdict == Yes) != (n > 0) {
		t.Errorf("%s: %s at %s: %v (%s), but the truth is %d sessions", what, user, stamp(now.at), a.Verdict, a.Why, n)
	}
	_, a, err = trail.Concurrent(context.Background(), ConcurrentQuery{User: user, From: now.at, To: now.at.Add(time.Microsecond)})
	require.NoError(t, err)
	if a.Verdict != Unknown && (a.Verdict == Yes) != (n > 1) {
		t.Errorf("%s: concurrent sessions of %s at %s: %v (%s), but the truth is %d sessions", what, user, stamp(now.at), a.Verdict, a.Why, n)
	}
}

func tell(h *History) string {
	var b bytes.Buffer
	for i := range h.Events {
		e := &h.Events[i]
		fmt.Fprintf(&b, "%d %s %s %s %s, idle %s, absolute %s, retracts %q\n", e.SessionSeq, stamp(e.Time), e.Kind, e.Outcome, e.Reason, stamp(e.IdleExpires), stamp(e.AbsoluteEnd), e.retracts)
	}
	return b.String()
}
