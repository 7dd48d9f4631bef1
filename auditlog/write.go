package auditlog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// run is the one goroutine that writes.
func (l *Log) run() {
	defer close(l.done)
	timer := time.NewTimer(l.cfg.Heartbeat)
	defer timer.Stop()
	for {
		closing := false
		select {
		case <-l.wake:
		case <-timer.C:
		case <-l.quit:
			closing = true
		}
		l.flush(closing)
		if closing {
			l.err = l.finish()
			return
		}
		timer.Reset(l.patience())
	}
}

// patience is how long to wait for work: until the next heartbeat, or the next
// attempt to do better than now.
func (l *Log) patience() time.Duration {
	_, mono := l.cfg.clock()
	d := l.beat + l.cfg.Heartbeat - mono
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.st == nil:
		d = l.pause // a heartbeat that is due has nowhere to go
	case l.low:
		d = min(d, l.pause)
	}
	return max(d, time.Millisecond)
}

// flush writes what is waiting, and a heartbeat if one is due.
func (l *Log) flush(closing bool) {
	l.checkSpace()
	l.mu.Lock()
	b := l.next
	l.next, l.spare = l.spare, nil
	l.mu.Unlock()

	err := l.write(b, closing)

	l.mu.Lock()
	for _, w := range b.waits {
		if w.gone {
			l.waiters.Put(w)
			continue
		}
		if err != nil {
			l.refuse(w.count)
		} else {
			l.stats.Appended += int64(w.count)
		}
		w.done <- err
	}
	b.reset()
	l.spare = b
	l.mu.Unlock()
}

func (b *batch) reset() {
	if cap(b.data) > 1<<20 {
		b.data = nil // one large batch is not kept for ever
	}
	clear(b.recs)
	clear(b.waits)
	b.data, b.recs, b.waits = b.data[:0], b.recs[:0], b.waits[:0]
}

// write makes a batch durable, in a new stream if this one fails.
func (l *Log) write(b *batch, closing bool) error {
	if l.st == nil {
		_, mono := l.cfg.clock()
		if mono-l.tried < l.pause && !closing {
			return l.downErr()
		}
		if err := l.reopen(nil); err != nil {
			return l.downErr()
		}
	}
	err := l.commit(b)
	if err == nil {
		return nil
	}
	l.abandon(err)
	if l.reopen(nil) != nil {
		return l.downErr()
	}
	if err = l.commit(b); err != nil {
		l.abandon(err)
		return l.downErr()
	}
	return nil
}

func (l *Log) downErr() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Errorf("%w: %w", ErrDown, l.down)
}

