package investigate

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// from changes the address of an event.
func from(ip, event string) string {
	return strings.Replace(event, `"ip":"192.0.2.1"`, fmt.Sprintf(`"ip":%q`, ip), 1)
}

func (h *hand) concurrent(trail *Trail, q ConcurrentQuery) ([]Pair, Answer) {
	h.t.Helper()
	q.User = "alice"
	pairs, a, err := trail.Concurrent(context.Background(), q)
	require.NoError(h.t, err)
	return pairs, a
}

func TestTwoSessionsAtTheSameTimeAreFound(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.login("S", 0), h.login("T", 5), h.logout("S", 2, 10), h.logout("T", 2, 12), h.login("U", 12), h.logout("U", 2, 14)).trail()
	pairs, a := h.concurrent(trail, ConcurrentQuery{})
	require.Equal(t, Yes, a.Verdict)
	require.Len(t, pairs, 1)
	require.Equal(t, []time.Time{at(5), at(10)}, []time.Time{pairs[0].From, pairs[0].To})
	require.Len(t, a.Rests, 4)
	_, a = h.concurrent(trail, ConcurrentQuery{From: at(10), To: at(13)})
	require.NotEqual(t, Yes, a.Verdict, "not in that window")
}

// A login that takes the place of another session is recorded a moment before it.
func TestASessionAndItsSuccessorAreNotConcurrent(t *testing.T) {
	h := newHand(t)
	replaced := strings.Replace(h.logout("S", 2, 5.001), `"reason":"user"`, `"reason":"replaced","details":{"detail":"T"}`, 1)
	trail := h.write(h.login("S", 0), h.login("T", 5), replaced, h.logout("T", 2, 12)).trail()
	pairs, _ := h.concurrent(trail, ConcurrentQuery{})
	require.Empty(t, pairs)
}

// The name of a successor is a text in a record. That one began long before the
// other ended is a fact.
func TestASessionThatLivedOnBesideItsSuccessorWasConcurrent(t *testing.T) {
	h := newHand(t)
	late := strings.Replace(h.logout("S", 2, 9), `"reason":"user"`, `"reason":"replaced","details":{"detail":"T"}`, 1)
	trail := h.write(h.login("S", 0), h.login("T", 5), late, h.logout("T", 2, 12)).trail()
	pairs, a := h.concurrent(trail, ConcurrentQuery{})
	require.Len(t, pairs, 1)
	require.Equal(t, Yes, a.Verdict)
}

func TestAQuestionAboutTooManyEventsIsRefused(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.login("S", 0), h.extend("S", 2, 1, "activity"), h.extend("S", 3, 2, "activity"), h.login("T", 3)).trail()
	defer func(n int) { maxEvents = n }(maxEvents)
	maxEvents = 3
	ctx := context.Background()
	_, _, err := trail.ActiveOf(ctx, "alice", at(1))
	require.ErrorContains(t, err, "more than 3 events")
	_, _, err = trail.Timeline(ctx, TimelineQuery{Activity: true})
	require.ErrorContains(t, err, "more than 3 events")
	_, err = trail.Active(ctx, "S", at(1))
	require.NoError(t, err)
	_, _, err = trail.Sessions(ctx, Filter{})
	require.NoError(t, err)
}

// A daily review of a trail that ended days ago is not good news.
func TestAReviewOfAPeriodThatTheTrailDoesNotReachIsNotInOrder(t *testing.T) {
	h := newHand(t)
	h.append(h.stream(), h.login("S", 0), h.logout("S", 2, 10))
	crashed := *h
	crashed.dir = filepath.Join(memoryDir(t), "copy") // without its lock
	require.NoError(t, os.CopyFS(crashed.dir, os.DirFS(h.dir)))
	tomorrow := time.Now().Add(24 * time.Hour)
	list, a, err := crashed.trail().Review(context.Background(), ReviewQuery{From: tomorrow.Add(-time.Hour), To: tomorrow, Required: []scsguard.EventKind{}})
	require.NoError(t, err)
	require.Equal(t, No, a.Verdict)
	require.Len(t, list, 1)
	require.Equal(t, "end", list[0].Kind)
}

