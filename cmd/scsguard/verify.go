package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/scsguard/scsguard/auditlog"
)

func verify() command {
	return command{
		name: "verify", args: "DIR",
		short: "check that a trail is as it was written, and all there",
		long: `Gives two verdicts. Integrity: each line in DIR is as it was written, in its place,
sealed by a key that the root key has certified. Completeness: nothing is missing
at the end, as far as an anchor or a checkpoint noted by hand can tell; without
one it is never said to be complete. What stands behind "pin" is such a checkpoint:
note it where nobody who can change the trail can change it, for --pin.

Exit code 0: intact, and anchored up to a minute before its last record. 2: not as
it was written; the first damage of each stream is named. 3: intact as far as it
goes, but unanchored, torn, unclosed, or with a gap.`,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var t trust
			t.declare(fs)
			quiet := fs.Bool("quiet", false, "print the two verdicts only")
			return func(c *call) error {
				rep, err := inspect(c, &t, c.args[0])
				if err != nil {
					return err
				}
				return rep.print(c.stdout, &t, *quiet)
			}
		},
	}
}

// finding is the verdict of the log and what only those know who know its events.
type finding struct {
	*auditlog.Report
}

// inspect verifies the trail in dir, and prepares proofs in the same pass.
func inspect(c *call, t *trust, dir string, prove ...auditlog.Place) (*finding, error) {
	o, err := t.options(dir)
	if err != nil {
		return nil, err
	}
	o.Prove = prove
	bar := newProgress(c.stderr, "verifying", 0)
	o.Progress = func(done, total int64) {
		bar.total = total
		bar.at(done)
	}
	rep, err := auditlog.Verify(context.Background(), dir, o)
	bar.done()
	if err != nil {
		return nil, err
	}
	return &finding{rep}, nil
}

// print shows the verdict and returns its exit code.
func (f *finding) print(w io.Writer, t *trust, quiet bool) error {
	if !quiet {
		if t.beside != "" {
			fmt.Fprintf(w, "key           %s, found beside the trail; name a copy of your own with --key\n", printable(t.beside))
		}
		for i := range f.Streams {
			printStream(w, &f.Streams[i])
		}
		for _, note := range f.Notes {
			fmt.Fprintf(w, "note          %s\n", oneLine(note))
		}
		fmt.Fprintf(w, "checked       %s, %s, %s\n", count(len(f.Streams), "stream"), count(int(f.Total), "record"), size(f.Bytes))
	}
	f.verdicts(w)
	return f.exit()
}

func (f *finding) verdicts(w io.Writer) {
	fmt.Fprintf(w, "integrity     %s\n", f.integrity())
	for _, d := range f.Damage {
		fmt.Fprintf(w, "  %s\n", oneLine(d.Error()))
	}
	fmt.Fprintf(w, "completeness  %s\n", f.completeness())
}

// exit is the verdict as an exit code.
func (f *finding) exit() error {
	if code := f.ExitCode(); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// sum prints the verdicts beside an answer, unless they are as good as they can
// be.
func (f *finding) sum(w io.Writer) error {
	err := f.exit()
	if err != nil {
		f.verdicts(w)
	}
	return err
}

func (f *finding) integrity() string {
	switch {
	case len(f.Damage) == 0 && len(f.Streams) == 0:
		return "nothing is there: no sub-directory of DIR is a stream"
	case len(f.Damage) == 0:
		return "OK"
	case f.Damage[0].Seq < 0:
		return "TAMPERED"
	}
	return fmt.Sprintf("TAMPERED at seq %d", f.Damage[0].Seq)
}

// completeness says in a few words whether all is there and what is in the way.
func (f *finding) completeness() string {
	switch {
	case f.Complete():
		return "ANCHORED"
	case len(f.Damage) > 0:
		return "NO: what was tampered with is not complete"
	}
	gaps, late, unclosed, torn := 0, 0, 0, 0
	for i := range f.Streams {
		s := &f.Streams[i]
		gaps += s.GapCount
		if s.State == auditlog.StateUnclosed {
			unclosed++
		}
		if s.Torn > 0 {
			torn++
		}
		if !f.Unanchored() && s.AnchoredSize < s.Size && !s.Complete() {
			late++
		}
	}
	var why []string
	add := func(n int, format, what string) {
		if n > 0 {
			why = append(why, fmt.Sprintf(format, count(n, what)))
		}
	}
	if f.Unanchored() {
		why = append(why, "UNANCHORED: nobody can tell whether the end is missing")
	}
	add(gaps, "GAP: %s in which events are missing", "time")
	add(unclosed, "UNCLOSED: %s without an orderly end", "stream")
	add(torn, "TORN: %s with bytes at the end that were never acknowledged", "stream")
	add(late, "LATE: %s whose end the anchor does not know", "stream")
	if len(why) == 0 {
		return "UNKNOWN"
	}
	return strings.Join(why, "; ")
}

func printStream(w io.Writer, s *auditlog.StreamReport) {
	name := s.Name
	if name == "" {
		name = s.Dir
	}
	fmt.Fprintf(w, "stream        %s  %s, %s", printable(name), s.State, count(int(s.Size), "record"))
	if !s.First.IsZero() {
		fmt.Fprintf(w, ", %s to %s", stamp(s.First), stamp(s.Last))
	}
	switch {
	case s.AnchoredSize >= s.Size && s.Size > 0:
		fmt.Fprint(w, ", anchored to the end")
	case s.AnchoredSize > 0:
		fmt.Fprintf(w, ", anchored to %d, %s behind", s.AnchoredSize, s.Late.Round(time.Millisecond))
	}
	fmt.Fprintln(w)
	if s.Damage == nil && s.Size > 0 {
		fmt.Fprintf(w, "  pin         %s\n", auditlog.Head{Stream: s.Name, Size: s.Size, Root: s.Root})
	}
	if s.Torn > 0 {
		fmt.Fprintf(w, "  torn        %d bytes after the last checkpoint were never acknowledged\n", s.Torn)
	}
	if s.Expired > 0 {
		fmt.Fprintf(w, "  expired     %s are gone by retention; their hashes are kept\n", count(int(s.Expired), "record"))
	}
	if s.Jumps > 0 {
		fmt.Fprintf(w, "  clock       was set %d times\n", s.Jumps)
	}
	for _, g := range s.Gaps {
		fmt.Fprintf(w, "  gap         at seq %d: %s to %s: %s\n", g.Seq, stamp(g.From), stamp(g.To), gapText(&g))
	}
	if more := s.GapCount - len(s.Gaps); more > 0 {
		fmt.Fprintf(w, "  gap         and %d more\n", more)
	}
}

func gapText(g *auditlog.GapReport) string {
	var parts []string
	for kind, n := range g.Counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, oneLine(kind)))
	}
	slices.Sort(parts)
	if g.Refused > 0 {
		parts = append(parts, count(int(g.Refused), "record")+" refused to their caller")
	}
	text := strings.Join(parts, ", ")
	if g.Cause != "" {
		text += " (" + oneLine(g.Cause) + ")"
	}
	return text
}

// stamp shows a time as the trail does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// count is a number of things.
func count(n int, what string) string { return fmt.Sprintf("%d %s", n, plural(what, n)) }

func plural(what string, n int) string {
	if n == 1 {
		return what
	}
	return what + "s"
}
