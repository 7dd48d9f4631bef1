// Package storetest checks what a guard needs of a session store: an
// [scs.Store], and what it offers beyond that ([scs.CtxStore],
// [scs.IterableStore], [scs.IterableCtxStore], [scsguard.Swapper],
// [scsguard.BatchDeleter]). A store that is a [scsguard.RecordFinder] is checked
// with its registry by [RunFinder].
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) scs.Store {
//			return newStore(emptyDatabase(t))
//		})
//	}
//
// [Run] reports each check as a subtest. [Check] does the same outside of tests.
// Each check gets a store of its own, which must be empty. Where data has to
// expire a check waits for it, all of them at the same time, so a run takes
// about three seconds; in a testing/synctest bubble, where Check may be called,
// it takes none. Run it with -race.
//
// Each method is called as a guard calls it: with a context where the store
// takes one, and by its plain form only where it does not.
//
// # What is not checked
//
// What a guard sees to itself, so that a store may do as it likes: data whose
// expiry has passed is never committed, and bytes are never changed after they
// were handed over or found. (scs's memstore returns the very slice that it was
// given; whoever uses a store without a guard should know.) How long after its
// expiry data is deleted, as long as it is not found. Whether tokens that differ
// in case only are told apart: nobody can guess either. And what a crash leaves.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
)

// Check runs every check and returns their failures, joined. Each begins with
// the name of its check. open returns an empty store each time; Check calls it
// once for each check, one call at a time.
func Check(ctx context.Context, open func(ctx context.Context) (scs.Store, error)) error {
	return runAll(ctx, open, checks())
}

func runAll(ctx context.Context, open func(context.Context) (scs.Store, error), list []check) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	errs := make([]error, len(list))
	var running sync.WaitGroup
	for i, c := range list {
		store, err := open(ctx)
		if err != nil {
			errs[i] = fmt.Errorf("%s: open: %w", c.name, err)
			continue
		}
		running.Go(func() { errs[i] = c.try(ctx, store) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// patience bounds a run: what still waits for an answer then fails by name, if
// the store gives up when its context is done.
const patience = 2 * time.Minute

// A check is one thing that a guard needs.
type check struct {
	name string // a sentence
	run  func(context.Context, *client) error
	slow bool // it waits for data to expire
}

// checks returns all that Check runs.
func checks() []check {
	return slices.Concat(dataChecks(), timeChecks(), swapChecks(), batchChecks())
}

// try runs the check on a store.
func (c check) try(ctx context.Context, store scs.Store) error {
	if err := c.run(ctx, newClient(store)); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}
