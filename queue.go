package scsguard

import (
	"context"
	"sync"
)

// queue lets the logins of one user in this process wait for each other, as long as
// a call may take, for a registry that asks for it. Nothing depends on it.
func (l *login) queue(ctx context.Context) (leave func()) {
	if q, ok := l.g.registry.(Queuer); !ok || !q.QueueLogins() {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, l.g.cfg.CallTimeout)
	defer cancel()
	leave, err := l.g.logins.lock(ctx, Key(l.user))
	if err != nil {
		return func() {}
	}
	return leave
}

// keyLocks lets one at a time deal with what a key stands for: write a session, so
// that those who wait merge once and do not try in vain again and again, or log a
// user in.
type keyLocks struct {
	mu    sync.Mutex
	locks map[Key]*keyLock
}

type keyLock struct {
	turn  chan struct{}
	users int
}

// lock waits until key is free, or ctx is done.
func (k *keyLocks) lock(ctx context.Context, key Key) (unlock func(), err error) {
	k.mu.Lock()
	l := k.locks[key]
	if l == nil {
		if k.locks == nil {
			k.locks = make(map[Key]*keyLock)
		}
		l = &keyLock{turn: make(chan struct{}, 1)}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn; k.leave(key, l) }, nil
	case <-ctx.Done():
		k.leave(key, l)
		return nil, ctx.Err()
	}
}

func (k *keyLocks) leave(key Key, l *keyLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.locks, key)
	}
}
