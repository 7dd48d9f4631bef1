package scsguard

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"
)

// A Key names one session in the session store: the token itself, or its
// SHA-256 if the manager sets HashTokenInStore. Without hashing whoever reads a
// Key can use the session, so it prints, logs and marshals as "[redacted]".
// A [Registry] that keeps records outside the process converts it with
// string(key), and keeps it where it keeps the session data.
type Key string

const redacted = "[redacted]"

// Format hides the key from every verb of package fmt.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// String returns "[redacted]", or "" for the empty key.
func (k Key) String() string {
	if k == "" {
		return ""
	}
	return redacted
}

// MarshalText hides the key from encoding/json and everything built on it.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue hides the key from log/slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// State says how far a record has come. A record only goes forward:
// reserved, live, then moved or ended, with detached on the way from live.
type State uint8

const (
	// StateUnknown is the zero State: there is no record under the key.
	StateUnknown State = iota
	// StateReserved holds a place for a login that is not complete. Nobody is
	// served by it, and [Registry.Get] answers StateUnknown.
	StateReserved
	// StateLive is a session that may be used, if its limits allow it.
	StateLive
	// StateDetached is a session whose token the application deleted by itself
	// (RenewToken or Destroy of the session manager). Nobody is served by it.
	// It becomes moved if the application goes on with a new token in time.
	StateDetached
	// StateMoved is the old key of a session that has a new one, its Successor.
	StateMoved
	// StateEnded is final. The record stays as a tombstone, so that a late write
	// cannot bring the session back and its visitor can be told why it ended.
	StateEnded
)

