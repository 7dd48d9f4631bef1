package investigate

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/auditlog"
)

// source is the trail as nobody has verified it yet.
func (h *hand) source() Source {
	key, err := auditlog.VerifierKey(handKey(), "hand")
	require.NoError(h.t, err)
	return Source{h.dir, auditlog.VerifyOptions{Keys: []string{key}, Anchors: []auditlog.Anchor{auditlog.FileAnchor(h.anchor)}}}
}

// counted counts the bytes that are read of a trail.
func counted(t *testing.T, sources ...Source) (*Trail, *int64) {
	read := new(int64)
	total := int64(0)
	for i := range sources {
		before := int64(0)
		sources[i].Options.Progress = func(done, _ int64) {
			*read += done - before
			before = done
		}
		files, err := filepath.Glob(filepath.Join(sources[i].Dir, "*", "*.log"))
		require.NoError(t, err)
		for _, name := range files {
			info, err := os.Stat(name)
			require.NoError(t, err)
			total += info.Size()
		}
	}
	trail, err := Open(Options{Progress: func(_, again int64) { *read += again }}, sources...)
	require.NoError(t, err)
	t.Cleanup(func() { require.Equal(t, total, *read, "each byte once") })
	return trail, read
}

func TestAQuestionReadsEachByteOnce(t *testing.T) {
	h := newHand(t)
	for i := range 3 {
		var lines []string
		for n := range 3000 {
			if n == 0 {
				lines = append(lines, h.login(fmt.Sprint("S", i), float64(10*i)))
			}
			lines = append(lines, h.extend(fmt.Sprint("S", i), n+2, float64(10*i)+float64(n)/1000, "activity"))
		}
		log := h.stream()
		var batch [][]byte
		for _, line := range lines {
			batch = append(batch, []byte(line))
		}
		require.NoError(t, log.Append(context.Background(), batch))
		require.NoError(t, log.Close())
	}
	ctx := context.Background()
	for name, ask := range map[string]func(*Trail) error{
		"active": func(t *Trail) error { _, err := t.Active(ctx, "S1", at(11)); return err },
		"user":   func(t *Trail) error { _, _, err := t.ActiveOf(ctx, "alice", at(11)); return err },
		"sessions": func(t *Trail) error {
			list, _, err := t.Sessions(ctx, Filter{})
			if len(list) != 3 {
				return fmt.Errorf("%d sessions", len(list))
			}
			return err
		},
		"concurrent":  func(t *Trail) error { _, _, err := t.Concurrent(ctx, ConcurrentQuery{User: "alice"}); return err },
		"extensions":  func(t *Trail) error { _, _, err := t.Extensions(ctx, "S1", Rule{}); return err },
		"timeline":    func(t *Trail) error { _, _, err := t.Timeline(ctx, TimelineQuery{Session: "S1"}); return err },
		"transaction": func(t *Trail) error { _, _, err := t.Transaction(ctx, "none"); return err },
		"review":      func(t *Trail) error { _, _, err := t.Review(ctx, ReviewQuery{}); return err },
	} {
		t.Run(name, func(t *testing.T) {
			trail, read := counted(t, h.source())
			require.NoError(t, ask(trail))
			require.NotZero(t, *read)
			require.True(t, trail.Intact())
		})
	}
}

// Lines are used before the signature over them was seen: if it is not good, they
// were never there.
func TestWhatWasReadDoesNotCountIfItTurnsOutNotToBeSigned(t *testing.T) {
	h := newHand(t)
	now := float64(20 * 60) // the seals are of now
	h.write(h.login("S", now), h.logout("S", 2, now+10))
	files, err := filepath.Glob(filepath.Join(h.dir, "*", "*.log"))
	require.NoError(t, err)
	b, err := os.ReadFile(files[0])
	require.NoError(t, err)
	at := bytes.LastIndexByte(b, ' ') + 20 // in the last signature
	b[at] = "AB"[len(bytes.TrimLeft(b[at:at+1], "A"))^1]
	require.NoError(t, os.WriteFile(files[0], b, 0o600))
	trail, err := Open(Options{}, h.source())
	require.NoError(t, err)
	for range 2 { // in the pass that verifies, and in a later one
		a := h.alive(trail, "S", now+5)
		require.Equal(t, Unknown, a.Verdict)
		require.True(t, a.Tampering)
		require.Empty(t, a.Rests)
		list, _, err := trail.Sessions(context.Background(), Filter{})
		require.NoError(t, err)
		require.Empty(t, list)
	}
}

