package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// echo is a command that says what it was given.
func echo() command {
	return command{name: "echo", args: "DIR", short: "it's an echo", long: "Says what it was given.",
		setup: func(fs *flag.FlagSet) func(*call) error {
			anchor, deep := fs.String("anchor", "", "a `directory`"), fs.Bool("deep", false, "look deep")
			var pins list
			fs.Var(&pins, "pin", "a `checkpoint`; may be repeated")
			return func(c *call) error {
				_, err := fmt.Fprint(c.stdout, c.args, " ", *anchor, " ", *deep, " ", pins)
				return err
			}
		}}
}

func TestFlagsStandAnywhereWithOneDashOrTwo(t *testing.T) {
	for _, args := range [][]string{
		{"D", "-anchor", "A", "-deep", "-pin", "1", "-pin", "2"}, {"--anchor", "A", "D", "--deep", "--pin=1", "--pin=2"},
		{"--deep", "--anchor=A", "--pin", "1", "--pin", "2", "--pin", "2", "--", "D"}, {"-anchor=A", "--deep=true", "-pin=1", "-pin=2", "D"},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, 0, dispatch([]command{echo()}, append([]string{"echo"}, args...), &out, &errs), errs.String())
		require.Equal(t, "[D] A true [1 2]", out.String(), args)
	}
	var out bytes.Buffer
	require.Equal(t, 0, dispatch([]command{echo()}, []string{"echo", "--", "-deep"}, &out, &out))
	require.Equal(t, "[-deep]  false []", out.String())
}

func TestWhoCallsACommandInAWrongWayIsToldHowToCallIt(t *testing.T) {
	for _, args := range [][]string{nil, {"nothing"}, {"echo"}, {"echo", "a", "b"}, {"echo", "a", "--nothing"}, {"echo", "a", "--anchor"},
		{"echo", "a", "--pin", ""}, {"help", "nothing"}, {"help", "echo", "echo"}, {"completion"}, {"completion", "sh"}} {
		var out, errs bytes.Buffer
		require.Equal(t, exitUsage, dispatch([]command{echo()}, args, &out, &errs), "%q", args)
		require.Empty(t, out.String())
		require.Regexp(t, "usage|no command", errs.String())
	}
}

func TestHelpIsForStandardOutput(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"-h"}, {"--help"}} {
		r := cli(args...)
		require.Equal(t, 0, r.code)
		require.Empty(t, r.stderr)
		for _, cmd := range commands() {
			require.Contains(t, r.stdout, cmd.name)
			require.Contains(t, r.stdout, cmd.short)
		}
	}
	for _, cmd := range commands() {
		long := cli("help", cmd.name)
		require.Equal(t, 0, long.code)
		require.Equal(t, long, cli(cmd.name, "-h"))
		require.Equal(t, long, cli(cmd.name, "--help"))
		for line := range strings.Lines(long.stdout) {
			require.LessOrEqual(t, len(line), 160, line)
		}
		for _, name := range cmd.flagNames() {
			require.Contains(t, long.stdout, name)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestAnAnswerThatCannotBeWrittenIsNoAnswer(t *testing.T) {
	var errs bytes.Buffer
	require.Equal(t, exitIO, run([]string{"event-types"}, fullDisk{}, &errs))
	require.Contains(t, errs.String(), "closed")
}

func TestTheCompletionsAreScriptsOfTheirShells(t *testing.T) {
	for shell, ask := range map[string]string{
		"bash": `COMP_WORDS=(scsguard ev) COMP_CWORD=1; _scsguard; echo "${COMPREPLY[@]}"
			COMP_WORDS=(scsguard help "") COMP_CWORD=2; _scsguard; echo "${#COMPREPLY[@]}"`,
		"zsh":  "",
		"fish": "",
	} {
		r := cli("completion", shell)
		require.Equal(t, 0, r.code)
		for _, cmd := range commands() {
			require.Contains(t, r.stdout, cmd.name)
		}
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("%s is not installed, so its script is not run", shell)
			continue
		}
		file := filepath.Join(t.TempDir(), "completion")
		require.NoError(t, os.WriteFile(file, []byte(r.stdout+ask), 0o600))
		if shell != "bash" {
			out, err := exec.Command(shell, "-n", file).CombinedOutput()
			require.NoError(t, err, string(out))
			continue
		}
		out, err := exec.Command(shell, file).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "event-types")
		require.Contains(t, string(out), fmt.Sprintf("\n%d\n", len(commands())))
	}
}

