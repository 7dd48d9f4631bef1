package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bundled makes a bundle of a place and moves it to another one, where nothing of
// the first is left.
func bundled(t *testing.T, p *place, flags ...string) (dir string, r result) {
	t.Helper()
	out := t.TempDir()
	r = p.ask("bundle", append([]string{"--case", "case-17", "--out", out}, flags...)...)
	dir = filepath.Join(t.TempDir(), "elsewhere")
	if r.code < exitUsage {
		require.NoError(t, os.Rename(filepath.Join(out, "case-17"), dir))
		require.NoError(t, os.RemoveAll(filepath.Dir(p.trail)))
	}
	return dir, r
}

// verifyBundle runs what the README says.
func verifyBundle(t *testing.T, dir string) result {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	command := regexp.MustCompile(`(?m)^   scsguard (verify .*)$`).FindSubmatch(readme)
	require.NotNil(t, command, string(readme))
	t.Chdir(dir)
	args, err := splitWords(string(command[1]))
	require.NoError(t, err)
	return cli(args...)
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(b)
}

func TestABundleIsVerifiedWhereNothingElseIs(t *testing.T) {
	dir, r := bundled(t, told(t), "--ask", "active --session S --at "+minute(5), "--ask", `active --session "S" --at '`+minute(15)+`'`, "--ask", "timeline --session S")
	require.Equal(t, exitOK, r.code, r.stderr)
	v := verifyBundle(t, dir)
	require.Equal(t, exitOK, v.code, v.stdout+v.stderr)

	var asked []ask
	require.NoError(t, json.Unmarshal([]byte(read(t, dir, "questions.json")), &asked))
	require.Len(t, asked, 3)
	require.Equal(t, []string{"yes", "no", "yes"}, []string{asked[0].Answer, asked[1].Answer, asked[2].Answer})
	require.Equal(t, 1, asked[1].ExitCode)
	for _, a := range asked { // they can be asked again, and the answer is the same
		words, err := splitWords(a.Command)
		require.NoError(t, err)
		again := cli(append(words[1:], "--proof")...)
		require.Equal(t, a.ExitCode, again.code)
		require.Equal(t, "$ "+a.Command+"\n"+again.stdout+fmt.Sprintf("\nexit code %d, asked at %s by %s\n", a.ExitCode, a.AskedAt, a.AskedBy), read(t, dir, a.File+".txt"))
	}

	proofs, err := filepath.Glob(filepath.Join(dir, "proofs", "*"))
	require.NoError(t, err)
	require.Len(t, proofs, 3, "login, transfer and logout")
	for _, p := range proofs {
		require.Equal(t, exitOK, cli("verify-proof", p, "--key", "keys/trail.pub").code)
	}
	for _, sum := range lines(read(t, dir, "SHA256SUMS")) {
		require.FileExists(t, filepath.Join(dir, sum[66:]))
	}
	require.NoError(t, walkFiles(dir, func(name string) error {
		require.NotContains(t, read(t, dir, name), "PRIVATE", name)
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Zero(t, info.Mode()&0o077, "only its owner reads %s", name)
		return nil
	}))
}

func TestABundleThatWasChangedIsNotAccepted(t *testing.T) {
	made, r := bundled(t, told(t))
	require.Equal(t, exitOK, r.code, r.stderr)
	stream, err := filepath.Glob(filepath.Join(made, "trail", "*", "*.log"))
	require.NoError(t, err)
	segment, err := filepath.Rel(made, stream[0])
	require.NoError(t, err)
	for name, change := range map[string]func(dir string) error{
		"a word": func(dir string) error {
			text := read(t, dir, segment)
			return os.WriteFile(filepath.Join(dir, segment), []byte(strings.Replace(text, "alice", "carol", 1)), 0o600)
		},
		"the end": func(dir string) error {
			all := strings.SplitAfter(read(t, dir, segment), "\n")
			return os.WriteFile(filepath.Join(dir, segment), []byte(strings.Join(all[:len(all)-3], "")), 0o600)
		},
		"a stream": func(dir string) error { return os.RemoveAll(filepath.Dir(filepath.Join(dir, segment))) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "copy")
			require.NoError(t, os.CopyFS(dir, os.DirFS(made)))
			require.NoError(t, change(dir))
			v := verifyBundle(t, dir)
			require.Equal(t, exitTamper, v.code, v.stdout)
		})
	}
}

