package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/auditlog"
)

// reported writes the report of a place.
func reported(t *testing.T, p *place, flags ...string) (string, result) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	r := p.ask("report", append([]string{"--out", file}, flags...)...)
	b, err := os.ReadFile(file)
	require.NoError(t, err, r.stderr)
	if keep := os.Getenv("REPORT_DIR"); keep != "" { // to be looked at
		require.NoError(t, os.WriteFile(filepath.Join(keep, strings.ReplaceAll(t.Name(), "/", "-")+".html"), b, 0o600))
	}
	return string(b), r
}

func TestAReportShowsTheSessionsOfEachUserWithTheirProof(t *testing.T) {
	page, r := reported(t, office(t))
	require.Equal(t, exitOK, r.code, r.stderr)
	require.Contains(t, page, "The trail is intact and complete.")
	require.Equal(t, 4, strings.Count(page, `<svg class="picture"`), "three users, and one who never came in")
	require.Equal(t, 18, strings.Count(page, `<rect class="bar `))
	for _, l := range legend {
		require.Contains(t, page, `class="m `+l.Class+`"`)
		require.NotEmpty(t, shapes[l.Class])
	}
	require.Contains(t, page, "2 at the same time")
	links := regexp.MustCompile(`<a href="#([a-z]+[0-9]+)"`).FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, links)
	for _, l := range links {
		require.Contains(t, page, `id="`+l[1]+`"`, "a mark leads to its record")
	}
}

func TestSessionsThatWereAliveAtTheSameTimeAreBeneathEachOther(t *testing.T) {
	page, _ := reported(t, office(t), "--user", "alice")
	bars := regexp.MustCompile(`<rect class="bar \w+" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"`).FindAllStringSubmatch(page, -1)
	require.Len(t, bars, 6)
	rows := make(map[string]bool)
	for _, b := range bars {
		rows[b[2]] = true
	}
	require.Greater(t, len(rows), 1)
}

func TestWhatVisitorsHaveWrittenIsTextInAReport(t *testing.T) {
	p := newPlace(t)
	for i, evil := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</title></style></script><i>`, `javascript:alert(1)`, `{{.}}`, "a\u202eb", `' onfocus='alert(1)`} {
		p.add(t, line("login", evil, fmt.Sprint("S", i), 1, 0, `,"user_agent":"</script><img src=//evil.example/x>","reason":"\"><svg onload=alert(1)>"`))
	}
	page, r := reported(t, p)
	require.Equal(t, exitOK, r.code, r.stderr)
	for _, bad := range []string{"<script>alert", "<img", "<i>", "\u202e", "<svg onload", "href=\"javascript"} {
		require.False(t, strings.Contains(page, bad), bad)
	}
	require.NotRegexp(t, `<[^>]* on[a-z]+=`, regexp.MustCompile(`"[^"]*"`).ReplaceAllString(page[strings.Index(page, "<body>"):strings.Index(page, "<script>")], `""`))
	require.Equal(t, 1, strings.Count(page, "<script"))
	require.Contains(t, page, "&lt;script&gt;alert(1)&lt;/script&gt;")
}

func TestAReportNeedsNothingButItself(t *testing.T) {
	page, _ := reported(t, office(t))
	require.NotRegexp(t, `(?i)(src|href|action)\s*=\s*["']?\s*(//|[a-z]+:)|url\(\s*["']?[^#"']|@import`, page)
	require.Contains(t, page, `content="default-src &#39;none&#39;`)
	require.Contains(t, page, "<style>"+reportCSS+"</style>", "else its hash in the policy would be wrong")
	require.Contains(t, page, "<script>"+reportJS+"</script>")
}

func TestAReportOfManySessionsAggregatesAndPages(t *testing.T) {
	page, r := reported(t, crowd(t, maxPictured+200))
	require.Equal(t, exitOK, r.code, r.stderr)
	require.Contains(t, page, `<rect class="column"`)
	require.Contains(t, page, "There are more than 1000 sessions")
	require.Equal(t, maxUsers, strings.Count(page, `<svg class="picture"`))
	require.Contains(t, page, `<table data-page="100">`)
	require.Less(t, len(page), 4<<20)
	page, _ = reported(t, crowd(t, 60))
	require.NotContains(t, page, `<rect class="column"`)
}

func TestAReportSaysOnTopHowGoodTheTrailIs(t *testing.T) {
	p := told(t)
	out := filepath.Join(t.TempDir(), "r.html")
	require.Equal(t, exitUnknown, cli("report", p.trail, "--key", p.key, "--out", out).code)
	require.Contains(t, read(t, out), "It is not known to be complete.")
	require.Equal(t, exitIO, p.ask("report", "--out", out).code, "nothing is replaced")
	require.Equal(t, exitIO, p.ask("report", "--out", filepath.Join(out, "x")).code)
	require.Equal(t, exitUsage, p.ask("report", "--from", minute(5), "--to", minute(5)).code)
	require.Contains(t, p.ask("report", "--out", "-").stdout, "</html>")

	p.change(func(s string) string {
		return strings.Replace(s, `"user":"alice","session":"T"`, `"user":"carol","session":"T"`, 1)
	})
	page, r := reported(t, p)
	require.Equal(t, exitTamper, r.code)
	require.Contains(t, page, "The trail was tampered with.")
	require.Contains(t, page, `class="hole"`, "what is missing is hatched")
	require.NotContains(t, page, "carol")
}

