package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/scsguard/scsguard"
)

// login answers POST /login: user, password, end, the session that the user wants
// to end if he has too many, and remember=true for a browser that is to come back
// without the password, where no profile forbids that. It does not slow down those who guess
// passwords; an application has to.
func (a *app) login(w http.ResponseWriter, r *http.Request) error {
	in, err := read(w, r, "user", "password", "end?", "remember?")
	if err != nil {
		return err
	}
	ctx, user := r.Context(), in["user"]
	if _, wrong := a.users.check(user, in["password"]); wrong != "" {
		a.guard.LoginFailed(ctx, user, wrong)
		return refuse(http.StatusUnauthorized, "wrong_credentials", "User or password is wrong.").on("Log in", user)
	}
	opts := []scsguard.LoginOption{scsguard.Role(roleUser), scsguard.Methods("pwd"), scsguard.AAL(1), scsguard.EndSession(in["end"])}
	if a.remembers && in["remember"] == "true" {
		opts = append(opts, scsguard.RememberMe())
	}
	s, err := a.guard.Login(ctx, user, opts...)
	if err != nil {
		return err // among others that he has too many sessions, see problemOf
	}
	a.log.InfoContext(ctx, "login", "session", s, "ip", s.IP)

	info, notice := s.Info(), "This is your first login."
	var last *sighting
	if l := s.LastLogin; !l.Time.IsZero() {
		last = &sighting{Time: seconds(l.Time), IP: l.IP, UserAgent: l.UserAgent}
		notice = fmt.Sprintf("Your last login was on %s from %s.", day(last.Time), last.IP)
	}
	return a.done(w, r, "/", notice, map[string]any{
		"user": s.User, "session": s.ID, "idle_expires": info.IdleExpires, "absolute_expires": info.AbsoluteExpires,
		"last_login": last, "others": infos(s.Others),
	})
}

// logout answers POST /logout. To log out twice is no mistake.
func (a *app) logout(w http.ResponseWriter, r *http.Request) error {
	if err := a.guard.Logout(r.Context()); err != nil {
		return err
	}
	return a.done(w, r, "/", "", nil)
}

// reauth answers POST /reauth: password. What was refused for want of a recent
// login is not repeated: the visitor sees his account and decides. A session that
// was only remembered becomes one with a password by it.
func (a *app) reauth(w http.ResponseWriter, r *http.Request) error {
	in, err := read(w, r, "password")
	if err != nil {
		return err
	}
	s, _ := a.guard.Current(r.Context())
	if _, wrong := a.users.check(s.User, in["password"]); wrong != "" {
		return a.wrongPassword(r, s.User).on("Confirm that it is you", nil)
	}
	proof := []scsguard.ReauthOption{scsguard.Methods("pwd"), scsguard.AAL(1)}
	if s.Remembered {
		proof = append(proof, scsguard.Full())
	}
	if _, err := a.guard.Reauthenticated(r.Context(), proof...); err != nil {
		return err
	}
	return a.done(w, r, "/", "Thank you. Please repeat what you wanted to do.", nil)
}

// password answers POST /password: password, the present one, and new. The order
// matters. What can be refused comes first; then the new password holds, so that
// nobody can begin a session with the old one; then those that did are ended.
func (a *app) password(w http.ResponseWriter, r *http.Request) error {
	in, err := read(w, r, "password", "new")
	if err != nil {
		return err
	}
	ctx := r.Context()
	s, _ := a.guard.Current(ctx)
	old, wrong := a.users.check(s.User, in["password"])
	if wrong != "" {
		return a.wrongPassword(r, s.User)
	}
	fresh := a.users.hash(in["new"])
	if _, err := a.guard.Reauthenticated(ctx, scsguard.Methods("pwd"), scsguard.AAL(1)); err != nil {
		return err
	}
	if !a.users.replace(s.User, old, fresh) {
		return a.wrongPassword(r, s.User) // it was right a moment ago; another request was faster
	}
	n, err := a.guard.EndAll(ctx, s.User, scsguard.ExceptCurrent(), scsguard.PasswordChanged())
	if err != nil {
		a.users.replace(s.User, fresh, old) // so that the same request can be made again
		return err
	}
	a.log.InfoContext(ctx, "password changed", "session", s, "ended", n)
	return a.done(w, r, "/", fmt.Sprintf("Your password is changed. Other sessions ended: %d.", n), nil)
}

