package model

// Every ending takes the same road, whoever began it, and who comes later can
// walk it again from any point: a record ends once, an event ID counts once, and
// the rest only removes.
//
//	R      end: of all callers, exactly one. Without a record: a tombstone
//	U      release the place
//	D      delete
//	trail  the ending
//	R      confirm
//	Q      drop the due entry, last
//
// Who ended the record walks it, and after a crash the sweep. Others who find
// the record ended release the place at most. EndAll walks it with all sessions
// at once. It begins with
//
//	Q      add its intent
//	U      raise the not-before; list all places, reserved ones too
//
// and drops the intent in the end.

// end ends the record of a session, and tells whether it was this call that did.
// A tombstone is safe only for a login that has reserved: whoever buries a
// session has seen its place in U. A sweep has not, see release.
func (t *turn) end(session uint8, why reason) (won bool) {
	r := &t.records[t.last(session)]
	if r.life == ended && !t.Without.Compare || r.life == absent && t.Without.Tombstone {
		return false
	}
	*r = record{life: ended, session: session, reason: why, due: r.due, confirmed: t.Without.AppendFirst}
	t.wins[session] = min(t.wins[session]+1, 2)
	return true
}

func (t *turn) logEndings(sessions set) {
	for ; sessions != 0; sessions = sessions.minus(sessions.first()) {
		n := &t.endings[sessions.first()]
		if *n == 0 || t.Without.EndingID {
			*n = min(*n+1, 2)
		}
	}
}

// release drops places from U, in one script.
//
// A login that was buried by a sweep may not have reserved yet. If it did so
// now, its place would be a ghost: its due entry is about to go. So the script
// leaves a mark that it is too late.
func (t *turn) release(out set) {
	for ; out != 0; out = out.minus(out.first()) {
		s := out.first()
		switch {
		case t.places[s].taken():
			t.vacate(s)
		case t.records[t.last(s)].reason == abandoned && !t.Without.CloseLate:
			t.places[s].holding = closed
		}
	}
}

// vacate drops one place and the marks that its login has set. Its victims may
// live on, because it needs no room. But if it is marked itself, somebody else
// has its place, and they have to go for him.
func (t *turn) vacate(session uint8) {
	heir := t.places[session].victim
	if t.Without.HandDown {
		heir = 0
	}
	t.places[session] = place{}
	for v := range t.places {
		if p := &t.places[v]; p.victim == session+1 && !t.Without.Unmark {
			p.victim = heir
		}
	}
}

func (t *turn) confirm(session uint8) {
	if r := &t.records[t.last(session)]; r.life == ended {
		r.confirmed = true
	}
}

func (t *turn) allIntent() {
	if !t.Without.Intent {
		t.due = t.due.with(intent)
	}
	t.goTo(allList)
}

// A sweep that completes an EndAll may come much later: it must not touch those
// who logged in since.
func (t *turn) allList() {
	t.notBefore = 1
	for s, p := range t.places {
		listed := p.holding == held || p.holding == reserved && !t.Without.ListReserved
		if listed && t.authenticated(uint8(s)) < t.notBefore {
			t.me.todo = t.me.todo.with(uint8(s))
		}
	}
	t.afterAllEnd()
}

func (t *turn) allEnd() {
	me := t.me
	s := me.todo.first()
	if t.end(s, revoked) {
		me.took = me.took.with(s)
	}
	me.todo, me.gone = me.todo.minus(s), me.gone.with(s)
	t.afterAllEnd()
}

func (t *turn) afterAllEnd() {
	if t.me.todo != 0 {
		t.goTo(allEnd)
		return
	}
	t.me.outcome = succeeded // from here on, nobody may be alive
	if t.me.gone != 0 {
		t.goTo(endRelease)
		return
	}
	t.goTo(allForget)
}

func (t *turn) allForget() {
	t.due = t.due.minus(intent)
	t.finish(t.me.outcome)
}

// Of a session that is in no list, and has no record, nobody can know.
func (t *turn) endOne() {
	me := t.me
	if t.records[t.last(me.session)].life == absent || !t.end(me.session, loggedOut) {
		t.finish(denied)
		return
	}
	if me.outcome == 0 {
		me.outcome = succeeded
	}
	t.complete(me.session)
}

// complete takes the road of a session that has ended, from its second step.
func (t *turn) complete(session uint8) {
	t.me.gone, t.me.took = setOf(session), setOf(session)
	t.goTo(endRelease)
}

func (t *turn) endRelease() {
	t.release(t.me.gone)
	t.me.gone = 0
	t.afterRelease()
}

func (t *turn) afterRelease() {
	if t.me.took != 0 {
		t.goTo(endData)
		return
	}
	t.afterForget()
}

// The data of several sessions lies in several slots. But nobody looks at the
// data of a dead record, so one step will do.
func (t *turn) endData() {
	for took := t.me.took; took != 0; took = took.minus(took.first()) {
		t.data = t.data.minus(t.last(took.first()))
	}
	t.goTo(endAppend)
}

func (t *turn) endAppend() {
	t.logEndings(t.me.took)
	t.goTo(endConfirm)
}

func (t *turn) endConfirm() {
	t.confirm(t.me.took.first())
	t.goTo(endForget)
}

func (t *turn) endForget() {
	me := t.me
	s := me.took.first()
	t.due, me.took = t.due.minus(s), me.took.minus(s)
	t.afterForget()
}

func (t *turn) afterForget() {
	switch {
	case t.me.took != 0:
		t.goTo(endConfirm)
	case t.me.session == intent:
		t.goTo(allForget)
	default:
		t.finish(t.me.outcome)
	}
}
