package scsguard

import (
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// A Reason tells a visitor why he is not served, in a word he may know. The
// trail knows more.
type Reason string

// The reasons. Why a session ended is said as long as its tombstone lasts.
const (
	ReasonIdle            Reason = "idle"
	ReasonAbsolute        Reason = "absolute"
	ReasonSignedElsewhere Reason = "signed_in_elsewhere" // evicted by a login beyond the cap
	ReasonReplaced        Reason = "replaced"            // by another login in the same browser
	ReasonEndedByYou      Reason = "ended_by_you"
	ReasonEndedByAdmin    Reason = "ended_by_admin"
	ReasonPasswordChanged Reason = "password_changed"
	ReasonWrongDevice     Reason = "wrong_device"
	ReasonEnded           Reason = "ended" // for a reason that is none of the visitor's business
	ReasonLoginRequired   Reason = "login_required"
	ReasonLimit           Reason = "session_limit"   // a login beyond the cap, noticed by Config.UserID
	ReasonReauthRequired  Reason = "reauth_required" // logged in, but not recently enough for this
	ReasonUnavailable     Reason = "unavailable"
	ReasonMisconfigured   Reason = "misconfigured" // a middleware outside of Protect
)

// answer is what a visitor is told.
type answer struct {
	status int
	code   string // stable, for programs
	title  string
	text   string
}

// answers maps every reason to what the visitor sees.
var answers = map[Reason]answer{
	ReasonIdle:            {401, "session_expired", "Session expired", "You were inactive for too long. Please log in again."},
	ReasonAbsolute:        {401, "session_expired", "Session expired", "Your session has reached its longest duration. Please log in again."},
	ReasonSignedElsewhere: {401, "session_ended", "Session ended", "You logged in elsewhere, and the oldest session was ended. If that was not you, change your password."},
	ReasonReplaced:        {401, "session_ended", "Session ended", "Another login in this browser took the place of this session."},
	ReasonEndedByYou:      {401, "session_ended", "Session ended", "You ended this session."},
	ReasonEndedByAdmin:    {401, "session_ended", "Session ended", "An administrator ended this session."},
	ReasonPasswordChanged: {401, "session_ended", "Session ended", "The password was changed. Please log in again."},
	ReasonWrongDevice:     {401, "session_ended", "Session ended", "This session belongs to another device. Please log in again."},
	ReasonEnded:           {401, "session_ended", "Session ended", "This session has ended. Please log in again."},
	ReasonLoginRequired:   {401, "login_required", "Login required", "Please log in."},
	ReasonReauthRequired:  {403, "REAUTH_REQUIRED", "Confirm that it is you", "For this, please prove again who you are."},
	ReasonLimit:           {409, "session_limit", "Too many sessions", "You are logged in on as many devices as allowed. Log out on one of them, then log in here again."},
	ReasonUnavailable:     {503, "unavailable", "Temporarily unavailable", "We cannot check your session at the moment. Nothing has changed for you; please try again in a few seconds."},
	ReasonMisconfigured:   {500, "internal_error", "Internal error", "The server is not set up correctly."},
}

func (r Reason) answer() answer {
	if a, ok := answers[r]; ok {
		return a
	}
	return answers[ReasonEnded]
}

// Status returns the HTTP status for the reason: 401, 403 if the visitor has to
// prove again who he is, 409 for a login beyond the cap, 503 if something is
// unavailable, or 500.
func (r Reason) Status() int { return r.answer().status }

// Code returns a stable word for programs: login_required, session_expired,
// session_ended, session_limit, REAUTH_REQUIRED, unavailable or internal_error.
func (r Reason) Code() string { return r.answer().code }

// Text returns a sentence for the visitor, in English.
func (r Reason) Text() string { return r.answer().text }

// reasonOf returns what the visitor of an ended session may know.
func reasonOf(rec Record) Reason {
	if rec.State == StateMoved {
		return ReasonEnded // an old token: whoever holds it learns nothing
	}
	switch rec.Ending.Reason {
	case EndIdle:
		return ReasonIdle
	case EndAbsolute:
		return ReasonAbsolute
	case EndUser:
		return ReasonEndedByYou
	case EndAdmin:
		return ReasonEndedByAdmin
	case EndEvicted:
		return ReasonSignedElsewhere
	case EndReplaced:
		return ReasonReplaced
	case EndWrongDevice:
		return ReasonWrongDevice
	case EndRevoked:
		switch rec.Ending.Detail {
		case detailPasswordChanged:
			return ReasonPasswordChanged
		case detailTokenReuse:
			return ReasonEnded
		}
		return ReasonEndedByAdmin
	}
	return ReasonEnded
}

// retryAfter is what a visitor is asked to wait when something is unavailable.
const retryAfter = "5"

// reject answers a request that is not served.
func (g *Guard) reject(w http.ResponseWriter, r *http.Request, reason Reason) {
	h := w.Header()
	if reason.Status() == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfter)
	}
	h.Set("Cache-Control", "no-store")
	if g.cfg.OnReject != nil {
		g.cfg.OnReject(w, r, reason)
		return
	}
	if !WantsHTML(r) {
		writeProblem(w, reason)
		return
	}
	if reason.Status() == http.StatusUnauthorized && g.cfg.LoginURL != "" {
		http.Redirect(w, r, loginURL(g.cfg.LoginURL, reason), http.StatusSeeOther)
		return
	}
	link := g.cfg.LoginURL
	if reason == ReasonReauthRequired {
		if g.cfg.ReauthURL != "" {
			http.Redirect(w, r, reauthURL(g.cfg.ReauthURL, r), http.StatusSeeOther)
			return
		}
		link = "" // he is logged in
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", rejectPolicy) // an application's stricter policy would take the style away
	w.WriteHeader(reason.Status())
	_ = rejectPage.Execute(w, map[string]any{"Title": reason.answer().title, "Text": reason.Text(), "Login": link, "Reason": reason})
}

