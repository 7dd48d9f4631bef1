package auditlog

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// kinds returns what the log says about itself, in order.
func kinds(t testing.TB, rep *Report) (list []string) {
	for r, err := range rep.Records(t.Context()) {
		require.NoError(t, err)
		if !r.Own {
			list = append(list, "-")
			continue
		}
		o, err := decodeOwn(r.Event)
		require.NoError(t, err)
		list = append(list, o.Kind)
	}
	return list
}

// PCI DSS 10.2.1.6: start, stop and rotation of the log are in the log.
func TestPCI_10_2_1_6_BeginningEndRotationAndCrashAreOnTheRecord(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentBytes, cfg.ConfigDigest = 1024, "sha256:1234"
	l := open(t, cfg)
	keep(t, l, event(1))
	keep(t, l, event(2))
	require.NoError(t, l.Close())
	rep := check(t, dir)
	require.Equal(t, []string{ownOpened, "-", ownRotated, "-", ownClosed}, kinds(t, rep))
	require.Equal(t, "sha256:1234", ownEvents(t, rep, ownOpened)[0].Config)

	l = open(t, cfg)
	keep(t, l, event(3))
	crash(l)
	l = open(t, cfg)
	require.NoError(t, l.Close())
	require.Equal(t, []string{ownOpened, "-", ownRotated, "-", ownClosed, ownOpened, "-", ownOpened, ownRecovered, ownClosed}, kinds(t, check(t, dir)))
}

func TestASegmentEndsWithItsAgeToTheNanosecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t.TempDir())
		cfg.SegmentAge, cfg.Heartbeat = time.Hour, 100*time.Hour
		l, err := Open(cfg)
		require.NoError(t, err)
		time.Sleep(time.Hour - 1)
		keep(t, l, event(1))
		time.Sleep(time.Nanosecond)
		keep(t, l, event(2))
		require.NoError(t, l.Close())
		require.Equal(t, []string{ownOpened, "-", ownRotated, "-", ownClosed}, kinds(t, check(t, cfg.Dir)))
	})
}

// The empty interval can be told from the lost one.
func TestAnIdleLogRecordsThatItIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t.TempDir())
		cfg.Heartbeat = time.Minute
		l, err := Open(cfg)
		require.NoError(t, err)
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		require.Empty(t, ownEvents(t, check(t, cfg.Dir), ownHeartbeat))
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Len(t, ownEvents(t, check(t, cfg.Dir), ownHeartbeat), 1)
		keep(t, l, event(1))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		beats := ownEvents(t, check(t, cfg.Dir), ownHeartbeat)
		require.Len(t, beats, 3)
		require.Equal(t, int64(1), beats[2].Appended)
		require.NoError(t, l.Close())
	})
}

// PCI DSS 10.6.3: changes of the clock are on the record; order is by seq.
func TestPCI_10_6_3_AClockThatIsSetBackIsOnTheRecordAndTheOrderStays(t *testing.T) {
	var offset atomic.Int64
	started := time.Now()
	cfg := config(t.TempDir())
	cfg.clock = func() (time.Time, time.Duration) {
		mono := time.Since(started)
		return started.Round(0).Add(mono + time.Duration(offset.Load())), mono
	}
	l := open(t, cfg)
	keep(t, l, event(1))
	offset.Store(-int64(time.Hour))
	keep(t, l, event(2))
	keep(t, l, event(3))
	offset.Store(0)
	keep(t, l, event(4))
	require.NoError(t, l.Close())
	rep := check(t, cfg.Dir)
	require.Equal(t, []string{event(1), event(2), event(3), event(4)}, events(t, rep))
	require.Equal(t, []string{ownOpened, "-", ownJump, "-", "-", ownJump, "-", ownClosed}, kinds(t, rep))
	require.Equal(t, int64(2), rep.Streams[0].Jumps)
	j := ownEvents(t, rep, ownJump)[0]
	require.InDelta(t, time.Hour, parseTime([]byte(j.From)).Sub(parseTime([]byte(j.To))), float64(time.Second))
}

// AU-8, ASVS 5.0 16.2.2: UTC, finer than a second.
func TestASVS_16_2_2_TimesAreUTCWithMicroseconds(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	shape := regexp.MustCompile(`^\{"v":1,"stream":"[^"]+","seq":\d+,"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z","prev":"`)
	before := time.Time{}
	for r, err := range check(t, dir).Records(t.Context()) {
		require.NoError(t, err)
		require.Regexp(t, shape, string(r.Line))
		require.Equal(t, time.UTC, r.Time.Location())
		require.False(t, r.Time.Before(before))
		require.WithinDuration(t, time.Now(), r.Time, time.Minute)
		before = r.Time
	}
}

