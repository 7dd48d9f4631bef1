package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/investigate"
)

// The measures of a picture, in the units of its viewBox.
const (
	pictureWidth = 1000
	pictureSide  = 16 // left and right of the time
	axisHeight   = 26
	laneHeight   = 34
	barHeight    = 12
	markSpace    = 9 // what a mark needs, so that lanes are chosen by what is seen
	touchSpace   = 3 // touches that are closer are drawn as one
	shortBar     = 30
	staggered    = 9 // how far above or below the bar a mark is that has no room on it
)

// picture is the timeline of a user: lanes with bars.
type picture struct {
	Height, AxisY int
	Label         string
	Ticks         []tick
	Holes         []span // times of which something may be missing
	Bars          []bar
	Loose         []mark // records of no session
	axis
}

type tick struct {
	X     float64
	Label string
	Side  string // of the picture that the label must not leave: "left", "right" or neither
}

type span struct {
	X, W float64
	Text string
}

type bar struct {
	span
	Y       float64
	Class   string
	Session string
	Record  int // where its first record stands in the table; 0: nowhere
	Marks   []mark
}

// mark is a record in a picture. Its shape and its colour say the same.
type mark struct {
	X, Y   float64
	Class  string
	Text   string
	Record int
}

// Shape is the path of a mark around its middle.
func (m mark) Shape() string { return shapes[m.Class] }

var shapes = map[string]string{
	"begin":  "M-4-6 6 0-4 6Z",                                     // a triangle that points to what follows
	"touch":  "M-.6-4h1.2v8h-1.2Z",                                 // a tick
	"extend": "M0-7 7 0 0 7-7 0Z",                                  // a diamond
	"warn":   "M0-8 8 6H-8Z",                                       // a triangle that stands
	"denied": "M-6-4-4-6 0-2 4-6 6-4 2 0 6 4 4 6 0 2-4 6-6 4-2 0Z", // a cross
	"proof":  "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0Z",     // a disc: who he is, what he may
	"logout": "M-5-5H5V5H-5Z",                                      // a square
	"over":   "M-3-8H3V8H-3Z",                                      // a post
	"other":  "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",                  // a plus: of the application
}

// legend explains the marks, in this order.
var legend = []struct{ Class, Text string }{
	{"begin", "login"}, {"touch", "activity"}, {"extend", "deadline extended"}, {"warn", "warning"}, {"denied", "refused or failed"},
	{"proof", "new token, role or proof"}, {"logout", "logged out"}, {"over", "timed out or ended by others"}, {"other", "of the application"},
}

// markClass says how a record is drawn.
func markClass(e *investigate.Event) string {
	switch e.Kind {
	case scsguard.EventLoginFailed, scsguard.EventLoginDenied, scsguard.EventTokenReuse, scsguard.EventFingerprintMismatch:
		return "denied"
	case scsguard.EventConcurrentWarning, scsguard.EventDuplicateCookie, scsguard.EventConfigChanged, scsguard.EventGap, scsguard.EventDegraded:
		return "warn"
	}
	if e.Outcome == string(scsguard.OutcomeFailure) {
		return "denied"
	}
	switch e.Kind {
	case scsguard.EventLogin, scsguard.EventEnroll:
		return "begin"
	case scsguard.EventExtend:
		if e.Reason == "activity" {
			return "touch"
		}
		return "extend"
	case scsguard.EventRenew, scsguard.EventPrivilegeChange, scsguard.EventReauth:
		return "proof"
	case scsguard.EventLogout:
		if e.Reason == "user" || e.Reason == "" {
			return "logout"
		}
		return "over"
	case scsguard.EventTimeout, scsguard.EventRevoke:
		return "over"
	}
	return "other"
}

// axis maps times to places.
type axis struct{ from, to time.Time }

func (a axis) x(t time.Time) float64 {
	const width = pictureWidth - 2*pictureSide
	part := float64(t.Sub(a.from)) / float64(a.to.Sub(a.from))
	return pictureSide + width*min(max(part, 0), 1)
}