var stateNames = [...]string{"unknown", "reserved", "live", "detached", "moved", "ended"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// A Record is what a [Registry] knows about one session under one [Key]. It is
// the authority on whether the session lives; the session data never is.
// Records are passed by value and their slices are never changed in place.
type Record struct {
	// Session is the public name of the session: 128 random bits, the same from
	// login to the end, whatever happens to its token.
	Session string
	// User is the application's name of the user. It may hold any bytes.
	User string
	// Role is the role in force, BaseRole the one given at login, to which
	// [Guard.Drop] returns.
	Role, BaseRole string

	Key   Key
	State State

	// Created is the time of the login and never changes.
	Created time.Time
	// AuthTime, Methods and AAL describe the last authentication: when, by what
	// (RFC 8176 names such as "pwd", "otp"), and the NIST SP 800-63B level
	// reached, 0 if unknown.
	AuthTime time.Time
	Methods  []string
	AAL      int
	// LoginAAL is the AAL of the login, which a re-authentication must reach to
	// renew the absolute deadline.
	LoginAAL int

	// LastActivity is the last recorded activity, from which Idle counts.
	LastActivity time.Time
	Idle         time.Duration
	// Absolute is the absolute deadline. Nothing but a full re-authentication
	// moves it later. AbsoluteSince is when it was set: at login, or then.
	Absolute      time.Time
	AbsoluteSince time.Time
	// LongestGap is the longest time without activity since AuthTime. It lets
	// [Guard.LimitIdle] see an interruption although the user was active since.
	LongestGap time.Duration
	// TokenSince is when the session got its current token.
	TokenSince time.Time

	// Fingerprint is a keyed digest of signals of the client that the session's
	// current token was given to. Mismatch is the last other one that was recorded,
	// so that a change is recorded once.
	Fingerprint string
	Mismatch    string
	IP          netip.Addr
	UserAgent   string

	Remembered bool   // logged in by a remember-me token, not by a primary factor
	Actor      string // who acts on behalf of User, if anybody
	External   string // the identity provider's name of the session (OIDC sid)

	Seq      uint64    // number of the session's events in the trail
	Extends  int       // explicit extensions so far
	Warnings []Warning // logins elsewhere that this session was not told of yet

	// Lease is when a reserved or detached record counts as abandoned. Owner is
	// who has detached it.
	Lease time.Time
	Owner string

	// Successor, MovedAt and GraceUntil belong to a moved record.
	Successor  Key
	MovedAt    time.Time
	GraceUntil time.Time

	// Ending belongs to an ended record. Confirmed says that it is in the trail.
	Ending    Ending
	Confirmed bool

	// ReplacedAt is when a login took over from this token, in the same browser, if
	// the session had moved on or ended before, or there was none.
	ReplacedAt time.Time

	// Remember is the public ID of the remembered browser (see [Remember]) that the
	// session belongs to. Who ends the session on purpose ends that as well.
	Remember string

	// Extra is kept and handed back unchanged: room for what later versions
	// need to remember, so that an older process does not lose it.
	Extra []byte
}

// A Warning tells a session of a login of the same user elsewhere.
type Warning struct {
	Time      time.Time
	Session   string // the session that began
	IP        netip.Addr
	UserAgent string
}

// MaxWarnings bounds what is kept for a session that never asks. The newest stay.
const MaxWarnings = 5

// An Ending says how a session ended. It is stored with the record, whole, so
// that any process can write the event that the one which died could not.
type Ending struct {
	Kind   EventKind // EventLogout or EventTimeout
	Reason EndReason
	At     time.Time // when it was noticed
	Due    time.Time // for a time out, the deadline that passed
	Actor  string    // who ended it, if not its own user in this session
	Detail string    // more about the reason, for the trail
	// IP, IPSource and UserAgent are those of the request that ended it. They are
	// empty for what a sweep or a job ended.
	IP        netip.Addr
	IPSource  string
	UserAgent string
	// Keep is how long the tombstone must stay at the least, counted from the
	// ending, if that is longer than until the session's absolute deadline. In both
	// cases [TombstoneMargin] comes on top.
	Keep time.Duration
}

// An EndReason is the trail's word for why a session ended.
type EndReason string

// The reasons of a time out.
const (
	EndIdle     EndReason = "idle"     // idle timeout
	EndAbsolute EndReason = "absolute" // absolute timeout
)

// The reasons of a logout.
const (
	EndUser        EndReason = "user"         // the user, in this session or from another of his own
	EndAdmin       EndReason = "admin"        // somebody else, named by the actor
	EndEvicted     EndReason = "evicted"      // a login beyond the cap took its place
	EndReplaced    EndReason = "replaced"     // a login in the same browser took its place
	EndRevoked     EndReason = "revoked"      // all sessions of the user, or of everybody, were ended
	EndDestroyed   EndReason = "destroyed"    // the application destroyed it without the guard
	EndAborted     EndReason = "aborted"      // the login could not be completed or delivered
	EndWrongDevice EndReason = "wrong_device" // another device used it, and Config.Binding says End
	EndLost        EndReason = "lost"         // its record or its data is gone, cannot be read, or is another session's
	EndInvalid     EndReason = "invalid"      // its record makes no sense
	EndShutdown    EndReason = "shutdown"     // the process that held it in memory was closed
)

// ClockSkew is how far in the future a record's times may lie before they count
// as forged or broken: two hosts rarely agree to the second, and never need to
// differ by a minute.
const ClockSkew = time.Minute

// Due returns the moment at which the session ends if nothing happens, and by
// which limit.
func (r *Record) Due() (time.Time, EndReason) {
	idle := r.LastActivity.Add(r.Idle)
	if idle.Before(r.Absolute) {
		return idle, EndIdle
	}
	return r.Absolute, EndAbsolute
}

// Overdue reports whether the record has to end at now, by its own fields
// alone, and how: a live session past a limit, one whose fields make no sense,
// a login or a renewal that was abandoned. The limits are exclusive: a session
// is alive one nanosecond before its deadline and not at it.
func (r *Record) Overdue(now time.Time) (Ending, bool) {
	switch r.State {
	case StateReserved:
		return Ending{Kind: EventLogout, Reason: EndAborted, At: now}, !now.Before(r.Lease)
	case StateDetached:
		return Ending{Kind: EventLogout, Reason: EndDestroyed, At: now}, !now.Before(r.Lease)
	case StateLive:
		if !r.sound(now) {
			return Ending{Kind: EventLogout, Reason: EndInvalid, At: now}, true
		}
		due, reason := r.Due()
		return Ending{Kind: EventTimeout, Reason: reason, At: now, Due: due}, !now.Before(due)
	}
	return Ending{}, false
}

// sound reports whether the fields that limits are judged by make sense. A
// record that lacks them, or lies in the future, is not given the benefit of
// the doubt: it would live for ever.
func (r *Record) sound(now time.Time) bool {
	return r.Session != "" && r.User != "" && r.Idle > 0 &&
		!r.Created.IsZero() && !r.Created.After(now.Add(ClockSkew)) &&
		!r.LastActivity.Before(r.Created.Add(-ClockSkew)) && !r.LastActivity.After(now.Add(ClockSkew)) &&
		r.Absolute.After(r.Created)
}

// Active records activity at a moment, unless the session was over by then. What
// arrived before the last activity changes nothing, and is no reason to refuse.
func (r *Record) Active(at time.Time) bool {
	judged := at
	if judged.Before(r.LastActivity) {
		judged = r.LastActivity
	}
	if _, over := r.Overdue(judged); over {
		return false
	}
	if at.After(r.LastActivity) {
		r.LongestGap = max(r.LongestGap, at.Sub(r.LastActivity))
		r.LastActivity = at
	}
	return true
}

// Tighten makes limits stricter, never laxer. Zero changes nothing.
func (r *Record) Tighten(idle time.Duration, absolute time.Time) {
	if idle > 0 && idle < r.Idle {
		r.Idle = idle
	}
	if !absolute.IsZero() && absolute.Before(r.Absolute) {
		r.Absolute = absolute
	}
}

// Rotate makes the record of a session's old key the record of its new one.
func (r *Record) Rotate(rot Rotation) {
	r.State, r.Key, r.TokenSince, r.Lease, r.Owner = StateLive, rot.To, rot.At, time.Time{}, ""
	if rot.Fingerprint != "" {
		r.Fingerprint, r.Mismatch = rot.Fingerprint, ""
	}
	if !rot.Activity.IsZero() {
		r.Active(rot.Activity)
	}
	switch {
	case rot.ResetRole:
		r.Role = r.BaseRole
	case rot.Role != "":
		r.Role = rot.Role
	}
	if a := rot.Auth; a != nil {
		r.AuthTime, r.Methods, r.AAL, r.LongestGap = a.Time, a.Methods, a.AAL, 0
		if a.Full {
			r.LoginAAL, r.Remembered = a.AAL, false
		}
	}
	if !rot.Absolute.IsZero() {
		r.Absolute, r.AbsoluteSince = rot.Absolute, rot.At
		if rot.Auth != nil {
			r.AbsoluteSince = rot.Auth.Time
		}
	}
	r.Seq += uint64(max(rot.Events, 0))
}

// Warn adds a warning and drops the oldest beyond [MaxWarnings]. The slice may be
// shared with records that were handed out, so it is copied.
func (r *Record) Warn(w Warning) {
	kept := r.Warnings[max(0, len(r.Warnings)+1-MaxWarnings):]
	r.Warnings = append(append(make([]Warning, 0, len(kept)+1), kept...), w) // no larger than it has to be: it is kept
}

// Touch changes what an activity changes in a live record, and answers as
// [Registry.Touch] does. Activity (act.At) of a session that was over by then
// changes nothing.
func (r *Record) Touch(act Activity) Touched {
	if r.State != StateLive || (!act.At.IsZero() && !r.Active(act.At)) {
		return Touched{}
	}
	r.Tighten(act.Idle, act.Absolute)
	if act.Event {
		r.Seq++
	}
	if act.Extended {
		r.Extends++
	}
	if act.ResetRole {
		r.Role = r.BaseRole
	}
	if act.ForgetAuth {
		r.AuthTime = time.Time{}
	}
	if act.Fingerprint != "" {
		r.Fingerprint = act.Fingerprint
	}
	t := Touched{Live: true, Seq: r.Seq, Mismatch: r.Mismatch}
	if act.Mismatch != "" {
		r.Mismatch = act.Mismatch
	}
	if act.Extra != nil {
		r.Extra = act.Extra
	}
	if act.TakeWarnings {
		t.Warnings, r.Warnings = r.Warnings, nil
	}
	return t
}

// HeldBy reports whether owner may decide about the session: anybody about a
// live one, and about a detached one only who has detached it. Otherwise a
// rotation in one request would revive what another has destroyed.
func (r *Record) HeldBy(owner string) bool {
	return r.State == StateLive || r.State == StateDetached && r.Owner == owner
}

// MoveTo makes the record of a session's old key lead to the new one, next, which
// [Record.Rotate] has made of it.
func (r *Record) MoveTo(next Record, rot Rotation) {
	r.State, r.Successor = StateMoved, rot.To
	r.MovedAt, r.GraceUntil = rot.At, rot.At.Add(max(rot.Grace, 0))
	r.Fingerprint = next.Fingerprint
}

// End makes the record one that has ended and waits to be confirmed. It reports
// whether it did: what has moved or ended does not end.
func (r *Record) End(e Ending) bool {
	switch r.State {
	case StateReserved, StateLive, StateDetached:
	default:
		return false
	}
	r.State, r.Ending, r.Confirmed = StateEnded, e, false
	r.Lease, r.Owner, r.Warnings = time.Time{}, "", nil
	r.Seq++
	return true
}
