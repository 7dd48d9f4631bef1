package auditlog

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// cut returns the log with everything after the first n bytes of its segments
// missing.
func cut(whole dirTree, n int) dirTree {
	tree := maps.Clone(whole)
	for _, name := range whole.segments() {
		keep := min(n, len(whole[name]))
		n -= keep
		if keep == 0 {
			delete(tree, name)
		} else {
			tree[name] = whole[name][:keep]
		}
	}
	return tree
}

func total(whole dirTree) (n int) {
	for _, name := range whole.segments() {
		n += len(whole[name])
	}
	return n
}

func TestALogCutOffAnywhereIsIncompleteAndNeverTampering(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	whole := load(t, dir)
	step := 23
	if heavy() {
		step = 1
	}
	for n := 0; n < total(whole); n += step {
		other := t.TempDir()
		cut(whole, n).store(t, other)
		rep := check(t, other)
		require.Equal(t, 3, rep.ExitCode(), "%d of %d bytes: %v", n, total(whole), rep.Damage)
	}
}

func TestALogCutOffAnywhereIsTamperingWhereAnAnchorKnowsMore(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	written(t, dir, FileAnchor(anchor))
	rep := check(t, dir, withAnchor(anchor))
	require.Equal(t, 0, rep.ExitCode(), "%+v", rep)
	whole := load(t, dir)

	ends := []int{0, total(whole) - 1, total(whole) - 200}
	at := 0
	for _, name := range whole.segments() {
		for _, l := range splitLines(whole[name]) {
			at += len(l)
			ends = append(ends, at)
		}
	}
	for _, n := range ends[:len(ends)-1] { // the last end is the whole log
		other := t.TempDir()
		cut(whole, n).store(t, other)
		require.Equal(t, 3, check(t, other).ExitCode())
		rep := check(t, other, withAnchor(anchor))
		require.Equal(t, 2, rep.ExitCode(), "%d bytes: %+v", n, rep)
		require.Contains(t, []DamageKind{DamageTruncated, DamageGone}, rep.Damage[0].Kind)
		require.Equal(t, 2, check(t, other, withPin(lastHead(t, dir))).ExitCode(), "a pin does the same")
	}
}

func lastHead(t testing.TB, dir string) Head {
	st := check(t, dir).Streams[0]
	return Head{Stream: st.Name, Size: st.Size, Root: st.Root}
}

// The older copy is a sound log in itself.
func TestALogReplacedByAnOlderCopyIsTamperingWhereAnAnchorKnowsMore(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	cfg := config(dir)
	cfg.Anchors = []Anchor{FileAnchor(anchor)}
	l := open(t, cfg)
	keep(t, l, event(1))
	old := load(t, dir)
	keep(t, l, event(2))
	require.NoError(t, l.Anchor(t.Context()))
	require.NoError(t, l.Close())

	other := t.TempDir()
	old.store(t, other)
	require.Equal(t, 3, check(t, other).ExitCode())
	require.Equal(t, 2, check(t, other, withAnchor(anchor)).ExitCode())

	require.NoError(t, os.RemoveAll(filepath.Join(dir, check(t, dir).Streams[0].Dir)))
	rep := check(t, dir, withAnchor(anchor))
	require.Equal(t, 2, rep.ExitCode())
	require.Equal(t, DamageGone, rep.Damage[0].Kind)
}

// Whoever holds the root key and the machine can write another history. The
// anchor knows the first one.
func TestARewrittenHistoryIsTamperingWhereAnAnchorKnowsTheFirst(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	cfg := config(dir)
	cfg.Anchors = []Anchor{FileAnchor(anchor)}
	l := open(t, cfg)
	keep(t, l, event(1), event(2))
	require.NoError(t, l.Close())
	stream := l.Stream()
	name := load(t, dir).segments()[0]

	// The same stream once more, with the same key and other records.
	key := l.st.key
	s := &stream2{name: stream, key: key, cert: l.st.cert}
	s.add(own{Kind: ownOpened, Cert: l.st.cert}, `{"forged":1}`, `{"forged":2}`)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), s.b, 0o600))

	rep := check(t, dir)
	require.Equal(t, 3, rep.ExitCode(), "nobody can tell without an anchor: %+v", rep)
	rep = check(t, dir, withAnchor(anchor))
	require.Equal(t, 2, rep.ExitCode())
	require.Contains(t, []DamageKind{DamageRewritten, DamageTruncated}, rep.Damage[0].Kind)
}

