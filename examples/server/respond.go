package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/scsguard/scsguard"
)

// handler answers a request, or returns an error for fail to answer.
type handler func(http.ResponseWriter, *http.Request) error

func (a *app) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			a.fail(w, r, err)
		}
	})
}

// problem is an answer that says what is wrong (RFC 9457).
type problem struct {
	Type       string                 `json:"type"`
	Title      string                 `json:"title"`
	Status     int                    `json:"status"`
	Detail     string                 `json:"detail"`
	Code       string                 `json:"code"` // stable, for programs
	Reason     scsguard.Reason        `json:"reason,omitempty"`
	Sessions   []scsguard.SessionInfo `json:"sessions,omitempty"`
	Components []scsguard.Component   `json:"components,omitempty"`

	page string // what browsers see
	data any
}

func (p *problem) Error() string { return p.Code + ": " + p.Detail }

// refuse returns a problem. Without a type of its own its title has to be the
// text of the status.
func refuse(status int, code, detail string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code, page: "That did not work"}
}

func bad(code, detail string) *problem { return refuse(http.StatusBadRequest, code, detail) }
func cannot(code, detail string) *problem {
	return refuse(http.StatusUnprocessableEntity, code, detail)
}

// because is the problem of a request that the guard does not serve.
func because(reason scsguard.Reason) *problem {
	p := refuse(reason.Status(), reason.Code(), reason.Text())
	p.Reason = reason
	return p
}

// on shows the problem on a page of its own.
func (p *problem) on(page string, data any) *problem {
	p.page, p.data = page, data
	return p
}

// problemOf is the one place where errors become answers.
func (a *app) problemOf(r *http.Request, err error) *problem {
	var known *problem
	var limit *scsguard.LimitError
	var ended *scsguard.EndedError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &limit):
		p := refuse(http.StatusConflict, "session_limit", fmt.Sprintf("You are logged in elsewhere as often as you may be (%d). Choose a session to end.", len(limit.Sessions)))
		p.Sessions = infos(limit.Sessions)
		return p.on("Too many sessions", limit.User)
	case errors.Is(err, scsguard.ErrUnavailable), errors.Is(err, scsguard.ErrClosed):
		return refuse(http.StatusServiceUnavailable, "unavailable", "This cannot be done at the moment. Please try again in a few seconds.")
	case errors.As(err, &ended):
		return because(ended.Visitor)
	case errors.Is(err, scsguard.ErrNotLoggedIn):
		return because(scsguard.ReasonLoginRequired)
	case errors.Is(err, scsguard.ErrRevoked):
		return refuse(http.StatusUnauthorized, "login_again", "All your sessions were ended while you logged in. Please log in again.")
	case errors.Is(err, scsguard.ErrMoved):
		return refuse(http.StatusConflict, "try_again", "Another request of yours was faster. Please try again.")
	case errors.Is(err, scsguard.ErrNotFound):
		return refuse(http.StatusNotFound, "not_found", "You have no such session, or it has ended.")
	}
	return refuse(http.StatusInternalServerError, "internal_error", "Something went wrong, and it is not your fault.")
}

// fail answers a request that went wrong. What is wrong inside is for the log;
// the visitor learns the problem only.
func (a *app) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problemOf(r, err)
	if p.Status >= http.StatusInternalServerError {
		a.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", r.Pattern, "err", err, "health", a.guard.Health().Problems)
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	if scsguard.WantsHTML(r) && a.page(w, r, p.Status, p.page, view{Problem: p, Data: p.data}) == nil {
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// reject answers where a middleware of the guard refuses a request. Browsers are
// sent to the login page, which says why the session has ended.
func (a *app) reject(w http.ResponseWriter, r *http.Request, reason scsguard.Reason) {
	p := because(reason)
	_, loggedIn := a.guard.Current(r.Context())
	switch {
	case loggedIn && reason == scsguard.ReasonIdle: // by LimitIdle: the session itself goes on
		p.Code, p.Detail = "reauth_required", "You were inactive for too long. Please prove again that you are the administrator."
		p.on("Confirm who you are", nil)
	case reason == scsguard.ReasonReauthRequired:
		p.on("Confirm that it is you", nil)
	case p.Status == http.StatusUnauthorized && scsguard.WantsHTML(r):
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	a.fail(w, r, p)
}

// done answers a request that has changed something. Browsers go on to a page
// with a notice; everybody else gets v, or 204 if there is none.
func (a *app) done(w http.ResponseWriter, r *http.Request, next, notice string, v any) error {
	if !scsguard.WantsHTML(r) {
		return writeJSON(w, v)
	}
	if _, ok := a.guard.Current(r.Context()); ok && notice != "" {
		a.sessions.Put(r.Context(), "notice", notice)
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	if v == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the visitor may have hung up
	return nil
}

//go:embed templates static
var files embed.FS

// pages are named by their titles.
var pages = template.Must(template.New("").Funcs(template.FuncMap{"day": day}).ParseFS(files, "templates/*.html"))

// view is what a page shows.
type view struct {
	Title     string
	Session   *scsguard.Session // nil: nobody is logged in
	Remembers bool              // a browser, if its user asks for it
	Ended     scsguard.Reason   // why the visitor's session has ended, if it has
	Notice    string            // of the request before
	Problem   *problem
	Data      any
}

func (a *app) page(w http.ResponseWriter, r *http.Request, status int, title string, v view) error {
	ctx := r.Context()
	v.Title, v.Ended, v.Remembers = title, a.guard.Ended(ctx), a.remembers
	if s, ok := a.guard.Current(ctx); ok {
		v.Session, v.Notice = &s, a.sessions.PopString(ctx, "notice")
	}
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, title, v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w) // the visitor may have hung up
	return nil
}

// Times are told in UTC and whole seconds.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func day(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04:05 UTC") }
