package auditlog

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"time"
)

const maxGaps = 100

// stream verifies one stream.
func (v *verifier) stream(sub string) error {
	held := streamHeld(filepath.Join(v.dir, sub))
	st := StreamReport{Dir: sub}
	s := &scan{ctx: v.ctx, roots: v.roots, dir: v.dir, sub: sub}
	w := &witnesses{v: v, s: s}
	defer w.stop()
	var firstOpen time.Time // of the first record after what is confirmed
	openAfter := int64(-1)
	// What stands behind the last checkpoint is not sealed: it says nothing.
	var batch struct {
		said []told
		last [len(timeLayout)]byte
		kind string // of its last record; empty if that is not the log's own
	}
	var last [len(timeLayout)]byte
	var lastKind string
	var expired []own
	s.checkpoint = func() error {
		for i := range batch.said {
			st.learn(batch.said[i].seq, &batch.said[i].own)
			if batch.said[i].Kind == ownExpired {
				expired = append(expired, batch.said[i].own)
			}
		}
		if st.proofs != nil {
			st.proofs.sealed(&s.tree)
		}
		copy(last[:], batch.last[:])
		lastKind, batch.said = batch.kind, batch.said[:0]
		if v.over != nil {
			return v.over.sealed()
		}
		return nil
	}
	s.read = func(n int64) {
		v.done += n
		if v.opts.Progress != nil {
			v.opts.Progress(min(v.done, v.total), v.total)
		}
	}
	s.leaf = func(_ int64, h Hash) error {
		if w.begin() {
			st.proofs = v.prover(s.name)
		}
		if d := w.compare(); d != nil {
			return d
		}
		if st.proofs != nil {
			st.proofs.leaf(&s.tree, h)
		}
		return nil
	}
	s.record = func(r *scanned) error {
		if st.First.IsZero() {
			st.First, st.Expired = parseTime(r.time), r.seq
		}
		if openAfter != w.confirmed {
			firstOpen, openAfter = parseTime(r.time), w.confirmed
		}
		copy(batch.last[:], r.time)
		batch.kind = ""
		if r.own {
			batch.kind = r.log.Kind
			batch.said = append(batch.said, told{r.log, r.seq})
		}
		if st.proofs != nil {
			st.proofs.record(r)
		}
		if v.over != nil {
			v.over.add(s, r)
		}
		return nil
	}
	err := v.walk(s, &st)
	st.Name = s.name
	var d *Damage
	switch {
	case errors.As(err, &d):
	case err != nil:
		return err
	case !s.began:
		// Nothing in it was ever acknowledged, so nothing can be missing, unless
		// somebody knows more of it.
		st.State, st.complete = StateEmpty, true
		if s.name != "" {
			w.begin()
			d = w.finish()
		}
	default:
		if d = s.verifyLast(); d == nil {
			d = w.finish()
		}
	}
	st.Size, st.Root, st.Torn, st.Cert = s.last.size, s.last.root, s.torn, s.cert
	st.AnchoredSize = w.confirmed
	if st.First.IsZero() {
		st.Expired = s.tree.size
	}
	st.Last = parseTime(last[:])
	st.removedSegments = s.removed
	if s.last.size > 0 {
		st.Checkpoint = s.last.note()
	}
	if s.name != "" {
		v.about(s.name).visited = true
		st.Named = v.names(s.name)
	}
	if d != nil {
		// What comes before the damage counts only if it is signed.
		if s.last.size > 0 && s.verifyLast() != nil {
			st.Size, st.Root, st.Checkpoint = 0, Hash{}, ""
		}
		st.Damage = d
		v.rep.Damage = append(v.rep.Damage, d)
	}
	if s.last.size > 0 && (d == nil || s.verifyLast() == nil) {
		v.allow(expired)
	}
	if w.confirmed < s.last.size {
		st.Late = max(1, st.Last.Sub(firstOpen))
	}
	if st.State == "" {
		st.State = v.state(&st, held, lastKind)
	}
	if d != nil {
		st.complete = false
	} else if st.State != StateEmpty {
		st.complete = st.State != StateUnclosed && st.GapCount == 0 &&
			w.confirmed > 0 && st.Late <= v.opts.MaxLag
	}
	v.rep.Total += st.there()
	v.rep.Streams = append(v.rep.Streams, st)
	return nil
}

