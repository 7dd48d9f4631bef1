package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// A Record is one record of a verified stream. Its slices are valid until the
// next one is asked for; [Record.Clone] keeps them.
type Record struct {
	Stream string
	Seq    int64
	Time   time.Time // when it was sealed
	Leaf   Hash      // the hash under which the tree has it
	// Event is what Append was given, byte by byte, or what the log says about
	// itself if Own is set.
	Event []byte
	Own   bool
	Line  []byte // the whole line as it stands in the file
	File  string // the segment, relative to the directory of the log
}

// Clone returns a record that stays valid.
func (r Record) Clone() Record {
	r.Event, r.Line = bytes.Clone(r.Event), bytes.Clone(r.Line)
	return r
}

// Records yields the records that rep found intact, stream by stream, the oldest
// stream first, each in the order of its sequence numbers. The order is never
// that of the clocks. Of a damaged stream it yields what a checkpoint before the
// damage covers; what retention has removed it skips.
//
// The files are read again. If they are not any more what Verify has read, the
// last thing of a stream is an error, and what the stream has yielded must not
// be used.
func (rep *Report) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for i := range rep.Streams {
			if !rep.records(ctx, &rep.Streams[i], yield) {
				return
			}
		}
	}
}

// RecordsOf is Records of one stream.
func (rep *Report) RecordsOf(ctx context.Context, stream string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for i := range rep.Streams {
			if rep.Streams[i].Name == stream {
				rep.records(ctx, &rep.Streams[i], yield)
				return
			}
		}
		yield(Record{}, fmt.Errorf("auditlog: there is no stream %.200q", stream))
	}
}

// records reports whether the caller wants more.
func (rep *Report) records(ctx context.Context, st *StreamReport, yield func(Record, error) bool) bool {
	if st.Size == 0 {
		return true
	}
	stopped := errors.New("stopped")
	s, err := rep.rescan(ctx, st, func(s *scan, r *scanned) error {
		rec := Record{
			Stream: st.Name, Seq: r.seq, Time: parseTime(r.time), Leaf: r.leaf, Event: r.body, Own: r.own,
			Line: r.raw, File: st.Dir + "/" + r.seg,
		}
		if !yield(rec, nil) {
			return stopped
		}
		return nil
	}, nil)
	switch {
	case err == stopped:
		return false
	case errors.Is(err, errEnough), s.behind(st, err):
		err = nil
	}
	if err == nil && (s.tree.size != st.Size || s.tree.root() != st.Root) {
		err = errors.New("the files were changed since they were verified")
	}
	if err != nil {
		return yield(Record{}, fmt.Errorf("auditlog: %s: %w", st.Name, err))
	}
	return true
}

// behind reports whether err is damage behind everything that was verified: a
// checkpoint that does not belong there, with no record between.
func (s *scan) behind(st *StreamReport, err error) bool {
	d := (*Damage)(nil)
	return st.Damage != nil && errors.As(err, &d) && s.tree.size == st.Size
}

// rescan walks again through what was verified of a stream. It ends with
// errEnough when there is more.
func (rep *Report) rescan(ctx context.Context, st *StreamReport, visit func(*scan, *scanned) error, leaf func(*scan, Hash)) (*scan, error) {
	roots, err := parseRoots(rep.opts.Keys)
	if err != nil {
		return nil, err
	}
	s := &scan{ctx: ctx, roots: roots, dir: rep.Dir, sub: st.Dir, limit: st.Size}
	s.read = func(int64) {} // so that it looks at ctx
	s.record = func(r *scanned) error { return visit(s, r) }
	if leaf != nil {
		s.leaf = func(_ int64, h Hash) error { leaf(s, h); return nil }
	}
	return s, s.run()
}
