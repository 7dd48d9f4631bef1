// Command after is the shop on scs under the guard that keeps all session data in
// one struct under one key.
package main

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

func main() {
	a := newApp()
	err := http.ListenAndServe("127.0.0.1:4010", a.routes())
	log.Fatal(errors.Join(err, a.guard.Close(context.Background())))
}

// state is all that is known of a visitor.
type state struct {
	User  string   `json:"user,omitempty"`
	Theme string   `json:"theme,omitempty"`
	Cart  []string `json:"cart,omitempty"`
}

type app struct {
	sessions *scs.SessionManager
	guard    *scsguard.Guard
}

func newApp() *app {
	gob.Register(state{})
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true
	guard, err := scsguard.New(sessions, scsguard.Config{Audit: scsguard.NewWriterSink(os.Stderr)})
	if err != nil {
		log.Fatal(err)
	}
	return &app{sessions: sessions, guard: guard}
}

func (a *app) load(ctx context.Context) state {
	s, _ := a.sessions.Get(ctx, "state").(state)
	current, _ := a.guard.Current(ctx)
	s.User = current.User // the guard says who is logged in, the data only what he has
	return s
}

func (a *app) save(ctx context.Context, s state) { a.sessions.Put(ctx, "state", s) }

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("POST /theme/{theme}", a.theme)
	mux.HandleFunc("POST /cart/{article}", a.put)
	mux.HandleFunc("GET /state", a.state)
	mux.HandleFunc("GET /checkout", a.checkout)
	return a.guard.Protect(mux)
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	s := a.load(r.Context())
	if !authenticate(r.PostFormValue("user"), r.PostFormValue("password")) {
		http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
		return
	}
	session, err := a.guard.Login(r.Context(), r.PostFormValue("user"))
	if err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		return
	}
	if s.User != "" && s.User != session.User {
		s = state{} // what another user has left is none of his business
	}
	s.User = session.User
	a.save(r.Context(), s)
}

// logout forgets everything but the theme.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	s := a.load(r.Context())
	if err := a.guard.Logout(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		return
	}
	a.save(r.Context(), state{Theme: s.Theme})
}

func (a *app) theme(_ http.ResponseWriter, r *http.Request) {
	s := a.load(r.Context())
	s.Theme = r.PathValue("theme")
	a.save(r.Context(), s)
}

func (a *app) put(_ http.ResponseWriter, r *http.Request) {
	s := a.load(r.Context())
	s.Cart = append(s.Cart, r.PathValue("article"))
	a.save(r.Context(), s)
}

func (a *app) state(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a.load(r.Context()))
}

func (a *app) checkout(w http.ResponseWriter, r *http.Request) {
	if a.load(r.Context()).User == "" {
		http.Error(w, "Please log in.", http.StatusUnauthorized)
		return
	}
	a.state(w, r)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
