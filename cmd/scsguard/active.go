package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/scsguard/scsguard/investigate"
)

func active() command {
	return command{
		name: "active", args: "DIR...",
		short: "was this session, or any of this user's, alive at that moment?",
		long: `Answers whether a session was alive at a moment, or which sessions of a user were.
A session is alive from its login until the earliest of its idle deadline, its
absolute deadline and its ending, however late that was noticed.` + questionHelp,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var q question
			q.declare(fs)
			var at when
			session := fs.String("session", "", "the public `ID` of the session")
			user := fs.String("user", "", "the `user`, in place of a session")
			fs.Var(&at, "at", "the `time`; required")
			return func(c *call) error {
				if (*session == "") == (*user == "") {
					return usageError("give --session or --user")
				}
				if at.IsZero() {
					return usageError("--at is missing: when?")
				}
				return q.ask(c, func(ctx context.Context, t *investigate.Trail) (*finds, error) {
					if *session != "" {
						a, err := t.Active(ctx, *session, at.Time)
						return &finds{asked: "was session " + *session + " alive at " + stamp(at.Time) + "?", answer: a}, err
					}
					a, lives, err := t.ActiveOf(ctx, *user, at.Time)
					out := &finds{asked: fmt.Sprintf("did user %q have a session at %s?", *user, stamp(at.Time)), answer: a, columns: lifeColumns}
					for _, l := range lives {
						out.rows = append(out.rows, lifeRow(l))
					}
					return out, err
				})
			}
		},
	}
}

var lifeColumns = []string{"session", "user", "from", "begin", "until", "state", "alive then", "why"}

func lifeRow(l investigate.Life) row {
	until, state := l.Over, l.State(time.Time{}, false)
	if until.IsZero() {
		until, state = l.Last, "not ended"
	}
	return row{
		cells: []any{l.ID, l.User, l.IP, l.Begin, until, state, l.Answer.Verdict.String(), l.Answer.Why},
		text:  fmt.Sprintf("%s of %s from %s: %s, %s", l.ID, l.User, l.IP, l.Answer.Verdict, l.Answer.Why),
		refs:  l.Answer.Rests,
	}
}
