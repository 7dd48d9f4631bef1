package scsguard

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// RequireRecentLogin returns a middleware for what must not be done with a session
// that was left alone or stolen: it refuses who has not proved who he is within
// maxAge, by a login or by [Guard.Reauthenticated] (step-up; ASVS 5.0 7.5.1 and
// 7.5.3, NIST SP 800-53 IA-11). With methods, the last proof has to have been by
// all of them, in words of RFC 8176: RequireRecentLogin(time.Minute, "otp"). How
// old a proof may be belongs to the route; the session only knows when and how.
//
// Refused are also: sessions of a remember-me token, until a full
// re-authentication ([Full]); requests with the token before the last rotation;
// and sessions of which another device was seen under [StepUp].
//
// The answer is 403 with the code REAUTH_REQUIRED, or for browsers a redirect to
// Config.ReauthURL with the way back in the query, which [ReturnPath] reads.
// A refused POST is not repeated by that: the way back is the page it was sent
// from. Nobody logged in is refused as by [Guard.RequireLogin]. Refusals are
// recorded as reauth with the outcome failure, at most one of a kind in 10 s.
//
// It panics if maxAge is not positive, at start-up, where the mistake is.
func (g *Guard) RequireRecentLogin(maxAge time.Duration, methods ...string) func(http.Handler) http.Handler {
	g.mustExist()
	if maxAge <= 0 {
		panic("scsguard: RequireRecentLogin needs a positive duration")
	}
	methods = slices.Clone(methods)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			g.gate(next, func(r *request, rec Record, loggedIn bool) Reason {
				if !loggedIn {
					return r.loginReason()
				}
				why := r.notRecent(rec, maxAge, methods)
				if why == "" {
					return ""
				}
				e := g.event(r, EventReauth, rec)
				e.Outcome, e.Reason, e.AuthTime, e.AuthMethods, e.AAL = OutcomeFailure, why, rec.AuthTime, rec.Methods, rec.AAL
				e.detail("max_age", maxAge.String())
				if len(methods) > 0 {
					e.detail("methods", strings.Join(methods, ","))
				}
				g.recordCoalesced(req.Context(), r, "step-up", rec.Session+"\x00"+why, e)
				return ReasonReauthRequired
			}).ServeHTTP(w, req)
		})
	}
}

// notRecent returns why a session does not count as recently authenticated, in
// the trail's words, or "".
func (r *request) notRecent(rec Record, maxAge time.Duration, methods []string) string {
	switch {
	case r.isGraced():
		return "old_token"
	case rec.Remembered:
		return "remembered"
	case rec.doubted():
		return "other_device"
	case rec.AuthTime.IsZero(), r.arrived.Sub(rec.AuthTime) >= maxAge,
		rec.AuthTime.After(time.Now().Add(ClockSkew)): // nobody has proved anything yet
		return "too_long_ago"
	}
	for _, m := range methods {
		if !slices.Contains(rec.Methods, m) {
			return "method"
		}
	}
	return ""
}

// returnField is the form field that carries the way back.
const returnField = "return"

// reauthURL adds to the query of the page for re-authentication why it is shown,
// and the way back.
func reauthURL(base string, req *http.Request) string {
	u, err := url.Parse(base)
	if err != nil {
		return base // New has checked it
	}
	q := u.Query()
	q.Set("reason", string(ReasonReauthRequired))
	if back := wayBack(req); back != "" {
		q.Set(returnField, back)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// wayBack returns the path to the page that the visitor wanted, or, where he sent
// something, to the page from which he did so: to repeat it is his decision. It is
// "" if that is unknown or elsewhere.
func wayBack(req *http.Request) string {
	u, err := url.ParseRequestURI(req.RequestURI) // not the URL, of which a mux may have cut a part
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		if u, err = url.Parse(req.Referer()); err == nil && !strings.EqualFold(u.Host, req.Host) {
			return ""
		}
	}
	if err != nil {
		return ""
	}
	if path := u.RequestURI(); safePath(path) {
		return path
	}
	return ""
}

// ReturnPath returns where a visitor is to be sent after he has proved who he is:
// the field "return" of the form or query, which comes from the visitor's browser
// and may have been put there by anybody. Only a path on this host is believed;
// for everything else it returns "/", so that nobody builds a link that leads from
// a real login to a false page (ASVS 5.0 3.7.2; CWE-601).
func ReturnPath(r *http.Request) string {
	if path := r.FormValue(returnField); safePath(path) {
		return path
	}
	return "/"
}

const maxReturnLen = 2048

// safePath reports whether a browser takes s for a path on the same host. Browsers
// take a backslash for a slash and ignore tabs and line breaks.
func safePath(s string) bool {
	if len(s) > maxReturnLen || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f }) {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && !strings.HasPrefix(u.Path, "//")
}
