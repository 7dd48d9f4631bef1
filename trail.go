package scsguard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// trail hands events to the sink, one Append at a time, in the order in which
// they were given to it. Concurrent callers share one Append.
//
// What grants access waits for its events (wait) and is refused if they cannot
// be kept. What takes access away does not (post): its events stay in the queue
// until the sink takes them, and go before anything that comes later.
type trail struct {
	sink    Sink
	limit   time.Duration
	report  func(error)    // an Append failed
	success func()         // an Append succeeded
	confirm func([]Record) // these endings are durable

	mu      sync.Mutex
	queue   []*pending
	posted  int                 // entries of queue that nobody waits for
	endings map[string]struct{} // IDs of endings in queue or in flight
	busy    int                 // goroutines that work for the trail
	running bool                // one of them is run
	wake    chan struct{}       // tells run that somebody waits
	stopped chan struct{}       // closed when the trail gives up what it cannot write

	written []*pending // what is durable and of which somebody has to be told, in order
	telling bool       // somebody works on them

	flight     []*pending // the batch that the sink has now
	lastErr    error      // of the last Append, nil if it succeeded
	lost       tale       // dropped for want of room
	unrecorded tale       // granted before it was durable
	counted    Counters

	hung chan error // the answer of an Append that did not answer in time
}

// pending is what one verb wrote: its events stay together.
type pending struct {
	lines   [][]byte
	kinds   []EventKind
	rank    rank
	urgent  bool          // it tells only of access that was taken away, and nobody waits for it
	since   time.Time     // when it was handed over
	ending  string        // ID of the ending among them, if posted
	done    chan error    // capacity 1; nil if nobody waits
	ended   *Record       // to be confirmed when durable, if posted; nil for none
	reached chan struct{} // closed when everything before is durable and confirmed, if there is one
}

const (
	maxBatch = 1000 // lines in one Append
	minRetry = 50 * time.Millisecond
	maxRetry = time.Second
)

func newTrail(sink Sink, limit time.Duration, report func(error), success func(), confirm func([]Record)) *trail {
	return &trail{
		sink: sink, limit: limit, report: report, success: success, confirm: confirm,
		endings: make(map[string]struct{}), wake: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
}

func newPending(events []Event) *pending {
	p := &pending{rank: rankOf(events), urgent: true, since: time.Now()}
	for i := range events {
		p.lines = append(p.lines, events[i].encode())
		p.kinds = append(p.kinds, events[i].Kind)
		p.urgent = p.urgent && takesAway(&events[i])
	}
	return p
}

// wait returns nil when the events are durable. It does not look at any
// context: a client that hangs up must not be able to suppress a record.
func (t *trail) wait(events ...Event) error {
	p := newPending(events)
	p.done, p.urgent = make(chan error, 1), false
	t.mu.Lock()
	t.queue = append(t.queue, p)
	t.start()
	t.mu.Unlock()
	t.hurry()

	timer := time.NewTimer(t.limit)
	defer timer.Stop()
	select {
	case err := <-p.done:
		return err
	case <-timer.C:
	}
	t.mu.Lock()
	t.remove(p) // if it is in flight already, the caller records its failure after it
	t.mu.Unlock()
	select {
	case err := <-p.done:
		return err
	default:
		return fmt.Errorf("not written within %v", t.limit)
	}
}

// post hands over events of something that has happened. If there is no room for them
// they are counted as lost.
func (t *trail) post(events ...Event) {
	p := newPending(events)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.posted >= p.rank.room() {
		t.lose(p)
	} else {
		t.keep(p)
	}
}

// An endedEvent is the event of an ending, and the record to be confirmed once that is
// durable; nil for none.
type endedEvent struct {
	Event
	ended *Record
}

// postEndings hands over the events of endings, unless the same ones are on their way,
// all at once: a sink that takes a while for each Append takes it for all of them. It
// returns the events that were new and taken. One for which there is no room is not
// lost: the registry hands the ending out again.
func (t *trail) postEndings(all ...endedEvent) (taken []Event) {
	list := make([]*pending, len(all))
	for i, o := range all {
		list[i] = newPending([]Event{o.Event})
		list[i].ending, list[i].ended = o.ID, o.ended
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, p := range list {
		if _, ok := t.endings[p.ending]; ok || t.posted >= p.rank.room() {
			continue
		}
		t.endings[p.ending] = struct{}{}
		t.keep(p)
		taken = append(taken, all[i].Event)
	}
	return taken
}

// keep puts p at the end of what is written without anybody waiting for it. t.mu
// is held.
func (t *trail) keep(p *pending) {
	t.posted++
	t.queue = append(t.queue, p)
	t.start()
}

// start makes sure that somebody works on the queue. t.mu is held.
func (t *trail) start() {
	if t.running {
		return
	}
	t.running = true
	t.enter()
	go t.run()
}

// hurry ends the pause before the next attempt.
func (t *trail) hurry() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// enter and leave count the goroutines that work for the trail. t.mu is held.
func (t *trail) enter() { t.busy++ }
func (t *trail) leave() { t.busy-- }

// run works until the queue is empty.
func (t *trail) run() {
	retry := minRetry
	for {
		t.mu.Lock()
		batch := t.take()
		if len(batch) == 0 {
			t.running = false
			t.leave()
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()

		give, lines := t.way(batch), linesOf(batch)
		if err := t.append(lines, give.append); err != nil {
			t.report(err)
			if !give.reserved {
				batch = t.rescue(batch)
			}
			if t.failed(batch, err) {
				t.sleep(retry)
			}
			retry = min(2*retry, maxRetry)
			continue
		}
		retry = minRetry
		if last := t.succeeded(batch); len(lines) > 0 && (last || !give.reserved) {
			t.success() // to have written nothing says nothing
		}
	}
}

func linesOf(batch []*pending) [][]byte {
	var lines [][]byte
	for _, p := range batch {
		lines = append(lines, p.lines...)
	}
	return lines
}

// take removes the next batch from the queue, at least one entry if there is one.
// t.mu is held.
func (t *trail) take() []*pending {
	n, lines := 0, 0
	for n < len(t.queue) && (n == 0 || lines+len(t.queue[n].lines) <= maxBatch) {
		lines += len(t.queue[n].lines)
		n++
	}
	t.flight = slices.Clone(t.queue[:n])
	t.queue = slices.Delete(t.queue, 0, n)
	return t.flight
}

// remove takes p out of the queue if it is still there. t.mu is held.
func (t *trail) remove(p *pending) {
	if i := slices.Index(t.queue, p); i >= 0 {
		t.queue = slices.Delete(t.queue, i, i+1)
	}
}

// append calls the sink. A sink that ignores its deadline holds up one
// goroutine, not the callers, and gets nothing new until it has answered.
func (t *trail) append(lines [][]byte, give appender) error {
	if len(lines) == 0 {
		return nil
	}
	// A sink of several has a moment to say which of them did not answer.
	ctx, cancel := context.WithTimeout(context.Background(), t.limit-t.limit/10)
	defer cancel()
	patience := time.NewTimer(t.limit)
	defer patience.Stop()
	if t.hung != nil {
		select {
		case <-t.hung: // whatever it answered, its records were given up
			t.hung = nil
		case <-ctx.Done():
			return errors.New("the sink has not answered an earlier call yet")
		}
	}
	answer := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				answer <- fmt.Errorf("the sink panicked: %v", p)
			}
		}()
		answer <- give(t.sink, ctx, lines)
	}()
	select {
	case err := <-answer:
		return err
	case <-patience.C:
		t.hung = answer
		return fmt.Errorf("the sink did not answer within %v", t.limit)
	}
}

