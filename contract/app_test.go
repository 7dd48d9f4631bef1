package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

const (
	cookieName = "__Host-session"
	guestKey   = "nobody" // what an anonymous visitor has for a user key
	lifetime   = 8 * time.Hour
)

// app is one application: over scs alone, or under the guard.
type app struct {
	t  testing.TB
	c  conditions
	w  way
	sm *scs.SessionManager
	// guard is nil over scs alone. Only login and logout may ask.
	guard *scsguard.Guard
	inner scs.Store // as the application gave it
	serve http.Handler
	at    string // the address of a server, if there is one

	serving sync.WaitGroup // requests to the server, also such as took their connection over

	mu    sync.Mutex
	notes []string
	pages map[string]http.HandlerFunc
}

// managers are copied. scs.New starts a goroutine that nothing ends, and a copy
// is as good: what it shares is the name of its place in a context.
var managers = [2]*scs.SessionManager{scs.New(), scs.New()}

// newManager returns a manager with the settings of the matrix. There are two
// that do not get in each other's way.
func newManager(n int, c conditions, codec scs.Codec, inner scs.Store) *scs.SessionManager {
	sm := *managers[n]
	sm.Store, sm.Codec, sm.HashTokenInStore, sm.Lifetime = inner, codec, c.hash, lifetime
	sm.Cookie.Name, sm.Cookie.Secure = cookieName, true
	return &sm
}

// observe runs a promise in one application and returns what it noted.
func observe(t *testing.T, p promise, s *store, c conditions, codec scs.Codec, w way) string {
	t.Helper()
	a := &app{c: c, w: w, pages: make(map[string]http.HandlerFunc)}
	run := func(t *testing.T) {
		a.t = t
		a.inner = s.open(t)
		if p.wrap != nil {
			a.inner = p.wrap(a.inner)
		}
		a.sm = newManager(0, c, codec, a.inner)
		if p.manager != nil {
			p.manager(a.sm)
		}
		if !a.mount(p, s) {
			return
		}
		if p.wire {
			serve := a.serve
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a.serving.Add(1)
				defer a.serving.Done()
				serve.ServeHTTP(w, r)
			}))
			t.Cleanup(a.serving.Wait)
			t.Cleanup(srv.Close)
			a.at = srv.URL
		}
		p.do(a)
	}
	if p.wire || s.ownClock {
		t.Run("", run)
	} else {
		synctest.Test(t, run)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.notes, "\n")
}

// mount puts the application together. It reports whether there is one.
func (a *app) mount(p promise, s *store) bool {
	mux := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		h := a.pages[r.URL.Path]
		a.mu.Unlock()
		h(w, r)
	})
	if a.w == scsAlone {
		a.serve = a.sm.LoadAndSave(mux)
		return true
	}
	cfg := a.config(s.durable || p.wrap != nil)
	if p.guard != nil {
		p.guard(&cfg)
	}
	guard, err := scsguard.New(a.sm, cfg)
	var refused *scsguard.ConfigError
	if errors.As(err, &refused) {
		names := "no guard because of"
		for _, f := range refused.Fields {
			names += " " + f.Field
		}
		a.note("%s", names)
		return false
	}
	require.NoError(a.t, err)
	a.guard, a.serve = guard, guard.Protect(mux)
	a.t.Cleanup(func() { closeGuard(guard) })
	return true
}

// A way is how the application runs.
type way uint8

const (
	scsAlone  way = iota
	withVerbs     // under the guard, which its handlers call
	unchanged     // under the guard, which reads its user key
)

// config is what the guard needs to be told. Only over memstore it finds a
// registry by itself.
func (a *app) config(registry bool) scsguard.Config {
	cfg := scsguard.Config{Audit: scsguard.Discard()}
	if a.w == unchanged {
		cfg.UserID = func(ctx context.Context) string {
			if user := a.sm.GetString(ctx, "user"); user != guestKey {
				return user
			}
			return ""
		}
	}
	if registry {
		cfg.Registry, cfg.Keys = scsguard.NewMemoryRegistry(), [][]byte{[]byte("thirty-two bytes that are a test")}
	}
	return cfg
}

func closeGuard(guard *scsguard.Guard) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = guard.Close(ctx) // a store that a test left failing is no concern of its
}

// note writes a line down.
func (a *app) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notes = append(a.notes, strings.TrimSpace(strings.ReplaceAll(line, "\n", " ")))
}

// must notes what should not have happened.
func (a *app) must(err error) {
	if err != nil {
		a.note("error: %v", err)
	}
}

