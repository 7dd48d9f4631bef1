// Command after is the newsletter on scs under the guard whose tests write the
// application as a literal with just what they need, which is not a guard.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

func main() {
	app := newApplication()
	err := http.ListenAndServe("127.0.0.1:4010", app.routes())
	log.Fatal(errors.Join(err, app.guard.Close(context.Background())))
}

type application struct {
	sessions    *scs.SessionManager
	guard       *scsguard.Guard
	subscribers []string
}

func newApplication() *application {
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true
	guard, err := scsguard.New(sessions, scsguard.Config{Audit: scsguard.NewWriterSink(os.Stderr)})
	if err != nil {
		log.Fatal(err)
	}
	return &application{sessions: sessions, guard: guard}
}

func (app *application) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", app.home)
	mux.HandleFunc("POST /subscribe", app.subscribe)
	mux.HandleFunc("POST /login", app.login)
	mux.HandleFunc("GET /subscribers", app.list)
	return app.guard.Protect(mux)
}

func (app *application) home(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "Hello", app.editor(r), app.sessions.PopString(r.Context(), "flash"))
}

func (app *application) editor(r *http.Request) string {
	s, _ := app.guard.Current(r.Context())
	return s.User
}

func (app *application) subscribe(w http.ResponseWriter, r *http.Request) {
	app.subscribers = append(app.subscribers, r.PostFormValue("address"))
	app.sessions.Put(r.Context(), "flash", "Thank you.")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (app *application) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !authenticate(user, r.PostFormValue("password")) {
		app.guard.LoginFailed(r.Context(), user, "password")
		http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
		return
	}
	if _, err := app.guard.Login(r.Context(), user); err != nil {
		log.Print(err)
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
	}
}

func (app *application) list(w http.ResponseWriter, r *http.Request) {
	if app.editor(r) == "" {
		http.Error(w, "Please log in.", http.StatusUnauthorized)
		return
	}
	fmt.Fprintln(w, app.subscribers)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
