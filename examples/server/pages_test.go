package main

import (
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// The way of a browser, without a script, over a real connection.
func TestPages(t *testing.T) {
	s := newServer(t)
	srv := httptest.NewTLSServer(s.handler)
	t.Cleanup(srv.Close)
	browser := func() *visitor {
		v := newVisitor(t, srv.URL, srv.Client().Transport)
		v.accept = "text/html"
		return v
	}
	alice, elsewhere := browser(), browser()

	res := alice.get("/sessions")
	require.Equal(t, "/", res.Path, "who is not logged in is sent to the form")
	require.Contains(t, res.Body, "<h1>Log in</h1>")
	require.Contains(t, res.Body, "This is a demo.")

	res = alice.post("/login", "user", `alice"><script>`, "password", "nope")
	require.Equal(t, 401, res.Code)
	require.Contains(t, res.Body, "User or password is wrong.")
	require.Contains(t, res.Body, `value="alice&#34;&gt;&lt;script&gt;"`)

	res = alice.post("/login", "user", "alice", "password", "demo")
	require.Equal(t, 200, res.Code)
	require.Equal(t, "/", res.Path)
	require.Contains(t, res.Body, "This is your first login.")
	require.Contains(t, res.Body, "1000.00")
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.NotContains(t, alice.get("/").Body, "This is your first login.", "a notice is shown once")

	res = alice.post("/transfer", "amount", "12.50", "to", "bob")
	require.Contains(t, res.Body, "You have paid 12.50 to bob.")
	require.Contains(t, res.Body, "987.50")
	res = alice.post("/transfer", "amount", "1000", "to", "bob")
	require.Equal(t, 422, res.Code)
	require.Contains(t, res.Body, "You have not got that much money.")

	require.Contains(t, elsewhere.post("/login", "user", "alice", "password", "demo").Body, "Your last login was on ")
	require.Contains(t, alice.get("/").Body, "Somebody has logged in as you")
	require.NotContains(t, alice.get("/").Body, "Somebody has logged in as you")

	sessions := alice.get("/sessions")
	require.Contains(t, sessions.Body, "This browser")
	end := regexp.MustCompile(`action="(/sessions/[A-Z2-7]+/end)"`).FindStringSubmatch(sessions.Body)
	require.NotNil(t, end, sessions.Body)
	require.Contains(t, alice.post(end[1]).Body, "The session is ended.")
	res = elsewhere.get("/sessions")
	require.Equal(t, "/", res.Path)
	require.Contains(t, res.Body, "You ended this session.")

	require.Contains(t, alice.post("/session/extend").Body, "Your session goes on.")
	require.Contains(t, alice.post("/password", "password", "demo", "new", "better").Body, "Your password is changed. Other sessions ended: 0.")

	res = alice.get("/admin/")
	require.Equal(t, 403, res.Code)
	require.Contains(t, res.Body, "Only the administrator may do that.")

	res = alice.post("/logout")
	require.Equal(t, "/", res.Path)
	require.Contains(t, res.Body, "<h1>Log in</h1>")
	require.Empty(t, alice.token())
}

func TestThePageOfTheLimit(t *testing.T) {
	s := newServer(t, func(o *options) { o.limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny} })
	first, second := s.browser(), s.browser()
	first.login("alice")

	res := second.post("/login", "user", "alice", "password", "demo")
	require.Equal(t, 409, res.Code)
	require.Contains(t, res.Body, "<h1>Too many sessions</h1>")
	require.NotContains(t, res.Body, `value="demo"`, "the password is asked for again and not kept")
	end := regexp.MustCompile(`name="end" value="([A-Z2-7]+)"`).FindStringSubmatch(res.Body)
	require.NotNil(t, end, res.Body)

	res = second.post("/login", "user", "alice", "password", "demo", "end", end[1])
	require.Contains(t, res.Body, "<h1>Your account</h1>")
	require.Contains(t, first.get("/").Body, "You ended this session.")
}

func TestThePageOfTheAdministrator(t *testing.T) {
	s := newServer(t)
	admin, bob := s.browser(), s.browser()
	admin.login("admin")
	bob.login("bob")

	res := admin.get("/admin/")
	require.Equal(t, 403, res.Code)
	require.Contains(t, res.Body, `action="/elevate"`)
	res = admin.post("/elevate", "password", "nope")
	require.Equal(t, 403, res.Code)
	require.Contains(t, res.Body, `action="/elevate"`)
	res = admin.post("/elevate", "password", "demo")
	require.Equal(t, "/admin/", res.Path)
	require.Contains(t, res.Body, `action="/admin/users/bob/end-sessions"`)
	require.NotContains(t, res.Body, `action="/admin/users/carol/end-sessions"`, "who has none")
	require.Contains(t, admin.post("/admin/users/bob/end-sessions").Body, "Sessions of bob ended: 1.")
	require.Contains(t, bob.get("/").Body, "An administrator ended this session.")
}

func TestThePageAfterATimeout(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		alice := s.browser()
		alice.login("alice")
		time.Sleep(15 * time.Minute)
		require.Contains(t, alice.post("/transfer", "amount", "1", "to", "bob").Body, "You were inactive for too long.")
		require.Equal(t, startBalance, s.app.bank.balance("bob"))
	})
}
