package investigate

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
)

// query says what a pass over the trail looks at.
type query struct {
	// want, if given, decides by the raw fields whether an event is visited.
	want func(*fields) bool
	// light, if given, may deal with a wanted event by its raw fields alone, which
	// is several times as fast. It reports whether it did.
	light func(*fields, *auditlog.Record) bool
	// look, if given, decides about each wanted event, once if it was written twice.
	look func(*Glance) bool
	// visit is called with each wanted event, once if it was written twice.
	visit func(*Event) error
	// kept, if given, says how many events or sessions are being kept.
	kept func() int
	// ordered demands the order of Records: of streams that were written at the same
	// time, events by time. Without it streams may come one after the other.
	ordered bool
}

// reading is the part that one question has in a pass.
type reading struct {
	begin func() query
	query
	doubtList // records that only this question has looked at and could not read
	// repeated says that something was there twice.
	repeated bool
	out      bool // it waits for another pass, or has failed

	reports []*auditlog.Report
	doubts  *doubts
	err     error
	over    chan struct{} // closed when the three above are there
}

// start begins anew, and forgets what was gathered.
func (q *reading) start() {
	q.query, q.doubtList, q.repeated, q.out = q.begin(), doubtList{}, false, false
}

// read goes through the trail and returns what may be missing. If the trail was
// not verified yet, that is done in the same pass; begin is called anew where the
// pass has to be repeated.
func (t *Trail) read(ctx context.Context, begin func() query) (*doubts, error) {
	q := &reading{begin: begin}
	if t.together != nil {
		return t.readTogether(q)
	}
	for {
		p, answered := t.pass(ctx, []*reading{q})
		if len(answered) == 0 {
			continue // now that it is verified
		}
		if q.err == nil {
			q.doubts = p.conclude(t, q)
		}
		return q.doubts, q.err
	}
}

// pass goes through the trail once for all of a list, and returns those that have
// what they wanted, or an error. If the trail was not verified yet, that is done in
// the same pass. The others wait for another one.
func (t *Trail) pass(ctx context.Context, list []*reading) (p *pass, answered []*reading) {
	t.mu.Lock()
	first := t.Reports == nil
	if !first {
		t.mu.Unlock()
	} else {
		defer t.mu.Unlock()
	}
	for _, q := range list {
		q.start()
	}
	p = newPass(list)
	var err error
	if first {
		err = t.verify(ctx, p.visitAll)
	} else {
		err = t.again(ctx, p)
	}
	if err != nil && !errors.Is(err, errNobody) {
		for _, q := range list {
			q.err = cmp.Or(q.err, err)
		}
		return p, list
	}
	fits, sequential := !first, false
	if first && err == nil {
		fits, sequential = t.visited(), p.sequential(t)
	}
	for _, q := range list {
		if q.err != nil || !q.out && fits && (!first || sequential || !q.ordered && !q.repeated) {
			answered = append(answered, q)
		}
	}
	p.seen = nil
	return p, answered
}

// again goes through a trail that is verified.
func (t *Trail) again(ctx context.Context, p *pass) error {
	done, total := int64(0), t.bytes()
	for r, err := range Records(ctx, t.Reports...) {
		if err != nil {
			return err
		}
		if err := p.record(&r); err != nil {
			return err
		}
		if done += int64(len(r.Line)) + 1; t.opts.Progress != nil && r.Seq%4096 == 0 {
			t.opts.Progress(done, total)
		}
	}
	return nil
}

// verify verifies all logs. Their records are handed to visit in the same pass.
func (t *Trail) verify(ctx context.Context, visit func([]auditlog.Record) error) error {
	var reports []*auditlog.Report
	for _, s := range t.sources {
		s.Options.Visit = visit
		rep, err := auditlog.Verify(ctx, s.Dir, s.Options)
		if err != nil {
			return err
		}
		reports = append(reports, rep)
	}
	if len(reports) == 0 {
		return errors.New("investigate: no log")
	}
	t.Reports = reports
	return nil
}

// visited reports whether the pass that verified the trail has seen exactly its
// records, each once.
func (t *Trail) visited() bool {
	streams := make(map[string]bool)
	for _, rep := range t.Reports {
		if !rep.Visited() {
			return false
		}
		for i := range rep.Streams {
			name := rep.Streams[i].Name
			if name != "" && streams[name] {
				return false // of two copies Records takes one
			}
			streams[name] = true
		}
	}
	return true
}

// sequential reports whether each stream was over before the next one began, so
// that the pass had the order of Records.
func (p *pass) sequential(t *Trail) bool {
	var before *part
	list := inOrderOfBeginning(t.Reports)
	for i := range list {
		if before != nil && (!p.latest[before.Name].Before(list[i].First) || list[i].report != before.report) {
			return false
		}
		before = &list[i]
	}
	return true
}

// pass goes through records.
type pass struct {
	evidence
	readings []*reading
	f        fields
	e        Event
	seen     *seen
	text     interner
	n        int
}

func newPass(list []*reading) *pass {
	return &pass{readings: slices.Clone(list), evidence: newEvidence(), seen: newSeen(), text: make(interner)}
}

func (p *pass) visitAll(records []auditlog.Record) error {
	for i := range records {
		if err := p.record(&records[i]); err != nil {
			return err
		}
	}
	return nil
}

