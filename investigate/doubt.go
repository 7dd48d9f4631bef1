package investigate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/internal/trailtime"
)

// A DoubtKind says why records may be missing.
type DoubtKind string

// The kinds of doubt.
const (
	DoubtGap      DoubtKind = "gap"      // the trail itself says that events were lost
	DoubtCrash    DoubtKind = "crash"    // a stream has no orderly end: what its process knew last is not in it
	DoubtLive     DoubtKind = "live"     // a stream is still being written
	DoubtEnd      DoubtKind = "end"      // the trail ends here
	DoubtExpired  DoubtKind = "expired"  // retention has removed records
	DoubtClock    DoubtKind = "clock"    // the clock of a host was set
	DoubtDamaged  DoubtKind = "damaged"  // a stream is not as it was written from here on
	DoubtMissing  DoubtKind = "missing"  // a whole stream is missing
	DoubtBroken   DoubtKind = "broken"   // a record that cannot be read as an event
	DoubtSequence DoubtKind = "sequence" // numbers of a session are missing
	DoubtRenewal  DoubtKind = "renewal"  // a new token may have counted as activity
)

// A Doubt is a time of which records may be missing.
type Doubt struct {
	Kind     DoubtKind
	From, To time.Time // both included; a zero To is for ever
	Stream   string
	Detail   string
	Refs     []Ref // the records that say so
}

// Tampering reports whether somebody has changed the trail.
func (d *Doubt) Tampering() bool { return d.Kind == DoubtDamaged || d.Kind == DoubtMissing }

// overlaps reports whether something between from and to may be missing.
func (d *Doubt) overlaps(from, to time.Time) bool {
	return !d.From.After(to) && (d.To.IsZero() || !d.To.Before(from))
}

func (d *Doubt) String() string {
	until := ""
	if !d.To.IsZero() && !d.To.Equal(d.From) {
		until = " to " + stamp(d.To)
	} else if d.To.IsZero() {
		until = " on"
	}
	return fmt.Sprintf("%s from %s%s: %s", d.Kind, stamp(d.From), until, d.Detail)
}

func stamp(t time.Time) string { return t.UTC().Format(trailtime.Layout) }

// doubts are what may be missing from a trail.
type doubts struct {
	doubtList
	ended map[string]int // streams without an orderly end: index in the list
	first time.Time      // of the trail
	last  time.Time
	// longest is how long no session lives.
	longest time.Duration
	covered []time.Time // from, to, from, to, ...: the times that any doubt is about, in order; a zero to is the end
}

// doubtList is a list that does not grow without bounds.
type doubtList struct{ list []Doubt }

// maxDoubts bounds what a trail of nothing but gaps costs. Beyond it, one doubt
// covers all.
const maxDoubts = 100_000

// add returns where in the list a doubt is, or -1 if it is in the one for all.
func (d *doubtList) add(x Doubt) int {
	if !x.To.IsZero() { // clocks differ
		x.From, x.To = earlier(x.From, x.To), later(x.From, x.To)
	}
	n := len(d.list)
	if n < maxDoubts-1 {
		d.list = append(d.list, x)
		return n
	}
	if n == maxDoubts-1 {
		x.Detail = fmt.Sprintf("more than %d times of which records may be missing, such as: %s", n, x.Detail)
		d.list = append(d.list, x)
		return -1
	}
	last := &d.list[n-1]
	if x.From.Before(last.From) {
		last.From = x.From
	}
	if x.To.IsZero() || !last.To.IsZero() && x.To.After(last.To) {
		last.To = x.To
	}
	if x.Tampering() {
		last.Kind = x.Kind
	}
	return -1
}

// evidence is what the records themselves say about what is missing.
type evidence struct {
	doubtList
	recovered map[string]recovery
	latest    map[string]time.Time // by stream: when the latest of its records was sealed
	now       string               // the stream of the last record
	at        time.Time            // the latest of its records
}

// recovery is how a stream says that another one was not closed.
type recovery struct {
	at  time.Time
	ref Ref
}

func newEvidence() evidence {
	return evidence{recovered: make(map[string]recovery), latest: make(map[string]time.Time)}
}

// met takes that there is a record.
func (v *evidence) met(r *auditlog.Record) {
	if r.Stream != v.now {
		v.latest[v.now] = v.at
		v.now, v.at = r.Stream, v.latest[r.Stream]
	}
	if r.Time.After(v.at) {
		v.at = r.Time
	}
}

