package investigate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/scsguard/scsguard"
)

// Active answers whether a session was alive at a moment.
func (t *Trail) Active(ctx context.Context, session string, at time.Time) (Answer, error) {
	h, d, err := t.history(ctx, session)
	if err != nil {
		return Answer{}, err
	}
	return t.settled(d.active(h, at.Truncate(time.Microsecond))), nil
}

// ActiveOf answers whether a user had a session at a moment, and returns the
// sessions with an answer for each that is not no.
func (t *Trail) ActiveOf(ctx context.Context, user string, at time.Time) (Answer, []Life, error) {
	all, d, err := t.histories(ctx, func(f *fields) bool { return string(plain(f.user)) == user })
	if err != nil {
		return Answer{}, nil, err
	}
	at = at.Truncate(time.Microsecond)
	var lives []Life
	var sum Answer
	for _, h := range all {
		a := d.active(h, at)
		if a.Verdict == No {
			continue
		}
		lives = append(lives, Life{h, a})
		if a.Verdict > sum.Verdict || len(lives) == 1 {
			sum = a
			sum.Why = h.ID + ": " + a.Why
		}
	}
	if len(lives) == 0 {
		sum = answer(No, nil, "none of the %d sessions of %q in the trail was alive at %s", len(all), user, stamp(at)).doubted(d.hiding(at))
	}
	return t.settled(sum), lives, nil
}

// A Life is a session and whether it was alive at the moment asked about.
type Life struct {
	*History
	Answer Answer
}

// history reads one session.
func (t *Trail) history(ctx context.Context, session string) (*History, *doubts, error) {
	all, d, err := t.histories(ctx, func(f *fields) bool { return string(plain(f.session)) == session })
	if err != nil {
		return nil, nil, err
	}
	for _, h := range all {
		if h.ID == session {
			return h, d, nil
		}
	}
	return newHistory(session, nil), d, nil
}

// histories reads the sessions that some events belong to, in the order of their
// first event. Their events must all be wanted.
func (t *Trail) histories(ctx context.Context, want func(*fields) bool) ([]*History, *doubts, error) {
	var events map[string][]Event
	d, err := t.read(ctx, func() query {
		events = make(map[string][]Event)
		n := 0
		return query{want: want, visit: func(e *Event) error {
			if e.Own || e.Session == "" {
				return nil
			}
			keep := *e
			keep.Raw = nil
			events[e.Session] = append(events[e.Session], keep)
			n++
			return tooMany(n)
		}, kept: func() int { return n }}
	})
	if err != nil {
		return nil, nil, err
	}
	list := make([]*History, 0, len(events))
	for name := range events {
		list = append(list, newHistory(name, events[name]))
	}
	slices.SortFunc(list, func(a, b *History) int { return cmp.Or(a.first().Compare(b.first()), cmp.Compare(a.ID, b.ID)) })
	return list, d, nil
}

// maxEvents is how many events a question keeps at most, in some hundred megabytes.
// A variable for tests.
var maxEvents = 1_000_000

// tooMany refuses what would need all memory that there is.
func tooMany(n int) error {
	if n > maxEvents {
		return fmt.Errorf("investigate: the question is about more than %d events; ask about one session, one user or a shorter time", maxEvents)
	}
	return nil
}

// active is the heart of the package: what a history and the doubts about the
// trail say about one moment.
func (d *doubts) active(h *History, at time.Time) Answer {
	if len(h.Events) == 0 {
		return answer(No, nil, "the trail has no record of a session %q", h.ID).doubted(d.hiding(at))
	}
	if a, sure := h.outside(at); sure {
		return a
	}
	if list := append(d.within(at, at), h.doubtsAt(at)...); len(list) > 0 {
		return answer(Yes, h.rests(at), "").doubted(list)
	}
	if h.Begin.IsZero() {
		return answer(Yes, h.rests(at), "").doubted([]Doubt{{Kind: DoubtSequence, To: h.first(), Detail: "the trail does not have the login of this session"}})
	}
	before, after := h.around(at)
	switch {
	case !h.Over.IsZero():
		return answer(Yes, h.rests(at), "it was alive from %s until %s (%s)", stamp(h.Begin), stamp(h.Over), h.State(time.Time{}, false))
	case after != nil:
		return answer(Yes, h.rests(at), "it was alive at %s and still at %s", stamp(before.Time), stamp(after.Time))
	}
	// The trail has nothing of it after the moment asked about. What was lost since
	// its last event could have ended or prolonged it.
	if list := d.since(h.Last, at); len(list) > 0 {
		return answer(Yes, h.rests(at), "").doubted(list)
	}
	switch limit, latest := h.limit(), h.latestLimit(); {
	case !at.Before(latest):
		return answer(No, h.rests(at), "its limit was %s, and nothing moved it", stamp(latest))
	case !at.Before(limit):
		return answer(Yes, h.rests(at), "").doubted([]Doubt{{Kind: DoubtRenewal, From: limit, To: latest,
			Detail: "the session got a new token at " + stamp(h.renewedAt) + ", which counts as activity or not, and has no ending"}})
	}
	return answer(Yes, h.rests(at), "it was alive at %s, its limit was %s, and it had not ended", stamp(h.Last), stamp(h.limit()))
}

