package main

import (
	"flag"
	"fmt"

	"github.com/scsguard/scsguard"
)

func eventTypes() command {
	return command{
		name:  "event-types",
		short: "print the kinds of event that the guard writes, one in a line",
		long: `The machine-readable inventory of events that NIST SP 800-53 AU-2 and ASVS 5.0
16.1.1 ask for. An application may have recorded kinds of its own beside them.`,
		setup: func(*flag.FlagSet) func(*call) error {
			return func(c *call) error {
				for _, kind := range scsguard.EventKinds() {
					fmt.Fprintln(c.stdout, kind)
				}
				return nil
			}
		},
	}
}
