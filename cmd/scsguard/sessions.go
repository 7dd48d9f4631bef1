package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"

	"github.com/scsguard/scsguard/investigate"
)

func sessions() command {
	return command{
		name: "sessions", args: "DIR...",
		short: "list sessions: who, from where, when, how long, how it ended",
		long: `Lists the sessions of a trail like last(1). What stands under STATE is how it
ended; "alive" is one that lived when the trail ended, "crash" one whose process
ended without closing its trail, "past its limit" one whose time was over and whose
ending nobody has recorded. UNTIL is when it was over, or when it was last seen.` + questionHelp,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var q question
			var f investigate.Filter
			var p period
			q.declare(fs)
			p.declare(fs)
			fs.StringVar(&f.User, "user", "", "only those of this `user`")
			fs.StringVar(&f.Session, "session", "", "only this `session`")
			network := fs.String("network", "", "only those that began in this `network`, such as 192.0.2.0/24")
			return func(c *call) error {
				if *network != "" {
					var err error
					if f.Network, err = netip.ParsePrefix(*network); err != nil {
						return usageError("--network: %v", err)
					}
				}
				f.From, f.To = p.from.Time, p.to.Time
				return q.ask(c, func(ctx context.Context, t *investigate.Trail) (*finds, error) {
					list, a, err := t.Sessions(ctx, f)
					if err != nil {
						return nil, err
					}
					out := &finds{asked: "which sessions were there?", answer: a,
						columns: []string{"session", "user", "from", "begin", "until", "lasted", "state", "by", "events", "missing", "clocks differ"},
						n:       len(list), at: func(i int) row { return sessionRow(&list[i]) }}
					return out, nil
				})
			}
		},
	}
}

func sessionRow(l *investigate.Listed) row {
	begin := l.Begin
	if begin.IsZero() {
		begin = l.Created
	}
	lasted := l.Until.Sub(begin)
	if begin.IsZero() || l.Until.Before(begin) {
		lasted = 0
	}
	return row{
		cells: []any{l.ID, l.User, l.IP, begin, l.Until, lasted, l.State, l.EndedBy, l.Events, l.Missing, l.ClockDifference},
		text:  fmt.Sprintf("%s: %s from %s, %s to %s (%v), %s", l.ID, l.User, l.IP, cell(begin), cell(l.Until), cell(lasted), l.State),
		refs:  []investigate.Ref{l.BeginRef, l.LastRef, l.EndRef},
	}
}
