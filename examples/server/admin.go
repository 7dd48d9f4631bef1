package main

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/scsguard/scsguard"
)

// Everybody logs in with roleUser; adminUser can raise his session to the other.
const adminUser, roleUser, roleAdministrator = "admin", "user", "administrator"

// administrators lets those pass who may administer and have raised their
// session to it.
func (a *app) administrators(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := a.guard.Current(r.Context())
		switch {
		case s.User != adminUser:
			a.fail(w, r, errNotAdmin)
		case s.Role != roleAdministrator:
			a.fail(w, r, refuse(http.StatusForbidden, "elevation_required", "Please prove that you are the administrator.").on("Confirm who you are", nil))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

var errNotAdmin = refuse(http.StatusForbidden, "forbidden", "Only the administrator may do that.")

// elevate answers POST /elevate: password. The session gets a new token and the
// role of an administrator, which is in the trail before it holds.
func (a *app) elevate(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	s, _ := a.guard.Current(ctx)
	if s.User != adminUser {
		return errNotAdmin
	}
	in, err := read(w, r, "password")
	if err != nil {
		return err
	}
	if _, wrong := a.users.check(s.User, in["password"]); wrong != "" {
		return a.wrongPassword(r, s.User).on("Confirm who you are", nil)
	}
	s, err = a.guard.Elevate(ctx, roleAdministrator, scsguard.Methods("pwd"), scsguard.AAL(1))
	if err != nil {
		return err
	}
	a.log.InfoContext(ctx, "elevated", "session", s, "role", s.Role)
	return a.done(w, r, "/admin/", "", map[string]string{"user": s.User, "session": s.ID, "role": s.Role})
}

// administration answers GET /admin/.
func (a *app) administration(w http.ResponseWriter, r *http.Request) error {
	var list []map[string]any
	for _, user := range demoUsers {
		sessions, err := a.guard.SessionsOf(r.Context(), user)
		if err != nil {
			return err
		}
		list = append(list, map[string]any{"user": user, "sessions": len(sessions)})
	}
	if scsguard.WantsHTML(r) {
		return a.page(w, r, http.StatusOK, "Administration", view{Data: list})
	}
	return writeJSON(w, map[string]any{"users": list})
}

// endUser answers POST /admin/users/{user}/end-sessions. The trail says by whom.
func (a *app) endUser(w http.ResponseWriter, r *http.Request) error {
	user := r.PathValue("user")
	if !slices.Contains(demoUsers, user) {
		return refuse(http.StatusNotFound, "not_found", "There is no such user.")
	}
	s, _ := a.guard.Current(r.Context())
	n, err := a.guard.EndAll(r.Context(), user, scsguard.By(s.User))
	if err != nil {
		return err
	}
	return a.done(w, r, "/admin/", fmt.Sprintf("Sessions of %s ended: %d.", user, n), map[string]int{"ended": n})
}
