package guardtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/scsguard/scsguard"
)

// A Sink is a [scsguard.Sink] that keeps the trail in memory, decoded, so that a
// test can look into it. The zero value is ready. Its methods are safe for
// concurrent use, and those that look never wait.
//
// A guard writes a login before Login returns, and an ending a moment after it:
// call [Flush], or synctest.Wait in a bubble, before looking for an ending.
type Sink struct {
	list atomic.Pointer[[]scsguard.Event] // grows at its end only, so that readers need no lock

	mu   sync.Mutex // of those who change something
	err  error
	gate chan struct{} // closed by Recover; nil if the sink does not hang
}

var _ scsguard.Sink = (*Sink)(nil)

// Append keeps the records, or does as it was told by [Sink.Fail] or [Sink.Hang].
// Records that cannot be decoded are an error.
func (s *Sink) Append(ctx context.Context, records [][]byte) error {
	events := make([]scsguard.Event, len(records))
	for i, r := range records {
		e, err := decode(r)
		if err != nil {
			return err
		}
		events[i] = e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.gate != nil {
		gate := s.gate
		s.mu.Unlock()
		select {
		case <-gate:
		case <-ctx.Done():
			s.mu.Lock()
			return fmt.Errorf("guardtest: the sink was told to hang: %w", ctx.Err())
		}
		s.mu.Lock()
	}
	if s.err != nil {
		return s.err
	}
	list := append(s.events(), events...) // never beyond what another reader sees
	s.list.Store(&list)
	return nil
}

// Fail makes Append keep nothing and return err, from now on until [Sink.Recover].
// A nil err stands for some error.
func (s *Sink) Fail(err error) {
	if err == nil {
		err = errors.New("guardtest: the sink was told to fail")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.release()
}

// Hang makes Append wait until its context is done, and fail then, from now on
// until [Sink.Recover]. In a testing/synctest bubble call it inside.
func (s *Sink) Hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = nil; s.gate == nil {
		s.gate = make(chan struct{})
	}
}

// Recover ends what Fail or Hang began. Calls that hang go on and keep what they
// were given.
func (s *Sink) Recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = nil
	s.release()
}

// release lets those go on who hang. mu is held.
func (s *Sink) release() {
	if s.gate != nil {
		close(s.gate)
		s.gate = nil
	}
}

func (s *Sink) events() []scsguard.Event {
	if list := s.list.Load(); list != nil {
		return *list
	}
	return nil
}

// Find returns the events for which match answers true, in the order of the trail.
// It returns nil if there are none.
func (s *Sink) Find(match func(scsguard.Event) bool) []scsguard.Event {
	var found []scsguard.Event
	for _, e := range s.events() {
		if match(e) {
			found = append(found, e)
		}
	}
	return found
}

// Events returns the events of these kinds, or of all kinds if none is named.
func (s *Sink) Events(kinds ...scsguard.EventKind) []scsguard.Event {
	return s.Find(func(e scsguard.Event) bool { return among(e.Kind, kinds) })
}

// OfSession returns the events of a session, of these kinds or all.
func (s *Sink) OfSession(id string, kinds ...scsguard.EventKind) []scsguard.Event {
	return s.Find(func(e scsguard.Event) bool { return e.Session == id && among(e.Kind, kinds) })
}

// OfUser returns the events of a user, of these kinds or all.
func (s *Sink) OfUser(user string, kinds ...scsguard.EventKind) []scsguard.Event {
	return s.Find(func(e scsguard.Event) bool { return e.User == user && among(e.Kind, kinds) })
}

func among(kind scsguard.EventKind, kinds []scsguard.EventKind) bool {
	return len(kinds) == 0 || slices.Contains(kinds, kind)
}

// Ending returns the ending of a session, a logout or a timeout. The test fails
// and stops if there is none or more than one. An ending that was written twice,
// since the sink had failed in between, counts once.
func (s *Sink) Ending(tb testing.TB, session string) scsguard.Event {
	tb.Helper()
	var endings []scsguard.Event
	for _, e := range s.OfSession(session, scsguard.EventLogout, scsguard.EventTimeout) {
		if !slices.ContainsFunc(endings, func(o scsguard.Event) bool { return o.ID == e.ID }) {
			endings = append(endings, e)
		}
	}
	switch {
	case session == "":
		tb.Fatalf("guardtest: an ending was looked for without the ID of a session; SessionOf and Guard.Login tell it")
	case len(endings) == 0:
		tb.Fatalf("guardtest: the trail has no ending of the session %s, only %s; call guardtest.Flush before looking, or end the session", session, inWords(s.OfSession(session)))
	case len(endings) > 1:
		tb.Fatalf("guardtest: the trail has %d endings of the session %s, where there is only one: %s", len(endings), session, inWords(endings))
	default:
		return endings[0]
	}
	return scsguard.Event{}
}

func inWords(events []scsguard.Event) string {
	if len(events) == 0 {
		return "nothing"
	}
	words := make([]string, len(events))
	for i, e := range events {
		words[i] = string(e.Kind)
		if e.Reason != "" {
			words[i] += " (" + e.Reason + ")"
		}
	}
	return strings.Join(words, ", ")
}
