package scsguard

import (
	"fmt"
	"strings"
	"time"
)

// A PolicyReport says by what rules a guard works, and where they differ from the
// standards it knows: the documentation that ASVS 5.0 asks for in 7.1.1 (time
// outs, and why they deviate from NIST SP 800-63B) and 7.1.2 (concurrent
// sessions). It holds no secret.
type PolicyReport struct {
	Profile  Profile  `json:"profile"`
	Timeouts Timeouts `json:"timeouts"`
	Limit    Limit    `json:"limit"`
	Binding  Binding  `json:"binding"`
	// PerSubject says that Config.Policy may answer otherwise for some.
	PerSubject    bool          `json:"per_subject"`
	RotationGrace time.Duration `json:"rotation_grace"` // 0: none
	// Persistent says that the cookie outlives the browser.
	Persistent bool `json:"persistent_cookie"`
	// InsecureCookie is why a weaker cookie is acceptable, "" if it is not weaker.
	InsecureCookie string `json:"insecure_cookie,omitempty"`
	// HeaderTokens says that API clients carry the token in a header (Config.Token).
	HeaderTokens bool `json:"header_tokens"`
	// UserKey says that logins and logouts are noticed by Config.UserID.
	UserKey bool `json:"user_key"`
	// Remembered is how long a browser may come back without a password. 0: not at all.
	Remembered time.Duration `json:"remembered"`
	// TrailKept is false where the Sink is known to keep nothing.
	TrailKept bool `json:"trail_kept"`
	// OnAuditDown is what becomes of logins while the trail cannot be written.
	OnAuditDown AuditDown `json:"on_audit_down"`
	// Deviations are from every standard, those of Profile first. It is for people
	// to say which of them apply.
	Deviations []Deviation `json:"deviations"`
}

// A Deviation is a requirement that the configuration does not follow.
type Deviation struct {
	Profile Profile `json:"profile"`
	Source  string  `json:"source"` // the standard, with the number of the requirement
	Field   string  `json:"field"`
	Value   string  `json:"value"`
	Asks    string  `json:"asks"`
	Should  bool    `json:"should"` // it is a recommendation
}

// PolicyReport compares what is in force, for a subject of which Config.Policy says
// nothing, with the standards. The session manager's settings are those of now.
func (g *Guard) PolicyReport() PolicyReport {
	g.mustExist()
	t := g.cfg.terms(g.sm)
	t.Absolute = stricter(t.Absolute, g.sm.Lifetime)
	t.Idle = min(t.Idle, t.Absolute)
	rep := PolicyReport{
		Profile: g.cfg.Profile, Timeouts: t.Timeouts, Limit: t.limit, Binding: t.binding, PerSubject: g.cfg.Policy != nil,
		RotationGrace: max(t.grace, 0), Persistent: t.cookie.Persist, InsecureCookie: t.insecureCookie, TrailKept: !keepsNothing(t.audit),
		HeaderTokens: g.cfg.Token != nil, UserKey: g.cfg.UserID != nil, OnAuditDown: t.auditDown,
		Deviations: g.cfg.Profile.deviations(t),
	}
	if t.remember {
		rep.Remembered = g.cfg.Remember.Lifetime
	}
	for p := range profiles {
		if Profile(p) != g.cfg.Profile {
			rep.Deviations = append(rep.Deviations, Profile(p).deviations(t)...)
		}
	}
	return rep
}

// String lays the report out for people, in lines of plain text.
func (p PolicyReport) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-22s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("Profile", "%s", p.Profile)
	line("Idle timeout", "%s, activity recorded every %s", short(p.Timeouts.Idle), short(p.Timeouts.Touch))
	line("Absolute timeout", "%s", short(p.Timeouts.Absolute))
	if p.Timeouts.Renew > 0 {
		line("New token", "every %s", short(p.Timeouts.Renew))
	}
	if p.Limit.Max > 0 {
		line("Concurrent sessions", "at most %d, beyond that: %s", p.Limit.Max, p.Limit.OnExceed)
	} else {
		line("Concurrent sessions", "any number, each is recorded and told")
	}
	line("Another network", "%s", p.Binding.Network)
	line("Another device", "%s", p.Binding.UserAgent)
	line("Old token", "served for %s after a rotation", short(p.RotationGrace))
	line("Cookie", "%s", map[bool]string{true: "outlives the browser", false: "ends with the browser"}[p.Persistent])
	if p.InsecureCookie != "" {
		line("Insecure cookie", "%q", p.InsecureCookie)
	}
	if p.HeaderTokens {
		line("API clients", "carry the token in a header")
	}
	if p.UserKey {
		line("User key", "a login or logout of the application is noticed by it")
	}
	if p.Remembered > 0 {
		line("Remembered", "for %s, without a new proof", short(p.Remembered))
	} else {
		line("Remembered", "nobody")
	}
	line("Trail", "%s", map[bool]string{true: "kept", false: "not kept"}[p.TrailKept])
	line("Without the trail", "%s", map[bool]string{true: "access is refused", false: "access is granted and flagged"}[p.OnAuditDown == AuditDeny])
	if p.PerSubject {
		line("By subject", "yes: Config.Policy may answer otherwise for some")
	}
	b.WriteString("\nDeviations\n")
	if len(p.Deviations) == 0 {
		b.WriteString("none\n")
	}
	for _, d := range p.Deviations {
		word := "asks for"
		if d.Should {
			word = "recommends"
		}
		fmt.Fprintf(&b, "%-17s %s = %s: %s %s %s\n", d.Profile, d.Field, d.Value, d.Source, word, d.Asks)
	}
	return b.String()
}

// short writes a duration without its zeros.
func short(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = strings.TrimSuffix(s, zero[1:])
		}
	}
	return s
}
