package investigate

import (
	"slices"
	"sort"
	"time"
)

// numbers is the set of numbers of a session's events, which come in any order,
// with what it takes to see clocks that differ. It is almost always one run from 1.
type numbers struct {
	runs []run
	over int // numbers for which there was no room
}

// run is a row of numbers without a hole.
type run struct {
	from, to    uint64
	first, last int64 // when the events of these two were, in microseconds
}

// maxRuns bounds what a session of nothing but holes costs.
const maxRuns = 10_000

// add takes the number of an event. It returns how far the time of an event is
// before that of the one whose number comes before.
func (n *numbers) add(seq uint64, at time.Time) (back time.Duration) {
	if seq == 0 {
		return 0
	}
	us := at.UnixMicro()
	i := len(n.runs) - 1
	if i >= 0 && n.runs[i].from > seq {
		i = sort.Search(i, func(i int) bool { return n.runs[i].from > seq }) - 1
	}
	// The run at i begins at or before seq, the one behind it after it.
	next := i+1 < len(n.runs) && n.runs[i+1].from == seq+1
	switch {
	case i >= 0 && seq <= n.runs[i].to:
		r := &n.runs[i]
		if seq == r.to {
			r.last = max(r.last, us)
		}
		if seq == r.from {
			r.first = min(r.first, us)
		}
		return 0
	case i >= 0 && seq == n.runs[i].to+1:
		r := &n.runs[i]
		back = apart(r.last, us)
		r.to, r.last = seq, us
		if next {
			back = max(back, apart(us, n.runs[i+1].first))
			r.to, r.last = n.runs[i+1].to, n.runs[i+1].last
			n.runs = slices.Delete(n.runs, i+1, i+2)
		}
	case next:
		r := &n.runs[i+1]
		back = apart(us, r.first)
		r.from, r.first = seq, us
	case len(n.runs) >= maxRuns:
		n.over++ // it counts as missing
	default:
		n.runs = slices.Insert(n.runs, i+1, run{seq, seq, us, us})
	}
	return back
}

func (n *numbers) has(seq uint64) bool {
	i := sort.Search(len(n.runs), func(i int) bool { return n.runs[i].to >= seq })
	return i < len(n.runs) && n.runs[i].from <= seq
}

// apart is how far b is before a.
func apart(a, b int64) time.Duration {
	return time.Duration(max(0, a-b)) * time.Microsecond
}

// missing is how many numbers up to the largest are not there.
func (n *numbers) missing() int {
	var count, most uint64
	for _, r := range n.runs {
		count += r.to - r.from + 1
		most = r.to
	}
	return int(most - count)
}

// last is the largest number.
func (n *numbers) last() uint64 {
	if len(n.runs) == 0 {
		return 0
	}
	return n.runs[len(n.runs)-1].to
}

// back is how far time goes back over a hole.
func (n *numbers) back() (most time.Duration) {
	for i := 1; i < len(n.runs); i++ {
		most = max(most, apart(n.runs[i-1].last, n.runs[i].first))
	}
	return most
}
