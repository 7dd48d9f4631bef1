package model

// A login reserves a place before anything else that counts, is in the trail
// before it ends anybody, and ends all victims before it has a record.
//
//	Q      add an entry, to be looked at when the lease is over
//	U      refuse, deny, or mark the oldest as victims and reserve
//	D      write
//	trail  the login
//	U      read who is marked, by anybody
//	R      of each: end it, or leave a tombstone
//	R      create its own, if there is none
//	U      release the victims; the reservation is held now
//
// With the victims that it ended itself it takes the road of every ending from
// there. With those that somebody else ended, he does.
//
// If its data cannot be written, nobody has learned of the login, and it takes
// back what it did:
//
//	U      give the place back
//	Q      drop the entry
//
// If its append fails, it may be in the trail all the same. So it ends itself,
// along the road of every ending.

func (t *turn) loginQueue() {
	if !t.Without.DueFirst {
		t.due = t.due.with(t.me.session)
	}
	t.goTo(loginReserve)
}

func (t *turn) loginReserve() {
	me := t.me
	tooEarly := t.authenticated(me.session) < t.notBefore && !t.Without.NotBefore
	tooLate := t.places[me.session].holding == closed
	if tooEarly || tooLate {
		t.leave(refused)
		return
	}
	counted, oldest := t.count()
	if t.Without.VictimsDoNotCount {
		counted += t.marked(t.anybody).len()
	}
	excess := counted + 1 - t.Cap
	if excess > 0 && t.Deny {
		t.clean()
		return
	}
	for ; excess > 0 && counted > 0; excess-- {
		t.places[oldest].victim = me.session + 1
		counted, oldest = t.count()
	}
	t.places[me.session] = place{holding: reserved, seq: maxSessions + 1}
	me.outcome = 0
	t.goTo(loginData)
}

// count returns how many places count, and which of them is the oldest.
func (t *turn) count() (n int, oldest uint8) {
	for s, p := range t.places {
		if !p.taken() || p.victim > 0 || p.holding == reserved && t.Without.ReservationsCount {
			continue
		}
		if n == 0 || p.seq < t.places[oldest].seq {
			oldest = uint8(s)
		}
		n++
	}
	return n, oldest
}

// marked returns the victims of those whom by says.
func (t *turn) marked(by func(session uint8) bool) (victims set) {
	for v, p := range t.places {
		if p.victim > 0 && by(p.victim-1) {
			victims = victims.with(uint8(v))
		}
	}
	return victims
}

func (t *turn) anybody(uint8) bool  { return true }
func (t *turn) myself(s uint8) bool { return s == t.me.session }

// Nobody looks at the data before there is a record.
func (t *turn) loginData() {
	const failed = 1
	if t.LoginsFail && t.choose(2) == failed {
		t.goTo(loginGiveBack)
		return
	}
	t.data = t.data.with(t.me.session)
	t.goTo(loginAppend)
}

// An append that fails may have kept the login or not, and nobody can tell. Here
// it always has: a trail without the login asks for less.
func (t *turn) loginAppend() {
	const failed = 1
	t.logins = t.logins.with(t.me.session)
	if t.Without.DeadFirst {
		t.logEndings(t.marked(t.myself))
	}
	fails := t.LoginsFail && t.choose(2) == failed
	switch {
	case fails && t.Without.FailedIsOver:
		t.goTo(loginGiveBack)
	case fails:
		t.goTo(loginAbort)
	case t.Without.VictimsFirst:
		t.goTo(loginCreate)
	default:
		t.goTo(loginVictims)
	}
}

// Everybody's victims: another login that has marked them and is slow, or was
// marked itself meanwhile, does not count them any more, and neither do we. A
// login that is marked itself is among them, and never lives.
func (t *turn) loginVictims() {
	by := t.anybody
	if t.Without.EveryVictim {
		by = t.myself
	}
	t.me.todo = t.marked(by)
	t.afterVictims()
}

func (t *turn) loginEndVictim() {
	me := t.me
	v := me.todo.first()
	if t.end(v, evicted) {
		me.took = me.took.with(v)
	}
	me.todo, me.gone = me.todo.minus(v), me.gone.with(v)
	t.afterVictims()
}

func (t *turn) afterVictims() {
	switch {
	case t.me.todo != 0:
		t.goTo(loginEndVictim)
	case t.Without.VictimsFirst:
		t.goTo(loginSettle)
	default:
		t.goTo(loginCreate)
	}
}

func (t *turn) loginCreate() {
	me := t.me
	r := &t.records[me.session]
	if r.life == absent || t.Without.CreateIfAbsent {
		*r = record{life: live, session: me.session}
		me.outcome = succeeded
	} else {
		me.outcome = buried
	}
	if t.Without.VictimsFirst {
		t.goTo(loginVictims)
		return
	}
	t.goTo(loginSettle)
}

// Who was marked after the victims had been read stays. If somebody else buried
// the login, he releases its place.
func (t *turn) loginSettle() {
	t.release(t.me.gone)
	t.me.gone = 0
	if p := &t.places[t.me.session]; p.holding == reserved && t.me.outcome == succeeded {
		p.holding = held
	}
	if t.Without.DueFirst {
		t.goTo(loginQueueLate)
		return
	}
	t.afterRelease()
}

func (t *turn) loginQueueLate() {
	t.due = t.due.with(t.me.session)
	t.afterRelease()
}

func (t *turn) loginAbort() {
	me := t.me
	me.outcome = failed
	if !t.end(me.session, aborted) {
		t.finish(failed)
		return
	}
	t.complete(me.session)
}

func (t *turn) loginGiveBack() {
	t.vacate(t.me.session)
	t.leave(failed)
}

// leave ends a login that is not in the trail and will never create its record.
// So it may drop its due entry although there is no terminal record.
func (t *turn) leave(o outcome) {
	*t.me = process{at: loginLeave, session: t.me.session, outcome: o}
}

func (t *turn) loginLeave() {
	t.due = t.due.minus(t.me.session)
	t.finish(t.me.outcome)
}
