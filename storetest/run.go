package storetest

import (
	"context"
	"sync"
	"testing"

	"github.com/alexedwards/scs/v2"
)

// Run runs every check of [Check] as a subtest that has the name of the check.
// open returns an empty store each time, and may register its clean-up with t.
// A check that waits for data to expire runs beside the others, so it gets the
// outer t.
func Run(t *testing.T, open func(t *testing.T) scs.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel() // for those that -run has not selected
	answers := make(map[string]chan error)
	for _, c := range checks() {
		if c.slow {
			store, answer := open(t), make(chan error, 1)
			answers[c.name] = answer
			waiting.Go(func() { answer <- c.try(ctx, store) })
		}
	}
	for _, c := range checks() {
		if !c.slow {
			t.Run(c.name, func(t *testing.T) { report(t, c.try(ctx, open(t))) })
		}
	}
	for _, c := range checks() {
		if c.slow {
			t.Run(c.name, func(t *testing.T) { report(t, <-answers[c.name]) })
		}
	}
}

func report(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
