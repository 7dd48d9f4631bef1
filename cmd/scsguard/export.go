package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"slices"
	"strings"

	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/investigate"
)

func export() command {
	return command{
		name: "export", args: "DIR...",
		short: "print events in the words of a SIEM: ECS, OCSF, CSV or JSON",
		long: `Verifies the trails and prints their events, one in a line, in the names that other
systems know: ecs (Elastic Common Schema), ocsf (Open Cybersecurity Schema Framework),
csv, or json, which has the event as it was recorded. Beside each stands the whole
line of the log, with its seal, and its leaf hash: event.original and event.hash in
ECS, raw_data and raw_data_hash in OCSF. So a pipeline that changes names cannot
break the proof. A line with invisible or broken characters is given as "base64:"
and its bytes.

A record that was written twice is printed twice, under the same ID. In CSV a cell
that a spreadsheet would take for a formula begins with an apostrophe.

The exit code is that of verify; of a damaged stream it prints what comes before the
damage.`,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var q question
			var x exportQuery
			q.declareTrail(fs)
			x.declare(fs)
			return func(c *call) error {
				printer := exporters[x.format]
				if printer == nil {
					return usageError("--format %s: it is ecs, ocsf, csv or json", x.format)
				}
				trail, bars, err := q.verified(c, c.args)
				if err != nil {
					return err
				}
				state := health(trail, "an export")
				if err := q.recorded(c, &state, trail.Reports, c.args); err != nil {
					return err
				}
				if err := x.run(c, trail, bars, printer(c.stdout)); err != nil {
					return err
				}
				for _, rep := range trail.Reports {
					_ = (&finding{rep}).sum(c.stderr) // the code is that of all
				}
				return exitOf(state)
			}
		},
	}
}

// exportQuery is what to export.
type exportQuery struct {
	period
	format, user, session string
	all                   bool
}

func (x *exportQuery) declare(fs *flag.FlagSet) {
	x.period.declare(fs)
	fs.StringVar(&x.format, "format", "json", "in whose `words`: ecs, ocsf, csv or json")
	fs.StringVar(&x.user, "user", "", "only the events of this `user`")
	fs.StringVar(&x.session, "session", "", "only those of this `session`")
	fs.BoolVar(&x.all, "all", false, "the log's own records, too: that it was opened, closed, alive")
}

// exporter prints one event, and at the end whatever is left to print.
type exporter interface {
	put(*exported) error
	end() error
}

var exporters = map[string]func(*bufio.Writer) exporter{
	"ecs":  func(w *bufio.Writer) exporter { return &jsonLines{w, func(x *exported) any { return toECS(x) }} },
	"ocsf": func(w *bufio.Writer) exporter { return &jsonLines{w, func(x *exported) any { return toOCSF(x) }} },
	"json": func(w *bufio.Writer) exporter { return &jsonLines{w, func(x *exported) any { return toPlain(x) }} },
	"csv":  newCSVLines,
}

// exported is an event on its way out.
type exported struct {
	investigate.Event
	meaning
	line []byte // the whole line of the log
}

// run prints the events that are asked for.
func (x *exportQuery) run(c *call, trail *investigate.Trail, bars *bars, out exporter) error {
	defer bars.done()
	total, done := int64(0), int64(0)
	for _, rep := range trail.Reports {
		total += rep.Bytes
	}
	move := bars.add(newProgress(c.stderr, "reading", 0))
	for r, err := range investigate.Records(context.Background(), trail.Reports...) {
		if err != nil {
			return err
		}
		if done += int64(len(r.Line)) + 1; r.Seq%4096 == 0 {
			move(done, total)
		}
		if e := investigate.Parse(&r); x.takes(&e) {
			if err := out.put(&exported{e, meaningOf(&e), r.Line}); err != nil {
				return err
			}
		}
	}
	return out.end()
}

// takes reports whether the event was asked for. What the log says about all
// events, that some are missing, is said of each selection.
func (x *exportQuery) takes(e *investigate.Event) bool {
	if !x.from.IsZero() && e.Time.Before(x.from.Time) || !x.to.IsZero() && e.Time.After(x.to.Time) {
		return false
	}
	if e.Own {
		return x.all || tells(e.Raw)
	}
	return (x.user == "" || e.User == x.user) && (x.session == "" || e.Session == x.session)
}

// jsonLines prints an object for each event.
type jsonLines struct {
	w  *bufio.Writer
	to func(*exported) any
}

func (j *jsonLines) put(x *exported) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(j.to(x)); err != nil {
		return err
	}
	line := strings.TrimSuffix(b.String(), "\n")
	_, err := j.w.Write(append(slices.Clip(safeJSON([]byte(line))), '\n'))
	return err
}

func (*jsonLines) end() error { return nil }

// rawText is a line of the log from which its hash can be computed, whatever
// reads it: as it is, or in base64 where a text would not survive.
func rawText(line []byte) string {
	if s := string(line); !strings.ContainsFunc(s, unsafe) {
		return s
	}
	return "base64:" + base64.StdEncoding.EncodeToString(line)
}

// plainEvent is --format json: the event as it was recorded.
type plainEvent struct {
	Stream string          `json:"stream"`
	Seq    int64           `json:"seq"`
	Sealed string          `json:"sealed"`
	Leaf   auditlog.Hash   `json:"leaf"`
	Event  json.RawMessage `json:"event"`
	Raw    string          `json:"raw"`
}

func toPlain(x *exported) plainEvent {
	return plainEvent{x.Ref.Stream, x.Ref.Seq, cell(x.Sealed), x.Ref.Leaf, json.RawMessage(safeJSON(x.Raw)), rawText(x.line)}
}
