package main

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// app is the application. The guard knows who is logged in; the session manager
// keeps the application's own data of each session, as it always did.
type app struct {
	sessions  *scs.SessionManager
	guard     *scsguard.Guard
	users     *users
	bank      *bank
	log       *slog.Logger
	remembers bool // browsers, where they ask for it
	endpoints []string
	stopping  chan struct{} // closed when the server shuts down
}

func newApp(sessions *scs.SessionManager, trail scsguard.Sink, o options, log *slog.Logger) (*app, error) {
	a := &app{sessions: sessions, users: newUsers(o.hashing), bank: newBank(demoUsers), log: log, stopping: make(chan struct{})}

	// HttpOnly and SameSite=Lax are what scs does by itself.
	sessions.Cookie.Name, sessions.Cookie.Secure = "__Host-session", true
	sessions.Cookie.Persist = o.profile == scsguard.ProfileNone
	sessions.Lifetime = max(sessions.Lifetime, o.timeouts.Absolute)
	sessions.ErrorFunc = a.fail

	cfg := scsguard.Config{
		Profile:        o.profile,
		Timeouts:       o.timeouts,
		Limit:          o.limit,
		Binding:        scsguard.Binding{Network: o.binding, UserAgent: o.binding},
		Audit:          trail,
		OnReject:       a.reject,
		OnAuditFailure: func(err error) { log.Error("the trail cannot be written", "err", err) },
	}
	if a.remembers = o.profile == scsguard.ProfileNone; a.remembers { // no profile allows it
		cfg.Remember = scsguard.Remember{Store: scsguard.NewMemoryRememberStore(), Role: a.users.remembered}
	}
	if o.redis != "" {
		if err := shareSessions(sessions, &cfg, o); err != nil {
			return nil, err
		}
	}
	if len(o.proxies) > 0 {
		cfg.ClientIP = scsguard.TrustedProxies(o.proxies...)
	}
	var err error
	a.guard, err = scsguard.New(sessions, cfg)
	return a, err
}

// adminIdle is how long an administrator may be inactive and still administer.
const adminIdle = 5 * time.Minute

// recentLogin is how old a proof of who somebody is may be for what costs money or
// the account.
const recentLogin = 5 * time.Minute

// routes returns the handler of the application. A route is public, for members,
// for those who have logged in recently, or for administrators. The style sheet and
// the health check stay outside of guard.Protect, so that they are served when no
// session can be loaded.
func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	add := func(pattern string, h http.Handler) {
		mux.Handle(pattern, h)
		a.endpoints = append(a.endpoints, strings.TrimSuffix(pattern, "{$}"))
	}
	public := func(pattern string, h handler) { add(pattern, a.guard.Protect(a.handle(h))) }
	member := func(pattern string, h handler) { add(pattern, a.guard.Protect(a.guard.RequireLogin(a.handle(h)))) }
	admin := func(pattern string, h handler) {
		add(pattern, a.guard.Protect(a.guard.RequireLogin(a.administrators(a.guard.LimitIdle(adminIdle)(a.handle(h))))))
	}

	recent := func(pattern string, h handler) {
		add(pattern, a.guard.Protect(a.guard.RequireRecentLogin(recentLogin)(a.handle(h))))
	}

	public("GET /{$}", a.home)
	public("POST /login", a.login)
	public("POST /logout", a.logout)
	member("POST /reauth", a.reauth)
	recent("POST /password", a.password)

	member("GET /whoami", a.whoami)
	add("GET /session", a.guard.Protect(a.guard.StatusHandler()))
	member("POST /session/extend", a.extend)
	member("GET /sessions", a.list)
	member("DELETE /sessions", a.endOthers)
	member("POST /sessions/end-others", a.endOthers)
	member("DELETE /sessions/{id}", a.end)
	member("POST /sessions/{id}/end", a.end)

	recent("POST /transfer", a.transfer)

	member("POST /elevate", a.elevate)
	admin("GET /admin/{$}", a.administration)
	admin("POST /admin/users/{user}/end-sessions", a.endUser)

	public("GET /slow", a.slow)
	add("GET /stream", a.guard.Protect(a.guard.RequireLogin(a.guard.CutOff(a.handle(a.stream)))))
	add("GET /healthz", a.handle(a.healthz))
	mux.Handle("GET /static/{file}", http.FileServerFS(files))
	mux.Handle("/", a.handle(notHere(mux)))

	csrf := http.NewCrossOriginProtection()
	csrf.SetDenyHandler(a.handle(func(http.ResponseWriter, *http.Request) error {
		return refuse(http.StatusForbidden, "cross_origin", "This request came from another site.")
	}))
	checked := csrf.Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // with no-referrer, browsers send "Origin: null" with forms
		h.Add("Vary", "Accept")
		checked.ServeHTTP(w, r)
	})
}

// notHere answers what no route is for, in the same way as everything else; the
// mux itself would answer in plain text.
func notHere(mux *http.ServeMux) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var allow []string
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if _, pattern := mux.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL}); pattern != "/" {
				allow = append(allow, method)
			}
		}
		if len(allow) == 0 {
			return refuse(http.StatusNotFound, "not_found", "There is nothing here.")
		}
		w.Header().Set("Allow", strings.Join(allow, ", "))
		return refuse(http.StatusMethodNotAllowed, "method_not_allowed", r.Method+" cannot be used here.")
	}
}

// longestWait bounds what a visitor may ask of slow.
const longestWait = time.Minute

// slow answers late, for trying what becomes of requests that are under way while
// their session ends. With put it writes a value into the session at the end.
func (a *app) slow(w http.ResponseWriter, r *http.Request) error {
	d, err := time.ParseDuration(r.FormValue("d"))
	put := r.FormValue("put")
	if err != nil || d < 0 || d > longestWait || len(put) > 64 {
		return bad("bad_query", "d is a duration of at most 1m, such as 500ms, and put has at most 64 characters.")
	}
	select {
	case <-time.After(d):
	case <-r.Context().Done():
		return nil // the visitor has hung up
	}
	if put != "" {
		a.sessions.Put(r.Context(), "slow."+put, time.Now().UTC().Format(time.RFC3339))
	}
	return writeJSON(w, map[string]string{"status": "done", "put": put})
}

// healthz tells a load balancer which parts do not work; why is for the log. What
// only a person has to look at is no reason to send visitors elsewhere.
func (a *app) healthz(w http.ResponseWriter, r *http.Request) error {
	health, p := a.guard.Health(), a.problemOf(r, scsguard.ErrUnavailable)
	for _, broken := range health.Problems {
		p.Components = append(p.Components, broken.Component)
	}
	switch {
	case health.OK:
		return writeJSON(w, map[string]string{"status": "ok"})
	case health.Serving():
		return writeJSON(w, map[string]any{"status": "warning", "components": p.Components})
	}
	return p
}
