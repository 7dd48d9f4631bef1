package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestTheIndex(t *testing.T) {
	s := newServer(t)
	endpoints := s.visitor().get("/").JSON["endpoints"]
	require.Contains(t, endpoints, "GET /")
	require.Contains(t, endpoints, "POST /transfer")
	require.Contains(t, endpoints, "DELETE /sessions/{id}")
}

func TestClearAnswersToUnclearRequests(t *testing.T) {
	s := newServer(t)
	alice := s.visitor()
	alice.login("alice")
	const form, object = "application/x-www-form-urlencoded", "application/json"
	large := strings.Repeat("a", maxBody)
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
		code                    string
	}{
		{"a field that is not known", form, "amount=1&to=bob&from=carol", 400, "unknown_field"},
		{"a field that is not known, in JSON", object, `{"amount": 1, "to": "bob", "from": "carol"}`, 400, "unknown_field"},
		{"no body", "", "", 400, "missing_field"},
		{"half a form", form, "amount=%zz&to=bob", 400, "bad_form"},
		{"half an object", object, `{"amount": 1,`, 400, "bad_json"},
		{"two objects", object, `{"amount": 1, "to": "bob"}{}`, 400, "bad_json"},
		{"no object", object, `null`, 400, "bad_json"},
		{"nothing", object, ``, 400, "bad_json"},
		{"a list", object, `{"amount": 1, "to": ["bob"]}`, 400, "wrong_type"},
		{"null", object, `{"amount": null, "to": "bob"}`, 400, "wrong_type"},
		{"text", "text/plain", "amount=1", 415, "unsupported_media_type"},
		{"an upload", "multipart/form-data; boundary=x", "--x--", 415, "unsupported_media_type"},
		{"a large form", form, "amount=1&to=" + large, 413, "body_too_large"},
		{"a large object", object, `{"amount": 1, "to": "` + large + `"}`, 413, "body_too_large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requireProblem(t, alice.do(alice.request("POST", "/transfer", tt.contentType, tt.body)), tt.status, tt.code)
		})
	}
	require.Equal(t, 200, alice.get("/whoami").Code)
	requireProblem(t, alice.post("/login?user=alice&password=demo"), 400, "missing_field")
}

func TestWrongPathsAndMethods(t *testing.T) {
	s := newServer(t)
	v := s.visitor()
	requireProblem(t, v.get("/nowhere"), 404, "not_found")
	requireProblem(t, v.get("/admin/nowhere"), 404, "not_found")
	requireProblem(t, v.post("/whoami"), 405, "method_not_allowed")
	require.Equal(t, "GET", v.post("/whoami").Header.Get("Allow"))
	require.Equal(t, "GET, DELETE", v.post("/sessions").Header.Get("Allow"))
	requireProblem(t, v.post("/healthz"), 405, "method_not_allowed")
	require.Equal(t, "/admin/", v.get("/admin").Path)

	page := s.browser().get("/nowhere")
	require.Equal(t, 404, page.Code)
	require.Contains(t, page.Body, "There is nothing here.")
}

func TestOtherSitesAreRefused(t *testing.T) {
	s := newServer(t)
	alice := s.visitor()
	alice.login("alice")
	for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		r := alice.request("POST", "/transfer", "application/x-www-form-urlencoded", "amount=1&to=bob")
		r.Header.Set(header[0], header[1])
		requireProblem(t, alice.do(r), 403, "cross_origin")
	}
	require.Equal(t, startBalance, s.app.bank.balance("alice"))
	r := alice.request("POST", "/transfer", "application/x-www-form-urlencoded", "amount=1&to=bob")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	require.Equal(t, 200, alice.do(r).Code)
}

