package main

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApp()
	app := guardtest.App{Guard: a.guard, Handler: a.routes()}
	app.Login = guardtest.LoginForm("/customers/login", "number", "42", "password", "demo")
	app.Check(t, guardtest.Get("/me"))
}

// A user who shared his ID with another one would see and end his sessions.
func TestNoTwoUsersShareAnID(t *testing.T) {
	seen := make(map[string]any)
	for _, key := range []any{
		42, 421, employee{"Acme", 42}, employee{"Acme", 421}, employee{"1:Acme", 42}, employee{"Acme:42", 1}, employee{"", 42},
		uuid.MustParse(partner), uuid.Nil,
	} {
		id := userID(key)
		require.NotEmpty(t, id)
		require.NotContains(t, seen, id)
		seen[id] = key
	}
}

func TestAKeyOfAnUnknownTypeLogsNobodyIn(t *testing.T) {
	ctx, err := newApp().sessions.Load(t.Context(), "")
	require.NoError(t, err)
	_, err = newApp().guard.Login(ctx, userID(4.2))
	require.ErrorContains(t, err, "a user ID has 1 to")
}
