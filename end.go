package scsguard

import (
	"context"
	"slices"
	"strconv"
	"time"
)

type endAnswer struct {
	rec Record
	won bool
}

// end ends one session: its record first, from which moment it is dead, then
// its data, then the trail, then the registry's memory of it. Each step is
// repeated by somebody if this process dies before it.
func (g *Guard) end(ctx context.Context, r *request, t Target, e Ending) (Record, bool, error) {
	e = g.ending(r, e)
	rec, won, err := g.callEnd(ctx, t, e)
	if err != nil {
		if t.Key != "" && !t.IfDue {
			g.retries.add(retryEnd, string(t.Key), func(ctx context.Context) error {
				rec, won, err := g.callEnd(ctx, t, e)
				if err == nil && won {
					g.afterEnd(ctx, nil, rec)
				}
				return err
			})
		}
		return rec, false, err
	}
	if won {
		g.afterEnd(ctx, r, rec)
	}
	return rec, won, nil
}

// ending fills in what every ending has: when, from where, and how long it must
// be remembered.
func (g *Guard) ending(r *request, e Ending) Ending {
	if r != nil {
		e.IP, e.IPSource, e.UserAgent = r.ip, r.ipSource, r.userAgent
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if e.Kind == "" {
		e.Kind = EventLogout
	}
	e.Keep = max(e.Keep, g.sm.Lifetime)
	return e
}

func (g *Guard) callEnd(ctx context.Context, t Target, e Ending) (Record, bool, error) {
	a, err := call(g, context.WithoutCancel(ctx), ComponentRegistry, "end", func(ctx context.Context) (endAnswer, error) {
		rec, won, err := g.registry.End(ctx, t, e)
		return endAnswer{rec, won}, err
	})
	return a.rec, a.won, err
}

// afterEnd does what follows once records are dead: their data goes, their endings are
// handed to the trail, and the registry is told when they are there.
func (g *Guard) afterEnd(ctx context.Context, r *request, recs ...Record) {
	for i := range recs {
		g.cuts.notify(recs[i].Session)
	}
	g.deleteDataOf(ctx, recs)
	forgotten := make([]bool, len(recs))
	each(len(recs), g.workers(), func(i int) { forgotten[i] = g.endFamilyOf(ctx, r, &recs[i]) })
	all := make([]endedEvent, len(recs))
	for i := range recs {
		if all[i].Event = g.endingEvent(recs[i]); forgotten[i] { // else it is handed out again, should this process die before that succeeds
			all[i].ended = &recs[i]
		}
	}
	if taken := g.trail.postEndings(all...); len(taken) > 0 {
		g.tellLater(ctx, r, taken...)
	}
}

// tellLater calls OnEvent when no store method is running: scs may hold the
// lock of the session data, for which a hook that reads the session would wait
// for ever.
func (g *Guard) tellLater(ctx context.Context, r *request, events ...Event) {
	if r != nil && !r.isOver() {
		r.postpone(events...)
		return
	}
	if g.cfg.OnEvent != nil {
		g.hooks.Go(func() { g.tell(ctx, events...) })
	}
}

// deleteData removes the data of a dead session, now or as soon as the store works
// again. While it does not, nobody waits for it once more.
func (g *Guard) deleteData(ctx context.Context, key Key) {
	if key == "" || !g.health.failing(ComponentStore) && g.remove(ctx, key) == nil {
		return
	}
	g.retries.add(retryDelete, string(key), func(ctx context.Context) error { return g.remove(ctx, key) })
}

// deleteDataOf is deleteData of many sessions.
func (g *Guard) deleteDataOf(ctx context.Context, recs []Record) {
	if g.deleter != nil && len(recs) > 1 && !g.health.failing(ComponentStore) && g.removeMany(ctx, recs) == nil {
		return
	}
	each(len(recs), g.workers(), func(i int) { g.deleteData(ctx, recs[i].Key) })
}

// confirm tells the registry that endings are in the trail. One for which that fails is
// handed out again and written again under the same ID.
func (g *Guard) confirm(recs []Record) {
	batcher, ok := g.registry.(Batcher)
	if !ok {
		each(len(recs), g.workers(), func(i int) {
			_, _ = call(g, context.Background(), ComponentRegistry, "confirm", func(ctx context.Context) (struct{}, error) {
				return struct{}{}, g.registry.Confirm(ctx, recs[i])
			})
		})
		return
	}
	for some := range slices.Chunk(recs, sweepBatch) {
		_, _ = call(g, context.Background(), ComponentRegistry, "confirm", func(ctx context.Context) (struct{}, error) {
			return struct{}{}, batcher.ConfirmAll(ctx, some)
		})
	}
}

// endMany ends what a revocation names.
func (g *Guard) endMany(ctx context.Context, r *request, rev Revocation) (Revoked, error) {
	rev.Ending = g.ending(r, rev.Ending)
	revoked, err := call(g, context.WithoutCancel(ctx), ComponentRegistry, "end all", func(ctx context.Context) (Revoked, error) {
		return g.registry.EndAll(ctx, rev)
	})
	g.afterEnd(ctx, r, revoked.Ended...)
	if err == nil && revoked.Total > len(revoked.Ended) {
		_, err = g.attendDue(context.WithoutCancel(ctx))
	}
	return revoked, err
}

// endingEvent is the event of an ending. It is made of the record alone, so
// that whichever process writes it writes the same. Its origin is the request
// that ended the session; where there is none, by a sweep or a job, it names the
// address of the login, without an ip_source.
func (g *Guard) endingEvent(rec Record) Event {
	e := Event{
		ID: rec.Session + "/end", Time: rec.Ending.At, Kind: rec.Ending.Kind, Outcome: OutcomeSuccess, Reason: string(rec.Ending.Reason),
		User: rec.User, Actor: rec.Ending.Actor, Session: rec.Session, SessionSeq: rec.Seq, TokenHash: g.keyHash(rec.Key),
		IP: rec.IP, UserAgent: rec.UserAgent, Created: rec.Created,
		AbsoluteExpires: rec.Absolute, Due: rec.Ending.Due,
	}
	if rec.Ending.IPSource != "" {
		e.IP, e.IPSource, e.UserAgent = rec.Ending.IP, rec.Ending.IPSource, rec.Ending.UserAgent
	}
	if rec.Idle > 0 {
		e.IdleExpires = rec.LastActivity.Add(rec.Idle)
	}
	if rec.Ending.Detail != "" {
		e.Details = map[string]string{"detail": rec.Ending.Detail}
	}
	return e
}

// event is an event of a session in a request. Either may be missing.
func (g *Guard) event(r *request, kind EventKind, rec Record) Event {
	e := Event{
		ID: newSessionID(), Time: time.Now(), Kind: kind, Outcome: OutcomeSuccess,
		User: rec.User, Actor: rec.Actor, Session: rec.Session, SessionSeq: rec.Seq, TokenHash: g.keyHash(rec.Key),
		IP: rec.IP, UserAgent: rec.UserAgent,
	}
	if r == nil || r.ipSource == "" {
		return e
	}
	e.IP, e.IPSource, e.UserAgent, e.RequestID = r.ip, r.ipSource, r.userAgent, r.requestID
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.http != nil {
		e.Route = r.http.Pattern
	}
	return e
}

// count says that an event stands for several of its kind.
func (e *Event) count(n int) {
	if n > 1 {
		e.detail("count", strconv.Itoa(n))
	}
}

func (e *Event) detail(key, value string) {
	if e.Details == nil {
		e.Details = make(map[string]string)
	}
	e.Details[key] = value
}
