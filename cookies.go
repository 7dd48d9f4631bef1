package scsguard

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A browser sends several cookies of the session's name if they were set for
// different paths or domains, in an order that the server cannot see through. A
// neighbouring host or a page below another path can plant one like this ("cookie
// tossing"), so the first one is not simply believed. Browsers refuse such cookies
// if the name begins with __Host-.

// maxCandidates bounds how many tokens of one request are looked up. Of more the
// first and the last are: browsers send those of longer paths first.
const maxCandidates = 16

// token returns the token of a request, "" if there is none. Of several it is the
// best one, and that there were several is recorded.
func (g *Guard) token(ctx context.Context, r *request, req *http.Request) (string, error) {
	if token, api := g.headerToken(r, req); api {
		return token, nil
	}
	var first [2]string // usually there is one, and nothing has to be made for it
	values, tokens := first[:0:1], first[1:1:2]
	for value := range cookiesNamed(req, g.sm.Cookie.Name) {
		if slices.Contains(values, value) {
			continue
		}
		if values = append(values, value); validToken(value) {
			tokens = append(tokens, value)
		}
	}
	switch {
	case len(values) == 0 || len(tokens) == 0 && len(values) == 1:
		return "", nil
	case len(values) == 1:
		return tokens[0], nil
	}
	if n := len(tokens); n > maxCandidates {
		tokens = slices.Delete(tokens, maxCandidates/2, n-maxCandidates/2)
	}
	best, most, live := "", worth(-1), 0
	var session Record
	for _, token := range tokens {
		w, rec, err := g.worth(ctx, r, g.storeKey(token))
		if err != nil {
			return "", err
		}
		if w >= worthAnotherDevice {
			live++
		}
		if w > most { // of equals the first, as where there is no guard
			best, most, session = token, w, rec
		}
	}
	e := g.event(r, EventDuplicateCookie, session)
	e.Outcome = OutcomeFailure
	e.detail("cookies", strconv.Itoa(len(values)))
	e.detail("live", strconv.Itoa(live))
	g.recordCoalesced(ctx, r, "cookies", r.ip.String()+"\x00"+session.Session, e)
	return best, nil
}

// cookiesNamed yields the values that http.Request.CookiesNamed does, and makes
// nothing of the other cookies.
func cookiesNamed(req *http.Request, wanted string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range req.Header["Cookie"] {
			for line != "" {
				var part string
				part, line, _ = strings.Cut(line, ";")
				name, value, _ := strings.Cut(strings.Trim(part, blanks), "=")
				if strings.Trim(name, blanks) != wanted {
					continue
				}
				if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
					value = value[1 : len(value)-1]
				}
				if !yield(value) {
					return
				}
			}
		}
	}
}

// blanks are what may stand around a cookie (RFC 6265 section 5.2), and what
// net/http takes off besides.
const blanks = " \t\r\n"

// worth is how good a token is as the one a visitor means.
type worth int

const (
	worthNothing       worth = iota
	worthEnded               // of a session that has ended: its visitor is told why
	worthAnonymous           // nobody is logged in
	worthGrace               // the token before a rotation
	worthAnotherDevice       // of a session that lives, and began elsewhere
	worthLive
)

// worth looks a token up without doing anything about it.
func (g *Guard) worth(ctx context.Context, r *request, key Key) (worth, Record, error) {
	var rec Record
	_, found, err := g.fetch(ctx, key, &rec)
	if err != nil {
		return worthNothing, rec, err
	}
	switch _, over := rec.Overdue(time.Now()); {
	case rec.State == StateUnknown && found:
		return worthAnonymous, Record{}, nil
	case rec.State == StateUnknown:
		return worthNothing, Record{}, nil
	case rec.State == StateMoved && time.Now().Before(rec.GraceUntil) && g.sameDevice(r, rec.Fingerprint):
		return worthGrace, rec, nil
	case rec.State != StateLive || over || !found:
		return worthEnded, rec, nil
	}
	now := g.fingerprint(r)
	if old, bound := parseFingerprint(rec.Fingerprint); bound && g.differences(r, old, now, Binding{Network: Log, UserAgent: Log}).mode != 0 {
		return worthAnotherDevice, rec, nil
	}
	return worthLive, rec, nil
}