// Whoever tries names makes as many records as he likes.
func TestAReviewOfAnAttackIsBounded(t *testing.T) {
	r := &reviewer{failures: make(map[string]*Exception), counts: make(map[string]int), lastSeen: make(map[scsguard.EventKind]time.Time), sessions: make(map[string]*Session)}
	for i := range maxFailing + 500 {
		r.see(&Event{Kind: scsguard.EventLoginFailed, Time: at(1), User: fmt.Sprint(i), Outcome: "failure"})
		r.see(&Event{Kind: scsguard.EventLoginFailed, Time: at(1), User: "0", Outcome: "failure"})
		r.see(&Event{Kind: scsguard.EventTokenReuse, Time: at(1), User: fmt.Sprint(i), Outcome: "failure"})
	}
	require.LessOrEqual(t, len(r.failures), maxFailing+1)
	require.Len(t, r.failures["0"].Refs, maxFailures)
	require.Equal(t, maxFailing+501, r.counts["0"])
	require.Equal(t, 500, r.counts[fmt.Sprintf("any of more than %d users", maxFailing)])
	require.Len(t, r.list, maxExceptions)
	require.Equal(t, maxFailing+500, r.more)
}

func TestAnAddressIsUnusualIfItsNetworkWasNotSeenOfTheUser(t *testing.T) {
	h := newHand(t)
	h.write(h.login("A", -2000), h.logout("A", 2, -1990), from("192.0.2.77", h.login("S", 0)), from("203.0.113.9", h.login("T", 5)),
		h.logout("S", 2, 10), h.logout("T", 2, 12))
	pairs, a := h.concurrent(h.trail(), ConcurrentQuery{UnusualOnly: true})
	require.Equal(t, Yes, a.Verdict)
	require.Empty(t, pairs[0].UnusualA, "the last octet may differ")
	require.Contains(t, pairs[0].UnusualB, "203.0.113.0/24")
	// The window and the size of a network are the investigator's choice.
	pairs, _ = h.concurrent(h.trail(), ConcurrentQuery{Rule: Rule{Within: time.Hour}})
	require.NotEmpty(t, pairs[0].UnusualA, "it was seen longer ago")
	pairs, _ = h.concurrent(h.trail(), ConcurrentQuery{Rule: Rule{V4: 32}})
	require.NotEmpty(t, pairs[0].UnusualA)
	// Whoever knows places may decide by them.
	pairs, _ = h.concurrent(h.trail(), ConcurrentQuery{Rule: Rule{Locator: everywhere("Berlin")}})
	require.False(t, pairs[0].Unusual())
}

type everywhere string

func (e everywhere) Locate(netip.Addr) (string, bool) { return string(e), true }

// Requests of the session in question say nothing about where the user usually is.
func TestASessionDoesNotMakeItsOwnAddressUsual(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.login("S", 0), from("203.0.113.9", h.login("T", 5)), from("203.0.113.9", h.ev("transfer", "T", 2, 6)),
		h.logout("S", 2, 10), h.logout("T", 3, 12)).trail()
	pairs, _ := h.concurrent(trail, ConcurrentQuery{})
	require.NotEmpty(t, pairs[0].UnusualB)
}

func (h *hand) extensions(trail *Trail, session string) ([]Movement, Answer) {
	h.t.Helper()
	moves, a, err := trail.Extensions(context.Background(), session, Rule{})
	require.NoError(h.t, err)
	return moves, a
}

