package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestLogin(t *testing.T) {
	s := newServer(t)
	first, second := s.visitor(), s.visitor()

	res := first.post("/login", "user", "alice", "password", "demo")
	require.Equal(t, 200, res.Code, res.Body)
	require.Equal(t, "alice", res.JSON["user"])
	require.Len(t, res.JSON["session"], 26)
	require.Nil(t, res.JSON["last_login"])
	require.Equal(t, []any{}, res.JSON["others"])
	for _, name := range []string{"idle_expires", "absolute_expires"} {
		at, err := time.Parse(time.RFC3339, res.JSON[name].(string))
		require.NoError(t, err)
		require.Equal(t, time.UTC, at.Location())
	}
	cookie := res.Header.Get("Set-Cookie")
	for _, attribute := range []string{"__Host-session=", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		require.Contains(t, cookie, attribute)
	}
	require.Contains(t, s.log.String(), "msg=login session.id="+res.JSON["session"].(string)+" session.user=alice")

	again := second.postJSON("/login", `{"user": "alice", "password": "demo"}`)
	require.Equal(t, 200, again.Code, again.Body)
	last := again.JSON["last_login"].(map[string]any)
	require.Equal(t, "192.0.2.1", last["ip"])
	require.Contains(t, last, "time")
	require.Contains(t, last, "user_agent")
	others := again.JSON["others"].([]any)
	require.Len(t, others, 1)
	require.Equal(t, res.JSON["session"], others[0].(map[string]any)["session"])

	require.Len(t, s.events("login", 2), 2)
	require.Len(t, s.events("concurrent_warning", 1), 1)
}

func TestAWrongPasswordLooksLikeAnUnknownUser(t *testing.T) {
	s := newServer(t)
	wrong := s.visitor().post("/login", "user", "alice", "password", "nope")
	unknown := s.visitor().post("/login", "user", "mallory", "password", "demo")
	requireProblem(t, wrong, 401, "wrong_credentials")
	require.Equal(t, wrong.JSON, unknown.JSON)

	failed := s.events("login_failed", 2)
	require.Equal(t, "password", failed[0]["reason"])
	require.Equal(t, "unknown_user", failed[1]["reason"])
}

func TestWhoamiSaysWhyNobodyIs(t *testing.T) {
	s := newServer(t)
	alice := s.visitor()
	requireProblem(t, alice.get("/whoami"), 401, "login_required")
	require.Equal(t, "login_required", alice.get("/whoami").JSON["reason"])

	id := alice.login("alice")
	res := alice.get("/whoami")
	require.Equal(t, map[string]any{"user": "alice", "session": id, "role": "user", "warnings": []any{}}, res.JSON)
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))

	other := s.visitor()
	other.login("alice")
	require.Equal(t, 204, other.delete("/sessions/"+id).Code)
	res = alice.get("/whoami")
	requireProblem(t, res, 401, "session_ended")
	require.Equal(t, "ended_by_you", res.JSON["reason"])
}

func TestAWarningIsToldOnce(t *testing.T) {
	s := newServer(t)
	first, second := s.visitor(), s.visitor()
	first.login("alice")
	id := second.login("alice")

	told := first.get("/whoami").JSON["warnings"].([]any)
	require.Len(t, told, 1)
	warning := told[0].(map[string]any)
	require.Equal(t, id, warning["session"])
	require.Equal(t, "192.0.2.1", warning["ip"])
	require.Contains(t, warning, "user_agent")
	_, err := time.Parse(time.RFC3339, warning["time"].(string))
	require.NoError(t, err)

	require.Empty(t, first.get("/whoami").JSON["warnings"])
	require.Empty(t, second.get("/whoami").JSON["warnings"])
}

func TestLogoutIsForEverybody(t *testing.T) {
	s := newServer(t)
	alice := s.visitor()
	require.Equal(t, 204, alice.post("/logout").Code, "also for those who are not logged in")
	alice.login("alice")
	copied := alice.copy()
	require.Equal(t, 204, alice.post("/logout").Code)
	require.Empty(t, alice.token())
	require.Equal(t, 401, copied.get("/whoami").Code)
	require.Equal(t, 204, alice.post("/logout").Code)
	require.Len(t, s.events("logout", 1), 1)
}

