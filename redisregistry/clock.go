package redisregistry

import (
	"sync"
	"time"

	"github.com/scsguard/scsguard"
)

// clock knows how far this process's clock is ahead of Redis's.
//
// Each answer that carries Redis's time narrows it: the true difference lies
// between the moment the question left and the moment the answer came. What two
// answers leave possible together is kept, and widens slowly as clocks drift. If
// they leave nothing, one of the clocks was set, and the newer answer counts.
type clock struct {
	mu     sync.Mutex
	lo, hi time.Duration
	at     time.Time
}

const (
	clockDrift = 200 * time.Microsecond // in a second: ten times what a bad clock does
	clockGrain = time.Millisecond / 4   // a server may read its clock once for several commands
)

// offset is what a moment of Redis's clock is ahead on this process's.
type offset struct{ lo, hi time.Duration }

func (o offset) mid() time.Duration { return o.lo + (o.hi-o.lo)/2 }

// toRedis converts a moment of this process. Zero stays zero.
func (o offset) toRedis(t time.Time) time.Time { return shift(t, -o.mid()) }

func (o offset) fromRedis(t time.Time) time.Time { return shift(t, o.mid()) }

// latest converts a moment, and gives it the benefit of what the clocks cannot tell:
// who proved who he is after EndAll has returned to the same process must not be
// refused because of that. It is as much as one answer took, and no more.
func (o offset) latest(t time.Time) time.Time { return shift(t, -o.lo) }

func shift(t time.Time, d time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Round(0).Add(d)
}

// observe learns from an answer that says redis, to a question asked at sent.
func (c *clock) observe(sent, received, redis time.Time) offset {
	age := received.Sub(sent)
	lo := sent.Round(0).Sub(redis) - clockGrain
	hi := received.Round(0).Sub(redis) + clockGrain
	c.mu.Lock()
	defer c.mu.Unlock()
	wider := time.Duration(float64(clockDrift) * max(received.Sub(c.at), age).Seconds())
	if c.at.IsZero() || lo > c.hi+wider || hi < c.lo-wider {
		c.lo, c.hi = lo, hi
	} else {
		c.lo, c.hi = max(lo, c.lo-wider), min(hi, c.hi+wider)
	}
	c.at = received
	return offset{c.lo, c.hi}
}

// shiftRecord moves all times of a record by the same amount.
func shiftRecord(r *scsguard.Record, d time.Duration) {
	for _, t := range [...]*time.Time{
		&r.Created, &r.AuthTime, &r.LastActivity, &r.Absolute, &r.AbsoluteSince, &r.TokenSince,
		&r.Lease, &r.MovedAt, &r.GraceUntil, &r.Ending.At, &r.Ending.Due, &r.ReplacedAt,
	} {
		*t = shift(*t, d)
	}
	if r.Warnings != nil {
		warnings := make([]scsguard.Warning, len(r.Warnings)) // others may hold those there are
		for i, w := range r.Warnings {
			w.Time = shift(w.Time, d)
			warnings[i] = w
		}
		r.Warnings = warnings
	}
}

// fromRedisInto converts a record where it is: to copy one takes as long as to read it.
func (o offset) fromRedisInto(r *scsguard.Record) { shiftRecord(r, o.mid()) }

func (o offset) recordToRedis(r scsguard.Record) scsguard.Record {
	shiftRecord(&r, -o.mid())
	return r
}

func (o offset) recordFromRedis(r scsguard.Record) scsguard.Record {
	shiftRecord(&r, o.mid())
	return r
}

func (o offset) endingToRedis(e scsguard.Ending) scsguard.Ending {
	e.At, e.Due = o.toRedis(e.At), o.toRedis(e.Due)
	return e
}
