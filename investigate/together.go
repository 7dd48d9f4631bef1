package investigate

import "context"

// A Question is one of several that are asked together.
type Question struct {
	// AllowUnanchored is that of Options, for this question.
	AllowUnanchored bool
	// Ask is called with the trail, and asks it what it likes, of one goroutine.
	// What else it does, it does while no other question runs.
	Ask func(*Trail) error
}

// Together asks several questions in as few passes as they take: one that verifies
// the trail and answers all, and another one for those that have to read again what
// they have found, such as Transaction, and for those that would keep more, all
// together, than a question alone. Each answer is what it would be by itself. The
// questions go on one after the other; ctx is that of all passes.
//
// The errors are those of the questions, in their order.
func (t *Trail) Together(ctx context.Context, questions ...Question) []error {
	errs := make([]error, len(questions))
	if t.together != nil { // one of the questions has several of its own
		for i, q := range questions {
			errs[i] = q.Ask(t.asked(q))
		}
		return errs
	}
	wants := make(chan *reading)
	over := make(chan struct{})
	var waiting []*reading
	// until waits until the question that runs wants to read, or is over.
	until := func() {
		select {
		case q := <-wants:
			waiting = append(waiting, q)
		case <-over:
		}
	}
	for i, q := range questions {
		asked := t.asked(q)
		asked.together = wants
		go func() {
			defer func() { over <- struct{}{} }()
			errs[i] = q.Ask(asked)
		}()
		until()
	}
	for len(waiting) > 0 {
		p, answered := t.pass(ctx, waiting)
		waiting = without(waiting, answered)
		for i, q := range answered {
			answered[i] = nil // what it has kept is its own
			if q.reports = t.Reports; q.err == nil {
				q.doubts = p.conclude(t, q)
			}
			close(q.over)
			until()
		}
	}
	return errs
}

// asked is the trail as a question has it.
func (t *Trail) asked(q Question) *Trail {
	asked := &Trail{opts: t.opts, Reports: t.Reports, together: t.together}
	asked.opts.AllowUnanchored = q.AllowUnanchored
	return asked
}

func without(list, gone []*reading) (left []*reading) {
	is := make(map[*reading]bool)
	for _, q := range gone {
		is[q] = true
	}
	for _, q := range list {
		if !is[q] {
			left = append(left, q)
		}
	}
	return left
}

// readTogether waits until a pass was made for all who wait.
func (t *Trail) readTogether(q *reading) (*doubts, error) {
	q.over = make(chan struct{})
	t.together <- q
	<-q.over
	if t.Reports == nil {
		t.Reports = q.reports
	}
	return q.doubts, q.err
}
