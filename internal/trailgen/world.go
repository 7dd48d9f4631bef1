// Package trailgen makes trails by letting people use an application: browsers
// that log in, work, go away, at hosts that run the real guard over the real
// sealed log. For tests and demos, in the simulated time of testing/synctest.
package trailgen

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
)

// Config says what world it is.
type Config struct {
	Dir      string // of the trail
	Anchor   string // of the anchor; empty for none
	Timeouts scsguard.Timeouts
	Limit    scsguard.Limit
	Grace    time.Duration
	// Change changes the configuration of a guard. Optional.
	Change func(*scsguard.Config)
	// Sync makes the log call fsync. Without it a test of a thousand trails is
	// bearable.
	Sync bool
}

// Managers makes session managers that share a store. scs starts a goroutine for
// each, so they have to be made outside of a bubble of synctest.
func Managers(n int) []*scs.SessionManager {
	store := memstore.NewWithCleanupInterval(0)
	list := make([]*scs.SessionManager, n)
	for i := range list {
		list[i] = scs.New()
		list[i].Store = store
		list[i].Lifetime = 400 * 24 * time.Hour
		list[i].Cookie.Name, list[i].Cookie.Secure = "__Host-session", true
	}
	return list
}

// World is some hosts that serve one application.
type World struct {
	Registry *scsguard.MemoryRegistry
	Hosts    []*Host
	cfg      Config
}

// Host is one process.
type Host struct {
	Guard   *scsguard.Guard
	Manager *scs.SessionManager
	Log     *auditlog.Log
	serve   http.Handler
	Broken  *Switch // while it is on, the trail of the host cannot be written
}

// Switch makes a disk fail.
type Switch struct {
	mu sync.Mutex
	on bool
}

// Set turns it.
func (s *Switch) Set(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = on
}

func (s *Switch) isOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on
}

// root is the key of all generated trails, which prove nothing to anybody.
func root() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{42}, 32)) }

// VerifierKey is the key under which generated trails verify.
func VerifierKey() string {
	key, err := auditlog.VerifierKey(root(), "generated")
	if err != nil {
		panic(err) // the key is a constant
	}
	return key
}

// New starts a host for each manager. Call it inside the bubble.
func New(cfg Config, managers []*scs.SessionManager) (*World, error) {
	w := &World{Registry: scsguard.NewMemoryRegistry(), cfg: cfg}
	for i, sm := range managers {
		h, err := w.start(fmt.Sprintf("shop/web-%d", i+1), sm)
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		w.Hosts = append(w.Hosts, h)
	}
	return w, nil
}

func (w *World) start(origin string, sm *scs.SessionManager) (*Host, error) {
	h := &Host{Manager: sm, Broken: new(Switch)}
	logCfg := auditlog.Config{Dir: w.cfg.Dir, Root: root(), RootName: "generated", Origin: origin, MinFree: -1, WarnFree: 1}
	if w.cfg.Anchor != "" {
		logCfg.Anchors = []auditlog.Anchor{auditlog.FileAnchor(w.cfg.Anchor)}
	}
	logCfg.OpenFile = disk{h.Broken, w.cfg.Sync}.open
	var err error
	if h.Log, err = auditlog.Open(logCfg); err != nil {
		return nil, err
	}
	gc := scsguard.Config{
		Timeouts: w.cfg.Timeouts, Limit: w.cfg.Limit, RotationGrace: w.cfg.Grace,
		Registry: w.Registry, Audit: h.Log, Keys: [][]byte{bytes.Repeat([]byte{1}, 32)},
	}
	if w.cfg.Change != nil {
		w.cfg.Change(&gc)
	}
	if h.Guard, err = scsguard.New(sm, gc); err != nil {
		return nil, errors.Join(err, h.Log.Close())
	}
	h.serve = h.Guard.Protect(http.HandlerFunc(func(res http.ResponseWriter, r *http.Request) {
		if do, ok := r.Context().Value(actKey{}).(func(context.Context, *Host) error); ok {
			if err := do(r.Context(), h); err != nil {
				http.Error(res, err.Error(), http.StatusTeapot)
			}
		}
	}))
	return h, nil
}

type actKey struct{}

// disk is where a host keeps its trail.
type disk struct {
	broken *Switch
	sync   bool
}

var errBroken = errors.New("the disk is full")

func (d disk) open(name string) (auditlog.File, error) {
	if d.broken.isOn() {
		return nil, errBroken
	}
	f, err := os.OpenFile(filepath.Clean(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return segment{f, d}, err
}

type segment struct {
	*os.File
	disk disk
}

func (s segment) Write(b []byte) (int, error) {
	if s.disk.broken.isOn() {
		return 0, errBroken
	}
	return s.File.Write(b)
}

func (s segment) Sync() error {
	switch {
	case s.disk.broken.isOn():
		return errBroken
	case s.disk.sync:
		return s.File.Sync()
	}
	return nil
}

// Close ends all sessions and closes the trail, in order.
func (w *World) Close() error {
	var errs []error
	for _, h := range w.Hosts {
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}

// Close ends a host.
func (h *Host) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(h.Guard.Close(ctx), h.Log.Close())
}

// Alive is the truth: the sessions of a user that would be served now.
func (w *World) Alive(user string) map[string]bool {
	recs, err := w.Registry.List(context.Background(), user)
	if err != nil {
		panic(err) // a registry in memory
	}
	alive := make(map[string]bool)
	for _, rec := range recs {
		if _, over := rec.Overdue(time.Now()); rec.State == scsguard.StateLive && !over {
			alive[rec.Session] = true
		}
	}
	return alive
}

// Browser keeps the cookie of one visitor.
type Browser struct {
	Addr, Agent string
	Last        string // the session of its last login
	cookie      string
}

// Do makes a request at a host and runs do in its handler.
func (b *Browser) Do(h *Host, do func(context.Context, *Host) error) int {
	r, err := http.NewRequestWithContext(context.WithValue(context.Background(), actKey{}, do), http.MethodPost, "https://shop.example/", http.NoBody)
	if err != nil {
		panic(err) // constants
	}
	r.RemoteAddr = b.Addr + ":4711"
	r.Header.Set("User-Agent", b.Agent)
	if b.cookie != "" {
		r.Header.Set("Cookie", "__Host-session="+b.cookie)
	}
	res := &response{header: make(http.Header)}
	h.serve.ServeHTTP(res, r)
	for _, c := range (&http.Response{Header: res.header}).Cookies() {
		if b.cookie = c.Value; c.MaxAge < 0 {
			b.cookie = ""
		}
	}
	return res.status
}

// response is a response that nobody reads.
type response struct {
	header http.Header
	status int
}

func (r *response) Header() http.Header { return r.header }

func (r *response) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return len(b), nil
}

func (r *response) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Login logs somebody in and returns the session.
func (b *Browser) Login(h *Host, user string, opts ...scsguard.LoginOption) string {
	session := ""
	b.Do(h, func(ctx context.Context, h *Host) error {
		s, err := h.Guard.Login(ctx, user, opts...)
		session = s.ID
		return err
	})
	if session != "" {
		b.Last = session
	}
	return session
}

// Logout logs out.
func (b *Browser) Logout(h *Host) int {
	return b.Do(h, func(ctx context.Context, h *Host) error { return h.Guard.Logout(ctx) })
}

// Visit is a request like any other.
func (b *Browser) Visit(h *Host) int {
	return b.Do(h, func(context.Context, *Host) error { return nil })
}