// between is a time as far as it is in the picture.
func (a axis) between(from, to time.Time) (span, bool) {
	if to.IsZero() || to.After(a.to) {
		to = a.to
	}
	if from.Before(a.from) {
		from = a.from
	}
	if from.After(to) {
		return span{}, false
	}
	x := a.x(from)
	return span{X: x, W: max(a.x(to)-x, 2)}, true
}

var tickSteps = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour,
	2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour, 91 * 24 * time.Hour, 364 * 24 * time.Hour}

// ticks are at most ten, at round times of UTC.
func (a axis) ticks() []tick {
	length := a.to.Sub(a.from)
	step := tickSteps[len(tickSteps)-1]
	for _, s := range tickSteps {
		if length/s <= 10 {
			step = s
			break
		}
	}
	step = max(step, length/10)
	layout := "15:04"
	switch {
	case step >= 91*24*time.Hour:
		layout = "2006-01"
	case step >= 24*time.Hour:
		layout = "01-02"
	case step < time.Minute:
		layout = "15:04:05"
	}
	var list []tick
	day := ""
	for t := a.from.Truncate(step); !t.After(a.to); t = t.Add(step) {
		if t.Before(a.from) {
			continue
		}
		label := t.Format(layout)
		if d := t.Format("01-02"); step < 24*time.Hour && d != day && (day != "" || length > 20*time.Hour) {
			label = d + " " + label
		}
		day = t.Format("01-02")
		list = append(list, newTick(a.x(t), label))
	}
	return list
}

const labelSpace = 40 // half of what the longest label needs

func newTick(x float64, label string) tick {
	switch {
	case x < labelSpace:
		return tick{x, label, "left"}
	case x > pictureWidth-labelSpace:
		return tick{x, label, "right"}
	}
	return tick{X: x, Label: label}
}

// newPicture draws the sessions of a user, so that those that were alive at the
// same time are beneath each other.
func newPicture(u *reportUser, p *reportPage) *picture {
	pic := &picture{axis: axis{p.From, p.To}}
	pic.Ticks = pic.ticks()
	pic.Label = fmt.Sprintf("%s of %s, %s to %s", count(u.Sessions, "session"), u.Name, stamp(p.From), stamp(p.To))
	for i := range p.Doubts {
		d := &p.Doubts[i]
		if hole, ok := pic.between(d.From, d.To); ok {
			hole.Text = "something may be missing: " + d.String()
			pic.Holes = append(pic.Holes, hole)
		}
	}
	records := make(map[string][]*reportRecord)
	for i := range u.Records {
		r := &u.Records[i]
		records[r.Event.Session] = append(records[r.Event.Session], r)
	}
	var lanes []float64 // until where each is taken
	for _, l := range u.listed {
		b, ok := pic.bar(l, records[l.ID])
		if !ok {
			continue
		}
		lane := slices.IndexFunc(lanes, func(end float64) bool { return end+markSpace <= b.X-markSpace })
		if lane < 0 {
			lane, lanes = len(lanes), append(lanes, 0)
		}
		lanes[lane] = b.X + b.W
		b.Y = axisHeight + float64(lane)*laneHeight + laneHeight/2
		for i := range b.Marks {
			b.Marks[i].Y += b.Y
		}
		pic.Bars = append(pic.Bars, b)
		delete(records, l.ID)
	}
	loose := len(lanes)
	for i := range u.Records { // of no session, such as a wrong password
		r := &u.Records[i]
		if records[r.Event.Session] == nil {
			continue
		}
		pic.Loose = append(pic.Loose, pic.mark(r, axisHeight+float64(loose)*laneHeight+laneHeight/2))
	}
	if len(pic.Loose) > 0 {
		loose++
	}
	pic.AxisY = axisHeight
	pic.Height = axisHeight + max(loose, 1)*laneHeight + 6
	return pic
}

func (a axis) mark(r *reportRecord, y float64) mark {
	return mark{X: a.x(r.Event.Time), Y: y, Class: markClass(&r.Event), Record: r.Number, Text: recordText(r)}
}

