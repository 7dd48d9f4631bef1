package scsguard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/scsguard/scsguard"
)

// handle is the handler of all runs.
func (o *oracle) handle(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	run := o.runs[r.FormValue("id")]
	o.mu.Unlock()
	ctx := r.Context()
	s, ok := o.a.guard.Current(ctx)
	run.known, run.want, run.first = true, s.User, s.User
	run.begun = s.ID
	o.say("  %s begins as %q %s", run.id, s.User, o.name(s.ID))
	for _, c := range run.calls {
		before, wasLive := s, ok && o.isLive(s)
		id, err := o.call(run, c, w, ctx)
		if token := o.a.sm.Token(ctx); token != "" {
			o.mu.Lock()
			o.untold[token] = true
			o.mu.Unlock()
		}
		if s.ID != "" {
			run.was = s.User
		}
		s, ok = o.a.guard.Current(ctx)
		o.say("  %s %v = %v; now %q %s", run.id, c, err, s.User, o.name(s.ID))
		o.in(s.ID, run.browser)
		o.judgeCall(run, c, err, before, s, wasLive)
		o.expect(run, c, err, id, before, s)
		stamp := o.stamps(ctx)
		o.must(!ok || stamp == "" || stamp == s.User || o.pending(ctx, s), "foreign data in the request: %s sees what %s left", s.User, stamp)
		o.must(!run.known || run.tabs || run.late || run.want == s.User, "somebody else in the request: %q, not %q, after %v", s.User, run.want, c)
	}
	o.expectNotice(run, ctx, s)
}

// stamps returns the users who have left something in the session data.
func (o *oracle) stamps(ctx context.Context) string {
	var users []string
	for _, key := range o.a.sm.Keys(ctx) {
		if user, ok := strings.CutPrefix(key, "stamp "); ok {
			users = append(users, user)
		}
	}
	return strings.Join(users, " and ")
}

func (o *oracle) isLive(s scsguard.Session) bool {
	for _, other := range o.a.live(s.User) {
		if other.ID == s.ID {
			return true
		}
	}
	return false
}

// call makes one call. It returns the ID of the session it is about, if it is about
// one.
func (o *oracle) call(run *oracleRun, c oracleCall, w http.ResponseWriter, ctx context.Context) (string, error) {
	g, sm := o.a.guard, o.a.sm
	switch c.kind {
	case "break":
		run.broken = true
		o.breakIt(c.names)
	case "heal":
		o.breakIt(nil)
	case "pause":
		if run.resume != nil {
			o.breakIt(nil)
			run.tabs = true
			<-run.resume
		}
	case "hook":
		o.s.before(c.names[0], func() { o.nested(run, c.n, c.nested) })
	case "panic":
		panic(http.ErrAbortHandler)
	case "Login":
		s, err := g.Login(ctx, c.user, o.loginOptions(c)...)
		if err == nil {
			sm.Put(ctx, "stamp "+c.user, c.user)
			if o.setup.unaware {
				sm.Put(ctx, "user", c.user)
			}
			o.mu.Lock()
			run.logins++
			o.mu.Unlock()
		}
		return s.ID, err
	case "Logout":
		if s, ok := g.Current(ctx); ok {
			o.mu.Lock()
			o.over[s.ID] = true
			o.mu.Unlock()
		}
		return "", g.Logout(ctx)
	case "Elevate":
		return "", second(g.Elevate(ctx, "admin"))
	case "Drop":
		return "", second(g.Drop(ctx))
	case "Reauthenticated":
		if c.n%2 == 0 {
			return "", second(g.Reauthenticated(ctx, scsguard.Methods("pwd")))
		}
		s, err := g.Reauthenticated(ctx, scsguard.Full())
		if err == nil {
			o.mu.Lock()
			o.deadlines[s.ID] = time.Now().Add(oracleAbsolute)
			o.mu.Unlock()
		}
		return s.ID, err
	case "Extend":
		return "", second(g.Extend(ctx))
	case "Record":
		return "", g.Record(ctx, scsguard.Event{Kind: "transfer", Transaction: run.id})
	case "EndOthers":
		return "", second(g.EndOthers(ctx))
	case "EndAll":
		if c.n == 0 {
			return "", second(g.EndAll(ctx, c.user, scsguard.ExceptCurrent(), scsguard.PasswordChanged()))
		}
		return "", second(g.EndAll(ctx, c.user))
	case "End":
		return o.end(ctx, c)
	case "Sessions":
		return "", second(g.Sessions(ctx))
	case "RenewToken":
		return "", sm.RenewToken(ctx)
	case "Destroy":
		return "", sm.Destroy(ctx)
	case "Clear":
		return "", sm.Clear(ctx)
	case "MergeSession":
		token := o.browsers[c.n].token()
		ctx2, err := sm.Load(context.Background(), token)
		if err != nil {
			return "", err
		}
		s, _ := g.Current(ctx2)
		return s.User, sm.MergeSession(ctx, token)
	case "deadline":
		sm.SetDeadline(ctx, time.Now().Add(c.d).UTC())
	case "Put":
		sm.Put(ctx, "k", run.id)
	case "user":
		o.putUser(run, ctx, c.user)
	case "Pop":
		sm.Pop(ctx, "k")
	case "Get":
		sm.Get(ctx, "k")
	case "Commit":
		run.out = o.setup.unaware && sm.GetString(ctx, "user") == ""
		return "", second3(sm.Commit(ctx))
	case "write":
		o.expectNoticeNow(run, ctx)
		run.started = true
		err := second(io.WriteString(w, "x"))
		o.takeAnswer(run)
		return "", err
	case "flush":
		o.expectNoticeNow(run, ctx)
		run.started = true
		err := http.NewResponseController(w).Flush()
		o.takeAnswer(run)
		return "", err
	}
	return "", nil
}

