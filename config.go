package scsguard

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
)

// Config is the policy of a [Guard]. Audit must be set; the zero value of every
// other field has a meaning. New copies it; later changes have no effect.
type Config struct {
	// Profile fills in what is left open below by the numbers of a standard, and
	// refuses what breaks them. The zero value does neither.
	Profile Profile

	// Timeouts are the time limits. A zero Idle or Absolute takes the session
	// manager's IdleTimeout or Lifetime, and where it has none 30 minutes and 8
	// hours. Where both are set the stricter wins.
	Timeouts Timeouts

	// Limit caps the concurrent sessions of a user. The zero value warns.
	Limit Limit

	// Binding says what happens when another device uses a session. Zero fields
	// take the defaults: a change of network is recorded, one of the user agent
	// asks for a new proof.
	Binding Binding

	// Policy answers for a subject where Timeouts, Limit and Binding shall not be
	// the same for all: by role, network, or strength of the login. It is called
	// concurrently, outside of any lock, at least once per request of a
	// logged-in session.
	Policy func(context.Context, Subject) Policy

	// Registry is the index of sessions. Default: a [MemoryRegistry], but only
	// if the manager's Store is a *memstore.MemStore. It is required with every
	// other store, since a registry that forgets what the store remembers would
	// log everybody out at each restart, and one per process would count wrong.
	Registry Registry

	// Audit keeps the trail. Required; [Discard] says in words that nothing is
	// kept.
	Audit Sink

	// Keys are the secrets of token hashes and fingerprints, at least 32 random
	// bytes each. The first one writes, all of them read. Default: random, but
	// only with a MemoryRegistry; else required, the same in every process.
	Keys [][]byte

	// Remember lets browsers come back without a password. The zero value remembers
	// nobody.
	Remember Remember

	// Token lets API clients carry the token in a header in place of the cookie. It
	// returns the token of a request, "" if it has none yet, and whether the request
	// is such a client's: then its cookies are not looked at, none is set, and Login
	// hands out the token in [Session.Token]. Records, limits, binding and trail are
	// those of all other sessions, so the API is never more lenient than the pages.
	// A token that changes later is told in the response header [TokenHeader].
	// [BearerToken] reads the usual header:
	//
	//	Token: func(r *http.Request) (string, bool) {
	//		return scsguard.BearerToken(r), strings.HasPrefix(r.URL.Path, "/api/")
	//	},
	//
	// Default: every request uses the cookie.
	Token func(*http.Request) (token string, api bool)

	// UserID reads the application's own user key from the session data in ctx,
	// "" if nobody is logged in there. With it the application's handlers may stay
	// as they are. A session that was logged in before the guard came is enrolled
	// when it is first seen; a user key that a handler has put or removed without
	// the guard's verbs is noticed before the session is saved, and is the login or
	// logout that it looks like, with a new token. A login that is refused then, by
	// the cap or because it cannot be recorded, replaces the handler's answer. Until
	// then Commit of the session manager, called by a handler, does not store it.
	//
	// It must return the user ID that Login is given, for every session, and
	// depend on nothing but the session data: outside of [Guard.Protect] ctx holds
	// nothing else. It is called concurrently, once or twice per request. Default:
	// nil, only the verbs log in and out.
	UserID func(context.Context) string

	// ClientIP returns the address of the client, invalid if unknown. Default:
	// RemoteAddr. Behind a proxy that is the proxy's address: give
	// [TrustedProxies], or a function that knows which headers the proxy sets.
	ClientIP func(*http.Request) netip.Addr

	// Namespace separates guards on one registry, such as those of customers and
	// staff: they never see each other's sessions.
	Namespace string

	// LoginURL is where browsers are sent by [Guard.RequireLogin] and
	// [Guard.EnforceTimeouts], with the reason in the query. Empty: they get a
	// page with status 401.
	LoginURL string

	// ReauthURL is where browsers are sent by [Guard.RequireRecentLogin] to prove
	// again who they are, with the way back in the query (see [ReturnPath]). Empty:
	// they get a page with status 403.
	ReauthURL string

	// OnEvent is told of every event after it was handed to the trail: to mail
	// about a new device, to clear a second cookie. It is called outside of any
	// lock, concurrently, in the goroutine of the request or in one of its own, and
	// only in the process where the event took place. Its
	// context carries the values of the request but not its cancellation. A
	// panic in it is reported by [Guard.Health] and stops there.
	OnEvent func(context.Context, Event)

	// OnReject answers in place of the guard's own pages where a middleware
	// refuses a request. It must write a response with reason.Status().
	OnReject func(http.ResponseWriter, *http.Request, Reason)

	// OnAuditDown decides what happens to what grants access while the trail
	// cannot be written. Default: [AuditDeny].
	OnAuditDown AuditDown

	// OnAuditFailure is told when the trail cannot be written, at most one call
	// at a time.
	OnAuditFailure func(error)

	// RotationGrace is how long requests that were under way with the old token
	// are still served after a rotation, from the same device. Default 10 s;
	// negative: not at all (ASVS 5.0 7.2.4).
	RotationGrace time.Duration

	// Retention is how long after its absolute deadline an ending waits to be
	// recorded when no process is running. Default 7 days.
	Retention time.Duration

	// MergeWrites merges what concurrent requests of one session write, key by
	// key, so that each keeps what the others have put. The store must be a
	// [Swapper]. Of two that change the same key the last writer wins; a key that
	// one of them removes stays removed unless the other has changed it. Values
	// count as changed by reflect.DeepEqual; one that was changed in place, without
	// Put, counts as well. Default: the last writer of a session wins, with all keys
	// that it holds, as in scs. What is loaded and committed without Protect is
	// written whole in any case, and so is the data of a Login.
	MergeWrites bool

	// SweepEvery is how often time outs of those who never come back are looked
	// for. Default 30 s; negative: never, the program calls [Guard.Sweep].
	SweepEvery time.Duration

	// CallTimeout limits each call of the registry, the store and the sink. A
	// sink's context is done a tenth earlier, so that it can say what it waits for.
	// Default 2 s, at most 2.5 s: half a [Lease].
	CallTimeout time.Duration

	// InsecureCookie allows a session cookie that is not Secure, HttpOnly,
	// SameSite and __Host-, and says why that is acceptable here. Leave it empty
	// to have such a cookie refused.
	InsecureCookie string
}

