package scsguard

import "fmt"

// A Limit caps the sessions a user may hold at the same time (NIST SP 800-53
// AC-10, ASVS 5.0 7.1.2). The zero value sets no cap and warns of concurrent
// logins. The cap holds at every instant, across all processes that share a
// [Registry].
type Limit struct {
	// Max is the largest number of sessions of one user. 0 is no cap. A login tells
	// all other sessions of its user, so it takes longer the more there are: for a
	// script that logs in and never out, a generous cap with EvictOldest is better
	// than none.
	Max int
	// OnExceed decides about a login beyond Max.
	OnExceed OnExceed
}

// OnExceed is what happens to a login beyond [Limit].Max. In every mode a login
// that leaves the user with two or more sessions is recorded as
// concurrent_warning and told to both sides.
type OnExceed uint8

const (
	// Warn lets the login through. It is the default: to end somebody's session
	// without asking hands the account to whoever logged in last, who is often
	// the attacker.
	Warn OnExceed = iota
	// Deny refuses the login with a [*LimitError] that lists the sessions, so
	// that the application can ask the user which one to end.
	Deny
	// EvictOldest ends the oldest logins. The newest is never the victim.
	EvictOldest
)

var onExceedNames = [...]string{"warn", "deny", "evict"}

// String returns "warn", "deny" or "evict".
func (o OnExceed) String() string {
	if int(o) < len(onExceedNames) {
		return onExceedNames[o]
	}
	return fmt.Sprintf("OnExceed(%d)", uint8(o))
}

// MarshalText returns what String returns.
func (o OnExceed) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText accepts "warn", "deny" and "evict", so that flag.TextVar and
// configuration files can set it.
func (o *OnExceed) UnmarshalText(text []byte) error {
	for i, name := range onExceedNames {
		if string(text) == name {
			*o = OnExceed(i)
			return nil
		}
	}
	return fmt.Errorf("scsguard: %q is not warn, deny or evict", text)
}

// A LimitError reports a login that was refused because the user already holds
// as many sessions as allowed. It is returned only after the application has
// checked the user's credentials, so showing him his sessions tells nobody else
// about them. To end one and log in, call [Guard.Login] again with [EndSession].
type LimitError struct {
	User     string
	Max      int
	Sessions []Session // oldest login first
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("scsguard: the user holds %d sessions, at most %d are allowed", len(e.Sessions), e.Max)
}

func (l Limit) problems(field string) []FieldError {
	var errs []FieldError
	if l.Max < 0 {
		errs = append(errs, FieldError{Field: field + ".Max", Value: fmt.Sprint(l.Max),
			Problem: "nobody could log in", Cure: "give the largest number of sessions, or 0 for no cap"})
	}
	if int(l.OnExceed) >= len(onExceedNames) {
		errs = append(errs, FieldError{Field: field + ".OnExceed", Value: l.OnExceed.String(),
			Problem: "a login beyond the cap could be neither let through nor refused", Cure: "use Warn, Deny or EvictOldest"})
	}
	if l.Max == 0 && l.OnExceed != Warn {
		errs = append(errs, FieldError{Field: field + ".Max", Value: "0",
			Problem: "OnExceed " + l.OnExceed.String() + " could never happen without a cap", Cure: "set Max, or leave OnExceed Warn"})
	}
	return errs
}
