package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
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
		asks = append(asks, ask{cmd: *cmd, words: words[1:], Number: i + 1})
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

// askAll asks the questions of the copy, keeps the answers as tables and as JSON,
// and returns the records that they rest on.
func (b *bundler) askAll(asks []ask, dirs []string, q *question) ([]investigate.Ref, error) {
	var refs []investigate.Ref
	seen := make(map[investigate.Ref]bool)
	for i := range asks {
		a := &asks[i]
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
		var table, exact, errs bytes.Buffer
		a.ExitCode = a.cmd.execute(append(slices.Clone(args), "--proof"), &table, &errs)
		if code := a.cmd.execute(append(slices.Clone(args), "--proof", "--format", "json"), &exact, &errs); code != a.ExitCode || a.ExitCode >= exitUsage {
			return nil, &exitError{max(code, a.ExitCode), fmt.Errorf("--ask %q: %s", a.cmd.name+" "+strings.Join(a.words, " "), strings.TrimSpace(errs.String()))}
		}
		var out struct {
			Answer, Why string
			Proof       []investigate.Ref
		}
		if err := json.Unmarshal(exact.Bytes(), &out); err != nil {
			return nil, err
		}
		a.Answer, a.Why = out.Answer, out.Why
		for _, r := range out.Proof {
			if !seen[r] {
				seen[r] = true
				refs = append(refs, r)
			}
		}
		text := fmt.Sprintf("$ %s\n%s\nexit code %d, asked at %s by %s\n", a.Command, b.relative(table.String()), a.ExitCode, a.AskedAt, printable(a.AskedBy))
		if err := b.write(a.File+".txt", text); err != nil {
			return nil, err
		}
		if err := b.write(a.File+".json", b.relative(exact.String())); err != nil {
			return nil, err
		}
	}
	log, err := json.MarshalIndent(append([]ask{}, asks...), "", "  ")
	if err != nil {
		return nil, err
	}
	return refs, b.write("questions.json", string(safeJSONText(log))+"\n")
}

// relative takes the place where the folder grew out of a text.
func (b *bundler) relative(s string) string {
	return strings.ReplaceAll(s, b.dir+string(filepath.Separator), "")
}

// shown are arguments as one would type them.
func (b *bundler) shown(args []string) string {
	list := make([]string, len(args))
	for i, a := range args {
		if list[i] = b.relative(a); strings.ContainsAny(list[i], " \t'\"$`\\!*?[]{}()<>|&;#~\n") || list[i] == "" {
			list[i] = quoted(list[i])
		}
	}
	return strings.Join(list, " ")
}
