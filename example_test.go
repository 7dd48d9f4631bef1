package scsguard_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
)

// What changes in an application on scs.
func Example() {
	root, name, _, err := auditlog.KeyFiles("keys", "shop") // made at the first start
	if err != nil {
		log.Fatal(err)
	}
	trail, err := auditlog.Open(auditlog.Config{
		Dir: "trail", Root: root, RootName: name,
		Anchors: []auditlog.Anchor{auditlog.FileAnchor("/mnt/elsewhere/anchor")},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer trail.Close() // after the guard
	mux := http.NewServeMux()

	sessions := scs.New()
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true

	guard, err := scsguard.New(sessions, scsguard.Config{
		Timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour},
		Limit:    scsguard.Limit{Max: 3, OnExceed: scsguard.Deny},
		Audit:    trail, // or any other Sink
	})
	if err != nil {
		log.Fatal(err) // says everything that is wrong, and what to do about it
	}
	defer guard.Close(context.Background())

	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		user := r.PostFormValue("user")
		// ... check the password ...
		_, err := guard.Login(r.Context(), user) // in place of RenewToken and Put
		if err != nil {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := guard.Logout(r.Context()); err != nil { // in place of Destroy
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		}
	})
	mux.Handle("GET /account", guard.RequireLogin(account))

	// In place of sessions.LoadAndSave(mux).
	log.Fatal(http.ListenAndServe("127.0.0.1:4000", guard.Protect(mux)))
}

var account = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// New reports all mistakes at once.
func ExampleNew_mistakes() {
	sessions := scs.New() // its cookie is neither Secure nor bound to the host
	_, err := scsguard.New(sessions, scsguard.Config{
		Timeouts: scsguard.Timeouts{Idle: 12 * time.Hour, Absolute: 8 * time.Hour},
	})
	var config *scsguard.ConfigError
	if errors.As(err, &config) {
		for _, f := range config.Fields {
			fmt.Println(f.Field)
		}
	}
	// Output:
	// Timeouts.Idle
	// Audit
	// SessionManager.Cookie.Secure
	// SessionManager.Cookie.Name
}

// At the cap, ask the user which session to end.
func ExampleLimitError() {
	guard, sessions := exampleGuard(scsguard.Limit{Max: 1, OnExceed: scsguard.Deny})
	defer guard.Close(context.Background())

	phone, _ := sessions.Load(context.Background(), "")
	_, _ = guard.Login(phone, "alice")

	laptop, _ := sessions.Load(context.Background(), "")
	_, err := guard.Login(laptop, "alice")
	var limit *scsguard.LimitError
	if errors.As(err, &limit) {
		fmt.Println(err)
		_, err = guard.Login(laptop, "alice", scsguard.EndSession(limit.Sessions[0].ID))
	}
	fmt.Println(err)
	_, loggedIn := guard.Current(phone)
	fmt.Println(loggedIn)
	// Output:
	// scsguard: the user holds 1 sessions, at most 1 are allowed
	// <nil>
	// false
}

// Limits can depend on whom they are for.
func ExamplePolicy() {
	_ = scsguard.Config{
		Policy: func(_ context.Context, s scsguard.Subject) scsguard.Policy {
			switch s.Role {
			case "administrator":
				return scsguard.Policy{
					Timeouts: scsguard.Timeouts{Idle: 5 * time.Minute, Absolute: time.Hour},
					Limit:    &scsguard.Limit{Max: 1, OnExceed: scsguard.Deny},
				}
			case "kiosk":
				return scsguard.Policy{Timeouts: scsguard.Timeouts{Idle: 2 * time.Minute}}
			}
			return scsguard.Policy{} // as configured for all
		},
	}
}

// The application's own events stand in the same trail, before they take place.
func ExampleGuard_Record() {
	guard, sessions := exampleGuard(scsguard.Limit{})
	defer guard.Close(context.Background())
	ctx, _ := sessions.Load(context.Background(), "")

	err := guard.Record(ctx, scsguard.Event{
		Kind:        "transfer",
		Transaction: "T-2026-4711",
		Details:     map[string]string{"amount": "12.50", "to": "bob"},
	})
	if err != nil {
		return // it could not be recorded, so it must not take place
	}
	fmt.Println("transferred")
	// Output: transferred
}

func exampleGuard(limit scsguard.Limit) (*scsguard.Guard, *scs.SessionManager) {
	sessions := newManager()
	guard, err := scsguard.New(sessions, scsguard.Config{Limit: limit, Audit: scsguard.Discard()})
	if err != nil {
		log.Fatal(err)
	}
	return guard, sessions
}
