package model

// A sweep completes what others began. It may be one of several, it may be slow,
// and the lease on its entry may be over.
//
//	Q  pick an entry
//	R  look: is there anything to do?
//	R  end it, if it is still so: live and due, or detached, or no record at all
//
// and then the road of every ending. An entry whose session is live and not due
// stays, to be looked at again.

func (t *turn) sweepPick() {
	n := t.choose(t.due.len())
	entries := t.due
	for range n {
		entries = entries.minus(entries.first())
	}
	t.me.session = entries.first()
	if t.me.session == intent {
		t.goTo(allList)
		return
	}
	t.goTo(sweepLook)
}

func (t *turn) sweepLook() {
	me := t.me
	r := t.records[t.last(me.session)]
	switch {
	case r.life == ended && r.confirmed:
		me.took = setOf(me.session)
		t.goTo(endForget)
	case r.life == ended && !t.Without.SweepEnded:
		t.complete(me.session)
	case r.life == absent, r.life == live && r.due, r.life == detached && !t.Without.SweepDetached:
		t.goTo(sweepEnd)
	default:
		t.finish(succeeded)
	}
}

// What the sweep saw is old. The record decides, by what it says now.
func (t *turn) sweepEnd() {
	me := t.me
	r := &t.records[t.last(me.session)]
	switch {
	case r.life == absent:
		if !t.Without.TerminalFirst {
			*r = record{life: ended, session: me.session, reason: abandoned}
		}
	case r.life == live && (r.due || t.Without.AskDue):
		t.end(me.session, timedOut)
	case r.life == detached:
		t.end(me.session, destroyed)
	default:
		t.finish(denied)
		return
	}
	t.complete(me.session)
}

// A touch belongs to a request that came before the limit, as the first look
// says. The limit may pass before the touch is written; it counts all the same.

func (t *turn) touchLook() {
	me := t.me
	me.key = t.last(me.session)
	if !t.aliveAt(me.key) || t.records[me.key].due {
		t.finish(denied)
		return
	}
	t.goTo(touchRecord)
}

func (t *turn) touchRecord() {
	r := &t.records[t.me.key]
	switch {
	case r.life == live:
		r.due = false
	case t.Without.TouchFields:
		*r = record{life: live, session: t.me.session}
	}
	t.finish(succeeded)
}

// limitPass is no step of the protocol but the clock.
func (t *turn) limitPass() {
	if r := &t.records[t.last(t.me.session)]; r.life == live {
		r.due = true
	}
	t.finish(succeeded)
}
