// Package sinktest checks an implementation of [scsguard.Sink] against its
// contract: what Append has returned nil for is there, whole, in order.
//
//	func TestSink(t *testing.T) {
//		sinktest.Run(t, func(t *testing.T) sinktest.Opened {
//			table := emptyTable(t)
//			return sinktest.Opened{Sink: NewSink(table), Read: table.Rows}
//		})
//	}
//
// [Run] reports each check as a subtest. [Check] does the same outside of tests.
// Each check gets a sink of its own, which must be empty. With Opened.Fail, the
// checks also see what the sink does when it cannot write.
//
// # What is not checked
//
// That records survive a crash or a loss of power: Read is asked in the same
// process. That nobody can change them later. Concurrent calls: a sink is not
// called again before it has returned. Sinks that keep nothing on purpose, such
// as [scsguard.Mirror] and [scsguard.Discard], cannot pass.
package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scsguard/scsguard"
)

// Opened is a sink to be checked, with what shows how it keeps records.
type Opened struct {
	Sink scsguard.Sink
	// Read returns every record that is kept, in the order in which a reader of
	// the trail would see them, without line breaks.
	Read func() ([][]byte, error)
	// Fail, if it is not nil, makes whatever the sink writes to fail until it is
	// called with false: by an error, or after a part. Without it, what the sink
	// does then is not checked.
	Fail func(failing bool)
}

// Check runs every check and returns their failures, joined. Each begins with
// the name of its check. Checks run one after the other, and open returns an
// empty sink each time.
func Check(ctx context.Context, open func(ctx context.Context) (Opened, error)) error {
	return runAll(ctx, open, checks())
}

// A check is one promise of the contract.
type check struct {
	name string // a sentence
	run  func(context.Context, *subject) error
}

func runAll(ctx context.Context, open func(context.Context) (Opened, error), list []check) error {
	var errs []error
	for _, c := range list {
		opened, err := open(ctx)
		if err != nil {
			err = fmt.Errorf("%s: open: %w", c.name, err)
		} else {
			err = c.try(ctx, opened)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// try runs the check on what was opened.
func (c check) try(ctx context.Context, opened Opened) error {
	if err := c.run(ctx, &subject{opened}); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

const (
	// limit is how long an Append may take. A guard would set less, and a machine that
	// has much else to do may need more.
	limit = 10 * time.Second
	// patience is how much longer a check waits for it to give up.
	patience = 3 * time.Second
)

// subject is a sink under test.
type subject struct{ Opened }

// errHung reports an Append that goes on although its context is done. Nothing
// more can be asked of such a sink: it must not be called while it works.
var errHung = errors.New("append: no answer although the context is done")

// append calls the sink as a guard does, and waits no longer than patience for
// it to give up.
func (s *subject) append(ctx context.Context, records [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				answer <- fmt.Errorf("panic: %v", p)
			}
		}()
		answer <- s.Sink.Append(ctx, records)
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return errHung
	}
}

// keep appends records, which must succeed.
func (s *subject) keep(ctx context.Context, records ...[]byte) error {
	if err := s.append(ctx, records); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	return nil
}

// wantKept demands exactly these records in this order.
func (s *subject) wantKept(want [][]byte) error {
	got, err := s.Read()
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("%d records are there, not %d: the next should be %.80s", len(got), len(want), want[i])
		case i >= len(want):
			return fmt.Errorf("%d records are there, not %d: the next is %.80s", len(got), len(want), got[i])
		case !bytes.Equal(got[i], want[i]):
			return fmt.Errorf("record %d is %.80s (%d bytes), not %.80s (%d bytes)", i+1, got[i], len(got[i]), want[i], len(want[i]))
		}
	}
	return nil
}
