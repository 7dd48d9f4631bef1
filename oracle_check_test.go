package scsguard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing/synctest"
	"time"

	"github.com/scsguard/scsguard"
)

// probe says who a token is, without being activity.
func (o *oracle) probe(w http.ResponseWriter, r *http.Request) {
	s, _ := o.a.guard.Current(r.Context())
	_, _ = fmt.Fprintf(w, "%s|%s|%s|%s", s.ID, s.User, o.stamps(r.Context()), o.a.sm.GetString(r.Context(), "k"))
}

// seen is what a token leads to.
type seen struct{ session, user, stamp, value string }

func (o *oracle) ask(b *browser) seen {
	res := b.copy().get("/probe")
	o.must(res.Code == http.StatusOK, "a token is not served: status %d", res.Code)
	f := strings.Split(res.Body, "|")
	if len(f) != 4 {
		return seen{}
	}
	return seen{f[0], f[1], f[2], f[3]}
}

// after looks at the browser after a request that is over.
func (o *oracle) after(run *oracleRun) {
	b := o.browsers[run.browser]
	now := o.ask(b)
	o.say("  browser %d is %q %s", run.browser, now.user, o.name(now.session))
	if run.tabs {
		return
	}
	if run.code != http.StatusOK || run.panicked && !run.started {
		o.must(now.user == "" || now.user == run.first || now.user == run.want || !run.known, "logged in by a failed response: %q", now.user)
		return
	}
	if !run.known || run.broken && now.session != "" && (now.session == run.begun || run.late || o.over[now.session]) {
		return // an ending that failed is being repeated
	}
	o.must(now.user == run.want, "the browser is not who it should be: %q, not %q", now.user, run.want)
	if run.want != "" && run.value != "" && !run.broken && !run.panicked {
		o.must(now.value == run.value, "a value is lost: %q, not %q", now.value, run.value)
	}
}

// readTrail takes notice of what is new in the trail.
func (o *oracle) readTrail() {
	o.a.sink.mu.Lock()
	lines := o.a.sink.lines[o.lines:]
	o.lines = len(o.a.sink.lines)
	o.a.sink.mu.Unlock()
	for _, line := range lines {
		var e struct {
			ID, Event, Outcome, Session, User, Reason string
			Details                                   map[string]string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			o.must(false, "unreadable: %s", line)
			return
		}
		o.mu.Lock()
		if id := e.Details["retracts"]; id != "" {
			o.retracted[id] = true
		}
		s := o.sessions[e.Session]
		if s == nil && e.Session != "" {
			s = &oracleSession{user: e.User}
			o.sessions[e.Session] = s
		}
		old, again := o.endings[e.ID]
		o.mu.Unlock()
		switch scsguard.EventKind(e.Event) {
		case scsguard.EventLogin:
			switch {
			case e.Outcome == "success":
				s.login = e.ID
			case s != nil: // one that came after the first byte has no session
				s.failed = true
			}
		case scsguard.EventEnroll:
			o.must(false, "a login that was not noticed: %s", line)
		case scsguard.EventLogout, scsguard.EventTimeout:
			o.must(e.ID == e.Session+"/end", "an ending with another ID: %s", line)
			o.must(!again || old == line, "two endings: %s and %s", old, line)
			o.mu.Lock()
			o.endings[e.ID] = line
			o.mu.Unlock()
			s.reason = e.Reason
		}
	}
}

