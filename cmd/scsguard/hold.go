package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
)

func hold() command {
	return command{
		name: "hold", args: "DIR",
		short: "keep what a case needs from retention",
		long: `Marks the segments of a trail that have the records from one number to another, so
that retention (auditlog.Log.Expire) keeps them, and prints their names. It verifies
first: what is not as it was written is no evidence, and retention leaves it alone
anyway. The mark is a file NNNNNNNN.hold beside the segment, with the name of each
case in a line; remove the file when no case needs it. "scsguard events --raw" shows
the streams and numbers of records.

Exit code 2: the trail was tampered with, which concerns perhaps another stream.`,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var t trust
			t.declare(fs)
			from := fs.Int64("from", math.MinInt64, "the `number` of the first record in its stream; required")
			to := fs.Int64("to", math.MinInt64, "the `number` of the last record (default: that of --from)")
			stream := fs.String("stream", "", "the `name` of the stream; needed if there are several")
			name := fs.String("case", "", "the `name` of the case; required")
			return func(c *call) error {
				if *to == math.MinInt64 {
					*to = *from
				}
				switch {
				case *from == math.MinInt64:
					return usageError("--from is missing")
				case *from < 0 || *to < *from:
					return usageError("there are no records from %d to %d", *from, *to)
				case *name == "":
					return usageError("--case is missing: whoever finds the mark must know whom to ask")
				}
				f, err := inspect(c, &t, c.args[0])
				if err != nil {
					return err
				}
				of, err := f.one(*stream)
				if err != nil {
					return err
				}
				held, err := f.Hold(context.Background(), of, *from, *to, *name)
				for _, file := range held {
					_, e := fmt.Fprintln(c.stdout, printable(file))
					err = errors.Join(err, e)
				}
				if err != nil || f.Intact() {
					return err // whether the end is there has nothing to do with it
				}
				return f.sum(c.stderr)
			}
		},
	}
}
