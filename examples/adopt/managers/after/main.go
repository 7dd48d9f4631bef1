// Command after is the shop with two session managers on scs, each with a guard
// of its own: one for customers, one for the staff.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

func main() {
	a := newApp()
	err := http.ListenAndServe("127.0.0.1:4010", a.routes())
	log.Fatal(errors.Join(err, a.shop.Close(context.Background()), a.office.Close(context.Background())))
}

type app struct {
	customers *scs.SessionManager
	staff     *scs.SessionManager

	shop   *scsguard.Guard // of customers
	office *scsguard.Guard // of staff
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
	trail := scsguard.NewWriterSink(os.Stderr)
	shop, err := scsguard.New(customers, scsguard.Config{Namespace: "shop", Audit: trail,
		Timeouts: scsguard.Timeouts{Idle: 7 * 24 * time.Hour}}) // else 30 minutes
	if err != nil {
		log.Fatal(err)
	}
	office, err := scsguard.New(staff, scsguard.Config{Namespace: "office", Audit: trail,
		Limit: scsguard.Limit{Max: 1, OnExceed: scsguard.EvictOldest}})
	if err != nil {
		log.Fatal(err)
	}
	return &app{customers: customers, staff: staff, shop: shop, office: office}
}

func (a *app) routes() http.Handler {
	shop := http.NewServeMux()
	shop.HandleFunc("POST /login", login(a.shop))
	shop.HandleFunc("POST /logout", logout(a.shop))
	shop.HandleFunc("GET /orders", a.orders)

	office := http.NewServeMux()
	office.HandleFunc("POST /staff/login", login(a.office))
	office.HandleFunc("POST /staff/logout", logout(a.office))
	office.HandleFunc("GET /staff/stock", a.stock)

	mux := http.NewServeMux()
	mux.Handle("/", a.shop.Protect(shop))
	mux.Handle("/staff/", a.office.Protect(a.shop.Protect(office))) // the staff may shop, too
	return mux
}

func login(guard *scsguard.Guard) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user := r.PostFormValue("user")
		if !authenticate(user, r.PostFormValue("password")) {
			http.Error(w, "User or password is wrong.", http.StatusUnauthorized)
			return
		}
		if _, err := guard.Login(r.Context(), user); err != nil {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		}
	}
}

func logout(guard *scsguard.Guard) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := guard.Logout(r.Context()); err != nil {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		}
	}
}

func (a *app) orders(w http.ResponseWriter, r *http.Request) {
	customer, ok := a.shop.Current(r.Context())
	if !ok {
		http.Error(w, "Please log in.", http.StatusUnauthorized)
		return
	}
	fmt.Fprintln(w, "Orders of", customer.User)
}

func (a *app) stock(w http.ResponseWriter, r *http.Request) {
	clerk, ok := a.office.Current(r.Context())
	if !ok {
		http.Error(w, "Staff only.", http.StatusUnauthorized)
		return
	}
	customer, _ := a.shop.Current(r.Context())
	fmt.Fprintf(w, "Stock for %s, customer %q\n", clerk.User, customer.User)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
