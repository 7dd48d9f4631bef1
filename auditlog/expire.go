package auditlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// MinRetention is what PCI DSS 4.0.1 10.5.1 asks for.
const MinRetention = 365 * 24 * time.Hour

// An Expiry says what may be removed.
type Expiry struct {
	// OlderThan is the age of the last record of a segment from which on it is
	// removed. Less than [MinRetention] is refused unless Short is set.
	OlderThan time.Duration
	Short     bool
	// Policy is kept in audit.segment_expired: by which rule. Required.
	Policy string
}

// Expire removes whole segments that nobody needs any more. Their leaf hashes
// stay, 32 bytes a record, so that all other records stay provable; an
// audit.segment_expired record is durable before anything is removed. Segments
// that [Hold] has marked stay, and so does whatever is damaged: it is evidence.
//
// It returns the removed files, relative to Config.Dir. Errors of some streams
// do not keep it from the others.
func (l *Log) Expire(ctx context.Context, e Expiry) (removed []string, err error) {
	var errs []error
	if e.OlderThan < MinRetention && !e.Short {
		errs = append(errs, fmt.Errorf("the OlderThan of %v is less than the 12 months that PCI DSS 10.5.1 asks for; set Short if that does not apply", e.OlderThan))
	}
	if e.OlderThan <= 0 {
		errs = append(errs, fmt.Errorf("the OlderThan of %v would remove everything", e.OlderThan))
	}
	if e.Policy == "" {
		errs = append(errs, errors.New("the Policy is empty; say by which rule records are removed"))
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("auditlog: expire: %w", errors.Join(errs...))
	}
	now, _ := l.cfg.clock()
	subs, err := listStreams(l.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("auditlog: expire: %w", err)
	}
	mine := l.Stream()
	for _, sub := range subs {
		if !strings.HasSuffix(mine, "/"+sub) && streamHeld(filepath.Join(l.cfg.Dir, sub)) {
			continue // whoever writes it removes its segments
		}
		list, err := l.expireStream(ctx, sub, now.Add(-e.OlderThan), e.Policy)
		removed = append(removed, list...)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", sub, err))
		}
	}
	if len(errs) > 0 {
		return removed, fmt.Errorf("auditlog: expire: %w", errors.Join(errs...))
	}
	return removed, nil
}

// expiring is what a first reading of a stream finds out.
type expiring struct {
	last map[int]time.Time // of each segment: when its last record was sealed
	ends map[int]int64     // of each segment: how many records are in it and before it
	said map[int][]own     // of each segment: what it says about removed segments
}