// wrongPassword is 403 and not 401: the session is as good as it was.
func (a *app) wrongPassword(r *http.Request, user string) *problem {
	a.guard.LoginFailed(r.Context(), user, "reauthentication")
	return refuse(http.StatusForbidden, "wrong_password", "That is not your password.")
}

// sighting is when and from where somebody logged in.
type sighting struct {
	Time      time.Time  `json:"time"`
	Session   string     `json:"session,omitempty"`
	IP        netip.Addr `json:"ip"`
	UserAgent string     `json:"user_agent"`
}

// warnings returns the logins elsewhere that this session was not told of yet.
func (a *app) warnings(r *http.Request) ([]sighting, error) {
	told, err := a.guard.Warnings(r.Context())
	list := make([]sighting, len(told))
	for i, t := range told {
		list[i] = sighting{seconds(t.Time), t.Session, t.IP, t.UserAgent}
	}
	return list, err
}

// home answers GET /: the login form or the account to browsers, else an index.
func (a *app) home(w http.ResponseWriter, r *http.Request) error {
	if !scsguard.WantsHTML(r) {
		return writeJSON(w, map[string][]string{"endpoints": a.endpoints})
	}
	s, ok := a.guard.Current(r.Context())
	if !ok {
		return a.page(w, r, http.StatusOK, "Log in", view{})
	}
	warnings, err := a.warnings(r)
	if err != nil {
		return err
	}
	return a.page(w, r, http.StatusOK, "Your account", view{Data: map[string]any{
		"Warnings": warnings, "Info": s.Info(), "Balance": a.bank.balance(s.User), "Users": demoUsers,
	}})
}

// whoami answers GET /whoami.
func (a *app) whoami(w http.ResponseWriter, r *http.Request) error {
	warnings, err := a.warnings(r)
	if err != nil {
		return err
	}
	s, _ := a.guard.Current(r.Context())
	return writeJSON(w, map[string]any{"user": s.User, "session": s.ID, "role": s.Role, "warnings": warnings})
}

// extend answers POST /session/extend.
func (a *app) extend(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.guard.Extend(r.Context()); err != nil {
		return err
	}
	return a.done(w, r, "/", "Your session goes on.", a.guard.Status(r.Context()))
}

// list answers GET /sessions.
func (a *app) list(w http.ResponseWriter, r *http.Request) error {
	sessions, err := a.guard.Sessions(r.Context())
	if err != nil {
		return err
	}
	if scsguard.WantsHTML(r) {
		return a.page(w, r, http.StatusOK, "Your sessions", view{Data: infos(sessions)})
	}
	return writeJSON(w, map[string]any{"sessions": infos(sessions)})
}

// end ends one session of the visitor. Another user's looks like one that does
// not exist.
func (a *app) end(w http.ResponseWriter, r *http.Request) error {
	if err := a.guard.End(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return a.done(w, r, "/sessions", "The session is ended.", nil)
}

// endOthers ends all other sessions of the visitor.
func (a *app) endOthers(w http.ResponseWriter, r *http.Request) error {
	n, err := a.guard.EndOthers(r.Context())
	if err != nil {
		return err
	}
	return a.done(w, r, "/sessions", "All your other sessions are ended.", map[string]int{"ended": n})
}

func infos(sessions []scsguard.Session) []scsguard.SessionInfo {
	list := make([]scsguard.SessionInfo, len(sessions))
	for i, s := range sessions {
		list[i] = s.Info()
	}
	return list
}
