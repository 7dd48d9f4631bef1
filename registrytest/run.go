package registrytest

import (
	"context"
	"sync"
	"testing"

	"github.com/scsguard/scsguard"
)

// Run runs every check of [Check] as a subtest that has the name of the check.
// open returns an empty registry each time, and may register its clean-up with
// t. Checks that take long run beside the others, so for them it gets the outer
// t.
func Run(t *testing.T, open func(t *testing.T) scsguard.Registry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	list := checks()
	errs := make([]error, len(list))
	var waiting sync.WaitGroup
	done := make([]chan struct{}, len(list))
	for i, c := range list {
		if !c.long {
			continue
		}
		reg := open(t)
		done[i] = make(chan struct{})
		waiting.Go(func() {
			defer close(done[i])
			errs[i] = c.try(ctx, reg, nil)
		})
	}
	defer waiting.Wait()
	defer cancel() // for those that -run has not selected
	for _, c := range list {
		if !c.long {
			t.Run(c.name, func(t *testing.T) { report(t, c.try(ctx, open(t), nil)) })
		}
	}
	for i, c := range list {
		if c.long {
			t.Run(c.name, func(t *testing.T) {
				<-done[i]
				report(t, errs[i])
			})
		}
	}
}

func report(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
