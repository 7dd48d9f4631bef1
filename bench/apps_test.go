package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/gorilla/sessions"

	"github.com/scsguard/scsguard"
)

// A visit is what somebody comes with.
type visit string

const (
	hit       visit = "hit"       // a session in which somebody is logged in
	static    visit = "static"    // the same, for a file of 4 KB that needs no session
	anonymous visit = "anonymous" // a session in which nobody is
	noCookie  visit = "no cookie"
	miss      visit = "miss"    // a token that looks right and that nobody was given
	forged    visit = "forged"  // what cannot be a token
	expired   visit = "expired" // the token of a session that has timed out
)

// An app is one application as one library serves it.
type app struct {
	name    string
	handler http.Handler
	cookies map[visit]string // what visitors send
	others  []string         // the same of everybody else who is logged in
}

// A world is what an app is opened in.
type world struct {
	values   int                            // in each session
	others   int                            // how many more are logged in
	store    func() scs.Store               // nil: memory
	registry func() scsguard.Registry       // nil: memory
	audit    func(*testing.B) scsguard.Sink // nil: memory
}

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

var file = bytes.Repeat([]byte("body { margin: 0 }\n"), 4096/19)

// site reads one value of the session and answers a few bytes, as a light page
// would, or serves a file.
func site(user func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/style.css" {
			http.ServeContent(w, r, r.URL.Path, time.Time{}, bytes.NewReader(file))
			return
		}
		_, _ = io.WriteString(w, user(r))
	})
}

func scsSite(sm *scs.SessionManager) http.Handler {
	return site(func(r *http.Request) string { return sm.GetString(r.Context(), "user") })
}

// openPlain returns the application without any sessions.
func openPlain(*testing.B, world) app {
	a := app{name: "plain handler", handler: site(func(*http.Request) string { return "alice" }), cookies: make(map[visit]string)}
	for _, v := range []visit{hit, static, anonymous, noCookie, miss, forged, expired} {
		a.cookies[v] = ""
	}
	return a
}

const idle = 15 * time.Minute

func newManager(w world) *scs.SessionManager {
	sm := scs.New()
	sm.Store = memstore.NewWithCleanupInterval(0)
	if w.store != nil {
		sm.Store = w.store()
	}
	sm.Cookie.Name, sm.Cookie.Secure = "__Host-session", true
	return sm
}

// browser returns a request of the browser that everybody has.
func browser(path, cookie string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = "127.0.0.1:1024"
	r.Header.Set("User-Agent", strings.Clone(agent)) // as a server makes a new one for each
	r.Header.Set("Accept-Language", "en-GB,en;q=0.5")
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return r
}

// send has a handler do something to a session, and returns the cookie of the answer.
func send(tb testing.TB, protect func(http.Handler) http.Handler, cookie string, do func(context.Context) error) string {
	rec := httptest.NewRecorder()
	protect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := do(r.Context()); err != nil {
			tb.Error(err)
		}
	})).ServeHTTP(rec, browser("/", cookie))
	if rec.Code != http.StatusOK {
		tb.Fatal(rec.Code, rec.Body)
	}
	value, _, _ := strings.Cut(rec.Header().Get("Set-Cookie"), ";")
	return value
}

// put stores n values.
func put(ctx context.Context, sm *scs.SessionManager, n int) {
	for k, v := range values(n) {
		sm.Put(ctx, k, v)
	}
}

// strangers are the cookies of those who have no session.
func strangers() map[visit]string {
	return map[visit]string{noCookie: "", miss: "__Host-session=" + newKey(), forged: "__Host-session=" + strings.Repeat("x' OR '1'='1", 4)}
}

// soon is when a session is over that is to be over when visits begin.
func soon() time.Time { return time.Now().Add(50 * time.Millisecond) }

// scsLogIn logs somebody in as an application of scs alone does.
func scsLogIn(tb testing.TB, sm *scs.SessionManager, n int) string {
	return send(tb, sm.LoadAndSave, "", func(ctx context.Context) error {
		put(ctx, sm, n)
		return sm.RenewToken(ctx)
	})
}

// openSCS returns the application over scs alone.
func openSCS(name string, idle time.Duration) func(*testing.B, world) app {
	return func(b *testing.B, w world) app {
		sm := newManager(w)
		sm.IdleTimeout = idle
		a := app{name: name, handler: sm.LoadAndSave(scsSite(sm)), cookies: strangers()}
		a.cookies[hit] = scsLogIn(b, sm, w.values)
		a.cookies[static] = a.cookies[hit]
		a.cookies[anonymous] = a.cookies[hit] // they are the same to scs
		a.cookies[expired] = send(b, sm.LoadAndSave, "", func(ctx context.Context) error {
			put(ctx, sm, w.values)
			sm.SetDeadline(ctx, soon())
			return nil
		})
		for range w.others {
			a.others = append(a.others, scsLogIn(b, sm, w.values))
		}
		return a
	}
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

// newGuard returns a manager and the guard around it, with idle and absolute
// timeouts and a trail.
func newGuard(b *testing.B, w world, codec scs.Codec, options ...func(*scsguard.Config)) (*scs.SessionManager, *scsguard.Guard) {
	b.Helper()
	sm := newManager(w)
	sm.Codec, sm.IdleTimeout = codec, idle
	cfg := scsguard.Config{
		Timeouts: scsguard.Timeouts{Idle: idle, Absolute: 8 * time.Hour}, Audit: trail(), SweepEvery: -1, Keys: [][]byte{make([]byte, 32)},
	}
	if w.registry != nil {
		cfg.Registry = w.registry()
	}
	if w.audit != nil {
		cfg.Audit = w.audit(b)
	}
	for _, option := range options {
		option(&cfg)
	}
	g, err := scsguard.New(sm, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if w.others < 100_000 { // to end a million sessions one by one takes longer than to make them
			_ = g.Close(context.Background())
		}
	})
	return sm, g
}