// commit seals a batch in the stream, with what the log has to say about itself
// in front of it.
func (l *Log) commit(b *batch) error {
	now, mono := l.cfg.clock()
	var notes []own
	if jump := now.Sub(l.lastWall) - (mono - l.lastMono); jump.Abs() > l.cfg.ClockJump {
		notes = append(notes, own{Kind: ownJump, From: formatTime(now.Add(-jump)), To: formatTime(now)})
	}
	l.mu.Lock()
	notes = append(notes, l.owed...)
	owed := len(l.owed)
	if !l.downFrom.IsZero() && !l.low {
		if l.refused > 0 {
			cause := "not written"
			if l.down != nil {
				cause = clean(l.down.Error())
			}
			notes = append(notes, own{Kind: ownGap, From: formatTime(l.downFrom), To: formatTime(now), Refused: l.refused, Cause: cause})
		}
	}
	refused := l.refused
	ended := !l.low
	if mono-l.beat >= l.cfg.Heartbeat {
		notes = append(notes, own{Kind: ownHeartbeat, Appended: l.stats.Appended, Refused: l.stats.Refused, Errors: l.stats.SyncErrors})
	}
	l.mu.Unlock()

	s := l.st
	s.begin()
	var stamp [len(timeLayout)]byte
	at := now.UTC().AppendFormat(stamp[:0], timeLayout)
	if (s.offset >= l.cfg.SegmentBytes || now.Sub(s.began) >= l.cfg.SegmentAge) && (len(b.recs) > 0 || len(notes) > 0) {
		if err := s.openSegment(s.seg+1, now); err != nil {
			// The old segment is as good as before, only longer.
			l.setWarn(fmt.Errorf("begin a new segment: %w", err))
		} else {
			l.setWarn(nil)
			s.seal(at, true, (&own{Kind: ownRotated, Segment: s.seg, Cert: s.cert}).encode())
		}
	}
	for i := range notes {
		s.seal(at, true, notes[i].encode())
	}
	from := 0
	for _, r := range b.recs {
		if !r.w.gone {
			s.seal(at, r.own, b.data[from:r.end])
		}
		from = r.end
	}
	if s.tree.size == s.head.size {
		return nil // nobody waits for anything
	}
	if err := s.commit(); err != nil {
		return err
	}
	l.lastWall, l.lastMono = now, mono
	if mono-l.beat >= l.cfg.Heartbeat {
		l.beat = mono
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owed = append(l.owed[:0], l.owed[owed:]...)
	if ended {
		l.downFrom = time.Time{}
		l.refused -= refused
		l.down = nil
	}
	l.published(s.head, now)
	l.stats.Commits++
	return nil
}

// published tells everybody how far the log has come. l.mu is held.
func (l *Log) published(h durable, now time.Time) {
	if n := len(l.heads); n > 0 && l.heads[n-1].stream == h.stream {
		l.heads[n-1] = h
	} else {
		l.heads = append(l.heads, h)
	}
	for _, a := range l.anchors {
		if a.since.IsZero() {
			a.since = now
		}
	}
}

// abandon gives up a stream that failed.
func (l *Log) abandon(cause error) {
	s := l.st
	l.st = nil
	l.mu.Lock()
	l.down = cause
	l.stats.WriteErrors++
	if e := (*syncError)(nil); errors.As(cause, &e) {
		l.stats.SyncErrors++
	}
	l.mu.Unlock()
	if s.head.size == 0 {
		s.discard()
		return
	}
	_ = s.release()
	o := own{Kind: ownRecovered, Stream: s.name, Size: s.head.size, Root: s.head.root.String(), Cause: clean(cause.Error())}
	if errors.Is(cause, errTampered) {
		o.Kind = ownTamper
		l.alarm(Alarm{s.name, cause})
	} else {
		o.Bytes, o.SHA256 = tornBytes(s.path, s.offset)
	}
	l.owe(o)
}

// tornBytes measures what follows the last checkpoint of a segment. A disk that
// does not even say that is no reason to do nothing.
func tornBytes(path string, from int64) (int64, string) {
	f, err := openRegular(path)
	if err != nil {
		return 0, ""
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return 0, ""
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil || n == 0 {
		return 0, ""
	}
	return n, hex.EncodeToString(h.Sum(nil))
}

// reopen begins a new stream. found is what Open saw; nil means that the
// streams around are of no interest.
func (l *Log) reopen(found *surroundings) error {
	now, mono := l.cfg.clock()
	l.tried = mono
	err := l.tryReopen(found, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.down = err
		if l.downFrom.IsZero() {
			l.downFrom = now
		}
		l.pause = min(2*l.pause, maxReopen)
		return err
	}
	l.pause = minReopen
	return nil
}

func (l *Log) tryReopen(found *surroundings, now time.Time) error {
	s, err := newStream(&l.cfg, now)
	if err != nil {
		return err
	}
	opened := own{
		Kind: ownOpened, Config: clean(l.cfg.ConfigDigest), PID: os.Getpid(),
		Heartbeat: int64(l.cfg.Heartbeat / time.Second), Cert: s.cert,
	}
	// A verifier looks for what is said about other streams in the first batch.
	l.mu.Lock()
	notes := slices.Clone(l.owed)
	owed := len(notes)
	if n := len(l.heads); n > 0 {
		h := l.heads[n-1]
		opened.Refs = []ref{{h.stream, h.size, h.root.String()}}
	}
	l.mu.Unlock()
	if found != nil {
		opened.Refs = found.refs
		notes = append(notes, found.notes...)
	}
	s.begin()
	at := []byte(formatTime(now))
	s.seal(at, true, opened.encode())
	for i := range notes {
		s.seal(at, true, notes[i].encode())
	}
	if err := s.commit(); err != nil {
		s.discard()
		return err
	}
	l.st = s
	l.mu.Lock()
	l.owed = append(l.owed[:0], l.owed[owed:]...)
	l.stats.Streams++
	l.published(s.head, now)
	l.mu.Unlock()
	l.pushAnchors()
	return nil
}

// finish writes audit.closed.
func (l *Log) finish() error {
	if l.st == nil {
		return l.downErr()
	}
	s := l.st
	s.begin()
	now, _ := l.cfg.clock()
	s.seal([]byte(formatTime(now)), true, (&own{Kind: ownClosed}).encode())
	err := s.commit()
	if err == nil {
		l.mu.Lock()
		l.published(s.head, now)
		l.mu.Unlock()
	}
	if e := s.release(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("auditlog: close: %w", err)
	}
	return nil
}

// clean keeps the text of an error short and printable.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "")
	}
	return s
}
