package investigate

import (
	"container/heap"
	"context"
	"iter"
	"slices"

	"github.com/scsguard/scsguard/auditlog"
)

// Records yields the records of all streams: those of one stream in the order of
// their numbers, whatever their clock did, and streams that were written at the
// same time merged by time. It reads a stream from when it began, so that of a
// hundred processes that ran one after the other one file is open at a time.
func Records(ctx context.Context, reports ...*auditlog.Report) iter.Seq2[auditlog.Record, error] {
	return func(yield func(auditlog.Record, error) bool) {
		var open readers
		defer func() {
			for _, r := range open {
				r.stop()
			}
		}()
		streams := inOrderOfBeginning(reports)
		next := 0
		for {
			for next < len(streams) && (len(open) == 0 || !streams[next].First.After(open[0].record.Time)) {
				s := streams[next]
				next++
				pull, stop := iter.Pull2(s.report.RecordsOf(ctx, s.Name))
				r := &reader{pull: pull, stop: stop, n: next}
				if more, err := r.advance(); err != nil {
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

// part is a stream of one of several logs.
type part struct {
	*auditlog.StreamReport
	report *auditlog.Report
}

// inOrderOfBeginning returns the streams that have records. One that is in two
// logs, because a copy was given, is read once: where it is longer.
func inOrderOfBeginning(reports []*auditlog.Report) []part {
	var list []part
	at := make(map[string]int)
	for _, rep := range reports {
		for i := range rep.Streams {
			st := &rep.Streams[i]
			if st.Size == 0 {
				continue
			}
			if n, ok := at[st.Name]; !ok {
				at[st.Name] = len(list)
				list = append(list, part{st, rep})
			} else if st.Size > list[n].Size {
				list[n] = part{st, rep}
			}
		}
	}
	slices.SortStableFunc(list, func(a, b part) int { return a.First.Compare(b.First) })
	return list
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
