package auditlog

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Attacks on a log and its anchor by one who can write the files, and has no key
// but where a test says so. Each starts from a log that is intact and complete.

// expiredOnce writes a stream of several segments of which retention has removed
// the first, and a later stream that says so. It returns the directory of the
// stream in dir.
func expiredOnce(t *testing.T, dir, anchor string) (sub string) {
	synctest.Test(t, func(t *testing.T) {
		written(t, dir, FileAnchor(anchor))
		rep := check(t, dir)
		sub = rep.Streams[0].Dir
		for _, name := range load(t, dir).segments()[1:] {
			mark := filepath.Join(dir, strings.TrimSuffix(name, ".log")+".hold")
			require.NoError(t, os.WriteFile(mark, []byte("a case\n"), 0o600))
		}
		time.Sleep(2 * MinRetention)
		cfg := config(dir)
		cfg.Anchors = []Anchor{FileAnchor(anchor)}
		l, err := Open(cfg)
		require.NoError(t, err)
		removed, err := l.Expire(t.Context(), Expiry{OlderThan: MinRetention, Policy: "one year"})
		require.NoError(t, err)
		require.Equal(t, []string{sub + "/00000000.log"}, removed)
		require.NoError(t, l.Close())
		rep = check(t, dir, withAnchor(anchor))
		require.Equal(t, 0, rep.ExitCode(), "%v", rep.Damage)
	})
	return sub
}

// forgeLeaves puts leaves in the place of all segments of a stream from first
// on, in the one file of that segment. Nobody needs a key for that.
func forgeLeaves(t *testing.T, dir, sub string, first int) {
	var leaves []byte
	s := &scan{ctx: t.Context(), dir: dir, sub: sub}
	key, err := parseRoots([]string{rootVerifier(t)})
	require.NoError(t, err)
	s.roots = key
	s.leaf = func(_ int64, h Hash) error {
		if s.segments[s.seg].n >= first {
			leaves = append(leaves, h[:]...)
		}
		return nil
	}
	require.NoError(t, s.run())
	for _, g := range s.segments[first:] {
		require.NoError(t, os.Remove(filepath.Join(dir, sub, g.name)))
	}
	head := appendLeavesHead(nil, s.cert, s.last.raw)
	require.NoError(t, os.WriteFile(filepath.Join(dir, sub, leavesName(first)), append(head, leaves...), 0o600))
}

func TestALicenceToRemoveASegmentIsNoneForTheSegmentsBehindIt(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	sub := expiredOnce(t, dir, anchor)
	forgeLeaves(t, dir, sub, 0)
	rep := check(t, dir, withAnchor(anchor))
	require.Equal(t, 2, rep.ExitCode())
	require.Equal(t, DamageRemoved, rep.Damage[0].Kind)
	require.Equal(t, sub+"/00000000.log", rep.Damage[0].Segment)
}

func TestALicenceThatNobodySealedIsNone(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	sub := expiredOnce(t, dir, anchor)
	var later string
	for _, name := range load(t, dir).segments() {
		if !strings.HasPrefix(name, sub) {
			later = name
		}
	}
	victim := check(t, dir).Streams[0]
	forgeLeaves(t, dir, sub, 1)
	require.Equal(t, 2, check(t, dir).ExitCode())

	// A record that continues the last line of a stream, as a crash could leave it.
	path := filepath.Join(dir, later)
	lines := load(t, dir)[later]
	whole := splitLines(lines)
	last := bytes.TrimSuffix(whole[len(whole)-1], []byte("\n"))
	prev := hashLine(last)
	st := check(t, dir).Streams[1]
	forged := own{Kind: ownExpired, Stream: victim.Name, Segments: []int{1}, Ends: []int64{victim.Size}, Policy: "mine"}
	line := appendRecord(nil, st.Name, st.Size, []byte(formatTime(st.Last)), &prev, true, forged.encode())
	require.NoError(t, os.WriteFile(path, append(append(lines, line...), '\n'), 0o600))
	rep := check(t, dir, withAnchor(anchor))
	require.Equal(t, 2, rep.ExitCode())
	require.Equal(t, DamageRemoved, rep.Damage[0].Kind)
}

