package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const tourFile = "../../docs/tour.md"

// The steps of the tour: what a step shows, and what to type.
var tourSteps = []struct{ says, command string }{
	{"Alice logs in at home. The answer says until when the session lives, whatever she does.",
		`curl -s -c home.jar $B/login -d user=alice -d password=demo`},
	{"Somewhere else, somebody logs in as Alice. He learns when she was there last, and of the session she has.",
		`curl -s -A "Other/1.0" -c other.jar $B/login -d user=alice -d password=demo`},
	{"At home, the next request is told of it, once.",
		`curl -s -b home.jar $B/whoami`},
	{"She looks where she is logged in.",
		`curl -s -b home.jar $B/sessions`},
	{"How long will the session last? To ask prolongs nothing.",
		`curl -s -b home.jar $B/session`},
	{"A transfer is in the trail before it takes place.",
		`curl -s -b home.jar $B/transfer -d amount=12.50 -d to=bob`},
	{"She changes her password, which ends all other sessions and gives this one a new token.",
		`curl -s -o /dev/null -w '%{http_code}\n' -b home.jar -c home.jar $B/password -d password=demo -d new=demo2`},
	{"The other one learns why.",
		`curl -s -b other.jar $B/whoami`},
	{"An administrator has to prove once more who he is.",
		`curl -s -c admin.jar $B/login -d user=admin -d password=demo >/dev/null
curl -s -b admin.jar $B/admin/`},
	{"Then he may end whoever's sessions.",
		`curl -s -b admin.jar -c admin.jar $B/elevate -d password=demo >/dev/null
curl -s -b admin.jar -X POST $B/admin/users/alice/end-sessions`},
	{"Alice is out, too.",
		`curl -s -b home.jar $B/whoami`},
	{"He logs out. The trail has it all: one line for each event, here a few words of each.",
		`curl -s -b admin.jar -c admin.jar -X POST $B/logout
scsguard events data/trail --anchor data/anchor | cut -d, -f3-6`},
	{"It is sealed. The anchor is a directory that remembers how long it was; without one nobody could say whether its end is missing.",
		`scsguard verify data/trail --anchor data/anchor --quiet`},
	{"Somebody would like to have paid less.",
		`cp -r data/trail copy
sed -i.old 's/"amount":"12.50"/"amount":"2.50"/' copy/*/00000000.log
scsguard verify copy --key data/keys/trail.pub --anchor data/anchor --quiet || echo "exit code $?"`},
}

// TestTheTourInTheDocs runs the tour and compares it with docs/tour.md, but for
// what differs each time. With TOUR=write it writes that file.
func TestTheTourInTheDocs(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, "this test needs curl: apt-get install curl")
	}
	path := "PATH=" + filepath.Dir(program(t, "scsguard")) + ":" + os.Getenv("PATH") // built before the time of the tour begins
	srv := run(t)
	var doc strings.Builder
	doc.WriteString(tourHead)
	dir, same := t.TempDir(), newSame()
	for _, step := range tourSteps {
		cmd := exec.Command("sh", "-ec", "B="+srv.url+"\n"+srv.in(step.command))
		cmd.Env = append(os.Environ(), path)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		fmt.Fprintf(&doc, "\n%s\n\n```console\n$ %s\n%s```\n", step.says, strings.ReplaceAll(step.command, "\n", "\n$ "), same.of(indented(out)))
	}
	if os.Getenv("TOUR") == "write" {
		require.NoError(t, os.WriteFile(tourFile, []byte(doc.String()), 0o644))
	}
	written, err := os.ReadFile(tourFile)
	require.NoError(t, err)
	require.Equal(t, doc.String(), string(written), "run make tour")
}

const tourHead = `# A tour

What the example server answers, from a login to the end of all sessions. ` + "`make tour`" + ` has written this page by running
it, and a test fails when it is no longer true. Only what differs each time was replaced: IDs, and times, which are rounded
to the minute. To follow it, start the server with ` + "`go run ./examples/server`" + `, and in another shell
` + "`go install ./cmd/scsguard`" + ` and ` + "`B=http://127.0.0.1:4000`" + `.
`

// indented lays out a JSON answer for readers. What is none stays as it is.
func indented(out []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, bytes.TrimSpace(out), "", "  ") != nil {
		return string(out)
	}
	return b.String() + "\n"
}

// same replaces what is different in each run by what is the same in each.
type same struct {
	start time.Time
	ids   map[string]string
}

func newSame() *same { return &same{start: time.Now(), ids: make(map[string]string)} }

// theStart is when the tour takes place.
var theStart = time.Date(2026, 1, 2, 9, 0, 0, 0, time.UTC)

var (
	ids    = regexp.MustCompile(`\b[A-Z2-7]{26}\b`)
	times  = regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	agents = regexp.MustCompile(`curl/[0-9.]+`)
	stream = regexp.MustCompile(`\S+/01[0-9A-HJKMNP-TV-Z]{24}\b`)
	folder = regexp.MustCompile(`\b01[0-9A-HJKMNP-TV-Z]{24}\b`)
	offset = regexp.MustCompile(`byte \d+`)
	lefts  = regexp.MustCompile(`"(idle_expires_in|absolute_expires_in|can_extend_by)": (\d+)`)
)

func (s *same) of(out string) string {
	out = stream.ReplaceAllString(out, "host/01A")
	out = folder.ReplaceAllString(out, "01A")
	out = offset.ReplaceAllString(out, "byte 1234")
	out = ids.ReplaceAllStringFunc(out, func(id string) string {
		if _, ok := s.ids[id]; !ok {
			s.ids[id] = fmt.Sprintf("%s%02d", strings.Repeat("A", 24), len(s.ids)+1)
		}
		return s.ids[id]
	})
	out = times.ReplaceAllStringFunc(out, func(at string) string {
		t, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return err.Error()
		}
		return theStart.Add(t.Sub(s.start).Round(time.Minute)).Format(time.RFC3339)
	})
	out = agents.ReplaceAllString(out, "curl/8.0")
	return lefts.ReplaceAllStringFunc(out, func(left string) string {
		name, value, _ := strings.Cut(left, ": ")
		n, err := strconv.Atoi(value)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s: %d", name, (n+30)/60*60)
	})
}