func TestPollingIsNoActivity(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		alice := s.visitor()
		require.Equal(t, false, alice.get("/session").JSON["authenticated"])
		alice.login("alice")

		status := alice.get("/session").JSON
		require.Equal(t, true, status["authenticated"])
		require.EqualValues(t, 15*60, status["idle_expires_in"])
		require.EqualValues(t, 8*3600, status["absolute_expires_in"])
		require.EqualValues(t, 0, status["can_extend_by"])

		time.Sleep(10 * time.Minute)
		for range 3 {
			status = alice.get("/session").JSON
			require.EqualValues(t, 5*60, status["idle_expires_in"])
			require.EqualValues(t, 10*60, status["can_extend_by"])
		}
		status = alice.post("/session/extend").JSON
		require.EqualValues(t, 15*60, status["idle_expires_in"])
		require.EqualValues(t, 8*3600-10*60, status["absolute_expires_in"])

		time.Sleep(15 * time.Minute)
		require.Equal(t, false, alice.get("/session").JSON["authenticated"])
		res := alice.get("/whoami")
		requireProblem(t, res, 401, "session_expired")
		require.Equal(t, "idle", res.JSON["reason"])
		requireProblem(t, alice.post("/session/extend"), 401, "session_expired")
		require.Len(t, s.events("timeout", 1), 1)
	})
}

func TestActivityDoesNotOutlastTheAbsoluteLimit(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		alice := s.visitor()
		alice.login("alice")
		for range 47 {
			time.Sleep(10 * time.Minute)
			require.Equal(t, 200, alice.get("/whoami").Code)
		}
		time.Sleep(10 * time.Minute)
		res := alice.get("/whoami")
		requireProblem(t, res, 401, "session_expired")
		require.Equal(t, "absolute", res.JSON["reason"])
	})
}

func TestSessions(t *testing.T) {
	s := newServer(t)
	requireProblem(t, s.visitor().get("/sessions"), 401, "login_required")
	first, second, third, bob := s.visitor(), s.visitor(), s.visitor(), s.visitor()
	one, two := first.login("alice"), second.login("alice")
	third.login("alice")
	bobs := bob.login("bob")

	list := first.get("/sessions").JSON["sessions"].([]any)
	require.Len(t, list, 3)
	require.Equal(t, one, list[0].(map[string]any)["session"])
	require.Equal(t, true, list[0].(map[string]any)["current"])
	require.Equal(t, false, list[1].(map[string]any)["current"])

	requireProblem(t, first.delete("/sessions/"+bobs), 404, "not_found")
	requireProblem(t, first.post("/sessions/"+bobs+"/end"), 404, "not_found")
	requireProblem(t, first.delete("/sessions/NOSUCHSESSION"), 404, "not_found")
	require.Equal(t, 200, bob.get("/whoami").Code)

	require.Equal(t, 204, first.post("/sessions/"+two+"/end").Code)
	require.Equal(t, "ended_by_you", second.get("/whoami").JSON["reason"])
	requireProblem(t, first.delete("/sessions/"+two), 404, "not_found")

	require.Equal(t, map[string]any{"ended": 1.0}, first.delete("/sessions").JSON)
	require.Equal(t, 401, third.get("/whoami").Code)
	third.login("alice")
	require.Equal(t, map[string]any{"ended": 1.0}, first.post("/sessions/end-others").JSON)
	require.Equal(t, map[string]any{"ended": 0.0}, first.post("/sessions/end-others").JSON)
	require.Equal(t, 200, first.get("/whoami").Code)

	require.Equal(t, 204, first.delete("/sessions/"+one).Code, "one's own")
	require.Equal(t, 401, first.get("/whoami").Code)
}

