package auditlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// VerifyOptions says against what a log is verified.
type VerifyOptions struct {
	// Keys are the verifier keys of the roots that may certify streams. Required:
	// whoever verifies must know the key from elsewhere than from the log.
	Keys []string
	// Anchors and Pins are what others know of the log.
	Anchors []Anchor
	Pins    []Head
	// MaxLag is how much younger than the last record the oldest one may be that
	// no anchor confirms. Default 60 s.
	MaxLag time.Duration
	// Progress is called now and then. Optional.
	Progress func(done, total int64)
	// Prove names records of which proofs will be wanted: what they take is gathered
	// in the same pass.
	Prove []Place
	// Visit, if given, is called with the records in the same pass, so that whoever
	// verifies and asks reads everything once: some at a time, stream by stream as
	// Report.Records has them, in one goroutine beside the verification. They are
	// valid during the call. A record is handed over when it is where it belongs and
	// a checkpoint covers it; whether that is signed is known at the end of the stream
	// only. So what was visited counts if Report.Visited says so, once Verify has
	// returned, and not before. An error of Visit is that of Verify.
	Visit func([]Record) error
}

// verifier verifies a directory.
type verifier struct {
	ctx   context.Context
	dir   string
	opts  VerifyOptions
	roots []publicKey
	rep   *Report

	known   map[string]*knowledge // by stream
	expired map[string]map[removal]bool
	done    int64
	total   int64
	over    *handover // nil: nobody wants the records
}

// knowledge is what is known of a stream from elsewhere.
type knowledge struct {
	heads   []Head  // pins, and what other streams say, by size
	ends    []Head  // what others say was its end
	limits  []int64 // how far each anchor went when the verification began
	mixed   []bool  // whether the heads of each anchor were not in order then
	visited bool
}

// Verify reads all streams in dir, once, and returns its verdict. Its memory
// does not grow with the length of the log, only with the number of streams. An
// error says that the log or an anchor could not be read, or that the options
// make no sense; damage is in the report.
//
// A log may be verified while it is being written.
func Verify(ctx context.Context, dir string, opts VerifyOptions) (*Report, error) {
	def(&opts.MaxLag, time.Minute)
	v := &verifier{
		ctx: ctx, dir: dir, opts: opts,
		rep:   &Report{Dir: dir, anchored: len(opts.Anchors)+len(opts.Pins) > 0, opts: opts},
		known: make(map[string]*knowledge), expired: make(map[string]map[removal]bool),
	}
	var err error
	if v.roots, err = parseRoots(opts.Keys); err != nil {
		return nil, err
	}
	// What the anchors know now must be in the log; what they learn while the log
	// is being read need not have been there yet.
	if err := v.askAnchors(); err != nil {
		return nil, err
	}
	for _, p := range opts.Pins {
		v.about(p.Stream).heads = append(v.about(p.Stream).heads, p)
	}
	subs, err := listStreams(dir)
	if err != nil {
		return nil, fmt.Errorf("auditlog: verify: %w", err)
	}
	for _, sub := range subs {
		if err := v.overview(sub); err != nil {
			return nil, fmt.Errorf("auditlog: verify: %w", err)
		}
	}
	for _, k := range v.known {
		slices.SortFunc(k.heads, func(a, b Head) int { return cmp.Compare(a.Size, b.Size) })
	}
	if err := v.streams(subs); err != nil {
		return nil, fmt.Errorf("auditlog: verify: %w", err)
	}
	v.missing()
	v.removals()
	v.rep.Bytes = v.done
	if opts.Progress != nil {
		opts.Progress(v.total, v.total)
	}
	return v.rep, nil
}

// streams verifies one stream after the other and hands over their records.
func (v *verifier) streams(subs []string) (err error) {
	if v.over = newHandover(v.opts.Visit); v.over != nil {
		defer func() {
			if visit := v.over.finish(); visit != nil {
				err = visit
			}
		}()
	}
	for _, sub := range subs {
		if err := v.stream(sub); err != nil {
			return err
		}
	}
	return nil
}

func parseRoots(keys []string) ([]publicKey, error) {
	if len(keys) == 0 {
		return nil, errors.New("auditlog: verify: no verifier key; without one every forgery would pass")
	}
	var roots []publicKey
	for _, text := range keys {
		k, err := parseVerifierKey(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("auditlog: verify: key %.60q: %w", text, err)
		}
		roots = append(roots, k)
	}
	return roots, nil
}

// listStreams returns the directories of streams, oldest first.
func listStreams(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var subs []string
	for _, e := range entries {
		if isULID(e.Name()) && e.IsDir() {
			subs = append(subs, e.Name())
		}
	}
	return subs, nil
}

