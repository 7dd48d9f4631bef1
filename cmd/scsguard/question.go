package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/investigate"
)

// question is what all commands have in common that ask a trail something.
type question struct {
	trust
	format          string
	proof           bool
	allowUnanchored bool
	longest         time.Duration
	queries         queryTrail
}

const questionHelp = `

The answer is yes (exit code 0), no (1) or unknown (3): whenever a gap, a missing
number of the session's sequence, an end that is not closed, or what lies behind
the end of the trail could change it; 2 if it is unknown because the trail was
tampered with. A trail of which no --anchor and no --pin knows the length answers
with --allow-unanchored only. Several directories are several trails of the same
application; give as many --anchor then, in the same order. Times are UTC.`

func (q *question) declare(fs *flag.FlagSet) {
	q.declareTrail(fs)
	fs.StringVar(&q.format, "format", "table", "how to print the answer, a `word`: table, text, csv or json")
	fs.BoolVar(&q.proof, "proof", false, "name the records it rests on: stream, number, leaf hash; see prove")
	fs.BoolVar(&q.allowUnanchored, "allow-unanchored", false, "answer although nobody can tell whether the end of the trail is missing")
}

// declareTrail declares the flags of everything that reads trails.
func (q *question) declareTrail(fs *flag.FlagSet) {
	q.trust.declare(fs)
	fs.DurationVar(&q.longest, "longest", 24*time.Hour, "how `long` no session lives")
	q.queries.declare(fs)
}

// ask verifies the trails, calls f and prints what it has found.
func (q *question) ask(c *call, f func(context.Context, *investigate.Trail) (*finds, error)) error {
	switch q.format {
	case "table", "text", "csv", "json":
	default:
		return usageError("--format %s: it is table, text, csv or json", q.format)
	}
	found, trail, err := q.find(c, f)
	if err != nil {
		return err
	}
	if c.shared != nil {
		c.shared.found, err = found, c.shared.ready()
	} else {
		err = q.recorded(c, &found.answer, trail.Reports, c.args)
	}
	if err != nil {
		return err
	}
	if err := q.print(c, trail, found); err != nil {
		return err
	}
	if c.shared != nil {
		if err := q.printJSON(c.shared.json, trail, found); err != nil {
			return err
		}
	}
	if code := found.code(); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// find asks the trail that the question was given, or opens one.
func (q *question) find(c *call, f func(context.Context, *investigate.Trail) (*finds, error)) (*finds, *investigate.Trail, error) {
	ctx := context.Background()
	if c.shared != nil {
		found, err := f(ctx, c.shared.trail)
		return found, c.shared.trail, err
	}
	trail, bars, err := q.open(c, c.args)
	if err != nil {
		return nil, nil, err
	}
	defer bars.done()
	found, err := f(ctx, trail)
	return found, trail, err
}

// recorded records the query. What nobody knows of was not read: the record comes
// before the answer.
func (q *question) recorded(c *call, a *investigate.Answer, reports []*auditlog.Report, dirs []string) error {
	if err := q.queries.record(c.line, a, reports, dirs); err != nil {
		return fmt.Errorf("the query could not be recorded, so it is not answered: %w", err)
	}
	return nil
}

// open returns the trail in dirs, to be verified by whoever asks it first. Reading
// moves the bars, which done takes away.
func (q *question) open(c *call, dirs []string) (*investigate.Trail, *bars, error) {
	sources, err := q.sources(dirs)
	if err != nil {
		return nil, nil, err
	}
	all := &bars{}
	for i := range sources {
		sources[i].Options.Progress = all.add(newProgress(c.stderr, "verifying", 0))
	}
	trail, err := investigate.Open(investigate.Options{
		AllowUnanchored: q.allowUnanchored, Longest: q.longest, Progress: all.add(newProgress(c.stderr, "reading", 0)),
	}, sources...)
	return trail, all, err
}

// verified is open for those who need the verdict first.
func (q *question) verified(c *call, dirs []string) (*investigate.Trail, *bars, error) {
	trail, bars, err := q.open(c, dirs)
	if err != nil {
		return nil, nil, err
	}
	defer bars.done()
	return trail, bars, trail.Verify(context.Background())
}

// health is how good a trail is, as an answer: whether it is intact and complete.
func health(trail *investigate.Trail, did string) investigate.Answer {
	switch {
	case !trail.Intact():
		return investigate.Answer{Verdict: investigate.Unknown, Tampering: true, Why: did + " of a trail that was tampered with"}
	case !trail.Complete():
		return investigate.Answer{Verdict: investigate.Unknown, Why: did + " of a trail that is intact as far as it goes"}
	}
	return investigate.Answer{Verdict: investigate.Yes, Why: did + " of a trail that is intact and complete"}
}

// exitOf is what ExitCode of a trail's health says, as an error for dispatch.
func exitOf(a investigate.Answer) error {
	if code := a.ExitCode(); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// sources are the directories, each with the anchor that belongs to it.
func (q *question) sources(dirs []string) ([]investigate.Source, error) {
	if n := len(q.anchors); len(dirs) > 1 && n != 0 && n != len(dirs) {
		return nil, usageError("%d directories and %d anchors: give one --anchor for each, in the same order", len(dirs), n)
	}
	var list []investigate.Source
	for i, dir := range dirs {
		t := q.trust
		if len(dirs) > 1 {
			if t.anchors = nil; len(q.anchors) > 0 {
				t.anchors = q.anchors[i : i+1]
			}
			t.pins = q.pinsOf(dir)
		}
		o, err := t.options(dir)
		if err != nil {
			return nil, err
		}
		q.beside = t.beside
		list = append(list, investigate.Source{Dir: dir, Options: o})
	}
	return list, nil
}

// pinsOf returns the pins of streams that a directory has.
func (q *question) pinsOf(dir string) list {
	var pins list
	for _, text := range q.pins {
		content := text
		if b, err := os.ReadFile(text); err == nil {
			content = string(b)
		}
		pin, err := auditlog.ParsePin(content)
		if err != nil {
			return q.pins // inspect says what is wrong with it
		}
		if info, err := os.Stat(filepath.Join(dir, pin.Stream[strings.LastIndexByte(pin.Stream, '/')+1:])); err == nil && info.IsDir() {
			pins = append(pins, text)
		}
	}
	return pins
}

// when is a flag with a time.
type when struct{ time.Time }

func (w *when) String() string {
	if w == nil || w.IsZero() {
		return ""
	}
	return stamp(w.Time)
}

// Set reads a time as the trail has it, or less of it, always in UTC.
func (w *when) Set(s string) error {
	if s == "now" {
		w.Time = time.Now().UTC()
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			w.Time = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("write it like 2026-11-21T09:30:00Z, 2026-11-21T09:30, 2026-11-21 or now")
}

// period is --from and --to.
type period struct{ from, to when }

func (p *period) declare(fs *flag.FlagSet) {
	fs.Var(&p.from, "from", "the `time` from which on; default: all")
	fs.Var(&p.to, "to", "the `time` up to which; default: all")
}
