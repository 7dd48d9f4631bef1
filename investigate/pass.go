package investigate

import (
	"context"
	"errors"
	"hash/maphash"

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
	// ordered demands the order of Records: of streams that were written at the same
	// time, events by time. Without it streams may come one after the other.
	ordered bool
}

// read goes through the trail and returns what may be missing. If the trail was
// not verified yet, that is done in the same pass; begin is called anew where the
// pass has to be repeated.
func (t *Trail) read(ctx context.Context, begin func() query) (*doubts, error) {
	if d, err := t.readFirst(ctx, begin); d != nil || err != nil {
		return d, err
	}
	q := begin()
	p := newPass(&q)
	done, total := int64(0), t.bytes()
	for r, err := range Records(ctx, t.Reports...) {
		if err != nil {
			return nil, err
		}
		if err := p.record(&r); err != nil {
			return nil, err
		}
		if done += int64(len(r.Line)) + 1; t.opts.Progress != nil && r.Seq%4096 == 0 {
			t.opts.Progress(done, total)
		}
	}
	return p.conclude(t), nil
}

// readFirst verifies the trail and reads it in the same pass. It returns nil if it
// was verified before, or if the pass was not what was wanted.
func (t *Trail) readFirst(ctx context.Context, begin func() query) (*doubts, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Reports != nil {
		return nil, nil
	}
	q := begin()
	p := newPass(&q)
	if err := t.verify(ctx, p.visitAll); err != nil {
		return nil, err
	}
	if !t.visited() || (q.ordered || p.repeated) && !p.sequential(t) {
		return nil, nil
	}
	return p.conclude(t), nil
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
	query
	evidence
	f    fields
	e    Event
	seen *seen
	text interner
	// repeated says that something was there twice.
	repeated bool
}

func newPass(q *query) *pass {
	return &pass{query: *q, evidence: newEvidence(), seen: newSeen(), text: make(interner)}
}

func (p *pass) visitAll(records []auditlog.Record) error {
	for i := range records {
		if err := p.record(&records[i]); err != nil {
			return err
		}
	}
	return nil
}

// record takes the next record.
func (p *pass) record(r *auditlog.Record) error {
	f, e := &p.f, &p.e
	p.met(r)
	ok := f.split(r.Event)
	wanted := !r.Own && ok && (p.want == nil || p.want(f))
	switch {
	case r.Own || !ok || mayDoubt(f):
		f.event(r, e, p.text)
		e.unreadable = e.unreadable || !ok
		p.tells(e, !ok || f.alien(f.session))
		if !wanted && !(r.Own && p.want == nil) {
			return nil // what cannot be read is no part of any answer but of the doubt
		}
		if !r.Own && p.again(f) || !p.looked(r) {
			return nil
		}
		return p.visit(e)
	case !wanted || p.again(f) || p.light != nil && p.light(f, r) || !p.looked(r):
		return nil
	}
	if f.event(r, e, p.text); e.unreadable {
		p.tells(e, false)
	}
	return p.visit(e)
}

// again reports whether an event was there before. An ending that two hosts have
// written has the times of both, and the first one counts.
func (p *pass) again(f *fields) bool {
	if len(f.id) == 0 || !p.seen.before(f.id) {
		return false
	}
	p.repeated = true
	return true
}

// looked reports whether an event is wanted at the second glance.
func (p *pass) looked(r *auditlog.Record) bool {
	if p.look == nil {
		return true
	}
	g := Glance{Kind: scsguard.EventKind(p.text.text(p.f.kind)), Outcome: p.text.text(p.f.outcome), User: p.text.text(p.f.user), Own: r.Own}
	if g.Time, _ = moment(p.f.time); r.Own {
		g.Time = r.Time
	}
	return p.look(&g)
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

// before reports whether the ID was there, and adds it.
func (s *seen) before(id []byte) bool {
	h := maphash.Bytes(s.seed, id)
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
