package main

import (
	"bufio"
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

func TestTheExitCodesOfVerify(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*testing.T, *place)
		code   int
		says   string
		flags  []string
	}{
		"as it was written":              {nil, exitOK, "completeness  ANCHORED", nil},
		"a changed event":                {func(_ *testing.T, p *place) { p.change(replace(`"two"`, `"2"`)) }, exitTamper, "integrity     TAMPERED at seq 3", nil},
		"a changed event, quietly":       {func(_ *testing.T, p *place) { p.change(replace(`"two"`, `"2"`)) }, exitTamper, "TAMPERED", []string{"--quiet"}},
		"the end is cut off":             {func(_ *testing.T, p *place) { p.change(withoutLast(2)) }, exitTamper, "truncated", nil},
		"the last line is torn":          {func(_ *testing.T, p *place) { p.change(torn) }, exitTamper, "truncated", nil},
		"bytes that nobody acknowledged": {func(_ *testing.T, p *place) { p.change(unfinished) }, exitUnknown, "TORN: 1 stream", nil},
		"a stream is gone":               {func(t *testing.T, p *place) { require.NoError(t, os.RemoveAll(filepath.Dir(p.segment()))) }, exitTamper, "gone", nil},
		"no trail":                       {func(t *testing.T, p *place) { require.NoError(t, os.RemoveAll(p.trail)) }, exitIO, "", nil},
		"no anchor":                      {func(t *testing.T, p *place) { require.NoError(t, os.RemoveAll(p.anchor)) }, exitIO, "", nil},
		"no key":                         {func(t *testing.T, p *place) { require.NoError(t, os.Remove(p.key)) }, exitUsage, "", nil},
		"a pin that is none":             {nil, exitUsage, "", []string{"--pin", "stream:5"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := filled(t, "one", "two", "three")
			if c.change != nil {
				c.change(t, p)
			}
			r := p.verify(c.flags...)
			require.Equal(t, c.code, r.code, r.stdout+r.stderr)
			require.Contains(t, r.stdout, c.says)
			require.Equal(t, c.code >= exitUsage, r.stderr != "", "a verdict is an answer, not an error: %s", r.stderr)
		})
	}
}

func replace(old, with string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, with, 1) }
}

// withoutLast cuts off whole batches: nothing in the log itself shows it.
func withoutLast(batches int) func(string) string {
	return func(s string) string {
		l := lines(s)
		return strings.Join(l[:len(l)-2*batches], "\n") + "\n"
	}
}

func torn(s string) string { return s[:len(s)-20] }

// unfinished is what a crash in the middle of a batch leaves behind.
func unfinished(s string) string {
	return s + s[:strings.Index(s, `"seq":`)] + `"seq":` + fmt.Sprint(len(lines(s))/2)
}

func TestAnUnanchoredTrailIsNeverSaidToBeComplete(t *testing.T) {
	p := filled(t, "one", "two")
	r := cli("verify", p.trail)
	require.Equal(t, exitUnknown, r.code)
	require.Contains(t, r.stdout, "integrity     OK\ncompleteness  UNANCHORED")

	pin := regexp.MustCompile(`pin +(\S+)`).FindStringSubmatch(r.stdout)
	require.Len(t, pin, 2)
	r = cli("verify", p.trail, "-pin", pin[1])
	require.Equal(t, exitOK, r.code, "a checkpoint noted by hand is an anchor")
	file := filepath.Join(t.TempDir(), "pin")
	require.NoError(t, os.WriteFile(file, []byte(pin[1]+"\n"), 0o600))
	require.Equal(t, exitOK, cli("verify", "--pin", file, p.trail).code)
	p.change(withoutLast(1))
	require.Equal(t, exitUnknown, cli("verify", p.trail).code, "without it nobody sees what was cut off")
	require.Equal(t, exitTamper, cli("verify", p.trail, "-pin", pin[1]).code)
}

func TestAUnclosedStreamAndAGapAreIncomplete(t *testing.T) {
	p := newPlace(t)
	log := p.open()
	log.ReportLoss(time.Unix(0, 0), time.Unix(60, 0), map[string]int64{"login_failed": 7}, "disk full\x1b[31m")
	write(t, log, "one")
	require.NoError(t, log.Close())
	r := p.verify()
	require.Equal(t, exitUnknown, r.code)
	require.Contains(t, r.stdout, "completeness  GAP: 1 time")
	require.Contains(t, r.stdout, "1970-01-01T00:00:00.000000Z to 1970-01-01T00:01:00.000000Z: 7 login_failed (disk full")
	require.NotContains(t, r.stdout, "\x1b")

	// Nor can what a trail says look like a line of the verdict.
	p = newPlace(t)
	log = p.open()
	log.ReportLoss(time.Unix(0, 0), time.Unix(60, 0), map[string]int64{"x\nintegrity     OK": 7}, "no disk\nintegrity     OK\r\ncompleteness  ANCHORED")
	require.NoError(t, log.Close())
	r = p.verify()
	require.Equal(t, exitUnknown, r.code)
	for _, line := range lines(r.stdout) {
		if strings.Contains(line, "no disk") {
			require.Contains(t, line, "ANCHORED")
		}
		require.NotRegexp(t, `^ +integrity`, line)
	}

	p = filled(t, "one", "two")
	p.change(withoutLast(1)) // audit.closed, as after a crash
	r = cli("verify", p.trail, "--pin", headOf(t, p))
	require.Equal(t, exitUnknown, r.code)
	require.Contains(t, r.stdout, "UNCLOSED: 1 stream")
}

