package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// begun is when the sessions of these tests begin: the seals are of now.
var begun = time.Now().UTC().Truncate(time.Second).Add(-2 * time.Hour)

func minute(n int) string { return stamp(begun.Add(time.Duration(n) * time.Minute)) }

func line(kind, user, session string, seq, at int, more string) string {
	return fmt.Sprintf(`{"id":"%s-%s-%d-%d","time":%q,"event":%q,"outcome":"success","user":%q,"session":%q,"session_seq":%d,"ip":"192.0.2.1","ip_source":"remote_addr",`+
		`"idle_expires":%q,"absolute_expires":%q%s}`, kind, session, seq, at, minute(at), kind, user, session, seq, minute(at+15), minute(480), more)
}

// told is a place with a trail of two sessions of alice, one after the other.
func told(t *testing.T) *place {
	t.Helper()
	p := newPlace(t)
	p.add(t, line("login", "alice", "S", 1, 0, ""), line("transfer", "alice", "S", 2, 5, `,"transaction":"X","details":{"to":"=cmd()"}`), line("logout", "alice", "S", 3, 10, `,"reason":"user"`),
		line("login", "alice", "T", 1, 20, ""), line("logout", "alice", "T", 2, 30, `,"reason":"user"`))
	return p
}

func (p *place) add(t *testing.T, events ...string) {
	t.Helper()
	log := p.open()
	for _, e := range events {
		require.NoError(t, log.Append(t.Context(), [][]byte{[]byte(e)}))
	}
	require.NoError(t, log.Close())
}

// ask runs a command on the trail of a place with its anchor.
func (p *place) ask(command string, flags ...string) result {
	return cli(append([]string{command, p.trail, "--key", p.key, "--anchor", p.anchor}, flags...)...)
}

func TestAQuestionIsAnsweredByTheExitCode(t *testing.T) {
	p := told(t)
	require.Equal(t, exitOK, p.ask("active", "--session", "S", "--at", minute(5)).code)
	require.Equal(t, exitNo, p.ask("active", "--session", "S", "--at", minute(15)).code)
	require.Equal(t, exitOK, p.ask("active", "--user", "alice", "--at", minute(25)).code)
	require.Equal(t, exitUnknown, cli("active", p.trail, "--key", p.key, "--session", "S", "--at", minute(5)).code, "unanchored")
	require.Equal(t, exitOK, cli("active", p.trail, "--key", p.key, "--session", "S", "--at", minute(5), "--allow-unanchored").code)
	require.Equal(t, exitOK, p.ask("transaction", "--id", "X").code)
	require.Equal(t, exitOK, p.ask("sessions").code)
	require.Equal(t, exitOK, p.ask("timeline", "--session", "S").code)
	require.Equal(t, exitNo, p.ask("extensions", "--session", "S").code)
	require.Equal(t, exitNo, p.ask("review").code, "kinds of event are missing")
	require.Equal(t, exitOK, p.ask("review", "--require", "login,logout").code)
	require.Equal(t, exitIO, cli("active", p.trail+"x", "--key", p.key, "--session", "S", "--at", minute(5)).code)

	p.change(func(s string) string {
		return strings.Replace(s, `"session":"T","session_seq":2`, `"session":"T","session_seq":3`, 1)
	})
	require.Equal(t, exitTamper, p.ask("active", "--session", "T", "--at", minute(200)).code)
	require.Equal(t, exitNo, p.ask("active", "--session", "S", "--at", minute(15)).code, "that is sealed before the damage")
}

func TestAQuestionThatMakesNoSenseIsAUsageError(t *testing.T) {
	p := told(t)
	for _, args := range [][]string{
		{"active"}, {"active", "--session", "S"}, {"active", "--session", "S", "--user", "U", "--at", "now"}, {"active", "--session", "S", "--at", "noon"},
		{"concurrent"}, {"extensions"}, {"transaction"}, {"sessions", "--network", "x"}, {"sessions", "--format", "xml"},
	} {
		r := p.ask(args[0], args[1:]...)
		require.Equal(t, exitUsage, r.code, "%v", args)
		require.Contains(t, r.stderr, "usage: scsguard "+args[0])
	}
	require.Equal(t, exitUsage, cli("sessions", p.trail, p.trail, "--key", p.key, "--anchor", p.anchor).code, "two trails, one anchor")
}

