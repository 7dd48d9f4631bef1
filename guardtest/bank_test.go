package guardtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

// bank is an application as a user of the library writes it, and that can be
// broken on purpose.
type bank struct {
	*guardtest.App
	mux *http.ServeMux
	tb  testing.TB
}

var loginAlice = guardtest.LoginForm("/login", "user", "alice", "password", "demo")

func newBank(tb testing.TB, change ...func(*scsguard.Config)) *bank {
	tb.Helper()
	b := around(guardtest.New(tb, change...))
	b.tb = tb
	return b
}

func around(app *guardtest.App) *bank {
	b := &bank{App: app, mux: http.NewServeMux()}
	b.Handler = app.Guard.Protect(b.mux)
	b.Login = loginAlice
	b.Logout = guardtest.LoginForm("/logout")
	b.mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("password") != "demo" {
			http.Error(w, "wrong password", http.StatusUnauthorized)
			return
		}
		switch _, err := b.Guard.Login(r.Context(), r.PostFormValue("user")); {
		case errors.Is(err, scsguard.ErrUnavailable):
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case err != nil:
			http.Error(w, err.Error(), http.StatusConflict)
		default:
			http.Redirect(w, r, "/account", http.StatusSeeOther)
		}
	})
	logout := func(w http.ResponseWriter, r *http.Request) {
		if err := b.Guard.Logout(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	b.mux.HandleFunc("POST /logout", logout)
	b.mux.Handle("POST /leave", b.Guard.RequireLogin(http.HandlerFunc(logout)))
	b.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello ", b.who(r)) })
	b.mux.Handle("GET /account", b.Guard.RequireLogin(b.account()))
	b.mux.Handle("POST /transfer", b.Guard.RequireLogin(http.RedirectHandler("/account", http.StatusSeeOther)))
	return b
}

func (b *bank) who(r *http.Request) string {
	s, _ := b.Guard.Current(r.Context())
	return s.User
}

func (b *bank) account() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "account of ", b.who(r)) })
}

// The ways in which an application can be broken.

// unchecked asks nobody who he is.
func (b *bank) unchecked(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "balance: 100") }

// remembering asks the guard once for each cookie, and never again.
func (b *bank) remembering() http.HandlerFunc {
	var mu sync.Mutex
	known := make(map[string]string)
	return func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie(guardtest.DefaultCookie)
		if err != nil {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if user := b.who(r); user != "" {
			known[cookie.Value] = user
		}
		if known[cookie.Value] == "" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "account of ", known[cookie.Value])
	}
}

func sameForAll(context.Context, scsguard.Subject) scsguard.Policy { return scsguard.Policy{} }

func loggedIn(b *guardtest.Browser) *guardtest.Browser {
	loginAlice(b)
	return b
}
