package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/scsguard/scsguard/investigate"
)

func extensions() command {
	return command{
		name: "extensions", args: "DIR...",
		short: "was this session extended when it should not have been?",
		long: `Shows every movement of a session's deadlines: by whom, why, from when to when;
those of mere activity with --all. The answer is yes if one of them is flagged: an
absolute deadline that moved without a re-authentication, an extension past a
deadline, one from another network than the last authentication, one whose old
deadline is not the one that the trail knows.` + questionHelp,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var q question
			q.declare(fs)
			session := fs.String("session", "", "the public `ID` of the session; required")
			all := fs.Bool("all", false, "show activity, too")
			return func(c *call) error {
				if *session == "" {
					return usageError("--session is missing")
				}
				return q.ask(c, func(ctx context.Context, t *investigate.Trail) (*finds, error) {
					moves, a, err := t.Extensions(ctx, *session, investigate.Rule{})
					out := &finds{asked: "was session " + *session + " extended when it should not have been?", answer: a,
						columns: []string{"time", "what", "by", "ip", "idle old", "idle new", "absolute old", "absolute new", "flags"}}
					for i := range moves {
						if m := &moves[i]; *all || !m.Activity() || len(m.Flags) > 0 {
							out.rows = append(out.rows, movementRow(m))
						}
					}
					if n := len(moves) - len(out.rows); n > 0 {
						out.note = "not shown: " + count(n, "movement") + " by mere activity; --all shows them, too"
					}
					return out, err
				})
			}
		},
	}
}

func movementRow(m *investigate.Movement) row {
	what, by := string(m.Kind), m.User
	if m.Reason != "" {
		what += " (" + m.Reason + ")"
	}
	if m.Retracted {
		what += ", retracted"
	}
	if m.Event.Actor != "" {
		by = m.Event.Actor
	}
	text := fmt.Sprintf("%s %s by %s from %s: idle %s to %s, absolute %s to %s", stamp(m.Time), what, by, m.IP,
		cell(m.IdleBefore), cell(m.IdleExpires), cell(m.AbsoluteBefore), cell(m.AbsoluteEnd))
	if len(m.Flags) > 0 {
		text += ": " + strings.Join(m.Flags, "; ")
	}
	return row{
		cells: []any{m.Time, what, by, m.IP, m.IdleBefore, m.IdleExpires, m.AbsoluteBefore, m.AbsoluteEnd, m.Flags},
		text:  text, refs: []investigate.Ref{m.Ref},
	}
}
