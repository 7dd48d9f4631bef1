package sinktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
)

// fault is one thing that a broken sink does.
type fault string

const (
	reverses          fault = "reverses the records"
	sorts             fault = "sorts the records"
	writesInFront     fault = "writes later records in front"
	keepsTheLastCall  fault = "keeps only the last call"
	dropsTheLast      fault = "drops the last record"
	isLate            fault = "returns before it has written"
	hasARing          fault = "keeps only so many records"
	writesAnEmptyLine fault = "writes an empty line for an empty call"
	refusesNothing    fault = "returns an error for an empty call"
	splitsLongLines   fault = "splits long lines"
	encodesAgain      fault = "decodes and encodes again"
	squeezes          fault = "takes out blanks"
	countsOnce        fault = "drops a record that it has seen before"
	endsTheLines      fault = "appends to the record it was given"
	wipes             fault = "clears the slice it was given"
	keepsTheSlice     fault = "keeps the slice it was given"
	waitsForEver      fault = "does not return when its context is done"
	givesUpSilently   fault = "returns nil when its context is done"
	swallowsErrors    fault = "swallows errors"
	hangsOnFailure    fault = "waits for a disk that is full"
	staysBroken       fault = "fails for ever after one error"
	leavesLinesTorn   fault = "goes on in a line that was torn"
	remembersTooMuch  fault = "takes what it has tried to write for written"
)

// faulty is a sink that writes lines to a disk.
type faulty struct {
	fault    fault
	disk     disk
	released <-chan struct{} // ends what hangs

	torn   bool
	broken bool
	late   [][]byte
	kept   [][]byte // slices that belong to the caller
	seen   map[string]bool
}

func (s *faulty) Append(ctx context.Context, records [][]byte) error {
	if err := ctx.Err(); err != nil {
		switch s.fault {
		case waitsForEver:
			<-s.released
		case givesUpSilently:
			return nil
		}
		return err
	}
	list := slices.Clone(records)
	switch s.fault {
	case reverses:
		slices.Reverse(list)
	case sorts:
		slices.SortFunc(list, bytes.Compare)
	case dropsTheLast:
		list = list[:max(0, len(list)-1)]
	case isLate:
		list, s.late = s.late, list
	case refusesNothing:
		if len(list) == 0 {
			return errors.New("no records")
		}
	case writesAnEmptyLine:
		if len(list) == 0 {
			list = [][]byte{nil}
		}
	case keepsTheSlice:
		s.kept = append(s.kept, records...)
		list = s.kept
	case countsOnce, remembersTooMuch:
		list = slices.DeleteFunc(list, s.known)
	}
	var b []byte
	if s.torn && s.fault != leavesLinesTorn {
		b = append(b, '\n')
	}
	for _, r := range list {
		b = append(b, s.line(r)...)
	}
	if s.fault == wipes {
		clear(records)
	}
	return s.write(b, list)
}

// known reports whether the sink has been given the record before.
func (s *faulty) known(r []byte) bool {
	if s.seen == nil {
		s.seen = make(map[string]bool)
	}
	known := s.seen[string(r)]
	s.seen[string(r)] = true
	return known
}

// line is what the sink writes for a record.
func (s *faulty) line(r []byte) []byte {
	switch s.fault {
	case endsTheLines:
		return append(r, '\n')
	case splitsLongLines:
		const most = 1 << 15
		if len(r) > most {
			return slices.Concat(r[:most], []byte{'\n'}, r[most:], []byte{'\n'})
		}
	case encodesAgain:
		var v any
		if json.Unmarshal(r, &v) == nil {
			r, _ = json.Marshal(v)
		}
	case squeezes:
		r = bytes.ReplaceAll(r, []byte("{ "), []byte("{"))
	}
	return append(bytes.Clone(r), '\n')
}

func (s *faulty) write(b []byte, list [][]byte) error {
	if s.broken {
		return errors.New("the last write failed")
	}
	switch s.fault {
	case writesInFront:
		s.disk.b = slices.Concat(b, s.disk.b)
		return nil
	case keepsTheLastCall, keepsTheSlice:
		s.disk.b = nil
	}
	n, err := s.disk.Write(b)
	if n > 0 {
		s.torn = b[n-1] != '\n'
	}
	if s.fault == hasARing && len(list) > 900 {
		s.disk.b = s.disk.b[len(s.line(list[0])):]
	}
	switch {
	case err == nil:
	case s.fault == swallowsErrors:
		return nil
	case s.fault == hangsOnFailure:
		<-s.released
	case s.fault == staysBroken:
		s.broken = true
	}
	return err
}
