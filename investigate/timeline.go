package investigate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scsguard/scsguard"
)

// TimelineQuery chooses events. What is zero chooses all.
type TimelineQuery struct {
	Session, User string
	From, To      time.Time
	Activity      bool // with the events of mere activity
}

// Timeline returns the events of a session or of a user: those of one session in
// the order of their numbers, others by time. The answer is whether there are any.
func (t *Trail) Timeline(ctx context.Context, q TimelineQuery) ([]Event, Answer, error) {
	var list []Event
	d, err := t.read(ctx, func() query {
		list = nil
		return query{want: func(f *fields) bool {
			return (q.Session == "" || string(plain(f.session)) == q.Session) && (q.User == "" || string(plain(f.user)) == q.User)
		}, visit: func(e *Event) error {
			if e.Own || e.Kind == scsguard.EventExtend && e.Reason == "activity" && !q.Activity ||
				!q.From.IsZero() && e.Time.Before(q.From) || !q.To.IsZero() && e.Time.After(q.To) {
				return nil
			}
			keep := *e
			keep.Raw = slices.Clone(e.Raw)
			list = append(list, keep)
			return tooMany(len(list))
		}, kept: func() int { return len(list) }}
	})
	if err != nil {
		return nil, Answer{}, err
	}
	if q.Session != "" {
		list = newHistory(q.Session, list).Events
	} else {
		slices.SortFunc(list, byTime)
	}
	return list, t.settled(d.found(len(list), "event", q.From, q.To)), nil
}

// byTime orders events by their time, and those of one moment as they were sealed.
func byTime(a, b Event) int {
	return cmp.Or(a.Time.Compare(b.Time), a.Sealed.Compare(b.Sealed), cmp.Compare(a.Ref.Stream, b.Ref.Stream), cmp.Compare(a.Ref.Seq, b.Ref.Seq))
}

// Sentence tells the event in plain English.
func (e *Event) Sentence() string {
	var b strings.Builder
	who := e.User
	if who == "" {
		who = "somebody"
	}
	b.WriteString(who)
	if e.Actor != "" && !e.ends() {
		fmt.Fprintf(&b, " (by %s)", e.Actor)
	}
	failed := !e.succeeded()
	switch e.Kind {
	case scsguard.EventLogin:
		b.WriteString(either(failed, " could not be logged in", " logged in"))
	case scsguard.EventEnroll:
		b.WriteString(either(failed, "'s session could not be taken over", "'s session of before is under the guard from now on"))
	case scsguard.EventLogout:
		b.WriteString("'s session ended")
	case scsguard.EventTimeout:
		b.WriteString("'s session timed out")
	case scsguard.EventExtend:
		b.WriteString(either(failed, "'s session was not extended after all", "'s deadlines moved"))
	case scsguard.EventConcurrentWarning:
		fmt.Fprintf(&b, " has %d sessions at the same time", e.Concurrent)
	case scsguard.EventLoginDenied:
		b.WriteString(" was refused a login")
	case scsguard.EventLoginFailed:
		b.WriteString(" failed to log in")
	case scsguard.EventRenew:
		b.WriteString(either(failed, "'s session did not get a new token", "'s session got a new token"))
	case scsguard.EventPrivilegeChange:
		fmt.Fprintf(&b, "'s role changed from %q to %q", e.Details["from"], e.Details["to"])
	case scsguard.EventReauth:
		b.WriteString(either(failed, " could not prove again who he is", " proved again who he is"))
	case scsguard.EventTokenReuse:
		b.WriteString("'s old token was used again")
	case scsguard.EventFingerprintMismatch:
		b.WriteString("'s session was used from another device or network")
	case scsguard.EventDuplicateCookie:
		b.WriteString(": several session cookies in one request")
	case scsguard.EventRevoke:
		fmt.Fprintf(&b, "'s sessions were ended: %s", e.Details["count"])
	default:
		fmt.Fprintf(&b, ": %s", e.Kind)
		if failed {
			b.WriteString(" (failed)")
		}
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, " (%s)", e.Reason)
	}
	if e.Actor != "" && e.ends() {
		fmt.Fprintf(&b, " by %s", e.Actor)
	}
	if e.IP != "" && e.IPSource != "" {
		fmt.Fprintf(&b, " from %s", e.IP)
	}
	if e.Transaction != "" {
		fmt.Fprintf(&b, ", transaction %s", e.Transaction)
	}
	return b.String()
}

func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
