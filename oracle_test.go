package scsguard_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Random histories of several browsers, whose handlers make several calls in one
// request, fail at named calls of the store, the registry and the trail, and
// overlap. What is to hold afterwards is in oracle_check_test.go.
//
// SCSGUARD_ORACLE=long plays new ones until shortly before -timeout,
// SCSGUARD_ORACLE=<duration> for that long, and SCSGUARD_SEED=<seed> plays one. A
// history that fails is made as short as possible first.
func TestOracleOfRandomHistories(t *testing.T) {
	if seed, err := strconv.ParseUint(os.Getenv("SCSGUARD_SEED"), 10, 64); err == nil {
		playSeed(t, seed)
		return
	}
	mode, played, requests := os.Getenv("SCSGUARD_ORACLE"), 0, 0
	if mode == "" {
		for seed := range uint64(oracleSeeds) {
			requests += playSeed(t, seed+1)
		}
		t.Logf("%d histories, %d requests", oracleSeeds, requests)
		return
	}
	first, until := rand.Uint64()>>1, longUntil(t, mode)
	for ; time.Now().Before(until) && !t.Failed(); played++ {
		requests += playSeed(t, first+uint64(played))
	}
	t.Logf("%d histories, %d requests, the first seed %d", played, requests, first)
}

// oracleSeeds is how many histories are played each time.
const oracleSeeds = 40

func longUntil(t *testing.T, mode string) time.Time {
	if d, err := time.ParseDuration(mode); err == nil {
		return time.Now().Add(d)
	}
	if end, ok := t.Deadline(); ok {
		return end.Add(-10 * time.Second)
	}
	return time.Now().Add(time.Minute)
}

// playSeed plays the history of a seed and returns how many requests it made.
func playSeed(t *testing.T, seed uint64) (requests int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	setup, story := newOracleSetup(rng), newStory(rng)
	o := playStory(t, setup, story)
	if o.violation == "" {
		return o.requests
	}
	story = shrink(t, setup, story, kindOf(o.violation))
	o = playStory(t, setup, story)
	t.Errorf("seed %d, %s: %s\n%s", seed, setup, o.violation, strings.Join(o.log, "\n"))
	return o.requests
}

// kindOf returns what a violation has in common with others of its kind.
func kindOf(violation string) string {
	kind, _, _ := strings.Cut(violation, ":")
	return kind
}

// shrink removes steps and calls for as long as the story fails in the same way.
func shrink(t *testing.T, setup oracleSetup, story []oracleStep, kind string) []oracleStep {
	t.Helper()
	fails := func(s []oracleStep) bool {
		return len(s) > 0 && kindOf(playStory(t, setup, s).violation) == kind
	}
	for size := len(story) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(story); {
			if shorter := append(append([]oracleStep(nil), story[:i]...), story[i+size:]...); fails(shorter) {
				story = shorter
			} else {
				i++
			}
		}
	}
	for i := range story {
		for j := 0; j < len(story[i].calls); {
			shorter := append([]oracleStep(nil), story...)
			calls := story[i].calls
			shorter[i].calls = append(append([]oracleCall(nil), calls[:j]...), calls[j+1:]...)
			if fails(shorter) {
				story = shorter
			} else {
				j++
			}
		}
	}
	return story
}

// oracleStep is one step of a history: a request of a browser, or something else.
type oracleStep struct {
	kind    string // request, release, wait, sweep, settle
	browser int
	calls   []oracleCall
	d       time.Duration
}

// oracleCall is one call of a handler.
type oracleCall struct {
	kind   string
	user   string
	n      int // a variant, or another browser
	d      time.Duration
	names  []string     // what fails from here on
	nested []oracleCall // what another browser does before the next call of names[0]
}

func (c oracleCall) String() string {
	switch c.kind {
	case "break":
		return "break " + strings.Join(c.names, ", ")
	case "hook":
		return fmt.Sprintf("before %s: browser %d %v", c.names[0], c.n, c.nested)
	case "deadline":
		return fmt.Sprintf("SetDeadline(%v)", c.d)
	}
	return fmt.Sprintf("%s(%s %d)", c.kind, c.user, c.n)
}

var oracleUsers = []string{"alice", "bob"}

const oracleBrowsers = 4