// login logs in as the documentation of each says.
func (a *app) login(ctx context.Context, name string) error {
	if a.w != withVerbs {
		if err := a.sm.RenewToken(ctx); err != nil {
			return err
		}
	} else if _, err := a.guard.Login(ctx, name); err != nil {
		return err
	}
	a.sm.Put(ctx, "user", name)
	return nil
}

// visitor returns the browser of whom the promise is made to.
func (a *app) visitor() *browser {
	b := a.browser()
	switch a.c.visitor {
	case guest:
		b.with(func(ctx context.Context) { a.sm.Put(ctx, "user", guestKey) })
	case user:
		b.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) })
	}
	return b
}

// browser keeps the session cookie, as a browser does.
type browser struct {
	a     *app
	name  string // of the cookie
	token string
}

func (a *app) browser() *browser { return &browser{a: a, name: a.sm.Cookie.Name} }

// copy is somebody else with the same cookie.
func (b *browser) copy() *browser { return &browser{a: b.a, name: b.name, token: b.token} }

// answer is a response, read.
type answer struct {
	Code   int
	Header http.Header
	Body   string
	// Cookie is the session cookie that came with it, nil if none did.
	Cookie  *http.Cookie
	Cookies int // how many session cookies came
}

var pageNumber atomic.Int64

// page mounts a handler and returns its path.
func (a *app) page(h http.HandlerFunc) string {
	path := fmt.Sprintf("/page/%d", pageNumber.Add(1))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pages[path] = h
	return path
}

// with makes a request whose handler does something with the session and
// answers nothing. Another answer is noted.
func (b *browser) with(do func(ctx context.Context)) answer {
	res := b.get(func(_ http.ResponseWriter, r *http.Request) { do(r.Context()) })
	if res.Code != http.StatusOK {
		b.a.note("status %d", res.Code)
	}
	return res
}

// get makes a request for a page.
func (b *browser) get(h http.HandlerFunc) answer { return b.do(b.request(h)) }

// request returns a request for a page.
func (b *browser) request(h http.HandlerFunc) *http.Request {
	r := httptest.NewRequest(http.MethodGet, b.a.page(h), nil)
	if b.token != "" {
		r.AddCookie(&http.Cookie{Name: b.name, Value: b.token})
	}
	return r
}

// do makes a request and keeps the cookie of its answer.
func (b *browser) do(r *http.Request) answer {
	var res *http.Response
	if b.a.at == "" {
		w := httptest.NewRecorder()
		b.a.serve.ServeHTTP(w, r)
		res = w.Result()
	} else {
		res = b.send(r)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	ans := answer{Code: res.StatusCode, Header: res.Header, Body: strings.TrimSpace(string(body))}
	ans.Cookies, ans.Cookie = b.keep(res.Header)
	return ans
}

// keep keeps the session cookie of a response, and returns how many there were
// and the last.
func (b *browser) keep(h http.Header) (n int, last *http.Cookie) {
	for _, c := range (&http.Response{Header: h}).Cookies() {
		if c.Name != b.name {
			continue
		}
		n++
		last, b.token = c, c.Value
		if c.MaxAge < 0 {
			b.token = ""
		}
	}
	return n, last
}

// send sends a request over a connection of its own.
func (b *browser) send(r *http.Request) *http.Response {
	out, err := http.NewRequestWithContext(r.Context(), r.Method, b.a.at+r.URL.Path, r.Body)
	require.NoError(b.a.t, err)
	out.Header = r.Header
	res, err := wire.RoundTrip(out)
	require.NoError(b.a.t, err)
	return res
}

var wire = &http.Transport{DisableKeepAlives: true, DisableCompression: true}

// shows notes what a session holds under a key.
func (b *browser) shows(key string) {
	b.with(func(ctx context.Context) { b.a.note("%s: %v", key, b.a.sm.Get(ctx, key)) })
}

// whoami notes whom the session belongs to, by its data and, where there is a
// guard, by its word. They must agree.
func (b *browser) whoami() {
	b.with(func(ctx context.Context) {
		name := b.a.sm.GetString(ctx, "user")
		if b.a.guard != nil {
			if s, ok := b.a.guard.Current(ctx); ok && s.User != name || !ok && name != "" && name != guestKey {
				b.a.note("the guard says %q", s.User)
			}
		}
		if name == "" {
			name = "a stranger"
		}
		b.a.note("%s", name)
	})
}

// data returns what the application's own store holds.
func (a *app) data() map[string][]byte {
	all, err := a.inner.(scs.IterableStore).All()
	require.NoError(a.t, err)
	return all
}

// about writes a duration without what a slow machine adds to it.
func about(d time.Duration) string { return d.Round(10 * time.Second).String() }

// yes writes what is so.
func yes(so bool) string {
	if so {
		return "yes"
	}
	return "no"
}
