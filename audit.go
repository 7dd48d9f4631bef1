package scsguard

import (
	"context"
	"net/netip"
	"time"
)

// An EventKind names what happened. The kinds an application records itself
// with [Guard.Record] are its own words.
type EventKind string

// The five the trail is for.
const (
	EventLogin             EventKind = "login"
	EventLogout            EventKind = "logout"
	EventTimeout           EventKind = "timeout"
	EventExtend            EventKind = "extend"
	EventConcurrentWarning EventKind = "concurrent_warning"
)

// Further kinds.
const (
	EventLoginDenied         EventKind = "login_denied"         // right credentials, refused by the cap or because they are older than an EndAll
	EventLoginFailed         EventKind = "login_failed"         // wrong credentials, as the application says
	EventRenew               EventKind = "renew"                // a new token without a new privilege
	EventPrivilegeChange     EventKind = "privilege_change"     // Elevate or Drop
	EventReauth              EventKind = "reauth"               // the user proved again who he is
	EventFingerprintMismatch EventKind = "fingerprint_mismatch" // another device or network, once for each change
	EventTokenReuse          EventKind = "token_reuse"          // an old token, or one that was used to come back, after its grace or from another device
	EventDuplicateCookie     EventKind = "duplicate_cookie"     // several session cookies in one request: one may have been planted
	EventEnroll              EventKind = "enroll"               // a session that was logged in without the guard is under it from now on
	EventRevoke              EventKind = "revoke"               // EndAll or EndEveryone was called: by whom, for whom, how many
	EventConfigChanged       EventKind = "config_changed"       // the session manager was changed behind the guard's back
	EventGap                 EventKind = "audit.gap"            // events were lost while the trail could not be written: how many of each kind, from when to when
	EventDegraded            EventKind = "audit.degraded"       // access was granted before the trail had it, see AuditAllowAndFlag
)

// EventKinds returns every kind the guard itself writes, in a fixed order: the
// inventory that NIST SP 800-53 AU-2 and ASVS 5.0 16.1.1 ask for.
func EventKinds() []EventKind {
	return []EventKind{
		EventLogin, EventLogout, EventTimeout, EventExtend, EventConcurrentWarning,
		EventLoginDenied, EventLoginFailed, EventRenew, EventPrivilegeChange, EventReauth,
		EventFingerprintMismatch, EventTokenReuse, EventDuplicateCookie, EventEnroll, EventRevoke, EventConfigChanged, EventGap, EventDegraded,
	}
}

// Outcome says whether what an [Event] tells of took place.
type Outcome string

// The outcomes.
const (
	OutcomeSuccess Outcome = "success"
	OutcomeFailure Outcome = "failure"
)

// An Event is one entry of the trail. Which fields are set depends on its kind;
// empty ones are left out of the encoding. It holds no token and nothing a
// session could be used with.
type Event struct {
	// ID is unique. The ending of a session has the ID session + "/end", so that
	// an ending that had to be written twice counts once.
	ID      string
	Time    time.Time
	Kind    EventKind
	Outcome Outcome
	Reason  string
	User    string
	// Actor is who did it, where that is not User.
	Actor   string
	Session string
	// SessionSeq counts the events of a session. A number that is missing is an
	// event that is missing; two events at the same moment may share one.
	SessionSeq uint64
	// TokenHash lets an investigator who holds a token find its session: the
	// keyed digest that [Guard.TokenHash] computes.
	TokenHash   string
	IP          netip.Addr
	IPSource    string // "remote_addr", or "config" if Config.ClientIP decided
	UserAgent   string
	Fingerprint string
	RequestID   string // the X-Request-Id header
	Route       string // the pattern that the ServeMux matched, never the URL
	Transaction string // the application's name of a business transaction

	AuthMethods []string
	AAL         int
	AuthTime    time.Time
	Created     time.Time

	IdleExpires        time.Time
	AbsoluteExpires    time.Time
	IdleExpiresOld     time.Time
	AbsoluteExpiresOld time.Time
	// Due is when a session that timed out was over, beside Time, when that was
	// noticed.
	Due time.Time

	// Concurrent is the number of sessions of the user that are alive, this one
	// included; Others names the others.
	Concurrent int
	Others     []string
	Max        int

	Details map[string]string
}

// A Sink keeps audit records. Each record is one JSON object without a line
// break, in UTF-8, from its first brace to its last.
//
// Append returns nil only when all records are durable, in their order, after
// those of earlier calls. It must not change the records or keep them after it
// returns, and gives up when ctx is done. A guard does not call it again before it
// has returned; guards that share a sink may call it at the same time. Records
// that an Append which failed may or may not have kept are sent again if they tell
// of something that happened; they carry the same ID.
//
// A sink may have a method AppendReserved like Append, for what must still be
// written when Append refuses because room runs out: what takes access away is
// given to it then (NIST SP 800-53 AU-5).
//
// A sink may have a method ReportLoss(from, to time.Time, countsByKind
// map[string]int64, cause string), which is told what an audit.gap tells, so that
// whoever verifies the sink sees the gap without reading events. It must not wait
// for anything.
//
// A sink may have a method Problem() error, which says what is wrong although it
// keeps what it is given: an anchor that lags behind, a disk that is nearly full.
// [Guard.Health] calls it each time, so it must not wait for anything.
//
// Package sinktest checks an implementation.
type Sink interface {
	Append(ctx context.Context, records [][]byte) error
}

// SinkFunc is a function as a [Sink].
type SinkFunc func(ctx context.Context, records [][]byte) error

// Append calls f.
func (f SinkFunc) Append(ctx context.Context, records [][]byte) error { return f(ctx, records) }

// Discard returns a [Sink] that keeps nothing and never fails. With it nobody
// can answer afterwards whether a session was alive; it is for tests and demos.
func Discard() Sink {
	return forgetful{func(context.Context, [][]byte) error { return nil }}
}

// forgetful is a sink that is known to keep nothing.
type forgetful struct{ SinkFunc }

// keepsNothing reports whether nobody can read afterwards what a sink was given.
func keepsNothing(s Sink) bool {
	switch s := s.(type) {
	case forgetful:
		return true
	case *fallbackSink:
		return keepsNothing(s.primary) // what it keeps is looked for there
	case *multiSink:
		for _, b := range s.branches {
			if !keepsNothing(b.sink) {
				return false
			}
		}
		return true
	}
	return false
}
