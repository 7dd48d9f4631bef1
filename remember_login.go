package scsguard

import (
	"context"
	"net/http"
	"time"
)

// familyCookie is the remember-me cookie that a response carries.
type familyCookie struct {
	token   rememberToken
	expires time.Time // by this process's clock
	// restored says that the token is the family's good one whatever becomes of
	// the session; else it is of a login that the browser has to hear of, too.
	restored bool
	// session is the token of a session that another request has restored, for a
	// browser that may not have got the answer to that.
	session string
	clear   bool
}

func (r *request) setFamilyCookie(c *familyCookie) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.family = c
}

// weaken takes from a login by a remember-me token what such a token cannot prove.
func (o *loginOptions) weaken() {
	if o.remembered {
		o.methods, o.aal = nil, min(o.aal, 1)
	}
}

// remembered completes the record of a login that rests on a remember-me token.
// It proves that the browser is the same, and not who sits in front of it: the
// session is one that was never authenticated, and that was left alone too long
// for any [Guard.LimitIdle].
func (l *login) remembered() {
	if !l.o.remembered {
		return
	}
	if !l.o.atGiven { // who does not say when counts as before any EndAll
		l.proved = time.Time{}
	}
	l.rec.AuthTime, l.rec.LongestGap = time.Time{}, l.limits.Absolute
	k := l.o.restores
	if k == nil {
		return
	}
	l.rec.Remember = k.ID
	if end := k.local(k.Expires); end.Before(l.rec.Absolute) {
		l.rec.Absolute = end
	}
	if l.limit.OnExceed == EvictOldest {
		l.limit.OnExceed = Deny // who comes back by himself throws out nobody who is there
	}
}

// claimsPlace says whose place a restored session takes: that of the last session
// of its browser, which has lost it, and of any other login by the same token.
func (l *login) claimsPlace(a *Admission) {
	k := l.o.restores
	if k == nil {
		return
	}
	a.Browser = Key("remember:" + k.ID)
	if a.Replaces == "" {
		a.Replaces = k.Session
	}
}

// begin begins a family before the login does, so that the login's record names
// it. Until the login is through nobody knows its token. An EndAll between the two
// refuses the login or ends the family: Since is the moment before.
func (l *login) begin(ctx context.Context) {
	if !l.o.remember {
		return
	}
	g := l.g
	token := g.newRememberToken(newSessionID())
	k, err := g.loadFamily(ctx, token.family)
	if err != nil {
		return // health knows; the user is logged in and not remembered
	}
	f := family{
		ID: token.family, User: l.user, AAL: l.rec.AAL, Created: k.now, Since: k.now, Expires: k.now.Add(g.cfg.Remember.Lifetime),
		Device: g.rememberedDevice(g.cfg.Keys[0], l.r), Current: token.hash(), Session: l.rec.Session,
	}
	if won, err := g.swapFamily(ctx, k, f); !won || err != nil {
		return
	}
	l.rec.Remember = f.ID
	l.cookie = &familyCookie{token: token, expires: k.local(f.Expires)}
}

// settleFamilies is called when a login of the application has succeeded or
// failed. A new family without a session is dropped. One of the browser from
// before ends with a login that takes its place: whoever it was of, he must not
// come back when this session is over.
func (l *login) settleFamilies(ctx context.Context, failed bool) {
	g, r := l.g, l.r
	if _, ok := r.session(); failed || !ok {
		if l.cookie != nil {
			_ = g.endFamily(ctx, r, l.rec.Remember, l.rec.Session, Ending{}) // nobody has its token
		}
		return
	}
	replaced := Ending{Reason: EndReplaced, Detail: l.rec.Session}
	if l.had && l.prior.Remember != "" {
		_ = g.mustEndFamily(ctx, r, l.prior.Remember, "", replaced)
	}
	cookie := l.cookie
	if t, ok := g.rememberTokenOf(r, r.http); ok {
		_ = g.mustEndFamily(ctx, r, t.family, "", replaced)
		if cookie == nil {
			cookie = &familyCookie{clear: true}
		}
	}
	r.setFamilyCookie(cookie)
}

// forget ends the family of the browser's cookie, after a logout. The family of a
// session that has ended is ended by afterEnd.
func (g *Guard) forget(ctx context.Context, r *request) error {
	t, ok := g.rememberTokenOf(r, r.http)
	if !ok {
		return nil
	}
	r.setFamilyCookie(&familyCookie{clear: true})
	return g.mustEndFamily(ctx, r, t.family, "", Ending{Reason: EndUser})
}

