// Command scsguard is the companion of the library.
//
// Usage:
//
//	scsguard event-types    print the kinds of event that the guard writes
//
// event-types is the machine-readable inventory of events that NIST SP 800-53
// AU-2 and ASVS 5.0 16.1.1 ask for: one kind in a line.
//
// Exit codes: 0, or 64 if it was called in another way.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/scsguard/scsguard"
)

const usage = `usage: scsguard event-types

event-types   print the kinds of event that the guard writes, one in a line
`

// exitUsage is EX_USAGE of sysexits.h.
const exitUsage = 64

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	switch args[0] {
	case "event-types":
		for _, kind := range scsguard.EventKinds() {
			fmt.Fprintln(stdout, kind)
		}
		return 0
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	}
	fmt.Fprintf(stderr, "scsguard: there is no command %q\n%s", args[0], usage)
	return exitUsage
}
