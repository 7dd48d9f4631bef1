// Command before is a shop on chi and scs. Production runs behind TLS,
// development over plain HTTP.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

func main() {
	a := newApp(os.Getenv("ENV") == "production")
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", a.routes()))
}

type app struct {
	sessions *scs.SessionManager
}

func newApp(production bool) *app {
	sessions := scs.New()
	sessions.Cookie.Secure = production
	return &app{sessions: sessions}
}

func (a *app) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.RequestID, middleware.Recoverer)
	r.Use(a.sessions.LoadAndSave)
	r.Get("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Welcome to the shop.") })
	r.Post("/login", a.login)
	r.Post("/cart/{article}", a.put)
	r.Group(func(r chi.Router) {
		r.Use(a.requireLogin)
		r.Get("/order", a.order)
		r.Post("/logout", a.logout)
	})
	return r
}

func (a *app) requireLogin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.sessions.Exists(r.Context(), "user") {
			http.Error(w, "Please log in.", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !authenticate(user, r.PostFormValue("password")) {
		http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
		return
	}
	a.sessions.Put(r.Context(), "user", user)
	if err := a.sessions.RenewToken(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
	}
}

func (a *app) put(_ http.ResponseWriter, r *http.Request) {
	a.sessions.Put(r.Context(), "article", chi.URLParam(r, "article"))
}

func (a *app) order(w http.ResponseWriter, r *http.Request) {
	user := a.sessions.GetString(r.Context(), "user")
	fmt.Fprintln(w, user, "orders", a.sessions.GetString(r.Context(), "article"))
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.Destroy(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
	}
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
