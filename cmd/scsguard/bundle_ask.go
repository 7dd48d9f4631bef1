package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/scsguard/scsguard/investigate"
)

// ask is a question of a bundle.
type ask struct {
	cmd   command
	words []string // its flags
	// unanchored says that it is to be answered although nobody knows whether the end
	// of the trail is missing.
	unanchored bool

	Number   int    `json:"number"`
	Command  string `json:"command"` // as it is typed in the folder
	AskedAt  string `json:"asked_at"`
	AskedBy  string `json:"asked_by"`
	Answer   string `json:"answer"`
	Why      string `json:"why"`
	ExitCode int    `json:"exit_code"`
	File     string `json:"file"`
}

// Name is that of its command.
func (a ask) Name() string { return a.cmd.name }

// ofTheBundle are the flags that the folder decides about, and one whose file it
// does not have.
var ofTheBundle = []string{"key", "anchor", "pin", "query-trail", "query-keys", "format", "proof", "longest", "places"}

// parseAsks reads the questions before anything is copied.
func parseAsks(lines list) ([]ask, error) {
	var asks []ask
	for i, line := range lines {
		words, err := splitWords(line)
		if err != nil || len(words) == 0 {
			return nil, usageError("--ask %q: %v", line, err)
		}
		cmd := find(questions(), words[0])
		if cmd == nil {
			return nil, usageError("--ask %q: %q is not a question", line, words[0])
		}
		fs, _ := cmd.flags()
		rest, err := interleaved(fs, words[1:])
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("%q is one word too many: it is asked of the bundle", rest[0])
		}
		fs.Visit(func(f *flag.Flag) {
			if slices.Contains(ofTheBundle, f.Name) && err == nil {
				err = fmt.Errorf("leave out --%s: it is asked of the bundle, by itself", f.Name)
			}
		})
		if err != nil {
			return nil, usageError("--ask %q: %v", line, err)
		}
		unanchored := fs.Lookup("allow-unanchored").Value.String() == "true"
		asks = append(asks, ask{cmd: *cmd, words: words[1:], unanchored: unanchored, Number: i + 1})
	}
	return asks, nil
}

// splitWords splits a line at blanks, but for those between quotation marks.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, begun := rune(0), false
	for _, r := range s {
		switch {
		case in != 0 && r == in:
			in = 0
		case in != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			in, begun = r, true
		case r == ' ' || r == '\t':
			if begun {
				words = append(words, word.String())
				word.Reset()
			}
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if in != 0 {
		return nil, fmt.Errorf("a %c is missing", in)
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}

// askAll asks the questions of the copy, all of them while it is verified, keeps the
// answers as tables and as JSON, and notes the records that they rest on. What first
// does comes before any answer is written.
func (b *bundler) askAll(asks []ask, dirs []string, q *question, trail *investigate.Trail, first func(*investigate.Trail) error) error {
	ctx := context.Background()
	failed := errors.New("the trail was not verified")
	questions := []investigate.Question{{Ask: func(trail *investigate.Trail) error {
		if failed = trail.Verify(ctx); failed == nil {
			failed = first(trail)
		}
		return failed
	}}}
	for i := range asks {
		a := &asks[i]
		questions = append(questions, investigate.Question{AllowUnanchored: a.unanchored, Ask: func(trail *investigate.Trail) error {
			return b.ask(a, dirs, q, &shared{trail: trail, ready: func() error { return failed }})
		}})
	}
	for _, err := range trail.Together(ctx, questions...) {
		if err != nil {
			return err
		}
	}
	log, err := json.MarshalIndent(append([]ask{}, asks...), "", "  ")
	if err != nil {
		return err
	}
	return b.write("questions.json", string(safeJSONText(log))+"\n")
}

// ask asks a question of the copy.
func (b *bundler) ask(a *ask, dirs []string, q *question, with *shared) error {
	args := append([]string{}, a.words...)
	args = append(args, dirs...)
	args = append(args, "--key", q.keys[0], "--longest", q.longest.String())
	for _, anchor := range q.anchors {
		args = append(args, "--anchor", anchor)
	}
	for _, pin := range q.pins {
		args = append(args, "--pin", oneLinePin(pin))
	}
	a.Command = "scsguard " + a.cmd.name + " " + b.shown(args)
	a.File = fmt.Sprintf("answers/%02d-%s", a.Number, a.cmd.name)
	a.AskedAt, a.AskedBy = stamp(time.Now()), whoAsks()
	table, err := b.create(a.File + ".txt")
	if err != nil {
		return err
	}
	defer table.Close()
	exact, err := b.create(a.File + ".json")
	if err != nil {
		return err
	}
	defer exact.Close()
	toTable, toExact := b.relative(table), b.relative(exact)
	with.json = toExact
	var errs bytes.Buffer
	fmt.Fprintf(table, "$ %s\n", a.Command) // an error stays, and Close says
	a.ExitCode = a.cmd.executeShared(with, append(args, "--proof"), toTable, &errs)
	if a.ExitCode >= exitUsage {
		return &exitError{a.ExitCode, fmt.Errorf("--ask %q: %s", a.cmd.name+" "+strings.Join(a.words, " "), strings.TrimSpace(errs.String()))}
	}
	toTable.end()
	toExact.end()
	fmt.Fprintf(table, "\nexit code %d, asked at %s by %s\n", a.ExitCode, a.AskedAt, printable(a.AskedBy))
	a.Answer, a.Why = with.found.answer.Verdict.String(), with.found.answer.Why
	for r := range with.found.proofs {
		b.rests(r)
	}
	with.found = nil
	return errors.Join(table.Close(), exact.Close())
}

// rests notes a record that an answer rests on. Those that can be proved are named,
// the others counted.
func (b *bundler) rests(r investigate.Ref) {
	key := [16]byte(r.Leaf[:16])
	if _, ok := b.resting[key]; ok {
		return
	}
	b.resting[key] = struct{}{}
	if len(b.refs) < b.maxProofs {
		b.refs = append(b.refs, r)
	}
}

// relative takes the place where the folder grew out of what is written, line by line.
func (b *bundler) relative(w io.Writer) *withoutText {
	return &withoutText{w: w, text: []byte(b.dir + string(filepath.Separator))}
}

// withoutText takes a text out of lines. What has no line break yet waits for it.
type withoutText struct {
	w          io.Writer
	text, line []byte
}

func (r *withoutText) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			r.line = append(r.line, p...)
			return n, nil
		}
		r.line = append(r.line, p[:i+1]...)
		if _, err := r.w.Write(bytes.ReplaceAll(r.line, r.text, nil)); err != nil {
			return 0, err
		}
		r.line, p = r.line[:0], p[i+1:]
	}
}

// end writes what has no line break. An error stays with where it is written.
func (r *withoutText) end() {
	_, _ = r.w.Write(bytes.ReplaceAll(r.line, r.text, nil))
	r.line = nil
}

// shown are arguments as one would type them.
func (b *bundler) shown(args []string) string {
	list := make([]string, len(args))
	for i, a := range args {
		if list[i] = strings.ReplaceAll(a, b.dir+string(filepath.Separator), ""); strings.ContainsAny(list[i], " \t'\"$`\\!*?[]{}()<>|&;#~\n") || list[i] == "" {
			list[i] = quoted(list[i])
		}
	}
	return strings.Join(list, " ")
}
