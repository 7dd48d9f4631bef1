package scsguard

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// sweepBatch is how many records a sweep takes at a time.
const sweepBatch = 128

// Sweep ends the sessions whose time is over although nobody came back, and
// writes the endings that a process which died could not write. It returns how
// many sessions it ended, after their endings are in the trail or ctx is done.
// Programs that set Config.SweepEvery below zero call it from a job of their own;
// several may run at the same time, in several processes. An error says what
// could not be done; the next sweep tries it again.
func (g *Guard) Sweep(ctx context.Context) (int, error) {
	if g == nil {
		return 0, ErrNoGuard
	}
	n, err := g.attendDue(ctx)
	g.inspect(ctx)
	return n, errors.Join(err, g.trail.flush(ctx))
}

// sweepEvery sweeps until ctx is done. The pauses vary by a tenth, so that many
// processes do not keep coming at the same moment.
func (g *Guard) sweepEvery(ctx context.Context, every time.Duration) {
	every = min(every, maxSweepEvery)
	for {
		pause := every - every/10 + rand.N(every/5+1)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		_, _ = g.attendDue(ctx) // health knows; the next round tries again
		g.probe(ctx)
		g.inspect(ctx)
	}
}

// maxSweepEvery keeps the arithmetic of the pauses from overflowing.
const maxSweepEvery = 365 * 24 * time.Hour

// probe asks the store for something that is not there, if its last call has
// failed: nothing else may ask it once nobody sends requests here because of
// that.
func (g *Guard) probe(ctx context.Context) {
	if g.health.failing(ComponentStore) {
		_, _, _ = g.find(ctx, Key(hashToken("probe"))) // health knows
	}
}

// attendDue does what Due asks for until nothing is left. Where the trail has
// enough to do it leaves the rest for later: what has ended is dead already, and
// what is due is refused when it comes.
func (g *Guard) attendDue(ctx context.Context) (int, error) {
	g.aliases.expire(time.Now())
	ended, failed := 0, error(nil)
	for ctx.Err() == nil && failed == nil {
		if g.trail.crowded() {
			return ended, nil
		}
		recs, err := call(g, ctx, ComponentRegistry, "due", func(ctx context.Context) ([]Record, error) {
			return g.registry.Due(ctx, sweepBatch)
		})
		if err != nil {
			return ended, err
		}
		n, err := g.attendAll(ctx, recs)
		ended, failed = ended+n, errors.Join(failed, err) // one slot may be down and the others not
		if len(recs) < sweepBatch {
			break
		}
	}
	return ended, errors.Join(failed, ctx.Err())
}

// atOnce is how many sessions are attended to at the same time where each takes several
// round trips.
const atOnce = 8

// workers is how many goroutines deal with sessions in the registry.
func (g *Guard) workers() int {
	if g.memory != nil {
		return 1
	}
	return atOnce
}

// each calls f for every number below n, in so many goroutines.
func each(n, workers int, f func(i int)) {
	if n == 1 || workers == 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var all sync.WaitGroup
	var next atomic.Int64
	for range min(workers, n) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}

// attendAll ends those of recs that are due, and repeats the last steps of those that
// have ended. It returns how many it has ended.
func (g *Guard) attendAll(ctx context.Context, recs []Record) (ended int, failed error) {
	var dead []Record
	var due []Key
	for _, rec := range recs {
		if rec.State == StateEnded {
			dead = append(dead, rec)
		} else {
			due = append(due, rec.Key)
		}
	}
	r := &request{}
	defer g.tellPostponed(ctx, r)
	g.afterEnd(ctx, r, dead...)
	if batcher, ok := g.registry.(Batcher); ok && len(due) > 0 {
		over, err := call(g, context.WithoutCancel(ctx), ComponentRegistry, "end", func(ctx context.Context) ([]Record, error) {
			return batcher.EndDue(ctx, due, g.ending(nil, Ending{}))
		})
		g.afterEnd(ctx, r, over...)
		return len(over), err
	}
	var mu sync.Mutex
	each(len(due), g.workers(), func(i int) {
		_, won, err := g.end(ctx, r, Target{Key: due[i], IfDue: true}, Ending{})
		mu.Lock()
		defer mu.Unlock()
		if failed = errors.Join(failed, err); won {
			ended++
		}
	})
	return ended, failed
}
