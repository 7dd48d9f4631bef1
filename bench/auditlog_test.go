package bench

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scsguard/scsguard/auditlog"
)

// oneEvent is as long as a typical event of the trail.
var oneEvent = []byte(`{"id":"01JD3Z8W6Q4N5V7X9Y0A1B2C3D","time":"2026-11-21T09:30:00.000000Z","event":"login","outcome":"success","user":"alice@example.com",` +
	`"session":"kJ3vQm9xT0aZr5Lw2bN8cA","session_seq":1,"token_hash":"b0c1d2e3f4a5968778695a4b3c2d1e0f","ip":"192.0.2.17","ip_source":"remote_addr",` +
	`"user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0","route":"POST /login","auth_methods":["pwd"],"aal":1,` +
	`"auth_time":"2026-11-21T09:30:00.000000Z","created":"2026-11-21T09:30:00.000000Z","idle_expires":"2026-11-21T09:45:00.000000Z","absolute_expires":"2026-11-21T17:30:00.000000Z"}`)

var root = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

func openLog(b *testing.B, dir string, f func(string) (auditlog.File, error)) *auditlog.Log {
	l, err := auditlog.Open(auditlog.Config{Dir: dir, Root: root, Origin: "bench", OpenFile: f, MinFree: -1})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// unsealed is a group commit without any sealing: what it costs to be durable.
type unsealed struct {
	mu      sync.Mutex
	f       *os.File
	buf     []byte
	spare   []byte
	waits   []chan error
	writing bool
}

func (u *unsealed) Append(_ context.Context, records [][]byte) error {
	done := make(chan error, 1)
	u.mu.Lock()
	for _, r := range records {
		u.buf = append(append(u.buf, r...), '\n')
	}
	u.waits = append(u.waits, done)
	if u.writing {
		u.mu.Unlock()
		return <-done
	}
	u.writing = true
	for len(u.waits) > 0 {
		buf, waits := u.buf, u.waits
		u.buf, u.waits = u.spare[:0], nil
		u.mu.Unlock()
		_, err := u.f.Write(buf)
		if err == nil {
			err = u.f.Sync()
		}
		for _, w := range waits {
			w <- err
		}
		u.mu.Lock()
		u.spare = buf
	}
	u.writing = false
	u.mu.Unlock()
	return <-done
}

type appender interface {
	Append(context.Context, [][]byte) error
}

// appendBy has n callers append b.N events.
func appendBy(b *testing.B, a appender, n int) time.Duration {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	began := time.Now()
	for range n {
		wg.Go(func() {
			records := [][]byte{oneEvent}
			for left.Add(-1) >= 0 {
				if err := a.Append(context.Background(), records); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// BenchmarkAppend compares the sealed log with a group commit that does not seal,
// on the same disk in the same run. Both fsync. Goal: sealed/unsealed >= 0.5 with
// 64 callers, and at most 5 allocations an event.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			dir := b.TempDir()
			f, err := os.OpenFile(filepath.Join(dir, "plain.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			l := openLog(b, filepath.Join(dir, "sealed"), nil)
			b.ReportAllocs()
			b.ResetTimer()
			sealed := appendBy(b, l, callers)
			b.StopTimer()
			plain := appendBy(b, &unsealed{f: f}, callers)
			b.ReportMetric(float64(b.N)/sealed.Seconds(), "events/s")
			b.ReportMetric(plain.Seconds()/sealed.Seconds(), "of-unsealed")
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// noSync makes a log that is on no disk: for logs that are only read.
type noSync struct{ *os.File }

func (noSync) Sync() error { return nil }

func quick(name string) (auditlog.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return noSync{f}, err
}

func verifyOptions(b *testing.B) auditlog.VerifyOptions {
	key, err := auditlog.VerifierKey(root, "auditlog")
	if err != nil {
		b.Fatal(err)
	}
	return auditlog.VerifyOptions{Keys: []string{key}}
}

// BenchmarkVerify reads logs whose batches hold 1 and 64 events. Goal: 200 MB/s
// on one core.
func BenchmarkVerify(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch%d", batch), func(b *testing.B) {
			dir := b.TempDir()
			l := openLog(b, dir, quick)
			records := make([][]byte, batch)
			for i := range records {
				records[i] = oneEvent
			}
			for range 40_000 / batch {
				if err := l.Append(context.Background(), records); err != nil {
					b.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
			opts := verifyOptions(b)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				rep, err := auditlog.Verify(context.Background(), dir, opts)
				if err != nil || !rep.Intact() {
					b.Fatal(err, rep.Damage)
				}
				b.SetBytes(rep.Bytes)
			}
		})
	}
}

// BenchmarkProve proves one event of many, 10 million if PROVE_EVENTS says so,
// and verifies the proof. Goal: at most 4 KB.
func BenchmarkProve(b *testing.B) {
	events := 100_000
	if n, err := strconv.Atoi(os.Getenv("PROVE_EVENTS")); err == nil {
		events = n
	}
	dir := b.TempDir()
	l := openLog(b, dir, quick)
	records := make([][]byte, 1000)
	for i := range records {
		records[i] = oneEvent
	}
	for range events / len(records) {
		if err := l.Append(context.Background(), records); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	opts := verifyOptions(b)
	rep, err := auditlog.Verify(context.Background(), dir, opts)
	if err != nil || !rep.Intact() {
		b.Fatal(err)
	}
	st := rep.Streams[0]
	var proof []byte
	b.Run("make", func(b *testing.B) {
		for range b.N {
			if proof, err = rep.Prove(context.Background(), st.Name, st.Size/3); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(proof)), "bytes")
		b.ReportMetric(float64(st.Size), "records")
	})
	b.Run("check", func(b *testing.B) {
		for range b.N {
			if _, err := auditlog.VerifyProof(proof, opts.Keys); err != nil {
				b.Fatal(err)
			}
		}
	})
}