func TestExtensionsThatShouldNotHaveBeenAreFlagged(t *testing.T) {
	request := `"reason":"request"`
	for name, c := range map[string]struct {
		flag   string
		events func(h *hand) []string
	}{
		"the absolute deadline without a re-authentication": {"without a re-authentication", func(h *hand) []string {
			return []string{h.ev("extend", "S", 2, 5, request, limits(20, 500), oldLimits(15, 480))}
		}},
		"reauth in the reason and nowhere else": {"without a re-authentication", func(h *hand) []string {
			return []string{h.ev("extend", "S", 2, 5, `"reason":"reauth"`, limits(20, 500), oldLimits(15, 480))}
		}},
		"past the absolute deadline": {"past the absolute deadline", func(h *hand) []string {
			return []string{h.ev("extend", "S", 2, 481, request, limits(500, 480), oldLimits(485, 480))}
		}},
		"past the idle deadline": {"past the idle deadline", func(h *hand) []string {
			return []string{h.ev("extend", "S", 2, 16, request, limits(31, 480), oldLimits(15, 480))}
		}},
		"from another network": {"from 203.0.113.0/24", func(h *hand) []string {
			return []string{from("203.0.113.9", h.ev("extend", "S", 2, 5, request, limits(20, 480), oldLimits(15, 480)))}
		}},
		"with an old deadline that never was": {"it says that", func(h *hand) []string {
			return []string{h.ev("extend", "S", 2, 5, request, limits(20, 480), oldLimits(15, 490))}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHand(t)
			trail := h.write(append([]string{h.login("S", 0)}, append(c.events(h), h.logout("S", 3, 482))...)...).trail()
			moves, a := h.extensions(trail, "S")
			require.Equal(t, Yes, a.Verdict)
			require.Len(t, moves, 2)
			require.Contains(t, strings.Join(moves[1].Flags, "; "), c.flag)
			require.Equal(t, []Ref{moves[1].Ref}, a.Rests)
		})
	}
}

func TestProperExtensionsAreNotFlagged(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.login("S", 0),
		h.ev("extend", "S", 2, 5, `"reason":"request"`, limits(20, 480), oldLimits(15, 480)),
		from("203.0.113.9", h.ev("reauth", "S", 3, 10, `"auth_methods":["pwd"]`)),
		from("203.0.113.9", h.ev("extend", "S", 4, 10, `"reason":"reauth"`, limits(25, 490), oldLimits(20, 480))),

		from("203.0.113.8", h.ev("extend", "S", 5, 12, `"reason":"activity"`, limits(27, 490), oldLimits(25, 490))),
		h.logout("S", 6, 14)).trail()
	moves, a := h.extensions(trail, "S")
	require.Equal(t, No, a.Verdict, a.Why)
	require.Len(t, moves, 5-1)
	require.True(t, moves[3].Activity())
}

func TestExtensionsAreUnknownIfAnEventIsMissing(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.login("S", 0), h.logout("S", 3, 14)).trail()
	_, a := h.extensions(trail, "S")
	require.Equal(t, Unknown, a.Verdict)
}

func TestATransactionIsAskedForItsSessionAndTheOthers(t *testing.T) {
	h := newHand(t)
	h.write(h.login("S", 0), h.login("T", 5), h.ev("transfer", "S", 2, 7, `"transaction":"X1"`), h.ev("transfer", "S", 3, 8, `"transaction":"X2"`),
		h.ev("transfer", "S", 3, 8.1, `"transaction":"X2"`, `"outcome":"failure"`, fmt.Sprintf(`"details":{"retracts":"E%d"}`, h.n)), h.logout("S", 4, 10), h.logout("T", 2, 12))
	trail := h.trail()
	list, a, err := trail.Transaction(context.Background(), "X1")
	require.NoError(t, err)
	require.Equal(t, Yes, a.Verdict)
	require.Equal(t, "S", list[0].History.ID)
	require.Len(t, list[0].Others, 1)
	require.Equal(t, "T", list[0].Others[0].ID)
	_, a, err = trail.Transaction(context.Background(), "X2")
	require.NoError(t, err)
	require.Equal(t, No, a.Verdict)
	require.Contains(t, a.Why, "retracted")
	_, a, err = trail.Transaction(context.Background(), "X3")
	require.NoError(t, err)
	require.Equal(t, No, a.Verdict)
}