// logIn makes a session of n values and logs a user in.
func logIn(tb testing.TB, sm *scs.SessionManager, g *scsguard.Guard, user string, n int) string {
	return send(tb, g.Protect, "", func(ctx context.Context) error {
		put(ctx, sm, n)
		_, err := g.Login(ctx, user)
		return err
	})
}

// openGuard returns the application under a guard.
func openGuard(name string, codec scs.Codec, options ...func(*scsguard.Config)) func(*testing.B, world) app {
	return func(b *testing.B, w world) app {
		sm, g := newGuard(b, w, codec, options...)
		return guardedApp(b, name, w, sm, g)
	}
}

func guardedApp(b *testing.B, name string, w world, sm *scs.SessionManager, g *scsguard.Guard) app {
	a := app{name: name, handler: g.Protect(scsSite(sm)), cookies: strangers()}
	a.cookies[hit] = logIn(b, sm, g, "user of "+name, w.values) // none on the same Redis is another's second session
	a.cookies[static] = a.cookies[hit]
	a.cookies[anonymous] = send(b, g.Protect, "", func(ctx context.Context) error {
		put(ctx, sm, w.values)
		return nil
	})
	a.cookies[expired] = logIn(b, sm, g, "late", w.values)
	send(b, g.Protect, a.cookies[expired], func(ctx context.Context) error {
		sm.SetDeadline(ctx, soon())
		return nil
	})
	for i := range w.others {
		a.others = append(a.others, logIn(b, sm, g, fmt.Sprintf("user %d", i), w.values))
	}
	return a
}

// openGorilla returns the application over gorilla/sessions and files. It has no
// idle timeout; its sessions are only read.
func openGorilla(b *testing.B, w world) app {
	store := sessions.NewFilesystemStore(b.TempDir(), make([]byte, 32))
	store.MaxLength(0)
	a := app{name: "gorilla/sessions, files", cookies: map[visit]string{noCookie: "", forged: "session=" + strings.Repeat("x' OR '1'='1", 4)}}
	a.handler = site(func(r *http.Request) string {
		s, _ := store.Get(r, "session")
		user, _ := s.Values["user"].(string)
		return user
	})
	save := func() string {
		r, rec := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
		s, _ := store.Get(r, "session")
		for k, v := range values(w.values) {
			s.Values[k] = v
		}
		if err := s.Save(r, rec); err != nil {
			b.Fatal(err)
		}
		c := rec.Result().Cookies()[0]
		return c.Name + "=" + c.Value
	}
	a.cookies[hit] = save()
	a.cookies[static], a.cookies[anonymous] = a.cookies[hit], a.cookies[hit]
	for range w.others {
		a.others = append(a.others, save())
	}
	return a
}

// A client makes the same requests again and again, and costs next to nothing
// itself.
type client struct {
	h    http.Handler
	r    *http.Request
	own  http.Request // this turn's
	w    writer
	want string
	rota // of the sessions that it comes with, if there are several
}

// A rota says who is next of several.
type rota struct {
	turns []string   // what they come with
	n     int        // whose turn it is
	next  [][]string // what the next ones come with, as headers
}

// visitor returns a client of an application; ok is false if it cannot be visited
// like that.
func visitor(a app, v visit) (c *client, ok bool) {
	cookie, ok := a.cookies[v]
	if !ok {
		return nil, false
	}
	path := "/"
	if v == static {
		path = "/style.css"
	}
	c = &client{h: a.handler, r: browser(path, cookie), w: writer{header: make(http.Header)}}
	switch v {
	case hit, anonymous:
		c.want = "alice"
	case static:
		c.want = string(file)
	}
	if a.name == "plain handler" && v != static {
		c.want = "alice"
	}
	return c, true
}

// everybody returns a client that comes as one visitor after the other.
func everybody(a app) *client {
	c, _ := visitor(a, hit)
	c.turns = a.others
	return c
}

// ready has what the next ones come with made, as a server has just read it.
func (r *rota) ready(requests int) {
	for len(r.turns) > 0 && len(r.next) < requests {
		r.n = next(r.n, len(r.turns))
		r.next = append(r.next, []string{strings.Clone(r.turns[r.n])})
	}
}

// take returns what the next one comes with.
func (r *rota) take() []string {
	r.ready(1)
	taken := r.next[0]
	r.next = r.next[1:]
	return taken
}

// next says whose turn it is after the nth of some: neighbours in memory are none in
// time.
func next(n, of int) int { return (n + 7919) % of }

// get makes one request and checks the answer.
func (c *client) get() {
	clear(c.w.header)
	c.w.body, c.w.code = c.w.body[:0], http.StatusOK
	if len(c.turns) > 0 {
		c.r.Header["Cookie"] = c.take()
	}
	c.own = *c.r // gorilla/sessions keeps what it has read in the request
	c.h.ServeHTTP(&c.w, &c.own)
	if c.w.code != http.StatusOK || string(c.w.body) != c.want {
		panic(fmt.Sprintf("the answer is %d %.40q, not %.40q", c.w.code, c.w.body, c.want))
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

// WriteString is there because a server's writer has it.
func (w *writer) WriteString(s string) (int, error) {
	w.body = append(w.body, s...)
	return len(s), nil
}

func (w *writer) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}
