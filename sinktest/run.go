package sinktest

import (
	"testing"
)

// Run runs every check of [Check] as a subtest that has the name of the check.
// open returns an empty sink each time, and may register its clean-up with t.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			if err := c.try(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}
