package scsguard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// NewWriterSink returns a [Sink] that writes each record as one line to w, all
// records of an Append in one Write, and calls Sync if w has it (an *os.File
// does). Every error of w is returned. A line that was written in part is
// ended before the next one, so that it damages no other. A Write that hangs
// cannot be interrupted; the guard then waits no longer than its CallTimeout.
//
// It keeps the records where w puts them and protects them from nobody: whoever
// can change the file can change the history.
func NewWriterSink(w io.Writer) Sink { return &writerSink{w: w} }

type writerSink struct {
	mu   sync.Mutex
	w    io.Writer
	torn bool // the last write ended inside a line
}

func (s *writerSink) Append(ctx context.Context, records [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("scsguard: writer sink: %w", err) // while it waited for another call
	}
	var b bytes.Buffer
	if s.torn {
		b.WriteByte('\n')
	}
	for _, r := range records {
		b.Write(r)
		b.WriteByte('\n')
	}
	n, err := s.w.Write(b.Bytes())
	if n > 0 {
		s.torn = b.Bytes()[n-1] != '\n'
	}
	if err == nil && n < b.Len() {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("scsguard: writer sink: %w", err)
	}
	if f, ok := s.w.(interface{ Sync() error }); ok {
		if err := f.Sync(); err != nil && !nothingToSync(err) {
			return fmt.Errorf("scsguard: writer sink: %w", err)
		}
	}
	return nil
}

// nothingToSync reports whether err is how a pipe or a terminal answers to Sync.
// What was written to it is with whoever reads it, and no error of a disk looks
// like this.
func nothingToSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported)
}

// Mirror returns a [Sink] that repeats each record in the application's log, at
// level info under the key "audit". It never fails and keeps nothing: zerolog
// does not report what its writer could not write. Use it beside a real sink in
// [MultiSink].
func Mirror(logger zerolog.Logger) Sink {
	return forgetful{func(_ context.Context, records [][]byte) error {
		for _, r := range records {
			logger.Info().RawJSON("audit", r).Msg("session event")
		}
		return nil
	}}
}

// MultiSink returns a [Sink] that gives the records to all sinks at the same
// time and succeeds when all have succeeded. Each has its own goroutine, so one
// that hangs until its deadline does not keep the records from the others. What
// one of them has already kept is not given to it again when the others make
// the guard repeat it.
//
// Without any sink it fails, since nothing would be kept; see [Discard].
func MultiSink(sinks ...Sink) Sink {
	if len(sinks) == 0 {
		return SinkFunc(func(context.Context, [][]byte) error {
			return errors.New("scsguard: a MultiSink of no sinks keeps nothing; use Discard to say so")
		})
	}
	m := &multiSink{branches: make([]*branch, len(sinks))}
	for i, s := range sinks {
		m.branches[i] = &branch{sink: s, turn: make(chan struct{}, 1), kept: make(map[[sha256.Size]byte]struct{})}
	}
	return m
}

type multiSink struct {
	branches []*branch
}

// branch is one sink of several and what it has kept of failed Appends.
type branch struct {
	sink Sink
	turn chan struct{} // capacity 1, full while the sink works

	mu    sync.Mutex
	kept  map[[sha256.Size]byte]struct{}
	order [][sha256.Size]byte
}

// maxKept bounds the memory for records that may be repeated. It is as large as
// the number of records the guard keeps for repetition.
const maxKept = maxPosted + maxBatch

func (m *multiSink) Append(ctx context.Context, records [][]byte) error {
	return m.append(ctx, records, Sink.Append)
}

func (m *multiSink) AppendReserved(ctx context.Context, records [][]byte) error {
	return m.append(ctx, records, appendReserved)
}

func (m *multiSink) append(ctx context.Context, records [][]byte, give appender) error {
	type answer struct {
		i   int
		err error
	}
	sums := make([][sha256.Size]byte, len(records))
	for i, r := range records {
		sums[i] = sha256.Sum256(r)
	}
	answers := make(chan answer, len(m.branches))
	for i, b := range m.branches {
		go func() { answers <- answer{i, b.append(ctx, records, sums, give)} }()
	}
	errs := make([]error, len(m.branches))
	for i := range errs {
		errs[i] = errors.New("no answer in time")
	}
	for range m.branches {
		select {
		case a := <-answers:
			errs[a.i] = a.err
		case <-ctx.Done():
			// A sink that answered at the last moment still counts.
			select {
			case a := <-answers:
				errs[a.i] = a.err
			default:
			}
		}
	}
	var failed []error
	for i, err := range errs {
		if err != nil {
			failed = append(failed, fmt.Errorf("sink %d: %w", i+1, err))
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	for _, b := range m.branches {
		b.forget(sums)
	}
	return nil
}

// ReportLoss tells the sinks that want to know.
func (m *multiSink) ReportLoss(from, to time.Time, countsByKind map[string]int64, cause string) {
	for _, b := range m.branches {
		if r, ok := b.sink.(lossReporter); ok {
			r.ReportLoss(from, to, countsByKind, cause)
		}
	}
}

// Problem says what the sinks say themselves.
func (m *multiSink) Problem() error {
	var errs []error
	for i, b := range m.branches {
		if err := problemOf(b.sink); err != nil {
			errs = append(errs, fmt.Errorf("sink %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// append gives the sink what it has not kept yet, once an earlier call that is
// still running has ended.
func (b *branch) append(ctx context.Context, records [][]byte, sums [][sha256.Size]byte, give appender) (err error) {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return errors.New("an earlier call has not returned yet")
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	fresh := b.fresh(records, sums)
	if len(fresh) == 0 {
		return nil
	}
	if err := give(b.sink, ctx, fresh); err != nil {
		return err
	}
	b.remember(sums)
	return nil
}

func (b *branch) fresh(records [][]byte, sums [][sha256.Size]byte) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.kept) == 0 {
		return records
	}
	var fresh [][]byte
	for i, r := range records {
		if _, ok := b.kept[sums[i]]; !ok {
			fresh = append(fresh, r)
		}
	}
	return fresh
}

func (b *branch) remember(sums [][sha256.Size]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sum := range sums {
		if _, ok := b.kept[sum]; ok {
			continue
		}
		if len(b.order) >= maxKept {
			delete(b.kept, b.order[0])
			b.order = b.order[1:]
		}
		b.kept[sum] = struct{}{}
		b.order = append(b.order, sum)
	}
}

func (b *branch) forget(sums [][sha256.Size]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sum := range sums {
		delete(b.kept, sum)
	}
	if len(b.kept) == 0 {
		b.order = nil
	}
}
