package registrytest

import (
	"fmt"
	"slices"
	"time"

	"github.com/scsguard/scsguard"
)

// Every short sequence of calls, one after the other.

func sequenceChecks() []check {
	var list []check
	for _, limit := range []scsguard.Limit{deny(1), deny(2), deny(3), evict(1), evict(2), evict(3)} {
		list = append(list, check{
			name: fmt.Sprintf("every short sequence of calls does what a list would do (%v at %d)", limit.OnExceed, limit.Max),
			run:  func(t *trial) { compareWithList(t, limit, sequenceLen) },
			long: true,
		})
	}
	return append(list, check{
		name: "no order of logins, failures and endings exceeds the cap",
		run:  func(t *trial) { keepsCap(t, openLen) },
		long: true,
	})
}

// How many calls a sequence has. There are some thousands of sequences then.
const (
	sequenceLen = 4
	openLen     = 4
)

// sequences calls f with sequences of n of the letters. f returns how many of
// the calls could be made; what begins as one that could not is left out.
func sequences(letters string, n int, f func(string) int) {
	digits := make([]int, n)
	for {
		calls := make([]byte, n)
		for i, d := range digits {
			calls[i] = letters[d]
		}
		i := min(f(string(calls)), n-1)
		clear(digits[i+1:])
		for digits[i]++; digits[i] == len(letters); digits[i]++ {
			digits[i] = 0
			if i--; i < 0 {
				return
			}
		}
	}
}

// shelf is the stupid version of a registry: what a user has, in a slice,
// oldest first.
type shelf struct {
	user    string
	live    []scsguard.Record
	overdue []scsguard.Record
}

// The calls of a sequence, for the first user. A capital letter is the same for
// the second.
//
//	l  log in            t  the oldest is touched     m  the newest moves
//	o  the oldest ends   a  all are ended             x  the oldest becomes overdue
const listCalls = "ltmoaxLO"

// compareWithList runs each sequence with two users of its own.
func compareWithList(t *trial, limit scsguard.Limit, n int) {
	round := 0
	sequences(listCalls, n, func(calls string) int {
		if calls[0] != 'l' {
			return 0 // without a login it says no more than a shorter one
		}
		round++
		shelves := [2]*shelf{{user: fmt.Sprintf("alice %d", round)}, {user: fmt.Sprintf("bob %d", round)}}
		for i, call := range calls {
			who := shelves[0]
			if call < 'a' {
				who, call = shelves[1], call-'A'+'a'
			}
			if call != 'l' && len(who.live) == 0 && (call != 'a' || len(who.overdue) == 0) {
				return i
			}
			if err := failureOf(func() { who.call(t, call, limit) }); err != nil {
				t.failf("after %q: %w", calls[:i+1], err)
			}
			for _, s := range shelves {
				if err := failureOf(func() { t.wantLive(s.user, s.live...) }); err != nil {
					t.failf("after %q, %s: %w", calls[:i+1], s.user, err)
				}
			}
		}
		return n
	})
}

// call makes one call of the registry and the same of the slice, and compares
// the answers.
func (s *shelf) call(t *trial, call rune, limit scsguard.Limit) {
	switch call {
	case 'l':
		s.login(t, limit)
	case 't':
		touched := t.touch(s.live[0].Key, scsguard.Activity{Event: true})
		s.live[0].Seq++
		if !touched.Live || touched.Seq != s.live[0].Seq {
			t.failf("Touch answers live %v and the number %d, not %d", touched.Live, touched.Seq, s.live[0].Seq)
		}
	case 'm':
		newest := &s.live[len(s.live)-1]
		moved := t.moved(*newest)
		newest.Seq++
		if moved.Seq != newest.Seq || moved.Session != newest.Session {
			t.failf("Move answers %s with the number %d, not %s with %d", short(moved.Session), moved.Seq, short(newest.Session), newest.Seq)
		}
		newest.Key = moved.Key
	case 'o':
		dead := t.ended(s.live[0], scsguard.EndUser)
		if dead.Session != s.live[0].Session || dead.Seq != s.live[0].Seq+1 {
			t.failf("End ends %s with the number %d, not %s with %d", short(dead.Session), dead.Seq, short(s.live[0].Session), s.live[0].Seq+1)
		}
		s.live = s.live[1:]
	case 'a':
		ended, total := t.endAll(scsguard.Revocation{User: s.user})
		if total != len(s.live) {
			t.failf("EndAll ends %d sessions, not %d", total, len(s.live))
		}
		t.wantSet("EndAll", ended, s.live...)
		s.live, s.overdue = nil, nil
	case 'x':
		t.touch(s.live[0].Key, scsguard.Activity{Absolute: ago(time.Second)})
		s.overdue, s.live = append(s.overdue, s.live[0]), s.live[1:]
	}
}

