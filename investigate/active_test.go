package investigate

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/auditlog"
)

func TestASessionIsAliveFromItsFirstMomentAndNotAtItsLast(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.login("S", 0), h.logout("S", 2, 10)).trail()
	for minute, want := range map[float64]Verdict{-1: No, 0: Yes, 5: Yes, 9.99: Yes, 10: No, 600: No} {
		require.Equal(t, want, h.alive(trail, "S", minute).Verdict, "minute %v", minute)
	}
	a := h.alive(trail, "S", 5)
	require.Len(t, a.Rests, 2, "the login and the logout")
	require.EqualValues(t, 1, a.Rests[0].Seq)
}

// Somebody ends a session whose idle deadline has passed: it was over at the
// deadline, whoever came later.
func TestAnEndingThatCameLateDoesNotProlongASession(t *testing.T) {
	h := newHand(t)
	late := strings.Replace(h.ev("logout", "S", 2, 40, `"reason":"admin"`, limits(15, 480)), `"id":"E1"`, `"id":"S/end"`, 1)
	trail := h.write(h.login("S", 0), late).trail()
	require.Equal(t, Yes, h.alive(trail, "S", 14).Verdict)
	require.Equal(t, No, h.alive(trail, "S", 15).Verdict)
	require.Equal(t, No, h.alive(trail, "S", 39).Verdict)
}

func TestAMissingNumberMakesTheTimeAroundItUnknown(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.login("S", 0), h.extend("S", 2, 5, "request"), h.extend("S", 4, 12, "request"), h.logout("S", 5, 20)).trail()
	require.Equal(t, Yes, h.alive(trail, "S", 3).Verdict)
	a := h.alive(trail, "S", 8)
	require.Equal(t, Unknown, a.Verdict)
	require.Equal(t, 3, a.ExitCode())
	require.Contains(t, a.Why, "event 3 of the session is missing")
	require.Equal(t, Yes, h.alive(trail, "S", 15).Verdict)
	require.Equal(t, No, h.alive(trail, "S", 25).Verdict, "what is missing cannot have brought it back")
}

func TestAGapMakesItsTimeUnknown(t *testing.T) {
	h := newHand(t)
	gap := `{"id":"G","time":` + quoted(9) + `,"event":"audit.gap","outcome":"failure","details":{"from":"` + stamp(at(4)) + `","to":"` + stamp(at(8)) + `","lost.extend":"3"}}`
	trail := h.write(h.login("S", 0), gap, h.logout("S", 2, 12)).trail()
	require.Equal(t, Yes, h.alive(trail, "S", 3).Verdict)
	a := h.alive(trail, "S", 6)
	require.Equal(t, Unknown, a.Verdict)
	require.Contains(t, a.Why, "3 extend")
	require.Equal(t, Yes, h.alive(trail, "S", 10).Verdict)
}

func TestTheLogsOwnGapCountsToo(t *testing.T) {
	h := newHand(t)
	log := h.stream()
	h.append(log, h.login("S", 0))
	log.ReportGap(auditlog.Gap{From: at(4), To: at(8), Counts: map[string]int64{"logout": 1}})
	h.append(log, h.logout("S", 2, 12))
	require.NoError(t, log.Close())
	require.Equal(t, Unknown, h.alive(h.trail(), "S", 6).Verdict)
	require.Equal(t, Yes, h.alive(h.trail(), "S", 3).Verdict)
}

func TestWhatAStreamThatIsStillWrittenWillSayIsUnknown(t *testing.T) {
	h := newHand(t)
	log := h.stream()
	now := float64(20 * 60) // the seals are of now
	h.append(log, h.login("S", now-5))
	trail := h.trail()
	require.Equal(t, Yes, h.alive(trail, "S", now-4).Verdict)
	a := h.alive(trail, "S", now+8)
	require.Equal(t, Unknown, a.Verdict)
	require.Equal(t, DoubtLive, a.Doubts[0].Kind)
}

func TestAfterACrashNobodyKnows(t *testing.T) {
	h := newHand(t)
	now := float64(20 * 60)
	h.append(h.stream(), h.login("S", now-5), h.login("T", now-600), h.logout("T", 2, now-590))
	crashed := *h
	crashed.dir = filepath.Join(memoryDir(t), "copy") // without its lock
	require.NoError(t, os.CopyFS(crashed.dir, os.DirFS(h.dir)))
	trail := crashed.trail()
	require.Equal(t, auditlog.StateUnclosed, trail.Reports[0].Streams[0].State)
	require.Equal(t, Yes, h.alive(trail, "S", now-4).Verdict)
	require.Equal(t, Unknown, h.alive(trail, "S", now+1).Verdict)
	require.Equal(t, Unknown, h.alive(trail, "S", now+700).Verdict, "it may have been used after the last thing we know of it")
	require.Equal(t, No, h.alive(trail, "T", now+1).Verdict)
	list, _, err := trail.Sessions(context.Background(), Filter{})
	require.NoError(t, err)
	require.Equal(t, []string{"logout (user)", "crash"}, []string{list[0].State, list[1].State})
}

