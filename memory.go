package scsguard

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// A MemoryRegistry is a [Registry] in the memory of one process. It forgets
// everything when the process ends, which ends all sessions; it is the default
// only where the session store forgets as well.
//
// Users are spread over shards by a hash, and so are keys. Requests of
// different users share no lock except by chance, and no request waits for logins.
//
// A session takes less than 600 bytes besides its data, the same for as long as its
// tombstone is kept: see docs/performance.md. What is known of a user takes some 300
// more until [UserMemory] is over.
type MemoryRegistry struct {
	root   *memoryRoot
	seed   maphash.Seed
	users  [memoryShards]userShard
	keys   [memoryShards]keyShard
	guards atomic.Int32

	// everyone is the moment of the last EndAll of all users.
	everyone atomic.Pointer[time.Time]

	mu        sync.Mutex           // taken after a user shard's
	externals map[string][]*entry  // sessions by external ID
	closed    map[string]time.Time // when an external ID was ended

	watchers watchers
}

// memoryRoot holds the namespaces of one registry.
type memoryRoot struct {
	mu     sync.Mutex
	spaces map[string]*MemoryRegistry
}

const memoryShards = 64

// userShard holds users and everything that belongs to them. Its lock guards
// the entries of its users, too.
type userShard struct {
	mu     sync.RWMutex
	users  map[string]*memoryUser
	queue  dueQueue[*entry]
	absent dueQueue[*memoryUser] // who has no session, by when to forget him
}

// keyShard finds an entry by its key. Its lock is taken after a user shard's, and
// guards the records of its entries as well: who only reads one needs no other, and
// does not wait for logins. Who holds the user shard may read without it.
type keyShard struct {
	mu      sync.RWMutex
	entries map[Key]*entry
}

// NewMemoryRegistry returns an empty registry.
func NewMemoryRegistry() *MemoryRegistry {
	return (&memoryRoot{spaces: make(map[string]*MemoryRegistry)}).space("")
}

// Namespace returns the part of the registry with that name.
func (m *MemoryRegistry) Namespace(name string) Registry { return m.root.space(name) }

func (root *memoryRoot) space(name string) *MemoryRegistry {
	root.mu.Lock()
	defer root.mu.Unlock()
	if m, ok := root.spaces[name]; ok {
		return m
	}
	m := &MemoryRegistry{
		root: root, seed: maphash.MakeSeed(),
		externals: make(map[string][]*entry), closed: make(map[string]time.Time),
	}
	for i := range memoryShards {
		m.users[i].users = make(map[string]*memoryUser)
		m.keys[i].entries = make(map[Key]*entry)
	}
	root.spaces[name] = m
	return m
}

func (m *MemoryRegistry) userShard(user string) *userShard { return &m.users[m.shardIndex(user)] }

func (m *MemoryRegistry) shardIndex(user string) uint8 {
	return uint8(maphash.String(m.seed, user) % memoryShards)
}

func (m *MemoryRegistry) shard(e *entry) *userShard { return &m.users[e.shard] }

func (m *MemoryRegistry) keyShard(key Key) *keyShard {
	return &m.keys[maphash.String(m.seed, string(key))%memoryShards]
}

func (m *MemoryRegistry) entry(key Key) *entry {
	s := m.keyShard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.entries[key]
}

