package investigate

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A Pair is two sessions of one user that were alive at the same time, or may have
// been.
type Pair struct {
	A, B     *History // A began first
	From, To time.Time
	// Sure says that both were alive at some moment for certain.
	Verdict Verdict
	// UnusualA and UnusualB say why the address of that session is unusual for the
	// user; empty if it is not.
	UnusualA, UnusualB string
}

// Unusual reports whether either of the two began at an unusual address.
func (p *Pair) Unusual() bool { return p.UnusualA != "" || p.UnusualB != "" }

// ConcurrentQuery says what is looked for.
type ConcurrentQuery struct {
	User     string
	From, To time.Time // zero: the whole trail
	// UnusualOnly asks for pairs of which one began at an unusual address.
	UnusualOnly bool
	Rule        Rule
}

// Concurrent answers whether a user had two sessions at the same time. A session
// and the one whose login ended it do not count.
func (t *Trail) Concurrent(ctx context.Context, q ConcurrentQuery) ([]Pair, Answer, error) {
	rule := q.Rule.withDefaults()
	all, d, err := t.histories(ctx, func(f *fields) bool { return string(plain(f.user)) == q.User })
	if err != nil {
		return nil, Answer{}, err
	}
	var seen []sighting
	for _, h := range all {
		for i := range h.Events {
			if s, ok := rule.sighting(&h.Events[i]); ok {
				seen = append(seen, s)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *History) int { return a.start().Compare(b.start()) })
	why := make(map[*History]string)
	unusual := func(h *History) string {
		if _, ok := why[h]; !ok {
			why[h] = rule.unusual(h, seen)
		}
		return why[h]
	}
	var pairs []Pair
	for i, a := range all {
		until := a.latest(d)
		for _, b := range all[i+1:] {
			if !b.start().Before(until) || len(pairs) == maxPairs {
				break // nor do those that began later
			}
			p, ok := d.pair(a, b, q.From, q.To)
			if !ok {
				continue
			}
			p.UnusualA, p.UnusualB = unusual(a), unusual(b)
			if !q.UnusualOnly || p.Unusual() {
				pairs = append(pairs, p)
			}
		}
	}
	return pairs, t.settled(d.pairs(pairs, q)), nil
}

// maxPairs is how many pairs are listed at most; n sessions make n² of them.
const maxPairs = 10_000

// succession is how long a session may outlive the login that took its place, until
// its ending is recorded.
const succession = 10 * time.Second

// pairs is the answer for the pairs that were found.
func (d *doubts) pairs(pairs []Pair, q ConcurrentQuery) Answer {
	what := "two sessions at the same time"
	if q.UnusualOnly {
		what += ", one of them from an unusual address"
	}
	for _, p := range pairs {
		if p.Verdict != Yes {
			continue
		}
		a := answer(Yes, append(p.A.rests(p.From), p.B.rests(p.From)...), "%q had %s: %s and %s from %s to %s",
			q.User, what, p.A.ID, p.B.ID, stamp(p.From), stamp(p.To))
		for _, why := range []string{p.UnusualA, p.UnusualB} {
			if why != "" {
				a.Why += "; " + why
			}
		}
		return a
	}
	from, to := q.From, q.To
	if to.IsZero() {
		to = d.last
	}
	list := d.within(from, to)
	for _, p := range pairs {
		list = append(list, Doubt{Kind: DoubtSequence, From: p.From, To: p.To,
			Detail: fmt.Sprintf("sessions %s and %s may have been alive at the same time", p.A.ID, p.B.ID)})
	}
	return answer(No, nil, "%q did not have %s", q.User, what).doubted(list)
}

// pair finds a moment at which both sessions were alive.
func (d *doubts) pair(a, b *History, from, to time.Time) (Pair, bool) {
	began, ended := later(a.start(), b.start()), earlier(a.latest(d), b.latest(d))
	succeeds := (a.Successor == b.ID || b.Successor == a.ID) && ended.Sub(began) <= succession
	if a.Retracted || b.Retracted || succeeds {
		return Pair{}, false
	}
	p := Pair{A: a, B: b, From: later(began, from), To: ended, Verdict: No}
	if !to.IsZero() {
		p.To = earlier(p.To, to)
	}
	if !p.From.Before(p.To) {
		return Pair{}, false
	}
	moments := []time.Time{p.From, p.From.Add(p.To.Sub(p.From) / 2), p.To.Add(-time.Microsecond)}
	for _, h := range []*History{a, b} {
		for i := range h.Events {
			if at := h.Events[i].Time; at.After(p.From) && at.Before(p.To) && len(moments) < 1000 {
				moments = append(moments, at)
			}
		}
	}
	for _, at := range moments {
		at = at.Truncate(time.Microsecond)
		one, two := d.verdict(a, at), d.verdict(b, at)
		switch {
		case one == Yes && two == Yes:
			p.Verdict = Yes
			return p, true
		case one != No && two != No:
			p.Verdict = Unknown
		}
	}
	return p, p.Verdict == Unknown
}

// latest is until when the session may have been alive.
func (h *History) latest(d *doubts) time.Time {
	switch {
	case !h.Over.IsZero():
		return h.Over
	case d.any(h.Last, h.latestLimit()):
		return later(h.AbsoluteEnd, h.Last)
	}
	return later(h.latestLimit(), h.Last)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
