package registrytest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func openPlain(f fault) func(context.Context) (scsguard.Registry, error) {
	return func(context.Context) (scsguard.Registry, error) { return newPlain(f), nil }
}

// The suite would be worth nothing if it could be passed only by not looking.
func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, Check(t.Context(), openPlain("")))
		require.NoError(t, CheckExpiry(t.Context(), openPlain("")))
	})
}

// caught names, for each fault, the checks that must report it.
func caught() map[fault][]string {
	return map[fault][]string{
		failsOnUnknown: {"what is unknown is an answer and no error"},
		showsReserved:  {"a login in progress is unknown to readers"},
		showsUndone:    {"who reads beside a login that is undone sees nothing"},
		listsOverdue: {
			"a session whose limit is tightened is due when that limit has passed",
			"every short sequence of calls does what a list would do (deny at 1)",
			"every short sequence of calls does what a list would do (deny at 2)",
			"every short sequence of calls does what a list would do (deny at 3)",
		},
		mixesNamespaces: {
			"namespaces do not see each other's sessions",
			"ending all in one namespace does nothing to another",
		},
		makesNamespaces: {"two values of one namespace are the same registry"},
		foldsCase:       {"users with similar names are different users"},
		trimsBlanks:     {"users with similar names are different users"},
		repairsUTF8:     {"users with similar names are different users"},
		sharesWarnings:  {"arguments are not changed, and answers do not change later"},
		trustsNonsense:  {"a record that makes no sense lives for nobody"},
		admitsWithoutLock: {
			"of a hundred logins at once Deny lets in as many as the cap",
			"of a hundred logins at once EvictOldest leaves as many as the cap, and evicts the others",
		},
		reservesNothing: {"a place is taken from Admit on"},
		losesMarks: {
			"victims are alive until Settle",
			"EvictOldest ends the oldest and never the newest",
			"every short sequence of calls does what a list would do (evict at 1)",
			"every short sequence of calls does what a list would do (evict at 2)",
			"every short sequence of calls does what a list would do (evict at 3)",
		},
		endsAtAdmit:     {"victims are alive until Settle"},
		evictsOne:       {"a lower cap evicts as many as it takes"},
		evictsTheNewest: {"EvictOldest ends the oldest and never the newest"},
		ordersByCreated: {"the oldest is who was admitted first, whatever the clocks say"},
		ignoresReplaces: {"a login replaces the session of its browser and costs no place"},
		ignoresEnd:      {"the session that the user chose to end costs no place"},
		matchesNoBrowser: {
			"logins that came with the same token replace each other",
			"without a cap, and with Warn, everybody is let in",
			"of a hundred logins at once Warn lets in all",
		},
		discountsOverdue: {"overdue sessions are ended before they are discounted"},
		overdueHoldPlaces: {
			"overdue sessions are ended before they are discounted",
			"an abandoned login holds no place after its lease",
		},
		admitsAnyKey:        {"a login gets no key that has a record"},
		existsIsRevoked:     {"a login is told what lies under its key"},
		existsWithoutRecord: {"a login is told what lies under its key"},
		tombstonesExist:     {"a login is told what lies under its key"},
		lastLoginIsAnyTry:   {"a login is told of the login before it"},
		lastLoginGoesBack:   {"a login is told of the login before it"},
		limitBeforeKey:      {"a login is told what lies under its key"},
		reservedIsRevoked:   {"a login is told what lies under its key"},
		keepsAllWarnings:    {"the others are warned of a login once"},
		warnsForEver: {
			"the others are warned of a login once",
			"of several takers of warnings exactly one gets them",
		},
		forgetsNotBefore: {
			"a login authenticated before EndAll of the user is refused",
			"a login authenticated before EndAll of the external ID is refused",
			"a login authenticated before EndAll of everyone is refused",
		},
		trustsTheUnknown: {"a login authenticated before EndAll of the user is refused"},
		refusesEqual:     {"a login authenticated before EndAll of the user is refused"},
		settlesAgain: {
			"settling again changes nothing",
			"settling again does not end the victims of others",
		},
		settleRevives: {
			"a login that was ended before Settle never lives",
			"settling again changes nothing",
		},
		settlesByKey:  {"settling again does nothing to another login under the key"},
		undoesTheLive: {"settling again changes nothing"},
		keepsUndone:   {"giving a place back leaves everything as it was", "a hundred logins of which many fail leave neither a mark nor a place"},
		endsOwnVictimsOnly: {
			"every marked session is dead before a new one lives",
			"a login that another one has marked ends with its own Settle",
		},
		leavesMarksBehind:     {"a victim that moves is ended under its new key"},
		livesBeforeVictimsDie: {"a session and the one that takes its place are never alive together"},
		forgetsToUnmark: {
			"giving a place back leaves everything as it was",
			"a login that is ended before it lives unmarks its victims",
			"a login that nobody settles is undone after its lease",
		},
		handsNothingDown: {
			"who is marked himself hands his victims down when he gives up",
			"no order of logins, failures and endings exceeds the cap",
		},
		roomIsForgotten: {
			"the cap holds for a login admitted while others made room",
			"no order of logins, failures and endings exceeds the cap",
		},
		countsBeforeItEnds:  {"the victims of an abandoned login count again"},
		marksOnce:           {"who has to go for two logins goes if one of them fails"},
		chargesReplaced:     {"what a login replaces or its user chose ends whatever the limit, and evicts nobody else"},
		replacesAtTheCap:    {"what a login replaces or its user chose ends whatever the limit, and evicts nobody else"},
		refusalMarks:        {"a refusal by the limit marks nobody"},
		handsReasonDown:     {"a victim that was handed down ends as evicted"},
		noRoomEvicts:        {"without room EvictOldest ends the oldest, and Deny ends the login"},
		noRoomEndsTheNewest: {"without room EvictOldest ends the oldest, and Deny ends the login"},
		noRoomEndsTheLogin:  {"without room EvictOldest ends the oldest, and Deny ends the login"},
		noRoomIsEvicted:     {"without room EvictOldest ends the oldest, and Deny ends the login"},
		datesFromAdmission:  {"an ending has the time at which it happened"},
		touchRevives: {
			"Touch leaves what is not live as it is",
			"no touch is lost beside an End, and none comes after it",
		},
		refusesTheOverdue:     {"without an activity Touch works on an overdue session, and it never ends one"},
		touchEndsTheOverdue:   {"without an activity Touch works on an overdue session, and it never ends one"},
		touchResetsNoRole:     {"Touch changes the fields that it names and no other"},
		touchForgetsNoAuth:    {"Touch changes the fields that it names and no other"},
		touchKeepsFingerprint: {"Touch changes the fields that it names and no other"},
		touchKeepsMismatch:    {"Touch changes the fields that it names and no other"},
		touchKeepsExtra:       {"Touch changes the fields that it names and no other"},
		emptyExtraIsNone:      {"Touch changes the fields that it names and no other"},
		touchEmpties:          {"Touch changes the fields that it names and no other"},
		tellsNoMismatch:       {"of several who note the same mismatch exactly one is told that it was another before"},
		numbersWithoutLock:    {"no two events of a session have the same number"},
		countsNoExtension:     {"events are numbered and extensions counted"},
		countsLateActivity:    {"activity counts from its arrival, and not after the deadline"},
		movesBackwards:        {"activity moves forward only"},
		refusesOldActivity:    {"a request that arrived before the last activity is no reason to refuse"},
		loosens:               {"limits are tightened and never loosened"},
		queuesOnce: {
			"a session whose limit is tightened is due when that limit has passed",
			"a session whose limit is tightened is due at its new limit, and not before",
		},
		tightenedIsDueAtOnce: {"a session whose limit is tightened is due at its new limit, and not before"},
		touchTakesTheLease:   {"a Touch leaves what is due with who got it"},
		showsDetached:        {"a detached session is dead to every reader"},
		detachedIsAnybodys: {
			"only who has detached a session moves it",
			"of two who detach a session at once exactly one does",
		},
		detachFollows:       {"a detached session is dead to every reader"},
		renewsNoLease:       {"a detached session is due when its lease is over"},
		detachedIsLost:      {"End ends a detached session"},
		detachFreesPlace:    {"a detached session keeps its place"},
		movesWithoutLock:    {"of two moves of the same key exactly one wins"},
		touchesBetween:      {"no touch is lost beside a move"},
		movesTheFirstRecord: {"what others recorded before the move is kept"},
		moveResets:          {"what a rotation leaves zero stays as it was"},
		movesAnywhere:       {"nothing moves to a key that has a record or a tombstone"},
		movesToTheEnd: {
			"the oldest is who was admitted first, whatever the clocks say",
			"a session that moves goes on under its new key",
		},
		rolesStay:             {"a rotation changes what it names"},
		moveKeepsMismatch:     {"a move with a fingerprint forgets the mismatch, and one without keeps both"},
		moveClearsMismatch:    {"a move with a fingerprint forgets the mismatch, and one without keeps both"},
		loginAALStays:         {"only a full authentication counts as a login"},
		staysRemembered:       {"only a full authentication counts as a login"},
		everyProofIsFull:      {"only a full authentication counts as a login"},
		deadlineSinceTheMove:  {"a new absolute deadline counts from the authentication, or else from the move"},
		deadlineSinceTheLogin: {"a new absolute deadline counts from the authentication, or else from the move"},
		revivesTheOver:        {"a session past its absolute deadline gets no new one"},
		endsTwice:             {"what has ended is not ended again"},
		endsWithoutLock: {
			"of several callers exactly one ends a session",
			"a session that moves beside an End is dead under both keys",
			"a login undone beside an End of its key leaves a tombstone",
		},
		doesNotFollow: {
			"End follows a session to its present key",
			"what has ended or moved does not move",
			"a session that is detached or comes back beside an End is dead",
		},
		endsAnybodys: {"nobody ends another user's session by its name"},
		buriesNothing: {
			"an unknown key gets a tombstone",
			"a login beside an End of its key never lives",
		},
		buriesForAnybody: {"an unknown key gets a tombstone", "a session that has lost its record ends once, and stays dead"},
		buriesTheLost: {
			"a session that has lost its record ends once, and stays dead",
			"the ending of a lost session is handed out until it is confirmed, and a tombstone is not",
		},
		buriesWithoutLock:   {"of several who miss the record of a session exactly one ends it"},
		losesTheName:        {"a session that has lost its record ends once, and stays dead"},
		forgetsReplacedAt:   {"a key that a login has replaced says when"},
		replacesOnlyTheDead: {"a key that a login has replaced says when"},
		forgetsTheRequest:   {"an ended session is dead at once and says why", "EvictOldest ends the oldest and never the newest"},
		exactFollows:        {"Exact ends only what is live under this very key"},
		endsTheTouched: {
			"IfDue ends only what is overdue",
			"a session that was touched survives IfDue",
		},
		leaksPlaces: {
			"an ended session is dead at once and says why",
			"Deny refuses the login beyond the cap and lists who fills it",
		},
		numbersNoEnding: {
			"an ended session is dead at once and says why",
			"a record keeps every field it was admitted with",
		},
		missesReserved: {
			"a login in progress at EndAll of the user never lives",
			"a login in progress at EndAll of the external ID never lives",
			"a login in progress at EndAll of everyone never lives",
		},
		exceptsNobody: {
			"EndAll ends the sessions of a user but for the exception",
			"EndAll ends the sessions under an external ID, whoever has them",
			"EndAll ends the sessions of everyone but for the exception",
		},
		listsBeforeNotBefore: {
			"no login authenticated before EndAll lives, however close",
			"a session that moves beside EndAll is dead under every key",
		},
		revokesTheOverdue:  {"what is overdue is no victim of EndAll but ends by its limit"},
		returnsAll:         {"of many sessions EndAll returns a thousand, and Due the others at once"},
		leasesTheRest:      {"of many sessions EndAll returns a thousand, and Due the others at once"},
		losesBefore:        {"EndAll says since when logins of the user were refused"},
		beforeIsNow:        {"EndAll says since when logins of the user were refused"},
		everyoneIsNobody:   {"EndAll says since when logins of the user were refused"},
		watchesNothing:     {"a Watcher sends every ending and closes its channel in the end"},
		watchesForEver:     {"a Watcher sends every ending and closes its channel in the end"},
		losesEndings:       {"an ending is handed out after a lease, unless it is confirmed"},
		losesConfirmations: {"an ending is handed out after a lease, unless it is confirmed"},
		confirmsTheLiving:  {"confirming the living, the unknown, or again does nothing"},
		batchEndsAll: {
			"EndDue ends of many sessions those that are overdue, and tells which",
			"EndDue leaves alone what IfDue leaves alone",
		},
		batchBuries:    {"EndDue leaves alone what IfDue leaves alone"},
		batchEndsFirst: {"EndDue ends of many sessions those that are overdue, and tells which"},
		batchTellsAll: {
			"EndDue ends of many sessions those that are overdue, and tells which",
			"of callers of EndDue and End exactly one ends a session",
		},
		batchLosesKeep:    {"EndDue ends of many sessions those that are overdue, and tells which"},
		batchKeepsPlaces:  {"a session that EndDue has ended holds no place"},
		batchWithoutLease: {"what EndDue has ended is handed out after a lease, unless it is confirmed"},
		batchLosesEndings: {"what EndDue has ended is handed out after a lease, unless it is confirmed"},
		batchConfirmsFirst: {
			"what EndDue has ended is handed out after a lease, unless it is confirmed",
			"ConfirmAll confirms what has ended, and nothing else",
			"what changes beside ConfirmAll is confirmed all the same",
		},
		batchConfirmsLiving: {"ConfirmAll confirms what has ended, and nothing else"},
		confirmDrops:        {"a confirmed ending leaves its tombstone"},
		handsOutTwice:       {"what is due is handed out to one caller at a time"},
		endsWithoutLease:    {"who is told of an ending has the first lease to write it down"},
		tombstonesAreDue:    {"the ending of a lost session is handed out until it is confirmed, and a tombstone is not"},
		handsOutOnce:        {"what is overdue is handed out again after a lease"},
		handsOutTooMany:     {"Due hands out no more than asked for"},
		handsOutTheLiving: {
			"nothing is due that lives within its limits or is done with",
			"a session that was touched since its deadline is not due",
			"a detached session is due when its lease is over",
		},
		keepsForEver: {
			"a tombstone outlives its session's deadline, and is forgotten",
			"an old key is forgotten after its session's deadline",
			"an ending that nobody confirms is forgotten after its retention",
			"in the end nothing is left",
		},
		forgetsUnconfirmed: {"an ending that nobody confirms has a tombstone for as long as it says"},
		remembersUsers:     {"what is known of a user is forgotten"},
		forgetsTombstones:  {"a tombstone outlives its session's deadline, and is forgotten"},
		forgetsExternals:   {"that an external ID was ended is remembered for a while, and forgotten"},
		forgetsTheLiving:   {"nothing of a session is forgotten while it lives"},
	}
}

