package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unsafe reports whether a character could change what a terminal shows beside
// itself: control characters, marks that reverse the text, invisible ones, line
// separators (ASVS 5.0 16.4.1).
func unsafe(r rune) bool {
	return r == utf8.RuneError || !unicode.IsPrint(r) && r != ' '
}

// oneLine is printable for what was found in a trail: it must not begin a line
// of its own, which could look like a verdict.
func oneLine(s string) string { return printable(strings.ReplaceAll(s, "\n", " ")) }

// printable returns s with everything that is unsafe escaped. Lines that follow
// the first one are indented.
func printable(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = escaped(lines[i])
	}
	return strings.Join(lines, "\n  ")
}

// escaped returns s with everything that is unsafe escaped, in one line.
func escaped(s string) string {
	if !strings.ContainsFunc(s, unsafe) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unsafe(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// safeJSON returns a JSON text with everything that is unsafe escaped. The value
// stays the same: such characters can stand in strings only, where JSON has an
// escape for each. What is safe is returned as it is, byte by byte.
func safeJSON(line []byte) []byte {
	if !bytes.ContainsFunc(line, unsafe) {
		return line
	}
	var b bytes.Buffer
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch {
		case !unsafe(r):
			b.Write(line[:n])
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		line = line[n:]
	}
	return b.Bytes()
}

// isTerminal reports whether somebody may be looking at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
