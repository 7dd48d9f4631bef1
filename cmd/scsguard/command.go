package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/scsguard/scsguard/investigate"
)

// The exit codes. A question is answered by yes, no or unknown.
const (
	exitOK      = 0
	exitNo      = 1
	exitTamper  = 2
	exitUnknown = 3
	exitUsage   = 64 // EX_USAGE of sysexits.h
	exitIO      = 74 // EX_IOERR
)

// command is one verb. The standard library's flags take -x and --x alike, which
// the larger libraries for commands do not; what they have beside that, help and
// completions, is made of this table.
type command struct {
	name  string
	args  string // names of the arguments, such as "DIR"; "DIR..." is one or more
	short string // one line, for the list
	long  string // what help says of it
	// setup declares the flags and returns what runs once they are read.
	setup func(*flag.FlagSet) func(*call) error
}

// call is one run of a command.
type call struct {
	args   []string // without the flags, as command.args names them
	line   []string // all, as they were given
	stdout *bufio.Writer
	tty    bool // somebody may be looking at stdout
	stderr io.Writer
	shared *shared
}

// shared is what a question gets that is one of several, and what it leaves.
type shared struct {
	trail *investigate.Trail
	json  io.Writer    // takes the answer, too
	ready func() error // comes before the answer
	found *finds
}

// exitError ends the program with a code of its own. Without an error it has
// nothing to say that was not said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// dispatch runs the command that args name and returns its exit code.
func dispatch(all []command, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		overview(all, stderr)
		return exitUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return help(all, args, stdout, stderr)
	case "completion":
		return completion(all, args, stdout, stderr)
	}
	cmd := find(all, name)
	if cmd == nil {
		fmt.Fprintf(stderr, "scsguard: there is no command %q\n\n", name)
		overview(all, stderr)
		return exitUsage
	}
	return cmd.execute(args, stdout, stderr)
}

func find(all []command, name string) *command {
	for i := range all {
		if all[i].name == name {
			return &all[i]
		}
	}
	return nil
}

func (cmd *command) execute(args []string, stdout, stderr io.Writer) int {
	return cmd.executeShared(nil, args, stdout, stderr)
}

func (cmd *command) executeShared(with *shared, args []string, stdout, stderr io.Writer) int {
	fs, do := cmd.flags()
	rest, err := interleaved(fs, args)
	want := strings.Fields(cmd.args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		cmd.explain(stdout)
		return exitOK
	case err == nil && len(rest) < len(want):
		err = fmt.Errorf("%s is missing", strings.Join(want[len(rest):], " "))
	case err == nil && len(rest) > len(want) && !strings.HasSuffix(cmd.args, "..."):
		err = fmt.Errorf("%q is one argument too many", rest[len(want)])
	}
	if err != nil {
		fmt.Fprintf(stderr, "scsguard %s: %v\nusage: %s\n", cmd.name, err, cmd.usage())
		return exitUsage
	}
	c := &call{args: rest, line: append([]string{cmd.name}, args...), stdout: bufio.NewWriter(stdout), tty: isTerminal(stdout), stderr: stderr, shared: with}
	err = do(c)
	if flushed := c.stdout.Flush(); err == nil && flushed != nil {
		err = flushed
	}
	if err == nil {
		return exitOK
	}
	code := exitIO
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
		if exit.err == nil {
			return code
		}
	}
	fmt.Fprintf(stderr, "scsguard %s: %s\n", cmd.name, printable(err.Error()))
	if code == exitUsage {
		fmt.Fprintf(stderr, "usage: %s\n", cmd.usage())
	}
	return code
}

func (cmd *command) flags() (*flag.FlagSet, func(*call) error) {
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs, cmd.setup(fs)
}

// interleaved reads flags that stand before, between and after the arguments;
// package flag stops at the first argument. What follows "--" is no flag.
func interleaved(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		if fs.NArg() == 0 {
			return rest, nil
		}
		if at := len(args) - fs.NArg(); at > 0 && args[at-1] == "--" {
			return append(rest, fs.Args()...), nil
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
}

func (cmd *command) usage() string {
	parts := []string{"scsguard", cmd.name}
	if cmd.args != "" {
		parts = append(parts, cmd.args)
	}
	fs, _ := cmd.flags()
	fs.VisitAll(func(f *flag.Flag) {
		parts = append(parts, "["+flagUsage(f)+"]")
	})
	if line := strings.Join(parts, " "); len(line) <= maxUsage {
		return line
	}
	return strings.TrimSpace("scsguard "+cmd.name+" "+cmd.args) + " [flags, see scsguard help " + cmd.name + "]"
}

// maxUsage is the longest usage that is shown in one line.
const maxUsage = 150

func flagUsage(f *flag.Flag) string {
	if name, _ := flag.UnquoteUsage(f); name != "" {
		return "--" + f.Name + " " + name
	}
	return "--" + f.Name
}

func help(all []command, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		overview(all, stdout)
		return exitOK
	}
	cmd := find(all, args[0])
	if cmd == nil || len(args) > 1 {
		fmt.Fprintf(stderr, "scsguard: there is no command %q\n", strings.Join(args, " "))
		return exitUsage
	}
	cmd.explain(stdout)
	return exitOK
}

func overview(all []command, w io.Writer) {
	fmt.Fprint(w, "scsguard makes the keys of a trail, verifies it, shows what is in it, and answers questions.\n\nusage: scsguard COMMAND\n\n")
	width := len("completion")
	for _, cmd := range all {
		width = max(width, len(cmd.name))
	}
	for _, cmd := range all {
		fmt.Fprintf(w, "  %-*s  %s\n", width, cmd.name, cmd.short)
	}
	fmt.Fprintf(w, "  %-*s  %s\n", width, "completion", "print a completion script for bash, zsh or fish")
	fmt.Fprintf(w, "  %-*s  %s\n", width, "help", "explain a command")
	fmt.Fprint(w, exitCodes)
}

const exitCodes = `
exit codes: 0 yes; 1 no; 2 tampering; 3 unknown, or intact but incomplete;
            64 called in a wrong way; 74 something cannot be read or written
`

func (cmd *command) explain(w io.Writer) {
	fmt.Fprintf(w, "usage: %s\n\n%s\n", cmd.usage(), cmd.long)
	fs, _ := cmd.flags()
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprintln(w)
			first = false
		}
		_, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && !strings.Contains(text, "default") && !strings.Contains(text, "required") {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %s\n      %s\n", flagUsage(f), strings.ReplaceAll(text, "\n", "\n      "))
	})
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	if !slices.Contains(*l, s) {
		*l = append(*l, s)
	}
	return nil
}
