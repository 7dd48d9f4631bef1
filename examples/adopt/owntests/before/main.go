// Command before is a blog on scs whose tests mount LoadAndSave themselves, call
// handlers under a bare Load, and log in by putting the user's key.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/alexedwards/scs/v2"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", newApp().routes()))
}

type app struct {
	sessions *scs.SessionManager
	names    map[int]string
}

func newApp() *app {
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true
	return &app{sessions: sessions, names: map[int]string{1: "alice", 2: "bob"}}
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("GET /drafts", a.drafts)
	return a.sessions.LoadAndSave(mux)
}

// authorID returns the number of the author who is logged in, or 0.
func (a *app) authorID(ctx context.Context) int { return a.sessions.GetInt(ctx, "authorID") }

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	for id, name := range a.names {
		if name != r.PostFormValue("user") || r.PostFormValue("password") != "demo" {
			continue
		}
		if err := a.sessions.RenewToken(r.Context()); err != nil {
			http.Error(w, "Please try again.", http.StatusInternalServerError)
			return
		}
		a.sessions.Put(r.Context(), "authorID", id)
		return
	}
	http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.Destroy(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
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
