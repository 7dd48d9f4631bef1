// Command before is a shop with two session managers on scs: one for customers,
// one for the staff.
package main

import (
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
	customers *scs.SessionManager
	staff     *scs.SessionManager
}

func newApp() *app {
	customers := scs.New()
	customers.Cookie.Name = "__Host-shop"
	customers.Cookie.Secure = true
	customers.Lifetime = 30 * 24 * time.Hour

	staff := scs.New()
	staff.Cookie.Name = "__Host-staff"
	staff.Cookie.Secure = true
	staff.Cookie.SameSite = http.SameSiteStrictMode
	staff.Lifetime = 8 * time.Hour
	staff.IdleTimeout = 10 * time.Minute
	return &app{customers: customers, staff: staff}
}

func (a *app) routes() http.Handler {
	shop := http.NewServeMux()
	shop.HandleFunc("POST /login", login(a.customers))
	shop.HandleFunc("POST /logout", logout(a.customers))
	shop.HandleFunc("GET /orders", a.orders)

	office := http.NewServeMux()
	office.HandleFunc("POST /staff/login", login(a.staff))
	office.HandleFunc("POST /staff/logout", logout(a.staff))
	office.HandleFunc("GET /staff/stock", a.stock)

	mux := http.NewServeMux()
	mux.Handle("/", a.customers.LoadAndSave(shop))
	mux.Handle("/staff/", a.staff.LoadAndSave(a.customers.LoadAndSave(office))) // the staff may shop, too
	return mux
}

func login(sessions *scs.SessionManager) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user := r.PostFormValue("user")
		if !authenticate(user, r.PostFormValue("password")) {
			http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
			return
		}
		if err := sessions.RenewToken(r.Context()); err != nil {
			http.Error(w, "Please try again.", http.StatusInternalServerError)
			return
		}
		sessions.Put(r.Context(), "user", user)
	}
}

func logout(sessions *scs.SessionManager) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Destroy(r.Context()); err != nil {
			http.Error(w, "Please try again.", http.StatusInternalServerError)
		}
	}
}

func (a *app) orders(w http.ResponseWriter, r *http.Request) {
	customer := a.customers.GetString(r.Context(), "user")
	if customer == "" {
		http.Error(w, "Please log in.", http.StatusUnauthorized)
		return
	}
	fmt.Fprintln(w, "Orders of", customer)
}

func (a *app) stock(w http.ResponseWriter, r *http.Request) {
	clerk := a.staff.GetString(r.Context(), "user")
	if clerk == "" {
		http.Error(w, "Staff only.", http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, "Stock for %s, customer %q\n", clerk, a.customers.GetString(r.Context(), "user"))
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
