package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/scsguard/scsguard/investigate"
)

// finds is what a question has found.
type finds struct {
	asked   string // the question, in words
	answer  investigate.Answer
	note    string // what is not shown
	columns []string
	rows    []row
	// Of rows that would be many, at makes the i-th of n when it is printed.
	at func(i int) row
	n  int
	// exit is the exit code where it is not that of the answer.
	exit func(investigate.Answer) int
}

// row is a line of a table.
type row struct {
	cells []any // string, bool, int, time.Time, time.Duration, []string
	text  string
	refs  []investigate.Ref
}

// all yields the rows.
func (f *finds) all(yield func(row) bool) {
	for i := range f.len() {
		var r row
		if f.at != nil {
			r = f.at(i)
		} else {
			r = f.rows[i]
		}
		if !yield(r) {
			return
		}
	}
}

func (f *finds) len() int {
	if f.at != nil {
		return f.n
	}
	return len(f.rows)
}

func (f *finds) code() int {
	if f.exit != nil {
		return f.exit(f.answer)
	}
	return f.answer.ExitCode()
}

// proofs yields all records it rests on, each once. There may be millions, so of those
// that were there half a hash is kept.
func (f *finds) proofs(yield func(investigate.Ref) bool) {
	seen := make(map[[16]byte]struct{})
	take := func(refs []investigate.Ref) bool {
		for _, r := range refs {
			key := [16]byte(r.Leaf[:16])
			if _, ok := seen[key]; ok || r.Stream == "" {
				continue
			}
			seen[key] = struct{}{}
			if !yield(r) {
				return false
			}
		}
		return true
	}
	if !take(f.answer.Rests) {
		return
	}
	for r := range f.all {
		if !take(r.refs) {
			return
		}
	}
}

func (q *question) print(c *call, t *investigate.Trail, f *finds) error {
	switch q.format {
	case "json":
		return q.printJSON(c.stdout, t, f)
	case "csv":
		if err := q.printCSV(c.stdout, f); err != nil {
			return err
		}
		q.printVerdict(c.stderr, t, f)
		return nil
	case "text":
		q.printVerdict(c.stdout, t, f)
		for r := range f.all {
			fmt.Fprintln(c.stdout, oneLine(r.text))
		}
	default:
		q.printVerdict(c.stdout, t, f)
		if f.len() > 0 {
			fmt.Fprintln(c.stdout)
			printTable(c.stdout, f)
		}
	}
	if q.proof {
		fmt.Fprintln(c.stdout)
		for r := range f.proofs {
			fmt.Fprintf(c.stdout, "proof         %s %d %s\n", printable(r.Stream), r.Seq, r.Leaf)
		}
	}
	return nil
}

// printTable goes through the rows twice, to see how wide the columns are and to
// print them: a package that does it in one go keeps all of them.
func printTable(w io.Writer, f *finds) {
	head := make([]string, len(f.columns))
	widths := make([]int, len(f.columns))
	measure := func(line []string) {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	for i, name := range f.columns {
		head[i] = strings.ToUpper(name)
	}
	measure(head)
	for r := range f.all {
		measure(cells(r))
	}
	write := func(line []string) {
		last := len(line) - 1
		for i, text := range line[:last] {
			fmt.Fprintf(w, "%-*s  ", widths[i], text)
		}
		fmt.Fprintln(w, line[last])
	}
	write(head)
	for r := range f.all {
		write(cells(r))
	}
}

func cells(r row) []string {
	list := make([]string, len(r.cells))
	for i, c := range r.cells {
		list[i] = oneLine(cell(c))
	}
	return list
}

// printVerdict says the answer, how good the trail is, and what may be missing.
func (q *question) printVerdict(w io.Writer, t *investigate.Trail, f *finds) {
	fmt.Fprintf(w, "question      %s\n", oneLine(f.asked))
	fmt.Fprintf(w, "answer        %s: %s\n", f.answer.Verdict, oneLine(f.answer.Why))
	if q.beside != "" {
		fmt.Fprintf(w, "key           %s, found beside the trail; name a copy of your own with --key\n", printable(q.beside))
	}
	first, last := t.Span()
	for _, rep := range t.Reports {
		v := &finding{rep}
		fmt.Fprintf(w, "trail         %s: %s; %s\n", printable(rep.Dir), v.integrity(), v.completeness())
	}
	fmt.Fprintf(w, "              %s, %s to %s\n", count(int(t.Total()), "record"), stamp(first), stamp(last))
	const shown = 10
	for i := range f.answer.Doubts {
		if i == shown {
			fmt.Fprintf(w, "doubt         and %d more\n", len(f.answer.Doubts)-shown)
			break
		}
		fmt.Fprintf(w, "doubt         %s\n", oneLine(f.answer.Doubts[i].String()))
	}
	if f.note != "" {
		fmt.Fprintf(w, "note          %s\n", f.note)
	}
}

func (q *question) printCSV(w io.Writer, f *finds) error {
	out := csv.NewWriter(w)
	columns := append([]string{}, f.columns...)
	if q.proof {
		columns = append(columns, "records")
	}
	_ = out.Write(columns) // Error says
	for r := range f.all {
		line := cells(r)
		if q.proof {
			line = append(line, refText(r.refs))
		}
		for i := range line {
			line[i] = harmless(line[i])
		}
		_ = out.Write(line)
	}
	if f.len() == 0 {
		_ = out.Write(append([]string{f.answer.Verdict.String()}, make([]string, max(0, len(columns)-1))...))
	}
	out.Flush()
	return out.Error()
}

// harmless keeps a spreadsheet from taking a text for a formula (CWE-1236), also one
// that begins with a wide form of the sign or with blanks.
func harmless(s string) string {
	if r, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " \u3000")); strings.ContainsRune("=+-@\t\r\n＝＋－＠", r) {
		return "'" + s
	}
	return s
}

