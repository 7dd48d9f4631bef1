package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	maxAround  = 256 // old streams that Open looks at, the newest ones
	maxRefs    = 16  // of them that audit.opened names
	tailBytes  = 4 * maxLine
	startLimit = 10 * time.Second // for each anchor, at the start
	newborn    = time.Minute      // a stream that has no checkpoint yet may still be beginning
)

// surroundings is what a new stream says about those that are there already.
type surroundings struct {
	refs  []ref
	notes []own
}

// neighbour is an old stream as Open found it.
type neighbour struct {
	head   Head
	closed bool
	torn   int64
	at     int64 // where the torn bytes begin in the last segment
	path   string
	err    error // a *Damage, or why it cannot be read
}

// lookAround inspects the streams that are there: how far they came, how they
// ended, whether an anchor knows more of them.
func (l *Log) lookAround() *surroundings {
	ctx, cancel := context.WithTimeout(context.Background(), 3*startLimit)
	defer cancel()
	roots := []publicKey{l.root}
	subs, err := listStreams(l.cfg.Dir)
	if err != nil {
		return &surroundings{}
	}
	slices.Reverse(subs)
	subs = subs[:min(len(subs), maxAround)]

	found := &surroundings{}
	told := make(map[string]int64) // how others recorded the end of a stream
	var list []*scan
	for _, sub := range subs {
		s, err := readOpening(ctx, l.cfg.Dir, sub, roots, func(o *own) {
			if o.Kind == ownRecovered || o.Kind == ownTamper {
				told[o.Stream] = o.Size
			}
		})
		if err != nil {
			l.alarm(Alarm{sub, err})
			continue
		}
		list = append(list, s)
	}
	anchors := l.lastAnchored(ctx)
	budget := l.cfg.CheckAtStart
	for _, s := range list {
		if streamHeld(filepath.Join(l.cfg.Dir, s.sub)) {
			if n := l.glance(s); n.err == nil {
				found.see(n.head)
			}
			continue
		}
		n := l.inspect(ctx, s, &budget)
		var d *Damage
		switch {
		case n.err == nil && n.head.Size == 0:
			continue // nothing in it was ever acknowledged
		case errors.As(n.err, &d), n.err == nil:
		default:
			l.alarm(Alarm{s.label(), n.err})
			continue
		}
		if d == nil {
			d = contradicted(n.head, anchors[s.name], roots)
		}
		delete(anchors, s.name)
		if d != nil {
			l.alarm(Alarm{d.Stream, d})
			found.notes = append(found.notes, own{Kind: ownTamper, Stream: clean(d.Stream), Cause: clean(d.Error())})
			continue
		}
		found.see(n.head)
		if size, ok := told[s.name]; n.closed || ok && size == n.head.Size {
			continue
		}
		o := own{Kind: ownRecovered, Stream: s.name, Size: n.head.Size, Root: n.head.Root.String(), Cause: "found without audit.closed"}
		if n.torn > 0 {
			o.Bytes, o.SHA256 = tornBytes(n.path, n.at)
		}
		found.notes = append(found.notes, o)
	}
	if len(subs) < maxAround { // else the missing ones may just be older
		for _, d := range l.gone(anchors, list, roots) {
			l.alarm(Alarm{d.Stream, d})
			found.notes = append(found.notes, own{Kind: ownTamper, Stream: d.Stream, Cause: clean(d.Error())})
		}
	}
	return found
}

func (f *surroundings) see(h Head) {
	if len(f.refs) < maxRefs && h.Size > 0 {
		f.refs = append(f.refs, ref{h.Stream, h.Size, h.Root.String()})
	}
}

// inspect looks at a stream that nobody writes: in full as long as the budget
// lasts, else at its end.
func (l *Log) inspect(ctx context.Context, opening *scan, budget *int64) neighbour {
	dir := filepath.Join(l.cfg.Dir, opening.sub)
	segs, err := listSegments(dir)
	if err != nil {
		return neighbour{err: err}
	}
	var size int64
	for _, g := range segs {
		if info, err := os.Stat(filepath.Join(dir, g.name)); err == nil {
			size += info.Size()
		}
	}
	if size > *budget {
		return l.glance(opening)
	}
	*budget -= size
	s := &scan{ctx: ctx, roots: opening.roots, dir: l.cfg.Dir, sub: opening.sub}
	n := neighbour{}
	kind := ""
	s.record = func(r *scanned) error {
		kind = r.log.Kind
		return nil
	}
	if n.err = s.run(); n.err == nil && s.began {
		if d := s.verifyLast(); d != nil {
			n.err = d
		}
	}
	n.head = Head{Stream: s.name, Size: s.last.size, Root: s.last.root}
	n.closed = kind == ownClosed && s.torn == 0
	n.torn = s.torn
	if len(segs) > 0 {
		n.path = filepath.Join(dir, segs[len(segs)-1].name)
		n.at = fileLen(n.path) - s.torn
	}
	return n
}

