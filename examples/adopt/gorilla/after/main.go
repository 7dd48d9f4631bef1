// Command after is the forum on gorilla/mux and scs under the guard.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/mux"

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
}

func newApp() *app {
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-forum"
	sessions.Cookie.Secure = true
	guard, err := scsguard.New(sessions, scsguard.Config{Audit: scsguard.NewWriterSink(os.Stderr)})
	if err != nil {
		log.Fatal(err)
	}
	return &app{sessions: sessions, guard: guard}
}

func (a *app) routes() http.Handler {
	r := mux.NewRouter()
	r.Use(a.guard.Protect)
	r.HandleFunc("/login", a.login).Methods(http.MethodPost)
	r.HandleFunc("/logout", a.logout).Methods(http.MethodPost)
	r.HandleFunc("/topics/{id:[0-9]+}", a.topic).Methods(http.MethodGet)

	members := r.PathPrefix("/members").Subrouter()
	members.Use(a.membersOnly)
	members.HandleFunc("/me", a.me).Methods(http.MethodGet)
	return r
}

func (a *app) membersOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := a.guard.Current(r.Context()); !ok {
			http.Error(w, "For members only.", http.StatusForbidden)
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
	if _, err := a.guard.Login(r.Context(), user); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
	}
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.guard.Logout(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
	}
}

// topic counts what a visitor has read, whether or not he is a member.
func (a *app) topic(w http.ResponseWriter, r *http.Request) {
	read := a.sessions.GetInt(r.Context(), "read") + 1
	a.sessions.Put(r.Context(), "read", read)
	fmt.Fprintf(w, "Topic %s, the %d. you read.\n", mux.Vars(r)["id"], read)
}

func (a *app) me(w http.ResponseWriter, r *http.Request) {
	s, _ := a.guard.Current(r.Context())
	fmt.Fprintf(w, "You are %s and have read %d topics.\n", s.User, a.sessions.GetInt(r.Context(), "read"))
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
