package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/scsguard/scsguard/investigate"
)

func report() command {
	return command{
		name: "report", args: "DIR...",
		short: "write one HTML page: the verdict, a picture of each user's sessions, the records",
		long: `Writes a page that needs no network and no other file: whether the trails are intact
and complete, what was counted, a timeline for each user with a bar for each session
and a mark for each record, and beneath it the records with stream, number and leaf
hash, so that each can be looked up and proved. What may be missing is hatched.

Above 1,000 sessions it shows how many were alive when, the users by name, and
pictures only of those who had several sessions at a time or something else to look
at. --from, --to and --user choose less.

The exit code is that of verify.`,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var q question
			var p period
			q.declareTrail(fs)
			p.declare(fs)
			r := &reporter{}
			fs.StringVar(&r.user, "user", "", "only this `user`")
			out := fs.String("out", "report.html", "the `file` to write, or - for standard output")
			return func(c *call) error {
				r.from, r.to = p.from.Time, p.to.Time
				if !r.from.IsZero() && !r.to.IsZero() && !r.from.Before(r.to) {
					return usageError("--from must be before --to")
				}
				return r.run(c, &q, *out)
			}
		},
	}
}

func (r *reporter) run(c *call, q *question, out string) error {
	if _, err := os.Lstat(out); out != "-" && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already: it stays as it is", out)
	}
	trail, bars, err := q.open(c, c.args)
	if err != nil {
		return err
	}
	page, err := r.gather(context.Background(), trail)
	bars.done()
	if err != nil {
		return err
	}
	state := health(trail, "a report")
	page.Beside = q.beside
	if err := q.recorded(c, &state, trail.Reports, c.args); err != nil {
		return err
	}
	if out == "-" {
		err = page.render(c.stdout)
	} else if err = writeWhole(out, page.render); err == nil {
		fmt.Fprintf(c.stdout, "%s: %s, %s\n", printable(out), state.Why, count(page.Total, "session"))
	}
	if err != nil {
		return err
	}
	return exitOf(state)
}

// writeWhole writes a file that has its name when it is whole.
func writeWhole(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-") // for its owner only
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriter(f)
	err = write(w)
	for _, next := range []func() error{w.Flush, f.Sync, f.Close} {
		if e := next(); err == nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// stateOf is one of the three looks of a verdict.
func stateOf(a investigate.Answer) string {
	switch a.ExitCode() {
	case exitOK:
		return "good"
	case exitTamper:
		return "bad"
	}
	return "open"
}
