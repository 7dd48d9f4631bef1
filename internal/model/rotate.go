package model

// A rotation puts a session under a new key. There is one instant, the change of
// one slot, before which only the old key is alive and after which only the new
// one is:
//
//	D  write under the new key
//	R  new key: pending, with the old key as its parent
//	R  old key: live becomes moved - the instant, and only one can win
//	R  new key: pending becomes live, by the mover or by any reader
//	D  delete under the old key
//
// An application may also delete the old key behind the guard. From the delete
// alone nobody can tell whether it will renew the token or has destroyed the
// session. So the record is detached, dead for every reader, until who detached
// it moves or ends it, or a sweep ends it.

func (t *turn) moveData() {
	t.data = t.data.with(t.me.to)
	t.goTo(movePending)
}

func (t *turn) movePending() {
	r := record{life: pending, session: t.records[t.me.key].session, link: t.me.key}
	if t.Without.Pending {
		r.life = live
	}
	t.records[t.me.to] = r
	t.goTo(moveInstant)
}

// A detached record is moved only by who detached it: another rotation under way
// would bring back to life what the application may have destroyed.
func (t *turn) moveInstant() {
	me := t.me
	r := &t.records[me.key]
	var may bool
	switch r.life {
	case live:
		may = true
	case detached:
		may = int(r.link) == t.self || t.Without.DetachedBy
	case moved:
		may = t.Without.MoveCompares
	}
	if !may {
		t.goTo(moveUndo)
		return
	}
	*r = record{life: moved, session: r.session, link: me.to}
	t.goTo(movePromote)
}

// Whoever ended the session meanwhile followed the chain and ended this record.
func (t *turn) movePromote() {
	if r := &t.records[t.me.to]; r.life == pending {
		r.life, r.link = live, 0
	}
	t.goTo(moveDelete)
}

func (t *turn) moveDelete() {
	t.data = t.data.minus(t.me.key)
	t.finish(succeeded)
}

// The pending record of a move that lost is dead for ever: its parent went
// elsewhere. It may stay until it expires.
func (t *turn) moveUndo() {
	t.data = t.data.minus(t.me.to)
	t.finish(denied)
}

// That the parent has moved here stays true, so to read it is no step.
func (t *turn) readPromote() {
	k := t.me.key
	if r := &t.records[k]; r.life == pending && (t.aliveAt(k) || t.Without.AskParent) {
		r.life, r.link = live, 0
	}
	t.finish(succeeded)
}

// The application holds an old key, perhaps, but it means the session: follow.
func (t *turn) detachRecord() {
	me := t.me
	k := t.last(me.session)
	r := &t.records[k]
	if r.life != live && r.life != pending {
		t.finish(denied)
		return
	}
	r.life, r.link = detached, uint8(t.self)
	me.key = k
	t.goTo(detachData)
}

func (t *turn) detachData() {
	t.data = t.data.minus(t.me.key)
	t.goTo(detachDecide)
}

func (t *turn) detachDecide() {
	const renews = 0
	if t.choose(2) == renews {
		t.goTo(moveData)
		return
	}
	t.me.outcome = wasDestroyed
	t.goTo(endOne)
}