// glance reads the end of a stream: its last checkpoint, with its signature.
func (l *Log) glance(opening *scan) (n neighbour) {
	dir := filepath.Join(l.cfg.Dir, opening.sub)
	segs, err := listSegments(dir)
	if err != nil || opening.cert == "" {
		return neighbour{err: err}
	}
	// The last segment may have just been begun.
	for i := len(segs) - 1; i >= 0 && i >= len(segs)-2 && n.head.Size == 0; i-- {
		if segs[i].leaves {
			return n
		}
		n = glanceAt(filepath.Join(dir, segs[i].name), opening)
	}
	return n
}

func glanceAt(path string, opening *scan) neighbour {
	n := neighbour{path: path}
	f, err := openRegular(path)
	if err != nil {
		return neighbour{err: err}
	}
	defer f.Close()
	size := fileSize(f)
	from := max(0, size-tailBytes)
	b := make([]byte, size-from)
	if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return neighbour{err: err}
	}
	end := bytes.LastIndexByte(b, '\n')
	n.torn = int64(len(b) - end - 1)
	for end >= 0 {
		begin := bytes.LastIndexByte(b[:end], '\n')
		raw := b[begin+1 : end]
		l, err := parseLine(raw, opening.name)
		if err == nil && l.cp {
			n.at = from + int64(end) + 1
			n.torn = size - n.at
			sig, ok := l.sig()
			root := l.prev
			if !ok || !opening.key.verifies(appendSigned(nil, opening.name, l.seq, &root), sig) {
				n.err = &Damage{Stream: opening.name, Kind: DamageSignature, Seq: l.seq, Segment: filepath.Base(path), Offset: from + int64(begin) + 1,
					Detail: "the last checkpoint is not signed by the key of this stream"}
				return n
			}
			n.head = Head{Stream: opening.name, Size: l.seq, Root: root}
			before := bytes.LastIndexByte(b[:max(begin, 0)], '\n')
			if r, err := parseLine(b[before+1:max(begin, 0)], opening.name); err == nil && r.own && n.torn == 0 {
				o, err := decodeOwn(r.body)
				n.closed = err == nil && o.Kind == ownClosed
			}
			return n
		}
		end = begin
	}
	return n
}

func fileLen(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// lastAnchored returns the furthest head of each stream that an anchor keeps. An
// anchor that does not answer must not keep the application from starting; that
// it does not shows in Health.
func (l *Log) lastAnchored(ctx context.Context) map[string]Head {
	heads := make(map[string]Head)
	for _, a := range l.cfg.Anchors {
		ctx, cancel := context.WithTimeout(ctx, startLimit)
		for stream, err := range a.Streams(ctx) {
			if err != nil {
				break
			}
			for h, err := range a.Heads(ctx, stream) {
				if err == nil && h.Size > heads[stream].Size {
					heads[stream] = h
				}
			}
		}
		cancel()
	}
	return heads
}

// contradicted compares what is there with what an anchor knows.
func contradicted(there, anchored Head, roots []publicKey) *Damage {
	if anchored.Size == 0 || checkHead(anchored, roots) != nil {
		return nil
	}
	switch {
	case anchored.Size > there.Size:
		return &Damage{Stream: anchored.Stream, Kind: DamageTruncated, Seq: there.Size,
			Detail: fmt.Sprintf("an anchor knows %d records, %d are there", anchored.Size, there.Size)}
	case anchored.Size == there.Size && anchored.Root != there.Root:
		return &Damage{Stream: anchored.Stream, Kind: DamageRewritten, Seq: there.Size,
			Detail: fmt.Sprintf("an anchor knows another history of the first %d records", there.Size)}
	}
	return nil
}

// gone returns a damage for each stream that an anchor knows and that is not
// there.
func (l *Log) gone(anchors map[string]Head, list []*scan, roots []publicKey) (all []*Damage) {
	there := make(map[string]bool)
	for _, s := range list {
		there[s.name] = true
	}
	for name, h := range anchors {
		if !there[name] && checkHead(h, roots) == nil {
			all = append(all, &Damage{Stream: name, Kind: DamageGone, Detail: fmt.Sprintf("the stream is missing; an anchor knows %d records of it", h.Size)})
		}
	}
	return all
}
