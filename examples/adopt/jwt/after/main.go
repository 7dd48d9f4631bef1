// Command after is the chat on scs under the guard with a second credential: a login
// also sets a JWT in a cookie of its own, by which a gateway serves messages without
// a session. It ends with the session.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/golang-jwt/jwt/v5"

	"github.com/scsguard/scsguard"
)

func main() {
	a := newApp()
	err := http.ListenAndServe("127.0.0.1:4010", a.routes())
	log.Fatal(errors.Join(err, a.guard.Close(context.Background())))
}

const (
	passCookie = "__Host-pass"
	passFor    = 15 * time.Minute
)

type app struct {
	sessions *scs.SessionManager
	guard    *scsguard.Guard
	denied   *denied
	key      []byte // of the passes; who starts anew needs a new one
}

func newApp() *app {
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	over := &denied{}
	guard, err := scsguard.New(sessions, scsguard.Config{Audit: scsguard.NewWriterSink(os.Stderr), OnEvent: over.OnEvent})
	if err != nil {
		log.Fatal(err)
	}
	return &app{sessions: sessions, guard: guard, denied: over, key: key}
}

func (a *app) routes() http.Handler {
	site := http.NewServeMux()
	site.HandleFunc("POST /login", a.login)
	site.HandleFunc("POST /logout", a.logout)
	site.HandleFunc("GET /{$}", a.home)

	mux := http.NewServeMux()
	mux.Handle("/", a.guard.Protect(a.clearOldPass(site)))
	mux.HandleFunc("GET /messages", a.messages) // the gateway, which knows no sessions
	return mux
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !authenticate(user, r.PostFormValue("password")) {
		http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
		return
	}
	s, err := a.guard.Login(r.Context(), user)
	if err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		return
	}
	a.setPass(w, jwt.RegisteredClaims{Subject: user, ID: s.ID})
}

// clearOldPass takes the pass from a browser whose session has ended. OnEvent cannot
// do that: who is evicted has sent no request, and the request that is being answered
// then is somebody else's.
func (a *app) clearOldPass(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.guard.Ended(r.Context()) != "" {
			clearPass(w)
		}
		next.ServeHTTP(w, r)
	})
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	clearPass(w)
	if err := a.guard.Logout(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
	}
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	s, _ := a.guard.Current(r.Context())
	fmt.Fprintf(w, "Chat of %q\n", s.User)
}

func (a *app) messages(w http.ResponseWriter, r *http.Request) {
	claims, err := a.pass(r)
	if err != nil {
		http.Error(w, "No valid pass.", http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, "Messages for %s\n", claims.Subject)
}

func (a *app) setPass(w http.ResponseWriter, claims jwt.RegisteredClaims) {
	claims.ExpiresAt = jwt.NewNumericDate(time.Now().Add(passFor))
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(a.key)
	if err != nil {
		log.Print(err) // the site works without
		return
	}
	http.SetCookie(w, cookie(signed, passFor))
}

func clearPass(w http.ResponseWriter) { http.SetCookie(w, cookie("", -time.Second)) }

func cookie(value string, age time.Duration) *http.Cookie {
	return &http.Cookie{Name: passCookie, Value: value, Path: "/", MaxAge: int(age.Seconds()),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// pass returns what a valid pass says.
func (a *app) pass(r *http.Request) (jwt.RegisteredClaims, error) {
	var claims jwt.RegisteredClaims
	c, err := r.Cookie(passCookie)
	if err != nil {
		return claims, err
	}
	_, err = jwt.ParseWithClaims(c.Value, &claims, func(*jwt.Token) (any, error) { return a.key, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
	if err == nil && (claims.Subject == "" || claims.ID == "" || a.denied.has(claims.ID)) {
		err = errors.New("a pass for nobody, or of a session that has ended")
	}
	return claims, err
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