// create stores e under its key unless there is something already.
func (m *MemoryRegistry) create(e *entry) bool {
	s := m.keyShard(e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[e.key]; ok {
		return false
	}
	s.entries[e.key] = e
	return true
}

// drop removes e. Its shard is locked.
func (m *MemoryRegistry) drop(e *entry) {
	s := m.keyShard(e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e.state = StateUnknown
	delete(s.entries, e.key)
}

// write makes rec the entry's record. The user shard is locked.
func (m *MemoryRegistry) write(e *entry, rec *Record) { m.writeWith(e, rec, e.conditions()) }

func (m *MemoryRegistry) writeWith(e *entry, rec *Record, c conditions) {
	s := m.keyShard(e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e.write(rec, c)
}

// locked returns the entry under key with its shard locked, or nil. It looks again
// if the entry was dropped meanwhile.
func (m *MemoryRegistry) locked(key Key) *entry {
	for {
		e := m.entry(key)
		if e == nil {
			return nil
		}
		s := m.shard(e)
		s.mu.Lock()
		if e.state != StateUnknown {
			return e
		}
		s.mu.Unlock()
	}
}

// Get returns the record under key.
func (m *MemoryRegistry) Get(_ context.Context, key Key) (rec Record, err error) {
	m.get(key, &rec)
	return rec, nil
}

// get is Get for who has room for the record already.
func (m *MemoryRegistry) get(key Key, rec *Record) {
	s := m.keyShard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.entries[key]; e != nil && e.state != StateReserved {
		e.read(rec)
	} else {
		*rec = Record{}
	}
}

// List returns the user's live sessions, oldest login first.
func (m *MemoryRegistry) List(_ context.Context, user string) ([]Record, error) {
	s := m.userShard(user)
	s.mu.RLock()
	defer s.mu.RUnlock()
	u := s.users[user]
	if u == nil {
		return nil, nil
	}
	now := time.Now()
	var list []Record
	for _, e := range u.sessions {
		rec := e.record()
		if _, over := rec.Overdue(now); rec.State == StateLive && !over {
			list = append(list, rec)
		}
	}
	return list, nil
}

// Touch updates single fields of a live record.
func (m *MemoryRegistry) Touch(_ context.Context, key Key, act Activity) (Touched, error) {
	e := m.locked(key)
	if e == nil {
		return Touched{}, nil
	}
	s, rec := m.shard(e), e.record()
	defer s.mu.Unlock()
	before, _ := rec.Due()
	touched := rec.Touch(act)
	if !touched.Live {
		return touched, nil
	}
	m.write(e, &rec)
	if due, _ := rec.Due(); due.Before(before) && due.Before(s.queue.when(e)) && before.After(time.Now()) {
		s.queue.schedule(e, due) // it was tightened
	}
	return touched, nil
}

// Detach makes a live record dead to every reader for now.
func (m *MemoryRegistry) Detach(_ context.Context, key Key, owner string, lease time.Duration) (Record, bool, error) {
	e := m.locked(key)
	if e == nil {
		return Record{}, false, nil
	}
	s, rec := m.shard(e), e.record()
	defer s.mu.Unlock()
	if !rec.HeldBy(owner) {
		return rec, false, nil
	}
	rec.State, rec.Owner = StateDetached, owner
	rec.Lease = time.Now().Add(lease)
	m.write(e, &rec)
	s.queue.schedule(e, rec.Lease)
	return rec, true, nil
}

// Move gives a session a new key.
func (m *MemoryRegistry) Move(_ context.Context, from Key, rot Rotation) (bool, Record, error) {
	e := m.locked(from)
	if e == nil {
		return false, Record{}, nil
	}
	s, old := m.shard(e), e.record()
	defer s.mu.Unlock()
	over := !rot.Absolute.IsZero() && !time.Now().Before(old.Absolute) // nothing brings back what is over
	if over || !old.HeldBy(rot.Owner) {
		return false, m.present(e).record(), nil
	}
	rec := old
	rec.Rotate(rot)
	next := &entry{shard: e.shard}
	next.write(&rec, e.conditions())
	if !m.create(next) {
		return false, old, nil // a tombstone lies there: nothing may live under that key
	}
	if u := s.users[rec.User]; u != nil {
		u.move(e, next)
	}
	old.MoveTo(rec, rot)
	m.write(e, &old)
	s.queue.schedule(e, e.tombstoneUntil(time.Now()))
	m.moveExternal(e, next)
	s.queue.schedule(next, next.due())
	return true, rec, nil
}

// present follows a moved entry to the session's present one. The shard is
// locked.
func (m *MemoryRegistry) present(e *entry) *entry {
	for e.state == StateMoved {
		next := m.entry(e.more.moved.successor)
		if next == nil {
			break
		}
		e = next
	}
	return e
}
