package investigate

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/scsguard/scsguard/auditlog"
)

// Options say how strictly and against what the trails are read.
type Options struct {
	// AllowUnanchored lets questions be answered of a trail of which no anchor
	// and no pin knows the length. Whoever cut off its end would not be noticed.
	AllowUnanchored bool
	// Longest is how long no session lives: the longest absolute timeout. What was
	// lost longer ago hides no session that is alive. Default 24 h.
	Longest time.Duration
	// Progress is called now and then with the number of records read. Optional.
	Progress func(done, total int64)
}

// A Trail is one or many verified logs that belong together: all that the
// instances of one application have written.
type Trail struct {
	Reports []*auditlog.Report
	opts    Options
}

// New returns the trail that verified logs make up. What was damaged in them is
// read up to the damage, and questions about the time behind it are unknown.
func New(opts Options, reports ...*auditlog.Report) (*Trail, error) {
	if len(reports) == 0 {
		return nil, errors.New("investigate: no log; verify one with auditlog.Verify first")
	}
	if opts.Longest <= 0 {
		opts.Longest = 24 * time.Hour
	}
	return &Trail{reports, opts}, nil
}

// Intact reports whether nothing in any of the logs was changed.
func (t *Trail) Intact() bool {
	for _, rep := range t.Reports {
		if !rep.Intact() {
			return false
		}
	}
	return true
}

// Complete reports whether all logs are complete as far as anchors can tell.
func (t *Trail) Complete() bool {
	for _, rep := range t.Reports {
		if !rep.Complete() {
			return false
		}
	}
	return true
}

// Unanchored reports whether of any of the logs nobody knows the length.
func (t *Trail) Unanchored() bool {
	for _, rep := range t.Reports {
		if rep.Unanchored() {
			return true
		}
	}
	return false
}

// Span returns when the trail begins and ends, as far as it is there.
func (t *Trail) Span() (first, last time.Time) {
	d := newDoubts(t.Reports, t.opts.Longest)
	return d.first, d.last
}

// Total is the number of records.
func (t *Trail) Total() int64 {
	var n int64
	for _, rep := range t.Reports {
		n += rep.Total
	}
	return n
}

// Doubts reads the trail and returns everything that may be missing from it.
func (t *Trail) Doubts(ctx context.Context) ([]Doubt, error) {
	d, err := t.read(ctx, query{visit: func(*Event) error { return nil }})
	if err != nil {
		return nil, err
	}
	return d.list, nil
}

// Events calls visit for each event, in the order of [Records], repeated ones
// left out. The event is valid during the call; visit may keep a copy, of which
// Raw must be cloned.
func (t *Trail) Events(ctx context.Context, visit func(*Event) error) error {
	_, err := t.read(ctx, query{visit: visit})
	return err
}

// query says what a pass over the trail looks at.
type query struct {
	// want, if given, decides by the raw fields whether an event is visited.
	want func(*fields) bool
	// light, if given, may deal with a wanted event by its raw fields alone, which
	// is several times as fast. It reports whether it did.
	light func(*fields, *auditlog.Record) bool
	visit func(*Event) error
}

// read goes through the trail once and returns what may be missing.
func (t *Trail) read(ctx context.Context, q query) (*doubts, error) {
	d := newDoubts(t.Reports, t.opts.Longest)
	var f fields
	var e Event
	seen := newSeen()
	total, done := t.Total(), int64(0)
	for r, err := range Records(ctx, t.Reports...) {
		if err != nil {
			return nil, err
		}
		if done++; t.opts.Progress != nil && done%4096 == 0 {
			t.opts.Progress(done, total)
		}
		ok := f.split(r.Event)
		wanted := q.want == nil || q.want(&f) || !ok
		tells := r.Own || !ok || mayDoubt(&f) || d.damaged(r.Stream)
		if !wanted && !tells {
			continue
		}
		if tells {
			f.event(&r, &e)
			e.unreadable = e.unreadable || !ok
			d.read(&e)
		}
		if !wanted || len(f.id) > 0 && !r.Own && seen.before(f.id) || !r.Own && q.light != nil && q.light(&f, &r) {
			continue
		}
		if !tells {
			f.event(&r, &e)
			if e.unreadable {
				d.read(&e)
			}
		}
		if err := q.visit(&e); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// mayDoubt reports whether a record may be one that doubts.read wants to see.
func mayDoubt(f *fields) bool {
	return string(f.kind) == `"audit.gap"` || len(f.time) == 0 || len(f.kind) == 0
}

func (d *doubts) damaged(stream string) bool {
	i, ok := d.ended[stream]
	return ok && d.list[i].Kind == DoubtDamaged
}

// seen is a set of 64-bit digests of IDs: of ten million events one is taken for
// a repetition once in 370,000 trails.
type seen struct {
	seed  maphash.Seed
	table []uint64 // open addressing; zero is free
	n     int
}

func newSeen() *seen { return &seen{seed: maphash.MakeSeed(), table: make([]uint64, 1024)} }

// before reports whether the ID was there, and adds it.
func (s *seen) before(id []byte) bool {
	h := maphash.Bytes(s.seed, id)
	if h == 0 {
		h = 1
	}
	if !s.put(h) {
		return true
	}
	if s.n++; s.n > len(s.table)*3/4 {
		old := s.table
		s.table = make([]uint64, 2*len(old))
		for _, h := range old {
			if h != 0 {
				s.put(h)
			}
		}
	}
	return false
}

func (s *seen) put(h uint64) bool {
	mask := uint64(len(s.table) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch s.table[i] {
		case h:
			return false
		case 0:
			s.table[i] = h
			return true
		}
	}
}

// settled is an answer as far as the trail as a whole allows one.
func (t *Trail) settled(a Answer) Answer {
	if a.Verdict == Unknown || t.opts.AllowUnanchored || !t.Unanchored() {
		return a
	}
	a.Why = "nobody can tell whether the end of the trail is missing: it has no anchor (as far as it goes: " + a.Verdict.String() + ", " + a.Why + ")"
	a.Verdict = Unknown
	return a
}
