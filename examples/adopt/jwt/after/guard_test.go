package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApp()
	app := guardtest.App{Guard: a.guard, Handler: a.routes()}
	app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
	app.Logout = func(b *guardtest.Browser) guardtest.Answer { return b.PostForm("/logout", nil) }
	home := guardtest.Public(guardtest.Get("/"))
	home.Private = "alice"
	app.Check(t, home)
}

func TestThePassEndsWithItsSession(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *app, *guardtest.Browser){
		"a thief's copy after the logout": func(_ *testing.T, _ *app, b *guardtest.Browser) { b.Clone().PostForm("/logout", nil) },
		"ended by an administrator": func(t *testing.T, a *app, _ *guardtest.Browser) {
			_, err := a.guard.EndAll(context.Background(), "alice", scsguard.By("root"))
			require.NoError(t, err)
		},
		"timed out, although nobody came back": func(t *testing.T, a *app, b *guardtest.Browser) {
			guardtest.ExpireIdle(t, a.guard.Registry(), b.Token())
			guardtest.Flush(t, a.guard) // a sweep
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp()
			b := guardtest.NewBrowser(t, a.routes())
			b.PostForm("/login", alice)
			require.Equal(t, "Messages for alice\n", b.Get("/messages").Body)
			end(t, a, b)
			require.Eventually(t, func() bool { return b.Get("/messages").Status == 401 }, time.Minute, time.Millisecond,
				"where no request ended it, OnEvent is told a moment later")
		})
	}
}

func TestABrowserWhoseSessionHasEndedLosesItsPass(t *testing.T) {
	a := newApp()
	b := guardtest.NewBrowser(t, a.routes())
	b.PostForm("/login", alice)
	require.Empty(t, b.Get("/").Header.Values("Set-Cookie"))
	_, err := a.guard.EndAll(context.Background(), "alice")
	require.NoError(t, err)
	require.Contains(t, b.Get("/").Header.Get("Set-Cookie"), passCookie+"=; Path=/; Max-Age=0")

	b.PostForm("/login", alice) // which clears the old one, and then sets another
	require.Equal(t, "Messages for alice\n", b.Get("/messages").Body)
}
