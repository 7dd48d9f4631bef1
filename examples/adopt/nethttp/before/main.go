// Command before is a notebook on net/http and scs that has never heard of a
// guard.
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
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", newApp().routes()))
}

type app struct {
	sessions *scs.SessionManager

	mu    sync.Mutex
	notes map[string][]string // by user
}

func newApp() *app {
	sessions := scs.New()
	sessions.Lifetime = 12 * time.Hour
	sessions.IdleTimeout = 20 * time.Minute
	sessions.Cookie.Secure = true
	return &app{sessions: sessions, notes: make(map[string][]string)}
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.Handle("GET /notes", a.requireUser(http.HandlerFunc(a.list)))
	mux.Handle("POST /notes", a.requireUser(http.HandlerFunc(a.add)))
	return http.NewCrossOriginProtection().Handler(a.sessions.LoadAndSave(mux))
}

// user returns who is logged in, or "".
func (a *app) user(r *http.Request) string {
	return a.sessions.GetString(r.Context(), "user")
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
		http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
		return
	}
	if err := a.sessions.RenewToken(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
		return
	}
	a.sessions.Put(r.Context(), "user", user)
	http.Redirect(w, r, "/notes", http.StatusSeeOther)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.RenewToken(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
		return
	}
	a.sessions.Remove(r.Context(), "user")
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