func (s *shelf) login(t *trial, limit scsguard.Limit) {
	adm := t.admit(t.admission(s.user, limit))
	t.wantSessions("Overdue", adm.Overdue, s.overdue...)
	s.overdue = nil
	if full := len(s.live) >= limit.Max; full && limit.OnExceed == scsguard.Deny {
		if adm.Denied != scsguard.DeniedLimit {
			t.failf("a login beyond the cap is not denied")
		}
		t.wantSessions("Others of a refusal", adm.Others, s.live...)
		return
	} else if adm.Denied != "" {
		t.failf("a login is denied (%s)", adm.Denied)
	} else if full {
		adm.Others = slices.Concat(s.live[:1], adm.Others)
	}
	t.wantSessions("Others, and the victim", adm.Others, s.live...)
	settled := t.settle(adm, true)
	if !settled.Live {
		t.failf("a login is %v after Settle", settled.Record.State)
	}
	if len(s.live) >= limit.Max {
		t.wantSessions("Ended", settled.Ended, s.live[0])
		s.live = s.live[1:]
	} else {
		t.wantSessions("Ended", settled.Ended)
	}
	s.live = append(s.live, settled.Record)
}

// The calls of an order of logins of one user.
//
//	1  ask for a place at a cap of one    2  at a cap of two
//	s  settle the older login that is open, as it succeeded    S  the newer
//	u  undo the older login that is open                       U  the newer
//	e  end the older one instead          o  the oldest live session ends
const openCalls = "12sSuUeo"

// keepsCap looks only at the promise that matters: never more sessions than the
// limit under which the last of those alive was admitted. Each sequence begins
// with one or two sessions.
func keepsCap(t *trial, n int) {
	round := 0
	for before := 1; before <= 2; before++ {
		sequences(openCalls, n, func(calls string) int {
			round++
			o := &opener{user: fmt.Sprintf("alice %d", round), caps: make(map[string]int)}
			for _, rec := range t.logins(before, o.user, noCap) {
				o.caps[rec.Session] = before
			}
			for i, call := range calls {
				if !o.call(t, call) {
					return i
				}
				list := t.list(o.user)
				if len(list) == 0 {
					return i // what follows is the same as after a fresh start
				}
				if most := o.caps[list[len(list)-1].Session]; len(list) > most {
					t.failf("with %d sessions, after %q %s live, the last of them admitted at a cap of %d", before, calls[:i+1], numbers(list), most)
				}
			}
			return n
		})
	}
}

// opener is a user with logins in progress.
type opener struct {
	user string
	open []scsguard.Admitted
	caps map[string]int // under which a session was admitted
}

// call makes one call, or reports that there is nothing to make it on.
func (o *opener) call(t *trial, call rune) bool {
	switch call {
	case '1', '2':
		if len(o.open) == 2 {
			return false
		}
		most := int(call - '0')
		adm := t.reserve(t.admission(o.user, evict(most)))
		o.open = append(o.open, adm)
		o.caps[adm.Record.Session] = most
		return true
	case 'o':
		list := t.list(o.user)
		if len(list) > 0 {
			t.ended(list[0], scsguard.EndUser)
		}
		return len(list) > 0
	}
	i := 0
	if newer := call == 'S' || call == 'U'; newer {
		i = 1
	}
	if i >= len(o.open) {
		return false
	}
	adm := o.open[i]
	o.open = slices.Delete(o.open, i, i+1)
	switch call {
	case 's', 'S':
		t.settle(adm, true)
	case 'u', 'U':
		t.settle(adm, false)
	case 'e':
		t.end(scsguard.Target{Key: adm.Record.Key}, ending(scsguard.EndAborted))
	}
	return true
}
