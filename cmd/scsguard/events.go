package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"

	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/investigate"
)

func events() command {
	return command{
		name: "events", args: "DIR",
		short: "print the events of a trail, in order, as JSON lines",
		long: `Verifies the trail in DIR and prints its events, one JSON object in a line, as the
application recorded them. Events of one stream keep their order; those of several
are merged by time. Of a damaged stream it prints what comes before the damage.
Of the log's own records it prints those that say something about the events, such
as audit.gap. Characters that could change what a terminal shows are escaped.

The exit code is that of verify.`,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var t trust
			t.declare(fs)
			all := fs.Bool("all", false, "print the log's own records, too: that it was opened, closed, alive")
			raw := fs.Bool("raw", false, "print whole lines with their seal, byte by byte as they stand in the log; on a terminal escaped as without it")
			return func(c *call) error {
				f, err := inspect(c, &t, c.args[0])
				if err != nil {
					return err
				}
				if err := printEvents(c, f, *all, *raw); err != nil {
					return err
				}
				return f.sum(c.stderr)
			}
		},
	}
}

func printEvents(c *call, f *finding, all, raw bool) error {
	for r, err := range investigate.Records(context.Background(), f.Report) {
		if err != nil {
			return err
		}
		if r.Own && !all && !tells(r.Event) {
			continue
		}
		line := r.Line
		if !raw {
			line = shown(&r)
		}
		if !raw || c.tty { // what goes into a file must have the bytes that were sealed
			line = safeJSON(line)
		}
		if _, err := fmt.Fprintf(c.stdout, "%s\n", line); err != nil {
			return err
		}
	}
	return nil
}

// shown is what is printed of a record. The log's own do not say when they were
// written, nor in which stream; their line does.
func shown(r *auditlog.Record) []byte {
	if !r.Own {
		return r.Event
	}
	return append(fmt.Appendf(nil, `{"time":%q,"stream":%q,"seq":%d,`, stamp(r.Time), r.Stream, r.Seq), r.Event[1:]...)
}

// tells reports whether a record of the log about itself says something about
// the events beside it.
func tells(own []byte) bool {
	var r struct {
		Event string `json:"event"`
	}
	if json.Unmarshal(own, &r) != nil {
		return true
	}
	switch r.Event {
	case "audit.opened", "audit.closed", "audit.rotated", "audit.heartbeat":
		return false
	}
	return true
}
