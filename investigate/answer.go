package investigate

import (
	"fmt"
	"slices"
)

// Verdict is an answer.
type Verdict uint8

// The answers.
const (
	Unknown Verdict = iota
	No
	Yes
)

func (v Verdict) String() string {
	switch v {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "unknown"
}

// MarshalText returns what String returns.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// An Answer is yes, no or unknown, with the reason and the records it rests on.
type Answer struct {
	Verdict Verdict
	Why     string
	// Rests names the records from which it follows.
	Rests []Ref
	// Doubts are the reasons for Unknown. Of more than a hundred about one moment the
	// first are named, and Why counts all.
	Doubts []Doubt
	// Tampering says that what is unknown is so because the trail was changed.
	Tampering bool
}

// ExitCode is that of the command: 0 yes, 1 no, 2 unknown because the trail was
// tampered with, 3 unknown.
func (a *Answer) ExitCode() int {
	switch {
	case a.Verdict == Yes:
		return 0
	case a.Verdict == No:
		return 1
	case a.Tampering:
		return 2
	}
	return 3
}

func answer(v Verdict, rests []Ref, format string, args ...any) Answer {
	return Answer{Verdict: v, Why: fmt.Sprintf(format, args...), Rests: rests}
}

// maxReasons is how many doubts an answer names.
const maxReasons = 100

// doubted is what remains of an answer in the face of doubts.
func (a Answer) doubted(list []Doubt) Answer {
	if len(list) == 0 {
		return a
	}
	out := Answer{Verdict: Unknown, Rests: a.Rests}
	out.Why = "something may be missing: " + list[0].String()
	if n := len(list) - 1; n > 0 {
		out.Why += fmt.Sprintf(" (and %d more)", n)
	}
	for i := range list {
		out.Tampering = out.Tampering || list[i].Tampering()
	}
	if len(list) > maxReasons { // of each of many sessions
		list = slices.Clone(list[:maxReasons])
	}
	for i := range list {
		out.Rests = append(out.Rests, list[i].Refs...)
	}
	out.Doubts = list
	return out
}
