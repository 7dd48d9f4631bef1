package guardtest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

// In a test of yours, t is its *testing.T; here it prints what is reported.
var t testing.TB = printer{}

type printer struct{ testing.TB }

func (printer) Helper()                           {}
func (printer) Cleanup(func())                    {}
func (printer) Errorf(format string, args ...any) { fmt.Println(excerpt(fmt.Sprintf(format, args...))) }
func (printer) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// newApplication stands for yours: it makes its guard and its handler.
func newApplication() (http.Handler, *scsguard.Guard) {
	guard, err := scsguard.New(guardtest.NewManager(), scsguard.Config{Audit: scsguard.Discard()})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := guard.Login(r.Context(), r.PostFormValue("user")); err != nil {
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "Welcome") })
	mux.Handle("GET /account", guard.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "You have 100") })))
	mux.HandleFunc("GET /export", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "all,of,it") })
	return guard.Protect(mux), guard
}

// Three lines prove that the routes refuse whoever comes with a session that is
// over. Here one of them does not, since somebody has forgotten RequireLogin.
func ExampleApp_Check() {
	handler, guard := newApplication()
	defer guard.Close(context.Background())

	app := guardtest.App{Guard: guard, Handler: handler}
	app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
	app.Check(t, guardtest.Get("/account"), guardtest.Get("/export"), guardtest.Public(guardtest.Get("/")))

	// Output:
	// guardtest: GET /export: "alice" logged in and sent the request;
	// expected was another answer than a visitor without cookies gets,
	// what came was 200 OK "all,of,it" for both, so the route asks nobody who he is;
	// wrap its handler in Guard.RequireLogin within Guard.Protect, declare it Public, or name in Route.Private the words by which the answers differ
}

// A session times out at once, and for the guard it is a time out like any other.
func ExampleExpireIdle() {
	app := guardtest.New(t)
	defer app.Guard.Close(context.Background())
	app.Handler = app.Guard.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			_, _ = app.Guard.Login(r.Context(), "alice")
		}
		fmt.Fprint(w, app.Guard.Ended(r.Context()))
	}))
	alice := app.Browser(t)
	alice.Get("/login")

	session := guardtest.ExpireIdle(t, app.Guard.Registry(), alice.Token()).Session
	fmt.Println("the visitor is told:", alice.Get("/").Body)

	guardtest.Flush(t, app.Guard)
	end := app.Trail.Ending(t, session)
	fmt.Println("the trail says:", end.Kind, end.Reason)
	// Output:
	// the visitor is told: idle
	// the trail says: timeout idle
}

// A thief who has copied the cookie is out as soon as its owner logs out.
func ExampleBrowser_Clone() {
	app := guardtest.New(t)
	defer app.Guard.Close(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { _, _ = app.Guard.Login(r.Context(), "alice") })
	mux.HandleFunc("/logout", func(_ http.ResponseWriter, r *http.Request) { _ = app.Guard.Logout(r.Context()) })
	mux.Handle("/account", app.Guard.RequireLogin(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	app.Handler = app.Guard.Protect(mux)

	alice := app.Browser(t)
	alice.Get("/login")
	thief := alice.Clone()
	fmt.Println(thief.Get("/account").Status)
	alice.Get("/logout")
	fmt.Println(thief.Get("/account").Status)
	// Output:
	// 200
	// 401
}

// A trail that cannot be written lets nobody in.
func ExampleSink_Fail() {
	app := guardtest.New(t)
	defer app.Guard.Close(context.Background())
	ctx, _ := app.Sessions.Load(context.Background(), "")

	app.Trail.Fail(nil)
	_, err := app.Guard.Login(ctx, "alice")
	fmt.Println(err != nil)

	app.Trail.Recover()
	_, err = app.Guard.Login(ctx, "alice")
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

// excerpt breaks a sentence where it pauses.
func excerpt(message string) string {
	return strings.NewReplacer("; ", ";\n", "gets, what", "gets,\nwhat").Replace(message)
}
