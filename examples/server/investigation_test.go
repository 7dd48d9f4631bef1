package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/auditlog"
)

const investigationFile = "../../docs/investigation.md"

// A case: what was asked, why, and what to type. $A and the like are put in by the
// test.
var investigationSteps = []struct{ says, command string }{
	{"## Was her session alive at that moment?\n\nAlice disputes the transfer. The bank's books have its ID. Was it made in a session that was alive, and what else was?",
		`scsguard transaction data/trail --key trail.pub --anchor data/anchor --id $T`},
	{"The same for any moment. `--proof` names the records from which it follows; `scsguard prove` makes a proof of each that needs no trail.",
		`scsguard active data/trail --key trail.pub --anchor data/anchor --session $A --at $AT --proof`},
	{"An hour after it had timed out. The exit code is for scripts: 0 yes, 1 no, 2 tampered with, 3 unknown.",
		`scsguard active data/trail --key trail.pub --anchor data/anchor --session $A --at $LATER || echo "exit code $?"`},
	{"## Was there another session, from an unusual address?\n\nAn address is unusual if the trail has not seen the user in its network for 30 days. `--days`, `--ipv4-bits` and `--places` change that.",
		`scsguard concurrent data/trail --key trail.pub --anchor data/anchor --user alice --unusual-ip`},
	{"All of her sessions:",
		`scsguard sessions data/trail --key trail.pub --anchor data/anchor --user alice`},
	{"## Was it extended when it should not have been?\n\nEvery movement of its deadlines, but for mere activity (`--all`). Somebody who had her cookie pressed \"stay signed in\".",
		`scsguard extensions data/trail --key trail.pub --anchor data/anchor --session $A`},
	{"What happened in that session, in sentences:",
		`scsguard timeline data/trail --key trail.pub --anchor data/anchor --session $A --format text`},
	{"## When nobody can know\n\nWithout the anchor nobody can tell whether the end of the trail is missing, and the answer is unknown. `--allow-unanchored` answers nevertheless.",
		`scsguard active data/trail --key trail.pub --session $A --at $AT || echo "exit code $?"`},
	{"Somebody has changed one line. What comes before it is still good; the rest is not known.",
		`cp -r data/trail copy
sed -i.old 's/"amount":"80.00"/"amount":"8.00"/' copy/*/*.log
scsguard active copy --key trail.pub --anchor data/anchor --session $A --at $AT || echo "exit code $?"`},
	{"## Every day\n\nFor cron: exit code 0 if nobody has to look.",
		`scsguard review data/trail --key trail.pub --anchor data/anchor --since 24h --to $END || echo "exit code $?"`},
	{"## Who has looked\n\nWho reads is on the record, too (PCI DSS 4.0.1 10.2.1.3): in a sealed log of its own, with its own key. The query is in it before the answer is shown.",
		`scsguard active data/trail --key trail.pub --anchor data/anchor --user alice --at $AT --query-trail queries >/dev/null
scsguard events queries --key queries-keys/trail.pub 2>/dev/null | cut -d, -f3,5-7`},
}

// The days of the case, in simulated time.
var investigationStart = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// from is a handler as somebody at an address calls it.
type from struct {
	handler http.Handler
	addr    string
	agent   string
}

func (f from) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr, in.Host = r.URL.RequestURI(), f.addr+":4711", r.URL.Host
	in.Header.Set("User-Agent", f.agent)
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, in)
	res := w.Result()
	res.Request = r
	return res, r.Context().Err()
}

