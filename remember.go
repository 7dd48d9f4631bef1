package scsguard

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Remember lets a browser come back without a password: [Guard.Protect] restores
// a session for a visitor who has none and whose browser was given a token by a
// login with [RememberMe]. The zero value remembers nobody.
//
// Such a session is a login like any other: it is counted in the cap, has the
// limits of its policy (Subject.Remembered) and its own event and ending. It
// proves less: its AAL is 1 at most, its Methods are empty and its AuthTime is
// the zero time, so it never counts as recently authenticated. It never throws
// anybody out: where the policy says EvictOldest it is refused at the cap.
//
// The token belongs to a family that begins with the login and ends Lifetime
// later, however often it is used. Each use gives the browser a new token. One
// that was used and comes back after Grace was copied, and ends the family with
// the event token_reuse. So does a token that comes from another kind of
// browser. Logout, [Guard.End], [Guard.EndAll] and its like end it as well; a time
// out does not.
type Remember struct {
	// Store keeps the families. Nil: nobody is remembered.
	Store RememberStore

	// Lifetime is how long after the login with a password the browser is
	// remembered at the most. Default 30 days (what NIST SP 800-63B-4 allows at AAL1), at most
	// [UserMemory].
	Lifetime time.Duration

	// Grace is how long a token that was just used is still good for the session
	// that its use began: for other requests of the same browser at that moment, and
	// for a browser that never got the answer. Default 30 s, at most 10 min.
	Grace time.Duration

	// Cookie is the name of the cookie. Default "__Host-remember". It is Secure and
	// HttpOnly, has Path=/ and the SameSite of the session cookie, Lax where that has
	// none.
	Cookie string

	// When says whether a request may restore a session. Default: one by which
	// somebody navigates, and one of a client that does not say (Sec-Fetch-Mode). A
	// page that polls could otherwise keep an unattended browser logged in past
	// every idle timeout. Requests that are [Guard.Passive] before they come to
	// Protect never do.
	When func(*http.Request) bool

	// Role returns the role with which a remembered user begins, as it is today,
	// or an error if he may not come in without his password. Nil: no role. It is
	// called within the request, before the login, and has to answer within seconds.
	Role func(ctx context.Context, user string) (role string, err error)

	// OnRestore is called with the request's context when a session was restored,
	// before the handler: to put into the session data what the application puts
	// there at a login. It is stored before anybody else is served by the session.
	// Required with Config.UserID.
	OnRestore func(ctx context.Context, s Session)
}

// A RememberStore keeps what the guard knows of remembered browsers, as bytes
// under an ID. All rules are the guard's; a store only has to compare and swap.
//
//   - Methods are safe for concurrent use, by several processes where the store is
//     shared, and Swap is atomic: of several calls for one ID each sees what the one
//     before has left.
//   - Nothing is kept for ever: each value has a time to live, counted by the store
//     from the Swap that wrote it. It is there one moment before and absent from
//     then on. Reading does not prolong it.
//   - What is absent, has expired, was deleted or was never there is the same.
//   - IDs and values are any bytes, up to 256 and 64 KB. A value is never empty.
//     A store keeps no slice that it was given and hands out none that it keeps.
//   - An error means that the store could not do its work, and a Swap may have
//     happened then; whoever repeats it asks Load first. A context that is done is
//     an error.
//   - It must not lose a Swap that it has confirmed, or a token that was used
//     becomes good again, and a family that was ended begins to live again.
//
// Package remembertest checks an implementation. [NewMemoryRememberStore] is one.
type RememberStore interface {
	// Load returns the value under id, nil if it is absent, and the time by the
	// store's clock, which is one for all processes.
	Load(ctx context.Context, id string) (value []byte, now time.Time, err error)

	// Swap puts value in the place of old, for ttl, if old is what is there now;
	// else it changes nothing and reports false. An empty old means that it is
	// absent, an empty value deletes it. ttl is positive, and means nothing for a
	// deletion.
	Swap(ctx context.Context, id string, old, value []byte, ttl time.Duration) (swapped bool, err error)
}

// RememberMe has the browser remembered after this login, by a cookie (see
// [Remember]). If the remember store cannot be reached the login goes on without.
//
// It is refused where nothing could end what it begins: with [ExternalID], since
// such a session ends with the identity provider's, with [By], and with
// [Remembered]; and outside of Protect, where no cookie can be set.
func RememberMe() LoginOption { return loginOption(func(o *loginOptions) { o.remember = true }) }

