// Package remembertest checks an implementation of [scsguard.RememberStore]
// against its contract.
//
//	func TestStore(t *testing.T) {
//		remembertest.Run(t, func(t *testing.T) scsguard.RememberStore {
//			return NewStore(emptyDatabase(t))
//		})
//	}
//
// [Run] reports each check as a subtest. [Check] does the same outside of tests.
// Each check gets a store of its own, which must be empty. Some wait for values to
// expire, so a run takes about three seconds; in a testing/synctest bubble, where
// Check may be called, it takes none. Run it with -race.
//
// # What is not checked
//
// That a store which is shared by several processes is one for all of them, that
// its clock is, and that it loses nothing in a crash or a failover.
package remembertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/scsguard/scsguard"
)

// Check runs every check and returns their failures, joined. Each begins with the
// name of its check. Checks run one after the other, and open returns an empty
// store each time.
func Check(ctx context.Context, open func(ctx context.Context) (scsguard.RememberStore, error)) error {
	var errs []error
	for _, c := range checks() {
		store, err := open(ctx)
		if err != nil {
			err = fmt.Errorf("%s: open: %w", c.name, err)
		} else {
			err = c.try(ctx, store)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Run runs every check of [Check] as a subtest that has the name of the check.
// open returns an empty store each time, and may register its clean-up with t.
func Run(t *testing.T, open func(t *testing.T) scsguard.RememberStore) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			if err := c.try(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A check is one promise of the contract.
type check struct {
	name string // a sentence
	run  func(*trial)
}

// patience bounds a check: what waits for an answer longer than this fails by
// name, if the store gives up when its context is done.
const patience = time.Minute

func (c check) try(ctx context.Context, store scsguard.RememberStore) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = fmt.Errorf("%s: %s", c.name, string(p))
		default:
			err = fmt.Errorf("%s: panic: %v", c.name, p)
		}
	}()
	c.run(&trial{ctx: ctx, store: store})
	return nil
}

// A failure ends a check.
type failure string

// trial is a store under test.
type trial struct {
	ctx   context.Context
	store scsguard.RememberStore
}

func (t *trial) failf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

func (t *trial) load(id string) []byte {
	value, _ := t.loadAt(id)
	return value
}

func (t *trial) loadAt(id string) ([]byte, time.Time) {
	value, now, err := t.store.Load(t.ctx, id)
	if err != nil {
		t.failf("Load: %v", err)
	}
	if now.IsZero() {
		t.failf("Load does not say what time it is")
	}
	return value, now
}

func (t *trial) swap(id, old, value string, ttl time.Duration) bool {
	swapped, err := t.store.Swap(t.ctx, id, []byte(old), []byte(value), ttl)
	if err != nil {
		t.failf("Swap: %v", err)
	}
	return swapped
}

// mustSwap demands that the value was swapped.
func (t *trial) mustSwap(id, old, value string, ttl time.Duration) {
	if !t.swap(id, old, value, ttl) {
		t.failf("Swap of %.40q for %.40q under %.40q reports false, and nothing else was there", old, value, id)
	}
}

// mustNotSwap demands that it was not.
func (t *trial) mustNotSwap(id, old, value string) {
	if t.swap(id, old, value, time.Hour) {
		t.failf("Swap of %.40q for %.40q under %.40q reports true, and something else was there", old, value, id)
	}
}

func (t *trial) want(id, value string) {
	switch got := t.load(id); {
	case value == "" && len(got) > 0:
		t.failf("%.40q holds %.40q (%d bytes) and should be absent", id, got, len(got))
	case string(got) != value:
		t.failf("%.40q holds %.40q (%d bytes) and not %.40q (%d bytes)", id, got, len(got), value, len(value))
	}
}

func (t *trial) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		t.failf("%v", t.ctx.Err())
	}
}
