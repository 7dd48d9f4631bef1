package scsguard

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// restoring is one request that may get a session by its remember-me token.
type restoring struct {
	g        *Guard
	original *http.Request // before any session was loaded
	req      *http.Request // as the handler will get it
	r        *request
	token    rememberToken
	waited   time.Duration
}

const (
	// restorePause is how often is looked whether another request of the same
	// browser has come to an end with the same token.
	restorePause = 20 * time.Millisecond
	// restorePatience is how long: until the claim of a process that has died is
	// over, and somebody else has done it.
	restorePatience = 2 * Lease
	// maxRestores bounds how often a request starts anew because others were faster.
	maxRestores = 64
)

var (
	errRestore = errors.New("another request holds the token for too long")
	errLate    = errors.New("the claim is as good as over")
)

// restore logs the visitor in by his remember-me token, if nobody is logged in and
// he has one. What it returns is the request to go on with: another one if the
// session was restored by a parallel request already.
//
// A refusal leaves the visitor anonymous and his token as it was. That something
// could not be reached is no reason to refuse the request either, since nobody was
// logged in; but Ended says so, and RequireLogin answers 503.
func (g *Guard) restore(original, req *http.Request, r *request) (*http.Request, *request) {
	if g.cfg.Remember.Store == nil || !r.mayRestore() || g.open() != nil || !g.cfg.Remember.When(original) {
		return req, r
	}
	token, ok := g.rememberTokenOf(r, original)
	if !ok {
		return req, r
	}
	s := &restoring{g: g, original: original, req: req, r: r, token: token}
	err := s.run()
	g.tellPostponed(s.req.Context(), s.r)
	if errors.Is(err, ErrUnavailable) {
		s.r.mu.Lock()
		s.r.unrestored = true
		s.r.mu.Unlock()
	}
	return s.req, s.r
}

// mayRestore reports whether the request has no session and nothing speaks
// against giving it one. One that was ended on purpose is not to be followed by
// another: its family has ended or is about to. While a renewal is under way the
// browser has a session all the same.
func (r *request) mayRestore() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase != live && r.phase != graced && !r.passive && !r.rec.endsFamily() && r.rec.State != StateDetached
}

// endsFamily reports whether the session was ended on purpose, so that its
// browser must not come back by itself.
func (r *Record) endsFamily() bool {
	if r.State != StateEnded {
		return false
	}
	switch r.Ending.Reason {
	case EndUser, EndAdmin, EndRevoked, EndDestroyed:
		return true
	}
	return false
}

func (s *restoring) run() error {
	g, ctx := s.g, s.req.Context()
	for range maxRestores {
		k, err := g.loadFamily(ctx, s.token.family)
		if err != nil {
			return err
		}
		if !k.lives() {
			return nil
		}
		if !g.isRememberedDevice(s.r, k.Device) {
			return s.stolen(k, "other_device")
		}
		done := false
		switch hash := s.token.hash(); {
		case hash == k.Current && k.Owner != "" && k.now.Before(k.Lease):
			err = s.wait(ctx)
		case hash == k.Current:
			done, err = s.use(k)
		case hash == k.Used && k.now.Before(k.UsedUntil):
			done, err = s.follow(k)
		default:
			return s.stolen(k, "used_token")
		}
		if done || err != nil {
			return err
		}
	}
	return s.busy()
}

func (s *restoring) busy() error {
	return &UnavailableError{Component: ComponentRemember, Op: "wait", Err: errRestore}
}

// wait lets the request that has claimed the family go on.
func (s *restoring) wait(ctx context.Context) error {
	for s.waited < restorePatience {
		timer := time.NewTimer(restorePause)
		select {
		case <-timer.C:
			s.waited += restorePause
		case <-ctx.Done():
			timer.Stop()
			return &UnavailableError{Component: ComponentRemember, Op: "wait", Err: ctx.Err()}
		}
		k, err := s.g.loadFamily(ctx, s.token.family)
		if err != nil || k.Owner == "" || !k.now.Before(k.Lease) {
			return err
		}
	}
	return s.busy()
}

// use claims the family, logs its user in and makes the next token the good one.
// It reports whether the visitor's case is decided.
func (s *restoring) use(k keptFamily) (done bool, err error) {
	g, r, ctx := s.g, s.r, s.req.Context()
	claim := k.family
	claim.Owner, claim.Lease = newSessionID(), k.now.Add(Lease)
	if won, err := g.swapFamily(ctx, k, claim); !won || err != nil {
		return false, err
	}
	claimed := k
	claimed.family, claimed.raw = claim, claim.encode()

	session, err := s.login(&claimed)
	if err != nil {
		if errors.Is(err, ErrRevoked) { // nothing makes it good again
			_ = g.mustEndFamily(ctx, r, claim.ID, "", Ending{Reason: EndRevoked})
			return true, err
		}
		free := claim
		free.Owner, free.Lease = "", time.Time{}
		_, _ = g.swapFamily(ctx, claimed, free) // else its lease ends it
		if errors.Is(err, errLate) {
			return false, nil
		}
		return true, err
	}

	if err := s.fill(session); err != nil {
		s.takeBack()
		_, _ = g.swapFamily(ctx, claimed, k.family) // else its lease ends it
		return true, err
	}

	next := g.newRememberToken(claim.ID)
	used := claim
	used.Owner, used.Lease = "", time.Time{}
	used.Current, used.Session = next.hash(), session.ID
	used.Used, used.UsedBy = claim.Current, g.fingerprint(r).exact
	used.UsedUntil = k.now.Add(time.Since(k.asked)).Add(g.cfg.Remember.Grace)
	used.Answer = g.sealAnswer(s.token, next, g.sm.Token(ctx))
	won, err := g.swapFamily(ctx, claimed, used)
	if err != nil { // it may have happened nevertheless
		if now, again := g.loadFamily(context.WithoutCancel(ctx), claim.ID); again == nil && now.Current == used.Current {
			won, err = true, nil
		}
	}
	if !won {
		// The family was ended meanwhile, or this took longer than a lease and
		// somebody else has done it: there must not be a session that no token of the
		// family stands for.
		s.takeBack()
		return err != nil, err
	}
	r.setFamilyCookie(&familyCookie{token: next, expires: claimed.local(used.Expires), restored: true})
	return true, nil
}

