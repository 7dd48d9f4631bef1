// Command after is the API on scs under the guard whose clients have no cookies:
// the token travels in headers.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"strings"

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
}

func newApp() *app {
	sessions := scs.New()
	guard, err := scsguard.New(sessions, scsguard.Config{
		Audit:          scsguard.NewWriterSink(os.Stderr),
		InsecureCookie: "no cookie is ever set: the token travels in headers",
	})
	if err != nil {
		log.Fatal(err)
	}
	return &app{sessions: sessions, guard: guard}
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /login", a.withSession(a.login))
	mux.Handle("POST /logout", a.withSession(a.logout))
	mux.Handle("POST /jobs/{job}", a.withSession(a.start))
	mux.Handle("GET /jobs", a.withSession(a.jobs))
	return mux
}

// An endpoint returns its answer, so that the session can be saved before the
// header goes out.
type endpoint func(*http.Request) (status int, answer any)

// withSession loads the session that the header names, and says in a header what
// its token is afterwards.
func (a *app) withSession(serve endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		ctx, err := a.sessions.Load(r.Context(), token)
		if err != nil {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
			return
		}
		status, answer := serve(r.WithContext(ctx))
		switch a.sessions.Status(ctx) {
		case scs.Modified:
			token, _, err := a.sessions.Commit(ctx)
			if err != nil {
				http.Error(w, "Please try again.", http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("X-Session-Token", token)
		case scs.Destroyed:
			w.Header().Set("X-Session-Token", "")
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	})
}

func (a *app) login(r *http.Request) (int, any) {
	user := r.PostFormValue("user")
	if !authenticate(user, r.PostFormValue("password")) {
		return http.StatusUnauthorized, "user or password is wrong"
	}
	if _, err := a.guard.Login(r.Context(), user); err != nil {
		return http.StatusServiceUnavailable, "please try again"
	}
	return http.StatusOK, user
}

func (a *app) logout(r *http.Request) (int, any) {
	if err := a.guard.Logout(r.Context()); err != nil {
		return http.StatusServiceUnavailable, "please try again"
	}
	return http.StatusOK, nil
}

func (a *app) start(r *http.Request) (int, any) {
	if _, ok := a.guard.Current(r.Context()); !ok {
		return http.StatusUnauthorized, "please log in"
	}
	jobs, _ := a.sessions.Get(r.Context(), "jobs").([]string)
	a.sessions.Put(r.Context(), "jobs", append(jobs, r.PathValue("job")))
	return http.StatusCreated, nil
}

func (a *app) jobs(r *http.Request) (int, any) {
	session, ok := a.guard.Current(r.Context())
	if !ok {
		return http.StatusUnauthorized, "please log in"
	}
	jobs, _ := a.sessions.Get(r.Context(), "jobs").([]string)
	return http.StatusOK, map[string]any{"user": session.User, "jobs": jobs}
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
