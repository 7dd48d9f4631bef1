// Command after is the notebook on net/http and scs under the guard.
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
	err := http.ListenAndServe("127.0.0.1:4010", a.routes())
	log.Fatal(errors.Join(err, a.guard.Close(context.Background())))
}

type app struct {
	sessions *scs.SessionManager
	guard    *scsguard.Guard

	mu    sync.Mutex
	notes map[string][]string // by user
}

func newApp() *app {
	sessions := scs.New()
	sessions.Lifetime = 12 * time.Hour
	sessions.IdleTimeout = 20 * time.Minute
	sessions.Cookie.Secure = true
	sessions.Cookie.Name = "__Host-session"
	guard, err := scsguard.New(sessions, scsguard.Config{Audit: scsguard.NewWriterSink(os.Stderr)})
	if err != nil {
		log.Fatal(err)
	}
	return &app{sessions: sessions, guard: guard, notes: make(map[string][]string)}
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.Handle("GET /notes", a.requireUser(http.HandlerFunc(a.list)))
	mux.Handle("POST /notes", a.requireUser(http.HandlerFunc(a.add)))
	return http.NewCrossOriginProtection().Handler(a.guard.Protect(mux))
}

// user returns who is logged in, or "".
func (a *app) user(r *http.Request) string {
	s, _ := a.guard.Current(r.Context())
	return s.User
}

func (a *app) requireUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.user(r) == "" {
			a.sessions.Put(r.Context(), "flash", "Please log in first.")
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "Notebook.", a.sessions.PopString(r.Context(), "flash"))
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !authenticate(user, r.PostFormValue("password")) {
		a.guard.LoginFailed(r.Context(), user, "password")
		http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
		return
	}
	if _, err := a.guard.Login(r.Context(), user); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		return
	}
	http.Redirect(w, r, "/notes", http.StatusSeeOther)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.guard.Logout(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		return
	}
	a.sessions.Put(r.Context(), "flash", "You are logged out.")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) list(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(w, "Notes of", a.user(r), a.notes[a.user(r)])
}

func (a *app) add(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.notes[a.user(r)] = append(a.notes[a.user(r)], r.PostFormValue("note"))
	a.mu.Unlock()
	http.Redirect(w, r, "/notes", http.StatusSeeOther)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