func (l *Log) expireStream(ctx context.Context, sub string, cutoff time.Time, policy string) ([]string, error) {
	found := expiring{make(map[int]time.Time), make(map[int]int64), make(map[int][]own)}
	s := &scan{ctx: ctx, roots: []publicKey{l.root}, dir: l.cfg.Dir, sub: sub, read: func(int64) {}}
	s.record = func(r *scanned) error {
		n := s.segments[s.seg].n
		found.last[n], found.ends[n] = parseTime(r.time), r.seq+1
		if r.own && r.log.Kind == ownExpired {
			found.said[n] = append(found.said[n], r.log)
		}
		return nil
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	if !s.began {
		return nil, nil
	}
	if d := s.verifyLast(); d != nil {
		return nil, d
	}
	dir := filepath.Join(l.cfg.Dir, sub)
	going := make(map[int]bool)
	record := own{Kind: ownExpired, Stream: s.name, Policy: clean(policy)}
	var notes []own
	for i, g := range s.segments {
		lastOne := i == len(s.segments)-1
		at, ok := found.last[g.n]
		if g.leaves || !ok || !at.Before(cutoff) || isHeld(dir, g.n) || lastOne && (s.torn > 0 || s.name == l.Stream()) {
			continue
		}
		going[g.n] = true
		record.Segments = append(record.Segments, g.n)
		record.Ends = append(record.Ends, found.ends[g.n])
		record.To = formatTime(at)
		// What the segment says about others must stay said.
		notes = append(notes, found.said[g.n]...)
	}
	if len(going) == 0 {
		return nil, nil
	}
	record.Size, record.Root = s.last.size, s.last.root.String()
	ends, err := l.writeLeaves(ctx, sub, going)
	if err != nil {
		return nil, err
	}
	if ends != len(going) {
		return nil, errors.New("the stream was changed while it was read")
	}
	if err := l.appendOwn(ctx, append(notes, record)); err != nil {
		return nil, err
	}
	var removed []string
	for _, n := range record.Segments {
		if err := os.Rename(filepath.Join(dir, leavesName(n)+".new"), filepath.Join(dir, leavesName(n))); err != nil {
			return removed, err
		}
	}
	if err := syncDir(dir); err != nil {
		return removed, err
	}
	for _, n := range record.Segments {
		if err := os.Remove(filepath.Join(dir, segmentName(n))); err != nil {
			return removed, err
		}
		removed = append(removed, sub+"/"+segmentName(n))
	}
	return removed, syncDir(dir)
}

func leavesName(n int) string { return fmt.Sprintf("%08d.leaves", n) }

// writeLeaves writes the leaves of segments to files with the suffix .new, and
// returns how many it completed.
func (l *Log) writeLeaves(ctx context.Context, sub string, going map[int]bool) (done int, err error) {
	dir := filepath.Join(l.cfg.Dir, sub)
	s := &scan{ctx: ctx, roots: []publicKey{l.root}, dir: l.cfg.Dir, sub: sub, read: func(int64) {}}
	var leaves []byte // of the segment being read
	current := -1
	finish := func() error {
		if current >= 0 && going[current] && len(leaves) > 0 {
			b := appendLeavesHead(nil, s.cert, s.last.raw)
			if err := writeFile(filepath.Join(dir, leavesName(current)+".new"), b, leaves); err != nil {
				return err
			}
			done++
		}
		leaves = leaves[:0]
		return nil
	}
	s.leaf = func(_ int64, h Hash) error {
		if n := s.segments[s.seg].n; n != current {
			if err := finish(); err != nil {
				return err
			}
			current = n
		}
		if going[current] {
			leaves = append(leaves, h[:]...)
		}
		return nil
	}
	if err := s.run(); err != nil {
		return done, err
	}
	return done, finish()
}

func writeFile(name string, parts ...[]byte) error {
	// What stands there under that name is not written through: it may be a link.
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, p := range parts {
		_, _ = w.Write(p)
	}
	err = w.Flush()
	if e := f.Sync(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// appendOwn makes records of the log about itself durable.
func (l *Log) appendOwn(ctx context.Context, list []own) error {
	w := &waiter{done: make(chan error, 1)}
	l.mu.Lock()
	if err := l.refuses(0, true); err != nil {
		l.mu.Unlock()
		return err
	}
	b := l.next
	for i := range list {
		b.data = append(b.data, list[i].encode()...)
		b.recs = append(b.recs, span{len(b.data), true, w})
	}
	b.waits = append(b.waits, w)
	l.mu.Unlock()
	l.hurry()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("auditlog: the outcome is not known: %w", context.Cause(ctx))
	}
}

func holdName(n int) string { return fmt.Sprintf("%08d.hold", n) }

func isHeld(dir string, n int) bool {
	_, err := os.Lstat(filepath.Join(dir, holdName(n)))
	return !errors.Is(err, os.ErrNotExist) // what cannot be told apart is held
}

// Hold marks the segments that have the records from to to, both included, of a
// stream, so that [Log.Expire] keeps them. It writes a file NNNNNNNN.hold beside
// each, with the name of the case in it; whoever removes the last line of it, and
// the file, releases the segment. It returns the held segments, relative to dir.
func (rep *Report) Hold(ctx context.Context, stream string, from, to int64, caseName string) (held []string, err error) {
	for rec, err := range rep.RecordsOf(ctx, stream) {
		if err != nil {
			return held, err
		}
		if rec.Seq > to {
			break
		}
		if rec.Seq < from || len(held) > 0 && held[len(held)-1] == rec.File {
			continue
		}
		mark := filepath.Join(rep.Dir, strings.TrimSuffix(rec.File, ".log")+".hold")
		f, err := appendRegular(mark)
		if err == nil {
			_, err = fmt.Fprintf(f, "%s\n", clean(caseName))
			err = errors.Join(err, f.Sync(), f.Close())
		}
		if err != nil {
			return held, fmt.Errorf("auditlog: hold: %w", err)
		}
		held = append(held, rec.File)
	}
	if len(held) == 0 {
		return nil, fmt.Errorf("auditlog: hold: %s has no records from %d to %d", stream, from, to)
	}
	return held, nil
}
