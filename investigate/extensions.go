package investigate

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/scsguard/scsguard"
)

// A Movement is an event that set a deadline of a session, from its login on.
type Movement struct {
	*Event
	IdleBefore, AbsoluteBefore time.Time // as the trail knew them; zero at the login
	// Flags say what is wrong with it; empty if nothing is.
	Flags []string
	// Retracted says that it did not take place after all.
	Retracted bool
}

// Activity reports whether nobody asked for it: the session was used.
func (m *Movement) Activity() bool { return m.Kind == scsguard.EventExtend && m.Reason == "activity" }

// Extensions returns every movement of a deadline of a session, and answers
// whether there is one that should not have been: an absolute deadline that moved
// without a re-authentication, an extension of a session that was over, one from
// another network than the last authentication, one whose old deadline is not the
// one that the trail knows.
func (t *Trail) Extensions(ctx context.Context, session string, rule Rule) ([]Movement, Answer, error) {
	h, d, err := t.history(ctx, session)
	if err != nil {
		return nil, Answer{}, err
	}
	if len(h.Events) == 0 {
		return nil, t.settled(answer(No, nil, "the trail has no record of a session %q", session).doubted(d.hiding(d.last))), nil
	}
	moves := h.movements(rule.withDefaults())
	var sum Answer
	flagged := 0
	for i := range moves {
		if len(moves[i].Flags) == 0 {
			continue
		}
		if flagged++; flagged == 1 {
			sum.Why = fmt.Sprintf("at %s: %s", stamp(moves[i].Time), moves[i].Flags[0])
		}
		sum.Rests = append(sum.Rests, moves[i].Ref)
	}
	if flagged > 0 {
		sum.Verdict = Yes
		if flagged > 1 {
			sum.Why += fmt.Sprintf(" (and %d more)", flagged-1)
		}
		return moves, t.settled(sum), nil
	}
	list := append(h.holes(), d.within(h.start(), h.latest(d))...)
	if h.Begin.IsZero() && len(list) == 0 {
		list = append(list, Doubt{Kind: DoubtSequence, To: h.first(), Detail: "the trail does not have the login of this session"})
	}
	return moves, t.settled(answer(No, h.rests(d.last), "each of %d movements of its deadlines is as it should be", len(moves)).doubted(list)), nil
}

// movements judges each event that sets a deadline.
func (h *History) movements(rule Rule) []Movement {
	var list []Movement
	retracted := h.retracted()
	var idle, absolute time.Time
	var proved netip.Prefix // where the user last proved who he is
	var reauth uint64       // the number of the last re-authentication
	for i := range h.Events {
		e := &h.Events[i]
		if !e.succeeded() {
			continue
		}
		if !retracted.has(e) && (e.begins() || e.Kind == scsguard.EventReauth || e.Kind == scsguard.EventPrivilegeChange && len(e.AuthMethods) > 0) {
			if a := e.Addr(); a.IsValid() {
				proved = rule.network(a)
			}
			if e.Kind == scsguard.EventReauth {
				reauth = e.SessionSeq
			}
		}
		extends := e.Kind == scsguard.EventExtend || e.Kind == scsguard.EventRenew
		if e.IdleExpires.IsZero() || !e.begins() && !extends {
			continue
		}
		m := Movement{Event: e, IdleBefore: idle, AbsoluteBefore: absolute, Retracted: retracted.has(e)}
		if !m.Retracted {
			if extends {
				m.judge(rule, proved, reauth)
			}
			idle, absolute = e.IdleExpires, e.AbsoluteEnd
		}
		list = append(list, m)
	}
	return list
}

// judge says what is wrong with an extension.
func (m *Movement) judge(rule Rule, proved netip.Prefix, reauth uint64) {
	flag := func(format string, args ...any) { m.Flags = append(m.Flags, fmt.Sprintf(format, args...)) }
	before := m.AbsoluteBefore
	if before.IsZero() {
		before = m.AbsoluteOld
	}
	if m.AbsoluteEnd.After(before) && (m.Reason != "reauth" || reauth == 0 || m.SessionSeq > reauth+1 || m.SessionSeq < reauth) {
		flag("the absolute deadline moved from %s to %s without a re-authentication", stamp(before), stamp(m.AbsoluteEnd))
	}
	if !m.AbsoluteBefore.IsZero() && m.AbsoluteOld.After(m.AbsoluteBefore) {
		flag("it says that the absolute deadline was %s, and the trail says %s", stamp(m.AbsoluteOld), stamp(m.AbsoluteBefore))
	}
	asked := m.Reason == "request" || m.Reason == "reauth"
	switch {
	case !before.IsZero() && !m.Time.Before(before):
		flag("it came at %s, past the absolute deadline %s", stamp(m.Time), stamp(before))
	case asked && !m.IdleOld.IsZero() && !m.Time.Before(m.IdleOld):
		flag("it came at %s, past the idle deadline %s", stamp(m.Time), stamp(m.IdleOld))
	}
	if a := m.Addr(); a.IsValid() && m.IPSource != "" && proved.IsValid() && rule.network(a) != proved {
		flag("it came from %s, and the last authentication from %s", rule.network(a), proved)
	}
}
