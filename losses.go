package scsguard

import (
	"maps"
	"strconv"
	"time"
)

// rank decides who gives way when the memory for unwritten events fills up: the
// most frequent that says the least goes first, and what an attacker can cause in
// any number never takes the room of what ends or revokes.
type rank int

const (
	rankActivity   rank = iota // that a session was used: half of the room
	rankBestEffort             // denials and failures, which stand anyhow, and what is granted unrecorded: three quarters
	rankRemoval                // endings, revocations and the rest: all of it
)

// maxPosted is how many entries wait without anybody waiting for them.
const maxPosted = 10_000

func (r rank) room() int {
	switch r {
	case rankActivity:
		return maxPosted / 2
	case rankBestEffort:
		return maxPosted / 4 * 3
	}
	return maxPosted
}

// rankOf ranks what one verb wrote, by its most important event.
func rankOf(events []Event) rank {
	most := rankActivity
	for i := range events {
		switch e := &events[i]; e.Kind {
		case EventExtend:
			if e.Reason != extendActivity {
				return rankRemoval // the application or the policy shortened it
			}
		case EventLoginFailed, EventLoginDenied, EventTokenReuse, EventConcurrentWarning, EventDuplicateCookie:
			most = max(most, rankBestEffort)
		default:
			return rankRemoval
		}
	}
	return most
}

// tale counts events by kind while the trail cannot be written, for one event
// that tells of them afterwards.
type tale struct {
	from   time.Time
	cause  error // of the first failed Append since
	counts map[EventKind]int
}

func (t *tale) add(kinds []EventKind, cause error) {
	if len(t.counts) == 0 {
		*t = tale{from: time.Now(), counts: make(map[EventKind]int)}
	}
	if t.cause == nil { // the first Append may not have been given up yet
		t.cause = cause
	}
	for _, k := range kinds {
		t.counts[k]++
	}
}

// tell returns the event, if there is anything to tell, and begins anew.
func (t *tale) tell(kind EventKind, prefix string) (Event, bool) {
	if len(t.counts) == 0 {
		return Event{}, false
	}
	now := time.Now()
	e := Event{ID: newSessionID(), Time: now, Kind: kind, Outcome: OutcomeFailure, Reason: "sink_unavailable"}
	e.detail("from", t.from.UTC().Format(timeLayout))
	e.detail("to", now.UTC().Format(timeLayout))
	if t.cause != nil {
		e.detail("cause", t.cause.Error())
	}
	for k, n := range t.counts {
		e.detail(prefix+string(k), strconv.Itoa(n))
	}
	*t = tale{}
	return e, true
}

// lose counts what there is no room for. t.mu is held.
func (t *trail) lose(p *pending) {
	t.lost.add(p.kinds, t.lastErr)
	if t.counted.Lost == nil {
		t.counted.Lost = make(map[EventKind]uint64)
	}
	for _, k := range p.kinds {
		t.counted.Lost[k]++
	}
}

// postGranted hands over what has been granted although it could not be written.
// It reports whether there was room: what cannot even be remembered is refused.
func (t *trail) postGranted(events []Event, cause error) bool {
	p := newPending(events)
	p.urgent = false
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isStopped() || t.posted >= rankBestEffort.room() {
		return false
	}
	t.unrecorded.add(p.kinds, cause)
	t.counted.Unrecorded += uint64(len(p.kinds))
	t.keep(p)
	return true
}

// confess puts in front of everything else what was lost and what was granted
// unrecorded while the sink was down: it works again. t.mu is held.
func (t *trail) confess() {
	var events []Event
	gap := t.lost
	if e, any := t.lost.tell(EventGap, "lost."); any {
		events = append(events, e)
		gap.report(t.sink, e.Time)
	}
	if e, any := t.unrecorded.tell(EventDegraded, "granted."); any {
		events = append(events, e)
	}
	if len(events) > 0 {
		t.queue = append([]*pending{newPending(events)}, t.queue...)
		t.posted++
	}
}

// report tells a sink that keeps account of gaps itself.
func (t *tale) report(s Sink, to time.Time) {
	r, ok := s.(lossReporter)
	if !ok {
		return
	}
	cause := ""
	if t.cause != nil {
		cause = t.cause.Error()
	}
	counts := make(map[string]int64, len(t.counts))
	for k, n := range t.counts {
		counts[string(k)] = int64(n)
	}
	r.ReportLoss(t.from, to, counts, cause)
}

type lossReporter interface {
	ReportLoss(from, to time.Time, countsByKind map[string]int64, cause string)
}

// Counters are what a guard has counted since New, for a monitoring system.
type Counters struct {
	// Written is the number of events that the sink has kept.
	Written uint64
	// AppendFailures is the number of Appends that failed, repetitions included.
	AppendFailures uint64
	// Lost is the number of events that were dropped, by kind, because too many
	// waited already; an audit.gap tells of them as soon as the sink works again.
	// Nil if there were none.
	Lost map[EventKind]uint64
	// Unrecorded is the number of events that granted access before the sink had
	// kept them, as [AuditAllowAndFlag] allows.
	Unrecorded uint64
	// Waiting is how many events are only in memory at the moment and nobody waits
	// for, and OldestWaiting is when the first of them was handed over; zero if
	// there is none. A process that dies now takes them with it, but for endings,
	// which the registry remembers.
	Waiting       int
	OldestWaiting time.Time
}

// Counters returns what was counted so far, nothing on a nil guard. It calls
// nothing.
func (g *Guard) Counters() Counters {
	if g == nil {
		return Counters{}
	}
	return g.trail.counters()
}

func (t *trail) counters() Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counted
	c.Lost = maps.Clone(c.Lost)
	for _, list := range [][]*pending{t.flight, t.queue} {
		for _, p := range list {
			if p.done != nil || len(p.lines) == 0 {
				continue
			}
			c.Waiting += len(p.lines)
			if c.OldestWaiting.IsZero() || p.since.Before(c.OldestWaiting) {
				c.OldestWaiting = p.since
			}
		}
	}
	return c
}
