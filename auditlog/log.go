package auditlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Errors of Append. What it returns wraps one of them, the cause, or the error
// of the context.
var (
	ErrClosed   = errors.New("auditlog: the log is closed")
	ErrBusy     = errors.New("auditlog: too much is waiting to be written")
	ErrLowSpace = errors.New("auditlog: too little disk space is left")
	ErrDown     = errors.New("auditlog: the log cannot be written")
)

const (
	maxQueue   = 16 << 20               // bytes that wait to be written
	minReopen  = 100 * time.Millisecond // between attempts to begin a new stream
	maxReopen  = time.Second
	spaceEvery = time.Second // between looks at the free disk space
	maxOwed    = 64          // records about itself that wait for a better time
)

// A Log is a stream that is being written, and its successors if it has to begin
// a new one. It is safe for concurrent use.
type Log struct {
	cfg  Config
	root publicKey

	mu       sync.Mutex
	next     *batch // what comes is put here
	spare    *batch
	closing  bool
	low      bool // space is low: Append refuses
	owed     []own
	stats    Stats
	down     error     // why there is no stream
	downFrom time.Time // since when records are refused, or the zero time
	refused  int64     // records, since then
	alarms   []Alarm
	anchors  []*anchored
	heads    []durable // the last of each stream of this process, oldest first
	warn     error     // what went wrong without keeping anybody from writing

	waiters sync.Pool // of *waiter; not shared with other logs, which may live in another test bubble

	wake chan struct{} // capacity 1: there is something to write
	quit chan struct{} // closed by Close
	done chan struct{} // closed when the writer has ended
	push chan struct{} // capacity 1: tell the anchors now
	shut chan struct{} // closed when the anchors have ended
	err  error         // of Close; set before done is closed

	// Only the writer uses these.
	st        *stream
	tried     time.Duration // when a new stream was tried last
	pause     time.Duration // until the next attempt
	beat      time.Duration // when the last heartbeat was written
	lastWall  time.Time
	lastMono  time.Duration
	spaceSeen time.Duration
}

// batch collects the records of callers who will share one write.
type batch struct {
	data  []byte
	recs  []span
	waits []*waiter
}

// span is a record of a batch: data up to end, from where the one before ended.
type span struct {
	end int
	own bool
	w   *waiter
}

// waiter is a caller of Append.
type waiter struct {
	done  chan error // capacity 1
	gone  bool       // it has given up, before its batch was taken
	count int
}

// Open begins a new stream in cfg.Dir. When it returns, audit.opened is durable:
// a directory that cannot be written is an error here and not at the first
// login. It looks at the streams that are there, records those that ended without
// audit.closed, and raises an alarm, which does not stop it, if one of them is
// not as it was written.
func Open(cfg Config) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("auditlog: Dir: %w", err)
	}
	vkey, err := VerifierKey(cfg.Root, cfg.RootName)
	if err != nil {
		return nil, err
	}
	root, err := parseVerifierKey(vkey)
	if err != nil {
		return nil, fmt.Errorf("auditlog: RootName: %w", err)
	}
	l := &Log{
		cfg: cfg, root: root, next: new(batch), spare: new(batch), pause: minReopen,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		push: make(chan struct{}, 1), shut: make(chan struct{}),
	}
	for _, a := range cfg.Anchors {
		l.anchors = append(l.anchors, &anchored{anchor: a, turn: make(chan struct{}, 1), sizes: make(map[string]int64)})
	}
	l.waiters.New = func() any { return &waiter{done: make(chan error, 1)} }
	l.lastWall, l.lastMono = cfg.clock()
	l.beat, l.spaceSeen = l.lastMono, l.lastMono-spaceEvery
	found := l.lookAround()
	if err := l.reopen(found); err != nil {
		return nil, fmt.Errorf("auditlog: Dir %s: %w", cfg.Dir, err)
	}
	l.checkSpace()
	go l.run()
	go l.anchorLoop()
	return l, nil
}

// Append seals the records, in their order, and returns nil when they are
// durable. Each must be a JSON object of at most [MaxRecord] bytes without a line
// break; a record that is not is a caller's bug and nothing of the call is
// written. Callers at the same time share one write and one fsync.
//
// When ctx is done it returns at once. Records that were being written at that
// moment may be kept all the same; the error says so.
func (l *Log) Append(ctx context.Context, records [][]byte) error {
	return l.append(ctx, records, false)
}

// AppendReserved is Append for what must still be written when disk space is
// low: it may use what Config.MinFree keeps back.
func (l *Log) AppendReserved(ctx context.Context, records [][]byte) error {
	return l.append(ctx, records, true)
}

