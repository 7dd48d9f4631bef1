package registrytest

import (
	"fmt"
	"time"

	"github.com/scsguard/scsguard"
)

// Two calls about one session at the same time. Whatever comes first, what was
// ended is dead afterwards.

func raceChecks() []check {
	return []check{
		{name: "a login beside an End of its key never lives", run: loginBesideEnd},
		{name: "who reads beside a login that is undone sees nothing", run: getBesideUndone},
		{name: "a login undone beside an End of its key leaves a tombstone", run: undoneBesideEnd},
		{name: "a session that moves beside an End is dead under both keys", run: moveBesideEnd},
		{name: "no touch is lost beside an End, and none comes after it", run: touchBesideEnd},
		{name: "of two who detach a session at once exactly one does", run: detachBesideDetach},
		{name: "a session that is detached or comes back beside an End is dead", run: detachBesideEnd},
		{name: "no login authenticated before EndAll lives, however close", run: loginsBesideEndAll},
		{name: "a session that moves beside EndAll is dead under every key", run: moveBesideEndAll},
	}
}

const raceRounds = 300

func loginBesideEnd(t *trial) {
	both := t.twice()
	for range raceRounds {
		a := t.admission("alice", noCap)
		t.atOnce(
			func() {
				if adm := both[0].admit(a); adm.Denied == "" {
					both[0].settle(adm, true)
				}
			},
			func() { both[1].end(scsguard.Target{Key: a.Record.Key}, ending(scsguard.EndAborted)) },
		)
		both[0].wantState(a.Record, scsguard.StateEnded)
		both[1].wantLive("alice")
	}
}

// getBesideUndone: what is unknown has no fields, not even for a moment.
func getBesideUndone(t *trial) {
	both := t.twice()
	for range raceRounds {
		adm := both[0].reserve(t.admission("alice", noCap))
		read := func() {
			for range 10 {
				if rec := both[1].get(adm.Record.Key); rec.State != scsguard.StateUnknown || rec.Session != "" || rec.User != "" || !rec.Created.IsZero() {
					t.failf("while a login is undone Get answers %v, with the session %s of %q, and not the zero Record", rec.State, short(rec.Session), rec.User)
				}
			}
		}
		t.atOnce(read, read, func() { both[0].settle(adm, false) })
	}
}

func undoneBesideEnd(t *trial) {
	both := t.twice()
	for range raceRounds {
		adm := both[0].reserve(t.admission("alice", deny(1)))
		t.atOnce(
			func() { both[0].settle(adm, false) },
			func() { both[1].end(scsguard.Target{Key: adm.Record.Key}, ending(scsguard.EndAborted)) },
		)
		both[0].wantState(adm.Record, scsguard.StateEnded)
	}
}

func moveBesideEnd(t *trial) {
	both := t.twice()
	for range raceRounds {
		rec := both[0].login("alice", noCap)
		var ended [2]bool
		to := t.key()
		t.atOnce(
			func() { both[0].move(rec.Key, scsguard.Rotation{To: to, At: time.Now(), Grace: time.Minute}) },
			func() { _, ended[0] = both[1].end(scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser)) },
			func() {
				_, ended[1] = both[1].end(scsguard.Target{User: "alice", Session: rec.Session}, ending(scsguard.EndUser))
			},
		)
		if ended[0] == ended[1] {
			t.failf("of two who end a session that moves, these were told that they did: %v", ended)
		}
		for _, key := range []scsguard.Key{rec.Key, to} {
			if state := both[0].get(key).State; state == scsguard.StateLive {
				t.failf("a session that was ended while it moved lives")
			}
		}
		both[0].wantLive("alice")
	}
}

func touchBesideEnd(t *trial) {
	both := t.twice()
	for range raceRounds / 6 {
		rec := both[0].login("alice", noCap)
		const n = 6
		live := make([]bool, n)
		var dead scsguard.Record
		t.crowd(n+1, func(i int) {
			if i == n {
				dead, _ = both[0].end(scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser))
				return
			}
			live[i] = both[i%2].touch(rec.Key, scsguard.Activity{Event: true, At: time.Now()}).Live
		})
		want := rec.Seq + 1
		for _, ok := range live {
			if ok {
				want++
			}
		}
		if dead.Seq != want {
			t.failf("beside an End %d touches were said to be recorded, but the ending has the number %d", want-rec.Seq-1, dead.Seq)
		}
		t.wantRecord("Get", both[1].get(rec.Key), dead)
	}
}

