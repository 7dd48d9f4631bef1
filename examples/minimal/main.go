// Command minimal is what an application on alexedwards/scs needs to be guarded:
// a login form, a page behind it, and a way out. It serves http://127.0.0.1:4001
// and writes the trail to standard output.
package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

func main() {
	handler, guard, err := newApp(os.Stdout)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv := &http.Server{Addr: "127.0.0.1:4001", Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.ListenAndServe() }()
	log.Print(`http://127.0.0.1:4001, user "alice", password "demo"`)
	select {
	case err = <-failed:
	case <-ctx.Done():
		err = within(10*time.Second, srv.Shutdown)
	}
	// After the last request: what the trail has not got yet is written now.
	if err = errors.Join(err, within(10*time.Second, guard.Close)); err != nil {
		log.Fatal(err)
	}
}

func within(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f(ctx)
}

func newApp(trail io.Writer) (http.Handler, *scsguard.Guard, error) {
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true // all browsers but older Safari accept that on http://127.0.0.1

	guard, err := scsguard.New(sessions, scsguard.Config{
		Timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour},
		Audit:    scsguard.NewWriterSink(trail),
		LoginURL: "/login",
	})
	if err != nil {
		return nil, nil, err
	}

	mux := http.NewServeMux()

	mux.Handle("GET /{$}", guard.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := guard.Current(r.Context())
		visits := sessions.GetInt(r.Context(), "visits") + 1
		sessions.Put(r.Context(), "visits", visits) // session data is used as ever
		news, err := guard.Warnings(r.Context())
		if err != nil {
			unavailable(w, err)
			return
		}
		page(w, http.StatusOK, `<p>You are %s, and this is your visit number %s.</p>
<p>New logins elsewhere: %s</p>
<form method="post" action="/logout"><button>Log out</button></form>`, s.User, visits, len(news))
	})))

	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		why := "Please log in."
		if reason := guard.Ended(r.Context()); reason != "" {
			why = reason.Text()
		}
		page(w, http.StatusOK, loginForm, why)
	})

	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		user := r.PostFormValue("user")
		if !authenticate(user, r.PostFormValue("password")) {
			guard.LoginFailed(r.Context(), user, "password")
			page(w, http.StatusUnauthorized, loginForm, "User or password is wrong.")
			return
		}
		if _, err := guard.Login(r.Context(), user); err != nil { // in place of RenewToken and Put
			unavailable(w, err)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})

	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := guard.Logout(r.Context()); err != nil { // in place of Destroy
			unavailable(w, err)
			return
		}
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	})

	// guard.Protect stands where sessions.LoadAndSave was.
	return http.NewCrossOriginProtection().Handler(guard.Protect(mux)), guard, nil
}

// authenticate is yours: look the user up and compare a hash of the password.
func authenticate(user, password string) bool { return user == "alice" && password == "demo" }

func unavailable(w http.ResponseWriter, err error) {
	log.Print(err)
	w.Header().Set("Retry-After", "5")
	http.Error(w, "Please try again in a few seconds.", http.StatusServiceUnavailable)
}

const loginForm = `<p>%s</p>
<form method="post" action="/login">
<label>User <input name="user" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Log in</button>
</form>`

// page writes a page, with a value in the place of each %s.
func page(w http.ResponseWriter, status int, format string, values ...any) {
	for i, v := range values {
		values[i] = html.EscapeString(fmt.Sprint(v))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!doctype html>\n<html lang=\"en\">\n<title>minimal</title>\n"+format, values...)
}
