// Command after is the blog on scs under the guard whose tests mount LoadAndSave
// themselves, call handlers under a bare Load, and log in by putting the user's key.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"

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
	names    map[int]string
}

func newApp() *app {
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true
	a := &app{sessions: sessions, names: map[int]string{1: "alice", 2: "bob"}}
	guard, err := scsguard.New(sessions, scsguard.Config{Audit: scsguard.NewWriterSink(os.Stderr), UserID: a.userID})
	if err != nil {
		log.Fatal(err)
	}
	a.guard = guard
	return a
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.Handle("GET /drafts", a.guard.RequireLogin(http.HandlerFunc(a.drafts)))
	return a.guard.Protect(mux)
}

// authorID returns the number of the author who is logged in, or 0.
func (a *app) authorID(ctx context.Context) int { return a.sessions.GetInt(ctx, "authorID") }

// userID is what the guard calls the author, "" if nobody is logged in.
func (a *app) userID(ctx context.Context) string {
	if id := a.authorID(ctx); id != 0 {
		return strconv.Itoa(id)
	}
	return ""
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	for id, name := range a.names {
		if name != r.PostFormValue("user") || r.PostFormValue("password") != "demo" {
			continue
		}
		if _, err := a.guard.Login(r.Context(), strconv.Itoa(id)); err != nil {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
			return
		}
		a.sessions.Put(r.Context(), "authorID", id)
		return
	}
	http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.guard.Logout(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
	}
}

func (a *app) drafts(w http.ResponseWriter, r *http.Request) {
	id := a.authorID(r.Context())
	if id == 0 {
		http.Error(w, "Please log in.", http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, "Drafts of %s\n", a.names[id])
}
