package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/investigate"
)

// What a page can hold, so that a browser can still show it.
const (
	maxPictured   = 1000   // sessions; above it the page aggregates
	maxUsers      = 20     // with a picture, when it aggregates
	maxOfUser     = 200    // sessions in the picture of such a user
	maxListed     = 10_000 // sessions in the list
	maxUserRows   = 1000   // users in the list
	maxDoubtLines = 20
	maxKinds      = 200 // of events that are counted by name
)

// maxRecords is how many records of the pictures it holds. A variable for tests.
var maxRecords = 50_000

const otherKinds scsguard.EventKind = "(others)"

// reporter is what a report is asked about.
type reporter struct {
	user     string
	from, to time.Time
}

// reportPage is what the page shows.
type reportPage struct {
	Made, By, User string
	Asked          bool // for a period
	From, To       time.Time
	State          string // good, bad or open
	Trails         []reportTrail
	Beside         string
	Doubts         []investigate.Doubt
	MoreDoubts     int
	Counts         []reportCount
	Total          int // sessions
	Aggregated     bool
	Chart          *chart
	People         []*reportUser // all, or those who fit
	MorePeople     int
	Users          []*reportUser // with a picture
	Sessions       []reportSession
	MoreSessions   int
	LeftOut        int // records
	Limits         map[string]int
}

type reportTrail struct {
	Dir, State, Integrity, Completeness string
	Records                             int64
	Damage, Notes                       []string
}

type reportCount struct {
	Label string
	N     int
	Look  bool // somebody should look at it
}

// reportUser is a user and what is shown of him.
type reportUser struct {
	Number     int
	Name       string
	Sessions   int
	AtOnce     int
	Extends    int
	Look       int // records that somebody should look at
	First      time.Time
	Last       time.Time
	listed     []*investigate.Listed
	Records    []reportRecord
	Picture    *picture
	Incomplete int // sessions of which something is missing
}

type reportSession struct {
	*investigate.Listed
	Start  time.Time
	Lasted time.Duration
}

// reportRecord is a record in the table under a picture.
type reportRecord struct {
	Number int
	Event  investigate.Event
	Text   string
}

// gather reads the trail once, or twice if it has more records than a page can hold:
// what sessions there were and what is counted, then the records that are shown.
func (r *reporter) gather(ctx context.Context, trail *investigate.Trail) (*reportPage, error) {
	var list []investigate.Listed
	var answer investigate.Answer
	t := &tally{user: r.user, from: r.from, to: r.to}
	for _, err := range trail.Together(ctx,
		investigate.Question{Ask: func(trail *investigate.Trail) (err error) {
			list, answer, err = trail.Sessions(ctx, investigate.Filter{User: r.user, From: r.from, To: r.to})
			return err
		}},
		investigate.Question{Ask: func(trail *investigate.Trail) error { return trail.Collect(ctx, t.collect) }},
	) {
		if err != nil {
			return nil, err
		}
	}
	p := &reportPage{Made: stamp(time.Now()), By: whoAsks(), User: r.user, Asked: !r.from.IsZero() || !r.to.IsZero(),
		State: stateOf(health(trail, "")), Total: len(list), Aggregated: len(list) > maxPictured,
		Limits: map[string]int{"pictured": maxPictured, "users": maxUsers, "ofUser": maxOfUser}}
	p.trails(trail)
	p.span(r, trail, list)
	for _, d := range answer.Doubts {
		if d.Kind != investigate.DoubtEnd { // that it ends where it ends, the span says
			p.Doubts = append(p.Doubts, d)
		}
	}
	people := p.group(list)
	if err := t.exact(ctx, trail, p, people); err != nil {
		return nil, err
	}
	t.tell(people)
	p.countKinds(t)
	p.choose(people)
	if err := t.show(ctx, trail, p); err != nil {
		return nil, err
	}
	if p.Aggregated {
		p.Chart = newChart(list, p.From, p.To)
	}
	for _, u := range p.Users {
		u.Picture = newPicture(u, p)
	}
	if n := len(p.Doubts) - maxDoubtLines; n > 0 {
		p.Doubts, p.MoreDoubts = p.Doubts[:maxDoubtLines], n
	}
	return p, nil
}

func (p *reportPage) trails(trail *investigate.Trail) {
	for _, rep := range trail.Reports {
		f := &finding{rep}
		t := reportTrail{Dir: rep.Dir, Integrity: f.integrity(), Completeness: f.completeness(), Records: rep.Total, Notes: rep.Notes,
			State: map[int]string{exitOK: "good", exitTamper: "bad", exitUnknown: "open"}[rep.ExitCode()]}
		for _, d := range rep.Damage {
			t.Damage = append(t.Damage, d.Error())
		}
		p.Trails = append(p.Trails, t)
	}
}

