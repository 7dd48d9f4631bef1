package scsguard

import (
	"fmt"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2"
)

// A Profile is a standard by name. In [Config] it fills in what the application
// has left open, by the numbers of the standard, and refuses what breaks them: at
// construction, naming the requirement, and later where Config.Policy answers with
// something laxer, by which no login begins. [Guard.PolicyReport] compares a guard
// with all of them.
//
// Beyond its numbers every profile wants: a cookie without an InsecureCookie excuse,
// a trail that is kept and that nothing is granted without, no grace after a
// rotation (ASVS 5.0 7.2.4), and nobody who comes back without proving who he is: it
// refuses [Remember] and logins that are [Remembered]. It sets a cap
// of three sessions beyond which a login is refused; the standards want a limit that
// somebody has thought about (ASVS 5.0 7.1.2, NIST SP 800-53 AC-10) and name none.
//
// A profile is about sessions. How users prove who they are, and that the AAL the
// application claims is true, is for the application to see to.
type Profile uint8

// The profiles. ProfileNone, the zero value, sets and refuses nothing.
const (
	ProfileNone           Profile = iota
	ProfilePCI                    // "pci": PCI DSS 4.0.1
	ProfileNISTAAL2               // "nist-aal2": NIST SP 800-63B revision 4, AAL2
	ProfileNISTAAL2Rev3           // "nist-aal2-rev3": NIST SP 800-63B revision 3, AAL2
	ProfileNISTAAL3               // "nist-aal3": NIST SP 800-63B revision 4, AAL3
	ProfileOWASPHighValue         // "owasp-high-value": OWASP Session Management Cheat Sheet
	ProfilePSD2                   // "psd2": EU 2018/389, strong customer authentication for payment accounts
)

// profile is what stands behind a Profile.
type profile struct {
	name         string
	timeouts     Timeouts // where the application has left them open; zero: the usual ones
	binding      Binding
	requirements []requirement
}

// requirement is one rule of a standard.
type requirement struct {
	source string // with its number
	field  string
	asks   string                               // what for, as a sentence after "it asks for"
	breaks func(terms) (value string, yes bool) // and with what
	should bool                                 // a recommendation: reported, not refused
}

// terms are what a guard works by, as far as a standard has something to say.
type terms struct {
	inForce
	cookie         scs.SessionCookie
	grace          time.Duration
	insecureCookie string
	audit          Sink
	auditDown      AuditDown
	remember       bool
}

