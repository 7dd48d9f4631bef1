package investigate

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/auditlog"
)

// manyEvents writes a trail as a busy application would: sessions of 20 events, of
// which most are activity.
func manyEvents(tb testing.TB, dir string, n int) {
	log, err := auditlog.Open(auditlog.Config{Dir: dir, Root: handKey(), RootName: "hand", Origin: "host", MinFree: -1, WarnFree: 1})
	require.NoError(tb, err)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var batch [][]byte
	for i := range n {
		// 100 sessions at a time, so that their events are mixed.
		session := i/2000*100 + i%100
		seq := i%2000/100 + 1
		at := start.Add(time.Duration(i) * 10 * time.Millisecond)
		kind, more := "extend", `,"reason":"activity"`
		id := fmt.Sprintf("E%025d", i)
		switch seq {
		case 1:
			kind, more = "login", `,"auth_methods":["pwd"],"aal":1`
		case 20:
			kind, more, id = "logout", `,"reason":"user"`, fmt.Sprintf("S%025d/end", session)
		}
		batch = append(batch, fmt.Appendf(nil, `{"id":%q,"time":%q,"event":%q,"outcome":"success","user":"user%d","session":"S%025d","session_seq":%d,"token_hash":"f0a293e2e8474df4bd8114e7bf1c788e","ip":"192.0.2.%d","ip_source":"remote_addr","user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0","idle_expires":%q,"absolute_expires":%q%s}`,
			id, stamp(at), kind, session%50000, session, seq, session%250, stamp(at.Add(15*time.Minute)), stamp(at.Add(8*time.Hour)), more))
		if len(batch) == 1000 {
			require.NoError(tb, log.Append(context.Background(), batch))
			batch = batch[:0]
		}
	}
	if len(batch) > 0 {
		require.NoError(tb, log.Append(context.Background(), batch))
	}
	require.NoError(tb, log.Close())
}

// BenchmarkQuestions asks a trail of SCSGUARD_EVENTS events (default 20,000).
func BenchmarkQuestions(b *testing.B) {
	n := 20_000
	if more, err := strconv.Atoi(os.Getenv("SCSGUARD_EVENTS")); err == nil {
		n = more
	}
	dir := os.Getenv("SCSGUARD_EVENTS_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	if found, _ := os.ReadDir(dir); len(found) == 0 {
		manyEvents(b, dir, n)
	}
	key, err := auditlog.VerifierKey(handKey(), "hand")
	require.NoError(b, err)
	verify := auditlog.VerifyOptions{Keys: []string{key}}
	trail := func(b *testing.B) *Trail {
		trail, err := Open(Options{AllowUnanchored: true}, Source{dir, verify})
		require.NoError(b, err)
		return trail
	}
	ctx, last := context.Background(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n)*10*time.Millisecond)
	for _, q := range []struct {
		name string
		ask  func(*testing.B, *Trail)
	}{
		{"verify", func(b *testing.B, t *Trail) { require.NoError(b, t.Verify(ctx)) }},
		{"active", func(b *testing.B, t *Trail) {
			a, err := t.Active(ctx, fmt.Sprintf("S%025d", 7), time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC))
			require.NoError(b, err)
			require.Equal(b, Yes, a.Verdict, a.Why)
		}},
		{"concurrent", func(b *testing.B, t *Trail) {
			_, _, err := t.Concurrent(ctx, ConcurrentQuery{User: "user7"})
			require.NoError(b, err)
		}},
		{"review", func(b *testing.B, t *Trail) {
			_, _, err := t.Review(ctx, ReviewQuery{From: last.Add(-24 * time.Hour), To: last})
			require.NoError(b, err)
		}},
		{"sessions", func(b *testing.B, t *Trail) {
			list, _, err := t.Sessions(ctx, Filter{})
			require.NoError(b, err)
			require.GreaterOrEqual(b, len(list), n/20)
		}},
	} {
		b.Run(q.name, func(b *testing.B) {
			before := cpuSeconds()
			for b.Loop() {
				q.ask(b, trail(b))
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric((cpuSeconds()-before)/float64(b.N), "cpu-s/op")
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapSys-m.HeapReleased)/(1<<20), "heap-MiB")
			debug.FreeOSMemory()
		})
	}
}

// cpuSeconds is how long all cores have worked for this process, or zero.
func cpuSeconds() float64 {
	samples := []metrics.Sample{{Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}}
	runtime.GC() // brings them up to date
	metrics.Read(samples)
	return samples[0].Value.Float64() - samples[1].Value.Float64()
}