// conclude returns the doubts about a trail whose records were all met, as a question
// has to have them.
func (p *pass) conclude(t *Trail, q *reading) *doubts {
	p.latest[p.now] = p.at
	v := p.evidence
	v.list = slices.Concat(v.list, q.list)
	return newDoubts(t.Reports, t.opts.Longest, v)
}

func newDoubts(reports []*auditlog.Report, longest time.Duration, v evidence) *doubts {
	d := &doubts{ended: make(map[string]int), longest: longest}
	for _, rep := range reports {
		anchored := !unanchored(rep)
		for i := range rep.Streams {
			d.stream(&rep.Streams[i], anchored)
		}
		for _, x := range rep.Damage {
			if x.Kind == auditlog.DamageGone {
				d.add(Doubt{Kind: DoubtMissing, From: began(x.Stream), Stream: x.Stream, Detail: x.Error()})
			}
		}
	}
	if !d.last.IsZero() {
		d.add(Doubt{Kind: DoubtEnd, From: d.last.Add(time.Microsecond), Detail: "the trail ends with " + stamp(d.last)})
	}
	for stream, i := range d.ended {
		x := &d.list[i]
		switch said, ok := v.recovered[stream]; {
		case x.Kind == DoubtDamaged:
			// The last of the records up to the damage is where it begins.
			if at := v.latest[stream]; at.After(x.From) {
				x.From = at
			}
		case ok:
			x.To = later(said.at, x.From)
			x.Refs = append(x.Refs, said.ref)
		}
	}
	// In whatever order the streams were read, the doubts come in one.
	slices.SortFunc(v.list, func(a, b Doubt) int {
		return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.seq(), b.seq()))
	})
	for _, x := range v.list {
		d.add(x)
	}
	return d
}

// seq is the number of the first record that says so.
func (d *Doubt) seq() int64 {
	if len(d.Refs) == 0 {
		return 0
	}
	return d.Refs[0].Seq
}

// stream takes the verdict over a stream.
func (d *doubts) stream(st *auditlog.StreamReport, anchored bool) {
	start := began(st.Dir)
	if !st.First.IsZero() && (d.first.IsZero() || st.First.Before(d.first)) {
		d.first = st.First
	}
	if st.Size > 0 && st.Last.After(d.last) {
		d.last = st.Last
	}
	name := st.Name
	if name == "" {
		name = st.Dir
	}
	if st.Expired > 0 {
		d.add(Doubt{Kind: DoubtExpired, From: start, To: st.First, Stream: name,
			Detail: fmt.Sprintf("retention has removed the first %d records of %s", st.Expired, name)})
	}
	if st.Damage != nil {
		// What comes before the damage is sealed up to a checkpoint. When that was,
		// only its last record could tell, and Last may lie behind it.
		d.end(name, Doubt{Kind: DoubtDamaged, From: start, Stream: name, Detail: st.Damage.Error()})
		return
	}
	from := st.Last
	if st.Size == 0 {
		from = start
	}
	switch st.State {
	case auditlog.StateLive:
		d.add(Doubt{Kind: DoubtLive, From: from.Add(time.Microsecond), Stream: name, Detail: name + " is still being written"})
	case auditlog.StateUnclosed, auditlog.StateRecovered:
		d.end(name, Doubt{Kind: DoubtCrash, From: from, Stream: name, Detail: name + " ends without having been closed"})
	case auditlog.StateEmpty:
		x := Doubt{Kind: DoubtCrash, From: start, Stream: name, Detail: name + " has no record that was ever acknowledged"}
		if anchored { // had it been longer than a moment, the anchor would know of it
			x.To = start.Add(anchorLag)
		}
		d.add(x)
	}
}

// end adds the doubt about a stream that has no orderly end.
func (d *doubts) end(name string, x Doubt) {
	if i := d.add(x); i >= 0 {
		d.ended[name] = i
	}
}

// anchorLag is how far an anchor may be behind without anybody being alarmed.
const anchorLag = time.Minute

// began is when a stream was begun, as the name of its directory says.
func began(name string) time.Time {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	id := name[strings.LastIndexByte(name, '/')+1:]
	if len(id) != 26 {
		return time.Time{}
	}
	var ms int64
	for _, c := range id[:10] {
		n := strings.IndexRune(alphabet, c)
		if n < 0 {
			return time.Time{}
		}
		ms = ms<<5 | int64(n)
	}
	return time.UnixMilli(ms).UTC()
}