const (
	defaultRememberLifetime = 30 * 24 * time.Hour
	defaultRememberGrace    = 30 * time.Second
	maxRememberGrace        = 10 * time.Minute
	defaultRememberCookie   = "__Host-remember"
)

func (m Remember) withDefaults() Remember {
	if m.Store == nil {
		return m
	}
	if m.Lifetime == 0 {
		m.Lifetime = defaultRememberLifetime
	}
	if m.Grace == 0 {
		m.Grace = defaultRememberGrace
	}
	if m.Cookie == "" {
		m.Cookie = defaultRememberCookie
	}
	if m.When == nil {
		m.When = navigates
	}
	return m
}

// navigates reports whether somebody goes to a page, as far as the client says
// (W3C Fetch Metadata).
func navigates(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode == "" || mode == "navigate"
}

// problems returns what is wrong, for a configuration that is complete otherwise.
func (m Remember) problems(c Config, sessionCookie string) []FieldError {
	var errs []FieldError
	bad := func(field, value, consequence, cure string) {
		errs = append(errs, FieldError{Field: "Remember." + field, Value: value, Problem: consequence, Cure: cure})
	}
	if m.Store == nil {
		if m.Lifetime != 0 || m.Grace != 0 || m.Cookie != "" || m.When != nil || m.Role != nil || m.OnRestore != nil {
			bad("Store", "nil", "nobody would be remembered, whatever the other fields say", "give a RememberStore, or leave Remember empty")
		}
		return errs
	}
	_, forgets := c.Registry.(*MemoryRegistry)
	if _, inMemory := m.Store.(*MemoryRememberStore); forgets && !inMemory {
		bad("Store", fmt.Sprintf("%T", m.Store), "after a restart the registry in memory would have forgotten whose sessions were all ended, and who was logged out would be logged in again",
			"give a Registry that lasts as long as this store, or NewMemoryRememberStore()")
	}
	if m.Lifetime < 0 || m.Lifetime > UserMemory {
		bad("Lifetime", m.Lifetime.String(), "a token would outlive what is known of a changed password",
			"give a positive duration of at most "+UserMemory.String()+", or 0 for 30 days")
	}
	if m.Grace < 0 || m.Grace > maxRememberGrace {
		bad("Grace", m.Grace.String(), "without one, two pages opened at once look like a thief; with a long one a thief looks like two pages",
			"give a positive duration of at most "+maxRememberGrace.String()+", or 0 for 30 s")
	}
	if !strings.HasPrefix(m.Cookie, "__Host-") || strings.ContainsFunc(m.Cookie, notNamespace) {
		bad("Cookie", fmt.Sprintf("%q", m.Cookie), "a neighbouring host or plain HTTP could plant a token of its own", `begin it with "__Host-", and use letters, digits, '-', '_' and '.'`)
	}
	if c.UserID != nil && m.OnRestore == nil {
		bad("OnRestore", "nil", "Config.UserID would find no user in a restored session, which means that he was logged out", "put the user key into the session data there")
	}
	if m.Cookie == sessionCookie {
		bad("Cookie", fmt.Sprintf("%q", m.Cookie), "it is the name of the session cookie", "give another name")
	}
	return errs
}

// checkProfile refuses a login by a token of the application's own where a profile
// refuses the guard's.
func (o loginOptions) checkProfile(g *Guard) error {
	if !o.remembered {
		return nil
	}
	for _, d := range g.cfg.Profile.deviations(terms{remember: true}) {
		if d.Field == rememberField {
			return &ConfigError{Fields: []FieldError{d.fieldError("Remembered", "given")}}
		}
	}
	return nil
}

// checkRemember refuses options that contradict each other.
func (o loginOptions) checkRemember(g *Guard, r *request) error {
	why := ""
	switch {
	case !o.remember:
		return nil
	case g.cfg.Remember.Store == nil:
		why = "there is no Config.Remember.Store to keep it in"
	case r.http == nil:
		why = "outside of Protect no cookie can be set"
	case r.api:
		why = "an API client has no cookie; it keeps the token of its session"
	case o.external != "":
		why = "a session with an ExternalID ends with the identity provider's, which nobody would hear of while the browser is away"
	case o.actor != "":
		why = "who acts for somebody else (By) must not come back without a new decision"
	case o.remembered:
		why = "a login that is itself Remembered proves nothing new"
	default:
		return nil
	}
	return fmt.Errorf("scsguard: RememberMe: %s", why)
}
