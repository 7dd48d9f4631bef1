package scsguard

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// fallbackRetry is how long a primary sink that failed is left alone.
const fallbackRetry = time.Second

// FallbackSink returns a [Sink] that gives the records to primary, and to
// alternate what primary cannot keep (NIST SP 800-53 AU-5(5)). It fails when both
// do. Once primary works again it gets an audit.gap in front of the next records,
// with the reason alternate_sink, which says from when to when and how many
// records are elsewhere: whoever reads primary alone must not take their absence
// for an answer. Meanwhile [Guard.Health] says so.
//
// Primary has half of the time that an Append may take, and is asked again
// a second after it failed at the earliest.
func FallbackSink(primary, alternate Sink) Sink {
	return &fallbackSink{primary: primary, alternate: alternate, turn: make(chan struct{}, 1)}
}

type fallbackSink struct {
	primary, alternate Sink
	turn               chan struct{} // capacity 1, full while an Append works

	// For whoever has the turn.
	tried  time.Time  // when primary failed
	hung   chan error // the answer that primary still owes
	missed int        // records that only alternate has
	since  time.Time
	gapID  string

	mu    sync.Mutex
	down  error // of primary's last Append
	cause error // of its first failed one in a row
}

func (s *fallbackSink) Append(ctx context.Context, records [][]byte) error {
	return s.append(ctx, records, Sink.Append)
}

func (s *fallbackSink) AppendReserved(ctx context.Context, records [][]byte) error {
	return s.append(ctx, records, appendReserved)
}

func (s *fallbackSink) append(ctx context.Context, records [][]byte, give appender) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return errors.New("scsguard: fallback sink: an earlier call has not returned yet")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("scsguard: fallback sink: %w", err) // the caller has given up, which says nothing of the sinks
	}
	down := s.broken()
	if down == nil || time.Since(s.tried) >= fallbackRetry {
		if down = s.first(ctx, records, give); down == nil {
			return nil
		}
	}
	if err := give(s.alternate, ctx, records); err != nil {
		s.tried = time.Time{} // there is nobody else left to ask
		return errors.Join(fmt.Errorf("primary sink: %w", down), fmt.Errorf("alternate sink: %w", err))
	}
	if s.missed == 0 {
		s.since, s.gapID = time.Now(), newSessionID()
	}
	s.missed += len(records)
	return nil
}

// first gives the records to primary, and what it has to know of those it missed.
func (s *fallbackSink) first(ctx context.Context, records [][]byte, give appender) error {
	if s.missed > 0 {
		gap := s.gap()
		records = append([][]byte{gap.encode()}, records...)
	}
	err := s.toPrimary(ctx, records, give)
	if r, ok := s.primary.(lossReporter); ok && err == nil && s.missed > 0 {
		r.ReportLoss(s.since, time.Now(), map[string]int64{"elsewhere": int64(s.missed)}, "given to the alternate sink")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
	if err == nil {
		s.missed, s.cause = 0, nil
		return nil
	}
	s.tried = time.Now()
	if s.cause == nil {
		s.cause = err
	}
	return err
}

func (s *fallbackSink) toPrimary(ctx context.Context, records [][]byte, give appender) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	if s.hung != nil {
		select {
		case <-s.hung: // whatever it answered, alternate has its records
			s.hung = nil
		default:
			return errors.New("it has not answered an earlier call yet")
		}
	}
	answer := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				answer <- fmt.Errorf("panic: %v", p)
			}
		}()
		answer <- give(s.primary, ctx, records)
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		s.hung = answer
		return errors.New("no answer in time")
	}
}

// gap tells primary of the records that it missed. It has one ID, so that a gap
// which was written twice counts once.
func (s *fallbackSink) gap() Event {
	now := time.Now()
	e := Event{ID: s.gapID, Time: now, Kind: EventGap, Outcome: OutcomeFailure, Reason: "alternate_sink"}
	e.detail("from", s.since.UTC().Format(timeLayout))
	e.detail("to", now.UTC().Format(timeLayout))
	e.detail("elsewhere", strconv.Itoa(s.missed))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		e.detail("cause", s.cause.Error())
	}
	return e
}

func (s *fallbackSink) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// ReportLoss tells both sinks.
func (s *fallbackSink) ReportLoss(from, to time.Time, countsByKind map[string]int64, cause string) {
	for _, sink := range []Sink{s.primary, s.alternate} {
		if r, ok := sink.(lossReporter); ok {
			r.ReportLoss(from, to, countsByKind, cause)
		}
	}
}

// Problem says that records go to the alternate sink, and what the two say
// themselves.
func (s *fallbackSink) Problem() error {
	var errs []error
	if down := s.broken(); down != nil {
		errs = append(errs, fmt.Errorf("records go to the alternate sink: %w", down))
	}
	return errors.Join(append(errs, problemOf(s.primary), problemOf(s.alternate))...)
}

// problemOf returns what is wrong with a sink although it keeps what it is given.
func problemOf(s Sink) error {
	if p, ok := s.(interface{ Problem() error }); ok {
		return p.Problem()
	}
	return nil
}
