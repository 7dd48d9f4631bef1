package model

import (
	"fmt"
	"strings"
)

// A Scenario is a start, and what runs from there. Its user may hold Cap
// sessions; those from 0 up to Live are alive at the start.
type Scenario struct {
	Cap        int
	Live       int
	Deny       bool      // a login beyond the cap is denied; otherwise the oldest sessions are evicted
	LoginsFail bool      // the data of a login may not be written, and its append may fail
	DataGone   bool      // the data of session 0 is gone from the store
	Late       []int     // sessions authenticated after the EndAll; the others were before
	Processes  []Process // each runs once
	Sweeps     int       // sweeps beside them, each of which runs for ever
	Without    Without   // the rules that are taken out
}

// A Process is a program that somebody runs.
type Process struct {
	name  string
	start process
}

// Login is the login of a new session.
func Login(session int) Process {
	return Process{fmt.Sprintf("login of s%d", session), process{at: loginQueue, session: uint8(session)}}
}

// EndAll ends all sessions of the user that were authenticated before it.
func EndAll() Process {
	return Process{"end all", process{at: allIntent, session: intent}}
}

// End ends one session.
func End(session int) Process {
	return Process{fmt.Sprintf("end of s%d", session), process{at: endOne, session: uint8(session)}}
}

// Move gives a session that lives under one key another.
func Move(from, to int) Process {
	return Process{fmt.Sprintf("move K%d to K%d", from, to), process{at: moveData, key: uint8(from), to: uint8(to)}}
}

// Reader is a request with a key that may still be pending.
func Reader(key int) Process {
	return Process{fmt.Sprintf("reader of K%d", key), process{at: readPromote, key: uint8(key)}}
}

// Detach is an application that deletes the token of a session behind the guard,
// and then gives it the new key or destroys it.
func Detach(session, to int) Process {
	return Process{fmt.Sprintf("detach of s%d", session), process{at: detachRecord, session: uint8(session), to: uint8(to)}}
}

// Touch is a request that counts as activity.
func Touch(session int) Process {
	return Process{fmt.Sprintf("touch of s%d", session), process{at: touchLook, session: uint8(session)}}
}

// Limit is the clock: at some moment, or never, a session is past its limit.
func Limit(session int) Process {
	return Process{fmt.Sprintf("limit of s%d", session), process{at: limitPass, session: uint8(session)}}
}

// A Violation is a promise that does not hold, and a shortest way there.
type Violation struct {
	Promise Promise
	Detail  string
	Trace   []string // each step: who, what, and the slots after it
}

// Error is the whole story, a line for each step.
func (v *Violation) Error() string {
	return fmt.Sprintf("%v: %s\n%s", v.Promise, v.Detail, strings.Join(v.Trace, "\n"))
}

// Search visits the states of a scenario until a promise is broken. It returns
// how many it saw, and the violation, or nil if all promises hold.
func Search(sc Scenario) (states int, broken *Violation) {
	m := newMachine(sc)
	states, way, err := explore(m.start(), m.next, m.check)
	if err == nil {
		return states, nil
	}
	broken = err.(*Violation)
	t := &turn{machine: m}
	s := m.start()
	for i, mv := range way {
		at := s.processes[mv.process].at
		t.take(&s, int(mv.process), int(mv.way))
		s = t.state
		broken.Trace = append(broken.Trace,
			fmt.Sprintf("%3d %-14s %-36s %v", i+1, m.name(int(mv.process)), program[at].name, &s.slots))
	}
	return states, broken
}

// A machine runs a scenario.
type machine struct {
	Scenario
	late    set
	sweeper *turn              // sweeps alone, after everybody has crashed
	rested  map[slots]struct{} // what has been checked that way
}

func newMachine(sc Scenario) *machine {
	m := &machine{
		Scenario: sc,
		sweeper:  &turn{machine: &machine{Scenario: Scenario{Sweeps: 1, Without: sc.Without}}},
		rested:   make(map[slots]struct{}),
	}
	for _, s := range sc.Late {
		m.late = m.late.with(uint8(s))
	}
	m.sweeper.late = m.late
	return m
}

func (m *machine) start() (s state) {
	for i := range uint8(m.Live) {
		s.records[i] = record{life: live, session: i}
		s.places[i] = place{holding: held, seq: i + 1}
		s.data, s.due, s.logins = s.data.with(i), s.due.with(i), s.logins.with(i)
	}
	if m.DataGone {
		s.data = s.data.minus(0)
	}
	for i := range len(m.Processes) + m.Sweeps {
		if m.isSweep(i) {
			s.processes[i].at = sweepPick
		} else {
			s.processes[i] = m.Processes[i].start
		}
	}
	return s
}

// next calls visit with every state that is one step away.
func (m *machine) next(s state, visit func(move, state)) {
	t := &turn{machine: m}
	for self := range len(m.Processes) + m.Sweeps {
		for way := 0; t.take(&s, self, way); way++ {
			visit(move{uint8(self), uint8(way)}, t.state)
			if way+1 == t.ways {
				break
			}
		}
	}
}

func (m *machine) isSweep(i int) bool { return i >= len(m.Processes) }

func (m *machine) name(i int) string {
	if m.isSweep(i) {
		return "sweep"
	}
	return m.Processes[i].name
}

// authenticated is when the user of a session has proved who he is: 0 before the
// EndAll, 1 after.
func (m *machine) authenticated(session uint8) uint8 {
	if m.late.has(session) {
		return 1
	}
	return 0
}
