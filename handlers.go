package scsguard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Status is what [Guard.StatusHandler] answers. Durations are whole seconds,
// rounded down, so that a countdown reaches zero before the session does.
type Status struct {
	Authenticated     bool      `json:"authenticated"`
	IdleExpiresIn     int64     `json:"idle_expires_in"`
	AbsoluteExpiresIn int64     `json:"absolute_expires_in"`
	CanExtendBy       int64     `json:"can_extend_by"`
	ServerTime        time.Time `json:"server_time"`
}

// Status returns how long the session of the request still has, and how much
// [Guard.Extend] would add. It counts from the recorded activity, as the limits
// do.
func (g *Guard) Status(ctx context.Context) Status {
	now := time.Now()
	st := Status{ServerTime: now.UTC().Truncate(time.Second)}
	s, ok := g.Current(ctx)
	if !ok {
		return st
	}
	st.Authenticated = true
	st.IdleExpiresIn = seconds(s.IdleExpires.Sub(now))
	st.AbsoluteExpiresIn = seconds(s.AbsoluteExpires.Sub(now))
	extended := s
	extended.IdleExpires = now.Add(s.IdleExpires.Sub(s.LastSeen))
	st.CanExtendBy = seconds(extended.Expires().Sub(s.Expires()))
	return st
}

func seconds(d time.Duration) int64 { return max(int64(d/time.Second), 0) }

// StatusHandler answers GET with [Status] as JSON, without counting as activity:
// for a countdown that warns before the time out (WCAG 2.2 2.2.1).
func (g *Guard) StatusHandler() http.Handler {
	return g.Passive(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			methodNotAllowed(w, "GET, HEAD")
			return
		}
		writeJSON(w, http.StatusOK, g.Status(req.Context()))
	}))
}

// ExtendHandler answers POST: it calls [Guard.Extend] and answers with [Status].
func (g *Guard) ExtendHandler() http.Handler {
	return g.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodPost {
			methodNotAllowed(w, "POST")
			return
		}
		if _, err := g.Extend(req.Context()); err != nil {
			g.rejectError(w, req, err)
			return
		}
		writeJSON(w, http.StatusOK, g.Status(req.Context()))
	}))
}

// SessionInfo is one session in the answer of [Guard.SessionsHandler].
type SessionInfo struct {
	Session         string    `json:"session"`
	Current         bool      `json:"current"`
	IP              string    `json:"ip"`
	UserAgent       string    `json:"user_agent"`
	Created         time.Time `json:"created"`
	LastSeen        time.Time `json:"last_seen"`
	IdleExpires     time.Time `json:"idle_expires"`
	AbsoluteExpires time.Time `json:"absolute_expires"`
}

// Info returns what a user may see of one of his sessions, with times in UTC
// and whole seconds.
func (s Session) Info() SessionInfo {
	t := func(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
	info := SessionInfo{Session: s.ID, Current: s.Current, UserAgent: s.UserAgent, Created: t(s.Created), LastSeen: t(s.LastSeen),
		IdleExpires: t(s.IdleExpires), AbsoluteExpires: t(s.AbsoluteExpires)}
	if s.IP.IsValid() {
		info.IP = s.IP.String()
	}
	return info
}

// SessionsHandler lets a user see and end his own sessions (ASVS 5.0 7.5.2).
// GET lists them; DELETE or POST ends the one that the pattern's {id} names,
// or, where the pattern has no {id}, all others. Mount it with patterns:
//
//	mux.Handle("GET /sessions", h)
//	mux.Handle("DELETE /sessions/{id}", h)
//	mux.Handle("DELETE /sessions", h)
//
// Like every handler that changes something it needs a protection against
// cross-site requests around it, such as http.CrossOriginProtection.
func (g *Guard) SessionsHandler() http.Handler {
	return g.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx, id := req.Context(), req.PathValue("id")
		switch req.Method {
		case http.MethodGet, http.MethodHead:
			g.listSessions(w, req)
		case http.MethodDelete, http.MethodPost:
			if id != "" {
				if err := g.End(ctx, id); err != nil {
					g.rejectError(w, req, err)
					return
				}
				w.WriteHeader(http.StatusNoContent)
				return
			}
			n, err := g.EndOthers(ctx)
			if err != nil {
				g.rejectError(w, req, err)
				return
			}
			writeJSON(w, http.StatusOK, map[string]int{"ended": n})
		default:
			methodNotAllowed(w, "GET, HEAD, DELETE, POST")
		}
	}))
}

func (g *Guard) listSessions(w http.ResponseWriter, req *http.Request) {
	list, err := g.Sessions(req.Context())
	if err != nil {
		g.rejectError(w, req, err)
		return
	}
	infos := make([]SessionInfo, len(list))
	for i, s := range list {
		infos[i] = s.Info()
	}
	writeJSON(w, http.StatusOK, map[string][]SessionInfo{"sessions": infos})
}

// rejectError answers for an error of a verb.
func (g *Guard) rejectError(w http.ResponseWriter, req *http.Request, err error) {
	var over *EndedError
	switch {
	case errors.Is(err, ErrNotFound):
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(problem{Type: "about:blank", Title: http.StatusText(http.StatusNotFound), Status: http.StatusNotFound,
			Detail: "You have no such session, or it has ended.", Code: "not_found"})
	case errors.Is(err, ErrNotLoggedIn):
		g.reject(w, req, ReasonLoginRequired)
	case errors.As(err, &over):
		g.reject(w, req, over.Visitor)
	default:
		g.reject(w, req, ReasonUnavailable)
	}
}

func methodNotAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