// disputed plays what is investigated, with the handlers of the example and a
// sealed trail in dir, and returns what the questions are about.
func disputed(t *testing.T, sm *scs.SessionManager, dir string) map[string]string {
	facts := make(map[string]string)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(investigationStart))
		trail, closeTrail, err := sealedIn(dir)
		require.NoError(t, err)
		o := defaults()
		a, err := newApp(sm, trail, o, slog.New(slog.NewTextHandler(io.Discard, nil)))
		require.NoError(t, err)
		t.Cleanup(func() { // in order, and whatever becomes of the test
			require.NoError(t, a.guard.Close(context.Background()))
			require.NoError(t, closeTrail())
		})
		handler := a.routes()
		home := newVisitor(t, "https://bank.example", from{handler, "192.0.2.10", "Firefox at home"})
		bob := newVisitor(t, "https://bank.example", from{handler, "198.51.100.7", "Bob's phone"})

		// Monday and Tuesday are as they should be.
		for range 2 {
			home.login("alice")
			time.Sleep(4 * time.Minute)
			home.get("/whoami")
			bob.login("bob")
			time.Sleep(10 * time.Minute)
			require.Equal(t, 204, home.post("/logout").Code)
			time.Sleep(24*time.Hour - 14*time.Minute)
		}
		// On Wednesday somebody has her password, and a little later her cookie.
		facts["A"] = home.login("alice")
		time.Sleep(2 * time.Minute)
		abroad := newVisitor(t, "https://bank.example", from{handler, "203.0.113.99", "Chrome abroad"})
		facts["B"] = abroad.login("alice")
		time.Sleep(2 * time.Minute)
		res := home.post("/transfer", "amount", "80.00", "to", "bob")
		require.Equal(t, 200, res.Code, res.Body)
		facts["T"], _ = res.JSON["transaction"].(string)
		facts["AT"] = time.Now().UTC().Format(time.RFC3339)
		time.Sleep(10 * time.Minute)
		thief := home.copy()
		thief.client.Transport = from{handler, "203.0.113.99", "Chrome abroad"}
		require.Equal(t, 200, thief.post("/session/extend").Code)
		require.Equal(t, 204, abroad.post("/logout").Code)
		time.Sleep(80 * time.Minute)
		facts["LATER"] = time.Now().UTC().Format(time.RFC3339)
		time.Sleep(time.Hour)
		facts["END"] = time.Now().UTC().Format(time.RFC3339)
	})
	return facts
}

// sealedIn opens a trail with a key that is the same in each run.
func sealedIn(dir string) (*auditlog.Log, func() error, error) {
	root := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	key, err := auditlog.VerifierKey(root, "bank")
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "data", "keys"), 0o700); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "keys", "trail.pub"), []byte(key+"\n"), 0o600); err != nil {
		return nil, nil, err
	}
	log, err := auditlog.Open(auditlog.Config{Dir: filepath.Join(dir, "data", "trail"), Root: root, RootName: "bank", Origin: "host",
		Anchors: []auditlog.Anchor{auditlog.FileAnchor(filepath.Join(dir, "data", "anchor"))}})
	if err != nil {
		return nil, nil, err
	}
	return log, log.Close, nil
}

// TestTheInvestigationInTheDocs runs a case and compares it with
// docs/investigation.md. With INVESTIGATION=write it writes that file.
func TestTheInvestigationInTheDocs(t *testing.T) {
	dir := t.TempDir()
	facts := disputed(t, newManager(), dir)
	put := func(command string) string {
		for _, name := range []string{"LATER", "END", "AT", "A", "B", "T"} {
			command = strings.ReplaceAll(command, "$"+name, facts[name])
		}
		return command
	}
	require.NoError(t, os.Link(filepath.Join(dir, "data", "keys", "trail.pub"), filepath.Join(dir, "trail.pub")))
	var doc strings.Builder
	doc.WriteString(investigationHead)
	names := newSame()
	for _, step := range investigationSteps {
		cmd := exec.Command("sh", "-ec", put(step.command))
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program(t, "scsguard"))+":"+os.Getenv("PATH"))
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		shown := names.stable(strings.ReplaceAll(put(step.command), "\n", "\n$ "))
		fmt.Fprintf(&doc, "\n%s\n\n```console\n$ %s\n%s```\n", step.says, shown, names.stable(strings.ReplaceAll(string(out), dir+"/", "")))
	}
	doc.WriteString(investigationTail)
	if os.Getenv("INVESTIGATION") == "write" {
		require.NoError(t, os.WriteFile(investigationFile, []byte(doc.String()), 0o644))
	}
	written, err := os.ReadFile(investigationFile)
	require.NoError(t, err)
	require.Equal(t, doc.String(), string(written), "run make investigation")
	require.Contains(t, doc.String(), "answer        yes")
	require.Contains(t, doc.String(), "answer        no")
	require.Contains(t, doc.String(), "answer        unknown")
}