func refText(refs []investigate.Ref) string {
	var parts []string
	for _, r := range refs {
		parts = append(parts, r.Stream+"#"+strconv.FormatInt(r.Seq, 10)+"#"+r.Leaf.String())
	}
	return strings.Join(parts, " ")
}

// cell is a value as text.
func cell(v any) string {
	switch v := v.(type) {
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return stamp(v)
	case time.Duration:
		return v.Round(time.Second).String()
	case []string:
		return strings.Join(v, "; ")
	case bool:
		if v {
			return "yes"
		}
		return "no"
	}
	return fmt.Sprint(v)
}

func (q *question) printJSON(w io.Writer, t *investigate.Trail, f *finds) error {
	type trailJSON struct {
		Dir          string `json:"dir"`
		Integrity    string `json:"integrity"`
		Completeness string `json:"completeness"`
		Records      int64  `json:"records"`
	}
	out := struct {
		Question string      `json:"question"`
		Answer   string      `json:"answer"`
		Why      string      `json:"why"`
		Trails   []trailJSON `json:"trails"`
		Doubts   []string    `json:"doubts,omitempty"`
		Rows     []struct{}  `json:"rows"`
	}{Question: f.asked, Answer: f.answer.Verdict.String(), Why: f.answer.Why, Rows: []struct{}{}}
	for _, rep := range t.Reports {
		v := &finding{rep}
		out.Trails = append(out.Trails, trailJSON{rep.Dir, v.integrity(), v.completeness(), rep.Total})
	}
	for i := range f.answer.Doubts {
		out.Doubts = append(out.Doubts, f.answer.Doubts[i].String())
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	const empty = "\n  \"rows\": []" // a line break is no part of a string
	head, tail, _ := strings.Cut(string(safeJSONText(b)), empty)
	fmt.Fprint(w, head)
	if f.len() == 0 {
		fmt.Fprint(w, empty)
	} else if err := q.printRows(w, f); err != nil {
		return err
	}
	if q.proof {
		if err := printProofs(w, f); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w, "%s\n", tail)
	return err
}

// printRows prints the rows one by one: there may be a million.
func (q *question) printRows(w io.Writer, f *finds) error {
	between := "\n  \"rows\": ["
	for r := range f.all {
		b, err := rowJSON(f.columns, r, q.proof)
		if err == nil {
			err = printElement(w, between, b)
		}
		if err != nil {
			return err
		}
		between = ","
	}
	_, err := fmt.Fprint(w, "\n  ]")
	return err
}

// printProofs prints what it rests on, if there is anything.
func printProofs(w io.Writer, f *finds) error {
	first := ",\n  \"proof\": ["
	between := first
	for r := range f.proofs {
		b, err := json.Marshal(r)
		if err == nil {
			err = printElement(w, between, b)
		}
		if err != nil {
			return err
		}
		between = ","
	}
	if between == first {
		return nil
	}
	_, err := fmt.Fprint(w, "\n  ]")
	return err
}

// printElement prints an element of a list that stands in an object.
func printElement(w io.Writer, between string, b []byte) error {
	var text bytes.Buffer
	if err := json.Indent(&text, b, "    ", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s\n    %s", between, safeJSONText(text.Bytes()))
	return err
}

// rowJSON is a row as an object, its members in the order of the columns.
func rowJSON(columns []string, r row, proof bool) ([]byte, error) {
	b := []byte{'{'}
	for i, name := range columns {
		v := r.cells[i]
		switch x := v.(type) {
		case time.Time:
			v = cell(x)
		case time.Duration:
			v = x.Seconds()
		case []string:
			v = append([]string{}, x...)
		}
		value, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, strings.ReplaceAll(name, " ", "_")), ':')
		b = append(b, value...)
	}
	if proof {
		value, err := json.Marshal(r.refs)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"records":`...), value...)
	}
	return append(b, '}'), nil
}

// safeJSONText is safeJSON of a text of several lines.
func safeJSONText(b []byte) []byte {
	lines := strings.Split(string(b), "\n")
	for i := range lines {
		lines[i] = string(safeJSON([]byte(lines[i])))
	}
	return []byte(strings.Join(lines, "\n"))
}