// AU-6(3), AU-7: what comes out is byte by byte what went in.
func TestAU_7_RecordsComeBackByteByByteInOrder(t *testing.T) {
	dir := t.TempDir()
	l := open(t, config(dir))
	odd := []string{`{"b":1,"a":2,"a":3}`, `{ "spaces" : [ 1 , 2 ] }`, `{"u":"\u2028 é ` + "\u2028" + `"}`, `{"f":1.0e3,"n":null}`, `{}`, `{"event":{"event":"audit.closed"}}`, `{"x":"\"}"}`}
	keep(t, l, odd...)
	require.NoError(t, l.Close())
	rep := check(t, dir)
	require.Equal(t, odd, events(t, rep))
	whole := load(t, dir)[rep.Streams[0].Dir+"/"+segmentName(0)]
	for r, err := range rep.Records(t.Context()) {
		require.NoError(t, err)
		require.Contains(t, string(whole), string(r.Line)+"\n")
		require.Equal(t, hashLine(r.Line), r.Leaf)
		require.True(t, json.Valid(r.Line))
	}
}

// AU-9(3): the public key is enough to verify, and forges nothing.
func TestAU_9_3_ThePublicKeyAloneVerifies(t *testing.T) {
	signing, verifying, err := GenerateKey(nil, "shop-root")
	if err != nil { // it wants a source of randomness
		signing, verifying, err = GenerateKey(randReader{}, "shop-root")
	}
	require.NoError(t, err)
	root, name, err := ParseSigningKey(signing + "\n")
	require.NoError(t, err)
	require.Equal(t, "shop-root", name)
	again, err := VerifierKey(root, name)
	require.NoError(t, err)
	require.Equal(t, verifying, again)
	cfg := config(t.TempDir())
	cfg.Root, cfg.RootName = root, name
	l := open(t, cfg)
	require.Equal(t, verifying, l.VerifierKey())
	keep(t, l, event(1))
	require.NoError(t, l.Close())
	rep, err := Verify(t.Context(), cfg.Dir, VerifyOptions{Keys: []string{verifying}})
	require.NoError(t, err)
	require.True(t, rep.Intact())
	_, _, err = ParseSigningKey(verifying)
	require.Error(t, err)
}

type randReader struct{}

func (randReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(i * 7)
	}
	return len(b), nil
}

// PCI DSS 10.5.1, AU-11: twelve months by default, whole segments, and what is
// left stays provable.
func TestPCI_10_5_1_RetentionRemovesNothingYoungerAndWhatStaysIsProvable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cfg := config(dir)
		cfg.SegmentBytes, cfg.Heartbeat, cfg.SegmentAge = 1024, 10000*time.Hour, 10000*time.Hour
		old, err := Open(cfg)
		require.NoError(t, err)
		for i := range 5 {
			keep(t, old, event(i))
			time.Sleep(24 * time.Hour)
		}
		require.NoError(t, old.Close())
		stream := old.Stream()
		_, err = check(t, dir).Hold(t.Context(), stream, 3, 3, "case 7")
		require.NoError(t, err)

		l, err := Open(cfg)
		require.NoError(t, err)
		_, err = l.Expire(t.Context(), Expiry{OlderThan: MinRetention - 1, Policy: "short"})
		require.ErrorContains(t, err, "12 months")
		policy := Expiry{OlderThan: MinRetention, Policy: "one year"}
		removed, err := l.Expire(t.Context(), policy)
		require.NoError(t, err)
		require.Empty(t, removed)

		time.Sleep(MinRetention - 3*24*time.Hour) // the last ones are younger
		removed, err = l.Expire(t.Context(), policy)
		require.NoError(t, err)
		sub := filepath.Base(stream)
		require.Equal(t, []string{sub + "/00000000.log"}, removed, "segment 1 is held, the rest is younger")
		rep := check(t, dir)
		require.True(t, rep.Intact(), "%v", rep.Damage)
		require.Positive(t, rep.Streams[0].Expired)

		time.Sleep(10 * 24 * time.Hour)
		removed, err = l.Expire(t.Context(), policy)
		require.NoError(t, err)
		require.NotContains(t, removed, sub+"/00000001.log")
		require.NotEmpty(t, removed)
		rep = check(t, dir)
		require.True(t, rep.Intact(), "%v", rep.Damage)
		proof, err := rep.Prove(t.Context(), stream, 3)
		require.NoError(t, err)
		proven, err := VerifyProof(proof, []string{rootVerifier(t)})
		require.NoError(t, err)
		require.Equal(t, int64(3), proven.Record.Seq)
		_, err = rep.Prove(t.Context(), stream, 0)
		require.ErrorContains(t, err, "removed by retention")
		require.NoError(t, l.Close())

		// Without the record that allowed it, a missing segment is tampering; so are
		// changed leaves.
		whole := load(t, dir)
		other := t.TempDir()
		whole.store(t, other)
		require.NoError(t, os.RemoveAll(filepath.Join(other, filepath.Base(l.Stream()))))
		rep = check(t, other)
		require.Equal(t, 2, rep.ExitCode())
		require.Equal(t, DamageRemoved, rep.Damage[0].Kind)
		name := sub + "/00000000.leaves"
		for i := 0; i < len(whole[name]); i += 3 {
			changed := append([]byte(nil), whole[name]...)
			changed[i] ^= 1 << (i % 8)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), changed, 0o600))
			require.Equal(t, 2, check(t, dir).ExitCode(), "byte %d", i)
		}
	})
}
