package investigate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
)

// An Exception is something that a person should look at.
type Exception struct {
	Kind    string // "gap", "login_denied", "past its limit", ...
	Time    time.Time
	User    string
	Session string
	Detail  string
	Refs    []Ref
}

// ReviewQuery says what is reviewed.
type ReviewQuery struct {
	From, To time.Time
	// Failures is from how many failed logins of a user on they are an exception.
	// Default 5.
	Failures int
	// Required are the kinds of event that must occur in the period. Nil: the five
	// the trail is for. Empty: none.
	Required []scsguard.EventKind
	// Overdue is how long after its limit a session must have an ending in the
	// trail. Default 10 minutes.
	Overdue time.Duration
}

// silence is how long a trail that is being written may say nothing; its heartbeat
// comes more often.
const silence = time.Hour

// RequiredKinds are the five kinds of event the trail is for.
func RequiredKinds() []scsguard.EventKind {
	return []scsguard.EventKind{scsguard.EventLogin, scsguard.EventLogout, scsguard.EventTimeout, scsguard.EventExtend, scsguard.EventConcurrentWarning}
}

// reviewer goes through a period.
type reviewer struct {
	q        ReviewQuery
	list     []Exception
	lastSeen map[scsguard.EventKind]time.Time
	failures map[string]*Exception
	counts   map[string]int
	sessions map[string]*Session
	more     int // exceptions that were met
}

// Review lists the exceptions of a period: the daily review that PCI DSS 4.0.1
// 10.4.1 asks for, by a machine (10.4.1.1). The answer is Yes if there are none, No
// if there are some, and Unknown with tampering.
func (t *Trail) Review(ctx context.Context, q ReviewQuery) ([]Exception, Answer, error) {
	if q.Failures <= 0 {
		q.Failures = 5
	}
	if q.Required == nil {
		q.Required = RequiredKinds()
	}
	if q.Overdue <= 0 {
		q.Overdue = 10 * time.Minute
	}
	var r *reviewer
	d, err := t.read(ctx, func() query {
		r = &reviewer{q: q, lastSeen: make(map[scsguard.EventKind]time.Time), failures: make(map[string]*Exception),
			counts: make(map[string]int), sessions: make(map[string]*Session)}
		return query{ordered: true, light: r.touch, visit: func(e *Event) error { r.see(e); return nil },
			kept: func() int { return len(r.sessions) + len(r.list) }}
	})
	if err != nil {
		return nil, Answer{}, err
	}
	if q.To.IsZero() {
		r.q.To = d.last
	}
	r.missing(d)
	if !t.Complete() && d.last.Add(silence).Before(r.q.To) {
		r.list = append(r.list, Exception{Kind: "end", Time: d.last, Detail: "the trail ends with " + stamp(d.last) + ", and nobody knows that this is its end"})
	}
	if n := r.more - maxExceptions; n > 0 {
		r.list = append(r.list, Exception{Kind: "more", Time: r.q.To, Detail: fmt.Sprintf("%d more that are not listed; choose a shorter period", n)})
	}
	r.overdue(d)
	for user, n := range r.counts {
		if x := r.failures[user]; n >= q.Failures {
			x.Detail = fmt.Sprintf("%d failed logins", n)
			r.list = append(r.list, *x)
		}
	}
	r.kinds()
	slices.SortStableFunc(r.list, func(a, b Exception) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.User, b.User), cmp.Compare(a.Session, b.Session))
	})
	a := answer(Yes, nil, "nothing out of the ordinary in the period")
	if len(r.list) > 0 {
		what := "exceptions"
		if len(r.list) == 1 {
			what = "exception"
		}
		a = answer(No, nil, "%d %s", len(r.list), what)
	}
	if !t.Intact() {
		a.Verdict, a.Tampering = Unknown, true
		a.Why = "the trail was tampered with; " + a.Why
	}
	return r.list, t.settled(a), nil
}

func (r *reviewer) within(at time.Time) bool {
	return !at.Before(r.q.From) && (r.q.To.IsZero() || !at.After(r.q.To))
}

const (
	maxExceptions = 100_000
	maxFailing    = 100_000 // users with failed logins; visitors make up names
	maxFailures   = 100     // records named of each
)

func (r *reviewer) note(e *Event, kind, format string, args ...any) {
	if r.more++; r.more > maxExceptions {
		return
	}
	r.list = append(r.list, Exception{Kind: kind, Time: e.Time, User: e.User, Session: e.Session,
		Detail: fmt.Sprintf(format, args...), Refs: []Ref{e.Ref}})
}

// touch is see for the raw fields of an event that says nothing but that a session
// was used, within its limits. It reports whether it was one.
func (r *reviewer) touch(f *fields, record *auditlog.Record) bool {
	if !f.isActivity() {
		return false
	}
	at, ok := moment(f.time)
	s := r.sessions[string(plain(f.session))]
	if !ok || s == nil || s.AbsoluteEnd.IsZero() || !at.Before(s.AbsoluteEnd) || !r.q.To.IsZero() && at.After(r.q.To) || !f.touch(s, record) {
		return false
	}
	if at.After(r.lastSeen[scsguard.EventExtend]) {
		r.lastSeen[scsguard.EventExtend] = at
	}
	return true
}

