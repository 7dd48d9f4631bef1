package guardtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scsguard/scsguard"
)

// Check proves that every route refuses whoever comes with the cookies of a
// session that is over: after the idle timeout, after the absolute timeout, after
// Guard.EndAll, and, with App.Logout, a copy of the cookies after the logout.
//
// For each route, Check asks as a visitor without cookies. Then, for each of these
// endings, it logs in, asks as the user, ends the session, and asks again in the
// same browser. A route that ends the session itself is asked again after another
// login. So Check logs in three or four times for each route, and each request
// takes place as often.
//
// A refusal is status 401, or the answer that a visitor without cookies gets: the
// same status, and for a redirect the same path. App.Refused can say what else
// is. An answer of 500 and above never is.
//
// Each wrong answer is reported by Errorf, in a sentence: what was done, what was
// expected, what came. What proves nothing is an error as well: no routes, a login
// that begins no session, a route that a user who is logged in does not get
// (Route.Status), one that answers everybody alike (Route.Private, Route.Public),
// and a list of routes of which each is Public without Private words. Where Check
// cannot go on it stops the test. It knows only the routes in the list: keep the
// list beside the routing table, or make both from one.
//
// Check changes nothing in the guard, and ends only the sessions that it has begun
// and, by EndAll, others of the same user. It works inside and outside of
// testing/synctest bubbles; see [ExpireIdle]. Call it from the test's goroutine.
func (a *App) Check(tb testing.TB, routes ...Route) {
	tb.Helper()
	if err := a.ready(routes); err != nil {
		tb.Fatalf("guardtest: %v", err)
		return
	}
	app := *a
	if app.Registry == nil {
		app.Registry = app.Guard.Registry()
	}
	c := &checker{app: &app, tb: tb}
	for _, r := range routes {
		c.route(r)
		if c.stop != nil {
			tb.Fatalf("guardtest: %s: %v%s", r, c.stop, c.health())
			return
		}
	}
	if c.proved == 0 && c.failed == 0 {
		tb.Errorf("guardtest: nothing was tested: every route is Public and none has Private words; add the routes that need a login")
	}
}

// ready says what is missing.
func (a *App) ready(routes []Route) error {
	switch {
	case a.Guard == nil:
		return errors.New("App.Guard is nil; give the application's guard")
	case a.Handler == nil:
		return errors.New("App.Handler is nil; give what the application serves, Guard.Protect included")
	case a.Login == nil:
		return errors.New("App.Login is nil; give LoginForm, or a function that logs the browser in")
	case len(routes) == 0:
		return errors.New("there are no routes, so nothing would be tested; name those that need a login")
	}
	return nil
}

// checker is one run of Check.
type checker struct {
	app    *App
	tb     testing.TB
	proved int   // judgements that could have failed
	failed int   // reports
	stop   error // why no other route can be checked
}

func (c *checker) failf(format string, args ...any) {
	c.tb.Helper()
	c.failed++
	c.tb.Errorf("guardtest: "+format+"%s", append(args, c.health())...)
}

// health is what the guard itself says is wrong.
func (c *checker) health() string {
	var b strings.Builder
	for _, p := range c.app.Guard.Health().Problems {
		fmt.Fprintf(&b, "\n\tthe guard reports, %s: %v", p.Component, p.Err)
	}
	return b.String()
}

// login is a browser that is logged in.
type login struct {
	b   *Browser
	rec scsguard.Record
}

// logIn begins a session. Its failure is the same for all routes.
func (c *checker) logIn() (login, error) {
	b := c.app.Browser(c.tb)
	answer := c.app.Login(b)
	rec, err := c.session(b)
	if err != nil {
		return login{}, fmt.Errorf("the login answered %v, and no cookie of the browser leads to a live session (%w); is it the right user and password, is App.Guard the guard of the handler, and App.Registry its own, or nil?", answer, err)
	}
	ctx, cancel := limited()
	defer cancel()
	known, err := c.app.Guard.SessionsOf(ctx, rec.User)
	if err != nil {
		return login{}, fmt.Errorf("the guard cannot say which sessions there are: %w", err)
	}
	for _, s := range known {
		if s.ID == rec.Session {
			return login{b, rec}, nil
		}
	}
	return login{}, fmt.Errorf("%q is logged in, but App.Guard knows nothing of the session %s; give the guard that the handler uses", rec.User, rec.Session)
}

// session returns the live session that the browser has, whatever its cookie is
// called.
func (c *checker) session(b *Browser) (scsguard.Record, error) {
	ctx, cancel := limited()
	defer cancel()
	cause := errors.New("it has no cookie that could be a session's")
	for _, cookie := range b.jar.all() {
		if !isToken(cookie.Value) {
			continue
		}
		rec, err := find(ctx, c.app.Registry, cookie.Value)
		switch {
		case err != nil:
			cause = fmt.Errorf("cookie %s: %w", cookie.Name, err)
		case rec.State != scsguard.StateLive:
			cause = fmt.Errorf("cookie %s: its session is %v%s", cookie.Name, rec.State, because(rec))
		default:
			if over, yes := rec.Overdue(time.Now()); !yes {
				return rec, nil
			} else {
				cause = fmt.Errorf("cookie %s: its session is over (%s)", cookie.Name, over.Reason)
			}
		}
	}
	return scsguard.Record{}, cause
}

// leave ends a session that lives on, so that the next login has a place.
func (c *checker) leave(l login) {
	ctx, cancel := limited()
	defer cancel()
	rec, err := follow(ctx, c.app.Registry, l.rec.Key)
	if _, over := rec.Overdue(time.Now()); err == nil && (over || rec.State != scsguard.StateLive) {
		return // it has ended, or the guard will find that it is over
	}
	err = c.app.Guard.End(ctx, l.rec.Session, scsguard.Of(l.rec.User), scsguard.By("guardtest"))
	if err != nil && !errors.Is(err, scsguard.ErrNotFound) {
		c.stop = fmt.Errorf("the session %s could not be ended: %w", l.rec.Session, err)
	}
}

// ask sends a route's request.
func (c *checker) ask(r Route, b *Browser) Answer {
	within := r.Within
	if within <= 0 {
		within = patience
	}
	req, err := r.request(b)
	if err != nil {
		return Answer{Err: fmt.Errorf("the request could not be made: %w", err)}
	}
	ctx, cancel := context.WithTimeout(req.Context(), within)
	defer cancel()
	return b.exchange(req.WithContext(ctx))
}
