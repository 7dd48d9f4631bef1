package main

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/scsguard/scsguard/guardtest"
)

// Every route for members refuses whoever comes with a session that is over.
func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	s := newServer(t)
	app := guardtest.App{Guard: s.app.guard, Handler: s.handler}
	app.Login = guardtest.LoginForm("/login", "user", "alice", "password", demoPassword)
	app.Logout = func(b *guardtest.Browser) guardtest.Answer { return b.PostForm("/logout", url.Values{}) }
	routes := []guardtest.Route{guardtest.Get("/whoami"), guardtest.Get("/sessions"), guardtest.Post("/session/extend"),
		guardtest.Post("/sessions/end-others"), guardtest.Post("/transfer", "amount", "1", "to", "bob")}
	for i := range routes { // a browser is sent to the first page by a success and a refusal alike
		routes[i].Header = http.Header{"Accept": {"application/json"}}
	}
	app.Check(t, routes...)
}
