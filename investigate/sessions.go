package investigate

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/scsguard/scsguard/auditlog"
)

// A Filter chooses sessions. What is zero chooses all.
type Filter struct {
	User    string
	Session string
	// From and To choose the sessions that were alive, or may have been, at some
	// time between them.
	From, To time.Time
	// Network chooses those that began there.
	Network netip.Prefix
}

// Listed is a session in a list.
type Listed struct {
	*Session
	// State says how it ended, or what else became of it, in a word.
	State string
	// Until is when it was over; or, without an ending, the last moment at which
	// anything shows it alive.
	Until time.Time
	// Certain says that nothing of it is missing.
	Certain bool
}

// Sessions lists sessions by their beginning, like last(1): who, from where, from
// when to when, and how it ended. It reads the trail once and keeps a few hundred
// bytes of each session. The answer is whether there are any.
func (t *Trail) Sessions(ctx context.Context, filter Filter) ([]Listed, Answer, error) {
	var sessions map[string]*Session
	d, err := t.read(ctx, func() query {
		sessions = make(map[string]*Session)
		return query{want: func(f *fields) bool {
			return len(f.session) > 2 && (filter.User == "" || string(plain(f.user)) == filter.User) &&
				(filter.Session == "" || string(plain(f.session)) == filter.Session)
		}, light: func(f *fields, r *auditlog.Record) bool {
			return f.isActivity() && f.touch(sessions[string(plain(f.session))], r)
		}, visit: func(e *Event) error {
			if e.Own || e.Session == "" {
				return nil
			}
			s := sessions[e.Session]
			if s == nil {
				s = &Session{ID: e.Session}
				sessions[e.Session] = s
			}
			s.add(e)
			return nil
		}, kept: func() int { return len(sessions) }}
	})
	if err != nil {
		return nil, Answer{}, err
	}
	list := make([]Listed, 0, len(sessions))
	for _, s := range sessions {
		s.finish()
		if l := d.listed(s); filter.takes(&l) {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b Listed) int {
		return cmp.Or(a.start().Compare(b.start()), cmp.Compare(a.ID, b.ID))
	})
	return list, t.settled(d.found(len(list), "session", filter.From, filter.To)), nil
}

// isActivity reports whether the event says nothing but that a session was used.
func (f *fields) isActivity() bool {
	return string(f.kind) == `"extend"` && string(f.reason) == `"activity"` && string(f.outcome) == `"success"` && len(f.details) == 0 &&
		len(f.methods) == 0 && len(f.aal) == 0
}

// touch is Session.touch for raw fields. It reports whether they can be read.
func (f *fields) touch(s *Session, r *auditlog.Record) bool {
	if s == nil || s.Begin.IsZero() { // then it may say more than that
		return false
	}
	at, ok := moment(f.time)
	idle, ok2 := moment(f.idle)
	absolute, ok3 := moment(f.absolute)
	seq := number(f.seq)
	if !ok || !ok2 || !ok3 || at.IsZero() || idle.IsZero() || seq <= 0 {
		return false
	}
	s.touch(Ref{r.Stream, r.Seq, r.Leaf}, uint64(seq), at, idle, absolute)
	return true
}

func (d *doubts) listed(s *Session) Listed {
	l := Listed{Session: s, State: s.State(d.last, d.crashed(s)), Until: s.Over, Certain: s.Missing == 0 && !s.Begin.IsZero()}
	if s.Over.IsZero() {
		l.Until = s.Last
		l.Certain = l.Certain && !d.any(s.Last, d.last)
	}
	return l
}

// crashed reports whether the process that wrote the last event of a session
// ended without an orderly end, and nobody has written of the session since.
func (d *doubts) crashed(s *Session) bool {
	i, ok := d.ended[s.LastRef.Stream]
	return ok && d.list[i].Kind == DoubtCrash && s.Over.IsZero()
}

// found is the answer to the question whether there is something. What was
// tampered with may hide more of it than was found.
func (d *doubts) found(n int, what string, from, to time.Time) Answer {
	if to.IsZero() {
		to = d.last
	}
	list := d.within(from, to)
	if n == 0 {
		return answer(No, nil, "there is no %s", what).doubted(list)
	}
	if n > 1 {
		what += "s"
	}
	a := answer(Yes, nil, "%d %s", n, what)
	for i := range list {
		if list[i].Tampering() {
			found := a.Why
			a = a.doubted(list)
			a.Why = found + ", and perhaps more: " + list[i].String()
			return a
		}
	}
	a.Doubts = list
	return a
}

// start is when the session began, as far as is known.
func (s *Session) start() time.Time {
	if s.Begin.IsZero() {
		return s.Created
	}
	return s.Begin
}

func (f *Filter) takes(l *Listed) bool {
	if !f.To.IsZero() && l.start().After(f.To) {
		return false
	}
	if !f.From.IsZero() {
		until := l.Over
		if until.IsZero() {
			until = l.AbsoluteEnd // it may have lived that long
		}
		if until.Before(f.From) {
			return false
		}
	}
	if f.Network.IsValid() {
		a, err := netip.ParseAddr(l.IP)
		return err == nil && f.Network.Contains(a.Unmap().WithZone(""))
	}
	return true
}
