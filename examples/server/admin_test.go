package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAdministration(t *testing.T) {
	s := newServer(t)
	requireProblem(t, s.visitor().get("/admin/"), 401, "login_required")
	alice, admin := s.visitor(), s.visitor()
	alice.login("alice")
	requireProblem(t, alice.get("/admin/"), 403, "forbidden")
	requireProblem(t, alice.post("/elevate", "password", "demo"), 403, "forbidden")
	requireProblem(t, alice.post("/admin/users/bob/end-sessions"), 403, "forbidden")

	id := admin.login("admin")
	requireProblem(t, admin.get("/admin/"), 403, "elevation_required")
	requireProblem(t, admin.post("/admin/users/alice/end-sessions"), 403, "elevation_required")
	requireProblem(t, admin.post("/elevate", "password", "nope"), 403, "wrong_password")
	require.Equal(t, 200, alice.get("/whoami").Code)

	old := admin.token()
	res := admin.post("/elevate", "password", "demo")
	require.Equal(t, map[string]any{"user": "admin", "session": id, "role": "administrator"}, res.JSON)
	require.NotEqual(t, old, admin.token())
	require.Equal(t, "administrator", admin.get("/whoami").JSON["role"])
	require.Len(t, s.events("privilege_change", 1), 1)

	users := admin.get("/admin/").JSON["users"].([]any)
	require.Len(t, users, 4)
	require.Equal(t, map[string]any{"user": "alice", "sessions": 1.0}, users[1])

	requireProblem(t, admin.post("/admin/users/mallory/end-sessions"), 404, "not_found")
	require.Equal(t, map[string]any{"ended": 1.0}, admin.post("/admin/users/alice/end-sessions").JSON)
	require.Equal(t, "ended_by_admin", alice.get("/whoami").JSON["reason"])
	ended := s.events("logout", 1)
	require.Equal(t, "admin", ended[0]["actor"])
	require.Equal(t, "alice", ended[0]["user"])
}

func TestTheOldTokenIsNoAdministrator(t *testing.T) {
	s := newServer(t)
	admin := s.visitor()
	admin.login("admin")
	late := admin.copy() // a request that was under way
	require.Equal(t, 200, admin.post("/elevate", "password", "demo").Code)
	require.Equal(t, 200, late.get("/whoami").Code)
	requireProblem(t, late.get("/admin/"), 403, "elevation_required")
	requireProblem(t, late.post("/elevate", "password", "demo"), 409, "try_again")
}

func TestAnInactiveAdministratorProvesHimselfAgain(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		admin := s.visitor()
		admin.login("admin")
		admin.post("/elevate", "password", "demo")
		time.Sleep(adminIdle - time.Second)
		require.Equal(t, 200, admin.get("/admin/").Code)

		time.Sleep(adminIdle)
		require.Equal(t, 200, admin.get("/whoami").Code, "elsewhere he goes on")
		res := admin.get("/admin/")
		requireProblem(t, res, 401, "reauth_required")
		require.Equal(t, "idle", res.JSON["reason"])
		page := &visitor{t: t, base: admin.base, client: admin.client, accept: "text/html"}
		html := page.get("/admin/")
		require.Equal(t, 401, html.Code)
		require.Contains(t, html.Body, `action="/elevate"`)

		require.Equal(t, 200, admin.post("/elevate", "password", "demo").Code)
		require.Equal(t, 200, admin.get("/admin/").Code)
	})
}