func (v *verifier) about(stream string) *knowledge {
	k := v.known[stream]
	if k == nil {
		k = &knowledge{limits: make([]int64, len(v.opts.Anchors)), mixed: make([]bool, len(v.opts.Anchors))}
		v.known[stream] = k
	}
	return k
}

// askAnchors notes how far each anchor goes.
func (v *verifier) askAnchors() error {
	for i, a := range v.opts.Anchors {
		for stream, err := range a.Streams(v.ctx) {
			if err != nil {
				return fmt.Errorf("auditlog: anchor %d: %w", i+1, err)
			}
			for h, err := range a.Heads(v.ctx, stream) {
				if err != nil {
					return fmt.Errorf("auditlog: anchor %d: %w", i+1, err)
				}
				k := v.about(stream)
				k.mixed[i] = k.mixed[i] || h.Size < k.limits[i]
				k.limits[i] = max(k.limits[i], h.Size)
			}
		}
	}
	return nil
}

// errEnough ends a scan that has seen what it wanted.
var errEnough = errors.New("enough")

// errVisit ends a verification whose visitor has failed.
var errVisit = errors.New("the visitor has failed")

// overview reads the first batch of a stream for what it says about others.
func (v *verifier) overview(sub string) error {
	segs, err := listSegments(filepath.Join(v.dir, sub))
	if err != nil {
		return err
	}
	for _, g := range segs {
		v.total += fileLen(filepath.Join(v.dir, sub, g.name)) // one that cannot be read shows when it is read
	}
	_, err = readOpening(v.ctx, v.dir, sub, v.roots, func(o *own) {
		switch o.Kind {
		case ownOpened:
			for _, r := range o.Refs {
				v.told(r.Stream, r.Size, r.Root, false)
			}
		case ownRecovered, ownTamper:
			v.told(o.Stream, o.Size, o.Root, o.Kind == ownRecovered)
		}
	})
	return err
}

// readOpening calls visit for each of the log's own records in the first batch
// of a stream, if that batch is sealed: what is not could be anybody's.
func readOpening(ctx context.Context, dir, sub string, roots []publicKey, visit func(*own)) (s *scan, err error) {
	s = &scan{ctx: ctx, roots: roots, dir: dir, sub: sub}
	var said []own
	s.record = func(r *scanned) error {
		if s.last.size > 0 || !r.own {
			return errEnough
		}
		said = append(said, r.log)
		return nil
	}
	err = s.run()
	if d := (*Damage)(nil); errors.As(err, &d) || errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && s.began && s.verifyLast() == nil {
		for i := range said {
			visit(&said[i])
		}
	}
	return s, err
}

func (v *verifier) told(stream string, size int64, root string, end bool) {
	var h Head
	if size <= 0 || len(root) != hashLen || !decodeHash(&h.Root, []byte(root)) || !validName(stream) {
		return
	}
	h.Stream, h.Size = stream, size
	k := v.about(stream)
	k.heads = append(k.heads, h)
	if end {
		k.ends = append(k.ends, h)
	}
}

// missing looks for streams that others know and that are not there.
func (v *verifier) missing() {
	var names []string
	for name, k := range v.known {
		if !k.visited {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		k := v.known[name]
		why := ""
		if len(k.heads) > 0 {
			why = fmt.Sprintf("a pin or another stream knows %d records of it", k.heads[len(k.heads)-1].Size)
		}
		for i, a := range v.opts.Anchors {
			for h, err := range a.Heads(v.ctx, name) {
				if err == nil && checkHead(h, v.roots) == nil {
					why = fmt.Sprintf("anchor %d knows %d records of it", i+1, h.Size)
				}
			}
		}
		if why == "" {
			v.note("an anchor has heads of %s that no root key has certified; they are not believed", name)
			continue
		}
		v.rep.Damage = append(v.rep.Damage, &Damage{Stream: name, Kind: DamageGone, Seq: 0, Detail: "the stream is missing: " + why})
	}
}

// removals demands that each removal of a segment was recorded before.
func (v *verifier) removals() {
	for i := range v.rep.Streams {
		st := &v.rep.Streams[i]
		if st.Damage != nil {
			continue
		}
		for _, gone := range st.removedSegments {
			if v.expired[st.Name][gone] {
				continue
			}
			st.Damage = &Damage{
				Stream: st.Name, Kind: DamageRemoved, Seq: -1, Segment: st.Dir + "/" + segmentName(gone.n),
				Detail: fmt.Sprintf("the segment is gone, and no audit.segment_expired says that it was to go, up to record %d", gone.end-1),
			}
			st.complete = false
			v.rep.Damage = append(v.rep.Damage, st.Damage)
			break
		}
	}
}

func (v *verifier) note(format string, args ...any) {
	if len(v.rep.Notes) < 100 {
		v.rep.Notes = append(v.rep.Notes, fmt.Sprintf(format, args...))
	}
}
