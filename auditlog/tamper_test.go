package auditlog

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// tampering changes one file of a log that was written and closed, and demands
// that it is reported as tampering without any anchor.
type tampering struct {
	t     *testing.T
	dir   string
	whole dirTree
	last  string // the file that is not as it was
	name  string
	n     int
}

func newTampering(t *testing.T) *tampering {
	dir := t.TempDir()
	written(t, dir)
	rep := check(t, dir)
	require.True(t, rep.Intact())
	return &tampering{t: t, dir: dir, whole: load(t, dir), name: rep.Streams[0].Name}
}

func (x *tampering) verify(name string, content []byte) *Report {
	path := filepath.Join(x.dir, filepath.FromSlash(name))
	require.NoError(x.t, os.WriteFile(path, content, 0o600))
	if x.last != "" && x.last != path {
		x.whole.store(x.t, x.dir)
		require.NoError(x.t, os.WriteFile(path, content, 0o600))
	}
	x.last = path
	x.n++
	return check(x.t, x.dir)
}

func (x *tampering) detected(name string, content []byte, format string, args ...any) *Damage {
	rep := x.verify(name, content)
	if rep.ExitCode() != 2 {
		x.t.Fatalf("%s: "+format+": exit code %d", append(append([]any{name}, args...), rep.ExitCode())...)
	}
	return rep.Damage[0]
}

// PCI DSS 10.3.4: changed data are noticed.
func TestPCI_10_3_4_EveryFlippedByteIsTampering(t *testing.T) {
	x := newTampering(t)
	names := x.whole.segments()
	for _, name := range names {
		content := x.whole[name]
		for i := range content {
			// Every byte of the last segment, with all that may follow a line; of the
			// others, which are linked to it, one in seven, another in each line.
			masks := []byte{1 << (i % 8)}
			if !heavy() && name != names[len(names)-1] && i%7 != 0 {
				continue
			}
			if heavy() {
				masks = []byte{1, 2, 4, 8, 16, 32, 64, 128, 255}
			}
			for _, mask := range masks {
				changed := bytes.Clone(content)
				changed[i] ^= mask
				d := x.detected(name, changed, "byte %d ^ %d", i, mask)
				// The position is that of the line, or of its neighbour where the two
				// contradict each other.
				line := 1 + bytes.Count(content[:i], []byte("\n"))
				if content[i] != '\n' && d.Line > 0 && d.Segment == name {
					require.InDelta(t, line, d.Line, 1, "byte %d: %v", i, d)
				}
			}
		}
	}
	t.Log(x.n, "changes")
}

func TestEveryLineDeletedDuplicatedSwappedOrInsertedIsTampering(t *testing.T) {
	x := newTampering(t)
	names := x.whole.segments()
	var all [][]byte
	for _, name := range names {
		all = append(all, splitLines(x.whole[name])...)
	}
	for s, name := range names {
		lines := splitLines(x.whole[name])
		lastSegment := s == len(names)-1
		for i := range lines {
			if !lastSegment || i < len(lines)-1 { // without its last line a log is cut off
				x.detected(name, join(slices.Delete(slices.Clone(lines), i, i+1)), "line %d deleted", i+1)
			}
			x.detected(name, join(slices.Insert(slices.Clone(lines), i, lines[i])), "line %d duplicated", i+1)
			for j := i + 1; j < len(lines); j++ {
				swapped := slices.Clone(lines)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				x.detected(name, join(swapped), "lines %d and %d swapped", i+1, j+1)
			}
			for k, other := range all {
				if !heavy() && k%9 != i%9 {
					continue
				}
				x.detected(name, join(slices.Insert(slices.Clone(lines), i, other)), "line %d of all inserted before line %d", k+1, i+1)
			}
		}
		x.detected(name, join(append(slices.Clone(lines), lines[0])), "a line appended")
	}
	t.Log(x.n, "changes")
}

func TestTheDamageIsWhereItWasDone(t *testing.T) {
	x := newTampering(t)
	name := x.whole.segments()[0]
	lines := splitLines(x.whole[name])
	k := 4 // a record, the first of two in its batch
	for bytes.HasPrefix(lines[k], []byte(cpHead)) || bytes.HasPrefix(lines[k+1], []byte(cpHead)) {
		k++
	}
	rec, err := parseLine(bytes.TrimSuffix(lines[k], []byte("\n")), x.name)
	require.NoError(t, err)

	altered := slices.Clone(lines)
	altered[k] = bytes.Replace(lines[k], []byte("192.0.2."), []byte("192.0.3."), 1)
	d := x.detected(name, join(altered), "altered")
	require.InDelta(t, k+1, d.Line, 1)
	require.InDelta(t, rec.seq, d.Seq, 1)

	d = x.detected(name, join(slices.Delete(slices.Clone(lines), k, k+1)), "deleted")
	require.Equal(t, DamageMissing, d.Kind)
	require.Equal(t, rec.seq, d.Seq)
	require.Equal(t, k+1, d.Line)
	require.Equal(t, int64(len(join(lines[:k]))), d.Offset)

	d = x.detected(name, join(slices.Insert(slices.Clone(lines), k, lines[k-3])), "inserted")
	require.Equal(t, DamageInserted, d.Kind)
	require.Equal(t, k+1, d.Line)

	swapped := slices.Clone(lines)
	swapped[k], swapped[k+1] = swapped[k+1], swapped[k]
	d = x.detected(name, join(swapped), "swapped")
	require.Equal(t, DamageReordered, d.Kind)
	require.Equal(t, rec.seq, d.Seq)

	d = x.detected(name, join(slices.Replace(slices.Clone(lines), k, k+1, []byte("{}\n"))), "malformed")
	require.Equal(t, DamageMalformed, d.Kind)
	require.Equal(t, k+1, d.Line)
}

