package registrytest

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/scsguard/scsguard"
)

// Many logins of one user at once, through two values of the registry, with
// somebody who looks at what lives meanwhile.

func crowdChecks() []check {
	return []check{
		{name: "of a hundred logins at once Deny lets in as many as the cap", run: crowdDenied},
		{name: "of a hundred logins at once EvictOldest leaves as many as the cap, and evicts the others", run: crowdEvicts},
		{name: "a session and the one that takes its place are never alive together", run: takeTurns},
		{name: "of a hundred logins at once Warn lets in all", run: crowdWarned},
		{name: "a hundred logins of which many fail leave neither a mark nor a place", run: crowdFails},
	}
}

const (
	crowdSize = 100
	crowdCap  = 3
)

// observed runs f while it looks at the user's live sessions, and demands that
// there were never more than most.
//
// List may read one session after the other. So a sample counts who was in two
// lists in a row: what is dead does not come back, so all of those were alive
// at the moment between the two.
func (t *trial) observed(user string, most int, f func()) {
	done := make(chan struct{})
	var looking sync.WaitGroup
	var err error
	looking.Go(func() {
		err = failureOf(func() {
			before := make(map[string]bool)
			for n := 1; ; n++ {
				now := make(map[string]bool)
				both := 0
				for _, rec := range t.list(user) {
					now[rec.Session] = true
					if before[rec.Session] {
						both++
					}
				}
				if both > most {
					t.failf("%d sessions live at a cap of %d", both, most)
				}
				before = now
				select {
				case <-done:
					return
				default:
					runtime.Gosched()
				}
				if n%1000 == 0 {
					t.wait(time.Nanosecond) // in a bubble, time stands still as long as somebody works
				}
			}
		})
	})
	crowd := failureOf(f)
	close(done)
	looking.Wait()
	for _, err := range []error{err, crowd} {
		if err != nil {
			panic(failure{err})
		}
	}
}

func crowdDenied(t *trial) {
	both := t.twice()
	live := make([]bool, crowdSize)
	both[1].observed("alice", crowdCap, func() {
		t.crowd(crowdSize, func(i int) {
			r := both[i%2]
			adm := r.admit(r.admission("alice", deny(crowdCap)))
			switch {
			case adm.Denied == "":
				if s := r.settle(adm, true); !s.Live || len(s.Ended) > 0 {
					t.failf("an admitted login is %v (%s), and ended %s", s.Record.State, s.Record.Ending.Reason, numbers(s.Ended))
				}
				live[i] = true
			case adm.Denied != scsguard.DeniedLimit:
				t.failf("a login is denied as %s", adm.Denied)
			case len(adm.Others) != crowdCap:
				t.failf("a login is denied although %d places of %d are taken", len(adm.Others), crowdCap)
			}
		})
	})
	admitted := 0
	for _, ok := range live {
		if ok {
			admitted++
		}
	}
	if list := both[0].list("alice"); admitted != crowdCap || len(list) != crowdCap {
		t.failf("%d of %d logins were let in and %d live, at a cap of %d", admitted, crowdSize, len(list), crowdCap)
	}
}

func crowdEvicts(t *trial) {
	t.evictAtOnce("alice", crowdSize, crowdCap)
	// In a large crowd a later login may make good what two have spoilt. So there
	// are small ones, too.
	for i := range 25 {
		t.evictAtOnce(fmt.Sprintf("user %d", i), 4, 1)
	}
}

// evictAtOnce logs the user in n times at once.
func (t *trial) evictAtOnce(user string, n, most int) {
	both := t.twice()
	settled := make([]scsguard.Settled, n)
	both[1].observed(user, most, func() {
		t.crowd(n, func(i int) {
			r := both[i%2]
			settled[i] = r.settle(r.reserve(r.admission(user, evict(most))), true)
		})
	})
	evicted := make(map[string]int)
	for _, s := range settled {
		for _, rec := range s.Ended {
			evicted[rec.Session]++
			if evicted[rec.Session] > 1 || rec.Ending.Reason != scsguard.EndEvicted {
				t.failf("the session %s was ended %d times, as %s", short(rec.Session), evicted[rec.Session], rec.Ending.Reason)
			}
		}
	}
	list := both[0].list(user)
	if len(evicted) != n-most || len(list) != most {
		t.failf("of %d logins at a cap of %d there were %d evicted and %d live", n, most, len(evicted), len(list))
	}
	for _, rec := range list {
		if evicted[rec.Session] > 0 {
			t.failf("the session %s was evicted and is live", short(rec.Session))
		}
	}
	for _, s := range settled {
		// Whoever was told that he is alive may have been evicted since; whoever
		// was told that he is not never was.
		if !s.Live && evicted[s.Record.Session] == 0 {
			t.failf("the login %s is %v, but nobody has evicted it", short(s.Record.Session), s.Record.State)
		}
	}
}

// takeTurns has one login after the other, and somebody who looks all the time.
func takeTurns(t *trial) {
	both := t.twice()
	both[1].observed("alice", 1, func() {
		for range 50 {
			both[0].login("alice", evict(1))
		}
	})
}

func crowdWarned(t *trial) {
	both := t.twice()
	t.crowd(crowdSize, func(i int) {
		r := both[i%2]
		if s := r.complete(r.admission("alice", warn(crowdCap))); len(s.Ended) > 0 {
			t.failf("a login that only warns ends %s", numbers(s.Ended))
		}
	})
	if list := both[0].list("alice"); len(list) != crowdSize {
		t.failf("%d of %d logins live", len(list), crowdSize)
	}
}

// crowdFails has logins that succeed, fail before anybody learned of them, are
// ended on their way, or end right after.
func crowdFails(t *trial) {
	both := t.twice()
	both[1].observed("alice", crowdCap, func() {
		t.crowd(crowdSize, func(i int) {
			r := both[i%2]
			adm := r.reserve(r.admission("alice", evict(crowdCap)))
			switch i % 5 {
			case 0:
				r.settle(adm, false)
			case 1:
				r.end(scsguard.Target{Key: adm.Record.Key}, ending(scsguard.EndAborted))
				r.settle(adm, true)
			case 2:
				r.settle(adm, true)
				r.end(scsguard.Target{User: "alice", Session: adm.Record.Session}, ending(scsguard.EndUser))
			default:
				r.settle(adm, true)
			}
		})
	})
	t.crowd(crowdCap, func(i int) { both[i%2].settle(both[i%2].reserve(t.admission("alice", evict(crowdCap))), false) })
	live := both[0].list("alice")
	if len(live) > crowdCap {
		t.failf("%d sessions live at a cap of %d", len(live), crowdCap)
	}
	s := both[0].complete(both[0].admission("alice", noCap)) // were anybody still marked, this would end him
	t.wantSessions("Ended by a login without a cap", s.Ended)
	for _, rec := range append(live, s.Record) {
		both[0].ended(rec, scsguard.EndUser)
	}
	both[0].logins(crowdCap, "alice", deny(crowdCap))
	if both[1].admit(both[1].admission("alice", deny(crowdCap))).Denied != scsguard.DeniedLimit {
		t.failf("after all this the cap lets one too many in")
	}
}
