package investigate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/scsguard/scsguard"
)

// A History is a session with all of its events, in the order of their numbers. They
// have no Raw.
type History struct {
	Session
	Events []Event
}

// newHistory makes a history of events in any order. What was retracted counts
// for nothing but its number.
func newHistory(id string, events []Event) *History {
	h := &History{Events: events}
	h.ID = id
	slices.SortFunc(h.Events, func(a, b Event) int {
		if c := cmp.Compare(order(&a), order(&b)); c != 0 {
			return c
		}
		return byTime(a, b)
	})
	retracted := h.retracted()
	for i := range h.Events {
		e := &h.Events[i]
		if retracted.has(e) && !e.begins() {
			h.count(e.SessionSeq, e.Time)
			h.Session.Events++
			if e.Kind == scsguard.EventExtend {
				h.Extends++ // finish takes it back
			}
			continue
		}
		h.add(e)
	}
	h.finish()
	return h
}

// order puts events without a number, such as a failed proof, at the end, where
// their time decides.
func order(e *Event) uint64 {
	if e.SessionSeq == 0 {
		return 1 << 63
	}
	return e.SessionSeq
}

// holes returns the times between which numbers of the session are missing.
func (h *History) holes() []Doubt {
	var list []Doubt
	var before *Event
	for i := range h.Events {
		e := &h.Events[i]
		if e.SessionSeq == 0 {
			continue
		}
		first, from := uint64(1), time.Time{}
		var refs []Ref
		if before != nil {
			first, from, refs = before.SessionSeq+1, before.Time, append(refs, before.Ref)
		}
		if e.SessionSeq > first {
			to := e.Time
			if to.Before(from) {
				from, to = to, from
			}
			list = append(list, Doubt{Kind: DoubtSequence, From: from, To: to, Stream: e.Ref.Stream,
				Detail: missingText(first, e.SessionSeq-1), Refs: append(refs, e.Ref)})
		}
		if before == nil || e.SessionSeq >= before.SessionSeq {
			before = e
		}
	}
	return list
}

// around returns the last event up to a moment that shows the session alive, and
// the first one after it.
func (h *History) around(at time.Time) (before, after *Event) {
	retracted := h.retracted()
	for i := range h.Events {
		e := &h.Events[i]
		if !e.lives() || retracted.has(e) {
			continue
		}
		switch {
		case !e.Time.After(at):
			if before == nil || !e.Time.Before(before.Time) {
				before = e
			}
		case after == nil || e.Time.Before(after.Time):
			after = e
		}
	}
	return before, after
}

// retracted are the events that were taken back, by ID and kind.
type retracted map[[2]string]bool

func (r retracted) add(e *Event) {
	if e.retracts != "" {
		r[[2]string{e.retracts, string(e.Kind)}] = true
	}
}

func (r retracted) has(e *Event) bool { return r[[2]string{e.ID, string(e.Kind)}] }

func (h *History) retracted() retracted {
	all := make(retracted)
	for i := range h.Events {
		all.add(&h.Events[i])
	}
	return all
}

// missingText names numbers that are not there.
func missingText(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("event %d of the session is missing", first)
	}
	return fmt.Sprintf("events %d to %d of the session are missing", first, last)
}