func TestHeaders(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{"/", "/nowhere", "/static/style.css", "/healthz"} {
		h := s.browser().get(path).Header
		require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'self'", path)
		require.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		require.Equal(t, "same-origin", h.Get("Referrer-Policy"), path)
	}
	require.Equal(t, "text/css; charset=utf-8", s.visitor().get("/static/style.css").Header.Get("Content-Type"))
	require.Equal(t, 200, s.visitor().get("/static/app.js").Code)
	require.Equal(t, 404, s.visitor().get("/static/").Code)
	require.Equal(t, 404, s.visitor().get("/static/layout.html").Code)
}

func TestEveryErrorHasItsAnswer(t *testing.T) {
	s := newServer(t)
	for _, tt := range []struct {
		err    error
		status int
		code   string
	}{
		{scsguard.ErrUnavailable, 503, "unavailable"},
		{scsguard.ErrClosed, 503, "unavailable"},
		{scsguard.ErrNotLoggedIn, 401, "login_required"},
		{&scsguard.EndedError{Reason: scsguard.EndAdmin}, 401, "session_ended"},
		{scsguard.ErrRevoked, 401, "login_again"},
		{scsguard.ErrMoved, 409, "try_again"},
		{&scsguard.LimitError{User: "alice", Max: 3}, 409, "session_limit"},
		{scsguard.ErrNotFound, 404, "not_found"},
		{because(scsguard.ReasonUnavailable), 503, "unavailable"},
		{scsguard.ErrResponseStarted, 500, "internal_error"},
		{errors.New("secret"), 500, "internal_error"},
	} {
		answers := s.visitor()
		answers.client.Transport = inProcess{s.app.handle(func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("wrapped: %w", tt.err)
		})}
		res := answers.get("/")
		requireProblem(t, res, tt.status, tt.code)
		require.NotContains(t, res.Body, "secret")
		require.NotContains(t, res.Body, "scsguard")
	}
	require.Contains(t, s.log.String(), "wrapped: secret")
}

// Without a trail nobody gets in, nothing is done, and everybody gets out.
func TestWithoutATrail(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		alice, admin := s.visitor(), s.visitor()
		alice.login("alice")
		admin.login("admin")
		require.Equal(t, map[string]any{"status": "ok"}, s.visitor().get("/healthz").JSON)

		s.broken.Store(true)
		for _, res := range []answer{
			s.visitor().post("/login", "user", "bob", "password", "demo"),
			alice.post("/transfer", "amount", "1", "to", "bob"),
			alice.post("/session/extend"),
			alice.post("/password", "password", "demo", "new", "better"),
			admin.post("/elevate", "password", "demo"),
			alice.get("/healthz"),
		} {
			requireProblem(t, res, 503, "unavailable")
			require.Equal(t, "5", res.Header.Get("Retry-After"))
			require.NotContains(t, res.Body, "secret", "how the server is built is nobody's business")
		}
		page := s.browser().post("/login", "user", "bob", "password", "demo")
		require.Equal(t, 503, page.Code)
		require.Contains(t, page.Body, "This cannot be done at the moment.")
		require.Equal(t, []any{"audit"}, alice.get("/healthz").JSON["components"])
		require.Contains(t, s.log.String(), "secret", "but the operator's")
		require.Equal(t, startBalance, s.app.bank.balance("alice"))
		require.Equal(t, startBalance, s.app.bank.balance("bob"))
		require.Equal(t, "user", admin.get("/whoami").JSON["role"])

		copied := alice.copy()
		require.Equal(t, 204, alice.post("/logout").Code)
		require.Equal(t, 401, copied.get("/whoami").Code)

		s.broken.Store(false)
		require.Equal(t, 200, alice.post("/login", "user", "alice", "password", "demo").Code, "with the old password")
		synctest.Wait()
		require.Equal(t, 200, alice.get("/healthz").Code)
		told := s.events("logout", 1)
		require.True(t, slices.ContainsFunc(told, func(e event) bool { return e["user"] == "alice" && e["reason"] == "user" }), "what happened is told later: %v", told)
	})
}