// fill lets the application put into a restored session what it puts there at a
// login. Others join the session as soon as the token is used, so it is stored
// before.
func (s *restoring) fill(session Session) error {
	hook, ctx := s.g.cfg.Remember.OnRestore, s.req.Context()
	if hook == nil {
		return nil
	}
	hook(ctx, session)
	s.r.turn.Lock()
	defer s.r.turn.Unlock()
	_, _, err := s.g.commit(ctx, s.r)
	return err
}

// takeBack ends a restored session that no token stands for.
func (s *restoring) takeBack() {
	if rec, ok := s.r.session(); ok {
		dead, _, _ := s.g.end(s.req.Context(), s.r, Target{Key: rec.Key}, Ending{Reason: EndAborted}) // retried by end
		s.r.close(dead, true)
	}
}

// login is the login by a token.
func (s *restoring) login(k *keptFamily) (Session, error) {
	g, r, ctx := s.g, s.r, s.req.Context()
	o := loginOptions{remembered: true, restores: k}
	o.aal, o.at, o.atGiven = k.AAL, k.local(k.Since), true
	if decide := g.cfg.Remember.Role; decide != nil {
		var err error
		if o.role, err = decide(ctx, k.User); err != nil {
			e := g.event(r, EventLoginDenied, Record{User: k.User})
			e.Outcome, e.Reason = OutcomeFailure, "application"
			e.detail("remembered", "true")
			e.detail("remember_id", k.ID)
			g.recordCoalesced(ctx, r, "denied", e.IP.String()+"\x00"+k.User, e)
			return Session{}, err
		}
	}
	if time.Since(k.asked) > Lease/2 {
		return Session{}, errLate // it would take the place of a session that somebody else has restored
	}
	r.turn.Lock()
	defer r.turn.Unlock()
	session, err := (&login{g: g, r: r, user: k.User, o: o}).run(ctx)
	if _, ok := r.session(); err == nil && !ok { // somebody else's login has taken its place already
		err = ErrMoved
	}
	return session, err
}

// follow gives the request the session that another one of the same browser has
// restored with the same token.
func (s *restoring) follow(k keptFamily) (done bool, err error) {
	g := s.g
	if !g.sameDevice(s.r, k.UsedBy) {
		// Parallel requests come from one place. From another it may be a thief or a
		// browser that changes its network: it gets nothing, and loses nothing.
		g.recordCoalesced(s.req.Context(), s.r, "reuse", k.ID, g.familyReused(s.r, k, "other_network"))
		return true, nil
	}
	next, session, ok := g.openAnswer(s.token, k.Answer)
	if !ok {
		return true, nil // under a key that is not known any more
	}
	cookie := &familyCookie{token: next, expires: k.local(k.Expires), restored: true, session: session}
	if done, err := s.join(session, cookie); done || err != nil {
		return done, err
	}
	s.token = next // the session is over already, and the next token is as good as this one
	return false, nil
}

// join loads a session in place of the one the request came with.
func (s *restoring) join(token string, cookie *familyCookie) (bool, error) {
	g := s.g
	r := g.newRequest(s.original)
	r.arrived = s.r.arrived
	ctx, err := g.load(g.withRequest(s.original.Context(), r), r, token)
	g.tellPostponed(ctx, r)
	if err != nil {
		return false, err
	}
	if _, ok := r.session(); !ok {
		return false, nil
	}
	s.req, s.r = s.original.WithContext(ctx), r
	r.mu.Lock()
	r.http, r.ctx, r.deadline, r.family = s.req, ctx, g.sm.Deadline(ctx), cookie
	r.mu.Unlock()
	return true, nil
}

// detailTokenReuse is the Detail of the ending of a session whose remember-me
// token somebody has copied.
const detailTokenReuse = "remember_token_reuse"

func (g *Guard) familyReused(r *request, k keptFamily, why string) Event {
	e := g.event(r, EventTokenReuse, Record{User: k.User, Session: k.Session})
	e.Outcome, e.Reason = OutcomeFailure, why
	e.detail("remember_id", k.ID)
	return e
}

// stolen ends a family whose token is in two hands, and the session that was
// restored by it last: nobody can say which of the two has that. The one who is
// its owner can log in.
func (s *restoring) stolen(k keptFamily, why string) error {
	g, r, ctx := s.g, s.r, s.req.Context()
	e := g.familyReused(r, k, why)
	e.ID = k.ID + "/reuse" // a family ends by it once, also if several notice
	g.recordCoalesced(ctx, r, "reuse", k.ID, e)
	return g.mustEndFamily(ctx, r, k.ID, "", Ending{Reason: EndRevoked, Detail: detailTokenReuse})
}