// outside answers for a moment before the session began or after it was over,
// which nothing that is missing could change.
func (h *History) outside(at time.Time) (a Answer, sure bool) {
	switch {
	case h.Retracted:
		if e := h.used(); e != nil {
			return answer(Yes, []Ref{h.BeginRef}, "").doubted([]Doubt{{Kind: DoubtSequence, Refs: []Ref{e.Ref},
				Detail: "its login was retracted, and yet it was used at " + stamp(e.Time)}}), true
		}
		return answer(No, []Ref{h.BeginRef}, "its login was retracted: it could not be completed, and nobody ever had this session"), true
	case !h.Over.IsZero() && !at.Before(h.Over.Add(h.ClockDifference)):
		return answer(No, []Ref{h.EndRef}, "it was over at %s: %s", stamp(h.Over), h.State(time.Time{}, false)), true
	case h.Enrolled && at.Before(h.Begin):
		return answer(Yes, []Ref{h.BeginRef}, "").doubted([]Doubt{{Kind: DoubtSequence, To: h.Begin,
			Detail: "the session was enrolled at " + stamp(h.Begin) + "; before that the guard did not know it"}}), true
	case !h.Begin.IsZero() && at.Before(h.Begin.Add(-h.ClockDifference)):
		return answer(No, []Ref{h.BeginRef}, "it began at %s", stamp(h.Begin)), true
	}
	return Answer{}, false
}

// used returns an event of a session that nobody can ever have had: the first that only
// its user could have caused.
func (h *History) used() *Event {
	retracted := h.retracted()
	for i := range h.Events {
		switch e := &h.Events[i]; e.Kind {
		case scsguard.EventExtend, scsguard.EventRenew, scsguard.EventReauth, scsguard.EventPrivilegeChange:
			if e.succeeded() && !retracted.has(e) {
				return e
			}
		}
	}
	return nil
}

// doubtsAt are the doubts about a moment that come from the session itself.
func (h *History) doubtsAt(at time.Time) []Doubt {
	var list []Doubt
	for _, x := range h.holes() {
		if x.overlaps(at, at) {
			list = append(list, x)
		}
	}
	if skew := h.ClockDifference; skew > 0 {
		for _, edge := range []time.Time{h.Begin, h.Over} {
			if !edge.IsZero() && !at.Before(edge.Add(-skew)) && at.Before(edge.Add(skew)) {
				list = append(list, Doubt{Kind: DoubtClock, From: edge.Add(-skew), To: edge.Add(skew),
					Detail: fmt.Sprintf("the clocks of the hosts that wrote of this session differ by %v", skew)})
			}
		}
	}
	return list
}

// rests are the records from which it follows how the session was at a moment.
func (h *History) rests(at time.Time) []Ref {
	var list []Ref
	add := func(r Ref) {
		if r != (Ref{}) && !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	add(h.BeginRef)
	before, after := h.around(at)
	if before != nil {
		add(before.Ref)
	}
	if after != nil {
		add(after.Ref)
	}
	add(h.EndRef)
	return list
}

// first is the time of the first event that is there.
func (h *History) first() time.Time {
	first := h.Events[0].Time
	for i := range h.Events {
		if h.Events[i].Time.Before(first) {
			first = h.Events[i].Time
		}
	}
	return first
}

// since returns the doubts of which something may have happened to a session
// after its last event and until at.
func (d *doubts) since(last, at time.Time) []Doubt { return d.within(last, at) }

// verdict is that of active, for those who ask about many moments.
func (d *doubts) verdict(h *History, at time.Time) Verdict {
	if len(h.Events) > 0 && d.any(at, at) {
		if a, sure := h.outside(at); sure {
			return a.Verdict
		}
		return Unknown
	}
	return d.active(h, at).Verdict
}

// hiding returns the doubts of which a whole session may be hidden that was alive
// at a moment. One that was hidden earlier than any session lives has ended since,
// and its ending would be there.
func (d *doubts) hiding(at time.Time) []Doubt {
	var list []Doubt
	if !d.first.IsZero() && at.Before(d.first) {
		list = append(list, Doubt{Kind: DoubtEnd, To: d.first, Detail: "the trail begins with " + stamp(d.first)})
	}
	return append(list, d.within(at.Add(-d.longest), at)...)
}