func TestPassword(t *testing.T) {
	s := newServer(t)
	alice, elsewhere := s.visitor(), s.visitor()
	id := alice.login("alice")
	elsewhere.login("alice")
	old := alice.token()

	requireProblem(t, alice.post("/password", "password", "nope", "new", "better"), 403, "wrong_password")
	require.Equal(t, 200, elsewhere.get("/whoami").Code, "nothing has happened")

	require.Equal(t, 204, alice.post("/password", "password", "demo", "new", "better").Code)
	require.NotEqual(t, old, alice.token())
	require.Equal(t, id, alice.get("/whoami").JSON["session"], "the session is the same")
	require.Equal(t, "password_changed", elsewhere.get("/whoami").JSON["reason"])
	requireProblem(t, elsewhere.post("/login", "user", "alice", "password", "demo"), 401, "wrong_credentials")
	require.Equal(t, 200, elsewhere.post("/login", "user", "alice", "password", "better").Code)

	require.Len(t, s.events("reauth", 1), 1)
	revoked := s.events("revoke", 1)
	require.Equal(t, "password_changed", revoked[0]["reason"])
}

func TestTheLimitLetsTheUserChoose(t *testing.T) {
	s := newServer(t, func(o *options) { o.limit.OnExceed = scsguard.Deny })
	first, second, third, fourth := s.visitor(), s.visitor(), s.visitor(), s.visitor()
	ids := []any{first.login("alice"), second.login("alice"), third.login("alice")}

	res := fourth.post("/login", "user", "alice", "password", "demo")
	requireProblem(t, res, 409, "session_limit")
	require.Empty(t, fourth.token())
	var listed []any
	for _, e := range res.JSON["sessions"].([]any) {
		for _, name := range []string{"session", "ip", "user_agent", "created", "last_seen"} {
			require.Contains(t, e, name)
		}
		listed = append(listed, e.(map[string]any)["session"])
	}
	require.Equal(t, ids, listed)
	require.Len(t, s.events("login_denied", 1), 1)

	requireProblem(t, fourth.post("/login", "user", "alice", "password", "nope", "end", ids[1].(string)), 401, "wrong_credentials")
	require.Equal(t, 200, second.get("/whoami").Code, "nothing is ended without the password")

	require.Equal(t, 200, fourth.post("/login", "user", "alice", "password", "demo", "end", ids[1].(string)).Code)
	require.Equal(t, "ended_by_you", second.get("/whoami").JSON["reason"])
	require.Equal(t, 200, first.get("/whoami").Code)
	require.Len(t, fourth.get("/sessions").JSON["sessions"], 3)
}

func TestTheLimitCanEvict(t *testing.T) {
	s := newServer(t, func(o *options) { o.limit = scsguard.Limit{Max: 1, OnExceed: scsguard.EvictOldest} })
	first, second := s.visitor(), s.visitor()
	first.login("alice")
	second.login("alice")
	res := first.get("/whoami")
	requireProblem(t, res, 401, "session_ended")
	require.Equal(t, "signed_in_elsewhere", res.JSON["reason"])
}

func TestALateWriteDoesNotBringASessionBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		alice := s.visitor()
		alice.login("alice")
		copied := alice.copy()

		done := make(chan answer)
		go func() { done <- copied.get("/slow?d=1s&put=k") }()
		synctest.Wait() // the request waits with the session in its hands
		require.Equal(t, 204, alice.post("/logout").Code)
		late := <-done
		require.Equal(t, 200, late.Code)
		require.Empty(t, late.Header.Get("Set-Cookie"))
		require.Equal(t, 401, copied.get("/whoami").Code)
		require.Empty(t, alice.token())
	})
}

func TestSlow(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		alice := s.visitor()
		alice.login("alice")
		began := time.Now()
		require.Equal(t, 200, alice.get("/slow?d=1m&put=colour").Code)
		require.Equal(t, time.Minute, time.Since(began))
		for _, query := range []string{"", "?d=61s", "?d=-1s", "?d=x", "?d=1s&put=" + strings.Repeat("k", 65)} {
			requireProblem(t, alice.get("/slow"+query), 400, "bad_query")
		}
	})
}