var profiles = [...]profile{
	ProfileNone: {name: "none"},
	ProfilePCI: {
		name:     "pci",
		timeouts: Timeouts{Idle: 15 * time.Minute},
		requirements: rules(
			idleAtMost("PCI DSS 4.0.1 8.2.8", 15*time.Minute),
			notRemembered("PCI DSS 4.0.1 8.2.8"),
			trailKept("PCI DSS 4.0.1 10.2.1"),
		),
	},
	ProfileNISTAAL2: {
		name:     "nist-aal2",
		timeouts: Timeouts{Idle: time.Hour, Absolute: 24 * time.Hour},
		requirements: rules(
			idleAtMost("NIST SP 800-63B-4 2.2.3", time.Hour),
			notRemembered("NIST SP 800-63B-4 5.1"),
			absoluteAtMost("NIST SP 800-63B-4 2.2.3", 24*time.Hour),
			notPersistent("NIST SP 800-63B-4 5.1", true),
			trailKept("NIST SP 800-53 AU-2"),
		),
	},
	ProfileNISTAAL2Rev3: {
		name:     "nist-aal2-rev3",
		timeouts: Timeouts{Idle: 30 * time.Minute, Absolute: 12 * time.Hour},
		requirements: rules(
			idleAtMost("NIST SP 800-63B (revision 3) 4.2.3", 30*time.Minute),
			notRemembered("NIST SP 800-63B (revision 3) 4.2.3"),
			absoluteAtMost("NIST SP 800-63B (revision 3) 4.2.3", 12*time.Hour),
			notPersistent("NIST SP 800-63B (revision 3) 7.2", false),
			trailKept("NIST SP 800-53 AU-2"),
		),
	},
	ProfileNISTAAL3: {
		name:     "nist-aal3",
		timeouts: Timeouts{Idle: 15 * time.Minute, Absolute: 12 * time.Hour},
		binding:  Binding{UserAgent: End},
		requirements: rules(
			idleAtMost("NIST SP 800-63B-4 2.3.3", 15*time.Minute),
			notRemembered("NIST SP 800-63B-4 5.1"),
			absoluteAtMost("NIST SP 800-63B-4 2.3.3", 12*time.Hour),
			notPersistent("NIST SP 800-63B-4 5.1", true),
			trailKept("NIST SP 800-53 AU-2"),
		),
	},
	ProfileOWASPHighValue: {
		name:     "owasp-high-value",
		timeouts: Timeouts{Idle: 5 * time.Minute, Absolute: 8 * time.Hour},
		binding:  Binding{UserAgent: End},
		requirements: rules(
			idleAtMost("OWASP Session Management Cheat Sheet, Idle Timeout", 5*time.Minute),
			notRemembered("OWASP Session Management Cheat Sheet, Idle Timeout"),
			absoluteAtMost("OWASP Session Management Cheat Sheet, Absolute Timeout", 8*time.Hour),
			bound("OWASP Session Management Cheat Sheet, Binding the Session ID to Other User Properties"),
			notPersistent("OWASP Session Management Cheat Sheet, Expire and Max-Age Attributes", true),
			trailKept("OWASP Session Management Cheat Sheet, Logging Sessions Life Cycle"),
		),
	},
	ProfilePSD2: {
		name:     "psd2",
		timeouts: Timeouts{Idle: 5 * time.Minute},
		binding:  Binding{UserAgent: End},
		requirements: rules(
			idleAtMost("EU 2018/389 Art. 4(3)(d)", 5*time.Minute),
			notRemembered("EU 2018/389 Art. 4(3)(d)"),
			trailKept("EU 2018/389 Art. 29"),
		),
	},
}

// rules adds what every profile wants.
func rules(own ...requirement) []requirement {
	return append(own,
		requirement{source: "ASVS 5.0 7.2.4", field: "RotationGrace", asks: "an old token that is worthless as soon as there is a new one",
			breaks: func(t terms) (string, bool) { return t.grace.String(), t.grace > 0 }},
		requirement{source: "ASVS 5.0 16.5.3", field: "OnAuditDown", asks: "nothing that is granted without a trail",
			breaks: func(t terms) (string, bool) { return t.auditDown.String(), t.auditDown != AuditDeny }},
		requirement{source: "ASVS 5.0 3.3.1 to 3.3.4", field: "InsecureCookie", asks: "a cookie that is Secure, HttpOnly, SameSite and __Host-",
			breaks: func(t terms) (string, bool) { return fmt.Sprintf("%q", t.insecureCookie), t.insecureCookie != "" }},
		requirement{source: "ASVS 5.0 7.1.2", field: "Limit.Max", asks: "a cap on the concurrent sessions of a user",
			breaks: func(t terms) (string, bool) { return fmt.Sprint(t.limit.Max), t.limit.Max == 0 }},
	)
}

func idleAtMost(source string, d time.Duration) requirement {
	return requirement{source: source, field: "Timeouts.Idle", asks: "an idle timeout of at most " + short(d),
		breaks: func(t terms) (string, bool) { return short(t.Idle), t.Idle > d }}
}

func absoluteAtMost(source string, d time.Duration) requirement {
	return requirement{source: source, field: "Timeouts.Absolute", asks: "an absolute timeout of at most " + short(d),
		breaks: func(t terms) (string, bool) { return short(t.Absolute), t.Absolute > d }}
}

