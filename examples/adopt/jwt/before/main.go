// Command before is a chat on scs with a second credential: a login also sets a
// JWT in a cookie of its own, by which a gateway serves messages without a session.
package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/golang-jwt/jwt/v5"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", newApp().routes()))
}

const (
	passCookie = "__Host-pass"
	passFor    = 15 * time.Minute
)

type app struct {
	sessions *scs.SessionManager
	key      []byte // of the passes; who starts anew needs a new one
}

func newApp() *app {
	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return &app{sessions: sessions, key: key}
}

func (a *app) routes() http.Handler {
	site := http.NewServeMux()
	site.HandleFunc("POST /login", a.login)
	site.HandleFunc("POST /logout", a.logout)
	site.HandleFunc("GET /{$}", a.home)

	mux := http.NewServeMux()
	mux.Handle("/", a.sessions.LoadAndSave(site))
	mux.HandleFunc("GET /messages", a.messages) // the gateway, which knows no sessions
	return mux
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
	a.setPass(w, jwt.RegisteredClaims{Subject: user})
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.Destroy(r.Context()); err != nil {
		http.Error(w, "Please try again.", http.StatusInternalServerError)
		return
	}
	clearPass(w)
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "Chat of %q\n", a.sessions.GetString(r.Context(), "user"))
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
	if err == nil && claims.Subject == "" {
		err = errors.New("a pass for nobody")
	}
	return claims, err
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
