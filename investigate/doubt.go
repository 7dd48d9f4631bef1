package investigate

import (
	"encoding/json"
	"fmt"
	"slices"
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

// doubts collects what may be missing from a trail. What the streams say of
// themselves is known before the first record is read, the rest comes with them.
type doubts struct {
	list  []Doubt
	ended map[string]int // streams without an orderly end: index in list
	first time.Time      // of the trail
	last  time.Time
	// longest is how long no session lives.
	longest time.Duration
}

// maxDoubts bounds what a trail of nothing but gaps costs. Beyond it, one doubt
// covers all.
const maxDoubts = 100_000

func newDoubts(reports []*auditlog.Report, longest time.Duration) *doubts {
	d := &doubts{ended: make(map[string]int), longest: longest}
	for _, rep := range reports {
		for i := range rep.Streams {
			d.stream(&rep.Streams[i], !rep.Unanchored())
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
	return d
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
		d.ended[name] = len(d.list)
		d.add(Doubt{Kind: DoubtDamaged, From: start, Stream: name, Detail: st.Damage.Error()})
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
		d.ended[name] = len(d.list)
		d.add(Doubt{Kind: DoubtCrash, From: from, Stream: name, Detail: name + " ends without having been closed"})
	case auditlog.StateEmpty:
		x := Doubt{Kind: DoubtCrash, From: start, Stream: name, Detail: name + " has no record that was ever acknowledged"}
		if anchored { // had it been longer than a moment, the anchor would know of it
			x.To = start.Add(anchorLag)
		}
		d.add(x)
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

func (d *doubts) add(x Doubt) {
	if len(d.list) < maxDoubts {
		d.list = append(d.list, x)
		return
	}
	last := &d.list[len(d.list)-1]
	if x.From.Before(last.From) {
		last.From = x.From
	}
	if x.To.IsZero() || !last.To.IsZero() && x.To.After(last.To) {
		last.To = x.To
	}
}

// read takes what a record says about what is missing. Records of a damaged
// stream come in order up to the damage, so the last of them is where it begins.
func (d *doubts) read(e *Event) {
	if i, ok := d.ended[e.Ref.Stream]; ok && d.list[i].Kind == DoubtDamaged && e.Sealed.After(d.list[i].From) {
		d.list[i].From = e.Sealed
	}
	switch {
	case e.Own:
		d.readOwn(e)
	case e.Kind == scsguard.EventGap:
		from, to := parseTime(e.Details["from"]), parseTime(e.Details["to"])
		d.add(Doubt{Kind: DoubtGap, From: from, To: to, Stream: e.Ref.Stream, Detail: lost(e.Details), Refs: []Ref{e.Ref}})
	case e.unreadable && e.Session != "":
		d.add(Doubt{Kind: DoubtBroken, From: e.Sealed, To: e.Sealed, Stream: e.Ref.Stream, Detail: "a record cannot be read", Refs: []Ref{e.Ref}})
	}
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

func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

func (d *doubts) readOwn(e *Event) {
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
	from, to := parseTime(r.From), parseTime(r.To)
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
		if to.Before(from) {
			x.From, x.To = to, from
		}
	case "audit.recovered":
		if i, ok := d.ended[r.Stream]; ok && d.list[i].Kind == DoubtCrash {
			d.list[i].To = e.Sealed
			d.list[i].Refs = append(d.list[i].Refs, e.Ref)
		}
		return
	}
	d.add(x)
}

// within returns the doubts that overlap a time.
func (d *doubts) within(from, to time.Time) []Doubt {
	var list []Doubt
	for i := range d.list {
		if d.list[i].overlaps(from, to) {
			list = append(list, d.list[i])
		}
	}
	return list
}
