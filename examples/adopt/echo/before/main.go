// Command before is a task list on echo and scs.
package main

import (
	"log"
	"net/http"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", newApp().routes()))
}

type app struct {
	sessions *scs.SessionManager
}

func newApp() *app {
	sessions := scs.New()
	sessions.Cookie.Secure = true
	return &app{sessions: sessions}
}

func (a *app) routes() http.Handler {
	e := echo.New()
	e.Use(echo.WrapMiddleware(a.sessions.LoadAndSave))
	e.POST("/login", a.login)
	e.POST("/logout", a.logout)
	e.GET("/failing", func(echo.Context) error { return echo.NewHTTPError(http.StatusTeapot, "no tea") })
	tasks := e.Group("/tasks", a.requireLogin)
	tasks.GET("", a.list)
	tasks.POST("", a.add)
	return e
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
	return a.sessions.GetString(c.Request().Context(), "user")
}

func (a *app) login(c echo.Context) error {
	user := c.FormValue("user")
	if !authenticate(user, c.FormValue("password")) {
		return echo.NewHTTPError(http.StatusUnauthorized, "user or password is wrong")
	}
	ctx := c.Request().Context()
	if err := a.sessions.RenewToken(ctx); err != nil {
		return err
	}
	a.sessions.Put(ctx, "user", user)
	return c.NoContent(http.StatusNoContent)
}

func (a *app) logout(c echo.Context) error {
	if err := a.sessions.Destroy(c.Request().Context()); err != nil {
		return err
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