// PCI DSS 4.0.1 10.4.1, 10.4.1.1: the daily review is automated. Each kind of
// exception is planted once, and each is named; of a clean trail it says nothing.
func TestPCI_10_4_1_AReviewNamesEachPlantedException(t *testing.T) {
	h := newHand(t)
	clean := []string{h.login("S", 0), h.ev("concurrent_warning", "S", 2, 0), h.extend("S", 3, 5, "request"), h.logout("S", 4, 10),
		h.login("T", 20), strings.Replace(strings.Replace(h.logout("T", 2, 40), "logout", "timeout", 1), `"reason":"user"`, `"reason":"idle"`, 1)}
	h.write(clean...)
	review := func(trail *Trail) ([]string, Answer) {
		list, a, err := trail.Review(context.Background(), ReviewQuery{From: at(-60), To: at(21 * 60)})
		require.NoError(t, err)
		var kinds []string
		for _, x := range list {
			kinds = append(kinds, x.Kind)
			require.NotEmpty(t, x.Detail, x.Kind)
		}
		slices.Sort(kinds)
		return slices.Compact(kinds), a
	}
	kinds, a := review(h.trail())
	require.Empty(t, kinds)
	require.Equal(t, 0, a.ExitCode())

	failed := `"outcome":"failure"`
	planted := []string{
		h.ev("login_denied", "", 0, 50, failed, `"reason":"limit"`), h.ev("token_reuse", "S", 0, 51, failed), h.ev("fingerprint_mismatch", "S", 0, 52, failed), h.ev("duplicate_cookie", "S", 0, 52, failed),
		h.ev("config_changed", "", 0, 53), h.ev("audit.degraded", "", 0, 53, failed), h.ev("revoke", "", 0, 54, `"details":{"whose":"everyone","count":"9"}`),
		h.ev("login_failed", "", 0, 55, failed), h.ev("login_failed", "", 0, 56, failed, `"details":{"count":"8"}`),
		h.ev("audit.gap", "", 0, 57, failed, `"details":{"from":"`+stamp(at(56))+`","to":"`+stamp(at(57))+`","lost.extend":"1"}`),
		h.login("U", 60), h.ev("extend", "U", 2, 62, `"reason":"request"`, limits(70, 600), oldLimits(70, 540)), h.ev("transfer", "U", 4, 61),
		h.login("V", 70), h.ev("transfer", "V", 2, 600), h.logout("V", 3, 601),
		h.login("W", 80), h.ev("login", "W", 1, 80, failed, fmt.Sprintf(`"details":{"retracts":"E%d"}`, h.n)),
	}
	kinds, a = review(h.write(planted...).trail())
	require.Equal(t, 1, a.ExitCode())
	require.Equal(t, []string{"audit.degraded", "config_changed", "deadline moved", "duplicate_cookie", "fingerprint_mismatch", "gap", "login_denied", "login_failed",
		"no ending", "past its limit", "retracted", "revoke everyone", "sequence", "token_reuse"}, kinds)

	other := newHand(t)
	list, _, err := other.write(other.login("S", 0), other.logout("S", 2, 5)).trail().Review(context.Background(), ReviewQuery{From: at(-60), To: at(60)})
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Contains(t, []string{list[0].Detail, list[1].Detail, list[2].Detail}, "2 of 5 required event types; timeout: never seen")
	list, _, err = other.trail().Review(context.Background(), ReviewQuery{From: at(-60), To: at(60), Required: []scsguard.EventKind{}})
	require.NoError(t, err)
	require.Empty(t, list)
}

// AU-7(1): reading does not change what is read, nor its order in time.
func TestAU_7_EventsAreTheSealedBytesInTheirOrder(t *testing.T) {
	h := newHand(t)
	events := []string{h.login("S", 0), h.extend("S", 2, 5, "request"), h.logout("S", 3, 10)}
	trail := h.write(events...).trail()
	var got []string
	require.NoError(t, trail.Events(context.Background(), func(e *Event) error {
		if !e.Own {
			got = append(got, string(e.Raw))
		}
		return nil
	}))
	require.Equal(t, events, got)
}

