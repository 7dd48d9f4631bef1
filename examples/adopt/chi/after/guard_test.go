package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApp(true)
	app := guardtest.App{Guard: a.guard, Handler: a.routes()}
	app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
	app.Check(t, guardtest.Get("/order"), guardtest.Post("/logout"),
		guardtest.Public(guardtest.Get("/")), guardtest.Public(guardtest.Post("/cart/teapot")))
}

// chi runs the middlewares of Use for unknown paths, too, so Protect is there.
func TestTheCookieOfProductionIsAsItShouldBe(t *testing.T) {
	a := newApp(true)
	b := guardtest.NewBrowser(t, a.routes())
	require.Equal(t, http.StatusOK, b.PostForm("/login", map[string][]string{"user": {"alice"}, "password": {"demo"}}).Status)
	require.NotEmpty(t, b.Token(), "the guardtest browser looks for "+guardtest.DefaultCookie)
}