func TestTheAnswerComesInFourForms(t *testing.T) {
	p := told(t)
	table := p.ask("sessions", "--proof")
	require.Contains(t, table.stdout, "answer        yes: 2 sessions")
	require.Contains(t, table.stdout, "OK; ANCHORED")
	require.Contains(t, table.stdout, "logout (user)")
	require.Equal(t, 5, strings.Count(table.stdout, "\nproof "))

	var answer struct {
		Answer string
		Trails []struct{ Completeness string }
		Rows   []struct {
			Session, State string
			Lasted         float64
		}
		Proof []struct {
			Stream, Leaf string
			Seq          int64
		}
	}
	out := p.ask("sessions", "--format", "json", "--proof")
	require.NoError(t, json.Unmarshal([]byte(out.stdout), &answer), out.stdout)
	require.Equal(t, "yes", answer.Answer)
	require.Equal(t, "ANCHORED", answer.Trails[0].Completeness)
	require.Equal(t, "S", answer.Rows[0].Session)
	require.Equal(t, 600.0, answer.Rows[0].Lasted)
	require.Len(t, answer.Proof, 5)

	out = p.ask("transaction", "--id", "X", "--format", "csv")
	rows, err := csv.NewReader(strings.NewReader(out.stdout)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.Contains(t, out.stderr, "answer        yes")

	out = p.ask("timeline", "--format", "text")
	require.Contains(t, out.stdout, "alice logged in from 192.0.2.1\n")
}

// A spreadsheet must not take what a visitor wrote for a formula.
func TestACellOfCSVIsNoFormula(t *testing.T) {
	p := newPlace(t)
	p.add(t, line("login", "=HYPERLINK(1)", "S", 1, 0, ""), line("logout", "=HYPERLINK(1)", "S", 2, 10, ""))
	require.Contains(t, p.ask("sessions", "--format", "csv").stdout, ",'=HYPERLINK(1),")
}

// ASVS 5.0 16.4.1: what a client wrote does not reach the terminal as it is.
func TestASVS5_16_4_1_AnswersAreHarmlessToATerminal(t *testing.T) {
	p := newPlace(t)
	p.add(t, line("login", "a\u202eb", "S", 1, 0, `,"user_agent":"x"`), line("logout", "a\u202eb", "S", 2, 10, ""))
	for _, format := range []string{"table", "text", "csv", "json"} {
		out := p.ask("sessions", "--format", format)
		require.NotContains(t, out.stdout, "\u202e", format)
		require.Contains(t, out.stdout, `\u202e`, format)
	}
}

// ASVS 5.0 16.4.1: nor does it begin a line, which could look like a verdict.
func TestASVS5_16_4_1_WhatAVisitorWroteDoesNotBeginALine(t *testing.T) {
	p := newPlace(t)
	const user = "a\nanswer        no: x\r\nproof b\u009b2J\u0085c\u2028d"
	p.add(t, line("login", user, "S", 1, 0, `,"transaction":"X"`), line("login", user, "T", 1, 1, `,"actor":"\nv"`), line("logout", user, "S", 2, 10, ""))
	for _, args := range [][]string{{"sessions"}, {"timeline"}, {"timeline", "--format", "text"}, {"transaction", "--id", "X"}, {"extensions", "--session", "S"},
		{"active", "--user", user, "--at", minute(5)}, {"review"}} {
		out := p.ask(args[0], append(args[1:], "--proof")...)
		require.Equal(t, 1, strings.Count(out.stdout, "\nanswer "), out.stdout)
		for l := range strings.Lines(out.stdout) {
			require.NotRegexp(t, "^ *(proof b|v)", l)
			require.NotRegexp(t, "[\x00-\x09\x0b-\x1f\x7f-\u009f\u2028]", l)
		}
	}
}

// A verdict under a key that lay beside the trail says so: whoever could change the
// trail could change the key.
func TestAnAnswerSaysThatTheKeyWasFoundBesideTheTrail(t *testing.T) {
	p := told(t)
	require.Contains(t, cli("sessions", p.trail, "--allow-unanchored").stdout, "found beside the trail")
	require.NotContains(t, p.ask("sessions").stdout, "found beside the trail")
}

// PCI DSS 4.0.1 10.2.1.3: who reads the trail is on the record, before he has read.
func TestPCI_10_2_1_3_AQueryIsSealedBeforeItIsAnswered(t *testing.T) {
	p := told(t)
	queries := filepath.Join(t.TempDir(), "queries")
	r := p.ask("active", "--session", "S", "--at", minute(5), "--query-trail", queries)
	require.Equal(t, exitOK, r.code, r.stderr)
	key := filepath.Join(queries+"-keys", "trail.pub")
	out := cli("events", queries, "--key", key)
	require.Contains(t, out.stdout, `"event":"audit.queried"`)
	require.Contains(t, out.stdout, "--session S --at "+minute(5))
	require.Contains(t, out.stdout, `"answer":"yes"`)
	require.NotContains(t, cli("verify", queries, "--key", p.key).stdout, "integrity     OK", "it has a key of its own")

	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	r = p.ask("active", "--session", "S", "--at", minute(5), "--query-trail", filepath.Join(blocked, "queries"))
	require.Equal(t, exitIO, r.code)
	require.Empty(t, r.stdout, "what cannot be recorded is not answered")
}

// Two hosts with a trail each, and one session served by both.
func TestSeveralTrailsAreRead(t *testing.T) {
	one, two := newPlace(t), newPlace(t)
	one.add(t, line("login", "alice", "S", 1, 0, ""), line("logout", "alice", "S", 3, 10, ""))
	two.add(t, line("transfer", "alice", "S", 2, 5, ""))
	apart := one.ask("active", "--session", "S", "--at", minute(6))
	require.Equal(t, exitUnknown, apart.code, "event 2 is missing here")
	r := cli("active", one.trail, two.trail, "--key", one.key, "--key", two.key, "--anchor", one.anchor, "--anchor", two.anchor, "--session", "S", "--at", minute(6))
	require.Equal(t, exitOK, r.code, r.stdout+r.stderr)
}

func TestPlacesComeFromAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "places")
	require.NoError(t, os.WriteFile(name, []byte("# offices\n192.0.2.0/24 Berlin\n192.0.2.128/25 Hall 2\n2001:db8::/32 Paris\n"), 0o600))
	places, err := readPlaces(name)
	require.NoError(t, err)
	for ip, want := range map[string]string{"192.0.2.5": "Berlin", "192.0.2.200": "Hall 2", "2001:db8::1": "Paris", "203.0.113.1": ""} {
		place, _ := places.Locate(netip.MustParseAddr(ip))
		require.Equal(t, want, place)
	}
	require.NoError(t, os.WriteFile(name, []byte("nonsense\n"), 0o600))
	_, err = readPlaces(name)
	require.Error(t, err)
}