func recordText(r *reportRecord) string {
	return fmt.Sprintf("%s  %s  (%s, record %d)", stamp(r.Event.Time), r.Text, r.Event.Ref.Stream, r.Event.Ref.Seq)
}

func (a axis) bar(l *investigate.Listed, records []*reportRecord) (bar, bool) {
	start := startOf(l)
	if start.IsZero() {
		start = l.Last
	}
	where, ok := a.between(start, l.Until)
	if !ok {
		return bar{}, false
	}
	b := bar{span: where, Session: l.ID, Class: "ended"}
	switch {
	case l.Retracted:
		b.Class = "retracted"
	case l.Over.IsZero():
		b.Class = "open"
	}
	b.Text = fmt.Sprintf("session %s of %s from %s: %s to %s, %s", l.ID, l.User, l.IP, cell(start), cell(l.Until), l.State)
	if l.Missing > 0 {
		b.Text += fmt.Sprintf("; %s missing", count(l.Missing, "record"))
	}
	for _, r := range records {
		if b.Record == 0 {
			b.Record = r.Number
		}
		if m := a.mark(r, 0); b.fits(&m) {
			b.Marks = append(b.Marks, m)
		}
	}
	if hidden := len(records) - len(b.Marks); hidden > 0 {
		b.Text += fmt.Sprintf("; %s more in the table", count(hidden, "record"))
	}
	return b, true
}

// fits finds a place for a mark: where it is close to the one before it, above or
// below the bar. Where there is no room, touches are left out, and in a short bar all
// but how it began, how it ended and what somebody should look at.
func (b *bar) fits(m *mark) bool {
	if m.Class == "touch" || b.W < shortBar && (m.Class == "extend" || m.Class == "proof" || m.Class == "other") {
		n := len(b.Marks)
		return b.W >= shortBar && (n == 0 || m.X-b.Marks[n-1].X >= touchSpace)
	}
	for i := len(b.Marks) - 1; i >= 0; i-- {
		if before := &b.Marks[i]; before.Class != "touch" {
			if m.X-before.X < markSpace {
				m.Y = map[float64]float64{0: -staggered, -staggered: staggered, staggered: 0}[before.Y]
			}
			break
		}
	}
	return true
}

// chart is how many sessions were alive when.
type chart struct {
	Columns []column
	Ticks   []tick
	Most    int
	Label   string
}

type column struct {
	span
	Y, H float64
	N    int
}

const (
	chartColumns = 96
	chartHeight  = 120
)

// newChart counts the sessions that were alive at some time in each column.
func newChart(list []investigate.Listed, from, to time.Time) *chart {
	a := axis{from, to}
	steps := make([]int, chartColumns+1)
	place := func(t time.Time) int {
		return int(float64(chartColumns) * min(max(float64(t.Sub(from))/float64(to.Sub(from)), 0), 0.999999))
	}
	for i := range list {
		start := startOf(&list[i])
		if start.IsZero() || list[i].Retracted || start.After(to) || list[i].Until.Before(from) {
			continue
		}
		steps[place(start)]++
		steps[place(list[i].Until)+1]--
	}
	c := &chart{Ticks: a.ticks()}
	counts := make([]int, chartColumns)
	now := 0
	for i := range counts {
		now += steps[i]
		counts[i] = now
		c.Most = max(c.Most, now)
	}
	width := float64(pictureWidth-2*pictureSide) / chartColumns
	length := to.Sub(from) / chartColumns
	for i, n := range counts {
		h := chartHeight * float64(n) / float64(max(c.Most, 1))
		begin := from.Add(time.Duration(i) * length)
		c.Columns = append(c.Columns, column{span{pictureSide + float64(i)*width, width - 1, fmt.Sprintf("%s to %s: %s", stamp(begin), stamp(begin.Add(length)), count(n, "session"))},
			axisHeight + chartHeight - h, h, n})
	}
	c.Label = fmt.Sprintf("Sessions alive, %s to %s, at most %d at a time", stamp(from), stamp(to), c.Most)
	return c
}
