package registrytest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/scsguard/scsguard"
)

// plain is a registry without anything clever: one lock, and whatever is asked
// for is looked for. Without a fault it keeps the contract, so the checks can be
// passed by more than one implementation; with a fault it breaks one promise.
type plain struct {
	root  *plainRoot
	space *plainSpace
}

type plainRoot struct {
	mu     sync.Mutex
	fault  fault
	spaces map[string]*plainSpace
}

type plainSpace struct {
	rows     map[scsguard.Key]*row
	users    map[string]*plainUser
	closed   map[string]time.Time // EndAll by external ID
	everyone time.Time
	watchers []chan scsguard.Record
}

type plainUser struct {
	notBefore time.Time
	last      scsguard.LastLogin
	seen      time.Time
	rows      []*row // reserved, live and detached, in the order of admission
}

// row is what lies under one key.
type row struct {
	scsguard.Record
	settled   scsguard.Record // as Settle left it
	tightened bool            // some limit, since then
	limit     scsguard.Limit
	from      scsguard.Key
	marks     []mark    // by admissions that are not settled yet
	look      time.Time // when it was to be over as it began
	leased    time.Time // nobody gets it from Due before
	keep      time.Duration
	retention time.Duration
	forget    time.Time // when it may be dropped, if it is over
}

// mark says that a session has to go for a login, and how.
type mark struct {
	by     *row
	ending scsguard.Ending
}

// marked reports whether somebody else counts on the place already.
func (r *row) marked() bool { return len(r.marks) > 0 }

func (r *row) unmark(by *row) {
	r.marks = slices.DeleteFunc(r.marks, func(m mark) bool { return m.by == by })
}

var _ scsguard.Watcher = (*plain)(nil)

func newPlain(f fault) *plain {
	root := &plainRoot{fault: f, spaces: make(map[string]*plainSpace)}
	return (&plain{root: root}).Namespace("").(*plain)
}

func (p *plain) Namespace(name string) scsguard.Registry {
	p.root.mu.Lock()
	defer p.root.mu.Unlock()
	if p.has(mixesNamespaces) {
		name = ""
	}
	s := p.root.spaces[name]
	if s == nil || p.has(makesNamespaces) {
		s = &plainSpace{rows: make(map[scsguard.Key]*row), users: make(map[string]*plainUser), closed: make(map[string]time.Time)}
		p.root.spaces[name] = s
	}
	return &plain{root: p.root, space: s}
}

func (p *plain) has(f fault) bool { return p.root.fault == f }

func (p *plain) lock() (now time.Time, unlock func()) {
	p.root.mu.Lock()
	return time.Now(), p.root.mu.Unlock
}

// gap is a moment in which others get the lock, if the fault is a step that
// should have been part of the one before. In a bubble no time passes until all
// of them wait as well.
func (p *plain) gap(f fault) {
	if p.has(f) {
		p.root.mu.Unlock()
		time.Sleep(time.Nanosecond)
		p.root.mu.Lock()
	}
}

// Len counts what is kept.
func (p *plain) Len() int {
	_, unlock := p.lock()
	defer unlock()
	return len(p.space.rows) + len(p.space.users) + len(p.space.closed)
}

func (p *plain) user(name string) *plainUser {
	name = p.fold(name)
	u := p.space.users[name]
	if u == nil {
		u = &plainUser{}
		p.space.users[name] = u
	}
	u.seen = time.Now()
	return u
}

// present returns the row that a key leads to.
func (p *plain) present(key scsguard.Key) *row {
	r := p.space.rows[key]
	for r != nil && r.State == scsguard.StateMoved && !p.has(doesNotFollow) {
		r = p.space.rows[r.Successor]
	}
	return r
}

// overdue is Record.Overdue, by which no registry needs rules of its own.
func (p *plain) overdue(r *row, now time.Time) (scsguard.Ending, bool) {
	if r.State == scsguard.StateLive && p.has(trustsNonsense) {
		due, reason := r.Due()
		return scsguard.Ending{Kind: scsguard.EventTimeout, Reason: reason, At: now, Due: due}, !now.Before(due)
	}
	return r.Overdue(now)
}

func (p *plain) Get(_ context.Context, key scsguard.Key) (scsguard.Record, error) {
	_, unlock := p.lock()
	defer unlock()
	r := p.space.rows[key]
	p.gap(showsUndone)
	if r == nil || r.State == scsguard.StateReserved && !p.has(showsReserved) {
		return scsguard.Record{}, nil
	}
	rec := r.Record
	if rec.State == scsguard.StateDetached && p.has(showsDetached) {
		rec.State = scsguard.StateLive
	}
	return rec, nil
}

func (p *plain) List(_ context.Context, user string) ([]scsguard.Record, error) {
	now, unlock := p.lock()
	defer unlock()
	var list []scsguard.Record
	for _, r := range p.user(user).rows {
		if _, over := p.overdue(r, now); r.State == scsguard.StateLive && (!over || p.has(listsOverdue)) {
			list = append(list, r.Record)
		}
	}
	if p.has(ordersByCreated) {
		slices.SortStableFunc(list, func(a, b scsguard.Record) int { return a.Created.Compare(b.Created) })
	}
	return list, nil
}

func (p *plain) Watch(ctx context.Context) (<-chan scsguard.Record, error) {
	_, unlock := p.lock()
	defer unlock()
	ch := make(chan scsguard.Record, 1000)
	p.space.watchers = append(p.space.watchers, ch)
	context.AfterFunc(ctx, func() {
		_, unlock := p.lock()
		defer unlock()
		p.space.watchers = slices.DeleteFunc(p.space.watchers, func(w chan scsguard.Record) bool { return w == ch })
		if !p.has(watchesForEver) {
			close(ch)
		}
	})
	return ch, nil
}
