package auditlog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func TestEveryRecordOfEverySizeIsProvableAndEveryFlippedByteOfAProofIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, config(dir))
	for i := range 20 {
		keep(t, l, event(i))
		rep := check(t, dir)
		for seq := range rep.Streams[0].Size {
			proof, err := rep.Prove(t.Context(), l.Stream(), seq)
			require.NoError(t, err)
			p, err := VerifyProof(proof, []string{rootVerifier(t)})
			require.NoError(t, err)
			require.Equal(t, seq, p.Record.Seq)
			require.Equal(t, rep.Streams[0].Root, p.Head.Root)
			if seq > 0 {
				require.Equal(t, event(int(seq-1)), string(p.Record.Event))
			}
		}
	}
	rep := check(t, dir)
	proof, err := rep.Prove(t.Context(), l.Stream(), 7)
	require.NoError(t, err)
	for i := range proof {
		changed := bytes.Clone(proof)
		changed[i] ^= 1 << (i % 8)
		_, err := VerifyProof(changed, []string{rootVerifier(t)})
		require.Error(t, err, "byte %d", i)
		_, err = VerifyProof(proof[:i], []string{rootVerifier(t)})
		require.Error(t, err, "cut at %d", i)
	}
	_, err = VerifyProof(append(proof, '\n'), []string{rootVerifier(t)})
	require.Error(t, err)
	_, err = rep.Prove(t.Context(), l.Stream(), rep.Streams[0].Size)
	require.Error(t, err)
}

// What is known to be wanted is gathered while the log is verified, also when lines
// follow that no checkpoint covers.
func TestProofsThatAreWantedAreMadeWhileTheLogIsVerified(t *testing.T) {
	dir := t.TempDir()
	l := open(t, config(dir))
	for i := range 40 {
		keep(t, l, event(i), event(100+i), event(200+i))
		if i%13 > 0 {
			continue
		}
		copied := t.TempDir()
		require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
		files, err := filepath.Glob(filepath.Join(copied, "*", "*.log"))
		require.NoError(t, err)
		b, err := os.ReadFile(files[0])
		require.NoError(t, err)
		if i > 0 { // a checkpoint that was cut off
			require.NoError(t, os.WriteFile(files[0], b[:len(b)-20], 0o600))
		}
		plain := check(t, copied)
		var places []Place
		for seq := range plain.Streams[0].Size {
			places = append(places, Place{plain.Streams[0].Name, seq})
		}
		want, err := plain.ProveAll(t.Context(), places)
		require.NoError(t, err)
		for _, stream := range []string{plain.Streams[0].Name, ""} {
			for j := range places {
				places[j].Stream = stream
			}
			rep, err := Verify(t.Context(), copied, VerifyOptions{Keys: []string{rootVerifier(t)}, Prove: append([]Place{{stream, 1 << 40}, {stream, -1}}, places...)})
			require.NoError(t, err)
			if stream == "" {
				require.NoError(t, os.RemoveAll(copied)) // nothing is read
			}
			for j := range places {
				proof, err := rep.Prove(t.Context(), plain.Streams[0].Name, places[j].Seq)
				require.NoError(t, err)
				require.Equal(t, string(want[j]), string(proof))
				_, err = VerifyProof(proof, []string{rootVerifier(t)})
				require.NoError(t, err)
			}
		}
	}
}

// The tree, the checkpoints and the keys are those of the published formats:
// other programs read them.
func TestAnyoneElsesLibraryReadsCheckpointsAndTrees(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	rep := check(t, dir)
	st := rep.Streams[0]
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(list []int64) (out []tlog.Hash, err error) {
		for _, i := range list {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	var mine tree
	for r, err := range rep.Records(t.Context()) {
		require.NoError(t, err)
		more, err := tlog.StoredHashes(r.Seq, r.Line, reader)
		require.NoError(t, err)
		hashes = append(hashes, more...)
		mine.add(r.Leaf)
		want, err := tlog.TreeHash(r.Seq+1, reader)
		require.NoError(t, err)
		require.Equal(t, want, mine.root())
	}
	want, err := tlog.TreeHash(st.Size, reader)
	require.NoError(t, err)
	require.Equal(t, want, st.Root)

	open := func(text, vkey string) string {
		v, err := note.NewVerifier(vkey)
		require.NoError(t, err)
		n, err := note.Open([]byte(text), note.VerifierList(v))
		require.NoError(t, err)
		return n.Text
	}
	cert := open(st.Cert, rootVerifier(t))
	var head, name, key string
	head, rest, _ := bytesCut(cert)
	name, rest, _ = bytesCut(rest)
	key, _, _ = bytesCut(rest)
	require.Equal(t, certHead, head)
	require.Equal(t, st.Name, name)
	require.Equal(t, fmt.Sprintf("%s\n%d\n%s\n", st.Name, st.Size, st.Root), open(st.Checkpoint, key))
}

func bytesCut(s string) (string, string, bool) {
	a, b, ok := bytes.Cut([]byte(s), []byte("\n"))
	return string(a), string(b), ok
}

func TestAReportOfFilesThatChangedSinceYieldsAnError(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	rep := check(t, dir)
	whole := load(t, dir)
	names := whole.segments()
	whole[names[0]] = bytes.Replace(whole[names[0]], []byte("192.0.2."), []byte("192.0.3."), 1)
	whole.store(t, dir)
	var failed error
	for _, err := range rep.Records(t.Context()) {
		if err != nil {
			failed = err
		}
	}
	require.Error(t, failed)
	_, err := rep.Prove(t.Context(), rep.Streams[0].Name, 1)
	require.Error(t, err)
}

// Of a damaged stream only what a signature covers is given out.
func TestADamagedStreamYieldsWhatIsSignedBeforeTheDamage(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	whole := load(t, dir)
	names := whole.segments()
	last := names[len(names)-1]
	whole[last] = bytes.Replace(whole[last], []byte("192.0.2."), []byte("192.0.3."), 1)
	whole.store(t, dir)
	rep := check(t, dir)
	require.Equal(t, 2, rep.ExitCode())
	got := events(t, rep)
	require.NotEmpty(t, got)
	for _, e := range got {
		require.NotContains(t, e, "192.0.3.")
	}
}