// span is the time that is shown: what was asked for, or what the trail has.
func (p *reportPage) span(r *reporter, trail *investigate.Trail, list []investigate.Listed) {
	p.From, p.To = trail.Span()
	for i := range list { // the clocks of guard and log may differ
		if start := startOf(&list[i]); !start.IsZero() && start.Before(p.From) {
			p.From = start
		}
		if list[i].Until.After(p.To) {
			p.To = list[i].Until
		}
	}
	if !r.from.IsZero() {
		p.From = r.from
	}
	if !r.to.IsZero() {
		p.To = r.to
	}
	if !p.From.Before(p.To) {
		p.To = p.From.Add(time.Minute)
	}
}

func startOf(l *investigate.Listed) time.Time {
	if l.Begin.IsZero() {
		return l.Created
	}
	return l.Begin
}

// group sums the sessions up by user and fills the lists.
func (p *reportPage) group(list []investigate.Listed) map[string]*reportUser {
	people := make(map[string]*reportUser)
	states := make(map[string]int)
	incomplete := 0
	for i := range list {
		l := &list[i]
		u := people[l.User]
		if u == nil {
			u = &reportUser{Name: l.User}
			people[l.User] = u
		}
		u.listed = append(u.listed, l)
		u.Sessions++
		u.Extends += l.Extends
		if start := startOf(l); u.First.IsZero() || start.Before(u.First) {
			u.First = start
		}
		u.Last = later(u.Last, l.Until)
		states[l.State]++
		if l.Missing > 0 || l.Begin.IsZero() {
			incomplete++
			u.Incomplete++
		}
		if i < maxListed {
			start := startOf(l)
			s := reportSession{Listed: l, Start: start}
			if !start.IsZero() && l.Until.After(start) {
				s.Lasted = l.Until.Sub(start).Round(time.Second)
			}
			p.Sessions = append(p.Sessions, s)
		}
	}
	p.MoreSessions = len(list) - len(p.Sessions)
	together := 0
	for _, u := range people {
		if u.AtOnce = atOnce(u.listed); u.AtOnce > 1 {
			together++
		}
	}
	p.Counts = []reportCount{
		{plural("session", len(list)), len(list), false}, {plural("user", len(people)), len(people), false},
		{plural("user", together) + " with sessions at the same time", together, together > 0},
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		p.Counts = append(p.Counts, reportCount{plural("session", states[state]) + ": " + state, states[state], state == "crash" || state == "past its limit" || state == "unknown"})
	}
	if incomplete > 0 {
		p.Counts = append(p.Counts, reportCount{plural("session", incomplete) + " of which something may be missing", incomplete, true})
	}
	return people
}

// atOnce is how many sessions there were at the same time, at most.
func atOnce(list []*investigate.Listed) int {
	type edge struct {
		at   time.Time
		step int
	}
	var edges []edge
	for _, l := range list {
		if start := startOf(l); !l.Retracted && !start.IsZero() && l.Until.After(start) {
			edges = append(edges, edge{start, 1}, edge{l.Until, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.step, b.step)) })
	now, most := 0, min(1, len(list))
	for _, e := range edges {
		now += e.step
		most = max(most, now)
	}
	return most
}

// alarming reports whether somebody should look at a record.
func alarming(e *investigate.Glance) bool {
	switch e.Kind {
	case scsguard.EventConcurrentWarning, scsguard.EventLoginDenied, scsguard.EventLoginFailed, scsguard.EventTokenReuse,
		scsguard.EventFingerprintMismatch, scsguard.EventDuplicateCookie, scsguard.EventConfigChanged, scsguard.EventGap, scsguard.EventDegraded:
		return true
	}
	return e.Outcome == string(scsguard.OutcomeFailure)
}

func (p *reportPage) countKinds(t *tally) {
	for _, kind := range slices.SortedFunc(maps.Keys(t.kinds), func(a, b scsguard.EventKind) int {
		return cmp.Or(cmp.Compare(min(t.looks[b], 1), min(t.looks[a], 1)), strings.Compare(string(a), string(b)))
	}) {
		p.Counts = append(p.Counts, reportCount{plural("event", t.kinds[kind]) + ": " + string(kind), t.kinds[kind], t.looks[kind] > 0})
	}
}

// choose says who is listed and who gets a picture: everybody, or when that would
// be too much, those with something to look at.
func (p *reportPage) choose(people map[string]*reportUser) {
	all := slices.Collect(maps.Values(people))
	slices.SortFunc(all, func(a, b *reportUser) int {
		if p.Aggregated {
			if c := cmp.Or(cmp.Compare(b.Look, a.Look), cmp.Compare(b.AtOnce, a.AtOnce), cmp.Compare(b.Extends, a.Extends)); c != 0 {
				return c
			}
		}
		return strings.Compare(a.Name, b.Name)
	})
	p.People = all[:min(len(all), maxUserRows)]
	p.MorePeople = len(all) - len(p.People)
	for i, u := range p.People {
		u.Number = i + 1
		if !p.Aggregated || len(p.Users) < maxUsers && (u.Look > 0 || u.AtOnce > 1) && u.Sessions <= maxOfUser {
			p.Users = append(p.Users, u)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