// errNobody ends a pass of which nobody wants more.
var errNobody = errors.New("investigate: nobody wants more")

// record takes the next record. What the records say about what is missing is the
// same for all questions.
func (p *pass) record(r *auditlog.Record) error {
	f, e := &p.f, &p.e
	p.met(r)
	ok := f.split(r.Event)
	told := r.Own || !ok || mayDoubt(f)
	if told {
		f.event(r, e, p.text)
		e.unreadable = e.unreadable || !ok
		p.tells(e, !ok || f.alien(f.session))
	}
	decoded, again, asked := told, false, false
	for _, q := range p.readings {
		wanted := !r.Own && ok && (q.want == nil || q.want(f))
		if !wanted && !(r.Own && q.want == nil) {
			continue // what cannot be read is no part of any answer but of the doubt
		}
		if !r.Own && !asked {
			again, asked = p.again(f), true
		}
		if again {
			q.repeated = true
			continue
		}
		if !told && q.light != nil && q.light(f, r) || !p.looked(q, r) {
			continue
		}
		if !decoded {
			f.event(r, e, p.text)
			decoded = true
		}
		if !told && e.unreadable && e.Session != "" {
			q.add(unreadable(e))
		}
		if q.err = q.visit(e); q.err != nil {
			q.out = true
		}
	}
	return p.leave()
}

// maxTogether is how many events and sessions all questions of a pass keep at most,
// as long as there are several: a pass must not cost what a question alone may, many
// times over. A variable for tests.
var maxTogether = 500_000

// leave takes those out of the pass that have failed, and, where all together keep
// too much, lets those who were asked last wait for another one.
func (p *pass) leave() error {
	if p.n++; p.n%1024 == 0 && len(p.readings) > 1 {
		kept := 0
		for _, q := range p.readings {
			if q.kept == nil {
				continue
			}
			n := q.kept()
			if kept > 0 && n > 0 && kept+n > maxTogether {
				q.start() // what it has kept is free
				q.out = true
				continue
			}
			kept += n
		}
	}
	for _, q := range p.readings {
		if q.out {
			p.readings = slices.DeleteFunc(p.readings, func(q *reading) bool { return q.out })
			break
		}
	}
	if len(p.readings) == 0 {
		return errNobody
	}
	return nil
}

// again reports whether an event was there before. An ending that two hosts have
// written has the times of both, and the first one counts. What is of another
// session, user or transaction is another event, whatever its ID: so it depends on
// no other question whether one gets to see it.
func (p *pass) again(f *fields) bool {
	return len(f.id) > 0 && p.seen.before(f.id, f.session, f.user, f.transaction)
}

// looked reports whether an event is wanted at the second glance.
func (p *pass) looked(q *reading, r *auditlog.Record) bool {
	if q.look == nil {
		return true
	}
	g := Glance{Sealed: r.Time, Kind: scsguard.EventKind(p.text.text(p.f.kind)), Outcome: p.text.text(p.f.outcome), User: p.text.text(p.f.user), Own: r.Own}
	if g.Time, _ = moment(p.f.time); r.Own {
		g.Time = r.Time
	}
	return q.look(&g)
}

// mayDoubt reports whether a record may be one that tells of what is missing.
func mayDoubt(f *fields) bool {
	return string(f.kind) == `"audit.gap"` || len(f.time) == 0 || len(f.kind) == 0 || f.alien(f.kind) || f.alien(f.session)
}

// interner keeps one copy of the texts that come again and again.
type interner map[string]string

const maxInterned = 1 << 16

func (in interner) text(v []byte) string {
	b := plain(v)
	if len(b) == 0 {
		return ""
	}
	if s, ok := in[string(b)]; ok {
		return s
	}
	if len(in) >= maxInterned {
		clear(in)
	}
	s := string(b)
	if in != nil && len(s) <= 512 {
		in[s] = s
	}
	return s
}

// seen is a set of 64-bit digests of IDs: of ten million events one is taken for
// a repetition once in 370,000 trails. It grows in parts, so that there is never a
// copy of all of it.
type seen struct {
	seed  maphash.Seed
	parts [256]digests
}

func newSeen() *seen { return &seen{seed: maphash.MakeSeed()} }

// before reports whether these values were there, and adds them.
func (s *seen) before(values ...[]byte) bool {
	var m maphash.Hash
	m.SetSeed(s.seed)
	for _, v := range values { // as they stand in the record: with their quotation marks
		_, _ = m.Write(v)
		_ = m.WriteByte(0)
	}
	h := m.Sum64()
	return !s.parts[h>>56].add(max(h, 1))
}

// digests is a hash table with open addressing; zero is free.
type digests struct {
	table []uint64
	n     int
}

// add reports whether the digest is new.
func (d *digests) add(h uint64) bool {
	if d.n >= len(d.table)*3/4 {
		old := d.table
		d.table = make([]uint64, max(16, 2*len(old)))
		for _, h := range old {
			if h != 0 {
				d.put(h)
			}
		}
	}
	if !d.put(h) {
		return false
	}
	d.n++
	return true
}

func (d *digests) put(h uint64) bool {
	mask := uint64(len(d.table) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch d.table[i] {
		case h:
			return false
		case 0:
			d.table[i] = h
			return true
		}
	}
}
