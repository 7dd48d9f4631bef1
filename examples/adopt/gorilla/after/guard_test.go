package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApp()
	app := guardtest.App{Guard: a.guard, Handler: a.routes()}
	app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
	app.Check(t, guardtest.Get("/members/me"), guardtest.Public(guardtest.Get("/topics/7")))
}

// gorilla/mux does not run middlewares where no route matches, so such an answer
// has no session, with or without the guard.
func TestUnknownPathsHaveNoSession(t *testing.T) {
	f := newForum(t)
	w := f.do("GET", "/nowhere", "")
	require.Equal(t, 404, w.Code)
	require.Empty(t, w.Header().Values("Vary"))
}