func TestALoginThatWasRetractedNeverWas(t *testing.T) {
	h := newHand(t)
	login := h.login("S", 0)
	trail := h.write(login, h.ev("login", "S", 1, 0.1, `"outcome":"failure"`, `"details":{"retracts":"E1"}`)).trail()
	a := h.alive(trail, "S", 1)
	require.Equal(t, No, a.Verdict)
	require.Contains(t, a.Why, "retracted")
}

func TestAnExtensionThatWasRetractedMovedNothing(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.login("S", 0), h.extend("S", 2, 10, "request"),
		h.ev("extend", "S", 2, 10.1, `"outcome":"failure"`, limits(25, 480), oldLimits(15, 480), `"details":{"retracts":"E2"}`)).trail()
	require.Equal(t, Yes, h.alive(trail, "S", 14).Verdict)
	require.Equal(t, No, h.alive(trail, "S", 20).Verdict)
	list, _, err := trail.Sessions(context.Background(), Filter{})
	require.NoError(t, err)
	require.Equal(t, at(15), list[0].IdleExpires)
}

func TestASessionThatWasEnrolledIsUnknownBefore(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.ev("enroll", "S", 1, 60, limits(75, 480), `"created":`+quoted(0)), h.logout("S", 2, 70)).trail()
	require.Equal(t, Unknown, h.alive(trail, "S", 30).Verdict)
	require.Equal(t, Yes, h.alive(trail, "S", 65).Verdict)
}

func TestASessionWithoutItsLoginIsUnknownBeforeItsFirstEvent(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.extend("S", 3, 10, "request"), h.logout("S", 4, 20)).trail()
	require.Equal(t, Unknown, h.alive(trail, "S", 5).Verdict)
	require.Equal(t, No, h.alive(trail, "S", 20).Verdict)
}

// Two hosts wrote of one session, and their clocks differ by three minutes.
func TestTheOrderIsThatOfTheNumbersAndTheClocksAreToldApart(t *testing.T) {
	h := newHand(t)
	one, two := h.stream(), h.stream()
	h.append(one, h.login("S", 10))
	h.append(two, h.ev("extend", "S", 2, 7, `"reason":"request"`, limits(25, 490), oldLimits(25, 490)))
	h.append(one, h.logout("S", 3, 20))
	require.NoError(t, one.Close())
	require.NoError(t, two.Close())
	trail := h.trail()
	list, _, err := trail.Sessions(context.Background(), Filter{})
	require.NoError(t, err)
	require.Equal(t, "3m0s", list[0].ClockDifference.String())
	events, _, err := trail.Timeline(context.Background(), TimelineQuery{Session: "S"})
	require.NoError(t, err)
	var order []uint64
	for _, e := range events {
		order = append(order, e.SessionSeq)
	}
	require.Equal(t, []uint64{1, 2, 3}, order)
	require.Equal(t, Unknown, h.alive(trail, "S", 18).Verdict, "within three minutes of its end")
	require.Equal(t, Yes, h.alive(trail, "S", 15).Verdict)
	require.Equal(t, No, h.alive(trail, "S", 24).Verdict)
}

