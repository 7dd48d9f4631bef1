package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/investigate"
)

// maxNames is of how many users a tally counts what somebody should look at. Visitors
// make up names. A variable for tests.
var maxNames = 100_000

// tally is what one pass over all events gathers for a report: counts, and the
// records themselves as long as they are few.
type tally struct {
	user     string
	from, to time.Time // zero: all
	known    map[string]*reportUser

	kinds, looks map[scsguard.EventKind]int
	people       map[string]*alarms
	strangers    int       // of them
	first, last  time.Time // of what was counted
	records      []investigate.Event
	many         bool // more records than a page can hold: none are kept
	short        bool // there was no room for all kinds and names; known users have theirs
}

// alarms are the records of a user that somebody should look at.
type alarms struct {
	n           int
	first, last time.Time
	sealed      time.Time // the first of them
	order       int
}

// collect begins anew.
func (t *tally) collect() investigate.Collector {
	*t = tally{user: t.user, from: t.from, to: t.to, known: t.known, kinds: make(map[scsguard.EventKind]int),
		looks: make(map[scsguard.EventKind]int), people: make(map[string]*alarms)}
	return investigate.Collector{Look: t.look, Visit: t.keep, Kept: func() int { return len(t.records) }}
}

// wants reports whether an event is of the period, and of the user if there is one.
func (t *tally) wants(e *investigate.Glance) bool {
	return !e.Own && !e.Time.IsZero() && !e.Time.Before(t.from) && (t.to.IsZero() || !e.Time.After(t.to)) && (t.user == "" || e.User == t.user)
}

func (t *tally) look(e *investigate.Glance) bool {
	if !t.wants(e) {
		return false
	}
	if t.first.IsZero() || e.Time.Before(t.first) {
		t.first = e.Time
	}
	t.last = later(t.last, e.Time)
	kind := e.Kind
	if t.kinds[kind] == 0 && len(t.kinds) >= maxKinds { // an application names its own
		kind, t.short = otherKinds, true
	}
	t.kinds[kind]++
	if alarming(e) {
		t.looks[kind]++
		t.alarm(e)
	}
	return !t.many
}

func (t *tally) alarm(e *investigate.Glance) {
	a := t.people[e.User]
	if a == nil {
		if t.known[e.User] == nil {
			if t.strangers >= maxNames {
				t.short = true
				return
			}
			t.strangers++
		}
		a = &alarms{first: e.Time, sealed: e.Sealed, order: len(t.people)}
		t.people[e.User] = a
	}
	a.n++
	if e.Time.Before(a.first) {
		a.first = e.Time
	}
	a.last = later(a.last, e.Time)
	if e.Sealed.Before(a.sealed) {
		a.sealed = e.Sealed
	}
}

func (t *tally) keep(e *investigate.Event) error {
	if len(t.records) >= maxRecords {
		t.records, t.many = nil, true
		return nil
	}
	keep := *e
	keep.Raw = nil // nothing of it is shown, and it is not valid any longer
	t.records = append(t.records, keep)
	return nil
}

// exact makes a tally exact for a period that was not known when it began. That
// takes another pass if there was something outside of the period, which happens when
// clocks differ, or if there was no room for everything.
func (t *tally) exact(ctx context.Context, trail *investigate.Trail, p *reportPage, people map[string]*reportUser) error {
	if !t.short && (t.first.IsZero() || !t.first.Before(p.From) && !t.last.After(p.To)) {
		return nil
	}
	t.from, t.to, t.known = p.From, p.To, people
	c := t.collect()
	return trail.Glance(ctx, c.Look, c.Visit)
}

// tell tells the users what was counted of them. Those who never came in are listed,
// too, as long as there is room.
func (t *tally) tell(people map[string]*reportUser) {
	names := slices.SortedFunc(maps.Keys(t.people), func(a, b string) int {
		x, y := t.people[a], t.people[b]
		return cmp.Or(x.sealed.Compare(y.sealed), cmp.Compare(x.order, y.order))
	})
	for _, name := range names {
		a := t.people[name]
		if u := people[name]; u != nil {
			u.Look = a.n
		} else if name != "" && len(people) < maxUserRows+maxListed {
			people[name] = &reportUser{Name: name, Look: a.n, First: a.first, Last: a.last}
		}
	}
}

// show gives the records of some users to them. Where they are too many to have been
// kept they are read.
func (t *tally) show(ctx context.Context, trail *investigate.Trail, p *reportPage) error {
	shown := make(map[string]*reportUser)
	for _, u := range p.Users {
		shown[u.Name] = u
	}
	n := 0
	give := func(e *investigate.Event) error {
		u := shown[e.User]
		if u == nil {
			return nil
		}
		if n++; n > maxRecords {
			p.LeftOut++
			return nil
		}
		keep := *e
		keep.Raw = nil
		u.Records = append(u.Records, reportRecord{Event: keep, Text: keep.Sentence()})
		return nil
	}
	var err error
	switch {
	case len(shown) == 0:
	case t.many:
		err = trail.Glance(ctx, func(e *investigate.Glance) bool { return shown[e.User] != nil && t.wants(e) }, give)
	default:
		for i := range t.records {
			_ = give(&t.records[i])
		}
	}
	t.records, n = nil, 0
	for _, u := range p.Users {
		slices.SortStableFunc(u.Records, func(a, b reportRecord) int {
			return cmp.Or(a.Event.Time.Compare(b.Event.Time), a.Event.Sealed.Compare(b.Event.Sealed))
		})
		for i := range u.Records {
			n++
			u.Records[i].Number = n
		}
	}
	return err
}
