// Command before is a forum on gorilla/mux and scs.
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/mux"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", newApp().routes()))
}

type app struct {
	sessions *scs.SessionManager
}

func newApp() *app {
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-forum"
	sessions.Cookie.Secure = true
	return &app{sessions: sessions}
}

func (a *app) routes() http.Handler {
	r := mux.NewRouter()
	r.Use(a.sessions.LoadAndSave)
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
		if a.sessions.GetString(r.Context(), "user") == "" {
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
	if err := a.sessions.RenewToken(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
		return
	}
	a.sessions.Put(r.Context(), "user", user)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.Clear(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
	}
}

// topic counts what a visitor has read, whether or not he is a member.
func (a *app) topic(w http.ResponseWriter, r *http.Request) {
	read := a.sessions.GetInt(r.Context(), "read") + 1
	a.sessions.Put(r.Context(), "read", read)
	fmt.Fprintf(w, "Topic %s, the %d. you read.\n", mux.Vars(r)["id"], read)
}

func (a *app) me(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "You are %s and have read %d topics.\n", a.sessions.GetString(r.Context(), "user"), a.sessions.GetInt(r.Context(), "read"))
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
