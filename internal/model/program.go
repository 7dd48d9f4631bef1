package model

// A step is a place in a program: where a process will go on.
type step uint8

const (
	done step = iota

	loginQueue
	loginReserve
	loginData
	loginAppend
	loginVictims
	loginEndVictim
	loginCreate
	loginSettle
	loginQueueLate
	loginAbort
	loginGiveBack
	loginLeave

	cleanLook
	cleanData
	cleanEnd
	cleanRelease

	allIntent
	allList
	allEnd
	allForget
	endOne
	endRelease
	endData
	endAppend
	endConfirm
	endForget

	moveData
	movePending
	moveInstant
	movePromote
	moveDelete
	moveUndo
	readPromote
	detachRecord
	detachData
	detachDecide

	touchLook
	touchRecord
	limitPass

	sweepPick
	sweepLook
	sweepEnd
)

// program has every step of every program. A name begins with the one slot that
// the step touches.
var program = [...]struct {
	name string
	run  func(*turn)
}{
	loginQueue:     {"Q add, with a lease", (*turn).loginQueue},
	loginReserve:   {"U reserve, mark victims", (*turn).loginReserve},
	loginData:      {"D write", (*turn).loginData},
	loginAppend:    {"trail: login", (*turn).loginAppend},
	loginVictims:   {"U read the victims", (*turn).loginVictims},
	loginEndVictim: {"R end a victim", (*turn).loginEndVictim},
	loginCreate:    {"R create if absent", (*turn).loginCreate},
	loginSettle:    {"U release the victims, settle", (*turn).loginSettle},
	loginQueueLate: {"Q add, after the effect", (*turn).loginQueueLate},
	loginAbort:     {"R end itself", (*turn).loginAbort},
	loginGiveBack:  {"U give the place back", (*turn).loginGiveBack},
	loginLeave:     {"Q drop", (*turn).loginLeave},

	cleanLook:    {"R look at a place", (*turn).cleanLook},
	cleanData:    {"D look at a place", (*turn).cleanData},
	cleanEnd:     {"R end for lost data", (*turn).cleanEnd},
	cleanRelease: {"U release what is dead", (*turn).cleanRelease},

	allIntent:  {"Q add the intent", (*turn).allIntent},
	allList:    {"U not-before, list", (*turn).allList},
	allEnd:     {"R end or bury", (*turn).allEnd},
	allForget:  {"Q drop the intent", (*turn).allForget},
	endOne:     {"R end", (*turn).endOne},
	endRelease: {"U release", (*turn).endRelease},
	endData:    {"D delete", (*turn).endData},
	endAppend:  {"trail: endings", (*turn).endAppend},
	endConfirm: {"R confirm", (*turn).endConfirm},
	endForget:  {"Q drop", (*turn).endForget},

	moveData:     {"D write the new key", (*turn).moveData},
	movePending:  {"R new key pending", (*turn).movePending},
	moveInstant:  {"R old key moved", (*turn).moveInstant},
	movePromote:  {"R new key live", (*turn).movePromote},
	moveDelete:   {"D delete the old key", (*turn).moveDelete},
	moveUndo:     {"D delete the new key", (*turn).moveUndo},
	readPromote:  {"R promote if pending", (*turn).readPromote},
	detachRecord: {"R detach", (*turn).detachRecord},
	detachData:   {"D delete", (*turn).detachData},
	detachDecide: {"the application renews or destroys", (*turn).detachDecide},

	touchLook:   {"R look", (*turn).touchLook},
	touchRecord: {"R touch", (*turn).touchRecord},
	limitPass:   {"R the limit passes", (*turn).limitPass},

	sweepPick: {"Q pick an entry", (*turn).sweepPick},
	sweepLook: {"R look", (*turn).sweepLook},
	sweepEnd:  {"R end if still so", (*turn).sweepEnd},
}

// A turn is one step of one process while it is being taken.
type turn struct {
	state
	*machine
	self int
	me   *process
	way  int
	ways int
}

// take takes a step of process self from s: of the ways it can go, the given
// one. It returns false if the process has nothing to do.
func (t *turn) take(s *state, self, way int) bool {
	at := s.processes[self].at
	if at == done || at == sweepPick && s.due == 0 {
		return false
	}
	t.state, t.self, t.me = *s, self, &t.processes[self]
	t.way, t.ways = way, 1
	program[at].run(t)
	t.normalize()
	return true
}

// choose returns a number below n; the search takes them all in turn. A step may
// choose once.
func (t *turn) choose(n int) int {
	t.ways = n
	return t.way
}

func (t *turn) goTo(at step) { t.me.at = at }

// finish ends a program. Only what the promises ask for is kept. A sweep, or
// what a sweep has taken over, never ends: it picks the next entry.
func (t *turn) finish(o outcome) {
	if t.isSweep(t.self) {
		*t.me = process{at: sweepPick}
		return
	}
	*t.me = process{at: done, session: t.me.session, outcome: o}
}

// normalize makes states equal that have the same future: sweeps are
// interchangeable, and sequence numbers count only by their order.
func (t *turn) normalize() {
	for i := len(t.Processes) + 1; i < len(t.Processes)+t.Sweeps; i++ {
		for j := i; t.isSweep(j-1) && t.processes[j].order() < t.processes[j-1].order(); j-- {
			t.processes[j], t.processes[j-1] = t.processes[j-1], t.processes[j]
		}
	}
	places := t.places
	for i, p := range places {
		if p.seq == 0 {
			continue
		}
		rank := uint8(1)
		for _, q := range places {
			if q.seq > 0 && q.seq < p.seq {
				rank++
			}
		}
		t.places[i].seq = rank
	}
}

// order is any order in which equal processes are equal.
func (p process) order() (n uint64) {
	for _, b := range [...]uint8{uint8(p.at), p.session, p.key, p.to, uint8(p.todo), uint8(p.gone), uint8(p.took), uint8(p.outcome)} {
		n = n<<8 | uint64(b)
	}
	return n
}