// The details of an application's event are the application's, and what is in them may
// be a visitor's: the name of an ending can be guessed, for it is that of the session.
func TestOnlyTheGuardTakesAnEventBack(t *testing.T) {
	for name, more := range map[string][]string{
		"an event that succeeded":  {`"details":{"retracts":"S/end"}`},
		"an event of another kind": {`"outcome":"failure"`, `"details":{"retracts":"S/end"}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHand(t)
			trail := h.write(h.login("S", 0), h.ev("transfer", "S", 2, 1, more...), h.logout("S", 3, 5), h.login("T", 50), h.logout("T", 2, 51)).trail()
			require.Equal(t, No, h.alive(trail, "S", 6).Verdict)
			list, _, err := trail.Sessions(context.Background(), Filter{Session: "S"})
			require.NoError(t, err)
			require.Equal(t, "logout (user)", list[0].State)
			require.Zero(t, list[0].Missing)
		})
	}
	t.Run("an extension by an event of another kind", func(t *testing.T) {
		h := newHand(t)
		extension := h.extend("S", 2, 5, "request")
		back := h.ev("transfer", "S", 3, 6, `"outcome":"failure"`, limits(20, 480), oldLimits(7, 480), fmt.Sprintf(`"details":{"retracts":"E%d"}`, h.n))
		trail := h.write(h.login("S", 0), extension, back, h.login("T", 50), h.logout("T", 2, 51)).trail()
		require.Equal(t, Yes, h.alive(trail, "S", 15).Verdict, "until 20, not until 7")
		list, _, err := trail.Sessions(context.Background(), Filter{Session: "S"})
		require.NoError(t, err)
		require.Equal(t, at(20), list[0].IdleExpires)
		moves, _, err := trail.Extensions(context.Background(), "S", Rule{})
		require.NoError(t, err)
		require.False(t, moves[1].Retracted)
	})
	t.Run("a transaction by one that succeeded", func(t *testing.T) {
		h := newHand(t)
		transfer := h.ev("transfer", "S", 2, 1, `"transaction":"X"`)
		other := h.ev("transfer", "S", 3, 2, fmt.Sprintf(`"transaction":"X","details":{"retracts":"E%d"}`, h.n))
		trail := h.write(h.login("S", 0), transfer, other, h.logout("S", 4, 5)).trail()
		list, a, err := trail.Transaction(context.Background(), "X")
		require.NoError(t, err)
		require.Equal(t, Yes, a.Verdict)
		require.Len(t, list, 2)
		require.False(t, list[0].Retracted)
	})
	t.Run("an ending, under its own kind", func(t *testing.T) {
		h := newHand(t)
		trail := h.write(h.login("S", 0), h.logout("S", 2, 5), h.ev("logout", "S", 3, 6, `"outcome":"failure"`, `"details":{"retracts":"S/end"}`)).trail()
		require.Equal(t, No, h.alive(trail, "S", 6).Verdict)
	})
}

// Of two events with one ID and different sessions neither is a repetition: else one
// that somebody has given the ID of another could hide it.
func TestAnEventOfAnotherSessionIsNoRepetition(t *testing.T) {
	h := newHand(t)
	other := strings.Replace(h.ev("transfer", "T", 2, 1, `"user":"bob"`), `"user":"alice",`, "", 1)
	other = strings.Replace(other, fmt.Sprintf(`"id":"E%d"`, h.n), `"id":"S/end"`, 1)
	trail := h.write(h.login("S", 0), h.login("T", 0), other, h.logout("S", 2, 5), h.logout("T", 3, 6)).trail()
	list, _, err := trail.Sessions(context.Background(), Filter{})
	require.NoError(t, err)
	require.Equal(t, []string{"logout (user)", "logout (user)"}, []string{list[0].State, list[1].State})
	require.Zero(t, list[0].Missing+list[1].Missing)
}

// Nobody ever had a session whose login was retracted. If the trail says that somebody
// has used it, it contradicts itself, and nothing follows from that.
func TestARetractedLoginOfASessionThatWasUsedIsADoubt(t *testing.T) {
	h := newHand(t)
	login := h.login("S", 0)
	back := h.ev("login", "S", 1, 0.1, `"outcome":"failure"`, fmt.Sprintf(`"details":{"retracts":"E%d"}`, h.n))
	trail := h.write(login, back, h.extend("S", 2, 5, "request"), h.login("T", 50), h.logout("T", 2, 51)).trail()
	require.Equal(t, Unknown, h.alive(trail, "S", 6).Verdict)
	h = newHand(t)
	trail = h.write(login, back, h.login("T", 50), h.logout("T", 2, 51)).trail()
	require.Equal(t, No, h.alive(trail, "S", 6).Verdict)
}
