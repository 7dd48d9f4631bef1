package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/scsguard/scsguard/investigate"
)

func transaction() command {
	return command{
		name: "transaction", args: "DIR...",
		short: "was the session alive in which this transaction was made, and what else was?",
		long: `Looks up what the application recorded under the ID of a transaction, and answers
whether the session in which it did was alive then. The other sessions that the
user had at that moment are shown, too.` + questionHelp,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var q question
			q.declare(fs)
			id := fs.String("id", "", "the `ID` of the transaction; required")
			return func(c *call) error {
				if *id == "" {
					return usageError("--id is missing")
				}
				return q.ask(c, func(ctx context.Context, t *investigate.Trail) (*finds, error) {
					list, a, err := t.Transaction(ctx, *id)
					out := &finds{asked: fmt.Sprintf("was the session of transaction %q alive then?", *id), answer: a,
						columns: []string{"time", "event", "outcome", "user", "session", "ip", "details", "alive then", "others alive"}}
					for i := range list {
						out.rows = append(out.rows, transactionRow(&list[i]))
					}
					return out, err
				})
			}
		},
	}
}

func transactionRow(x *investigate.Transaction) row {
	var others []string
	refs := append([]investigate.Ref{x.Ref}, x.Life.Rests...)
	for _, o := range x.Others {
		text := o.ID + " from " + o.IP
		if o.Answer.Verdict != investigate.Yes {
			text += " (perhaps)"
		}
		others = append(others, text)
		refs = append(refs, o.Answer.Rests...)
	}
	outcome := x.Outcome
	if x.Retracted {
		outcome += ", retracted"
	}
	return row{
		cells: []any{x.Time, string(x.Kind), outcome, x.User, x.Event.Session, x.IP, detailList(x.Details), x.Life.Verdict.String(), others},
		text:  stamp(x.Time) + "  " + x.Sentence() + "; its session: " + x.Life.Verdict.String() + ", " + x.Life.Why + "; others alive: " + strings.Join(others, ", "),
		refs:  refs,
	}
}
