package scsguard_test

import (
	"context"
	"strings"

	"github.com/scsguard/scsguard"
)

// Handlers that have never heard of the guard, under Config.UserID: they put the
// user key and remove it, and when the session is saved the guard is to make of it
// what its verbs would have done.

// putUser changes the user key, and removes what other users have left. user may
// be "".
func (o *oracle) putUser(run *oracleRun, ctx context.Context, user string) {
	if !o.setup.unaware {
		return
	}
	sm := o.a.sm
	for _, key := range sm.Keys(ctx) {
		if strings.HasPrefix(key, "stamp ") && key != "stamp "+user {
			sm.Remove(ctx, key)
		}
	}
	if user == "" {
		sm.Remove(ctx, "user")
		return
	}
	sm.Put(ctx, "user", user)
	o.mu.Lock()
	run.logins++
	o.mu.Unlock()
}

// expectNoticeNow is expectNotice for the first byte, at which the session is saved.
func (o *oracle) expectNoticeNow(run *oracleRun, ctx context.Context) {
	if !run.started {
		s, _ := o.a.guard.Current(ctx)
		o.expectNotice(run, ctx, s)
	}
}

// pending reports whether the user key says somebody else than the session.
func (o *oracle) pending(ctx context.Context, s scsguard.Session) bool {
	return o.setup.unaware && o.a.sm.GetString(ctx, "user") != s.User
}

// expectNotice follows what is to be noticed when the session is saved: now, or
// after the first byte.
func (o *oracle) expectNotice(run *oracleRun, ctx context.Context, s scsguard.Session) {
	if !o.pending(ctx, s) {
		return
	}
	user := o.a.sm.GetString(ctx, "user")
	if run.started && user != "" { // too late for a login: nothing is stored
		run.value = ""
		return
	}
	if s.ID == "" && user == run.was && o.a.sm.Exists(ctx, "__scsguard") {
		return // what is left of a session that has ended
	}
	if run.was != "" && user != run.was {
		run.value = "" // whose it is depends on how it was changed
	}
	run.want, run.fate, run.cleared = user, false, false
}
