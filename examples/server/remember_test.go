package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestARememberedBrowserComesBackAfterATimeOut(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		v, other := s.visitor(), s.visitor()
		first := v.post("/login", "user", "alice", "password", "demo", "remember", "true")
		require.Equal(t, 200, first.Code, first.Body)
		require.Equal(t, 200, other.post("/login", "user", "alice", "password", "demo").Code)
		time.Sleep(time.Hour)
		require.Equal(t, 401, other.get("/whoami").Code, "who did not ask for it is not remembered")
		res := v.get("/whoami")
		require.Equal(t, 200, res.Code)
		require.NotEqual(t, first.JSON["session"], res.JSON["session"])
		require.Equal(t, "user", res.JSON["role"])
		require.Equal(t, 204, v.post("/logout").Code)
		require.Equal(t, 401, v.get("/whoami").Code)
	})
}

func TestAChangedPasswordEndsARememberedBrowser(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		lost, v := s.visitor(), s.visitor()
		require.Equal(t, 200, lost.post("/login", "user", "alice", "password", "demo", "remember", "true").Code)
		time.Sleep(time.Hour)
		require.Equal(t, 200, v.post("/login", "user", "alice", "password", "demo").Code)
		require.Equal(t, 204, v.post("/password", "password", "demo", "new", "better").Code)
		require.Equal(t, 401, lost.get("/whoami").Code)
	})
}