func TestAnEventThatWasWrittenTwiceCountsOnce(t *testing.T) {
	h := newHand(t)
	login, logout := h.login("S", 0), h.logout("S", 2, 10)
	h.write(login, logout)
	trail := h.write(login, logout).trail()
	list, _, err := trail.Sessions(context.Background(), Filter{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, 2, list[0].Events)
	events, _, err := trail.Timeline(context.Background(), TimelineQuery{})
	require.NoError(t, err)
	require.Len(t, events, 2)
}

func TestWithoutAnAnchorNothingIsAnswered(t *testing.T) {
	h := newHand(t)
	h.write(h.login("S", 0), h.logout("S", 2, 10))
	other := auditlog.FileAnchor(t.TempDir())
	wrong := func(o *auditlog.VerifyOptions, _ *Options) { o.Anchors = []auditlog.Anchor{other} }
	no := func(o *auditlog.VerifyOptions, _ *Options) { o.Anchors = nil }
	require.Equal(t, Unknown, h.alive(h.trail(wrong), "S", 5).Verdict, "an anchor that knows nothing of it is none")
	for _, minute := range []float64{5, 15} {
		require.Equal(t, Unknown, h.alive(h.trail(no), "S", minute).Verdict)
	}
	allow := func(_ *auditlog.VerifyOptions, o *Options) { o.AllowUnanchored = true }
	require.Equal(t, Yes, h.alive(h.trail(no, allow), "S", 5).Verdict)
	require.Equal(t, No, h.alive(h.trail(no, allow), "S", 15).Verdict)
}

func TestTamperingIsCodeTwoWhereTheAnswerRestsOnIt(t *testing.T) {
	h := newHand(t)
	h.write(h.login("S", 0), h.logout("S", 2, 10), h.login("T", 600), h.ev("transfer", "T", 2, 605), h.logout("T", 3, 610))
	files, err := filepath.Glob(filepath.Join(h.dir, "*", "*.log"))
	require.NoError(t, err)
	b, err := os.ReadFile(files[0])
	require.NoError(t, err)
	changed := bytes.Replace(b, []byte(`"event":"transfer"`), []byte(`"event":"trahsfer"`), 1)
	require.NotEqual(t, b, changed)
	require.NoError(t, os.WriteFile(files[0], changed, 0o600))
	trail := h.trail()
	a := h.alive(trail, "T", 1300)
	require.Equal(t, Unknown, a.Verdict)
	require.Equal(t, 2, a.ExitCode())
	a = h.alive(trail, "S", 15)
	require.Equal(t, No, a.Verdict, "it had ended before, and what says so is sealed")
	_, sum, err := trail.Sessions(context.Background(), Filter{})
	require.NoError(t, err)
	require.Equal(t, 2, sum.ExitCode(), "what was changed may hide sessions")
}

func TestAStreamThatIsGoneMakesWhatFollowsUnknown(t *testing.T) {
	h := newHand(t)
	now := float64(20 * 60)
	h.write(h.login("S", now-100), h.logout("S", 2, now-90))
	first, err := filepath.Glob(filepath.Join(h.dir, "*"))
	require.NoError(t, err)
	h.write(h.login("T", now-1))
	list, err := filepath.Glob(filepath.Join(h.dir, "*"))
	require.NoError(t, err)
	list = slices.DeleteFunc(list, func(dir string) bool { return slices.Contains(first, dir) })
	require.Len(t, list, 1)
	require.NoError(t, os.RemoveAll(list[0]))
	a := h.alive(h.trail(), "T", now+2)
	require.Equal(t, Unknown, a.Verdict)
	require.Equal(t, 2, a.ExitCode())
}

func TestAUserIsAskedAboutAllHisSessions(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.login("S", 0), h.login("T", 5), h.logout("S", 2, 10), h.logout("T", 2, 12)).trail()
	a, lives, err := trail.ActiveOf(context.Background(), "alice", at(6))
	require.NoError(t, err)
	require.Equal(t, Yes, a.Verdict)
	require.Len(t, lives, 2)
	a, lives, err = trail.ActiveOf(context.Background(), "alice", at(11))
	require.NoError(t, err)
	require.Equal(t, Yes, a.Verdict)
	require.Equal(t, "T", lives[0].ID)
	a, _, err = trail.ActiveOf(context.Background(), "bob", at(11))
	require.NoError(t, err)
	require.NotEqual(t, Yes, a.Verdict)
}

// What a process knew when it died may be lost: that it ended a session, or that
// somebody used it. Only an event of a later time says that it lived on.
func TestWhatACrashMayHaveHiddenStaysUnknown(t *testing.T) {
	h := newHand(t)
	d := &doubts{doubtList: doubtList{[]Doubt{{Kind: DoubtCrash, From: at(2), To: at(4)}}}, first: at(-60), last: at(600)}
	history := func(lines ...string) *History {
		var events []Event
		for _, line := range lines {
			events = append(events, Parse(&auditlog.Record{Event: []byte(line)}))
		}
		return newHistory("S", events)
	}
	alone := history(h.login("S", 0))
	require.Equal(t, Yes, d.active(alone, at(1)).Verdict)
	for _, minute := range []float64{3, 10, 100} {
		require.Equal(t, Unknown, d.active(alone, at(minute)).Verdict, "minute %v", minute)
	}
	used := history(h.login("S", 0), h.extend("S", 2, 6, "activity"))
	require.Equal(t, Unknown, d.active(used, at(3)).Verdict)
	require.Equal(t, Yes, d.active(used, at(5)).Verdict)
	require.Equal(t, Yes, d.active(used, at(10)).Verdict)
	require.Equal(t, No, d.active(used, at(21)).Verdict)
}
