package main

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApp()
	app := guardtest.App{Guard: a.guard, Handler: a.routes()}
	app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
	app.Check(t, guardtest.Get("/checkout"), guardtest.Public(guardtest.Get("/state")))
}

// The guard empties the session data when another user logs in. An application
// that has read it before and writes it back has to do the same.
func TestTheCartOfOneUserIsNotThatOfTheNext(t *testing.T) {
	do := session(t, newApp().routes())
	do("POST", "/login", alice)
	do("POST", "/cart/cup", nil)
	do("POST", "/login", url.Values{"user": {"bob"}, "password": {"demo"}})
	_, body := do("GET", "/checkout", nil)
	require.JSONEq(t, `{"user":"bob"}`, body)
}
