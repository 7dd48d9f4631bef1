package model

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// One row is a rule forgotten, the scenario that notices, and the promise that
// is the first to break there.
var forgotten = []struct {
	name     string
	without  Without
	scenario string
	breaks   Promise
}{
	// Login.
	{"a due entry that comes last leaves a ghost after a crash", Without{DueFirst: true},
		"three logins, cap 1, the oldest evicted", Index},
	{"reservations that do not count let everybody in", Without{ReservationsCount: true},
		"three logins, cap 2, denied, a place without data", Cap},
	{"victims that count evict twice", Without{VictimsDoNotCount: true},
		"three logins, cap 2, the oldest evicted", Index},
	{"without a not-before, a login comes in after the list was made", Without{NotBefore: true},
		"end all, a login before it and one after it, evicting", Gone},
	{"a login that ends its own victims only joins those of a slower one", Without{EveryVictim: true},
		"three logins, cap 1, the oldest evicted", Cap},
	{"a record created before its victims are dead is one too many", Without{VictimsFirst: true},
		"three logins, cap 1, the oldest evicted", Cap},
	{"a record created over a tombstone is alive after its end", Without{CreateIfAbsent: true},
		"three logins, cap 1, the oldest evicted", Gone},
	{"a record created over a tombstone is alive after EndAll", Without{CreateIfAbsent: true},
		"end all, a login before it and one after it, evicting", Gone},
	{"a failed append that was kept after all is a login without an ending", Without{FailedIsOver: true},
		"three logins, cap 1, the oldest evicted", OneEnding},
	{"data looked for before the record is missing because it is not yet there", Without{LookFirst: true},
		"two logins, cap 1, denied, leases lost", Cause},
	{"data missing under the old key lies under the new one", Without{SameKey: true},
		"a login is denied while the key of the place moves", Cause},

	// Ending.
	{"without a tombstone, a victim begins to live and has no place", Without{Tombstone: true},
		"three logins, cap 1, the oldest evicted", Index},
	{"without a tombstone, a login begins to live after EndAll", Without{Tombstone: true},
		"end all, evicting, leases lost", Gone},
	{"two callers end the same session", Without{Compare: true},
		"two moves, two ends, a reader", OneEnding},
	{"an ending confirmed before it is written is never written", Without{AppendFirst: true},
		"a login, an end, a touch, the limit, three sweeps", OneEnding},
	{"an ending repeated under another ID is a second one", Without{EndingID: true},
		"a login, an end, a touch, the limit, three sweeps", OneEnding},
	{"a victim whose ending is written with the login still lives", Without{DeadFirst: true},
		"three logins, cap 1, the oldest evicted", OneEnding},
	{"a mark that outlives its login leaves a session alive and uncounted", Without{Unmark: true},
		"three logins, cap 1, the oldest evicted", Index},
	{"a login that fails and is itself a victim must not spare its own", Without{HandDown: true},
		"three logins, cap 1, the oldest evicted", Cap},
	{"a login that is buried and is itself a victim must not spare its own", Without{HandDown: true},
		"two logins, cap 1, the oldest evicted, leases lost", Cap},
	{"a login that EndAll does not list comes to life after it", Without{ListReserved: true},
		"end all, evicting, leases lost", Gone},
	{"an EndAll that crashed is never completed", Without{Intent: true},
		"end all, evicting, leases lost", Gone},
	{"a login swept without a tombstone begins to live without a place", Without{TerminalFirst: true},
		"a login, an end, a touch, the limit, three sweeps", Index},
	{"a login buried before it reserved leaves a ghost", Without{CloseLate: true},
		"two logins, cap 1, denied, leases lost", Index},
	{"an ending nobody confirmed is never written", Without{SweepEnded: true},
		"a touch, the limit, an end, a login that evicts", OneEnding},
	{"a session detached before a crash never ends", Without{SweepDetached: true},
		"an application renews or destroys, a move, an end", OneEnding},
	{"a sweep that does not ask ends a session that was touched", Without{AskDue: true},
		"a touch, the limit, an end, a login that evicts", Cause},

	// Rotation.
	{"a new record that is not pending is alive beside the old one", Without{Pending: true},
		"two moves, two ends, a reader", Cap},
	{"a record promoted too early is alive beside the old one", Without{AskParent: true},
		"two moves, two ends, a reader", Cap},
	{"two moves that both win leave two keys", Without{MoveCompares: true},
		"two moves, two ends, a reader", Cap},
	{"a move revives what an application has destroyed", Without{DetachedBy: true},
		"an application renews or destroys, a move, an end", Gone},
	{"a touch that writes the whole record revives it", Without{TouchFields: true},
		"a login, an end, a touch, the limit, three sweeps", Gone},
}

func TestEachRuleForgottenBreaksAPromise(t *testing.T) {
	for _, row := range forgotten {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			sc, ok := scenarios[row.scenario]
			require.True(t, ok, "no scenario %q", row.scenario)
			sc.Without = row.without
			states, violation := Search(sc)
			require.NotNil(t, violation, "%d states, and nobody noticed", states)
			require.NotEmpty(t, violation.Trace)
			require.Equal(t, row.breaks, violation.Promise, violation.Error())
			t.Logf("%d states, then %v", states, violation)
		})
	}
}

func TestEveryRuleIsForgottenOnce(t *testing.T) {
	rules := reflect.TypeFor[Without]()
	for i := range rules.NumField() {
		found := false
		for _, row := range forgotten {
			found = found || reflect.ValueOf(row.without).Field(i).Bool()
		}
		require.True(t, found, "no row forgets %s", rules.Field(i).Name)
	}
}