// What a crash leaves behind the last checkpoint dates nothing and closes
// nothing.
func TestWhatNoCheckpointCoversSaysNothing(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	l := open(t, config(dir))
	keep(t, l, event(1))
	a := FileAnchor(anchor)
	require.NoError(t, a.Put(t.Context(), l.Head()))
	for range 3 {
		keep(t, l, event(2))
	}
	name := load(t, dir).segments()[0]
	before := check(t, dir, withAnchor(anchor), func(o *VerifyOptions) { o.MaxLag = time.Nanosecond })
	require.Equal(t, 3, before.ExitCode())
	st := before.Streams[0]
	lines := load(t, dir)[name]
	whole := splitLines(lines)
	prev := hashLine(bytes.TrimSuffix(whole[len(whole)-1], []byte("\n")))
	for _, o := range []own{
		{Kind: ownGap, Refused: 7, Cause: "forged"},
		{Kind: ownJump},
		{Kind: ownClosed},
	} {
		line := appendRecord(nil, st.Name, st.Size, []byte("2001-01-01T00:00:00.000000Z"), &prev, true, o.encode())
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), append(append(bytes.Clone(lines), line...), '\n'), 0o600))
		rep := check(t, dir, withAnchor(anchor), func(o *VerifyOptions) { o.MaxLag = time.Nanosecond })
		got := rep.Streams[0]
		require.Equal(t, 3, rep.ExitCode(), o.Kind)
		require.Equal(t, st.Last, got.Last)
		require.Equal(t, st.Late, got.Late)
		require.Zero(t, got.GapCount)
		require.Zero(t, got.Jumps)
		require.Positive(t, got.Torn)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), lines, 0o600))
}

// A first batch that was never sealed cannot say how another stream ended.
func TestAnUnsealedOpeningIsNoWitness(t *testing.T) {
	dir := t.TempDir()
	first := open(t, config(dir))
	keep(t, first, event(1))
	keep(t, first, event(2))
	cut := first.Head()
	keep(t, first, event(3))
	require.NoError(t, first.Close())
	second := open(t, config(dir))
	require.NoError(t, second.Close())
	tree := load(t, dir)
	firstName, secondName := tree.segments()[0], tree.segments()[1]

	// The end of the first stream is cut off, and the second one, itself cut back to
	// less than its first batch, says that this was its end.
	lines := splitLines(tree[firstName])
	at := 0
	for i, raw := range lines {
		if bytes.Contains(raw, []byte(cut.Root.String())) && bytes.HasPrefix(raw, []byte(cpHead)) {
			at = i + 1
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, firstName), join(lines[:at]), 0o600))
	opened := splitLines(tree[secondName])[0]
	require.True(t, bytes.Contains(opened, []byte(ownOpened)))
	l, err := parseLine(bytes.TrimSuffix(opened, []byte("\n")), second.Stream())
	require.NoError(t, err)
	o, err := decodeOwn(l.body)
	require.NoError(t, err)
	o.Refs = nil
	forgedOpening := appendRecord(nil, second.Stream(), 0, l.time, &Hash{}, true, o.encode())
	prev := hashLine(forgedOpening)
	recovered := own{Kind: ownRecovered, Stream: cut.Stream, Size: cut.Size, Root: cut.Root.String()}
	forged := appendRecord(append(forgedOpening, '\n'), second.Stream(), 1, l.time, &prev, true, recovered.encode())
	require.NoError(t, os.WriteFile(filepath.Join(dir, secondName), append(forged, '\n'), 0o600))
	rep := check(t, dir, withPin(cut))
	require.Equal(t, StateEmpty, rep.Streams[1].State)
	require.Equal(t, StateUnclosed, rep.Streams[0].State)
	require.Equal(t, 3, rep.ExitCode())
}