func TestABundleSaysHowGoodTheTrailIs(t *testing.T) {
	p := told(t)
	out := t.TempDir()
	r := cli("bundle", p.trail, "--key", p.key, "--case", "bare", "--out", out)
	require.Equal(t, exitUnknown, r.code)
	require.Contains(t, read(t, out, "bare", "README.md"), "There was no anchor.")

	p.change(func(s string) string { return strings.Replace(s, "alice", "carol", 1) })
	r = p.ask("bundle", "--case", "changed", "--out", out, "--ask", "active --session S --at now")
	require.Equal(t, exitTamper, r.code, r.stderr)
	require.Contains(t, read(t, out, "changed", "README.md"), "**The trail was not as it was written")
	require.Contains(t, read(t, out, "changed", "answers", "01-active.txt"), "exit code 2")
}

func TestABundleIsMadeWholeOrNotAtAll(t *testing.T) {
	p := told(t)
	out := t.TempDir()
	for _, flags := range [][]string{
		{}, {"--case", "../x"}, {"--case", ".x"}, {"--case", "a b"}, {"--case", "c", "--ask", "keygen"}, {"--case", "c", "--ask", "active --session"},
		{"--case", "c", "--ask", "active --session S --at now --key x"}, {"--case", "c", "--ask", "timeline DIR"}, {"--case", "c", "--ask", "timeline --user 'a"}, {"--case", "c", "--ask", "concurrent"},
	} {
		require.Equal(t, exitUsage, p.ask("bundle", append(flags, "--out", out)...).code, "%q", flags)
	}
	require.Equal(t, exitIO, p.ask("bundle", "--case", "c", "--out", filepath.Join(out, "nowhere")).code)
	require.NoError(t, os.Mkdir(filepath.Join(out, "there"), 0o700))
	require.Equal(t, exitIO, p.ask("bundle", "--case", "there", "--out", out).code, "nothing is replaced")
	left, err := os.ReadDir(out)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing half made is left")
}

func TestABundleCopiesNothingThatATrailPointsAt(t *testing.T) {
	p := told(t)
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("the investigator's secret"), 0o600))
	if err := os.Symlink(secret, filepath.Join(filepath.Dir(p.segment()), "leak")); err != nil {
		t.Skip("no links here: ", err)
	}
	dir, r := bundled(t, p)
	require.Contains(t, r.stderr, "left out")
	require.NoError(t, walkFiles(dir, func(name string) error {
		require.NotContains(t, read(t, dir, name), "investigator's secret", name)
		return nil
	}))
}

// All questions of a bundle are asked while the copy is verified, and those that read
// again do so together. None of that can be seen in an answer.
func TestAnAnswerInABundleIsWhatTheQuestionAnswersByItself(t *testing.T) {
	p, out := told(t), t.TempDir()
	flags := []string{"--case", "c", "--out", out}
	questions := []string{"active --session S --at " + minute(5), "active --user alice --at " + minute(5), "sessions", "timeline --all", "timeline --user alice",
		"concurrent --user alice --unusual-ip", "extensions --session S", "transaction --id X", "transaction --id none", "review --to " + minute(60), "sessions --user nobody"}
	for _, q := range questions {
		flags = append(flags, "--ask", q)
	}
	require.Equal(t, exitOK, p.ask("bundle", flags...).code)
	t.Chdir(filepath.Join(out, "c"))
	var asked []ask
	require.NoError(t, json.Unmarshal([]byte(read(t, "questions.json")), &asked))
	require.Len(t, asked, len(questions))
	sums := read(t, "SHA256SUMS")
	for i, a := range asked {
		words, err := splitWords(a.Command)
		require.NoError(t, err)
		words = append(words[1:], "--proof")
		alone := cli(words...)
		require.Equal(t, a.ExitCode, alone.code, questions[i])
		require.Equal(t, "$ "+a.Command+"\n"+alone.stdout+fmt.Sprintf("\nexit code %d, asked at %s by %s\n", a.ExitCode, a.AskedAt, a.AskedBy), read(t, a.File+".txt"))
		require.Equal(t, cli(append(words, "--format", "json")...).stdout, read(t, a.File+".json"), questions[i])
	}
	for _, line := range lines(sums) {
		require.Equal(t, line[:64], fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, line[66:])))), line)
	}
}

