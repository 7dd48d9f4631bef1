// Command after is the agency on scs under the guard, with three kinds of users,
// each with a key of another type: customers have a number, partners a UUID, employees a company
// and a number in it.
package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"

	"github.com/alexedwards/scs/v2"
	"github.com/google/uuid"

	"github.com/scsguard/scsguard"
)

func main() {
	a := newApp()
	err := http.ListenAndServe("127.0.0.1:4010", a.routes())
	log.Fatal(errors.Join(err, a.guard.Close(context.Background())))
}

type employee struct {
	Company string
	Number  int
}

// userID is the name of a user in the guard and in the trail. No two users share
// one, and it stays the same for ever.
func userID(key any) string {
	switch key := key.(type) {
	case int:
		return "customer:" + strconv.Itoa(key)
	case uuid.UUID:
		return "partner:" + key.String()
	case employee:
		return "employee:" + strconv.Itoa(key.Number) + ":" + key.Company // the number first: a company's name may hold a colon
	}
	return "" // nobody: Login refuses it
}

type app struct {
	sessions *scs.SessionManager
	guard    *scsguard.Guard
}

func newApp() *app {
	gob.Register(uuid.UUID{})
	gob.Register(employee{})
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true
	guard, err := scsguard.New(sessions, scsguard.Config{
		Audit:  scsguard.NewWriterSink(os.Stderr),
		UserID: func(ctx context.Context) string { return userID(sessions.Get(ctx, "user")) },
	})
	if err != nil {
		log.Fatal(err)
	}
	return &app{sessions: sessions, guard: guard}
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
	return a.guard.Protect(mux)
}

// login logs in whoever the form names, by a key of any type.
func (a *app) login(key func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, err := key(r)
		if err != nil || r.PostFormValue("password") != "demo" {
			http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
			return
		}
		if _, err := a.guard.Login(r.Context(), userID(user)); err != nil {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
			return
		}
		a.sessions.Put(r.Context(), "user", user)
	}
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.guard.Logout(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
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
