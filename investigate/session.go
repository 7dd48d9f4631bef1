package investigate

import (
	"cmp"
	"slices"
	"time"

	"github.com/scsguard/scsguard"
)

// A Session is what the trail tells of one session, in sum.
type Session struct {
	ID   string
	User string
	// Begin is the login, or when a session of before the guard was enrolled. Zero
	// if the trail does not have it; Created is then when it was, if anything says so.
	Begin    time.Time
	Created  time.Time
	Enrolled bool
	// Retracted says that the login did not take place: nobody ever had this session.
	Retracted bool

	// Over is the first moment at which the session was not alive any more, Noticed
	// when its ending was recorded. Both are zero if the trail has no ending.
	Over    time.Time
	Noticed time.Time
	EndKind scsguard.EventKind
	Reason  string // of the ending
	EndedBy string // the actor, if it was not the user himself
	// Successor is the session whose login ended this one.
	Successor string

	// The deadlines as they were last.
	IdleExpires time.Time
	AbsoluteEnd time.Time

	Last      time.Time // of the last event that shows it alive
	LastSeq   uint64
	IP        string // of the login, or of the first event that names one
	UserAgent string
	Actor     string // who is logged in on behalf of the user
	Methods   []string
	AAL       int
	AuthTime  time.Time

	Events  int
	Extends int // deadlines moved because somebody asked, activity not counted
	Touches int // deadlines moved by activity
	Missing int // numbers of its sequence that no event has
	// ClockDifference is the largest step back in time between two events that
	// follow each other by number: the clocks of hosts that wrote of it differ.
	ClockDifference time.Duration

	BeginRef, EndRef, LastRef Ref

	beginID string
	idle    time.Duration // the idle timeout of the login
	moved   uint64        // the number of the event that last set the deadlines
	movedAt int64         // its time, in microseconds
	movedBy string        // and its ID, unless it was mere activity
	movedAs scsguard.EventKind
	seenAt  uint64 // the number of the event that names IP
	proved  uint64 // the number of the event that last named Methods
	// A new token may count as activity; not every event of one names the deadlines.
	renewed   uint64 // the number of the last event of that kind
	renewedAt time.Time
	tightest  time.Time // the last moment at which a limit was made stricter
	numbers   numbers
	takenBack []retraction // until all events are there
}

// retraction is an event that takes another one back, which may come after it.
type retraction struct {
	id             string // of the other
	kind           scsguard.EventKind
	seq            uint64 // which is that of the other, too
	at             time.Time
	ref            Ref
	idle, absolute time.Time // the deadlines before it; zero if it has moved none
}

// add takes an event of the session. Events may come in any order: those with the
// highest number say how things are.
func (s *Session) add(e *Event) {
	s.Events++
	if s.User == "" {
		s.User = e.User
	}
	if e.IPSource != "" && s.Begin.IsZero() && (s.IP == "" || e.SessionSeq < s.seenAt) {
		s.IP, s.UserAgent, s.seenAt = e.IP, e.UserAgent, e.SessionSeq
	}
	if s.Created.IsZero() && !e.Created.IsZero() {
		s.Created = e.Created
	}
	if e.retracts != "" {
		s.retract(e)
		return
	}
	s.count(e.SessionSeq, e.Time)
	switch {
	case e.begins():
		s.begin(e)
	case e.ends():
		s.end(e)
		return
	}
	if !e.lives() {
		return
	}
	if e.Time.After(s.Last) {
		s.Last, s.LastRef = e.Time, e.Ref
	}
	if (e.AAL > 0 || len(e.AuthMethods) > 0) && e.SessionSeq >= s.proved {
		s.Methods, s.AAL, s.AuthTime, s.proved = e.AuthMethods, e.AAL, e.AuthTime, e.SessionSeq
	}
	s.deadlines(e)
}

// count takes the number of an event.
func (s *Session) count(seq uint64, at time.Time) {
	s.ClockDifference = max(s.ClockDifference, s.numbers.add(seq, at))
}

// touch is add for an event that says nothing but that the session was used.
func (s *Session) touch(ref Ref, seq uint64, at, idle, absolute time.Time) {
	s.Events++
	s.Touches++
	s.count(seq, at)
	if at.After(s.Last) {
		s.Last, s.LastRef = at, ref
	}
	s.set(seq, at, idle, absolute, "", scsguard.EventExtend)
}

// set takes the deadlines that an event has set, unless a later one was there
// before. Two events of one moment may share a number.
func (s *Session) set(seq uint64, at, idle, absolute time.Time, id string, kind scsguard.EventKind) bool {
	if seq < s.moved || seq == s.moved && at.UnixMicro() < s.movedAt {
		return false
	}
	s.IdleExpires, s.AbsoluteEnd, s.moved, s.movedAt, s.movedBy, s.movedAs = idle, absolute, seq, at.UnixMicro(), id, kind
	return true
}

func (s *Session) begin(e *Event) {
	if !s.Begin.IsZero() {
		return
	}
	s.Begin, s.BeginRef, s.beginID, s.Enrolled = e.Time, e.Ref, e.ID, e.Kind == scsguard.EventEnroll
	s.IP, s.UserAgent, s.Actor = e.IP, e.UserAgent, e.Actor
	s.idle = e.IdleExpires.Sub(e.Time)
}