// A copy that somebody has made earlier is no second trail.
func TestAStreamThatIsInTwoLogsCountsOnceWhereItIsLonger(t *testing.T) {
	h := newHand(t)
	log := h.stream()
	h.append(log, strings.Replace(h.login("S", 0), `"id":"E1",`, "", 1)) // by its ID it would count once anyway
	older := *h
	older.dir = filepath.Join(memoryDir(t), "copy")
	require.NoError(t, os.CopyFS(older.dir, os.DirFS(h.dir)))
	h.append(log, h.logout("S", 2, 10))
	require.NoError(t, log.Close())
	for _, sources := range [][]Source{{h.source(), older.source()}, {older.source(), h.source()}} {
		for i := range sources {
			sources[i].Options.Anchors = nil
		}
		trail, err := Open(Options{AllowUnanchored: true}, sources...)
		require.NoError(t, err)
		list, _, err := trail.Sessions(context.Background(), Filter{})
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, 2, list[0].Events)
		require.Equal(t, "logout (user)", list[0].State)
	}
}

// Two hosts have noticed the same timeout. Their streams come one after the other
// when they are verified, but the ending that counts is the one that was sealed first.
func TestOfAnEndingInTwoStreamsTheFirstOneCounts(t *testing.T) {
	h := newHand(t)
	one, two := h.stream(), h.stream()
	h.append(one, h.login("S", 0))
	h.append(two, h.logout("S", 2, 10))
	h.append(one, h.logout("S", 2, 11))
	require.NoError(t, one.Close())
	require.NoError(t, two.Close())
	trail, err := Open(Options{}, h.source())
	require.NoError(t, err)
	list, _, err := trail.Sessions(context.Background(), Filter{})
	require.NoError(t, err)
	require.Equal(t, at(10), list[0].Noticed)
	require.Equal(t, 2, list[0].Events)
}

func TestHolesInASessionsNumbersAreBounded(t *testing.T) {
	var n numbers
	for i := range 10 * maxRuns {
		n.add(uint64(4*maxRuns*10-2*i), time.Unix(int64(i), 0))
	}
	require.LessOrEqual(t, len(n.runs), maxRuns)
	require.Positive(t, n.missing())
}

func TestNumbersThatComeInAnyOrderAreASet(t *testing.T) {
	for _, order := range [][]uint64{{1, 2, 3, 4, 5}, {5, 4, 3, 2, 1}, {1, 3, 5, 2, 4}, {5, 1, 3, 4, 2, 2}, {2, 4, 1, 3, 5, 1}} {
		var n numbers
		back := time.Duration(0)
		for _, seq := range order {
			at := time.Unix(int64(seq), 0)
			if seq == 3 {
				at = at.Add(-time.Minute) // of a host whose clock is slow
			}
			back = max(back, n.add(seq, at))
		}
		require.Len(t, n.runs, 1)
		require.Zero(t, n.missing())
		require.Equal(t, 59*time.Second, back, "%v", order)
	}
	var n numbers
	n.add(2, time.Unix(10, 0))
	n.add(7, time.Unix(3, 0))
	require.Equal(t, 5, n.missing())
	require.Equal(t, 7*time.Second, n.back())
}

// A trail of nothing but gaps costs so much and no more, and none of them is
// forgotten.
func TestDoubtsAreBoundedAndNoneIsForgotten(t *testing.T) {
	var d doubtList
	for i := range maxDoubts + 10 {
		d.add(Doubt{Kind: DoubtGap, From: at(float64(i)), To: at(float64(i))})
	}
	require.Equal(t, -1, d.add(Doubt{Kind: DoubtDamaged, From: at(-5)}))
	require.Len(t, d.list, maxDoubts)
	last := d.list[maxDoubts-1]
	require.True(t, last.Tampering())
	require.True(t, last.overlaps(at(-5), at(-5)))
	require.True(t, last.overlaps(at(1e6), at(1e6)))

	rep := &auditlog.Report{}
	for i := range maxDoubts + 10 {
		rep.Streams = append(rep.Streams, auditlog.StreamReport{Name: fmt.Sprint("x/", i), State: auditlog.StateUnclosed, Size: 1, First: at(0), Last: at(1)})
	}
	all := newDoubts([]*auditlog.Report{rep}, time.Hour, evidence{})
	require.Len(t, all.list, maxDoubts)
	require.False(t, all.crashed(&Session{}))
}