func detachBesideDetach(t *trial) {
	both := t.twice()
	for range raceRounds / 6 {
		rec := both[0].login("alice", noCap)
		var got [4]bool
		t.crowd(len(got), func(i int) {
			_, got[i] = both[i%2].detach(rec.Key, fmt.Sprintf("request %d", i), time.Minute)
		})
		n := 0
		for _, ok := range got {
			if ok {
				n++
			}
		}
		if n != 1 {
			t.failf("%d of %d have detached the same session", n, len(got))
		}
		both[0].ended(rec, scsguard.EndDestroyed)
	}
}

func detachBesideEnd(t *trial) {
	both := t.twice()
	for range raceRounds / 3 {
		rec, to := both[0].login("alice", noCap), t.key()
		var ended bool
		end := func() { _, ended = both[1].end(scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser)) }
		t.atOnce(end, func() { both[0].detach(rec.Key, owner, time.Minute) })
		if both[0].wantState(rec, scsguard.StateEnded); !ended {
			t.failf("an End beside a Detach says that it ended nothing")
		}
		rec = both[0].login("alice", noCap)
		both[0].detached(rec, owner, time.Minute)
		t.atOnce(end, func() { both[0].move(rec.Key, scsguard.Rotation{To: to, Owner: owner, At: time.Now()}) })
		if !ended || both[0].get(rec.Key).State == scsguard.StateDetached || both[0].get(to).State == scsguard.StateLive {
			t.failf("an End beside the return of a detached session (ended %v) leaves it %v and %v under its new key",
				ended, both[0].get(rec.Key).State, both[0].get(to).State)
		}
		both[1].wantLive("alice")
	}
}

func loginsBesideEndAll(t *trial) {
	for i, r := range []scsguard.Revocation{{User: "alice"}, {External: "sid 1"}, {Everyone: true}} {
		for round := range 20 {
			namespace := fmt.Sprintf("%d %d", i, round)
			both := [2]*trial{t.in(namespace), t.in(namespace)}
			for range 3 { // a registry learns from its answers how far its clock is from the caller's
				both[0].list("alice")
				both[1].list("alice")
			}
			authenticated, total, lived := ago(tick), 0, make([]bool, 21)
			t.crowd(len(lived), func(i int) {
				if i == len(lived)/2 {
					_, total = both[0].endAll(r)
					return
				}
				reg := both[i%2]
				if adm := reg.admit(reg.concerned(authenticated)); adm.Denied == "" {
					lived[i] = reg.settle(adm, true).Live
				}
			})
			n := 0
			for _, ok := range lived {
				if ok {
					n++
				}
			}
			if list := both[0].list("alice"); len(list) > 0 || total < n {
				t.failf("of %d logins beside EndAll (%s) it ended %d, %d have lived, and %s live", len(lived)-1, naming(r), total, n, numbers(list))
			}
		}
	}
}

func moveBesideEndAll(t *trial) {
	both := t.twice()
	for _, r := range []scsguard.Revocation{{User: "alice"}, {External: "sid 1"}, {Everyone: true}} {
		for range raceRounds / 2 {
			rec := both[0].complete(t.concerned(time.Now().Add(tick))).Record // after the EndAll before
			total, moves := 0, 0
			t.atOnce(
				func() { // on and on, so that EndAll meets it in the middle of a step
					for won, now := true, rec; won && moves < 50; moves++ {
						won, now = both[0].move(now.Key, scsguard.Rotation{To: t.key(), At: time.Now(), Grace: time.Minute})
					}
				},
				func() {
					for range 3 {
						dawdle()
					}
					_, total = both[1].endAll(r)
				},
			)
			if list := both[0].list("alice"); len(list) > 0 || total != 1 {
				t.failf("EndAll (%s) beside a move says that it ended %d sessions, and %s live", naming(r), total, numbers(list))
			}
		}
	}
}

// naming says what a revocation ends.
func naming(r scsguard.Revocation) string {
	switch {
	case r.Everyone:
		return "of everyone"
	case r.External != "":
		return "of an external ID"
	}
	return "of a user"
}
