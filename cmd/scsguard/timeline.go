package main

import (
	"context"
	"flag"

	"github.com/scsguard/scsguard/investigate"
)

func timeline() command {
	return command{
		name: "timeline", args: "DIR...",
		short: "tell what happened, event by event",
		long: `Shows the events of a session in the order of their numbers, or of a user, or of
everybody, by time; those of mere activity with --all. With --format text it tells
them in sentences.` + questionHelp,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var q question
			var tq investigate.TimelineQuery
			var p period
			q.declare(fs)
			p.declare(fs)
			fs.StringVar(&tq.Session, "session", "", "only this `session`")
			fs.StringVar(&tq.User, "user", "", "only this `user`")
			fs.BoolVar(&tq.Activity, "all", false, "show activity, too")
			return func(c *call) error {
				tq.From, tq.To = p.from.Time, p.to.Time
				return q.ask(c, func(ctx context.Context, t *investigate.Trail) (*finds, error) {
					list, a, err := t.Timeline(ctx, tq)
					out := &finds{asked: "what happened?", answer: a,
						columns: []string{"time", "event", "outcome", "reason", "user", "session", "seq", "ip", "actor", "transaction", "stream"},
						n:       len(list), at: func(i int) row {
							e := &list[i]
							return row{
								cells: []any{e.Time, string(e.Kind), e.Outcome, e.Reason, e.User, e.Session, int(e.SessionSeq), e.IP, e.Actor, e.Transaction, e.Ref.Stream},
								text:  stamp(e.Time) + "  " + e.Sentence(), refs: []investigate.Ref{e.Ref},
							}
						}}
					return out, err
				})
			}
		},
	}
}