func second3[A, B any](_ A, _ B, err error) error { return err }

func (o *oracle) loginOptions(c oracleCall) []scsguard.LoginOption {
	switch c.n {
	case 0:
		return []scsguard.LoginOption{scsguard.Role("clerk"), scsguard.Remembered()}
	case 1:
		if list := o.a.live(c.user); len(list) > 0 {
			return []scsguard.LoginOption{scsguard.EndSession(list[0].ID)}
		}
	}
	return nil
}

// end ends some session of the user.
func (o *oracle) end(ctx context.Context, c oracleCall) (string, error) {
	list := o.a.live(c.user)
	if len(list) == 0 {
		return "", nil
	}
	id := list[c.n%len(list)].ID
	return id, o.a.guard.End(ctx, id, scsguard.Of(c.user), scsguard.By("root"))
}

func isGrant(kind string) bool {
	switch kind {
	case "Login", "Elevate", "Reauthenticated", "Extend", "Drop":
		return true
	}
	return false
}

// judgeCall looks at what a call has promised.
func (o *oracle) judgeCall(run *oracleRun, c oracleCall, err error, before, after scsguard.Session, wasLive bool) {
	switch {
	case isGrant(c.kind) && err != nil:
		if before.ID == "" {
			o.must(after.ID == "", "logged in by a failure: %v: %v", c, err)
			return
		}
		live := o.isLive(before)
		var ended *scsguard.EndedError
		isEnded := errors.As(err, &ended)
		if live && (after.ID != "" || !run.tabs || !isEnded && !errors.Is(err, scsguard.ErrMoved)) {
			o.must(after.ID == before.ID, "a failure changed the request: %v: %v", c, err)
		}
		o.must(!isEnded || !errors.Is(err, scsguard.ErrUnavailable), "ended and unavailable: %v: %v", c, err)
		if wasLive && !live && !isEnded {
			o.readTrail()
			reason := ""
			if s := o.sessions[before.ID]; s != nil {
				reason = s.reason
			}
			o.must(run.tabs && reason != "replaced" && reason != "aborted" || reason == "idle" || reason == "absolute", "a failure ended the session: %v: %v (%s)", c, err, reason)
		}
	case c.kind == "Login" && !run.tabs:
		o.must(after.User == c.user && o.isLive(after), "a login without effect: %v", c)
	case c.kind == "Elevate" && !run.tabs:
		o.must(after.Role == "admin", "an elevation without effect: role %q", after.Role)
	case c.kind == "EndAll" && err == nil && !run.tabs:
		list := o.a.live(c.user)
		if c.n == 0 && before.User == c.user {
			o.must(after.ID == before.ID, "ExceptCurrent ended the current: %v", c)
			o.must(len(list) == 0 || len(list) == 1 && list[0].ID == before.ID, "EndAll left sessions: %v", c)
			return
		}
		o.must(len(list) == 0, "EndAll left sessions: %v", c)
		o.must(after.User != c.user, "EndAll left the current: %v", c)
	case c.kind == "EndOthers" && !run.tabs:
		if before.ID != "" {
			o.must(!errors.Is(err, scsguard.ErrNotLoggedIn), "logged in, but not for EndOthers: %v", err)
			if err == nil {
				list := o.a.live(before.User)
				o.must(len(list) == 0 || len(list) == 1 && list[0].ID == before.ID, "EndOthers left sessions: %v", c)
			}
		}
	case c.kind == "Sessions" && !run.tabs && before.ID != "" && after.ID != "":
		o.must(!errors.Is(err, scsguard.ErrNotLoggedIn), "logged in, but not for Sessions: %v", err)
	case c.kind == "Record" && err == nil && !run.tabs && before.ID != "" && after.ID != "":
		o.must(o.recordedIn(run.id, before.ID), "an event without its session: %s", before.ID)
	}
}