const (
	defaultRotationGrace = 10 * time.Second
	defaultRetention     = 7 * 24 * time.Hour
	defaultSweepEvery    = 30 * time.Second
	defaultCallTimeout   = 2 * time.Second
)

// withDefaults returns the configuration with every field filled in, for a
// manager as it is.
func (c Config) withDefaults(sm *scs.SessionManager) Config {
	c.Profile.fill(&c)
	c.Timeouts = c.Timeouts.withDefaults(sm.IdleTimeout, sm.Lifetime)
	c.Binding = c.Binding.or(defaultBinding)
	if _, forgets := sm.Store.(*memstore.MemStore); c.Registry == nil && forgets {
		c.Registry = NewMemoryRegistry()
	}
	if _, inMemory := c.Registry.(*MemoryRegistry); len(c.Keys) == 0 && inMemory {
		c.Keys = [][]byte{randomKey()}
	}
	keys := make([][]byte, len(c.Keys))
	for i, k := range c.Keys {
		keys[i] = append([]byte(nil), k...)
	}
	c.Keys = keys
	c.Remember = c.Remember.withDefaults()
	if c.RotationGrace == 0 {
		c.RotationGrace = defaultRotationGrace
	}
	if c.Retention == 0 {
		c.Retention = defaultRetention
	}
	if c.SweepEvery == 0 {
		c.SweepEvery = defaultSweepEvery
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = defaultCallTimeout
	}
	return c
}

// terms are what the configuration says about what standards are about.
func (c Config) terms(sm *scs.SessionManager) terms {
	return terms{inForce{c.Timeouts, c.Limit, c.Binding}, sm.Cookie, c.RotationGrace, c.InsecureCookie, c.Audit, c.OnAuditDown, c.Remember.Store != nil}
}

