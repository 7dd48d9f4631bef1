// Package bench compares the guard with what it replaces, on the same work in
// the same run. It is a module of its own, so that what it compares with is no
// dependency of the library.
package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/scsguard/scsguard"
)

// sizes are how many values a session holds.
var sizes = []int{5, 50, 500}

// values returns n values of common types.
func values(n int) map[string]any {
	all := map[string]any{
		"user": "alice", "cart": []byte("0123456789abcdef"), "visits": 42, "since": int64(1_700_000_000), "admin": false,
	}
	for i := len(all); i < n; i++ {
		key := fmt.Sprintf("key%03d", i)
		switch i % 5 {
		case 0:
			all[key] = fmt.Sprintf("value %d", i)
		case 1:
			all[key] = i
		case 2:
			all[key] = int64(i) << 20
		case 3:
			all[key] = i%2 == 0
		case 4:
			all[key] = []byte(fmt.Sprintf("bytes %d", i))
		}
	}
	return all
}

// handler reads one value and answers a few bytes, as a light page would.
func handler(sm *scs.SessionManager) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, sm.GetString(r.Context(), "user"))
	})
}

func newManager() *scs.SessionManager {
	sm := scs.New()
	sm.Store = memstore.NewWithCleanupInterval(0)
	sm.Cookie.Name, sm.Cookie.Secure = "__Host-session", true
	return sm
}

// plain returns an scs application with an idle timeout and a session of n values
// in it.
func plain(b *testing.B, n int) (http.Handler, string) {
	sm := newManager()
	sm.IdleTimeout = 15 * time.Minute
	ctx, err := sm.Load(context.Background(), "")
	if err != nil {
		b.Fatal(err)
	}
	for k, v := range values(n) {
		sm.Put(ctx, k, v)
	}
	token, _, err := sm.Commit(ctx)
	if err != nil {
		b.Fatal(err)
	}
	return sm.LoadAndSave(handler(sm)), token
}

// trail is a sink that writes to memory and keeps the last megabyte.
func trail() scsguard.Sink { return scsguard.NewWriterSink(new(ring)) }

type ring struct{ b []byte }

func (r *ring) Write(p []byte) (int, error) {
	if len(r.b) > 1<<20 {
		r.b = r.b[:0]
	}
	r.b = append(r.b, p...)
	return len(p), nil
}

// guarded returns the same application under a guard, logged in.
func guarded(b *testing.B, n int, codec scs.Codec) (http.Handler, string) {
	sm := newManager()
	sm.Codec = codec
	g, err := scsguard.New(sm, scsguard.Config{
		Timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour}, Audit: trail(), SweepEvery: -1,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = g.Close(context.Background()) })
	ctx, err := sm.Load(context.Background(), "")
	if err != nil {
		b.Fatal(err)
	}
	for k, v := range values(n) {
		sm.Put(ctx, k, v)
	}
	if _, err := g.Login(ctx, "alice"); err != nil {
		b.Fatal(err)
	}
	return g.Protect(handler(sm)), sm.Token(ctx)
}

// codecs are those of the guarded application. Plain scs has gob.
var codecs = []struct {
	name  string
	codec scs.Codec
}{{"gob", scs.GobCodec{}}, {"Codec", scsguard.Codec{}}}

// client makes the same request again and again, and costs next to nothing
// itself.
type client struct {
	h http.Handler
	r *http.Request
	w writer
}

func newClient(h http.Handler, token string) *client {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", "__Host-session="+token)
	return &client{h: h, r: r, w: writer{header: make(http.Header)}}
}

// get makes one request and checks that the session was there.
func (c *client) get(b *testing.B) {
	clear(c.w.header)
	c.w.body = c.w.body[:0]
	c.h.ServeHTTP(&c.w, c.r)
	if string(c.w.body) != "alice" {
		b.Fatalf("the session is gone: %d %q", c.w.code, c.w.body)
	}
}

// writer is a ResponseWriter that can be used again.
type writer struct {
	header http.Header
	code   int
	body   []byte
}

func (w *writer) Header() http.Header  { return w.header }
func (w *writer) WriteHeader(code int) { w.code = code }

func (w *writer) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}

func BenchmarkLoadAndSaveWithIdleTimeout(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("values=%d", n), func(b *testing.B) { run(b, newClient(plain(b, n))) })
	}
}

func BenchmarkProtect(b *testing.B) {
	for _, c := range codecs {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("codec=%s/values=%d", c.name, n), func(b *testing.B) { run(b, newClient(guarded(b, n, c.codec))) })
		}
	}
}

func run(b *testing.B, c *client) {
	b.ReportAllocs()
	for b.Loop() {
		c.get(b)
	}
}

// BenchmarkRatio takes turns between the two, so that what else the machine does
// falls on both, and reports the median time and the allocations of Protect / those
// of LoadAndSave.
func BenchmarkRatio(b *testing.B) {
	for _, c := range codecs {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("codec=%s/values=%d", c.name, n), func(b *testing.B) {
				ours, theirs := newClient(guarded(b, n, c.codec)), newClient(plain(b, n))
				ratio(b, ours, theirs)
			})
		}
	}
}

func ratio(b *testing.B, ours, theirs *client) {
	var our, their []time.Duration
	for b.Loop() {
		start := time.Now()
		theirs.get(b)
		middle := time.Now()
		ours.get(b)
		our, their = append(our, time.Since(middle)), append(their, middle.Sub(start))
	}
	slices.Sort(our)
	slices.Sort(their)
	b.ReportMetric(float64(our[len(our)/2])/float64(their[len(their)/2]), "time-ratio")
	b.ReportMetric(testing.AllocsPerRun(100, func() { ours.get(b) })/testing.AllocsPerRun(100, func() { theirs.get(b) }), "allocs-ratio")
}

// BenchmarkParallel sends as many requests of one session at once as there are
// processors.
func BenchmarkParallel(b *testing.B) {
	for _, c := range codecs {
		b.Run("codec="+c.name, func(b *testing.B) {
			h, token := guarded(b, 5, c.codec)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for c := newClient(h, token); pb.Next(); {
					c.get(b)
				}
			})
		})
	}
}

func BenchmarkCodec(b *testing.B) {
	deadline := time.Now().Add(time.Hour).UTC()
	for _, c := range codecs {
		for _, n := range sizes {
			all := values(n)
			data, err := c.codec.Encode(deadline, all)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("op=encode/codec=%s/values=%d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				b.ReportMetric(float64(len(data)), "bytes")
				for b.Loop() {
					if _, err := c.codec.Encode(deadline, all); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("op=decode/codec=%s/values=%d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := c.codec.Decode(data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRecord decodes a record as a registry outside of the process keeps it.
func BenchmarkRecord(b *testing.B) {
	now := time.Now()
	data, err := scsguard.Record{
		Session: "4YZ2KQ7N5T3XW6RJ8VHMDCPBGA", User: "alice", Role: "clerk", BaseRole: "clerk", Key: "K", State: scsguard.StateLive, Created: now, AuthTime: now,
		Methods: []string{"pwd", "otp"}, AAL: 2, LoginAAL: 2, LastActivity: now, Idle: 15 * time.Minute, Absolute: now.Add(8 * time.Hour), AbsoluteSince: now,
		TokenSince: now, Fingerprint: "0123456789abcdef0123456789abcdef", UserAgent: "Mozilla/5.0 (X11; Linux x86_64)", Seq: 7,
	}.MarshalBinary()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var rec scsguard.Record
		if err := rec.UnmarshalBinary(data); err != nil {
			b.Fatal(err)
		}
	}
}