func headOf(t *testing.T, p *place) string {
	t.Helper()
	r := cli("verify", p.trail)
	pin := regexp.MustCompile(`pin +(\S+)`).FindStringSubmatch(r.stdout)
	require.Len(t, pin, 2, r.stdout)
	return pin[1]
}

func TestALiveTrailCanBeVerified(t *testing.T) {
	p := newPlace(t)
	log := p.open()
	write(t, log, "one")
	require.Eventually(t, func() bool { return p.verify().code == exitOK }, time.Minute, 5*time.Millisecond)
	require.Contains(t, p.verify().stdout, "live")
	require.NoError(t, log.Close())
}

func TestTheKeyIsTakenFromAFileFromTextOrFromBesideTheTrail(t *testing.T) {
	p, other := filled(t, "one"), filled(t, "two")
	key, err := os.ReadFile(p.key)
	require.NoError(t, err)
	require.Contains(t, p.verify().stdout, "found beside the trail")
	for _, flags := range [][]string{{"--key", p.key}, {"--key", strings.TrimSpace(string(key))}, {"-key", other.key, "-key", p.key}} {
		r := p.verify(flags...)
		require.Equal(t, exitOK, r.code, r.stdout+r.stderr)
		require.NotContains(t, r.stdout, "found beside")
	}
	both := filepath.Join(t.TempDir(), "keys")
	otherKey, err := os.ReadFile(other.key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(both, []byte("# before 2027\n"+string(otherKey)+"\n"+string(key)), 0o600))
	require.Equal(t, exitOK, p.verify("--key", both).code)

	r := p.verify("--key", other.key)
	require.Equal(t, exitTamper, r.code, "sealed under another root")
	require.Contains(t, r.stdout, "certificate")
	for _, bad := range []string{filepath.Join(filepath.Dir(p.key), "trail.key"), "a+b+c", filepath.Join(t.TempDir(), "nothing")} {
		r := p.verify("--key", bad)
		require.Contains(t, []int{exitUsage, exitIO}, r.code)
		require.NotEmpty(t, r.stderr)
		require.NotContains(t, r.stderr, "PRIVATE+KEY", "a secret is not repeated")
	}
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	require.Equal(t, exitUsage, p.verify("--key", empty).code)
}

func TestKeygen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	r := cli("keygen", dir, "--name", "shop")
	require.Equal(t, exitOK, r.code, r.stderr)
	require.True(t, strings.HasPrefix(r.stdout, "shop+"))
	public, err := os.ReadFile(filepath.Join(dir, "trail.pub"))
	require.NoError(t, err)
	require.Equal(t, string(public), r.stdout)
	secret, err := os.ReadFile(filepath.Join(dir, "trail.key"))
	require.NoError(t, err)

	again := cli("keygen", dir)
	require.Equal(t, exitIO, again.code)
	require.Contains(t, again.stderr, "there already")
	same, err := os.ReadFile(filepath.Join(dir, "trail.key"))
	require.NoError(t, err)
	require.Equal(t, secret, same, "a key is never replaced")
	require.NotEqual(t, exitOK, cli("keygen", filepath.Join(t.TempDir(), "x"), "--name", "no good").code)
}

func TestEventsAreInOrderAndNothingElse(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	write(t, a, "a1")
	b := p.open()
	write(t, b, "b1")
	write(t, a, "a2")
	write(t, b, "b2")
	require.NoError(t, a.Close())
	c := p.open()
	write(t, c, "c1")
	write(t, b, "b3")
	require.NoError(t, c.Close())
	require.NoError(t, b.Close())
	r := cli("events", p.trail, "--anchor", p.anchor)
	require.Equal(t, result{0, `{"event":"a1"}
{"event":"b1"}
{"event":"a2"}
{"event":"b2"}
{"event":"c1"}
{"event":"b3"}
`, ""}, r)
	all := cli("events", p.trail, "--anchor", p.anchor, "--all")
	require.Len(t, lines(all.stdout), 6+2*3)
	require.Regexp(t, `^\{"time":"[^"]+Z","stream":"host/\w+","seq":0,"event":"audit.opened",`, all.stdout)
}

