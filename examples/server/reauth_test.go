package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMoneyAndThePasswordNeedARecentLogin(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		alice := s.visitor()
		alice.login("alice")
		time.Sleep(recentLogin)
		requireProblem(t, alice.post("/transfer", "amount", "1", "to", "bob"), 403, "REAUTH_REQUIRED")
		requireProblem(t, alice.post("/password", "password", "demo", "new", "demo2"), 403, "REAUTH_REQUIRED")
		requireProblem(t, alice.post("/reauth", "password", "wrong"), 403, "wrong_password")
		requireProblem(t, alice.post("/transfer", "amount", "1", "to", "bob"), 403, "REAUTH_REQUIRED")
		require.Equal(t, 204, alice.post("/reauth", "password", "demo").Code)
		require.Equal(t, 200, alice.post("/transfer", "amount", "1", "to", "bob").Code)
		time.Sleep(recentLogin)
		requireProblem(t, alice.post("/transfer", "amount", "1", "to", "bob"), 403, "REAUTH_REQUIRED")
	})
}

func TestABrowserIsAskedForThePasswordAndNothingIsRepeatedBehindItsBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		alice := s.browser()
		alice.login("alice")
		time.Sleep(recentLogin)
		asked := alice.post("/transfer", "amount", "1", "to", "bob")
		require.Equal(t, 403, asked.Code)
		require.Contains(t, asked.Body, `action="/reauth"`)
		again := alice.post("/reauth", "password", "wrong")
		require.Equal(t, 403, again.Code)
		require.Contains(t, again.Body, `action="/reauth"`)
		res := alice.post("/reauth", "password", "demo")
		require.Equal(t, 200, res.Code)
		require.Contains(t, res.Body, "Please repeat what you wanted to do.")
		require.Equal(t, startBalance, s.app.bank.balance("alice"))
	})
}