// failed tells those who wait and keeps the rest, in front of what came since.
// It reports whether there is anything to try again.
func (t *trail) failed(batch []*pending, err error) bool {
	var kept []*pending
	for _, p := range batch {
		if p.done != nil {
			p.done <- err
		} else {
			kept = append(kept, p)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flight, t.lastErr = nil, err
	t.counted.AppendFailures++
	if t.isStopped() {
		for _, p := range append(kept, t.queue...) {
			if p.done != nil {
				p.done <- err
			}
		}
		t.queue, t.posted = nil, 0
		clear(t.endings)
		return false
	}
	t.queue = append(kept, t.queue...)
	return len(kept) > 0
}

// succeeded reports whether nothing is left to be written.
func (t *trail) succeeded(batch []*pending) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flight, t.lastErr = nil, nil
	t.settle(batch)
	t.confess()
	return len(t.queue) == 0
}

// settle tells everybody that a batch is durable. t.mu is held.
func (t *trail) settle(batch []*pending) {
	for _, p := range batch {
		t.counted.Written += uint64(len(p.lines))
		if p.done != nil {
			p.done <- nil
			continue
		}
		t.posted--
		delete(t.endings, p.ending)
		if p.ended != nil || p.reached != nil {
			t.written = append(t.written, p)
		}
	}
	if len(t.written) > 0 && !t.telling {
		t.telling = true
		t.enter()
		go t.tellWritten() // the registry may be slow; the next batch does not wait for it
	}
}

// tellWritten confirms the endings that are durable, many at once, and tells those who
// wait for all before them.
func (t *trail) tellWritten() {
	for {
		t.mu.Lock()
		all := t.written
		t.written = nil
		if len(all) == 0 {
			t.telling = false
			t.leave()
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		var ended []Record
		for _, p := range all {
			if p.ended != nil {
				ended = append(ended, *p.ended)
			}
			if p.reached != nil {
				t.confirm(ended)
				ended = nil
				close(p.reached)
			}
		}
		t.confirm(ended)
	}
}

// sleep waits before the next attempt, or until somebody waits for one.
func (t *trail) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.wake:
	}
}

// flush waits until everything that was handed over before is durable and its
// endings are confirmed, or ctx is done.
func (t *trail) flush(ctx context.Context) error {
	reached := make(chan struct{})
	t.mu.Lock()
	if t.busy == 0 {
		t.mu.Unlock()
		return nil
	}
	t.posted++
	t.queue = append(t.queue, &pending{reached: reached})
	t.start()
	t.mu.Unlock()
	select {
	case <-reached:
		return nil
	case <-t.stopped:
		return t.unwritten(errors.New("the trail was closed"))
	case <-ctx.Done():
		return t.unwritten(ctx.Err())
	}
}

// unwritten says how much is not durable.
func (t *trail) unwritten(cause error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Errorf("scsguard: %d entries of the trail are not written: %w", max(t.posted-1, 0), cause)
}

// crowded reports whether more endings had better wait where they are.
func (t *trail) crowded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.posted >= maxPosted/2
}

// stop makes the trail give up what it cannot write at once.
func (t *trail) stop() {
	t.mu.Lock()
	if !t.isStopped() {
		close(t.stopped)
	}
	t.mu.Unlock()
	t.hurry()
}

func (t *trail) isStopped() bool {
	select {
	case <-t.stopped:
		return true
	default:
		return false
	}
}
