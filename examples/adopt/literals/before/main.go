// Command before is a newsletter on scs whose tests write the application as a
// literal with just what they need.
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/alexedwards/scs/v2"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", newApplication().routes()))
}

type application struct {
	sessions    *scs.SessionManager
	subscribers []string
}

func newApplication() *application {
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true
	return &application{sessions: sessions}
}

func (app *application) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", app.home)
	mux.HandleFunc("POST /subscribe", app.subscribe)
	mux.HandleFunc("POST /login", app.login)
	mux.HandleFunc("GET /subscribers", app.list)
	return app.sessions.LoadAndSave(mux)
}

func (app *application) home(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "Hello", app.editor(r), app.sessions.PopString(r.Context(), "flash"))
}

func (app *application) editor(r *http.Request) string {
	return app.sessions.GetString(r.Context(), "editor")
}

func (app *application) subscribe(w http.ResponseWriter, r *http.Request) {
	app.subscribers = append(app.subscribers, r.PostFormValue("address"))
	app.sessions.Put(r.Context(), "flash", "Thank you.")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (app *application) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !authenticate(user, r.PostFormValue("password")) {
		http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
		return
	}
	if err := app.sessions.RenewToken(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
		return
	}
	app.sessions.Put(r.Context(), "editor", user)
}

func (app *application) list(w http.ResponseWriter, r *http.Request) {
	if app.editor(r) == "" {
		http.Error(w, "Please log in.", http.StatusUnauthorized)
		return
	}
	fmt.Fprintln(w, app.subscribers)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
