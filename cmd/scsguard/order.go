package main

import (
	"container/heap"
	"context"
	"iter"

	"github.com/scsguard/scsguard/auditlog"
)

// inOrder yields the records of all streams: those of one stream in the order of
// their numbers, whatever their clock did, and streams that were written at the
// same time merged by time. It reads a stream from when it began, so that of a
// hundred processes that ran one after the other one file is open at a time.
func inOrder(ctx context.Context, rep *auditlog.Report) iter.Seq2[auditlog.Record, error] {
	return func(yield func(auditlog.Record, error) bool) {
		var open readers
		defer func() {
			for _, r := range open {
				r.stop()
			}
		}()
		next := 0
		for {
			// Streams come in the order in which they began.
			for next < len(rep.Streams) && (len(open) == 0 || !rep.Streams[next].First.After(open[0].record.Time)) {
				st := &rep.Streams[next]
				next++
				if st.Size == 0 {
					continue
				}
				pull, stop := iter.Pull2(rep.RecordsOf(ctx, st.Name))
				r := &reader{pull: pull, stop: stop, n: next}
				if more, err := r.advance(); err != nil {
					stop()
					yield(auditlog.Record{}, err)
					return
				} else if more {
					heap.Push(&open, r)
				}
			}
			if len(open) == 0 {
				return
			}
			first := open[0]
			if !yield(first.record, nil) {
				return
			}
			switch more, err := first.advance(); {
			case err != nil:
				yield(auditlog.Record{}, err)
				return
			case more:
				heap.Fix(&open, 0)
			default:
				heap.Pop(&open)
			}
		}
	}
}

// reader is a stream that is being read, and the record it has come to.
type reader struct {
	pull   func() (auditlog.Record, error, bool)
	stop   func()
	record auditlog.Record
	n      int // which stream, so that the order of equal times is always the same
}

// advance reports whether there is another record. The one before is not valid
// any more.
func (r *reader) advance() (bool, error) {
	record, err, ok := r.pull()
	if err != nil || !ok {
		r.stop()
		return false, err
	}
	r.record = record
	return true, nil
}

// readers is a heap: the earliest record first.
type readers []*reader

func (h readers) Len() int { return len(h) }
func (h readers) Less(i, j int) bool {
	if !h[i].record.Time.Equal(h[j].record.Time) {
		return h[i].record.Time.Before(h[j].record.Time)
	}
	return h[i].n < h[j].n
}
func (h readers) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *readers) Push(x any)   { *h = append(*h, x.(*reader)) }
func (h *readers) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
