package scsguard

import "context"

// appendReserved gives a sink what may use its reserve, if it has one.
func appendReserved(s Sink, ctx context.Context, records [][]byte) error {
	if r, ok := s.(reserver); ok {
		return r.AppendReserved(ctx, records)
	}
	return s.Append(ctx, records)
}

type reserver interface {
	AppendReserved(ctx context.Context, records [][]byte) error
}

// appender is one of the two ways to give records to a sink.
type appender func(s Sink, ctx context.Context, records [][]byte) error

// way says how a batch is given to the sink.
type way struct {
	append   appender
	reserved bool
}

// way is by the reserve if the batch takes away only: whoever ends sessions does
// not have to wait until others may be let in again.
func (t *trail) way(batch []*pending) way {
	if _, ok := t.sink.(reserver); !ok {
		return way{Sink.Append, false}
	}
	for _, p := range batch {
		if !p.urgent {
			return way{Sink.Append, false}
		}
	}
	return way{appendReserved, true}
}

// rescue gives what takes access away in a batch that failed to the reserve of
// the sink, if it has one, and returns what is left.
func (t *trail) rescue(batch []*pending) (left []*pending) {
	if _, ok := t.sink.(reserver); !ok {
		return batch
	}
	var urgent []*pending
	for _, p := range batch {
		if p.urgent {
			urgent = append(urgent, p)
		} else {
			left = append(left, p)
		}
	}
	if len(urgent) == 0 || t.append(linesOf(urgent), appendReserved) != nil {
		return batch
	}
	t.mu.Lock()
	t.settle(urgent)
	t.mu.Unlock()
	return left
}

// takesAway reports whether an event tells of access that was taken away, if
// nobody waits for it: a change of privilege that grants is waited for.
func takesAway(e *Event) bool {
	switch e.Kind {
	case EventLogout, EventTimeout, EventRevoke, EventFingerprintMismatch, EventPrivilegeChange:
		return e.Outcome == OutcomeSuccess
	case EventExtend:
		return e.Outcome == OutcomeSuccess && e.Reason != extendActivity
	}
	return false
}
