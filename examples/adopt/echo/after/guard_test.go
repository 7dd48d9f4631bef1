package main

import (
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApp()
	app := guardtest.App{Guard: a.guard, Handler: a.routes()}
	app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
	app.Check(t, guardtest.Get("/tasks"), guardtest.Post("/tasks", "task", "water the plants"))
}

// echo calls its error handler behind all middlewares, when Protect has returned.
// Its answer goes out, but what it puts into the session comes too late, unless a
// middleware within Protect calls it.
func TestTheErrorHandlerAnswersWithinProtect(t *testing.T) {
	for name, within := range map[string][]echo.MiddlewareFunc{"as echo calls it": nil, "within": {answerErrors}} {
		t.Run(name, func(t *testing.T) {
			a := newApp()
			e := echo.New()
			e.Use(echo.WrapMiddleware(a.guard.Protect))
			e.Use(within...)
			e.HTTPErrorHandler = func(_ error, c echo.Context) {
				a.sessions.Put(c.Request().Context(), "flash", "It failed.")
				_ = c.NoContent(http.StatusTeapot)
			}
			e.GET("/failing", func(echo.Context) error { return http.ErrAbortHandler })
			e.GET("/flash", func(c echo.Context) error {
				return c.String(http.StatusOK, a.sessions.PopString(c.Request().Context(), "flash"))
			})
			b := guardtest.NewBrowser(t, e)
			require.Equal(t, http.StatusTeapot, b.Get("/failing").Status)
			if within == nil {
				require.Empty(t, b.Get("/flash").Body)
			} else {
				require.Equal(t, "It failed.", b.Get("/flash").Body)
			}
		})
	}
}

// Guard.RequireLogin and its like are middlewares of echo, too.
func TestAGateOfTheGuardStopsTheChain(t *testing.T) {
	a := newApp()
	e := echo.New()
	e.Use(echo.WrapMiddleware(a.guard.Protect))
	served := false
	e.GET("/", func(c echo.Context) error {
		served = true
		return c.NoContent(http.StatusNoContent)
	}, echo.WrapMiddleware(a.guard.RequireLogin))
	require.Equal(t, http.StatusUnauthorized, guardtest.NewBrowser(t, e).Get("/").Status)
	require.False(t, served)
}