// endFamilyOf ends the family of a session that was ended on purpose, and reports
// whether that is done.
func (g *Guard) endFamilyOf(ctx context.Context, r *request, rec *Record) bool {
	if rec.Remember == "" || g.cfg.Remember.Store == nil || !rec.endsFamily() {
		return true
	}
	return g.mustEndFamily(ctx, r, rec.Remember, rec.Session, rec.Ending) == nil
}

// sinceMargin is how far the registry's reading of a time and the store's may be
// apart.
const sinceMargin = time.Second

// spareFamily deals with the family of a session that was excepted from an EndAll,
// which moves the moment before which nothing of the user is accepted. It goes on
// after EndOthers. After any other it has ended: what was changed was probably the
// password that it stands for.
func (g *Guard) spareFamily(ctx context.Context, own Record, rev Revocation, revoked Revoked) {
	if own.Remember == "" || g.cfg.Remember.Store == nil || rev.External != "" || !rev.Everyone && rev.User != own.User {
		return
	}
	if rev.Ending.Reason != EndUser {
		_ = g.mustEndFamily(ctx, nil, own.Remember, own.Session, rev.Ending)
		return
	}
	// If this fails the browser is not remembered: the user can log in.
	_ = g.changeFamily(ctx, own.Remember, func(k keptFamily) (family, bool) {
		now, err := g.get(ctx, own.Key)
		if err != nil || now.State != StateLive || k.local(k.Since).Before(revoked.Before) {
			return family{}, false // ended meanwhile, or by an EndAll before
		}
		next := k.family
		next.Since = k.now.Add(sinceMargin)
		return next, true
	})
}

// writeFamily writes the remember-me cookie, and for a request that has joined the
// session of another also the session's, if they are still the good ones: a slow
// answer must not take the browser back to an older token. saved says that the
// session was saved. It runs right before the first byte.
func (g *Guard) writeFamily(ctx context.Context, r *request, w http.ResponseWriter, saved, destroyed bool) {
	if g.cfg.Remember.Store == nil {
		return
	}
	r.mu.Lock()
	c, stale, came, rec := r.family, r.stale, r.came, r.rec
	isLive, wasLive := r.phase == live, r.wasLive
	r.mu.Unlock()
	switch {
	case (c == nil || c.restored) && destroyed && wasLive, c != nil && c.clear:
		if _, ok := g.rememberTokenOf(r, r.http); ok && !stale {
			g.setRememberCookie(w, "", -1)
		}
		return
	case c == nil:
		return
	case !c.restored:
		if saved && isLive && !stale {
			g.setRememberCookie(w, c.token.cookie(), time.Until(c.expires))
		}
		return
	}
	if k, err := g.loadFamily(context.WithoutCancel(ctx), c.token.family); err == nil && (!k.lives() || k.Current != c.token.hash()) {
		return // if nobody can say, the token that was given out last is the best guess
	}
	g.setRememberCookie(w, c.token.cookie(), time.Until(c.expires))
	if c.session == "" || !isLive || stale || !saved || came != rec.Key || g.setsSession(w) {
		return
	}
	if now, err := g.get(context.WithoutCancel(ctx), rec.Key); err == nil && now.State == StateLive {
		g.sm.WriteSessionCookie(ctx, w, c.session, now.Absolute)
	}
}

// setsSession reports whether the response has the session's cookie already.
func (g *Guard) setsSession(w http.ResponseWriter) bool {
	for _, cookie := range w.Header()["Set-Cookie"] {
		if isCookie(cookie, g.sm.Cookie.Name) {
			return true
		}
	}
	return false
}

func (g *Guard) setRememberCookie(w http.ResponseWriter, value string, left time.Duration) {
	c := &http.Cookie{
		Name: g.cfg.Remember.Cookie, Value: value, Path: "/", MaxAge: int(left / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if left < time.Second {
		c.Value, c.MaxAge = "", -1
	}
	if g.sm.Cookie.SameSite == http.SameSiteStrictMode {
		c.SameSite = http.SameSiteStrictMode // where the session cookie does not go, this must not begin another session
	}
	http.SetCookie(w, c)
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", `no-cache="Set-Cookie"`) // as scs does
	}
}
