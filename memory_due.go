package scsguard

import (
	"container/heap"
	"context"
	"time"
)

// dueQueue orders the entries and users of a shard by the moment at which they
// have to be looked at next. An entry whose deadline has moved since is put
// back when its turn comes, so activity never touches the queue.
type dueQueue []*dueNode

// dueNode is an entry's or a user's place in the queue.
type dueNode struct {
	at    time.Time
	index int // 1 + position in the queue; 0: not in it
	entry *entry
	user  *memoryUser
}

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i+1, j+1
}

// Push is for package container/heap.
func (q *dueQueue) Push(x any) {
	n := x.(*dueNode)
	*q = append(*q, n)
	n.index = len(*q)
}

// Pop is for package container/heap.
func (q *dueQueue) Pop() any {
	old := *q
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	n.index = 0
	return n
}

// schedule sets the moment at which n is looked at.
func (q *dueQueue) schedule(n *dueNode, at time.Time) {
	n.at = at
	if n.index == 0 {
		heap.Push(q, n)
		return
	}
	heap.Fix(q, n.index-1)
}

func (q *dueQueue) remove(n *dueNode) {
	if n.index > 0 {
		heap.Remove(q, n.index-1)
	}
}

// Due returns records that need attention and leases them to the caller.
func (m *MemoryRegistry) Due(_ context.Context, n int) ([]Record, error) {
	var list []Record
	now := time.Now()
	m.forgetExternals(now)
	for i := range m.users {
		s := &m.users[i]
		s.mu.Lock()
		for len(list) < n && len(s.queue) > 0 && !s.queue[0].at.After(now) {
			node := s.queue[0]
			if node.user != nil {
				m.forget(s, node, now)
			} else if rec, ok := m.attend(s, node.entry, now); ok {
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
	for _, node := range s.queue {
		if e := node.entry; e != nil && e.rec.State == StateEnded && !e.rec.Confirmed {
			list = append(list, e.rec)
		}
	}
	return list
}

// attend decides what an entry whose turn has come needs. The shard is locked,
// and the entry's place in the queue changes in every case.
func (m *MemoryRegistry) attend(s *userShard, e *entry, now time.Time) (Record, bool) {
	rec := e.rec
	switch rec.State {
	case StateLive:
		if due, _ := rec.Due(); due.After(now) && rec.sound(now) {
			s.queue.schedule(&e.node, due)
			return Record{}, false
		}
	case StateReserved, StateDetached:
	case StateEnded:
		if over := now.After(rec.Absolute.Add(e.retention)); rec.Confirmed || over {
			if until := rec.Ending.At.Add(e.keep + TombstoneMargin); over && !rec.Confirmed && until.After(now) {
				s.queue.schedule(&e.node, until) // nobody waits for the ending any more, but the key is not free yet
				return Record{}, false
			}
			s.queue.remove(&e.node)
			m.drop(e)
			return Record{}, false
		}
	default: // moved long ago
		s.queue.remove(&e.node)
		m.drop(e)
		return Record{}, false
	}
	s.queue.schedule(&e.node, now.Add(Lease))
	return rec, true
}

// forget drops a user who has not been seen for long.
func (m *MemoryRegistry) forget(s *userShard, node *dueNode, now time.Time) {
	if len(node.user.places) > 0 {
		s.queue.schedule(node, now.Add(UserMemory))
		return
	}
	s.queue.remove(node)
	delete(s.users, node.user.id)
}
