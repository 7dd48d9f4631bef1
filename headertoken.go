package scsguard

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// TokenHeader is the response header that tells an API client its session's token
// whenever that has changed: after a login, a rotation, a renewal. It is sent where
// a browser would be sent a cookie.
const TokenHeader = "Session-Token"

// BearerToken returns the token of a request with one Authorization header of the
// scheme Bearer (RFC 6750 2.1), or "". For [Config.Token].
func BearerToken(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// Token returns the token of the session, in the answer of [Guard.Login] to an API
// client (see [Config.Token]), and nowhere else: whoever has it has the session. It
// is not part of what a Session prints, logs or marshals.
func (s Session) Token() string {
	if s.token == nil {
		return ""
	}
	return *s.token
}

// headerToken returns the token of an API client, and whether the request is one's.
func (g *Guard) headerToken(r *request, req *http.Request) (token string, api bool) {
	if g.cfg.Token == nil {
		return "", false
	}
	if token, api = g.cfg.Token(req); !validToken(token) {
		token = ""
	}
	r.api = api
	return token, api
}

// deliver tells the client its token: a browser by the cookie, which an empty token
// clears, an API client by a header.
func (g *Guard) deliver(ctx context.Context, r *request, w http.ResponseWriter, token string, expiry time.Time) {
	if !r.api {
		g.sm.WriteSessionCookie(ctx, w, token, expiry)
		return
	}
	r.mu.Lock()
	known := g.storeKey(token) == r.came
	r.mu.Unlock()
	if token != "" && !known {
		w.Header().Set(TokenHeader, token)
		w.Header().Set("Cache-Control", "no-store") // whatever the handler says of its own answer (RFC 6749 5.1, RFC 6750 5.3)
	}
}
