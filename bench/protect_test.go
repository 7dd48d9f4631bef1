// Package bench compares the guard with what it replaces, on the same work in
// the same run. It is a module of its own, so that what it compares with is no
// dependency of the library.
package bench

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/scsguard/scsguard"
)

// values is what the session holds: five values of common types.
var values = map[string]any{
	"user": "alice", "cart": []byte("0123456789abcdef"), "visits": 42, "since": int64(1_700_000_000), "admin": false,
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

// plain returns an scs application with an idle timeout and a session in it.
func plain(b *testing.B) (http.Handler, string) {
	sm := newManager()
	sm.IdleTimeout = 15 * time.Minute
	ctx, err := sm.Load(context.Background(), "")
	if err != nil {
		b.Fatal(err)
	}
	for k, v := range values {
		sm.Put(ctx, k, v)
	}
	token, _, err := sm.Commit(ctx)
	if err != nil {
		b.Fatal(err)
	}
	return sm.LoadAndSave(handler(sm)), token
}

// guarded returns the same application under a guard, logged in.
func guarded(b *testing.B) (http.Handler, string) {
	sm := newManager()
	sm.IdleTimeout = 15 * time.Minute
	g, err := scsguard.New(sm, scsguard.Config{Audit: scsguard.Discard(), SweepEvery: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = g.Close(context.Background()) })
	ctx, err := sm.Load(context.Background(), "")
	if err != nil {
		b.Fatal(err)
	}
	for k, v := range values {
		sm.Put(ctx, k, v)
	}
	if _, err := g.Login(ctx, "alice"); err != nil {
		b.Fatal(err)
	}
	return g.Protect(handler(sm)), sm.Token(ctx)
}

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
	c := newClient(plain(b))
	b.ReportAllocs()
	for b.Loop() {
		c.get(b)
	}
}

func BenchmarkProtect(b *testing.B) {
	c := newClient(guarded(b))
	b.ReportAllocs()
	for b.Loop() {
		c.get(b)
	}
}

// BenchmarkRatio takes turns between the two, so that what else the machine does
// falls on both, and reports time of Protect / time of LoadAndSave.
func BenchmarkRatio(b *testing.B) {
	ours, theirs := newClient(guarded(b)), newClient(plain(b))
	var our, their time.Duration
	for b.Loop() {
		start := time.Now()
		theirs.get(b)
		middle := time.Now()
		ours.get(b)
		our += time.Since(middle)
		their += middle.Sub(start)
	}
	b.ReportMetric(float64(our)/float64(their), "ours/theirs")
}