func TestASVS16_4_1_NothingReachesTheTerminalThatCouldChangeWhatItShows(t *testing.T) {
	for in, want := range map[string]string{
		`{"user":"alice"}`: `{"user":"alice"}`, `{"user":"Zoë 北京"}`: `{"user":"Zoë 北京"}`,
		"{\"user\":\"a\u009b31m\"}": `{"user":"a\u009b31m"}`, "{\"user\":\"a\u202eb\"}": `{"user":"a\u202eb"}`, "{\"a\":\"\u2028\x7f\ufeff\"}": `{"a":"\u2028\u007f\ufeff"}`,
		"{\"a\":\"\U000e0041\"}": `{"a":"\udb40\udc41"}`,
	} {
		require.Equal(t, want, string(safeJSON([]byte(in))))
		require.JSONEq(t, in, want, "the value is the same")
	}
	require.Equal(t, `file \u001b[31m`+"\n  two", printable("file \x1b[31m\ntwo"))
}

func FuzzSafeJSON(f *testing.F) {
	f.Add("a\u202e\U000e0041\x00\xff")
	f.Fuzz(func(t *testing.T, s string) {
		line, err := json.Marshal(map[string]string{"v": s})
		if err != nil {
			t.Fatal(err)
		}
		safe := safeJSON(line)
		if i := bytes.IndexFunc(safe, unsafe); i >= 0 {
			t.Errorf("%q at %d", safe, i)
		}
		var in, out any
		if json.Unmarshal(line, &in) != nil || json.Unmarshal(safe, &out) != nil || fmt.Sprint(in) != fmt.Sprint(out) {
			t.Errorf("%q became %q", line, safe)
		}
	})
}

func TestTheProgressBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var term bytes.Buffer
		p := &progress{w: &term, what: "verify", total: 1000 * 1000 * 1000, start: time.Now()}
		p.at(1)
		time.Sleep(barPatience - time.Nanosecond)
		p.at(100 * 1000 * 1000)
		p.done()
		require.Empty(t, term.String(), "what is over soon draws nothing")
		time.Sleep(time.Nanosecond)
		p.at(250 * 1000 * 1000)
		require.Equal(t, "\rverify  [#######.......................]  25 %  500.0 MB/s  2s left", term.String())
		p.at(260 * 1000 * 1000)
		time.Sleep(barEvery - time.Nanosecond)
		p.at(260 * 1000 * 1000)
		require.Equal(t, 1, strings.Count(term.String(), "\r"), "not more often than somebody can read")
		time.Sleep(time.Nanosecond)
		p.at(2 * 1000 * 1000 * 1000)
		require.Contains(t, term.String(), "2.0 GB  3.3 GB/s", "more than there was at the beginning: the log grows")
		p.done()
		require.Regexp(t, "\r *\r$", term.String(), "it leaves an empty line")
	})
	synctest.Test(t, func(t *testing.T) {
		var term bytes.Buffer
		b := &bars{}
		verify, read := &progress{w: &term, what: "verifying"}, &progress{w: &term, what: "reading"}
		first, second := b.add(verify), b.add(read)
		first(0, 100)
		time.Sleep(barPatience)
		first(50, 100)
		require.Contains(t, term.String(), "verifying  [####")
		term.Reset()
		second(0, 100)
		require.Regexp(t, "^\r *\r$", term.String(), "one bar at a time")
		term.Reset()
		time.Sleep(barPatience)
		second(10, 100)
		require.Contains(t, term.String(), "reading  [###.")
		b.done()
		term.Reset()
		b.done()
		require.Empty(t, term.String(), "it was taken away")
	})
	var file bytes.Buffer
	p := newProgress(&file, "verify", 10)
	p.start = time.Now().Add(-time.Hour)
	p.at(5)
	p.done()
	require.Empty(t, file.String(), "only on a terminal")
	require.Equal(t, "999 B", size(999))
	require.Equal(t, "1.0 kB", size(1000))
}
