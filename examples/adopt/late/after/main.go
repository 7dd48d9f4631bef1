// Command after is the service on scs for several firms. The session manager of a
// firm and its guard are made at its first request, with the firm's own settings.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

func main() {
	a := newApp()
	err := http.ListenAndServe("127.0.0.1:4010", a)
	log.Fatal(errors.Join(err, a.Close(context.Background())))
}

// firms are the settings of those who are served, by host.
var firms = map[string]struct{ lifetime, idle time.Duration }{
	"acme.example":   {lifetime: 8 * time.Hour, idle: 10 * time.Minute},
	"globex.example": {lifetime: 24 * time.Hour},
}

type app struct {
	trail scsguard.Sink

	mu    sync.Mutex
	firms map[string]*firm
}

type firm struct {
	sessions *scs.SessionManager
	guard    *scsguard.Guard
	handler  http.Handler
}

func newApp() *app {
	return &app{firms: make(map[string]*firm), trail: scsguard.NewWriterSink(os.Stderr)}
}

// Close closes the guards of all firms.
func (a *app) Close(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, f := range a.firms {
		errs = append(errs, f.guard.Close(ctx))
	}
	return errors.Join(errs...)
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, err := a.firm(r.Host)
	if err != nil {
		log.Print(err)
		http.Error(w, "Please try again later.", http.StatusInternalServerError)
		return
	}
	if f == nil {
		http.NotFound(w, r)
		return
	}
	f.handler.ServeHTTP(w, r)
}

// firm returns the firm of that host, nil if there is none.
func (a *app) firm(host string) (*firm, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	settings, known := firms[host]
	if f := a.firms[host]; f != nil || !known {
		return f, nil
	}
	sessions := scs.New()
	sessions.Lifetime, sessions.IdleTimeout = settings.lifetime, settings.idle
	sessions.Cookie.Name, sessions.Cookie.Secure, sessions.Cookie.Persist = "__Host-session", true, false
	guard, err := scsguard.New(sessions, scsguard.Config{Namespace: host, Audit: a.trail})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", host, err)
	}
	f := &firm{sessions: sessions, guard: guard}
	f.handler = f.routes()
	a.firms[host] = f
	return f, nil
}

func (f *firm) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", f.login)
	mux.HandleFunc("POST /logout", f.logout)
	mux.HandleFunc("GET /{$}", f.home)
	return f.guard.Protect(mux)
}

func (f *firm) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !authenticate(user, r.PostFormValue("password")) {
		http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
		return
	}
	if _, err := f.guard.Login(r.Context(), user); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		return
	}
	f.sessions.RememberMe(r.Context(), r.PostFormValue("remember") != "") // the cookie outlives the browser
}

func (f *firm) logout(w http.ResponseWriter, r *http.Request) {
	if err := f.guard.Logout(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
	}
}

func (f *firm) home(w http.ResponseWriter, r *http.Request) {
	s, ok := f.guard.Current(r.Context())
	if !ok {
		http.Error(w, "Please log in.", http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, "%s at %s\n", s.User, r.Host)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
