package scsguard

import (
	"slices"
	"strings"
	"time"
)

// memoryUser counts a user's sessions. Whoever is alive has a place among them.
type memoryUser struct {
	id       string
	sessions []*entry // reserved, live or detached, in the order of admission, which no clock can disturb
	past     *past    // nil if there is none
	place    int32    // 1 + position in the queue of who has no session; 0: not in it
}

// past is what is known of a user besides his sessions.
type past struct {
	last      LastLogin // of those that are no more
	notBefore time.Time
}

// user returns the user, made if necessary. The shard is locked.
func (s *userShard) user(id string) *memoryUser {
	u := s.users[id]
	if u == nil {
		u = &memoryUser{id: strings.Clone(id)}
		s.users[u.id] = u
		s.remember(u, time.Now())
	}
	return u
}

// remember puts off forgetting a user who has no session.
func (s *userShard) remember(u *memoryUser, now time.Time) {
	if len(u.sessions) == 0 {
		s.absent.schedule(u, now.Add(UserMemory))
	}
}

// add gives a session a place.
func (s *userShard) add(u *memoryUser, e *entry) {
	u.sessions = append(u.sessions, e)
	s.absent.remove(u)
}

// remove takes the place of a session that is dead, and remembers its login if it
// had lived.
func (s *userShard) remove(u *memoryUser, e *entry, now time.Time) {
	i := slices.Index(u.sessions, e)
	if i < 0 {
		return
	}
	if e.lived() && e.created.After(u.before().last.Time) {
		u.setPast(past{e.login(), u.before().notBefore})
	}
	e.pending, e.from = nil, 0
	if u.sessions = slices.Delete(u.sessions, i, i+1); len(u.sessions) == 0 {
		u.sessions = nil
	}
	s.remember(u, now)
}

// move gives the place of one entry to another.
func (u *memoryUser) move(from, to *entry) {
	if i := slices.Index(u.sessions, from); i >= 0 {
		u.sessions[i] = to
		to.pending, to.from = from.pending, from.from
		from.pending, from.from = nil, 0
	}
}

// session returns the session with that ID, or nil.
func (u *memoryUser) session(id string) *entry {
	for _, e := range u.sessions {
		if e.session() == id {
			return e
		}
	}
	return nil
}

func (u *memoryUser) before() past {
	if u.past == nil {
		return past{}
	}
	return *u.past
}

func (u *memoryUser) setPast(p past) { u.past = &p }

// lastLogin returns the user's latest login, by the time it was created.
func (u *memoryUser) lastLogin() LastLogin {
	last := u.before().last
	var latest *entry
	at := last.Time
	for _, e := range u.sessions { // usually each is later than the one before
		if e.lived() && e.created.After(at) {
			latest, at = e, e.created
		}
	}
	if latest != nil {
		last = latest.login()
	}
	return last
}

// lived reports whether the session is, or a moment ago was, more than a reservation.
func (e *entry) lived() bool { return e.state == StateLive || e.state == StateDetached }

func (e *entry) login() LastLogin {
	return LastLogin{Time: e.created, IP: e.record().IP, UserAgent: e.common.Value().agent}
}

// marked reports whether the session has to go for a login.
func (e *entry) marked() bool { return e.pending != nil && e.pending.victim != nil }

// mark says how the session will end, and for whom.
func (e *entry) mark(ending *Ending, by string) {
	p := underWay{victim: ending, by: by}
	if e.pending != nil {
		p.claim = e.pending.claim
	}
	e.pending = &p
	e.tidy()
}

// claims returns what the login under way asks for, nil if it is settled.
func (e *entry) claims() *claim {
	if e.pending == nil {
		return nil
	}
	return e.pending.claim
}

// tidy drops what is not pending any more.
func (e *entry) tidy() {
	if *e.pending == (underWay{}) {
		e.pending = nil
	}
}

// handDown says what becomes of the victims of a login that will not happen.
// They may stay; but if the login is itself a victim, the one that marked it
// counts on their places.
func (u *memoryUser) handDown(login *entry) {
	for _, e := range u.sessions {
		switch {
		case e.pending == nil || e.pending.by != login.session():
		case login.marked():
			heir, ending := login.pending.by, *e.pending.victim
			ending.Reason, ending.Detail = EndEvicted, heir
			e.mark(&ending, heir)
		default:
			e.mark(nil, "")
		}
	}
}

// beyond returns whom the login has to end so that the cap holds, if there is no
// room for it although it has a place: others that were to make room for a login
// which has failed stayed, and this one was admitted counting on them.
func (u *memoryUser) beyond(own *entry) []*entry {
	limit := own.conditions().limit
	if limit.Max == 0 || limit.OnExceed == Warn || !slices.Contains(u.sessions, own) {
		return nil
	}
	var alive []*entry
	for _, e := range u.sessions {
		if e.lived() {
			alive = append(alive, e)
		}
	}
	over := len(alive) + 1 - limit.Max
	switch {
	case over <= 0:
		return nil
	case limit.OnExceed == Deny:
		return []*entry{own}
	}
	return alive[:over]
}
