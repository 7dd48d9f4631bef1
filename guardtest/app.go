package guardtest

import (
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/scsguard/scsguard"
)

// An App is the application under test. Fill it in by hand around an application
// that makes its own guard, or let [New] make one.
type App struct {
	// Guard is the application's guard. Required by Check.
	Guard *scsguard.Guard
	// Registry is where sessions are made to time out. Default: Guard.Registry.
	Registry scsguard.Registry
	// Handler is what the application serves, Guard.Protect included. Required by
	// Check.
	Handler http.Handler
	// Login logs the browser in, in as many requests as it takes, and returns the
	// answer to the last one: [LoginForm], or a function. Required by Check, which
	// calls it often.
	Login func(*Browser) Answer
	// Logout logs the browser out. If it is set, Check also tries a copy of the
	// cookie that somebody made before.
	Logout func(*Browser) Answer
	// Refused reports whether an answer refuses a visitor. Set it if the
	// application does so in a way that Check does not know: see there.
	Refused func(Answer) bool

	// Sessions and Trail are the guard's session manager and sink. New sets them;
	// Check does not need them.
	Sessions *scs.SessionManager
	Trail    *Sink
}

// New returns an App with a guard for tests, which lacks Handler and Login: a
// manager of [NewManager], a registry in memory, limits of 15 minutes and 8 hours,
// and a [Sink]. Functions may change the guard's Config, and the App has what
// they put there as Registry and, if it is a *Sink, Trail. A configuration that
// scsguard.New refuses fails the test and stops it.
//
// The guard is closed when the test ends. A Sink that fails or hangs is recovered
// before; a trail that cannot be completed is an error of the test.
//
// In a testing/synctest bubble call New inside, so that the guard has its clock.
func New(tb testing.TB, change ...func(*scsguard.Config)) *App {
	tb.Helper()
	return NewWith(tb, NewManager(), change...)
}

// NewWith is [New] with a session manager of the application's own, which has no
// guard yet.
func NewWith(tb testing.TB, sm *scs.SessionManager, change ...func(*scsguard.Config)) *App {
	tb.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	cfg := scsguard.Config{
		Timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour},
		Audit:    &Sink{},
		Registry: scsguard.NewMemoryRegistry(),
		Keys:     [][]byte{key},
	}
	for _, f := range change {
		f(&cfg)
	}
	guard, err := scsguard.New(sm, cfg)
	if err != nil {
		tb.Fatalf("guardtest: no guard could be made: %v", err)
		return &App{}
	}
	a := &App{Guard: guard, Sessions: sm, Registry: guard.Registry()}
	a.Trail, _ = cfg.Audit.(*Sink)
	tb.Cleanup(func() {
		if a.Trail != nil {
			a.Trail.Recover()
		}
		ctx, cancel := limited()
		defer cancel()
		if err := guard.Close(ctx); err != nil {
			tb.Errorf("guardtest: the guard could not write everything when the test ended: %v; let the sink work again before", err)
		}
	})
	return a
}

// Browser returns a new browser of the application's handler.
func (a *App) Browser(tb testing.TB) *Browser {
	tb.Helper()
	b := NewBrowser(tb, a.Handler)
	if a.Sessions != nil {
		b.Cookie = a.Sessions.Cookie.Name
	}
	return b
}

// NewManager returns a session manager as scs.New does, with a __Host- cookie
// that is Secure and a memstore, but without any goroutine: it may be made and
// used inside a testing/synctest bubble. Its ErrorFunc shows the error in the
// answer.
//
// The contexts of such managers cannot be told apart, so no request may go
// through two of them. For that use scs.New, outside of a bubble.
func NewManager() *scs.SessionManager {
	return &scs.SessionManager{
		Lifetime: 24 * time.Hour,
		Store:    memstore.NewWithCleanupInterval(0),
		Codec:    scs.GobCodec{},
		Cookie: scs.SessionCookie{
			Name: DefaultCookie, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode, Persist: true,
		},
		ErrorFunc: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		},
	}
}

// Flush returns when everything that has happened so far is in the trail: an
// ending is written a moment after it. It calls [scsguard.Guard.Sweep], so it also
// ends what is overdue, a session of [ExpireIdle] included. What cannot be
// written in ten seconds fails the test and stops it.
func Flush(tb testing.TB, guard *scsguard.Guard) {
	tb.Helper()
	if guard == nil {
		tb.Fatalf("guardtest: there is no guard to flush; give the one of the application")
		return
	}
	ctx, cancel := limited()
	defer cancel()
	if _, err := guard.Sweep(ctx); err != nil {
		tb.Fatalf("guardtest: the trail could not be brought up to date: %v; let the sink and the registry work", err)
	}
}