var (
	leaves = regexp.MustCompile(`[A-Za-z0-9+/]{43}=`)
	swept  = regexp.MustCompile(`:\d\d\.\d*[1-9]\d*Z`) // the sweep comes at random moments
	lineIn = regexp.MustCompile(`log line \d+,`)       // how many share a checkpoint is chance
	asker  = regexp.MustCompile(`"user":"[^"]*"`)
)

// stable replaces what is different in each run: IDs, names of streams, hashes.
// The times are simulated, and stay.
func (s *same) stable(out string) string {
	out = stream.ReplaceAllString(out, "host/01A")
	out = folder.ReplaceAllString(out, "01A")
	out = lineIn.ReplaceAllString(out, "log line 10,")
	out = offset.ReplaceAllString(out, "byte 1234")
	out = leaves.ReplaceAllString(out, "Gm7mGcR…")
	out = swept.ReplaceAllString(out, ":12.345678Z")
	if strings.Contains(out, "audit.queried") {
		out = asker.ReplaceAllString(out, `"user":"investigator"`)
	}
	return ids.ReplaceAllStringFunc(out, func(id string) string {
		if _, ok := s.ids[id]; !ok {
			s.ids[id] = fmt.Sprintf("%s%02d", strings.Repeat("A", 24), len(s.ids)+1)
		}
		return s.ids[id]
	})
}

const investigationHead = `# Investigations

Years later somebody asks. This page answers the three questions for which the trail is kept, on a trail that the example
server has written in three days of simulated time. ` + "`make investigation`" + ` has written it by running the commands, and a test
fails when it is no longer true; only IDs, names of streams and hashes were replaced. How the answers are found is in the
[package documentation of investigate](../investigate/doc.go), how the trail is kept in [trail.md](trail.md).

The story: on Monday and Tuesday Alice uses the bank from home. On Wednesday, at 9:00, she logs in; at 9:02 somebody else
logs in as Alice, from abroad; at 9:04 somebody pays Bob 80.00 in her own session. ` + "`trail.pub`" + ` is the verifier key, copied when the
server was set up: a key that lies beside the trail is one that whoever changed the trail could have changed, too.
`

const investigationTail = `
## How long it takes

A question reads the trail once: it is verified and asked in the same pass, and what was read counts only if what it was
read from turns out to be sealed. A terminal shows how far it is. On two cores, a trail of ten million events (500,000
sessions, 6.4 GB):

| | seconds | CPU seconds | memory (RSS) |
|---|---|---|---|
| ` + "`verify`" + ` | 9 | 9 | 14 MiB |
| ` + "`active`, `concurrent`, `timeline`, `transaction`" + ` of a session or a user | 9 | 14 | 18 MiB |
| ` + "`prove`" + ` | 10 | 9 | 14 MiB |
| ` + "`review`" + ` | 13 | 21 | 670 MiB |
| ` + "`sessions`" + `, all 500,000 | 16 | 27 | 780 MiB |

` + "`transaction`" + ` reads a second time if there is such a transaction, ` + "`report`" + ` twice more (84 CPU seconds, 850 MiB). ` +
	"`SCSGUARD_EVENTS=10000000 go test -run '^$' -bench Questions ./investigate`" + ` measures it elsewhere.
` + "`sessions` and `review`" + ` need memory for each session and each event; above 800 MiB the command collects garbage more
eagerly, unless ` + "`GOMEMLIMIT`" + ` says otherwise. All others need memory for what they find.
`
