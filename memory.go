package scsguard

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A MemoryRegistry is a [Registry] in the memory of one process. It forgets
// everything when the process ends, which ends all sessions; it is the default
// only where the session store forgets as well.
//
// Users are spread over shards by a hash, and so are keys. Requests of
// different users share no lock except by chance.
type MemoryRegistry struct {
	root   *memoryRoot
	seed   maphash.Seed
	users  [memoryShards]userShard
	keys   [memoryShards]keyShard
	guards atomic.Int32

	// everyone is the moment of the last EndAll of all users.
	everyone atomic.Pointer[time.Time]

	mu        sync.Mutex                     // taken after a user shard's
	externals map[string]map[*entry]struct{} // sessions by external ID
	closed    map[string]time.Time           // when an external ID was ended

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
	mu    sync.RWMutex
	users map[string]*memoryUser
	queue dueQueue
}

// keyShard finds an entry by its key. Its lock is taken after a user shard's.
type keyShard struct {
	mu      sync.RWMutex
	entries map[Key]*entry
}

// memoryUser counts a user's sessions. Whoever is alive has a place.
type memoryUser struct {
	id        string
	seq       uint64
	places    map[string]*place // by session ID
	notBefore time.Time
	last      LastLogin
	node      dueNode // when to forget him
}

// place is held by a session that is reserved, live or detached.
type place struct {
	seq    uint64 // order of admission, which no clock can disturb
	limit  Limit  // under which it was admitted
	entry  *entry
	from   Key     // the token that the login came with
	claim  *claim  // until its login is settled
	victim *Ending // marked by an admission that is not settled yet
	by     string  // the session that marked it
}

// entry is one key's record.
type entry struct {
	rec       Record
	shard     *userShard
	keep      time.Duration // of the tombstone, at least
	retention time.Duration
	node      dueNode
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
		externals: make(map[string]map[*entry]struct{}), closed: make(map[string]time.Time),
	}
	for i := range memoryShards {
		m.users[i].users = make(map[string]*memoryUser)
		m.keys[i].entries = make(map[Key]*entry)
	}
	root.spaces[name] = m
	return m
}

func (m *MemoryRegistry) userShard(user string) *userShard {
	return &m.users[maphash.String(m.seed, user)%memoryShards]
}

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
	s := m.keyShard(e.rec.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[e.rec.Key]; ok {
		return false
	}
	s.entries[e.rec.Key] = e
	return true
}

func (m *MemoryRegistry) drop(e *entry) {
	s := m.keyShard(e.rec.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[e.rec.Key] == e {
		delete(s.entries, e.rec.Key)
	}
}

// locked returns the entry under key with its shard locked, or nil. It looks
// again once the lock is held: the entry may have been dropped meanwhile.
func (m *MemoryRegistry) locked(key Key) *entry {
	for {
		e := m.entry(key)
		if e == nil {
			return nil
		}
		e.shard.mu.Lock()
		if m.entry(key) == e {
			return e
		}
		e.shard.mu.Unlock()
	}
}

// user returns the user, made if necessary. The shard is locked.
func (s *userShard) user(id string) *memoryUser {
	u := s.users[id]
	if u == nil {
		u = &memoryUser{id: id, places: make(map[string]*place)}
		u.node.user = u
		s.users[id] = u
		s.queue.schedule(&u.node, time.Now().Add(UserMemory))
	}
	return u
}

// remember puts off forgetting the user.
func (s *userShard) remember(u *memoryUser, now time.Time) {
	s.queue.schedule(&u.node, now.Add(UserMemory))
}

// sorted returns the user's places, oldest admission first.
func (u *memoryUser) sorted() []*place {
	places := make([]*place, 0, len(u.places))
	for _, p := range u.places {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b *place) int { return cmp.Compare(a.seq, b.seq) })
	return places
}

// Get returns the record under key.
func (m *MemoryRegistry) Get(_ context.Context, key Key) (Record, error) {
	e := m.entry(key)
	if e == nil {
		return Record{}, nil
	}
	e.shard.mu.RLock()
	defer e.shard.mu.RUnlock()
	if e.rec.State == StateReserved || e.rec.State == StateUnknown {
		return Record{}, nil
	}
	return e.rec, nil
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
	for _, p := range u.sorted() {
		if _, over := p.entry.rec.Overdue(now); p.entry.rec.State == StateLive && !over {
			list = append(list, p.entry.rec)
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
	defer e.shard.mu.Unlock()
	rec := &e.rec
	before, _ := rec.Due()
	touched := rec.Touch(act)
	if due, _ := rec.Due(); touched.Live && due.Before(before) && due.Before(e.node.at) && before.After(time.Now()) {
		e.shard.queue.schedule(&e.node, due) // it was tightened
	}
	return touched, nil
}

// Detach makes a live record dead to every reader for now.
func (m *MemoryRegistry) Detach(_ context.Context, key Key, owner string, lease time.Duration) (Record, bool, error) {
	e := m.locked(key)
	if e == nil {
		return Record{}, false, nil
	}
	defer e.shard.mu.Unlock()
	if !e.rec.HeldBy(owner) {
		return e.rec, false, nil
	}
	e.rec.State, e.rec.Owner = StateDetached, owner
	e.rec.Lease = time.Now().Add(lease)
	e.shard.queue.schedule(&e.node, e.rec.Lease)
	return e.rec, true, nil
}

// Move gives a session a new key.
func (m *MemoryRegistry) Move(_ context.Context, from Key, rot Rotation) (bool, Record, error) {
	e := m.locked(from)
	if e == nil {
		return false, Record{}, nil
	}
	defer e.shard.mu.Unlock()
	over := !rot.Absolute.IsZero() && !time.Now().Before(e.rec.Absolute) // nothing brings back what is over
	if over || !e.rec.HeldBy(rot.Owner) {
		return false, m.present(e).rec, nil
	}
	next := &entry{rec: e.rec, shard: e.shard, keep: e.keep, retention: e.retention}
	next.node.entry = next
	next.rec.Rotate(rot)
	if !m.create(next) {
		return false, e.rec, nil // a tombstone lies there: nothing may live under that key
	}
	e.rec.MoveTo(next.rec, rot)
	e.shard.queue.schedule(&e.node, e.tombstoneUntil(time.Now()))
	if p := e.shard.user(next.rec.User).places[next.rec.Session]; p != nil {
		p.entry = next
	}
	m.moveExternal(e, next)
	due, _ := next.rec.Due()
	e.shard.queue.schedule(&next.node, due)
	return true, next.rec, nil
}

// present follows a moved entry to the session's present one. The shard is
// locked.
func (m *MemoryRegistry) present(e *entry) *entry {
	for e.rec.State == StateMoved {
		next := m.entry(e.rec.Successor)
		if next == nil {
			break
		}
		e = next
	}
	return e
}
