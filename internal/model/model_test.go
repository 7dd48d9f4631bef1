package model

import (
	"os"
	"testing"
)

// The scenarios are as small as they can be while all of them together still
// notice every rule that is taken out. With a sweep that finds every lease over,
// two logins are enough; the third comes in where there is none.
var scenarios = map[string]Scenario{
	"three logins, cap 1, the oldest evicted": {
		Cap: 1, Live: 1, LoginsFail: true,
		Processes: []Process{Login(1), Login(2), Login(3)},
	},
	"three logins, cap 2, the oldest evicted": {
		Cap: 2, Live: 1,
		Processes: []Process{Login(1), Login(2), Login(3)},
	},
	"two logins, cap 1, the oldest evicted, leases lost": {
		Cap: 1, Live: 1, LoginsFail: true,
		Processes: []Process{Login(1), Login(2)}, Sweeps: 1,
	},
	"two logins, cap 2, the oldest evicted, leases lost": {
		Cap: 2, Live: 2, LoginsFail: true,
		Processes: []Process{Login(2), Login(3)}, Sweeps: 1,
	},
	"three logins, cap 2, denied, a place without data": {
		Cap: 2, Live: 1, Deny: true, DataGone: true, LoginsFail: true,
		Processes: []Process{Login(1), Login(2), Login(3)},
	},
	"two logins, cap 1, denied, leases lost": {
		Cap: 1, Live: 1, Deny: true, DataGone: true, LoginsFail: true,
		Processes: []Process{Login(1), Login(2)}, Sweeps: 1,
	},
	"a login is denied while the key of the place moves": {
		Cap: 1, Live: 1, Deny: true,
		Processes: []Process{Login(1), Move(0, 2), Detach(0, 3)}, Sweeps: 1,
	},
	"end all, a login before it and one after it, evicting": {
		Cap: 1, Live: 1, Late: []int{2}, LoginsFail: true,
		Processes: []Process{Login(1), Login(2), EndAll()},
	},
	"end all, a login before it and one after it, denied": {
		Cap: 1, Live: 1, Late: []int{2}, Deny: true,
		Processes: []Process{Login(1), Login(2), EndAll()}, Sweeps: 1,
	},
	"end all, evicting, leases lost": {
		Cap: 1, Live: 1, LoginsFail: true,
		Processes: []Process{Login(1), EndAll()}, Sweeps: 1,
	},
	"two moves, two ends, a reader": {
		Cap: 1, Live: 1,
		Processes: []Process{Move(0, 1), Move(0, 2), Reader(1), End(0), End(0)}, Sweeps: 2,
	},
	"a move, end all, a login that evicts": {
		Cap: 1, Live: 1,
		Processes: []Process{Move(0, 2), Reader(2), Login(1), EndAll()}, Sweeps: 1,
	},
	"two moves, end all": {
		Cap: 1, Live: 1,
		Processes: []Process{Move(0, 1), Move(0, 2), Reader(1), EndAll()}, Sweeps: 1,
	},
	"an application renews or destroys, a move, an end": {
		Cap: 1, Live: 1,
		Processes: []Process{Detach(0, 1), Move(0, 2), End(0), Touch(0)}, Sweeps: 2,
	},
	"two applications renew or destroy": {
		Cap: 1, Live: 1,
		Processes: []Process{Detach(0, 1), Detach(0, 2), EndAll()}, Sweeps: 1,
	},
	"an application renews or destroys, a move, a login that evicts": {
		Cap: 1, Live: 1,
		Processes: []Process{Detach(0, 2), Move(0, 3), Login(1)}, Sweeps: 1,
	},
	"a login, an end, a touch, the limit, three sweeps": {
		Cap:       1,
		Processes: []Process{Login(0), End(0), Touch(0), Limit(0)}, Sweeps: 3,
	},
	"a touch, the limit, an end, a login that evicts": {
		Cap: 1, Live: 1,
		Processes: []Process{Login(1), End(0), Touch(0), Limit(0)}, Sweeps: 1,
	},
}

// longer takes three minutes and four gigabytes. It is for those who change the
// protocol: SCSGUARD_MODEL=long.
var longer = map[string]Scenario{
	"three logins, cap 1, the oldest evicted, leases lost": {
		Cap: 1, LoginsFail: true,
		Processes: []Process{Login(0), Login(1), Login(2)}, Sweeps: 1,
	},
	"three logins, cap 2, the oldest evicted, which may fail": {
		Cap: 2, Live: 1, LoginsFail: true,
		Processes: []Process{Login(1), Login(2), Login(3)},
	},
	"three logins, cap 2, the oldest evicted, leases lost": {
		Cap: 2, Live: 1,
		Processes: []Process{Login(1), Login(2), Login(3)}, Sweeps: 1,
	},
	"two logins, cap 1, the oldest evicted, leases lost twice": {
		Cap: 1, Live: 1, LoginsFail: true,
		Processes: []Process{Login(1), Login(2)}, Sweeps: 2,
	},
	"end all, a login before it and one after it, evicting, leases lost": {
		Cap: 1, Live: 1, Late: []int{2},
		Processes: []Process{Login(1), Login(2), EndAll()}, Sweeps: 1,
	},
	"an application renews or destroys, end all, a login that evicts": {
		Cap: 1, Live: 1,
		Processes: []Process{Detach(0, 2), Login(1), EndAll()}, Sweeps: 1,
	},
	"a touch, the limit, an end, a login that evicts, two sweeps": {
		Cap: 1, Live: 1,
		Processes: []Process{Login(1), End(0), Touch(0), Limit(0)}, Sweeps: 2,
	},
}

func TestEveryPromiseHoldsInEveryState(t *testing.T) {
	for name, sc := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			holds(t, sc)
		})
	}
}

func TestEveryPromiseHoldsInLongerScenarios(t *testing.T) {
	if os.Getenv("SCSGUARD_MODEL") != "long" {
		t.Skip("set SCSGUARD_MODEL=long")
	}
	for name, sc := range longer {
		t.Run(name, func(t *testing.T) { holds(t, sc) })
	}
}

func holds(t *testing.T, sc Scenario) {
	states, violation := Search(sc)
	t.Logf("%d states", states)
	if violation != nil {
		t.Fatal(violation)
	}
}
