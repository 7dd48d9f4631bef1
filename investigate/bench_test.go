package investigate

import (
	"context"
	"fmt"
	"os"
	"runtime"
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
	verified := func(b *testing.B) *Trail {
		rep, err := auditlog.Verify(context.Background(), dir, auditlog.VerifyOptions{Keys: []string{key}})
		require.NoError(b, err)
		trail, err := New(Options{AllowUnanchored: true}, rep)
		require.NoError(b, err)
		return trail
	}
	rate := func(b *testing.B) {
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapSys)/(1<<20), "heap-MiB")
	}
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			verified(b)
		}
		rate(b)
	})
	b.Run("verify and sessions", func(b *testing.B) {
		for b.Loop() {
			list, _, err := verified(b).Sessions(context.Background(), Filter{})
			require.NoError(b, err)
			require.GreaterOrEqual(b, len(list), n/20)
		}
		rate(b)
	})
	b.Run("verify and active", func(b *testing.B) {
		for b.Loop() {
			a, err := verified(b).Active(context.Background(), fmt.Sprintf("S%025d", 7), time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC))
			require.NoError(b, err)
			require.Equal(b, Yes, a.Verdict, a.Why)
		}
		rate(b)
	})
}
