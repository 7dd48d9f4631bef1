package scsguard

import (
	"container/heap"
	"context"
	"time"
)

// dueQueue orders what belongs to a shard by the moment at which it has to be
// looked at next. An entry whose deadline has moved since is put back when its turn
// comes, so activity never touches the queue.
type dueQueue[T queued] []due[T]

type due[T queued] struct {
	at   time.Time
	what T
}

// queued knows its place in the queue: 1 + its position, 0 if it is not in it.
type queued interface{ queuePlace() *int32 }

func (e *entry) queuePlace() *int32      { return &e.place }
func (u *memoryUser) queuePlace() *int32 { return &u.place }

func (q dueQueue[T]) Len() int           { return len(q) }
func (q dueQueue[T]) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q dueQueue[T]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	*q[i].what.queuePlace(), *q[j].what.queuePlace() = int32(i+1), int32(j+1)
}

// Push is for package container/heap.
func (q *dueQueue[T]) Push(x any) {
	*q = append(*q, x.(due[T]))
	*(*q)[len(*q)-1].what.queuePlace() = int32(len(*q))
}

// Pop is for package container/heap.
func (q *dueQueue[T]) Pop() any {
	last := &(*q)[len(*q)-1]
	*last.what.queuePlace() = 0
	*last = due[T]{}
	*q = (*q)[:len(*q)-1]
	return nil
}

// schedule sets the moment at which x is looked at.
func (q *dueQueue[T]) schedule(x T, at time.Time) {
	place := *x.queuePlace()
	if place == 0 {
		heap.Push(q, due[T]{at, x})
		return
	}
	(*q)[place-1].at = at
	heap.Fix(q, int(place-1))
}

func (q *dueQueue[T]) remove(x T) {
	if place := *x.queuePlace(); place > 0 {
		heap.Remove(q, int(place-1))
	}
}

// when returns the moment at which x is looked at.
func (q dueQueue[T]) when(x T) (at time.Time) {
	if place := *x.queuePlace(); place > 0 {
		at = q[place-1].at
	}
	return at
}

// next returns what is to be looked at by now, if anything is.
func (q dueQueue[T]) next(now time.Time) (x T, ok bool) {
	if len(q) == 0 || q[0].at.After(now) {
		return x, false
	}
	return q[0].what, true
}

// Due returns records that need attention and leases them to the caller.
func (m *MemoryRegistry) Due(_ context.Context, n int) ([]Record, error) {
	var list []Record
	now := time.Now()
	m.forgetExternals(now)
	for i := range m.users {
		s := &m.users[i]
		s.mu.Lock()
		for u, due := s.absent.next(now); due; u, due = s.absent.next(now) {
			s.absent.remove(u)
			delete(s.users, u.id)
		}
		for len(list) < n {
			e, due := s.queue.next(now)
			if !due {
				break
			}
			if rec, ok := m.attend(s, e, now); ok {
				list = append(list, rec)
			}
		}
		s.mu.Unlock()
	}
	return list, nil
}

// unconfirmed returns the records of one shard that have ended and whose ending is
// not in the trail, whoever has the lease.
func (m *MemoryRegistry) unconfirmed(shard int) []Record {
	s := &m.users[shard]
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Record
	for _, d := range s.queue {
		if d.what.state == StateEnded && !d.what.confirmed() {
			list = append(list, d.what.record())
		}
	}
	return list
}

// attend decides what an entry whose turn has come needs. The shard is locked,
// and the entry's place in the queue changes in every case.
func (m *MemoryRegistry) attend(s *userShard, e *entry, now time.Time) (Record, bool) {
	rec := e.record()
	switch rec.State {
	case StateLive:
		if due, _ := rec.Due(); due.After(now) && rec.sound(now) {
			s.queue.schedule(e, due)
			return Record{}, false
		}
	case StateReserved, StateDetached:
	case StateEnded:
		c := e.conditions()
		if over := now.After(rec.Absolute.Add(c.retention)); rec.Confirmed || over {
			if until := rec.Ending.At.Add(c.keep + TombstoneMargin); over && !rec.Confirmed && until.After(now) {
				s.queue.schedule(e, until) // nobody waits for the ending any more, but the key is not free yet
				return Record{}, false
			}
			s.queue.remove(e)
			m.drop(e)
			return Record{}, false
		}
	default: // moved long ago
		s.queue.remove(e)
		m.drop(e)
		return Record{}, false
	}
	s.queue.schedule(e, now.Add(Lease))
	return rec, true
}