// see takes one event. Sessions are followed from before the period.
func (r *reviewer) see(e *Event) {
	if e.Own || e.unreadable || !r.q.To.IsZero() && e.Time.After(r.q.To) {
		return
	}
	if e.Time.After(r.lastSeen[e.Kind]) && slices.Contains(r.q.Required, e.Kind) {
		r.lastSeen[e.Kind] = e.Time
	}
	if e.Session != "" {
		s := r.sessions[e.Session]
		if s == nil {
			s = &Session{ID: e.Session}
			r.sessions[e.Session] = s
		}
		if limit := s.AbsoluteEnd; r.within(e.Time) && e.lives() && !limit.IsZero() && !e.Time.Before(limit) && e.SessionSeq > s.moved {
			r.note(e, "past its limit", "%s at %s, and its absolute deadline was %s", e.Kind, stamp(e.Time), stamp(limit))
		}
		s.add(e)
	}
	if r.within(e.Time) {
		r.judge(e)
	}
}

func (s *Session) ended() bool { return !s.Over.IsZero() }

func (r *reviewer) judge(e *Event) {
	switch e.Kind {
	case scsguard.EventLoginDenied, scsguard.EventTokenReuse, scsguard.EventFingerprintMismatch,
		scsguard.EventDuplicateCookie, scsguard.EventConfigChanged:
		r.note(e, string(e.Kind), "%s", e.Sentence())
	case scsguard.EventDegraded:
		r.note(e, string(e.Kind), "access was granted before the trail had it")
	case scsguard.EventRevoke:
		if e.Details["whose"] == "everyone" {
			r.note(e, "revoke everyone", "%s", e.Sentence())
		}
	case scsguard.EventLoginFailed:
		n := 1
		if more := number([]byte(e.Details["count"])); more > 1 {
			n = int(more)
		}
		user := e.User
		if r.failures[user] == nil && len(r.failures) >= maxFailing {
			user = fmt.Sprintf("any of more than %d users", maxFailing)
		}
		x := r.failures[user]
		if x == nil {
			x = &Exception{Kind: "login_failed", Time: e.Time, User: user}
			r.failures[user] = x
		}
		if len(x.Refs) < maxFailures {
			x.Refs = append(x.Refs, e.Ref)
		}
		r.counts[user] += n
	case scsguard.EventExtend:
		if e.succeeded() && e.Reason != "reauth" && !e.AbsoluteOld.IsZero() && e.AbsoluteEnd.After(e.AbsoluteOld) {
			r.note(e, "deadline moved", "the absolute deadline moved from %s to %s without a re-authentication", stamp(e.AbsoluteOld), stamp(e.AbsoluteEnd))
		}
	}
	if e.retracts != "" {
		r.note(e, "retracted", "%s could not be completed (%s)", e.Kind, e.Reason)
	}
}

// missing adds what the trail lacks in the period.
func (r *reviewer) missing(d *doubts) {
	for i := range d.list {
		x := &d.list[i]
		if x.Kind == DoubtEnd || x.Kind == DoubtLive || !x.Tampering() && !x.overlaps(r.q.From, r.q.To) ||
			x.Kind == DoubtCrash && x.From.Before(r.q.From) {
			continue
		}
		r.list = append(r.list, Exception{Kind: string(x.Kind), Time: x.From, Detail: x.Detail, Refs: x.Refs})
	}
}

// overdue adds the sessions that should have ended, and those of which events
// are missing.
func (r *reviewer) overdue(d *doubts) {
	for _, s := range r.sessions {
		s.finish()
		if at := later(s.Last, s.Noticed); s.Missing > 0 && r.within(at) {
			ref := cmp.Or(s.BeginRef, s.LastRef, s.EndRef)
			r.list = append(r.list, Exception{Kind: "sequence", Time: at, User: s.User, Session: s.ID,
				Detail: fmt.Sprintf("%d of the session's events are missing", s.Missing), Refs: []Ref{ref}})
		}
		if s.Begin.IsZero() || s.Retracted || s.ended() {
			continue
		}
		if limit := s.latestLimit(); limit.Add(r.q.Overdue).Before(earlier(r.q.To, d.last)) && r.within(limit) {
			r.list = append(r.list, Exception{Kind: "no ending", Time: limit, User: s.User, Session: s.ID,
				Detail: "its limit was " + stamp(limit) + ", and the trail has no ending of it", Refs: []Ref{s.LastRef}})
		}
	}
}

// kinds adds the kinds of event that did not occur.
func (r *reviewer) kinds() {
	var missing []string
	for _, kind := range r.q.Required {
		if at := r.lastSeen[kind]; at.IsZero() {
			missing = append(missing, fmt.Sprintf("%s: never seen", kind))
		} else if at.Before(r.q.From) {
			missing = append(missing, fmt.Sprintf("%s: last seen %s", kind, stamp(at)))
		}
	}
	n := len(r.q.Required) - len(missing)
	for _, text := range missing {
		r.list = append(r.list, Exception{Kind: "missing kind", Time: r.q.To,
			Detail: fmt.Sprintf("%d of %d required event types; %s", n, len(r.q.Required), text)})
	}
}