// everyCheck returns the checks of Check and CheckExpiry.
func everyCheck() []check { return append(checks(), expiryChecks()...) }

// Each check has a registry of its own, so it is enough to run those that must
// fail: what else fails is of no interest, and TestPlain says that nothing does
// without a fault.
func TestBroken(t *testing.T) {
	for f, names := range caught() {
		t.Run(string(f), func(t *testing.T) {
			for _, c := range everyCheck() {
				if !slices.Contains(names, c.name) {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					err := runAll(t.Context(), openPlain(f), []check{c})
					require.ErrorContains(t, err, c.name+": ")
				})
			}
		})
	}
}

// A check that no fault fails may be one that cannot fail.
func TestEveryCheckCatchesSomething(t *testing.T) {
	uncaught := make(map[string]bool)
	for _, c := range everyCheck() {
		require.NotContains(t, uncaught, c.name, "two checks have this name")
		uncaught[c.name] = true
	}
	for f, names := range caught() {
		for _, name := range names {
			require.Contains(t, uncaught, name, "%q names no check", f)
		}
	}
	for _, names := range caught() {
		for _, name := range names {
			delete(uncaught, name)
		}
	}
	require.Empty(t, uncaught)
}

func TestCheckReportsEveryFailureByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := Check(t.Context(), openPlain(losesMarks))
		for _, name := range caught()[losesMarks] {
			require.ErrorContains(t, err, name+": ")
		}
		require.NotContains(t, err.Error(), "an unknown key gets a tombstone")
	})
}