func TestStrippedCheckpointsAreTampering(t *testing.T) {
	x := newTampering(t)
	for _, name := range x.whole.segments() {
		lines := splitLines(x.whole[name])
		kept := slices.DeleteFunc(slices.Clone(lines), func(l []byte) bool { return bytes.HasPrefix(l, []byte(cpHead)) })
		x.detected(name, join(kept), "all stripped")
	}
}

func TestASegmentThatIsMissingInTheMiddleIsTampering(t *testing.T) {
	x := newTampering(t)
	names := x.whole.segments()
	require.GreaterOrEqual(t, len(names), 2)
	require.NoError(t, os.Remove(filepath.Join(x.dir, names[0])))
	rep := check(t, x.dir)
	require.Equal(t, 2, rep.ExitCode())
	require.Equal(t, DamageMissing, rep.Damage[0].Kind)
}

// An attacker without the keys writes the log anew, with keys of his own.
func TestAU_10_2_RecordsSealedWithAnotherKeyAreTampering(t *testing.T) {
	x := newTampering(t)
	names := x.whole.segments()
	_, other, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)

	t.Run("the last checkpoint", func(t *testing.T) {
		name := names[len(names)-1]
		lines := splitLines(x.whole[name])
		l, err := parseLine(bytes.TrimSuffix(lines[len(lines)-1], []byte("\n")), x.name)
		require.NoError(t, err)
		stream := x.name
		sig, ok := l.sig()
		require.True(t, ok)
		forged := append(bytes.Clone(sig[:4]), ed25519.Sign(other, appendSigned(nil, stream, l.seq, &l.prev))...)
		lines[len(lines)-1] = append(appendCheckpoint(nil, stream, l.seq, &l.prev, forged), '\n')
		require.Equal(t, DamageSignature, x.detected(name, join(lines), "signed again").Kind)
	})
	t.Run("a stream that no root key certified", func(t *testing.T) {
		dir := t.TempDir()
		cfg := config(dir)
		cfg.Root = other
		l := open(t, cfg)
		keep(t, l, event(1))
		require.NoError(t, l.Close())
		rep := check(t, dir)
		require.Equal(t, 2, rep.ExitCode())
		require.Equal(t, DamageCertificate, rep.Damage[0].Kind)
		require.Empty(t, events(t, rep), "nothing of it is verified")
	})
	t.Run("a root key of the same name and ID", func(t *testing.T) {
		dir := t.TempDir()
		written(t, dir)
		key, err := VerifierKey(other, "root")
		require.NoError(t, err)
		rep, err := Verify(t.Context(), dir, VerifyOptions{Keys: []string{key}})
		require.NoError(t, err)
		require.Equal(t, 2, rep.ExitCode())
	})
}

// CVE-2023-31439: a checkpoint signed with the key of another stream.
func TestAStreamsKeyVerifiesNoOtherStream(t *testing.T) {
	dir := t.TempDir()
	var keys []*streamKey
	for range 2 {
		l := open(t, config(dir))
		keys = append(keys, l.st.key)
		keep(t, l, event(1), event(2))
		require.NoError(t, l.Close())
	}
	whole := load(t, dir)
	rep := check(t, dir)
	require.True(t, rep.Intact())
	names := whole.segments()
	for i, name := range names {
		st := rep.Streams[i]
		lines := splitLines(whole[name])
		sig := keys[1-i].sign(appendSigned(nil, st.Name, st.Size, &st.Root))
		for what, sig := range map[string][]byte{
			"with its key ID":    sig[:],
			"with the right one": append(bytes.Clone(keys[i].public.id[:]), sig[4:]...),
		} {
			forged := slices.Clone(lines)
			forged[len(forged)-1] = append(appendCheckpoint(nil, st.Name, st.Size, &st.Root, sig), '\n')
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), join(forged), 0o600))
			rep := check(t, dir)
			require.Equal(t, 2, rep.ExitCode(), what)
			require.Equal(t, DamageSignature, rep.Damage[0].Kind, what)
		}
		whole.store(t, dir)
	}
}

