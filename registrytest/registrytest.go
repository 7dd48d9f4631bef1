// Package registrytest checks an implementation of [scsguard.Registry] against
// its contract: what each call answers, that the cap holds at every instant,
// that nothing which has ended comes back, and that no ending is lost.
//
//	func TestRegistry(t *testing.T) {
//		registrytest.Run(t, func(t *testing.T) scsguard.Registry {
//			return redisregistry.New(emptyDatabase(t))
//		})
//	}
//
// [Run] reports each check as a subtest. [Check] does the same outside of tests.
// Each check gets a registry of its own, which must be empty. A run makes some
// fifty thousand calls, a hundred of them at once at times. Checks that take long
// run beside the others. Some wait for a lease, so a run takes no less than
// [scsguard.Lease]; in a testing/synctest bubble, where Check may be called, that
// takes no time. Run it with -race: what two calls at once can spoil is a matter
// of luck, and -race improves it.
//
// Times are compared with a slack of a second, since a registry may convert them
// to a clock of its own. A registry that can tell whether all it keeps has a
// time to live says so by [LeakChecker]. [CheckExpiry] lets that time pass, for
// registries that live on the clock of a bubble.
//
// # What is not checked
//
// What a call costs. What a crash, a failover or a full disk of the registry's
// own storage leaves. Whether calls give up when their context is done. What
// happens between the steps of one call if the process dies there: for that,
// search the states of a model.
package registrytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/scsguard/scsguard"
)

// A LeakChecker is a [scsguard.Registry] that can tell whether everything it
// keeps will expire by itself. It is asked after each check that has passed.
type LeakChecker interface {
	// CheckLeak returns an error that names what has no time to live.
	CheckLeak(ctx context.Context) error
}

// Check runs every check and returns their failures, joined. Each begins with
// the name of its check, a sentence of the contract. open returns an empty
// registry each time; Check calls it once for each check, one call at a time.
func Check(ctx context.Context, open func(ctx context.Context) (scsguard.Registry, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return runAll(ctx, open, checks())
}

// CheckExpiry checks that nothing is kept for ever, and nothing dropped before
// its time. It lets years pass, so it is of use in a testing/synctest bubble
// only, with a registry that has its clock there. If a registry has a method
// Len() int, it must be 0 in the end.
func CheckExpiry(ctx context.Context, open func(ctx context.Context) (scsguard.Registry, error)) error {
	return runAll(ctx, open, expiryChecks())
}

// patience bounds a run: what still waits for an answer then fails by name, if
// the registry gives up when its context is done.
const patience = 5 * time.Minute

// A check is one promise of the contract.
type check struct {
	name string // a sentence
	run  func(*trial)
	long bool // it waits for a lease, or makes thousands of calls, and so runs beside the others
}

// checks returns all that Check runs.
func checks() []check {
	return slices.Concat(
		readingChecks(), capChecks(), roomChecks(), settleChecks(), undoChecks(), abandonedChecks(), notBeforeChecks(),
		touchChecks(), fieldChecks(), detachChecks(), moveChecks(), reauthChecks(), endChecks(), lostChecks(), endAllChecks(),
		dueChecks(), batchChecks(), watchChecks(),
		crowdChecks(), raceChecks(), sequenceChecks(),
	)
}

func runAll(ctx context.Context, open func(context.Context) (scsguard.Registry, error), list []check) error {
	errs := make([]error, len(list))
	var waiting sync.WaitGroup
	for i, c := range list {
		if !c.long {
			continue
		}
		reg, err := open(ctx)
		waiting.Go(func() { errs[i] = c.try(ctx, reg, err) })
	}
	for i, c := range list {
		if !c.long {
			reg, err := open(ctx)
			errs[i] = c.try(ctx, reg, err)
		}
	}
	waiting.Wait()
	return errors.Join(errs...)
}

// try runs the check on reg, which open has returned together with err.
func (c check) try(ctx context.Context, reg scsguard.Registry, err error) error {
	if err != nil {
		return fmt.Errorf("%s: open: %w", c.name, err)
	}
	err = failureOf(func() { c.run(newTrial(ctx, reg)) })
	if leaks, ok := reg.(LeakChecker); ok && err == nil {
		if err = leaks.CheckLeak(ctx); err != nil {
			err = fmt.Errorf("afterwards the registry keeps something for ever: %w", err)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}