func TestAU7_RawLinesAreThoseOfTheLogByteByByte(t *testing.T) {
	p := newPlace(t)
	log := p.open()
	require.NoError(t, log.Append(context.Background(), [][]byte{[]byte("{\"event\":\"x\",\"user\":\"a\u202eb\"}")}))
	require.NoError(t, log.Close())
	raw, err := os.ReadFile(p.segment())
	require.NoError(t, err)
	for _, line := range lines(cli("events", p.trail, "--raw", "--all").stdout) {
		require.Contains(t, string(raw), line+"\n")
	}
	r := cli("events", p.trail)
	require.Equal(t, `{"event":"x","user":"a\u202eb"}`+"\n", r.stdout)
	require.Equal(t, exitUnknown, r.code)
	require.Contains(t, r.stderr, "UNANCHORED", "the verdict comes with the answer")
}

func TestASVS16_4_1_RawLinesAreEscapedWhereSomebodyLooks(t *testing.T) {
	p := newPlace(t)
	log := p.open()
	require.NoError(t, log.Append(context.Background(), [][]byte{[]byte("{\"event\":\"x\",\"user\":\"a\u202eb\u009b2J\"}")}))
	require.NoError(t, log.Close())
	rep, err := auditlog.Verify(context.Background(), p.trail, auditlog.VerifyOptions{Keys: []string{readFile(t, p.key)}})
	require.NoError(t, err)
	for _, tty := range []bool{false, true} {
		var out bytes.Buffer
		c := &call{stdout: bufio.NewWriter(&out), tty: tty}
		require.NoError(t, printEvents(c, &finding{rep}, false, true))
		require.NoError(t, c.stdout.Flush())
		require.Equal(t, !tty, strings.ContainsFunc(strings.TrimSuffix(out.String(), "\n"), unsafe), "%q", out.String())
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

func TestEventsBeforeTheDamageArePrinted(t *testing.T) {
	p := filled(t, "one", "two", "three")
	p.change(replace(`"three"`, `"3"`))
	r := cli("events", p.trail, "--anchor", p.anchor)
	require.Equal(t, exitTamper, r.code)
	require.Equal(t, "{\"event\":\"one\"}\n{\"event\":\"two\"}\n", r.stdout)
	require.Contains(t, r.stderr, "TAMPERED")
}

func TestAGapIsShownAmongTheEvents(t *testing.T) {
	p := newPlace(t)
	log := p.open()
	log.ReportLoss(time.Unix(0, 0), time.Unix(60, 0), map[string]int64{"login_failed": 7}, "full")
	write(t, log, "one")
	require.NoError(t, log.Close())
	out := lines(cli("events", p.trail, "--anchor", p.anchor).stdout)
	require.Len(t, out, 2)
	require.Contains(t, out[0], `"event":"audit.gap"`)
	require.Contains(t, out[0], `"login_failed":7`)
}

func TestAProofOfOneEventShowsNoOther(t *testing.T) {
	p := filled(t, "one", "secret", "three")
	r := cli("prove", p.trail, "--seq", "3")
	require.Equal(t, exitOK, r.code, r.stderr)
	require.True(t, strings.HasPrefix(r.stdout, "c2sp.org/tlog-proof@v1\n"))
	require.NotContains(t, r.stdout, "secret")
	file := filepath.Join(t.TempDir(), "x.tlog-proof")
	require.NoError(t, os.WriteFile(file, []byte(r.stdout), 0o600))
	require.NoError(t, os.RemoveAll(p.trail)) // it needs no trail
	checked := cli("verify-proof", file, "--key", p.key)
	require.Equal(t, exitOK, checked.code, checked.stderr)
	require.Equal(t, "{\"event\":\"three\"}\n", checked.stdout)
	require.Contains(t, checked.stderr, "record 3 of stream host/")

	for _, i := range everyByte([]byte(r.stdout)) {
		bad := []byte(r.stdout)
		bad[i] ^= 1
		require.NoError(t, os.WriteFile(file, bad, 0o600))
		got := cli("verify-proof", file, "--key", p.key)
		require.Equal(t, exitTamper, got.code, "byte %d", i)
		require.Empty(t, got.stdout)
	}
	require.NoError(t, os.WriteFile(file, []byte(r.stdout), 0o600))
	require.Equal(t, exitTamper, cli("verify-proof", file, "--key", filled(t, "x").key).code, "another root")
	require.Equal(t, exitUsage, cli("verify-proof", file).code)
	require.Equal(t, exitIO, cli("verify-proof", file+".none", "--key", p.key).code)
}

func TestProveAsksForWhatItNeedsToKnow(t *testing.T) {
	p := filled(t, "one")
	require.Equal(t, exitUsage, cli("prove", p.trail).code)
	require.Equal(t, exitUsage, cli("prove", p.trail, "--seq", "x").code)
	require.Equal(t, exitIO, cli("prove", p.trail, "--seq", "99").code)
	require.Equal(t, exitUsage, cli("prove", p.trail, "--seq", "1", "--stream", "host/none").code)
	log := p.open()
	write(t, log, "two")
	stream := log.Stream()
	require.NoError(t, log.Close())
	r := cli("prove", p.trail, "--seq", "1")
	require.Equal(t, exitUsage, r.code)
	require.Contains(t, r.stderr, "2 streams")
	require.Contains(t, r.stderr, stream)
	require.Equal(t, exitOK, cli("prove", p.trail, "--seq", "1", "--stream", stream).code)
}
