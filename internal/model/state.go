package model

import (
	"fmt"
	"math/bits"
	"strings"
)

// The bounds of the arrays below. They are tight because a state is copied,
// compared and hashed millions of times. Session s begins under key s; keys that
// no session begins with are for rotations.
const (
	maxSessions  = 4
	maxKeys      = 4
	maxProcesses = 7
)

// A set holds numbers of sessions, or of keys.
type set uint8

func setOf(i uint8) set         { return 1 << i }
func (s set) has(i uint8) bool  { return s&setOf(i) != 0 }
func (s set) with(i uint8) set  { return s | setOf(i) }
func (s set) minus(i uint8) set { return s &^ setOf(i) }
func (s set) below(i uint8) set { return s & (setOf(i) - 1) }
func (s set) first() uint8      { return uint8(bits.TrailingZeros8(uint8(s))) }
func (s set) len() int          { return bits.OnesCount8(uint8(s)) }

// A life is what a record says about the key it stands under.
type life uint8

const (
	absent  life = iota
	pending      // the target of a rotation: alive as soon as its parent has moved to it
	live
	detached // the application deleted the token behind the guard: to renew it or to destroy the session, nobody knows yet
	moved    // another key took its place
	ended    // for ever. On a key that had no record it is a tombstone: none can be created any more
)

// A reason is why a session ended.
type reason uint8

const (
	evicted   reason = iota + 1 // by a login beyond the cap
	revoked                     // by EndAll
	loggedOut                   // by End
	timedOut                    // by a sweep: past its limit
	destroyed                   // by a sweep: detached, and not renewed
	aborted                     // by itself: a login that could not be put into the trail
	abandoned                   // by a sweep, or a login that was denied: a login that never came to its end
	lost                        // its data is gone from the store
)

// A record is the value of R for one key.
type record struct {
	life      life
	session   uint8
	link      uint8 // pending: the parent; moved: the new key; detached: the process that may move it
	reason    reason
	due       bool // past a limit by its own fields
	confirmed bool // ended, and the ending is in the trail
}

// A holding is what the index says about a session.
type holding uint8

const (
	nothing  holding = iota
	reserved         // its login is under way
	held             // its login is complete
	closed           // a sweep buried the login before it had reserved: too late now
)

// A place is what U has for one session.
type place struct {
	holding holding
	victim  uint8 // 1 + the session whose login marked it as its victim; 0 is unmarked
	seq     uint8 // the order of admission
}

func (p place) taken() bool { return p.holding == reserved || p.holding == held }

// slots are all that outlives a process. The first word of a comment names the slot.
type slots struct {
	records   [maxKeys]record    // R, a slot for each key
	places    [maxSessions]place // U
	notBefore uint8              // U: logins authenticated earlier are refused
	data      set                // D, a slot for each key
	due       set                // Q, a slot for each session, and one for intent
	logins    set                // trail
	endings   [maxSessions]uint8 // trail: different event IDs, counted to 2

	// wins is a witness, no slot: how many callers were told that it was they
	// who ended the session, counted to 2.
	wins [maxSessions]uint8
}

// intent is the due entry of an EndAll.
const intent = maxSessions

// A process is what one caller of the registry knows, and forgets in a crash.
// Programs zero what they no longer need, so that fewer states differ.
type process struct {
	at      step
	session uint8
	key     uint8   // the store key it works on
	to      uint8   // the key it moves to
	todo    set     // sessions whose record it has still to end
	gone    set     // sessions that have ended, and whose place it has still to release
	took    set     // sessions that it ended itself: it has to put their endings into the trail, confirm and forget
	outcome outcome // so far, and at the end
}

// An outcome is what a program came to.
type outcome uint8

const (
	succeeded    outcome = iota + 1
	failed               // the data or the trail did not take the login
	denied               // no place is free, or somebody else was faster
	refused              // authenticated before an EndAll, or too late to reserve
	buried               // logged in, and ended by somebody before the session began
	cleanedUp            // found places that nobody needs, and tries again
	wasDestroyed         // a detached session that will not be renewed
)

// A state is a vertex of the search.
type state struct {
	slots
	processes [maxProcesses]process
}

// last is the key that decides about a session: the end of the chain of
// rotations from its first key. A record that has moved never changes again, so
// to follow it is no step: whoever does it later sees the same. And since all
// begin at the first key, the oldest that anybody can know, the keys that U and
// Q carry are nothing but hints, and are left out.
func (s *slots) last(session uint8) uint8 {
	k := session
	for s.records[k].life == moved {
		k = s.records[k].link
	}
	return k
}

// aliveAt tells whether a request with key k gets a live session. It does with a
// pending record, too, if the parent has moved there: the reader promotes it.
func (s *slots) aliveAt(k uint8) bool {
	r := s.records[k]
	if r.life == pending {
		parent := s.records[r.link]
		return parent.life == moved && parent.link == k
	}
	return r.life == live
}

// alive is the set of live sessions, and of those that live under two keys.
func (s *slots) alive() (alive, twice set) {
	for k := range uint8(maxKeys) {
		if s.aliveAt(k) {
			owner := setOf(s.records[k].session)
			twice |= alive & owner
			alive |= owner
		}
	}
	return alive, twice
}

// String is one line: R by key, U by session, Q, the trail.
func (s *slots) String() string {
	var b strings.Builder
	b.WriteString("R")
	for _, r := range s.records {
		fmt.Fprintf(&b, " %v", r)
	}
	b.WriteString(" | U")
	for _, p := range s.places {
		fmt.Fprintf(&b, " %v", p)
	}
	if s.notBefore > 0 {
		b.WriteString(" not-before")
	}
	fmt.Fprintf(&b, " | Q %05b | logins %04b endings %v", s.due, s.logins, s.endings)
	return b.String()
}

func (r record) String() string {
	s := [...]string{"-", "pending", "live", "detached", "moved", "ended"}[r.life]
	switch r.life {
	case pending:
		s += fmt.Sprintf("(from K%d)", r.link)
	case moved:
		s += fmt.Sprintf("(to K%d)", r.link)
	case ended:
		s += "(" + [...]string{"", "evicted", "revoked", "logged out", "timed out", "destroyed", "aborted", "abandoned", "lost"}[r.reason] + ")"
		if r.confirmed {
			s += "!"
		}
	default:
		if r.due {
			s += ",due"
		}
	}
	return s
}

func (p place) String() string {
	s := [...]string{"-", "reserved", "held", "closed"}[p.holding]
	if p.victim > 0 {
		s += fmt.Sprintf("(victim of s%d)", p.victim-1)
	}
	return s
}
