package scsguard

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// Timeouts are the time limits of a session. The zero value takes, for Idle and
// Absolute, what the session manager says and else 30 minutes and 8 hours.
type Timeouts struct {
	// Idle ends a session this long after its last recorded activity.
	// (ASVS 5.0 7.3.1; PCI DSS 4.0.1 8.2.8 asks for at most 15 minutes.)
	Idle time.Duration
	// Absolute ends a session this long after the login, whatever its activity.
	// Only a full re-authentication starts it anew. (ASVS 5.0 7.3.2; NIST SP
	// 800-63B-4 5.2 asks for at most 12 hours at AAL3, 24 at AAL2.)
	Absolute time.Duration
	// Touch is how often activity is recorded: at most once in this time. The
	// default is Idle/15 but at most a minute. A session may end up to Touch
	// early by it, never late.
	Touch time.Duration
	// Renew gives a session a new token when the present one is this old, at
	// the next response that can carry a cookie. 0, the default, never does.
	Renew time.Duration
}

const (
	defaultIdle     = 30 * time.Minute
	defaultAbsolute = 8 * time.Hour
	maxTouch        = time.Minute
)

// withDefaults fills what is zero. Values of the session manager come first.
func (t Timeouts) withDefaults(managerIdle, managerLifetime time.Duration) Timeouts {
	if t.Absolute >= 0 {
		t.Absolute = stricter(t.Absolute, managerLifetime)
	}
	if t.Absolute == 0 {
		t.Absolute = defaultAbsolute
	}
	if t.Idle >= 0 {
		t.Idle = stricter(t.Idle, managerIdle)
	}
	if t.Idle == 0 {
		t.Idle = min(defaultIdle, max(t.Absolute, 1))
	}
	if t.Touch == 0 {
		t.Touch = min(t.Idle/15, maxTouch)
	}
	return t
}

// stricter returns the smaller of two limits of which zero is none.
func stricter(a, b time.Duration) time.Duration {
	if a <= 0 || (b > 0 && b < a) {
		return max(b, 0)
	}
	return a
}

// problems describes what is wrong with t, each with its field and cure.
func (t Timeouts) problems(field string) []FieldError {
	var errs []FieldError
	bad := func(name string, value time.Duration, consequence, cure string) {
		errs = append(errs, FieldError{Field: field + "." + name, Value: value.String(), Problem: consequence, Cure: cure})
	}
	if t.Idle < 0 {
		bad("Idle", t.Idle, "every session would be over before it began", "give a positive duration, or 0 for the default")
	}
	if t.Absolute < 0 {
		bad("Absolute", t.Absolute, "every session would be over before it began", "give a positive duration, or 0 for the default")
	}
	if t.Idle > 0 && t.Absolute > 0 && t.Idle > t.Absolute {
		bad("Idle", t.Idle, "it is longer than Absolute ("+t.Absolute.String()+"), so it could never end a session", "make Idle the shorter of the two")
	}
	if t.Touch < 0 {
		bad("Touch", t.Touch, "activity could not be recorded", "give a positive duration, or 0 for Idle/15")
	}
	if t.Idle > 0 && t.Touch >= t.Idle {
		bad("Touch", t.Touch, "it is not shorter than Idle ("+t.Idle.String()+"), so active users would be logged out", "leave it 0 for Idle/15")
	}
	if t.Renew < 0 {
		bad("Renew", t.Renew, "tokens would be renewed on every response", "give a positive duration, or 0 for no periodic renewal")
	}
	return errs
}

// A Subject is whom a [Policy] is asked for.
type Subject struct {
	User       string
	Role       string
	IP         netip.Addr // of the request; invalid outside a request
	Methods    []string
	AAL        int
	Remembered bool
}

// A Policy is what holds for one [Subject]. Zero fields take the values of
// [Config].
//
// It is asked at each login and at each request. A stricter answer applies at
// once to a session that exists; a laxer one only to later logins.
type Policy struct {
	Timeouts Timeouts
	Limit    *Limit // nil: Config.Limit
	// Binding holds for the request: a laxer answer applies at once, too.
	Binding Binding
}

// inForce is a policy with every field filled in.
type inForce struct {
	Timeouts
	limit   Limit
	binding Binding
}

// basePolicy is what holds for everybody. The manager's Lifetime is read per
// request, as scs does.
func (g *Guard) basePolicy() inForce {
	t := g.cfg.Timeouts
	t.Absolute = stricter(t.Absolute, g.sm.Lifetime)
	t.Idle = min(t.Idle, t.Absolute)
	return inForce{t, g.cfg.Limit, g.cfg.Binding}
}

// policy returns the policy in force for a subject, complete. An answer that
// makes no sense is an error: a login is refused by it, and an existing session
// keeps the limits it has.
func (g *Guard) policy(ctx context.Context, s Subject) (inForce, error) {
	if g.cfg.Policy == nil {
		return g.basePolicy(), nil
	}
	limit := g.cfg.Limit
	s.Methods = slices.Clone(s.Methods) // a registry in memory has no other
	p := g.cfg.Policy(ctx, s)
	t := p.Timeouts
	if t.Absolute == 0 {
		t.Absolute = stricter(g.cfg.Timeouts.Absolute, g.sm.Lifetime)
	}
	if t.Idle == 0 {
		t.Idle = min(g.cfg.Timeouts.Idle, t.Absolute)
	}
	if t.Touch == 0 {
		t.Touch = min(g.cfg.Timeouts.Touch, t.Idle/15)
	}
	if t.Renew == 0 {
		t.Renew = g.cfg.Timeouts.Renew
	}
	if p.Limit != nil {
		limit = *p.Limit
	}
	binding := p.Binding.or(g.cfg.Binding)
	errs := slices.Concat(t.problems("Policy.Timeouts"), limit.problems("Policy.Limit"), binding.problems("Policy.Binding"))
	if len(errs) == 0 && g.cfg.Profile != ProfileNone {
		asked := g.cfg.terms(g.sm)
		asked.inForce = inForce{t, limit, binding}
		errs = g.cfg.Profile.problems("Policy.", asked)
	}
	if len(errs) > 0 {
		return inForce{}, &ConfigError{Fields: errs}
	}
	return inForce{t, limit, binding}, nil
}
