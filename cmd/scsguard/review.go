package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/investigate"
)

func review() command {
	return command{
		name: "review", args: "DIR...",
		short: "list what a person should look at, for a daily cron job",
		long: `Lists the exceptions of a period (PCI DSS 4.0.1 10.4.1 and 10.4.1.1): gaps,
refused and failed logins, tokens used again, sessions past their limits or without
an ending, deadlines that moved, missing numbers, streams without an end, and which
of the required kinds of event did not occur.

Exit code 0: there are none. 1: there are some. 2: the trail was tampered with. 3:
it cannot be said, because nobody knows whether the end of the trail is missing.`,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var q question
			var rq investigate.ReviewQuery
			var to when
			q.declare(fs)
			since := fs.Duration("since", 24*time.Hour, "how `long` the period is")
			fs.Var(&to, "to", "the `time` at which it ends; default: now")
			fs.IntVar(&rq.Failures, "failures", 5, "from how `many` failed logins of a user on they are listed")
			required := fs.String("require", joinKinds(investigate.RequiredKinds()), "the `kinds` of event that must occur, with commas between, or none")
			return func(c *call) error {
				if rq.To = to.Time; rq.To.IsZero() {
					rq.To = time.Now().UTC()
				}
				rq.From = rq.To.Add(-*since)
				rq.Required = []scsguard.EventKind{}
				if *required != "none" {
					for kind := range strings.SplitSeq(*required, ",") {
						rq.Required = append(rq.Required, scsguard.EventKind(strings.TrimSpace(kind)))
					}
				}
				return q.ask(c, func(ctx context.Context, t *investigate.Trail) (*finds, error) {
					list, a, err := t.Review(ctx, rq)
					out := &finds{asked: "was everything in order from " + stamp(rq.From) + " to " + stamp(rq.To) + "?", answer: a,
						columns: []string{"time", "exception", "user", "session", "what"}}
					for i := range list {
						x := &list[i]
						out.rows = append(out.rows, row{
							cells: []any{x.Time, x.Kind, x.User, x.Session, x.Detail},
							text:  fmt.Sprintf("%s  %s: %s %s: %s", cell(x.Time), x.Kind, x.User, x.Session, x.Detail),
							refs:  x.Refs,
						})
					}
					return out, err
				})
			}
		},
	}
}

func joinKinds(kinds []scsguard.EventKind) string {
	var list []string
	for _, k := range kinds {
		list = append(list, string(k))
	}
	return strings.Join(list, ",")
}

func detailList(m map[string]string) []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, k+"="+m[k])
	}
	return list
}
