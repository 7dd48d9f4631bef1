// Command after is the task list on echo and scs under the guard.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"

	"github.com/scsguard/scsguard"
)

func main() {
	a := newApp()
	err := http.ListenAndServe("127.0.0.1:4010", a.routes())
	log.Fatal(errors.Join(err, a.guard.Close(context.Background())))
}

type app struct {
	sessions *scs.SessionManager
	guard    *scsguard.Guard
}

func newApp() *app {
	sessions := scs.New()
	sessions.Cookie.Secure = true
	sessions.Cookie.Name = "__Host-session"
	guard, err := scsguard.New(sessions, scsguard.Config{Audit: scsguard.NewWriterSink(os.Stderr)})
	if err != nil {
		log.Fatal(err)
	}
	return &app{sessions: sessions, guard: guard}
}

func (a *app) routes() http.Handler {
	e := echo.New()
	e.Use(echo.WrapMiddleware(a.guard.Protect), answerErrors)
	e.POST("/login", a.login)
	e.POST("/logout", a.logout)
	e.GET("/failing", func(echo.Context) error { return echo.NewHTTPError(http.StatusTeapot, "no tea") })
	tasks := e.Group("/tasks", a.requireLogin)
	tasks.GET("", a.list)
	tasks.POST("", a.add)
	return e
}

// answerErrors lets echo's error handler answer within Protect, so that a session
// that it changes is saved.
func answerErrors(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := next(c); err != nil {
			c.Error(err)
		}
		return nil
	}
}

func (a *app) requireLogin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if a.user(c) == "" {
			return echo.NewHTTPError(http.StatusUnauthorized, "please log in")
		}
		return next(c)
	}
}

func (a *app) user(c echo.Context) string {
	s, _ := a.guard.Current(c.Request().Context())
	return s.User
}

func (a *app) login(c echo.Context) error {
	user := c.FormValue("user")
	if !authenticate(user, c.FormValue("password")) {
		return echo.NewHTTPError(http.StatusUnauthorized, "user or password is wrong")
	}
	if _, err := a.guard.Login(c.Request().Context(), user); err != nil {
		return echo.NewHTTPError(http.StatusServiceUnavailable, "please try again").SetInternal(err)
	}
	return c.NoContent(http.StatusNoContent)
}

func (a *app) logout(c echo.Context) error {
	if err := a.guard.Logout(c.Request().Context()); err != nil {
		return echo.NewHTTPError(http.StatusServiceUnavailable, "please try again").SetInternal(err)
	}
	return c.NoContent(http.StatusNoContent)
}

func (a *app) list(c echo.Context) error {
	tasks, _ := a.sessions.Get(c.Request().Context(), "tasks").([]string)
	return c.JSON(http.StatusOK, map[string]any{"user": a.user(c), "tasks": tasks})
}

func (a *app) add(c echo.Context) error {
	tasks, _ := a.sessions.Get(c.Request().Context(), "tasks").([]string)
	a.sessions.Put(c.Request().Context(), "tasks", append(tasks, c.FormValue("task")))
	return c.NoContent(http.StatusCreated)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