// Whoever can write to an anchor, and nothing else, can make it useless and
// cannot make an intact log look tampered with.
func TestHeadsThatAreForgedOrOutOfOrderAccuseNobody(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	cfg := config(dir)
	cfg.Anchors = []Anchor{FileAnchor(anchor)}
	l := open(t, cfg)
	a := FileAnchor(anchor)
	for i := range 4 {
		keep(t, l, event(i))
		_ = a.Put(t.Context(), l.Head())
	}
	require.NoError(t, l.Close())
	require.Equal(t, 0, check(t, dir, withAnchor(anchor)).ExitCode())
	files, err := filepath.Glob(filepath.Join(anchor, "*.heads"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	whole, err := os.ReadFile(files[0])
	require.NoError(t, err)
	lines := splitLines(whole)
	require.Greater(t, len(lines), 4)
	huge := bytes.Replace(lines[2], []byte(`\n`), []byte(`\n99999999`), 1)
	for name, forged := range map[string][][]byte{
		"a forged head in the middle": {lines[0], lines[1], huge, lines[2], lines[3], lines[len(lines)-1]},
		"a forged head at the front":  append([][]byte{lines[0], huge}, lines[1:]...),
		"the other way round":         {lines[0], lines[4], lines[3], lines[2], lines[1]},
		"repeated":                    {lines[0], lines[1], lines[1], lines[4], lines[1], lines[4]},
		"two names in one line":       {lines[0], []byte(`{"cert":"x","CERT":"y","cp":"z","Cp":1}` + "\n"), lines[1]},
		"a long line":                 {lines[0], append(bytes.Repeat([]byte("x"), 5<<20), '\n'), lines[1]},
		"other line ends":             {bytes.ReplaceAll(whole, []byte("\n"), []byte("\r\n"))},
		"a byte order mark":           {[]byte("\ufeff"), whole},
		"no certificate":              lines[1:],
		"nothing":                     nil,
	} {
		require.NoError(t, os.WriteFile(files[0], join(forged), 0o600))
		rep := check(t, dir, withAnchor(anchor))
		require.NotEqual(t, 2, rep.ExitCode(), "%s: %v", name, rep.Damage)
	}
	// And a forged head hides none that is signed.
	require.NoError(t, os.WriteFile(files[0], join(append([][]byte{lines[0], huge}, lines[1:]...)), 0o600))
	name := load(t, dir).segments()[0]
	log := splitLines(load(t, dir)[name])
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), join(log[:4]), 0o600))
	require.Equal(t, 2, check(t, dir, withAnchor(anchor)).ExitCode())
}

// Spellings that a lenient parser would take for the same line.
func TestALineHasOneSpelling(t *testing.T) {
	x := newTampering(t)
	for _, name := range x.whole.segments() {
		lines := splitLines(x.whole[name])
		for i, raw := range lines {
			line := bytes.TrimSuffix(raw, []byte("\n"))
			inside := line[:len(line)-1]
			for what, forged := range map[string][]byte{
				"a space at the end":    append(bytes.Clone(line), ' '),
				"a tab at the end":      append(bytes.Clone(line), '\t'),
				"a carriage return":     append(bytes.Clone(line), '\r'),
				"a zero byte":           append(bytes.Clone(line), 0),
				"a space at the front":  append([]byte(" "), line...),
				"a byte order mark":     append([]byte("\ufeff"), line...),
				"a space in the middle": bytes.Replace(line, []byte(`":`), []byte(`": `), 1),
				"a second key":          append(append(bytes.Clone(inside), `,"seq":0`...), '}'),
				"a second event":        append(append(bytes.Clone(inside), `,"event":{}`...), '}'),
				"a second checkpoint":   append(append(bytes.Clone(inside), `,"cp":""`...), '}'),
				"an escape":             bytes.Replace(line, []byte(`a`), []byte(`\u0061`), 1),
				"an escaped slash":      bytes.Replace(line, []byte(`/`), []byte(`\/`), 1),
				"a capital key":         bytes.Replace(bytes.Replace(line, []byte(`"seq"`), []byte(`"Seq"`), 1), []byte(`"cp"`), []byte(`"CP"`), 1),
				"a leading zero":        bytes.Replace(bytes.Replace(line, []byte(`"seq":`), []byte(`"seq":0`), 1), []byte(`\n`), []byte(`\n0`), 1),
				"a line between":        append([]byte("\n"), line...),
				"a comment":             append([]byte("# nothing\n"), line...),
				"two lines in one":      append(append(bytes.Clone(line), "\r"...), line...),
				"a huge line":           append(append(bytes.Clone(inside), bytes.Repeat([]byte(" "), 3<<20)...), '}'),
				"another line end":      append(bytes.Clone(line), "\u2028"...),
			} {
				if bytes.Equal(line, forged) {
					continue // nothing in it that could be spelt otherwise
				}
				if len(forged) > maxLine && i > 0 {
					continue // slow
				}
				all := append(bytes.Clone(join(lines[:i])), forged...)
				all = append(append(all, '\n'), join(lines[i+1:])...)
				x.detected(name, all, "line %d: %s", i+1, what)
			}
		}
	}
}