// recordedIn reports whether the latest event of a transaction names the session.
func (o *oracle) recordedIn(transaction, session string) bool {
	o.a.sink.mu.Lock()
	defer o.a.sink.mu.Unlock()
	for i := len(o.a.sink.lines) - 1; i >= 0; i-- {
		if line := o.a.sink.lines[i]; strings.Contains(line, fmt.Sprintf(`"transaction":%q`, transaction)) {
			return strings.Contains(line, session)
		}
	}
	return false
}

// expect follows who is to be logged in once the request is over.
func (o *oracle) expect(run *oracleRun, c oracleCall, err error, id string, before, after scsguard.Session) {
	unsure := func() { run.known, run.want, run.value = !run.tabs && after.ID == "", "", "" }
	var ended *scsguard.EndedError
	if errors.As(err, &ended) || run.fate && errors.Is(err, scsguard.ErrUnavailable) {
		run.known = false // a renewal that cannot be committed is a destruction
		return
	}
	switch c.kind {
	case "Login":
		if err == nil {
			if run.was != "" && run.was != c.user {
				run.value = ""
			}
			run.known, run.want, run.fate, run.cleared = true, c.user, false, false
		}
	case "Logout":
		run.known, run.want, run.value, run.fate = true, "", "", false
	case "EndAll":
		switch {
		case err != nil:
			run.known = false
		case run.want == c.user && (c.n != 0 || before.User != c.user):
			run.known, run.want, run.value = true, "", ""
		}
	case "End":
		if id != "" && id == before.ID {
			if run.known = err == nil; run.known {
				run.want, run.value = "", ""
			}
		}
	case "RenewToken":
		run.fate = true
		run.fresh = run.fresh || before.ID == ""
		if err != nil || run.cleared {
			run.known = false // renewed without its mark, it counts as destroyed
		}
	case "Destroy":
		run.late = run.late || run.started
		run.fresh = run.fresh || before.ID == ""
		run.known, run.want, run.value, run.fate = err == nil, "", "", false
	case "Clear":
		run.value, run.cleared = "", true
		if run.fate || after.User != run.want {
			unsure()
		}
	case "MergeSession":
		run.value = ""
		if id != "" {
			run.logins++
			run.merged = true
		}
		switch {
		case err != nil && !errors.Is(err, scsguard.ErrOtherUser):
			run.known = false
		case err == nil && id != "" && run.want == "":
			run.known = false // it depends on how far the session of the request is
		}
	case "deadline":
		if c.d <= 0 {
			run.known = false
		}
	case "Put":
		run.value = run.id
	case "Pop":
		run.value = ""
	case "Commit", "write", "flush":
		if err != nil {
			run.known = false
		}
		run.fate = false
	}
}