func TestAReportShowsThePeriodThatWasAskedFor(t *testing.T) {
	page, _ := reported(t, told(t), "--from", minute(18), "--to", minute(40))
	require.Equal(t, 1, strings.Count(page, `<rect class="bar `))
	require.NotContains(t, page, minute(5))
}

// What is read in one pass, or has to be read again because it is too much or the trail
// was verified before, is the same page.
func TestAReportIsTheSameHoweverItIsRead(t *testing.T) {
	ctx := t.Context()
	for name, p := range map[string]*place{"office": office(t), "crowd": crowd(t, maxPictured+50), "two at a time": twoAtATime(t)} {
		t.Run(name, func(t *testing.T) {
			var q question
			q.keys, q.anchors = list{p.key}, list{p.anchor}
			gather := func(r reporter, verified bool) *reportPage {
				trail, _, err := q.open(&call{stderr: io.Discard}, []string{p.trail})
				require.NoError(t, err)
				if verified {
					require.NoError(t, trail.Verify(ctx))
				}
				page, err := r.gather(ctx, trail)
				require.NoError(t, err)
				page.Made = ""
				return page
			}
			for _, r := range []reporter{{}, {user: "alice"}, {user: "user0007"}, {from: begun.Add(-5 * time.Hour), to: begun.Add(-4 * time.Hour)}} {
				want := gather(r, false)
				require.NotEmpty(t, want.Counts)
				require.Equal(t, want, gather(r, true))
				records := 0
				for _, u := range want.Users {
					records += len(u.Records)
				}
				defer func(n int) { maxRecords = n }(maxRecords)
				maxRecords = records // in the crowd, there are many more that are not shown
				require.Equal(t, want, gather(r, false))
				maxRecords = 50_000
				defer func(n int) { maxNames = n }(maxNames)
				maxNames = 2 // there are no more without a session
				require.Equal(t, want, gather(r, false))
				maxNames = 100_000
			}
		})
	}
}

// twoAtATime is a trail of two processes that ran at the same time.
func twoAtATime(t *testing.T) *place {
	p, s := newPlace(t), &storyteller{random: rand.New(rand.NewPCG(5, 6))}
	start := begun.Add(-6 * time.Hour)
	logs := []*auditlog.Log{p.open(), p.open()}
	for i := range 12 {
		s.session([]string{"alice", "bob"}[i%2], start.Add(time.Duration(i*10)*time.Minute), i%3 == 0)
		s.say("login_failed", "mallory", "", nil, start.Add(time.Duration(i*20)*time.Minute), `,"reason":"password"`)
		for j, e := range s.events {
			require.NoError(t, logs[(i+j)%2].Append(t.Context(), [][]byte{[]byte(e)}))
		}
		s.events = nil
	}
	require.NoError(t, logs[0].Close())
	require.NoError(t, logs[1].Close())
	return p
}

// The clock of whoever recorded it was wrong by a year, and no session was there then.
func TestWhatLiesOutsideOfTheTimeThatIsShownIsNotCounted(t *testing.T) {
	p := told(t)
	p.add(t, line("login_failed", "mallory", "", 0, 1, `,"reason":"password"`))
	page, _ := reported(t, p)
	require.Contains(t, page, "mallory")
	p.add(t, strings.Replace(line("login_failed", "oscar", "", 0, 2, `,"reason":"password"`), minute(2), "2001-01-01T00:00:00.000000Z", 1))
	page, _ = reported(t, p)
	require.NotContains(t, page, "oscar")
}

func TestNoTimeAboveATimelineIsCutOff(t *testing.T) {
	from := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for _, length := range []time.Duration{time.Second, time.Minute, time.Hour, 20 * time.Hour, 24 * time.Hour, 72 * time.Hour, 7 * 24 * time.Hour, 9000 * time.Hour, 90000 * time.Hour} {
		for offset := time.Duration(0); offset <= length; offset += length / 24 {
			behind := 0.0
			for _, tick := range (axis{from.Add(offset), from.Add(offset + length)}).ticks() {
				width := 7 * float64(len(tick.Label)) // of 11 px
				left := map[string]float64{"left": tick.X, "": tick.X - width/2, "right": tick.X - width}[tick.Side]
				require.GreaterOrEqual(t, left, behind, "%v %+v", length, tick)
				behind = left + width
			}
			require.LessOrEqual(t, behind, float64(pictureWidth), length)
		}
	}
}
