// Command scsguard makes the keys of a trail, verifies it, shows what is in it, and
// answers questions about sessions. It is for those who look at a trail from outside: it needs the files and a
// verifier key, and no access to the application.
//
//	scsguard help            the commands
//	scsguard help verify     one of them
//
// A flag may be written with one dash or two, and before or after the other
// arguments.
//
// Exit codes, the same for every command (64 and 74 are those of sysexits.h):
//
//	0   yes; intact, and an anchor vouches for its length
//	1   no
//	2   tampering
//	3   unknown: intact as far as it goes, but unanchored, torn, unclosed, or with a gap
//	64  called in a wrong way
//	74  something cannot be read or written
package main

import (
	"io"
	"os"
	"runtime/debug"
	"slices"
)

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softLimit)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// softLimit is from how much memory on garbage is collected more eagerly. What is
// needed may be more.
const softLimit = 800 << 20

func run(args []string, stdout, stderr io.Writer) int {
	return dispatch(commands(), args, stdout, stderr)
}

// commands are in the order in which help shows them. Each has a file of its own.
func commands() []command {
	return slices.Concat(
		[]command{keygen(), verify(), events(), prove(), verifyProof(), hold(), eventTypes()},
		questions(),
		[]command{report(), export(), bundle()},
	)
}

// questions are the commands that ask a trail something.
func questions() []command {
	return []command{sessions(), active(), concurrent(), extensions(), timeline(), transaction(), review()}
}