// problems returns everything that is wrong with a configuration whose defaults
// are filled in.
func (c Config) problems(sm *scs.SessionManager) []FieldError {
	errs := slices.Concat(c.Timeouts.problems("Timeouts"), c.Limit.problems("Limit"), c.Binding.problems("Binding"))
	errs = append(errs, c.Profile.problems("", c.terms(sm))...)
	bad := func(field, value, consequence, cure string) {
		errs = append(errs, FieldError{Field: field, Value: value, Problem: consequence, Cure: cure})
	}
	if c.Registry == nil {
		bad("Registry", "nil", fmt.Sprintf("a registry in memory would forget what the store (%T) remembers and log everybody out at each restart", sm.Store),
			"give a registry that lasts as long as the store and is shared by as many processes")
	}
	if c.Audit == nil {
		bad("Audit", "nil", "nobody could tell afterwards whether a session was alive",
			"give a Sink, or scsguard.Discard() to keep nothing on purpose")
	}
	if int(c.OnAuditDown) >= len(auditDownNames) {
		bad("OnAuditDown", c.OnAuditDown.String(), "access could be neither granted nor refused while the trail cannot be written", "use AuditDeny or AuditAllowAndFlag")
	}
	if len(c.Keys) == 0 && c.Registry != nil {
		bad("Keys", "none", "every process would compute other token hashes and fingerprints, and forget them at a restart",
			"give at least one secret of 32 random bytes, the same in every process")
	}
	for i, k := range c.Keys {
		if len(k) < minKeyLen {
			bad(fmt.Sprintf("Keys[%d]", i), fmt.Sprintf("%d bytes", len(k)), "a short secret can be guessed",
				fmt.Sprintf("give at least %d random bytes", minKeyLen))
		}
	}
	for _, page := range []struct{ field, url, example string }{{"LoginURL", c.LoginURL, "/login"}, {"ReauthURL", c.ReauthURL, "/reauth"}} {
		if _, err := url.Parse(page.url); err != nil {
			bad(page.field, fmt.Sprintf("%q", page.url), "visitors could not be sent there: "+err.Error(), "give a path such as "+page.example+", or leave it empty")
		}
	}
	if _, ok := sm.Store.(Swapper); c.MergeWrites && !ok {
		bad("MergeWrites", "true", fmt.Sprintf("the store (%T) cannot compare and swap, so concurrent writes cannot be told apart", sm.Store),
			"use a store that is a scsguard.Swapper, or leave it false: the last writer of a session wins, as in scs")
	}
	if c.Retention < 0 {
		bad("Retention", c.Retention.String(), "endings would be forgotten before they are recorded", "give a positive duration, or 0 for 7 days")
	}
	if c.CallTimeout < 0 {
		bad("CallTimeout", c.CallTimeout.String(), "every call would fail", "give a positive duration, or 0 for 2 s")
	}
	if c.CallTimeout > Lease/2 {
		bad("CallTimeout", c.CallTimeout.String(), "a login whose calls take that long would lose its place, which is held for "+Lease.String(),
			"give at most "+(Lease/2).String())
	}
	if len(c.Namespace) > maxNamespaceLen || strings.ContainsFunc(c.Namespace, notNamespace) {
		bad("Namespace", fmt.Sprintf("%q", c.Namespace), "it becomes part of keys and marks that it could break",
			fmt.Sprintf("use at most %d letters, digits, '-', '_' and '.'", maxNamespaceLen))
	}
	errs = append(errs, c.Remember.problems(c, sm.Cookie.Name)...)
	if sm.ErrorFunc == nil {
		bad("SessionManager.ErrorFunc", "nil", "a request that cannot be served would panic", "use scs.New, or set an ErrorFunc")
	}
	if sm.Codec == nil {
		bad("SessionManager.Codec", "nil", "no session could be read", "use scs.New, or set scs.GobCodec{}")
	}
	if sm.Lifetime <= 0 {
		bad("SessionManager.Lifetime", sm.Lifetime.String(), "anonymous sessions would be over before they began", "use scs.New, or set a positive Lifetime")
	}
	if c.InsecureCookie == "" {
		errs = append(errs, cookieProblems(sm.Cookie)...)
	}
	return errs
}

const maxNamespaceLen = 64

func notNamespace(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}

// cookieProblems checks the cookie's attributes (NIST SP 800-63B-4 5.1.1; ASVS
// 5.0 3.3.1 to 3.3.4; RFC 6265bis 4.1.3.2 for the prefix).
func cookieProblems(c scs.SessionCookie) []FieldError {
	var errs []FieldError
	bad := func(field, value, consequence, cure string) {
		errs = append(errs, FieldError{Field: "SessionManager.Cookie." + field, Value: value, Problem: consequence,
			Cure: cure + ", or say in Config.InsecureCookie why it is acceptable"})
	}
	if !c.Secure {
		bad("Secure", "false", "the token would travel over plain HTTP", "set it to true (browsers accept it on http://localhost; in Go tests use httptest.NewTLSServer)")
	}
	if !c.HttpOnly {
		bad("HttpOnly", "false", "any script in the page could read the token", "set it to true")
	}
	if c.SameSite != http.SameSiteLaxMode && c.SameSite != http.SameSiteStrictMode {
		bad("SameSite", fmt.Sprint(int(c.SameSite)), "other sites could make requests in the visitor's name", "set http.SameSiteLaxMode or http.SameSiteStrictMode")
	}
	if !strings.HasPrefix(c.Name, "__Host-") {
		bad("Name", fmt.Sprintf("%q", c.Name), "a neighbouring host or plain HTTP could plant a token of its own", `begin it with "__Host-"`)
		return errs
	}
	if c.Path != "/" {
		bad("Path", fmt.Sprintf("%q", c.Path), "browsers refuse a __Host- cookie with another path", `set it to "/"`)
	}
	if c.Domain != "" {
		bad("Domain", fmt.Sprintf("%q", c.Domain), "browsers refuse a __Host- cookie with a domain", "leave it empty")
	}
	return errs
}