// check looks at everything. At rest more is true than in between.
func (o *oracle) check(rest bool) {
	synctest.Wait()
	if o.violation != "" {
		return
	}
	o.readTrail()
	living, now := o.living(), time.Now()
	count := make(map[string]int)
	for id, s := range living {
		count[s.User]++
		if e := o.sessions[id]; e == nil || e.reason != "" || e.login == "" || e.user != s.User {
			o.must(false, "alive without a login or after its ending: %s of %s: %+v", o.name(id), s.User, e)
		}
		limit, known := o.deadlines[id]
		if !known {
			limit = s.Created.Add(oracleAbsolute)
		}
		o.must(!s.AbsoluteExpires.After(limit) && now.Before(s.Expires()), "a deadline moved later, or is over: %s until %v, not %v", o.name(id), s.AbsoluteExpires, limit)
		o.deadlines[id] = s.AbsoluteExpires
		for _, t := range []time.Time{s.AbsoluteExpires, s.Created.Add(oracleAbsolute)} {
			if t.After(o.latest[id]) {
				o.latest[id] = t
			}
		}
	}
	for user, n := range count {
		o.must(o.setup.limit.Max == 0 || n <= o.setup.limit.Max, "beyond the cap: %d of %s", n, user)
	}
	o.checkTokens(living, rest)
	if !rest || o.violation != "" {
		return
	}
	for id, s := range o.sessions {
		_, alive := living[id]
		o.must(!alive || !o.over[id], "alive after a logout: %s of %s", o.name(id), s.user)
		o.must(s.login != "" || s.failed || s.reason == "", "an ending without a login: %s of %s: %s", o.name(id), s.user, s.reason)
		if s.login != "" && !o.retracted[s.login] {
			o.must(alive == (s.reason == ""), "not exactly one of alive and ended: %s of %s: alive %v, ending %q", o.name(id), s.user, alive, s.reason)
		}
	}
	o.checkStore(living)
}

// checkTokens looks where each token leads.
func (o *oracle) checkTokens(living map[string]scsguard.Session, rest bool) {
	held := make(map[string]bool)
	tokens := make(map[string]bool)
	for _, b := range o.browsers {
		if b.token() != "" {
			tokens[b.token()] = true
			held[o.ask(b).session] = true
		}
	}
	if rest || o.setup.grace < 0 {
		tokens = maps.Clone(o.tokens)
	}
	if rest {
		maps.Copy(tokens, o.untold)
	}
	present, served := make(map[string]int), make(map[string]int)
	for token := range tokens {
		b := newBrowser(o.a.serve)
		b.cookies["__Host-session"] = token
		now := o.ask(b)
		if now.session == "" {
			o.must(now.stamp == "", "data of a user without a session: %s", now.stamp)
			continue
		}
		served[now.session]++
		s, alive := living[now.session]
		o.must(alive && s.User == now.user, "served, but not alive: %s of %s", o.name(now.session), now.user)
		o.must(now.stamp == "" || now.stamp == now.user, "foreign data: %s sees what %s left", now.user, now.stamp)
		ctx, err := o.a.sm.Load(context.Background(), token)
		if err != nil {
			o.must(false, "a token is not loaded: %v", err)
			return
		}
		if s, ok := o.a.guard.Current(ctx); ok {
			present[s.ID]++
		}
	}
	for id, n := range served {
		o.must(present[id] <= 1, "two tokens: %d of %s", present[id], o.name(id))
		if rest || o.setup.grace < 0 {
			o.must(n == 1, "two tokens are served: %d of %s", n, o.name(id))
		}
	}
	for id, s := range living {
		o.must(!rest || held[id] || o.isStray(id), "no browser has the session: %s of %s", o.name(id), s.User)
	}
}

// checkStore looks at the data that is kept.
func (o *oracle) checkStore(living map[string]scsguard.Session) {
	all, err := o.inner.All()
	o.must(err == nil, "the store: %v", err)
	data := make(map[string]int)
	for _, b := range all {
		deadline, values, err := o.a.sm.Codec.Decode(b)
		o.must(err == nil, "data: %v", err)
		mark, _ := values["__scsguard"].(string)
		id, _, _ := strings.Cut(mark, "@")
		if id == "" {
			o.must(values["user"] == nil, "a login without a record: %v", values)
			o.must(values["stamp alice"] == nil && values["stamp bob"] == nil, "data of a user without a mark: %v", values)
			continue
		}
		data[id]++
		_, alive := living[id]
		o.must(alive, "data of a dead session: %s of %v", o.name(id), values)
		o.must(!alive || !deadline.After(o.latest[id].Add(time.Second)), "data that lives too long: %v, not %v", deadline, o.latest[id])
	}
	for id := range living {
		o.must(data[id] == 1, "not one piece of data: %d of %s", data[id], o.name(id))
	}
}
