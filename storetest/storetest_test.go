package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"
)

// newStore returns scs's own store, without the goroutine that cleans it up.
func newStore() *memstore.MemStore { return memstore.NewWithCleanupInterval(0) }

func TestMemStore(t *testing.T) {
	Run(t, func(*testing.T) scs.Store { return newStore() })
}

func TestMemStoreInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, Check(t.Context(), func(context.Context) (scs.Store, error) { return newStore(), nil }))
	})
}

// A store that takes a context is called by no other method: some panic then.
func TestStoreWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, Check(t.Context(), openFaulty("")))
	})
}

func TestStoreThatCannotBeIterated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := func(context.Context) (scs.Store, error) { return struct{ scs.Store }{newStore()}, nil }
		require.NoError(t, Check(t.Context(), open))
	})
}

func TestCheckReportsThatNothingOpens(t *testing.T) {
	broken := errors.New("no connection")
	err := Check(t.Context(), func(context.Context) (scs.Store, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
	for _, c := range checks() {
		require.ErrorContains(t, err, c.name+": open: ")
	}
}

func TestBroken(t *testing.T) {
	caught := map[fault][]string{
		losesEveryOther:      {"what was committed is found"},
		mixesUp:              {"what was committed is found", "concurrent calls do not mix up sessions"},
		keepsTheFirst:        {"a commit replaces the one before"},
		failsOnUnknown:       {"what is unknown is not found, and that is no error"},
		findsTheUnknown:      {"what is unknown is not found, and that is no error"},
		failsToDeleteAgain:   {"what was deleted is not found, and deleting again is no error"},
		deletesNothing:       {"what was deleted is not found, and deleting again is no error", "an iteration yields what lives and nothing else"},
		deletesEverything:    {"what was deleted is not found, and deleting again is no error"},
		endsAtZero:           {"data may be any bytes"},
		trimsBlanks:          {"data may be any bytes"},
		repairsUTF8:          {"data may be any bytes"},
		cutsOff:              {"large data comes back whole or is refused"},
		refusesAPage:         {"large data comes back whole or is refused"},
		writesInPlace:        {"data that was handed over or found does not change later"},
		writesToTheArgument:  {"data that was handed over or found does not change later"},
		losesConcurrent:      {"concurrent calls do not mix up sessions"},
		writesInTwoHalves:    {"concurrent commits of one session leave one of them whole"},
		neverExpires:         {"what has expired is not found", "an iteration leaves out what has expired"},
		expiresAtOnce:        {"what has expired is not found"},
		keepsTheFirstExpiry:  {"a commit replaces the expiry of the one before"},
		yieldsNil:            {"an iteration yields what lives and nothing else"},
		yieldsTheExpired:     {"an iteration leaves out what has expired"},
		yieldsNotAll:         {"an iteration yields what lives and nothing else"},
		ignoresItsContext:    {"a call whose context is done returns an error"},
		swapsOverAnything:    {"a swap writes over what was expected and over nothing else"},
		swapsNever:           {"a swap writes over what was expected and over nothing else"},
		createsOverAll:       {"a swap takes nothing for nothing"},
		answersEmpty:         {"a swap takes nothing for nothing"},
		comparesLengths:      {"a swap compares every byte"},
		comparesTheStart:     {"a swap compares every byte"},
		comparesAnyCase:      {"a swap compares every byte"},
		swapsInTwoSteps:      {"of many swaps of one session none is lost"},
		returnsTheExpected:   {"a swap that was refused says what is stored now"},
		swapsInPlace:         {"a swap that was refused says what is stored now"},
		swapWritesToNew:      {"a swap writes over what was expected and over nothing else"},
		swapKeepsExpiry:      {"a swap replaces the expiry, and what has expired is nothing"},
		swapSeesTheExpired:   {"a swap replaces the expiry, and what has expired is nothing"},
		refusalExtends:       {"a refused swap leaves the expiry alone"},
		swapIgnoresContext:   {"a swap whose context is done returns an error and writes nothing"},
		manyAreTheFirst:      {"of many what was deleted is not found, and nothing else is gone"},
		manyAreAll:           {"of many what was deleted is not found, and nothing else is gone"},
		manyFailAgain:        {"of many what was deleted is not found, and nothing else is gone"},
		manyIgnoreTheContext: {"a deletion of many whose context is done returns an error"},
	}
	uncaught := make(map[string]bool)
	for _, c := range checks() {
		uncaught[c.name] = true
	}
	for f, names := range caught {
		t.Run(string(f), func(t *testing.T) {
			for _, c := range checks() {
				if !slices.Contains(names, c.name) {
					continue
				}
				delete(uncaught, c.name)
				synctest.Test(t, func(t *testing.T) {
					err := runAll(t.Context(), openFaulty(f), []check{c})
					require.ErrorContains(t, err, c.name+": ")
				})
			}
		})
	}
	require.Empty(t, uncaught, "a check that no fault fails may be one that cannot fail")
}

func openFaulty(f fault) func(context.Context) (scs.Store, error) {
	return func(context.Context) (scs.Store, error) { return newFaulty(f), nil }
}

func TestCheckReportsEveryFailureByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := Check(t.Context(), openFaulty(neverExpires))
		require.ErrorContains(t, err, "what has expired is not found: ")
		require.ErrorContains(t, err, "an iteration leaves out what has expired: ")
		require.NotContains(t, err.Error(), "data may be any bytes")
	})
}