// tells takes what a record says about what is missing; broken says that it does
// not even have the form of an event.
func (v *evidence) tells(e *Event, broken bool) {
	switch {
	case e.Own:
		v.own(e)
	case broken || e.unreadable && e.Session != "":
		v.add(unreadable(e))
	case e.Kind == scsguard.EventGap:
		from, to := between(e.Details["from"], e.Details["to"])
		v.add(Doubt{Kind: DoubtGap, From: from, To: to, Stream: e.Ref.Stream, Detail: lost(e.Details), Refs: []Ref{e.Ref}})
	}
}

// unreadable is the doubt about a record that cannot be read. An event is recorded
// before it is sealed.
func unreadable(e *Event) Doubt {
	return Doubt{Kind: DoubtBroken, From: e.Sealed.Add(-anchorLag), To: e.Sealed, Stream: e.Ref.Stream, Detail: "a record cannot be read", Refs: []Ref{e.Ref}}
}

// lost says what an audit.gap of the guard counts.
func lost(details map[string]string) string {
	var parts []string
	for name, n := range details {
		if kind, ok := strings.CutPrefix(name, "lost."); ok {
			parts = append(parts, n+" "+kind)
		}
	}
	slices.Sort(parts)
	return "lost: " + strings.Join(parts, ", ")
}

// between is a time from one moment to another, for ever if either cannot be read. The
// clock may have been set back meanwhile, which add bears.
func between(from, to string) (time.Time, time.Time) {
	a, b := parseTime(from), parseTime(to)
	if a.IsZero() || b.IsZero() {
		return a, time.Time{}
	}
	return a, b
}

func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

func (v *evidence) own(e *Event) {
	var r struct {
		Stream  string           `json:"stream"`
		From    string           `json:"from"`
		To      string           `json:"to"`
		Counts  map[string]int64 `json:"counts_by_type"`
		Refused int64            `json:"refused"`
		Cause   string           `json:"cause"`
	}
	switch e.Kind {
	case "audit.gap", "audit.clock_jump", "audit.recovered":
	default:
		return
	}
	if json.Unmarshal(e.Raw, &r) != nil {
		return // auditlog has compared it with what it writes
	}
	from, to := between(r.From, r.To)
	x := Doubt{From: from, To: to, Stream: e.Ref.Stream, Refs: []Ref{e.Ref}}
	switch e.Kind {
	case "audit.gap":
		x.Kind, x.Detail = DoubtGap, fmt.Sprintf("%d records refused to their caller", r.Refused)
		if len(r.Counts) > 0 {
			counts := make(map[string]string)
			for kind, n := range r.Counts {
				counts["lost."+kind] = fmt.Sprint(n)
			}
			x.Detail = lost(counts)
		}
	case "audit.clock_jump":
		x.Kind, x.Detail = DoubtClock, fmt.Sprintf("the clock was set from %s to %s", r.From, r.To)
	case "audit.recovered":
		if before := v.recovered[r.Stream]; e.Sealed.After(before.at) && len(v.recovered) < maxDoubts {
			v.recovered[r.Stream] = recovery{e.Sealed, e.Ref}
		}
		return
	}
	v.add(x)
}

// cover makes of all doubts the times that they cover, so that a question about
// millions of moments need not look at each doubt for each of them.
func (d *doubts) cover() {
	byBegin := make([]*Doubt, len(d.list))
	for i := range d.list {
		byBegin[i] = &d.list[i]
	}
	slices.SortFunc(byBegin, func(a, b *Doubt) int { return a.From.Compare(b.From) })
	d.covered = nil
	for _, x := range byBegin {
		n := len(d.covered)
		if n > 0 && d.covered[n-1].IsZero() {
			return
		}
		switch {
		case n == 0 || x.From.After(d.covered[n-1]):
			d.covered = append(d.covered, x.From, x.To)
		case x.To.IsZero() || x.To.After(d.covered[n-1]):
			d.covered[n-1] = x.To
		}
	}
}

// any reports whether a doubt overlaps a time.
func (d *doubts) any(from, to time.Time) bool {
	if len(d.covered) == 0 {
		d.cover()
	}
	if to.Before(from) {
		return slices.ContainsFunc(d.list, func(x Doubt) bool { return x.overlaps(from, to) })
	}
	// The first one that is not over before it begins.
	i := sort.Search(len(d.covered)/2, func(i int) bool { end := d.covered[2*i+1]; return end.IsZero() || !end.Before(from) })
	return 2*i < len(d.covered) && !d.covered[2*i].After(to)
}

// within returns the doubts that overlap a time.
func (d *doubts) within(from, to time.Time) []Doubt {
	if !d.any(from, to) {
		return nil
	}
	var list []Doubt
	for i := range d.list {
		if d.list[i].overlaps(from, to) {
			list = append(list, d.list[i])
		}
	}
	return list
}
