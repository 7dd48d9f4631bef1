// Command after is the shop on chi and scs under the guard. Production runs
// behind TLS, development over plain HTTP.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/scsguard/scsguard"
)

func main() {
	a := newApp(os.Getenv("ENV") == "production")
	err := http.ListenAndServe("127.0.0.1:4010", a.routes())
	log.Fatal(errors.Join(err, a.guard.Close(context.Background())))
}

type app struct {
	sessions *scs.SessionManager
	guard    *scsguard.Guard
}

func newApp(production bool) *app {
	sessions := scs.New()
	sessions.Cookie.Secure = production
	cfg := scsguard.Config{Audit: scsguard.NewWriterSink(os.Stderr)}
	if production {
		sessions.Cookie.Name = "__Host-session"
	} else {
		cfg.InsecureCookie = "development runs over plain HTTP"
	}
	guard, err := scsguard.New(sessions, cfg)
	if err != nil {
		log.Fatal(err)
	}
	return &app{sessions: sessions, guard: guard}
}

func (a *app) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.RequestID, middleware.Recoverer)
	r.Use(a.guard.Protect)
	r.Get("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Welcome to the shop.") })
	r.Post("/login", a.login)
	r.Post("/cart/{article}", a.put)
	r.Group(func(r chi.Router) {
		r.Use(a.guard.RequireLogin)
		r.Get("/order", a.order)
		r.Post("/logout", a.logout)
	})
	return r
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !authenticate(user, r.PostFormValue("password")) {
		http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
		return
	}
	if _, err := a.guard.Login(r.Context(), user); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
	}
}

func (a *app) put(_ http.ResponseWriter, r *http.Request) {
	a.sessions.Put(r.Context(), "article", chi.URLParam(r, "article"))
}

func (a *app) order(w http.ResponseWriter, r *http.Request) {
	s, _ := a.guard.Current(r.Context())
	fmt.Fprintln(w, s.User, "orders", a.sessions.GetString(r.Context(), "article"))
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.guard.Logout(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
	}
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
