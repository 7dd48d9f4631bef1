package guardtest

import (
	"fmt"
	"net/http"
)

// route checks one route, each ending in turn.
func (c *checker) route(r Route) {
	c.tb.Helper()
	if r.Target == "" && r.Request == nil {
		c.failf("a route has neither Target nor Request, so there is nothing to ask for")
		return
	}
	anonymous := c.ask(r, c.app.Browser(c.tb))
	if !c.judgeAnonymous(r, anonymous) {
		return
	}
	for _, e := range c.app.endings() {
		if !c.ending(r, e, anonymous) || c.stop != nil {
			return
		}
	}
}

// ending checks one route and one ending. It reports whether the others are worth
// trying.
func (c *checker) ending(r Route, e ending, anonymous Answer) bool {
	c.tb.Helper()
	l, err := c.logIn()
	if err != nil {
		c.stop = err
		return false
	}
	defer func() { c.leave(l) }()
	member := c.ask(r, l.b)
	if !c.judgeMember(r, l, anonymous, member) {
		return false
	}
	did := fmt.Sprintf("%q logged in, %v was answered %v, ", l.rec.User, r, member)
	if now, err := c.session(l.b); err == nil && now.Session == l.rec.Session {
		l.rec = now // perhaps with another token
	} else { // the route has ended the session, so it is tried with one that has not seen it
		if c.leave(l); c.stop != nil {
			return false
		}
		if l, err = c.logIn(); err != nil {
			c.stop = fmt.Errorf("after it had ended the session itself: %w", err)
			return false
		}
		did += "that ended the session, the user logged in again, "
	}
	b, err := e.end(c, l)
	if err != nil {
		c.stop = err
		return false
	}
	after := c.ask(r, b)
	c.judgeAfter(r, e, did+e.did+", and the request was sent again with the same cookies", anonymous, member, after)
	return true
}

// judgeAnonymous judges what a visitor without cookies gets.
func (c *checker) judgeAnonymous(r Route, a Answer) bool {
	c.tb.Helper()
	const did = "a visitor without cookies sent the request"
	switch {
	case !answered(a):
		c.failf("%v: %s; expected was a refusal, what came was %v; make the handler answer somebody who is not logged in", r, did, a)
	case a.shows(r.Private):
		c.failf("%v: %s; expected was an answer without the private words %q, what came was %v, which holds them; show them to those only whom Guard.Current knows", r, did, r.Private, a)
	case r.Public && a.Status >= 400:
		c.failf("%v: %s; expected was that he is served, since the route is declared Public, what came was %v; take the declaration away, or correct the request", r, did, a)
	case !r.Public && c.app.Refused != nil && !c.app.Refused(a):
		c.failf("%v: %s; expected was what App.Refused takes for a refusal, what came was %v; wrap the handler in Guard.RequireLogin within Guard.Protect, or declare the route Public", r, did, a)
	default:
		return true
	}
	return false
}

// answered reports whether the answer is the application's own will.
func answered(a Answer) bool {
	return a.Err == nil && a.Status > 0 && a.Status < http.StatusInternalServerError
}

// judgeMember judges what the user gets while his session lives.
func (c *checker) judgeMember(r Route, l login, anonymous, a Answer) bool {
	c.tb.Helper()
	did := fmt.Sprintf("%q logged in and sent the request", l.rec.User)
	switch {
	case a.Err != nil, a.Status == 0, r.Status == 0 && a.Status >= 400, r.Status != 0 && a.Status != r.Status:
		want := "a status below 400"
		if r.Status != 0 {
			want = fmt.Sprintf("status %d", r.Status)
		}
		c.failf("%v: %s; expected was that he is served, with %s, what came was %v, so a refusal later would prove nothing; correct the request, or say in Route.Status what he gets", r, did, want, a)
	case r.Private != "" && !a.shows(r.Private):
		c.failf("%v: %s; expected were the private words %q in the answer, what came was %v; name words that he gets to see", r, did, r.Private, a)
	case !r.Public && c.app.Refused != nil && c.app.Refused(a):
		c.failf("%v: %s; expected was that he is served, what came was %v, which App.Refused takes for a refusal; correct the request, or App.Refused", r, did, a)
	case !r.Public && c.app.Refused == nil && a.alike(anonymous, r.Private):
		c.failf("%v: %s; expected was another answer than a visitor without cookies gets, what came was %v for both, so the route asks nobody who he is; wrap its handler in Guard.RequireLogin within Guard.Protect, declare it Public, or name in Route.Private the words by which the answers differ", r, did, a)
	default:
		return true
	}
	return false
}

// judgeAfter judges what comes when the session is over.
func (c *checker) judgeAfter(r Route, e ending, did string, anonymous, member, a Answer) {
	c.tb.Helper()
	if !r.Public || r.Private != "" {
		c.proved++
	}
	switch {
	case !answered(a):
		c.failf("%v after %s: %s; expected was %s, what came was %v; a session that is over is no error of the server, so refuse its visitor", r, e.after, did, c.wanted(r, anonymous), a)
	case a.shows(r.Private):
		c.failf("%v after %s: %s; expected was %s, what came was %v, which holds the private words %q; ask Guard.Current at each request, and remember nowhere else who is logged in", r, e.after, did, c.wanted(r, anonymous), a, r.Private)
	case r.Public:
	case !c.refused(r, anonymous, a):
		c.failf("%v after %s: %s; expected was %s, what came was %v; wrap the handler in Guard.RequireLogin within Guard.Protect, and remember nowhere else, such as in a cookie or a map, who is logged in", r, e.after, did, c.wanted(r, anonymous), a)
	}
}

func (c *checker) refused(r Route, anonymous, a Answer) bool {
	if c.app.Refused != nil {
		return c.app.Refused(a)
	}
	return a.Status == http.StatusUnauthorized || a.alike(anonymous, r.Private)
}

// wanted names what would have been right.
func (c *checker) wanted(r Route, anonymous Answer) string {
	switch {
	case r.Public && r.Private == "":
		return "some answer"
	case r.Public:
		return "an answer without private words"
	case c.app.Refused != nil:
		return "what App.Refused takes for a refusal"
	case anonymous.Status == http.StatusUnauthorized:
		return "status 401"
	}
	return fmt.Sprintf("status 401, or %v as for a visitor without cookies", anonymous)
}
