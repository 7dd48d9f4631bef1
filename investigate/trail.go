package investigate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/scsguard/scsguard"
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
	// Progress is called now and then, with bytes, when the trail is read after it was
	// verified. Optional.
	Progress func(done, total int64)
}

// A Trail is one or many logs that belong together: all that the instances of one
// application have written.
type Trail struct {
	// Reports are the verdicts over the logs. They are nil until the trail of Open
	// was asked something, or Verify was called.
	Reports []*auditlog.Report
	opts    Options
	sources []Source
	mu      sync.Mutex // held while Reports are made
	// together, in a question of Together, takes what it wants to read.
	together chan<- *reading
}

// A Source is a log that was not verified yet.
type Source struct {
	Dir     string
	Options auditlog.VerifyOptions
}

// New returns the trail that verified logs make up. What was damaged in them is
// read up to the damage, and questions about the time behind it are unknown.
func New(opts Options, reports ...*auditlog.Report) (*Trail, error) {
	if len(reports) == 0 {
		return nil, errors.New("investigate: no log; verify one with auditlog.Verify first")
	}
	t := &Trail{Reports: reports, opts: opts}
	def(&t.opts.Longest, 24*time.Hour)
	return t, nil
}

// Open returns the trail that logs make up. The first question verifies them and
// reads them in the same pass, so that no byte is read twice. What counts is read again
// only if a stream is not signed, which is damage; if copies of one stream are in two
// logs; or if the order matters of streams that were written at the same time: for a
// review, and if an event is in two of them. Nothing is answered from what was not
// verified. Several questions are asked in one pass by [Trail.Together].
func Open(opts Options, logs ...Source) (*Trail, error) {
	if len(logs) == 0 {
		return nil, errors.New("investigate: no log")
	}
	t := &Trail{opts: opts, sources: logs}
	def(&t.opts.Longest, 24*time.Hour)
	return t, nil
}

func def(d *time.Duration, to time.Duration) {
	if *d <= 0 {
		*d = to
	}
}

// Verify verifies the logs if nothing has done so yet.
func (t *Trail) Verify(ctx context.Context) error {
	if t.together != nil && t.Reports == nil {
		_, err := t.read(ctx, nothing)
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Reports != nil {
		return nil
	}
	return t.verify(ctx, nil)
}

// bytes is how much there is to read.
func (t *Trail) bytes() int64 {
	var n int64
	for _, rep := range t.Reports {
		n += rep.Bytes
	}
	return n
}

// Intact reports whether nothing in any of the logs was changed. Of a trail that was
// not verified yet nobody knows.
func (t *Trail) Intact() bool {
	for _, rep := range t.Reports {
		if !rep.Intact() {
			return false
		}
	}
	return len(t.Reports) > 0
}

// Complete reports whether all logs are complete as far as anchors can tell. One that
// was not verified yet is not known to be.
func (t *Trail) Complete() bool {
	for _, rep := range t.Reports {
		if !rep.Complete() {
			return false
		}
	}
	return len(t.Reports) > 0
}

// Unanchored reports whether of any of the logs nobody knows the length, or whether
// none was verified yet.
func (t *Trail) Unanchored() bool {
	for _, rep := range t.Reports {
		if unanchored(rep) {
			return true
		}
	}
	return len(t.Reports) == 0
}

// unanchored reports whether nobody knows the length of a log: there is no anchor and
// no pin, or they know none of its streams, as when the wrong directory was named.
func unanchored(rep *auditlog.Report) bool {
	some := false
	for i := range rep.Streams {
		st := &rep.Streams[i]
		if st.AnchoredSize > 0 || st.Damage != nil && st.Named {
			return rep.Unanchored()
		}
		some = some || st.Size > 0
	}
	return some || rep.Unanchored()
}

// Span returns when the trail begins and ends, as far as it is there.
func (t *Trail) Span() (first, last time.Time) {
	d := newDoubts(t.Reports, t.opts.Longest, evidence{})
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
	d, err := t.read(ctx, nothing)
	if err != nil {
		return nil, err
	}
	return d.list, nil
}

// nothing looks at no event.
func nothing() query { return query{want: func(*fields) bool { return false }} }

// Events calls visit for each event, in the order of [Records], repeated ones
// left out. The event is valid during the call; visit may keep a copy, of which
// Raw must be cloned.
func (t *Trail) Events(ctx context.Context, visit func(*Event) error) error {
	if err := t.Verify(ctx); err != nil {
		return err
	}
	_, err := t.read(ctx, func() query { return query{visit: visit, ordered: true} })
	return err
}

// A Glance is what is cheap to know of an event.
type Glance struct {
	Time    time.Time // zero if it cannot be read
	Sealed  time.Time // when the log kept it
	Kind    scsguard.EventKind
	Outcome string
	User    string
	Own     bool
}

// A Collector goes through events. Look and Visit are those of Glance; Kept, if
// given, says how many events are being kept, so that several who are asked together
// share what memory there is.
type Collector struct {
	Look  func(*Glance) bool
	Visit func(*Event) error
	Kept  func() int
}

// Collect is Glance for those who can begin anew: it reads what was not verified yet
// while that is done. It calls begin before each pass, and what was collected until
// then counts for nothing; all of it counts if Collect returns nil, and not before.
// Streams may come one after the other, each in its order.
func (t *Trail) Collect(ctx context.Context, begin func() Collector) error {
	_, err := t.read(ctx, func() query {
		c := begin()
		return query{look: c.Look, visit: c.Visit, kept: c.Kept}
	})
	return err
}

// Glance calls look for each event, in the order of [Records], repeated ones left
// out, and visit with those for which look returns true. Where few are wanted of
// many it is several times as fast as Events. Both arguments are valid during the call.
func (t *Trail) Glance(ctx context.Context, look func(*Glance) bool, visit func(*Event) error) error {
	if err := t.Verify(ctx); err != nil {
		return err
	}
	_, err := t.read(ctx, func() query { return query{look: look, visit: visit, ordered: true} })
	return err
}

// settled is an answer as far as the trail as a whole allows one.
func (t *Trail) settled(a Answer) Answer {
	if a.Verdict == Unknown || t.opts.AllowUnanchored || !t.Unanchored() {
		return a
	}
	a.Why = "nobody can tell whether the end of the trail is missing: no anchor knows it (as far as it goes: " + a.Verdict.String() + ", " + a.Why + ")"
	a.Verdict = Unknown
	return a
}
