package auditlog

import (
	"errors"
	"fmt"
	"time"
)

// Stats counts what a log has done since Open.
type Stats struct {
	Appended    int64 // records that are durable
	Refused     int64 // records that Append did not write
	Commits     int64 // writes, each with one fsync, that records shared
	WriteErrors int64 // failed writes, failed fsyncs included
	SyncErrors  int64 // failed fsyncs
	Streams     int64 // streams begun; more than one after a failure
	Alarms      int64

	// LastAppend and MaxAppend are how long the last successful Append took, and
	// the slowest. TotalAppend divided by Appends is the mean.
	LastAppend, MaxAppend, TotalAppend time.Duration
	Appends                            int64

	// Waiting is how many bytes wait to be written.
	Waiting int64
	// AnchorLag is the age of the oldest record that one of the anchors does not
	// cover: what an intruder could still cut off unseen. Zero if there is none,
	// and always zero without anchors.
	AnchorLag time.Duration
	// FreeSpace is what Open or a write last found, in bytes, or -1.
	FreeSpace int64
}

// Stats returns the counters.
func (l *Log) Stats() Stats {
	now, _ := l.cfg.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Waiting = int64(len(l.next.data))
	for _, a := range l.anchors {
		s.AnchorLag = max(s.AnchorLag, a.lag(now))
	}
	return s
}

// Health is the state of a log as its last work found it. Its errors may name
// files: show visitors OK only.
type Health struct {
	// OK says that the log is written and nothing is known to be wrong.
	OK bool
	// Writable says whether Append can be expected to succeed.
	Writable bool
	// Problems lists what is wrong. Alarms stay in it until the process ends.
	Problems []error
}

// Health reports what is wrong at the moment. It does no work of its own, so it
// may be asked as often as a load balancer likes; a log that could not be written
// is tried again by itself, at least once a second.
func (l *Log) Health() Health {
	now, _ := l.cfg.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	h := Health{Writable: true}
	add := func(err error) { h.Problems = append(h.Problems, err) }
	switch {
	case l.closing:
		h.Writable = false
		add(ErrClosed)
	case l.down != nil:
		h.Writable = false
		add(fmt.Errorf("%w: %w", ErrDown, l.down))
	case l.low:
		h.Writable = false
		add(fmt.Errorf("%w: %d bytes are free, %d are kept back", ErrLowSpace, l.stats.FreeSpace, l.cfg.MinFree))
	case l.stats.FreeSpace >= 0 && l.stats.FreeSpace < l.cfg.WarnFree:
		add(fmt.Errorf("auditlog: disk space runs low: %d bytes are free", l.stats.FreeSpace))
	}
	if l.warn != nil {
		add(l.warn)
	}
	for _, a := range l.anchors {
		if lag := a.lag(now); lag > l.cfg.MaxAnchorLag {
			err := a.err
			if err == nil {
				err = errors.New("it has not answered yet")
			}
			add(fmt.Errorf("auditlog: an anchor is %v behind: %w", lag.Round(time.Second), err))
		}
		if a.fork != nil {
			add(a.fork)
		}
	}
	for _, a := range l.alarms {
		add(a)
	}
	h.OK = len(h.Problems) == 0
	return h
}

// note counts an Append.
func (l *Log) note(took time.Duration, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Appends++
	l.stats.LastAppend = took
	l.stats.TotalAppend += took
	l.stats.MaxAppend = max(l.stats.MaxAppend, took)
}

const maxAlarms = 32

// alarm reports something to people. It is for the writer's goroutine and for
// those that hold no lock.
func (l *Log) alarm(a Alarm) {
	l.mu.Lock()
	l.stats.Alarms++
	if len(l.alarms) < maxAlarms {
		l.alarms = append(l.alarms, a)
	}
	l.mu.Unlock()
	if l.cfg.OnAlarm != nil {
		go l.cfg.OnAlarm(a)
	}
}

func (l *Log) setWarn(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.warn = err
}

// checkSpace looks at the free disk space, at most once in a while. A system
// that does not say how much there is keeps nothing back.
func (l *Log) checkSpace() {
	_, mono := l.cfg.clock()
	if mono-l.spaceSeen < spaceEvery && !l.isLow() {
		return
	}
	l.spaceSeen = mono
	free, err := l.cfg.freeSpace(l.cfg.Dir)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.stats.FreeSpace, l.low = -1, false
		return
	}
	l.stats.FreeSpace = free
	l.low = free < l.cfg.MinFree
}

func (l *Log) isLow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.low
}