// newStory invents a history.
func newStory(rng *rand.Rand) []oracleStep {
	story := make([]oracleStep, 0, 60)
	wild := rng.IntN(3) // 0: one thing at a time; 1: failures; 2: overlaps, too
	for range 20 + rng.IntN(40) {
		switch n := rng.IntN(20); {
		case n < 13:
			story = append(story, oracleStep{kind: "request", browser: rng.IntN(oracleBrowsers), calls: newCalls(rng, wild)})
		case n < 15 && wild == 2:
			story = append(story, oracleStep{kind: "release", browser: rng.IntN(oracleBrowsers)})
		case n < 17:
			story = append(story, oracleStep{kind: "wait", d: newWait(rng)})
		case n < 18:
			story = append(story, oracleStep{kind: "sweep"})
		default:
			story = append(story, oracleStep{kind: "settle"})
		}
	}
	return story
}

func newWait(rng *rand.Rand) time.Duration {
	switch rng.IntN(4) {
	case 0:
		return time.Duration(rng.Int64N(int64(12 * time.Second)))
	case 1:
		return time.Duration(rng.Int64N(int64(30 * time.Minute)))
	}
	return time.Duration(rng.Int64N(int64(5 * time.Minute)))
}

func newCalls(rng *rand.Rand, wild int) []oracleCall {
	var calls []oracleCall
	broken := false
	for range 1 + rng.IntN(4) {
		switch n := rng.IntN(12); {
		case wild > 0 && n == 0:
			calls = append(calls, oracleCall{kind: "break", names: newNames(rng)})
			broken = true
		case broken && n < 4:
			calls = append(calls, oracleCall{kind: "heal"})
			broken = false
		case wild == 2 && n == 4:
			calls = append(calls, oracleCall{kind: "pause"})
		case wild == 2 && n == 5:
			calls = append(calls, oracleCall{kind: "hook", names: newNames(rng)[:1], n: rng.IntN(oracleBrowsers), nested: []oracleCall{newCall(rng)}})
		}
		if rng.IntN(4) == 0 {
			calls = append(calls, newPlain(rng)...)
		} else {
			calls = append(calls, newCall(rng))
		}
	}
	if broken && rng.IntN(2) == 0 {
		calls = append(calls, oracleCall{kind: "heal"})
	}
	if rng.IntN(15) == 0 {
		calls = append(calls, oracleCall{kind: "panic"})
	}
	return calls
}

// newPlain is what a handler does that has never heard of the guard. Only
// Config.UserID makes something of it.
func newPlain(rng *rand.Rand) []oracleCall {
	user := oracleCall{kind: "user", user: oracleUsers[rng.IntN(len(oracleUsers))]}
	renew, destroy, remove := oracleCall{kind: "RenewToken"}, oracleCall{kind: "Destroy"}, oracleCall{kind: "user"}
	ways := [][]oracleCall{
		{renew, user}, {renew, user}, {user}, {destroy, user}, {{kind: "Clear"}, renew, user}, {renew, user, {kind: "Commit"}}, {user, {kind: "Commit"}},
		{destroy}, {remove}, {renew, remove}, {remove, renew}, {{kind: "Clear"}},
	}
	return ways[rng.IntN(len(ways))]
}

func newNames(rng *rand.Rand) []string {
	all := []string{"find", "commit", "delete", "get", "admit", "settle", "touch", "detach", "move", "end", "end all", "trail"}
	names := []string{all[rng.IntN(len(all))]}
	for rng.IntN(3) == 0 {
		names = append(names, all[rng.IntN(len(all))])
	}
	return names
}

var oracleKinds = []string{
	"Login", "Login", "Login", "Login", "Login", "Logout", "Elevate", "Elevate", "Drop", "Reauthenticated", "Reauthenticated", "Extend", "Record",
	"EndOthers", "EndAll", "EndAll", "End", "RenewToken", "RenewToken", "RenewToken", "Destroy", "Clear", "MergeSession", "MergeSession", "deadline",
	"Put", "Put", "Put", "Pop", "Get", "Commit", "write", "flush", "Sessions",
}

func newCall(rng *rand.Rand) oracleCall {
	c := oracleCall{kind: oracleKinds[rng.IntN(len(oracleKinds))], n: rng.IntN(oracleBrowsers)}
	switch c.kind {
	case "Login", "EndAll", "End":
		c.user = oracleUsers[rng.IntN(len(oracleUsers))]
	case "deadline":
		c.d = []time.Duration{-time.Minute, time.Duration(rng.Int64N(int64(time.Hour))), 100 * time.Hour}[rng.IntN(3)]
	}
	return c
}
