// Command before is a service on scs for several firms. The session manager of a
// firm is made at its first request, with the firm's own settings.
package main

import (
	"fmt"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", newApp()))
}

// firms are the settings of those who are served, by host.
var firms = map[string]struct{ lifetime, idle time.Duration }{
	"acme.example":   {lifetime: 8 * time.Hour, idle: 10 * time.Minute},
	"globex.example": {lifetime: 24 * time.Hour},
}

type app struct {
	mu    sync.Mutex
	firms map[string]*firm
}

type firm struct {
	sessions *scs.SessionManager
	handler  http.Handler
}

func newApp() *app { return &app{firms: make(map[string]*firm)} }

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := a.firm(r.Host)
	if f == nil {
		http.NotFound(w, r)
		return
	}
	f.handler.ServeHTTP(w, r)
}

// firm returns the firm of that host, nil if there is none.
func (a *app) firm(host string) *firm {
	a.mu.Lock()
	defer a.mu.Unlock()
	settings, known := firms[host]
	if f := a.firms[host]; f != nil || !known {
		return f
	}
	sessions := scs.New()
	sessions.Lifetime, sessions.IdleTimeout = settings.lifetime, settings.idle
	sessions.Cookie.Name, sessions.Cookie.Secure, sessions.Cookie.Persist = "__Host-session", true, false
	f := &firm{sessions: sessions}
	f.handler = f.routes()
	a.firms[host] = f
	return f
}

func (f *firm) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", f.login)
	mux.HandleFunc("POST /logout", f.logout)
	mux.HandleFunc("GET /{$}", f.home)
	return f.sessions.LoadAndSave(mux)
}

func (f *firm) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !authenticate(user, r.PostFormValue("password")) {
		http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
		return
	}
	if err := f.sessions.RenewToken(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
		return
	}
	f.sessions.Put(r.Context(), "user", user)
	f.sessions.RememberMe(r.Context(), r.PostFormValue("remember") != "") // the cookie outlives the browser
}

func (f *firm) logout(w http.ResponseWriter, r *http.Request) {
	if err := f.sessions.Destroy(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
	}
}

func (f *firm) home(w http.ResponseWriter, r *http.Request) {
	user := f.sessions.GetString(r.Context(), "user")
	if user == "" {
		http.Error(w, "Please log in.", http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, "%s at %s\n", user, r.Host)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
