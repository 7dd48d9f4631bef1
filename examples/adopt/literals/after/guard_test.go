package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApplication()
	app := guardtest.App{Guard: a.guard, Handler: a.routes()}
	app.Login = guardtest.LoginForm("/login", "user", "erin", "password", "demo")
	app.Check(t, guardtest.Get("/subscribers"),
		guardtest.Public(guardtest.Get("/")), guardtest.Public(guardtest.Post("/subscribe", "address", "a@example.com")))
}

// A literal without a guard serves what needs none, and logs nobody in.
func TestALiteralWithoutAGuardLogsNobodyIn(t *testing.T) {
	app := &application{sessions: guardtest.NewManager()}
	w := send(app.sessions.LoadAndSave(http.HandlerFunc(app.login)), "POST", "/login", "user=erin&password=demo")
	require.Equal(t, 503, w.Code)
	require.Empty(t, w.Result().Cookies())
}

// Its routes cannot be made, so that no program forgets its guard.
func TestALiteralWithoutAGuardHasNoRoutes(t *testing.T) {
	defer func() { require.Contains(t, recover(), "in a test with guardtest.NewWith") }()
	(&application{sessions: guardtest.NewManager()}).routes()
}

// A literal that logs in gets a guard in one line.
func TestALiteralWithAGuardOfGuardtest(t *testing.T) {
	sessions := guardtest.NewManager()
	app := &application{sessions: sessions, guard: guardtest.NewWith(t, sessions).Guard}
	w := send(app.routes(), "POST", "/login", "user=erin&password=demo")
	require.Equal(t, 200, w.Code)
	w = send(app.routes(), "GET", "/subscribers", "", w.Result().Cookies()...)
	require.Equal(t, 200, w.Code)
}
