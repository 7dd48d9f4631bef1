// Command before is a diary on scs with handlers that grew over the years: one login
// changes the token, one has forgotten to, and there are two ways out.
package main

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", newApp().routes()))
}

type app struct {
	sessions *scs.SessionManager
	link     string // logs bob in, as it would from a mail
}

func newApp() *app {
	sessions := scs.New()
	sessions.Lifetime = 12 * time.Hour
	sessions.IdleTimeout = time.Hour
	sessions.Cookie.Secure = true
	return &app{sessions: sessions, link: rand.Text()}
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "Diary.", a.sessions.PopString(r.Context(), "flash"))
	})
	mux.HandleFunc("GET /diary", a.diary)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("GET /link/{link}", a.followLink)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("POST /forget", a.forget)
	return a.sessions.LoadAndSave(mux)
}

func (a *app) diary(w http.ResponseWriter, r *http.Request) {
	user := a.sessions.GetString(r.Context(), "user")
	if user == "" {
		http.Error(w, "Please log in.", http.StatusUnauthorized)
		return
	}
	fmt.Fprintln(w, "Dear diary of", user)
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
	http.Redirect(w, r, "/diary", http.StatusSeeOther)
}

// followLink has forgotten to change the token.
func (a *app) followLink(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.PathValue("link")), []byte(a.link)) == 0 {
		http.NotFound(w, r)
		return
	}
	a.sessions.Put(r.Context(), "user", "bob")
	http.Redirect(w, r, "/diary", http.StatusSeeOther)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.Destroy(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
		return
	}
	a.sessions.Put(r.Context(), "flash", "You are logged out.")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// forget is the other way out.
func (a *app) forget(w http.ResponseWriter, r *http.Request) {
	a.sessions.Remove(r.Context(), "user")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