func TestSplicedStreamsAreTampering(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		written(t, dir)
	}
	whole := load(t, dir)
	rep := check(t, dir)
	require.True(t, rep.Intact())
	a, b := rep.Streams[0].Dir, rep.Streams[1].Dir
	seg := func(sub string, n int) string { return sub + "/" + segmentName(n) }
	try := func(what string, change func(dirTree)) {
		other := t.TempDir()
		tree := make(dirTree)
		for k, v := range whole {
			tree[k] = v
		}
		change(tree)
		tree.store(t, other)
		require.Equal(t, 2, check(t, other).ExitCode(), what)
	}
	try("segment replaced", func(d dirTree) { d[seg(a, 1)] = d[seg(b, 1)] })
	try("first segment replaced", func(d dirTree) { d[seg(a, 0)] = d[seg(b, 0)] })
	try("whole stream replaced", func(d dirTree) { d[seg(a, 0)], d[seg(a, 1)] = d[seg(b, 0)], d[seg(b, 1)] })
	try("segments exchanged", func(d dirTree) { d[seg(a, 0)], d[seg(a, 1)] = d[seg(a, 1)], d[seg(a, 0)] })
	try("segment appended", func(d dirTree) { d[seg(a, 9)] = d[seg(b, 1)] })
	la, lb := splitLines(whole[seg(a, 0)]), splitLines(whole[seg(b, 0)])
	for i := range min(len(la), len(lb)) - 1 {
		try("head of one and tail of the other", func(d dirTree) { d[seg(a, 0)] = join(append(slices.Clone(la[:i+1]), lb[i+1:]...)) })
		try("one line of the other", func(d dirTree) {
			lines := slices.Clone(la)
			lines[i] = lb[i]
			d[seg(a, 0)] = join(lines)
		})
	}
}

// Whoever can compute hashes but not sign links the log anew after a change.
func TestARelinkedLogIsTampering(t *testing.T) {
	x := newTampering(t)
	names := x.whole.segments()
	name := names[len(names)-1]
	stream := x.name
	var first line
	lines := splitLines(x.whole[name])
	first, err := parseLine(bytes.TrimSuffix(lines[0], []byte("\n")), stream)
	require.NoError(t, err)

	// The tree up to this segment.
	var tr tree
	for _, earlier := range names[:len(names)-1] {
		for _, l := range splitLines(x.whole[earlier]) {
			if bytes.HasPrefix(l, []byte(recordHead)) {
				tr.add(hashLine(bytes.TrimSuffix(l, []byte("\n"))))
			}
		}
	}
	prev := first.prev
	var out [][]byte
	for _, raw := range lines {
		l, err := parseLine(bytes.TrimSuffix(raw, []byte("\n")), stream)
		require.NoError(t, err)
		var made []byte
		if l.cp {
			sig, err := base64.StdEncoding.DecodeString(string(l.body))
			require.NoError(t, err)
			root := tr.root()
			made = appendCheckpoint(nil, stream, tr.size, &root, sig)
		} else {
			body := bytes.Replace(l.body, []byte("192.0.2."), []byte("203.0.113."), 1)
			made = appendRecord(nil, stream, l.seq, l.time, &prev, l.own, body)
			tr.add(hashLine(made))
		}
		prev = hashLine(made)
		out = append(out, append(made, '\n'))
	}
	d := x.detected(name, join(out), "linked anew")
	require.Equal(t, DamageSignature, d.Kind, "all links fit; only the signature does not")
}

// Base64 leaves two bits of the last signature's last character unused.
func TestASignatureHasOneSpelling(t *testing.T) {
	x := newTampering(t)
	names := x.whole.segments()
	name := names[len(names)-1]
	content := x.whole[name]
	at := len(content) - len(cpTail) - len("\n") - len("=") - 1
	require.Equal(t, byte('='), content[at+1])
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		if c == content[at] {
			continue
		}
		changed := bytes.Clone(content)
		changed[at] = c
		x.detected(name, changed, "%c", c)
	}
}

// What comes before a checkpoint that is there twice is good, and can be read.
func TestRecordsBeforeADoubledCheckpointAreReadAndProved(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	tree := load(t, dir)
	name := tree.segments()[0]
	lines := bytes.SplitAfter(tree[name], []byte("\n"))
	doubled := slices.IndexFunc(lines, func(l []byte) bool { return bytes.HasPrefix(l, []byte(`{"cp"`)) })
	tree[name] = bytes.Join(append(slices.Clone(lines[:doubled+1]), lines[doubled:]...), nil)
	damaged := t.TempDir()
	tree.store(t, damaged)

	rep := check(t, damaged)
	require.False(t, rep.Intact())
	n := 0
	for r, err := range rep.Records(context.Background()) {
		require.NoError(t, err)
		require.EqualValues(t, n, r.Seq)
		n++
	}
	require.EqualValues(t, rep.Streams[0].Size, n)
	require.Positive(t, n)
	_, err := rep.Prove(context.Background(), rep.Streams[0].Name, 0)
	require.NoError(t, err)
}