// Two hosts have told of gaps, the one whose stream began later of the earlier one.
func TestDoubtsComeInOneOrderHoweverTheStreamsAreRead(t *testing.T) {
	h := newHand(t)
	gap := func(id string, from, to float64) string {
		return fmt.Sprintf(`{"id":%q,"time":%s,"event":"audit.gap","outcome":"failure","details":{"from":%s,"to":%s,"lost.extend":"3"}}`, id, quoted(to), quoted(from), quoted(to))
	}
	one, two := h.stream(), h.stream()
	h.append(one, h.login("S", 0))
	h.append(two, gap("G", 4, 5))
	h.append(one, gap("H", 6, 7))
	h.append(two, gap("I", 2, 3), h.logout("S", 2, 10))
	require.NoError(t, one.Close())
	require.NoError(t, two.Close())
	trail, err := Open(Options{}, h.source())
	require.NoError(t, err)
	for range 2 { // in the pass that verifies, and in a later one
		_, a, err := trail.Sessions(context.Background(), Filter{})
		require.NoError(t, err)
		var from []time.Time
		for _, d := range a.Doubts {
			from = append(from, d.From)
		}
		require.Equal(t, []time.Time{at(2), at(4), at(6)}, from)
	}
}

// What is taken back keeps its number, and may be taken back long after.
func TestARetractionThatCameLateIsNoClockThatDiffers(t *testing.T) {
	h := newHand(t)
	trail := h.write(h.login("S", 0), h.extend("S", 2, 5, "request"),
		h.ev("extend", "S", 2, 10, `"outcome":"failure"`, limits(20, 480), oldLimits(15, 480), `"details":{"retracts":"E2"}`),
		h.ev("transfer", "S", 3, 6), h.logout("S", 4, 12)).trail()
	list, _, err := trail.Sessions(context.Background(), Filter{})
	require.NoError(t, err)
	require.Zero(t, list[0].ClockDifference)
}

// Streams may be read one after the other, and what is taken back lie in the later one.
func TestWhatIsTakenBackMayBeReadFirst(t *testing.T) {
	both := newHand(t)
	extension, other := both.extend("S", 2, 5, "request"), both.ev("transfer", "S", 3, 6)
	back := both.ev("extend", "S", 2, 10, `"outcome":"failure"`, limits(20, 480), oldLimits(15, 480), `"details":{"retracts":"E2"}`)
	id := regexp.MustCompile(`"id":"([^"]*)"`).FindStringSubmatch(extension)[1]
	back = strings.Replace(back, `"retracts":"E2"`, `"retracts":"`+id+`"`, 1)
	login, logout := both.login("S", 0), both.logout("S", 4, 12)
	events := func(lines ...string) *Session {
		var s Session
		for _, line := range lines {
			e := Parse(&auditlog.Record{Event: []byte(line)})
			require.False(t, e.unreadable, line)
			s.add(&e)
		}
		s.finish()
		return &s
	}
	want := events(login, extension, other, back, logout)
	require.Zero(t, want.ClockDifference)
	require.Zero(t, want.Extends)
	require.Zero(t, want.Missing)
	require.Equal(t, want, events(login, other, back, logout, extension))
	require.Equal(t, want, events(back, login, other, extension, logout))
	require.Equal(t, 1, events(login, other, logout).Missing)
	require.Zero(t, events(login, other, back, logout).Missing, "the number is known")
	open := events(login, extension, back)
	require.Equal(t, at(15), open.IdleExpires, "the deadline is that of before")
	require.Equal(t, open, events(back, login, extension))
}