func TestCheckReportsWhatIsNoAnswer(t *testing.T) {
	broken := errors.New("no connection")
	open := func(context.Context) (scsguard.Registry, error) { return nil, broken }
	err := Check(t.Context(), open)
	require.ErrorIs(t, err, broken)
	for _, c := range checks() {
		require.ErrorContains(t, err, c.name+": open: ")
	}

	panics := func(context.Context) (scsguard.Registry, error) { return &panicking{newPlain("")}, nil }
	err = runAll(t.Context(), panics, readingChecks()[:1])
	require.ErrorContains(t, err, "what is unknown is an answer and no error: panic: out of order")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = runAll(ctx, openPlain(""), abandonedChecks())
	require.ErrorIs(t, err, context.Canceled)
}

type panicking struct{ scsguard.Registry }

func (*panicking) Get(context.Context, scsguard.Key) (scsguard.Record, error) { panic("out of order") }

func TestCheckAsksForLeaks(t *testing.T) {
	open := func(context.Context) (scsguard.Registry, error) { return &leaking{newPlain("")}, nil }
	err := runAll(t.Context(), open, endChecks()[:1])
	require.ErrorContains(t, err, "an ended session is dead at once and says why: afterwards the registry keeps something for ever: user alice")
}

type leaking struct{ scsguard.Registry }

func (*leaking) CheckLeak(context.Context) error { return errors.New("user alice") }
