package scsguard

import (
	"errors"
	"fmt"
	"maps"
)

// AuditDown is what happens to what grants access while the trail cannot be
// written: a login, a higher role, an extension, an event of [Guard.Record].
// What takes access away is done in either case and recorded afterwards, and
// what grants nothing is served.
type AuditDown uint8

const (
	// AuditDeny refuses it with 503. It is the default (NIST SP 800-53 AU-5(4),
	// ASVS 5.0 16.5.3). Those who are logged in stay so, until their timeouts.
	AuditDeny AuditDown = iota
	// AuditAllowAndFlag grants it all the same, where being locked out is worse
	// than not knowing: a hospital ward, an emergency desk. Each such event
	// carries the detail audit_down=allowed, waits in memory, and is lost if the
	// process dies first; when there is no room left, access is refused after all.
	// Once the trail works again an audit.degraded says how much was granted, and
	// meanwhile [Guard.Health] says so. A sink that hangs still costs each caller
	// the CallTimeout.
	AuditAllowAndFlag
)

var auditDownNames = [...]string{"deny", "allow-and-flag"}

// String returns "deny" or "allow-and-flag".
func (a AuditDown) String() string {
	if int(a) < len(auditDownNames) {
		return auditDownNames[a]
	}
	return fmt.Sprintf("AuditDown(%d)", uint8(a))
}

// MarshalText returns what String returns.
func (a AuditDown) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText accepts "deny" and "allow-and-flag", so that flag.TextVar and
// configuration files can set it.
func (a *AuditDown) UnmarshalText(text []byte) error {
	for i, name := range auditDownNames {
		if string(text) == name {
			*a = AuditDown(i)
			return nil
		}
	}
	return fmt.Errorf("scsguard: %q is not deny or allow-and-flag", text)
}

var errGrantsUnrecorded = errors.New("access is granted without a durable record, as Config.OnAuditDown allows")

// auditProblem is what health says of a failed Append.
func (g *Guard) auditProblem(err error) error {
	if g.cfg.OnAuditDown == AuditAllowAndFlag {
		return fmt.Errorf("%w: %w", errGrantsUnrecorded, err)
	}
	return err
}

// auditFailed notes a failed Append and tells OnAuditFailure.
func (g *Guard) auditFailed(err error) {
	g.health.note(ComponentAudit, g.auditProblem(err))
	if g.cfg.OnAuditFailure == nil || g.reporting.Swap(true) {
		return
	}
	go func() { // the trail goes on trying meanwhile
		defer g.reporting.Store(false)
		defer func() {
			if p := recover(); p != nil {
				g.health.note(ComponentHook, fmt.Errorf("OnAuditFailure panicked: %v", p))
			}
		}()
		g.cfg.OnAuditFailure(err)
		g.health.note(ComponentHook, nil)
	}()
}

// grant writes events that must be durable before access is given. The caller
// calls tell once access is given.
func (g *Guard) grant(events ...Event) error {
	if g.closed.Load() {
		return ErrClosed
	}
	return g.keep(events)
}

// keep waits until the events are durable, or does what OnAuditDown says.
func (g *Guard) keep(events []Event) error {
	err := g.trail.wait(events...)
	if err == nil {
		return nil
	}
	g.health.note(ComponentAudit, g.auditProblem(err))
	if g.cfg.OnAuditDown == AuditAllowAndFlag && g.trail.postGranted(flagged(events), err) {
		return nil // fails open: the operator has chosen so, and what is granted is flagged
	}
	return &UnavailableError{Component: ComponentAudit, Op: "append", Err: err}
}

// flagged returns the events with the mark of what was granted unrecorded. They
// keep their IDs: the trail may have them already, without it.
func flagged(events []Event) []Event {
	list := make([]Event, len(events))
	for i, e := range events {
		e.Details = maps.Clone(e.Details)
		e.detail("audit_down", "allowed")
		list[i] = e
	}
	return list
}
