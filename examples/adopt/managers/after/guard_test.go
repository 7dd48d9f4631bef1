package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApp()
	handler := a.routes()

	shop := guardtest.App{Guard: a.shop, Handler: handler}
	shop.Login = guardtest.LoginForm("/login", "user", "carol", "password", "demo")
	shop.Check(t, guardtest.Get("/orders"))

	office := guardtest.App{Guard: a.office, Handler: handler}
	office.Login = guardtest.LoginForm("/staff/login", "user", "dave", "password", "demo")
	office.Check(t, guardtest.Get("/staff/stock"))
}

// The same name in both is two users: what one guard ends, the other goes on with.
func TestCarolTheCustomerIsNotCarolTheClerk(t *testing.T) {
	a := newApp()
	b := guardtest.NewBrowser(t, a.routes())
	b.PostForm("/login", user("carol"))
	b.PostForm("/staff/login", user("carol"))
	ended, err := a.office.EndAll(context.Background(), "carol")
	require.NoError(t, err)
	require.Equal(t, 1, ended)
	require.Equal(t, 401, b.Get("/staff/stock").Status)
	require.Equal(t, 200, b.Get("/orders").Status)
}