func (l *Log) append(ctx context.Context, records [][]byte, reserved bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("auditlog: nothing written: %w", err)
	}
	if len(records) == 0 {
		return nil
	}
	size := 0
	for i, r := range records {
		if err := checkRecord(r); err != nil {
			return fmt.Errorf("auditlog: record %d of %d: %w", i+1, len(records), err)
		}
		size += len(r)
	}
	began := time.Now()
	w := l.waiters.Get().(*waiter)
	w.gone, w.count = false, len(records)
	l.mu.Lock()
	if err := l.refuses(size, reserved); err != nil {
		if !errors.Is(err, ErrClosed) {
			l.refuse(len(records))
		}
		l.mu.Unlock()
		l.waiters.Put(w)
		return err
	}
	b := l.next
	for _, r := range records {
		b.data = append(b.data, r...)
		b.recs = append(b.recs, span{len(b.data), false, w})
	}
	b.waits = append(b.waits, w)
	l.mu.Unlock()
	l.hurry()

	select {
	case err := <-w.done:
		l.waiters.Put(w)
		l.note(time.Since(began), err)
		return err
	case <-ctx.Done():
	}
	l.mu.Lock()
	if l.next == b && len(b.waits) > 0 && contains(b.waits, w) {
		w.gone = true
		l.mu.Unlock()
		return fmt.Errorf("auditlog: nothing written: %w", context.Cause(ctx))
	}
	l.mu.Unlock()
	select {
	case err := <-w.done: // it came at the last moment
		l.waiters.Put(w)
		l.note(time.Since(began), err)
		return err
	default:
		return fmt.Errorf("auditlog: being written, the outcome is not known: %w", context.Cause(ctx))
	}
}

func contains(list []*waiter, w *waiter) bool {
	for _, x := range list {
		if x == w {
			return true
		}
	}
	return false
}

// refuses says why nothing can be taken now. l.mu is held.
func (l *Log) refuses(size int, reserved bool) error {
	switch {
	case l.closing:
		return ErrClosed
	case l.low && !reserved:
		return fmt.Errorf("%w: less than %d bytes", ErrLowSpace, l.cfg.MinFree)
	case len(l.next.data) > 0 && len(l.next.data)+size > maxQueue:
		return fmt.Errorf("%w: %d bytes", ErrBusy, len(l.next.data))
	}
	return nil
}

// refuse counts records that are not written. l.mu is held.
func (l *Log) refuse(n int) {
	if l.refused == 0 && l.downFrom.IsZero() {
		l.downFrom, _ = l.cfg.clock()
	}
	l.refused += int64(n)
	l.stats.Refused += int64(n)
}

// A Gap tells of events that are missing in the log because it could not be
// written: how many of each type, and between which moments.
type Gap struct {
	From, To time.Time
	Counts   map[string]int64
	Cause    string
}

// ReportGap hands over what the caller has lost for good. It does not wait: an
// audit.gap record follows as soon as the log can be written again, and goes
// before what is appended later. What Append itself has refused needs no report;
// the log counts it.
func (l *Log) ReportGap(g Gap) {
	l.owe(own{Kind: ownGap, From: formatTime(g.From), To: formatTime(g.To), Counts: g.Counts, Cause: clean(g.Cause)})
	l.hurry()
}

// owe keeps a record of the log about itself until it can be written. Gaps are
// merged rather than dropped when there are too many.
func (l *Log) owe(o own) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.owed) >= maxOwed && o.Kind == ownGap {
		for i := range l.owed {
			if p := &l.owed[i]; p.Kind == ownGap && p.Cause == o.Cause {
				p.merge(o)
				return
			}
		}
	}
	l.owed = append(l.owed, o)
}

func (o *own) merge(other own) {
	o.From = min(o.From, other.From)
	o.To = max(o.To, other.To)
	o.Refused += other.Refused
	counts := make(map[string]int64)
	for _, m := range []map[string]int64{o.Counts, other.Counts} {
		for k, n := range m {
			counts[k] += n
		}
	}
	o.Counts = counts
}

// hurry wakes the writer.
func (l *Log) hurry() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Stream returns the name of the stream that is being written, or of the last
// one if there is none at the moment.
func (l *Log) Stream() string { return l.Head().Stream }

// Head returns how far the log has come: everything up to there is durable.
func (l *Log) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heads[len(l.heads)-1].head()
}

// VerifierKey returns the text of the root's public key, for whoever verifies.
func (l *Log) VerifierKey() string { return l.root.String() }

// closePatience is how long Close waits for a disk and for the anchors.
const closePatience = 10 * time.Second

// Close writes what is waiting and audit.closed, tells the anchors and ends the
// stream. It returns the first error of these; the log is closed in any case. To
// close again does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	first := !l.closing
	l.closing = true
	l.mu.Unlock()
	if first {
		close(l.quit)
	}
	timer := time.NewTimer(closePatience)
	defer timer.Stop()
	for _, c := range []chan struct{}{l.done, l.shut} {
		select {
		case <-c:
		case <-timer.C:
			return errors.New("auditlog: close: the disk or an anchor does not answer")
		}
	}
	return l.err
}