// WantsHTML reports whether a person looks at the answer to a request: browsers
// name text/html in Accept when they navigate, programs and scripts do not. It
// is how the guard chooses between a page and a problem detail.
func WantsHTML(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			kind, params, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(kind), "text/html") && !refused(params) {
				return true
			}
		}
	}
	return false
}

// refused reports whether parameters of an Accept header hold a weight of zero.
func refused(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			return err == nil && q == 0
		}
	}
	return false
}

// loginURL adds the reason to the query of the login page.
func loginURL(base string, reason Reason) string {
	u, err := url.Parse(base)
	if err != nil {
		return base // New has checked it
	}
	q := u.Query()
	q.Set("reason", string(reason))
	u.RawQuery = q.Encode()
	return u.String()
}

// problem is an RFC 9457 problem detail.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Reason Reason `json:"reason"`
}

func writeProblem(w http.ResponseWriter, reason Reason) {
	a := reason.answer()
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(a.status)
	// RFC 9457 4.2.1: the title of "about:blank" is the status phrase.
	_ = json.NewEncoder(w).Encode(problem{Type: "about:blank", Title: http.StatusText(a.status), Status: a.status, Detail: a.text, Code: a.code, Reason: reason})
}

// rejectStyle is the whole style of the page, and rejectPolicy allows it and
// nothing else, by its SHA-256.
const (
	rejectStyle  = `:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}`
	rejectPolicy = "default-src 'none'; style-src 'sha256-i+O2XEN5e3NC91wCYXZVrHoZF2BET31Yekdjss2j2b8='; frame-ancestors 'none'"
)

// rejectPage needs no script and no network.
var rejectPage = template.Must(template.New("reject").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>` + rejectStyle + `</style>
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{- if and .Login (ne .Reason "unavailable")}}
<p><a href="{{.Login}}">Log in</a></p>
{{- end}}
</main>
</html>
`))
