// Command before is an agency on scs with three kinds of users, each with a key
// of another type: customers have a number, partners a UUID, employees a company
// and a number in it.
package main

import (
	"encoding/gob"
	"fmt"
	"log"
	"net/http"
	"strconv"

	"github.com/alexedwards/scs/v2"
	"github.com/google/uuid"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", newApp().routes()))
}

type employee struct {
	Company string
	Number  int
}

type app struct {
	sessions *scs.SessionManager
}

func newApp() *app {
	gob.Register(uuid.UUID{})
	gob.Register(employee{})
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true
	return &app{sessions: sessions}
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /customers/login", a.login(func(r *http.Request) (any, error) {
		return strconv.Atoi(r.PostFormValue("number"))
	}))
	mux.HandleFunc("POST /partners/login", a.login(func(r *http.Request) (any, error) {
		return uuid.Parse(r.PostFormValue("id"))
	}))
	mux.HandleFunc("POST /employees/login", a.login(func(r *http.Request) (any, error) {
		number, err := strconv.Atoi(r.PostFormValue("number"))
		return employee{Company: r.PostFormValue("company"), Number: number}, err
	}))
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("GET /me", a.me)
	return a.sessions.LoadAndSave(mux)
}

// login logs in whoever the form names, by a key of any type.
func (a *app) login(key func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, err := key(r)
		if err != nil || r.PostFormValue("password") != "demo" {
			http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
			return
		}
		if err := a.sessions.RenewToken(r.Context()); err != nil {
			http.Error(w, "Please try again.", http.StatusInternalServerError)
			return
		}
		a.sessions.Put(r.Context(), "user", user)
	}
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.Destroy(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
	}
}

func (a *app) me(w http.ResponseWriter, r *http.Request) {
	switch user := a.sessions.Get(r.Context(), "user").(type) {
	case int:
		fmt.Fprintln(w, "customer", user)
	case uuid.UUID:
		fmt.Fprintln(w, "partner", user)
	case employee:
		fmt.Fprintln(w, "employee", user.Number, "of", user.Company)
	default:
		http.Error(w, "Please log in.", http.StatusUnauthorized)
	}
}