func notPersistent(source string, should bool) requirement {
	return requirement{source: source, field: "SessionManager.Cookie.Persist", asks: "a cookie that ends with the browser", should: should,
		breaks: func(t terms) (string, bool) { return "true", t.cookie.Persist }}
}

func trailKept(source string) requirement {
	return requirement{source: source, field: "Audit", asks: "a trail that is kept",
		breaks: func(t terms) (string, bool) { return "a Sink that keeps nothing", keepsNothing(t.audit) }}
}

const rememberField = "Remember.Store"

// notRemembered is wanted wherever a time out has to be followed by a proof of who
// it is: a remember-me token takes the place of that proof.
func notRemembered(source string) requirement {
	return requirement{source: source, field: rememberField, asks: "a new authentication after a time out, which a remember-me token is not",
		breaks: func(t terms) (string, bool) { return "set", t.remember }}
}

func bound(source string) requirement {
	return requirement{source: source, field: "Binding.UserAgent", asks: "sessions that are bound to their device",
		breaks: func(t terms) (string, bool) { return t.binding.UserAgent.String(), t.binding.UserAgent == Off }}
}

// profileLimit is the cap that a profile sets where the application sets none.
var profileLimit = Limit{Max: 3, OnExceed: Deny}

// fill sets what the application has left open.
func (p Profile) fill(c *Config) {
	if p == ProfileNone || int(p) >= len(profiles) {
		return
	}
	set := profiles[p]
	if c.Timeouts.Idle == 0 {
		c.Timeouts.Idle = set.timeouts.Idle
	}
	if c.Timeouts.Absolute == 0 {
		c.Timeouts.Absolute = set.timeouts.Absolute
	}
	c.Binding = c.Binding.or(set.binding)
	if c.Limit == (Limit{}) {
		c.Limit = profileLimit
	}
	if c.RotationGrace == 0 {
		c.RotationGrace = -1
	}
}

// deviations returns where the terms do not follow the profile.
func (p Profile) deviations(t terms) []Deviation {
	var list []Deviation
	for _, r := range profiles[p].requirements {
		if value, yes := r.breaks(t); yes {
			list = append(list, Deviation{Profile: p, Source: r.source, Field: r.field, Value: value, Asks: r.asks, Should: r.should})
		}
	}
	return list
}

// problems returns what the profile refuses, with the fields' names behind prefix.
func (p Profile) problems(prefix string, t terms) []FieldError {
	if int(p) >= len(profiles) {
		return []FieldError{{Field: "Profile", Value: p.String(), Problem: "nobody could tell which standard holds", Cure: "use one of the Profile constants"}}
	}
	var errs []FieldError
	for _, d := range p.deviations(t) {
		if !d.Should {
			errs = append(errs, d.fieldError(prefix+d.Field, d.Value))
		}
	}
	return errs
}

func (d Deviation) fieldError(field, value string) FieldError {
	return FieldError{Field: field, Value: value,
		Problem: fmt.Sprintf("profile %s asks for %s (%s)", d.Profile, d.Asks, d.Source), Cure: "leave it to the profile, or choose another profile"}
}

// String returns the name of the profile, as a command line spells it.
func (p Profile) String() string {
	if int(p) < len(profiles) {
		return profiles[p].name
	}
	return fmt.Sprintf("Profile(%d)", uint8(p))
}

// MarshalText returns what String returns.
func (p Profile) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText accepts what String returns, so that flag.TextVar and
// configuration files can set it.
func (p *Profile) UnmarshalText(text []byte) error {
	i := slices.IndexFunc(profiles[:], func(known profile) bool { return known.name == string(text) })
	if i < 0 {
		return fmt.Errorf("scsguard: %q is not a profile: pci, nist-aal2, nist-aal2-rev3, nist-aal3, owasp-high-value, psd2, or none", text)
	}
	*p = Profile(i)
	return nil
}