// names reports whether an anchor or a pin names a stream.
func (v *verifier) names(stream string) bool {
	return slices.ContainsFunc(v.about(stream).limits, func(n int64) bool { return n > 0 }) ||
		slices.ContainsFunc(v.opts.Pins, func(p Head) bool { return p.Stream == stream })
}

// prover gathers the proofs that are wanted of a stream, if any.
func (v *verifier) prover(stream string) *prover {
	var seqs []int64
	for _, p := range v.opts.Prove {
		if p.Stream == stream || p.Stream == "" {
			seqs = append(seqs, p.Seq)
		}
	}
	if seqs == nil {
		return nil
	}
	return newProver(seqs)
}

// walk scans a stream and notes how many of its records were handed over.
func (v *verifier) walk(s *scan, st *StreamReport) error {
	if v.over == nil {
		return s.run()
	}
	v.over.begin()
	err := s.run()
	n, failed := v.over.end()
	if failed != nil {
		return failed
	}
	st.visited = n
	return err
}

// state says how the stream ended.
func (v *verifier) state(st *StreamReport, held bool, lastKind string) StreamState {
	if held {
		return StateLive
	}
	if st.Size > 0 && st.Expired == st.Size {
		return StateExpired
	}
	if lastKind == ownClosed && st.Torn == 0 {
		return StateClosed
	}
	for _, h := range v.about(st.Name).ends {
		if h.Size == st.Size && h.Root == st.Root {
			return StateRecovered
		}
	}
	return StateUnclosed
}

// told is a record of the log about itself that no checkpoint covers yet.
type told struct {
	own
	seq int64
}

// learn takes what a stream says about itself.
func (st *StreamReport) learn(seq int64, o *own) {
	switch o.Kind {
	case ownJump:
		st.Jumps++
	case ownGap:
		st.GapCount++
		if len(st.Gaps) < maxGaps {
			st.Gaps = append(st.Gaps, GapReport{
				Seq: seq, From: parseTime([]byte(o.From)), To: parseTime([]byte(o.To)),
				Counts: o.Counts, Refused: o.Refused, Cause: o.Cause,
			})
		}
	}
}

// allow takes which segments a stream, sealed and intact, says were to go.
func (v *verifier) allow(expired []own) {
	for _, o := range expired {
		m := v.expired[o.Stream]
		if m == nil {
			m = make(map[removal]bool)
			v.expired[o.Stream] = m
		}
		for i, n := range o.Segments[:min(len(o.Segments), len(o.Ends))] {
			m[removal{n, o.Ends[i]}] = true
		}
	}
}

// streamHeld reports whether a process is writing the stream.
func streamHeld(dir string) bool {
	f, err := openRegular(filepath.Join(dir, lockName))
	if err != nil {
		return false
	}
	defer f.Close()
	return lockHeld(f)
}

// witnesses compares a stream, while it is read, with what others know of it.
type witnesses struct {
	v     *verifier
	s     *scan
	begun bool

	list      []*witness
	agreed    int64 // the largest size that anybody confirms
	confirmed int64 // the largest size that an anchor or a pin confirms
}

// witness is one source of heads, in order of their size.
type witness struct {
	who     string
	next    func() (Head, error, bool)
	stop    func()
	head    Head
	ok      bool
	limit   int64
	signed  bool // it is believed only with a signature
	outside bool // it is not part of the log
}

// begin reports whether it was called for the first time.
func (w *witnesses) begin() bool {
	if w.begun {
		return false
	}
	w.begun = true
	k := w.v.about(w.s.name)
	k.visited = true
	for i, a := range w.v.opts.Anchors {
		heads := a.Heads(w.v.ctx, w.s.name)
		if k.mixed[i] {
			heads = w.inOrder(heads, i)
		}
		next, stop := iter.Pull2(heads)
		w.add(&witness{who: fmt.Sprintf("anchor %d", i+1), next: next, stop: stop, limit: k.limits[i], signed: true, outside: true})
	}
	i := 0
	w.add(&witness{who: "a pin or another stream", stop: func() {}, limit: 1 << 62, next: func() (Head, error, bool) {
		if i == len(k.heads) {
			return Head{}, nil, false
		}
		i++
		return k.heads[i-1], nil, true
	}})
	return true
}

