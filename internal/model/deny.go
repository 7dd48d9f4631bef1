package model

// Where logins beyond the cap are denied, a login that finds every place taken
// looks at each of them before it gives up, and tries once more if one of them
// was nobody's. For each place:
//
//	R  ended: it can go. Absent, and the lease is over: bury it, it can go
//	D  of a live record: missing?
//	R  then end it, if it is still live under this key
//
// and for all of them
//
//	U  release

// clean begins to look at the places, or gives up.
func (t *turn) clean() {
	me := t.me
	if me.outcome == cleanedUp {
		t.leave(denied)
		return
	}
	for s, p := range t.places {
		if p.taken() {
			me.todo = me.todo.with(uint8(s))
		}
	}
	t.goTo(cleanLook)
}

func (t *turn) cleanLook() {
	me := t.me
	s := me.todo.first()
	k := t.last(s)
	if t.Without.LookFirst && !t.data.has(k) {
		me.key = k
		t.goTo(cleanEnd)
		return
	}
	switch r := &t.records[k]; r.life {
	case ended:
		me.gone = me.gone.with(s)
	case absent:
		const leaseIsOver = 1
		if t.choose(2) == leaseIsOver {
			*r = record{life: ended, session: s, reason: abandoned}
			me.gone = me.gone.with(s)
		}
	case live:
		me.key = k
		t.goTo(cleanData)
		return
	}
	t.afterClean()
}

func (t *turn) cleanData() {
	if t.data.has(t.me.key) {
		t.afterClean()
		return
	}
	t.goTo(cleanEnd)
}

// Meanwhile the session may have got another key, and its data lies there.
func (t *turn) cleanEnd() {
	me := t.me
	s := me.todo.first()
	r := &t.records[me.key]
	if r.life == live || r.life == moved && t.Without.SameKey {
		t.end(s, lost)
	}
	if r.life == ended {
		me.gone = me.gone.with(s)
	}
	t.afterClean()
}

func (t *turn) afterClean() {
	me := t.me
	me.key, me.todo = 0, me.todo.minus(me.todo.first())
	switch {
	case me.todo != 0:
		t.goTo(cleanLook)
	case me.gone != 0:
		t.goTo(cleanRelease)
	default:
		t.leave(denied)
	}
}

// What is released here is not in the trail yet. Its due entry stays, and so the
// sweep will put it there.
func (t *turn) cleanRelease() {
	t.release(t.me.gone)
	t.me.gone = 0
	t.me.outcome = cleanedUp
	t.goTo(loginReserve)
}