// deadlines takes what an event says about them.
func (s *Session) deadlines(e *Event) {
	if e.Kind == scsguard.EventExtend {
		if e.Reason == "activity" {
			s.Touches++
		} else {
			s.Extends++
		}
		if (e.Reason == "policy" || e.Reason == "application") && e.Time.After(s.tightest) {
			s.tightest = e.Time
		}
	}
	switch {
	case !e.IdleExpires.IsZero():
		if !s.set(e.SessionSeq, e.Time, e.IdleExpires, e.AbsoluteEnd, e.ID, e.Kind) {
			return
		}
		if e.Kind == scsguard.EventExtend && e.Reason == "activity" {
			s.movedBy = "" // as touch has it
		}
	case e.Kind == scsguard.EventRenew && e.Reason != "periodic" && e.SessionSeq >= s.renewed:
		s.renewed, s.renewedAt = e.SessionSeq, e.Time
	}
}

// retract takes back an event that did not take place after all. It may not be there
// yet, so finish does it once more.
func (s *Session) retract(e *Event) {
	r := retraction{e.retracts, e.Kind, e.SessionSeq, e.Time, e.Ref, e.IdleOld, e.AbsoluteOld}
	s.takeBack(&r)
	if len(s.takenBack) < maxRuns { // beyond, their numbers are missing
		s.takenBack = append(s.takenBack, r)
	}
}

func (s *Session) takeBack(r *retraction) {
	switch {
	case r.kind == scsguard.EventLogin || r.kind == scsguard.EventEnroll:
		s.Retracted = true
		if s.BeginRef == (Ref{}) {
			s.BeginRef = r.ref
		}
	case r.id == s.movedBy && r.kind == s.movedAs && !r.idle.IsZero(): // mere activity is never retracted
		s.IdleExpires, s.AbsoluteEnd = r.idle, r.absolute
	}
}

// takeAllBack is called when all events are there. A retraction has the number of what
// it takes back, and a time of its own, which may be long after.
func (s *Session) takeAllBack() {
	slices.SortFunc(s.takenBack, func(a, b retraction) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), a.at.Compare(b.at), cmp.Compare(a.id, b.id))
	})
	for i := range s.takenBack {
		r := &s.takenBack[i]
		s.takeBack(r)
		switch {
		case !s.numbers.has(r.seq):
			s.count(r.seq, r.at)
		case r.kind == scsguard.EventExtend:
			s.Extends = max(0, s.Extends-1)
		}
	}
	s.takenBack = nil
}

// end takes the ending. The deadlines in it are those of the registry's record,
// so they tell when the session was over, however late that was noticed.
func (s *Session) end(e *Event) {
	if !s.Over.IsZero() {
		return
	}
	s.Noticed, s.EndRef, s.EndKind, s.Reason, s.EndedBy = e.Time, e.Ref, e.Kind, e.Reason, e.Actor
	if e.Reason == string(scsguard.EndEvicted) || e.Reason == string(scsguard.EndReplaced) || e.Reason == string(scsguard.EndUser) {
		s.Successor = e.Details["detail"]
	}
	s.Over = e.Time
	if !e.IdleExpires.IsZero() {
		s.set(e.SessionSeq, e.Time, e.IdleExpires, e.AbsoluteEnd, e.ID, e.Kind)
	}
	for _, limit := range []time.Time{e.IdleExpires, e.AbsoluteEnd} {
		if !limit.IsZero() && limit.Before(s.Over) {
			s.Over = limit
		}
	}
}

// finish is called when all events were added.
func (s *Session) finish() {
	s.takeAllBack()
	s.Missing, s.LastSeq = s.numbers.missing(), s.numbers.last()
	s.ClockDifference = max(s.ClockDifference, s.numbers.back())
	// A limit that was made stricter may lie before the moment at which that
	// happened: until then the session was alive.
	if !s.Over.IsZero() && s.tightest.After(s.Over) && !s.tightest.After(s.Noticed) {
		s.Over = s.tightest
	}
}

// limit is when the session is over if nothing more happens, as far as the trail
// goes.
func (s *Session) limit() time.Time {
	if s.IdleExpires.Before(s.AbsoluteEnd) {
		return s.IdleExpires
	}
	return s.AbsoluteEnd
}

// latestLimit is limit if a new token counted as activity.
func (s *Session) latestLimit() time.Time {
	limit := s.limit()
	if s.renewed <= s.moved || s.idle <= 0 {
		return limit
	}
	return later(limit, earlier(s.renewedAt.Add(s.idle), s.AbsoluteEnd))
}

// State says how a session ended, or that it has not: a word for people.
func (s *Session) State(trailEnd time.Time, crashed bool) string {
	switch {
	case s.Retracted:
		return "never began"
	case !s.Over.IsZero() && s.Reason != "":
		return string(s.EndKind) + " (" + s.Reason + ")"
	case !s.Over.IsZero():
		return string(s.EndKind)
	case crashed:
		return "crash"
	case s.Last.IsZero():
		return "unknown"
	case !s.latestLimit().After(trailEnd):
		return "past its limit"
	}
	return "alive"
}