// inOrder sorts the heads of an anchor that are signed. An anchor gives them in
// order, so somebody has changed this one; a forged head that claims more than
// there is would otherwise hide those behind it.
func (w *witnesses) inOrder(heads iter.Seq2[Head, error], anchor int) iter.Seq2[Head, error] {
	return func(yield func(Head, error) bool) {
		w.v.note("anchor %d: its heads of %s are not in order; only those that are signed are believed", anchor+1, w.s.name)
		var list []Head
		for h, err := range heads {
			if err != nil {
				yield(Head{}, err)
				return
			}
			if checkHead(h, w.v.roots) == nil {
				list = append(list, h)
			}
		}
		slices.SortStableFunc(list, func(a, b Head) int { return cmp.Compare(a.Size, b.Size) })
		for _, h := range list {
			if !yield(h, nil) {
				return
			}
		}
	}
}

func (w *witnesses) add(x *witness) {
	w.list = append(w.list, x)
	w.advance(x)
}

// advance takes the next head. One that cannot be read is the end of its source:
// it confirms nothing.
func (w *witnesses) advance(x *witness) {
	h, err, ok := x.next()
	if err != nil {
		w.v.note("%s: %v", x.who, err)
	}
	x.head, x.ok = h, ok && err == nil && h.Size <= x.limit
}

// compare checks the heads of the size that the tree has now.
func (w *witnesses) compare() *Damage {
	for _, x := range w.list {
		for x.ok && x.head.Size <= w.s.tree.size {
			if d := w.check(x); d != nil {
				return d
			}
			w.advance(x)
		}
	}
	return nil
}

func (w *witnesses) check(x *witness) *Damage {
	if x.head.Size == w.s.tree.size && x.head.Root == w.s.tree.root() {
		w.agreed = x.head.Size
		if x.outside || w.pinned(x.head) {
			w.confirmed = x.head.Size
		}
		return nil
	}
	if x.head.Size < w.s.tree.size && x.outside {
		return nil // out of order; an earlier one has been compared
	}
	return w.accuse(x, DamageRewritten, fmt.Sprintf("%s knows another history of the first %d records", x.who, x.head.Size))
}

// finish demands that nobody knows more than there is.
func (w *witnesses) finish() *Damage {
	if d := w.compare(); d != nil {
		return d
	}
	if w.agreed > w.s.last.size {
		d := w.s.damage(DamageTruncated, "the checkpoint of size %d is missing, and an anchor, a pin or another stream knows it", w.agreed)
		d.Segment, d.Seq = "", w.agreed
		return d
	}
	for _, x := range w.list {
		for x.ok {
			d := w.accuse(x, DamageTruncated, fmt.Sprintf("%s knows %d records, %d are there", x.who, x.head.Size, w.s.tree.size))
			if d != nil {
				return d
			}
			w.advance(x)
		}
	}
	return nil
}

// accuse returns the damage that a head proves. What is not signed by the
// stream's key proves nothing: otherwise whoever can write to an anchor could
// make any log look tampered with.
func (w *witnesses) accuse(x *witness, kind DamageKind, detail string) *Damage {
	if x.signed {
		if err := checkHead(x.head, w.v.roots); err != nil {
			w.v.note("%s: the head %s is not believed: %v", x.who, x.head, err)
			return nil
		}
	}
	d := w.s.damage(kind, "%s", detail)
	d.Segment, d.Seq = "", min(x.head.Size, w.s.tree.size)
	return d
}

// pinned reports whether a head was noted by hand.
func (w *witnesses) pinned(h Head) bool {
	for _, p := range w.v.opts.Pins {
		if p.Stream == h.Stream && p.Size == h.Size && p.Root == h.Root {
			return true
		}
	}
	return false
}

func (w *witnesses) stop() {
	for _, x := range w.list {
		x.stop()
	}
}
