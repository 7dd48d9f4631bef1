package auditlog

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the parser takes is exactly what the writer writes.
func FuzzParseLine(f *testing.F) {
	dir := filepath.Join(golden, "closed") // the same in each process that fuzzes
	name := check(f, dir).Streams[0].Name
	whole := load(f, dir)
	for _, seg := range whole.segments() {
		for _, l := range splitLines(whole[seg]) {
			f.Add(bytes.TrimSuffix(l, []byte("\n")))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := parseLine(raw, name)
		if err != nil {
			return
		}
		if !l.cp {
			require.Equal(t, string(raw), string(appendRecord(nil, name, l.seq, l.time, &l.prev, l.own, l.body)))
			return
		}
		if sig, ok := l.sig(); ok {
			require.Equal(t, string(raw), string(appendCheckpoint(nil, name, l.seq, &l.prev, sig)))
		}
	})
}

// The verifier never panics, and of a segment it accepts only what was written:
// its beginning, up to a checkpoint, and a torn end.
func FuzzVerify(f *testing.F) {
	dir := filepath.Join(golden, "closed")
	whole := load(f, dir)
	name := whole.segments()[0]
	original := whole[name]
	lines := splitLines(original)
	f.Add(original)
	for i := range lines {
		f.Add(join(lines[:i]))
		f.Add(append(join(lines[:i]), lines[i][:len(lines[i])/2]...))
		f.Add(append(join(lines[:i]), make([]byte, 600)...))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, content, 0o600))
		rep := check(t, dir)
		st := rep.Streams[0]
		if rep.Intact() {
			sealed := content[:len(content)-int(st.Torn)]
			require.True(t, bytes.HasPrefix(original, sealed), "accepted: %q", sealed)
		}
		n := 0
		for r, err := range rep.Records(context.Background()) {
			require.NoError(t, err)
			require.True(t, bytes.Contains(original, append(bytes.Clone(r.Line), '\n')))
			n++
		}
		require.Equal(t, int(st.Size), n)
	})
}

func FuzzVerifyProof(f *testing.F) {
	dir := filepath.Join(golden, "closed") // the same in each process that fuzzes
	rep := check(f, dir)
	want := make(map[string]bool)
	for seq := range rep.Streams[0].Size {
		proof, err := rep.Prove(context.Background(), rep.Streams[0].Name, seq)
		require.NoError(f, err)
		want[string(proof)] = true
		f.Add(proof)
	}
	f.Fuzz(func(t *testing.T, proof []byte) {
		if _, err := VerifyProof(proof, []string{rootVerifier(t)}); err == nil {
			require.True(t, want[string(proof)], "a proof that was never made: %q", proof)
		}
	})
}

func FuzzParsePin(f *testing.F) {
	dir := filepath.Join(golden, "closed") // the same in each process that fuzzes
	st := check(f, dir).Streams[0]
	f.Add(Head{Stream: st.Name, Size: st.Size, Root: st.Root}.String())
	f.Add(st.Checkpoint)
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParsePin(text)
		if err != nil {
			return
		}
		again, err := ParsePin(h.String())
		require.NoError(t, err)
		require.Equal(t, h, again)
	})
}