// Whoever has the key of the running stream can write another history of it. He
// cannot keep the first one beside it.
func TestTwoCheckpointsOfOneSizeAreTamperingWhoeverSignedThem(t *testing.T) {
	dir := t.TempDir()
	l := open(t, config(dir))
	keep(t, l, event(1))
	key, head := l.st.key, l.Head()
	tree := load(t, dir)
	name := tree.segments()[0]
	other := Hash{1}
	for what, cp := range map[string][]byte{
		"the same size, another root": signedLine(key, head.Stream, head.Size, other),
		"the same, signed again":      signedLine(key, head.Stream, head.Size, head.Root),
		"a larger size":               signedLine(key, head.Stream, head.Size+1, other),
		"a huge size":                 signedLine(key, head.Stream, 1<<59, head.Root),
		"a smaller size":              signedLine(key, head.Stream, 1, other),
		"another stream":              signedLine(key, head.Stream+"x", head.Size, head.Root),
	} {
		forged := append(append(bytes.Clone(tree[name]), cp...), '\n')
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), forged, 0o600))
		require.Equal(t, 2, check(t, dir).ExitCode(), what)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), tree[name], 0o600))
}

func signedLine(key *streamKey, stream string, size int64, root Hash) []byte {
	sig := key.sign(appendSigned(nil, stream, size, &root))
	return appendCheckpoint(nil, stream, size, &root, sig[:])
}

// Names in the directory that are not those of a log mean nothing, however they
// look.
func TestFilesThatNoLogWritesMeanNothing(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	written(t, dir, FileAnchor(anchor))
	sub := check(t, dir).Streams[0].Dir
	require.Equal(t, 0, check(t, dir, withAnchor(anchor)).ExitCode())
	for _, name := range []string{
		"+0000000.log", "-0000000.log", "-0000001.leaves", " 0000001.log", "000_0001.log", "0x000001.log", "00000001.LOG", "1.log", "00000001.log.1", "000000001.log",
		"٠٠٠٠.log", "\x1b[2J\nintegrity OK.log", "00000000.hold",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, sub, name), []byte("{}\n"), 0o600))
		rep := check(t, dir, withAnchor(anchor))
		require.Equal(t, 0, rep.ExitCode(), "%q: %v", name, rep.Damage)
	}
	for _, name := range []string{"\x1b[2J\nintegrity OK", strings.ToLower(sub), sub + " ", "-" + sub[1:]} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "00000000.log"), []byte("x\n"), 0o600))
		require.Equal(t, 0, check(t, dir, withAnchor(anchor)).ExitCode(), "%q", name)
	}
}

// Streams cannot stand in for each other, nor parts of them.
func TestASegmentIsOfItsStreamAndOfItsPlace(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	written(t, dir)
	tree := load(t, dir)
	names := tree.segments()
	var pairs int
	for i := range names {
		for j := range names {
			if i == j {
				continue
			}
			other := t.TempDir()
			tree.store(t, other)
			require.NoError(t, os.WriteFile(filepath.Join(other, names[i]), tree[names[j]], 0o600))
			require.Equal(t, 2, check(t, other).ExitCode(), "%s in the place of %s", names[j], names[i])
			pairs++
		}
	}
	require.Greater(t, pairs, 10)
	// The whole of one stream under the name of the other, and under a third.
	subs, err := listStreams(dir)
	require.NoError(t, err)
	for _, name := range []string{subs[1], "01ARZ3NDEKTSV4RRFFQ69G5FAV"} {
		other := t.TempDir()
		tree.store(t, other)
		require.NoError(t, os.RemoveAll(filepath.Join(other, name)))
		require.NoError(t, os.Rename(filepath.Join(other, subs[0]), filepath.Join(other, name)))
		require.Equal(t, 2, check(t, other).ExitCode(), name)
	}
}