// What nobody knows of was not asked: the record of it comes before the answers.
func TestABundleThatCannotBeRecordedAnswersNothing(t *testing.T) {
	p, out := told(t), t.TempDir()
	queries := filepath.Join(t.TempDir(), "queries")
	require.NoError(t, os.WriteFile(queries, nil, 0o600))
	r := p.ask("bundle", "--case", "c", "--out", out, "--query-trail", queries, "--ask", "active --session S --at "+minute(5))
	require.Equal(t, exitIO, r.code)
	require.Contains(t, r.stderr, "could not be recorded")
	left, err := os.ReadDir(out)
	require.NoError(t, err)
	require.Empty(t, left)
	queries = filepath.Join(t.TempDir(), "queries")
	require.Equal(t, exitOK, p.ask("bundle", "--case", "c", "--out", out, "--query-trail", queries).code)
	recorded := cli("events", queries, "--key", filepath.Join(queries+"-keys", "trail.pub")).stdout
	require.Contains(t, recorded, `"trail 1":"`+p.trail+`: OK, ANCHORED"`, "by the name that the investigator knows")
}

// The trail is copied first, and the copy verified. What is wrong with it may have come
// in between, and then there is no bundle.
func TestACopyIsOnlyAsBadAsTheTrail(t *testing.T) {
	p := told(t)
	var q question
	q.keys, q.anchors = list{p.key}, list{p.anchor}
	var b bundler
	c := &call{args: []string{p.trail}, stderr: io.Discard}
	require.ErrorContains(t, b.wasChanged(c, &q), "not as the trail is")
	p.change(func(s string) string { return strings.Replace(s, "alice", "carol", 1) })
	require.NoError(t, b.wasChanged(c, &q))
	q.anchors = list{p.key}
	require.Error(t, b.wasChanged(c, &q))
}

// Whoever writes to the trail may put the link there after its directory was listed.
func TestALinkThatComesLateIsNotFollowed(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("the investigator's secret"), 0o600))
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	if err := os.Symlink(secret, filepath.Join(root.Name(), "leak")); err != nil {
		t.Skip("no links here: ", err)
	}
	b := bundler{dir: t.TempDir(), hashes: make(map[string]string)}
	require.Error(t, b.copyFile(root, "leak", "copy"))
	require.NoFileExists(t, filepath.Join(b.dir, "copy"))
}

func TestABundleOfSeveralTrailsHasEachWithItsAnchor(t *testing.T) {
	one, two := told(t), told(t)
	out, queries := t.TempDir(), filepath.Join(t.TempDir(), "queries")
	r := cli("bundle", one.trail, two.trail, "--key", one.key, "--key", two.key, "--anchor", one.anchor, "--anchor", two.anchor,
		"--case", "both", "--out", out, "--query-trail", queries, "--ask", "sessions --user alice")
	require.Equal(t, exitOK, r.code, r.stderr)
	t.Chdir(filepath.Join(out, "both"))
	for _, n := range []string{"1", "2"} {
		require.Equal(t, exitOK, cli("verify", "trail-"+n, "--key", "keys/trail.pub", "--anchor", "anchor-"+n).code)
	}
	require.Contains(t, cli("events", "queries", "--key", "keys/queries.pub").stdout, "bundle "+one.trail)
	require.Contains(t, read(t, "answers/01-sessions.txt"), "$ scsguard sessions --user alice trail-1 trail-2 --key keys/trail.pub")
}