// stream2 writes a stream by hand, as whoever holds its key can.
type stream2 struct {
	name, cert string
	key        *streamKey
	tree       tree
	prev       Hash
	b          []byte
}

func (s *stream2) line(raw []byte) {
	s.prev = hashLine(raw)
	s.b = append(append(s.b, raw...), '\n')
}

func (s *stream2) add(first own, records ...string) {
	seal := func(own bool, body []byte) {
		raw := appendRecord(nil, s.name, s.tree.size, []byte("2026-11-21T09:30:00.000000Z"), &s.prev, own, body)
		s.line(raw)
		s.tree.add(s.prev)
	}
	seal(true, first.encode())
	for _, r := range records {
		seal(false, []byte(r))
	}
	root := s.tree.root()
	sig := s.key.sign(appendSigned(nil, s.name, s.tree.size, &root))
	s.line(appendCheckpoint(nil, s.name, s.tree.size, &root, sig[:]))
}

// Streams of one machine vouch for each other, without any anchor.
func TestAnOlderStreamCutOffIsTamperingWhereALaterOneKnewMore(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	written(t, dir)
	first := check(t, dir).Streams[0].Dir
	whole := load(t, dir)
	lines := splitLines(whole[first+"/"+segmentName(1)])

	tree := maps.Clone(whole)
	tree[first+"/"+segmentName(1)] = join(lines[:len(lines)-2])
	other := t.TempDir()
	tree.store(t, other)
	rep := check(t, other)
	require.Equal(t, 2, rep.ExitCode())
	require.Equal(t, DamageTruncated, rep.Damage[0].Kind)

	other = t.TempDir()
	whole.store(t, other)
	require.NoError(t, os.RemoveAll(filepath.Join(other, first)))
	rep = check(t, other)
	require.Equal(t, 2, rep.ExitCode())
	require.Equal(t, DamageGone, rep.Damage[0].Kind)
}

// What a power failure leaves: the file is longer, its data were not written.
func TestZerosAtTheEndAreIncompleteAndZerosInTheMiddleAreTampering(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	whole := load(t, dir)
	names := whole.segments()
	name := names[len(names)-1]
	try := func(content []byte) *Report {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		return check(t, dir)
	}
	content := whole[name]
	require.Equal(t, 3, try(append(bytes.Clone(content), make([]byte, 700)...)).ExitCode(), "after the last checkpoint")

	aligned := bytes.Clone(content)
	from := len(aligned) / sector * sector
	clear(aligned[from:])
	require.Equal(t, 3, try(aligned).ExitCode(), "from a sector on")

	odd := bytes.Clone(content)
	clear(odd[len(odd)-20:])
	if (len(odd)-20)%sector != 0 {
		require.Equal(t, 2, try(odd).ExitCode(), "from somewhere on")
	}
	middle := bytes.Clone(content)
	clear(middle[512:1024])
	require.Equal(t, 2, try(middle).ExitCode(), "in the middle")
	require.Equal(t, 2, try(append(bytes.Clone(content), "\x01\x02 garbage"...)).ExitCode(), "garbage")
}

// CVE-2023-31438: a stream without its end is reported.
func TestAStreamThatDoesNotEndWithAuditClosedIsReported(t *testing.T) {
	dir, anchor := t.TempDir(), t.TempDir()
	cfg := config(dir)
	cfg.Anchors = []Anchor{FileAnchor(anchor)}
	l := open(t, cfg)
	keep(t, l, event(1))
	require.NoError(t, l.Anchor(t.Context()))
	require.Equal(t, StateLive, check(t, dir).Streams[0].State)
	require.Equal(t, 0, check(t, dir, withAnchor(anchor)).ExitCode(), "it is being written")
	crash(l)

	rep := check(t, dir, withAnchor(anchor))
	require.Equal(t, StateUnclosed, rep.Streams[0].State)
	require.Equal(t, 3, rep.ExitCode())

	// The next start records how it ended; then nothing is open any more.
	l = open(t, cfg)
	keep(t, l, event(2))
	require.NoError(t, l.Close())
	rep = check(t, dir, withAnchor(anchor))
	require.Equal(t, StateRecovered, rep.Streams[0].State)
	require.Equal(t, 0, rep.ExitCode(), "%+v", rep)
	require.Len(t, ownEvents(t, rep, ownRecovered), 1)

	l = open(t, cfg)
	require.NoError(t, l.Close())
	require.Len(t, ownEvents(t, check(t, dir), ownRecovered), 1, "once is enough")
}

// crash ends a log as the end of its process would: the lock goes, and nothing
// is written any more.
func crash(l *Log) {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	_ = l.st.release()
	l.st.file = brokenFile{}
	l.cfg.Dir = string([]byte{0})
	l.st.cfg.Dir = l.cfg.Dir
	close(l.quit)
	<-l.done
	<-l.shut
}

type brokenFile struct{}

func (brokenFile) Write([]byte) (int, error) { return 0, errors.New("broken") }
func (brokenFile) Sync() error               { return errors.New("broken") }
func (brokenFile) Close() error              { return nil }

// Torn tails of a crash, at each byte of the last batch: the next start records
// them, leaves the file as it is, and raises no alarm.
func TestATornTailIsRecordedByTheNextStart(t *testing.T) {
	dir := t.TempDir()
	l := open(t, config(dir))
	keep(t, l, event(1))
	name := load(t, dir).segments()[0]
	durable := len(load(t, dir)[name])
	keep(t, l, event(2), event(3))
	crash(l)
	whole := load(t, dir)
	step := 37
	if heavy() {
		step = 1
	}
	for n := durable + 1; n < len(whole[name]); n += step {
		other := t.TempDir()
		cut(whole, n).store(t, other)
		l := open(t, config(other))
		require.Zero(t, l.Stats().Alarms)
		require.NoError(t, l.Close())
		require.Len(t, load(t, other)[name], n, "the evidence is left as it is")
		rep := check(t, other)
		require.Equal(t, 3, rep.ExitCode(), "%v", rep.Damage)
		require.Equal(t, StateRecovered, rep.Streams[0].State)
		require.Equal(t, int64(n-durable), rep.Streams[0].Torn)
		got := ownEvents(t, rep, ownRecovered)
		require.Len(t, got, 1)
		require.Equal(t, int64(n-durable), got[0].Bytes)
		require.Len(t, got[0].SHA256, 64)
		require.Equal(t, []string{event(1)}, events(t, rep), "only what was acknowledged")
	}
}

func TestTamperingIsNoticedAtTheNextStart(t *testing.T) {
	for what, change := range map[string]func(*testing.T, string, string, dirTree){
		"altered": func(t *testing.T, dir, _ string, whole dirTree) {
			name := whole.segments()[0]
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), bytes.Replace(whole[name], []byte("192"), []byte("193"), 1), 0o600))
		},
		"cut off": func(t *testing.T, dir, _ string, whole dirTree) {
			name := whole.segments()[0]
			lines := splitLines(whole[name])
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), join(lines[:len(lines)-4]), 0o600))
		},
		"removed": func(t *testing.T, dir, sub string, _ dirTree) {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, sub)))
		},
	} {
		for _, budget := range []int64{64 << 20, -1} {
			if what == "altered" && budget < 0 {
				continue // without reading it nobody can know
			}
			t.Run(what, func(t *testing.T) {
				dir, anchor := t.TempDir(), t.TempDir()
				cfg := config(dir)
				cfg.Anchors = []Anchor{FileAnchor(anchor)}
				l := open(t, cfg)
				keep(t, l, event(1))
				keep(t, l, event(2))
				keep(t, l, event(3))
				require.NoError(t, l.Close())
				change(t, dir, check(t, dir).Streams[0].Dir, load(t, dir))

				alarms := make(chan Alarm, 10)
				cfg.OnAlarm = func(a Alarm) { alarms <- a }
				cfg.CheckAtStart = budget
				l = open(t, cfg)
				keep(t, l, event(4)) // the application goes on
				a := <-alarms
				var d *Damage
				require.ErrorAs(t, a, &d)
				require.False(t, l.Health().OK)
				require.NoError(t, l.Close())

				rep := check(t, dir, withAnchor(anchor))
				require.Equal(t, 2, rep.ExitCode())
				require.NotEmpty(t, ownEvents(t, rep, ownTamper))
			})
		}
	}
}

func TestADirectoryThatCannotBeReadIsAnErrorAndNoVerdict(t *testing.T) {
	_, err := Verify(t.Context(), filepath.Join(t.TempDir(), "missing"), VerifyOptions{Keys: []string{rootVerifier(t)}})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Verify(t.Context(), t.TempDir(), VerifyOptions{})
	require.ErrorContains(t, err, "no verifier key")
	require.Equal(t, 3, check(t, t.TempDir()).ExitCode(), "an empty directory proves nothing")
}
