package scsguard

import (
	"context"
	"net/netip"
	"time"
)

// A Registry is the index of sessions, shared by every process that serves
// them: who is logged in where, and whether each session still lives. It is the
// authority the guard asks on every request, so a session whose record has
// ended is dead whatever the session store does.
//
// The contract, which package registrytest checks:
//
//   - Methods are safe for concurrent use, by several processes where the
//     registry outlives one. They return an error only when the registry could
//     not do its work; being unknown, ended or refused is an answer, and so is a
//     stored record that cannot be read: it has ended, as invalid. They may keep
//     the slices of their arguments and never change them.
//   - A record only goes forward (see [State]). Of several calls that would end
//     or move the same session exactly one is told that it did.
//   - Whoever is alive is counted: a place is reserved before a session starts
//     and given back after it is dead. At no instant are more sessions of a user
//     alive than the limit under which the last of them was admitted.
//   - Ending is an outbox. An ended session is dead at once, and its record is
//     handed out by Due until Confirm says that the ending is in the trail, so
//     that a process which dies in between loses nothing. Whoever is told that a
//     session ended has the first [Lease] to write that down.
//   - Nothing is kept for ever: records end with their limits, tombstones and
//     what is known of a user expire (see [TombstoneMargin] and [UserMemory]).
//   - Times in arguments and answers are on the caller's clock. A registry that
//     several hosts share judges by a clock of its own and converts ages, with
//     one offset for all times of a record. Two readings of one time may differ by
//     less than a second.
//
// The methods of [Record], from [Record.Overdue] to [Record.End], are the rules by
// which records change.
type Registry interface {
	// Namespace returns the part of the registry with that name. Two namespaces
	// never see each other's sessions. The registry itself is the namespace "".
	Namespace(name string) Registry

	// Get returns the record under key, a tombstone included. A key that is
	// unknown, or only reserved, yields the zero Record and no error.
	Get(ctx context.Context, key Key) (Record, error)

	// Admit asks for a place for a.Record and reserves it, or refuses. Nobody
	// has been ended yet, except what was overdue: those past a limit, and logins
	// that were abandoned. Every admission must be completed by Settle; one that is
	// not is undone when its lease is over.
	Admit(ctx context.Context, a Admission) (Admitted, error)

	// Settle completes an admission. With commit it ends every session of the
	// user that was marked by any admission, then brings the record to life with
	// a.Record.Seq, unless its key has a tombstone. Without commit it gives the
	// place back as if it had never been asked for; that is right only if nobody
	// can have learned of the login, else it is ended by End. Whoever gives a
	// place back, or is ended before he lives, unmarks his victims, or hands them
	// down to the admission that has marked him. Should there be no room in spite
	// of that (a login that would have ended several has failed), EvictOldest ends
	// the oldest and Deny ends this login. Settling again changes nothing.
	Settle(ctx context.Context, a Admitted, commit bool) (Settled, error)

	// Touch updates single fields of a live record and never ends it. Without an
	// activity (act.At) it does so for an overdue one, too.
	Touch(ctx context.Context, key Key, act Activity) (Touched, error)

	// Detach makes a live record dead to every reader until Move by the same
	// owner, End, or the end of its lease decides what becomes of it. Detaching it
	// again renews the lease. It answers whether the record is detached for that
	// owner, and the record that lies under this very key, moved or not.
	Detach(ctx context.Context, key Key, owner string, lease time.Duration) (Record, bool, error)

	// Move gives a live session a new key, or one that rot.Owner has detached. Of
	// two calls for the same old key exactly one wins. current is the session's
	// record after the call, under its present key, or ended; it is the zero
	// Record if the old key is unknown. Nothing moves to a key that has a record
	// or a tombstone, and no session that is past its absolute deadline gets a new
	// one.
	Move(ctx context.Context, from Key, to Rotation) (won bool, current Record, err error)

	// End ends the session that t names, following it to its present key. ended
	// is true for exactly one caller. A key that is unknown gets a tombstone, so
	// that nothing can be created under it later; with t.Session that is the ending
	// of a session which lost its record, to be confirmed like any other. With the
	// reason EndReplaced, a key that is unknown, has moved or has ended is left with
	// e.At as its ReplacedAt. IfDue and Exact leave an unknown key alone.
	End(ctx context.Context, t Target, e Ending) (rec Record, ended bool, err error)

	// EndAll ends all sessions that r names, logins in progress included, and
	// refuses logins authenticated before the call. What was overdue ends by what
	// [Record.Overdue] says, is not counted, and Due hands it out. With an error it
	// may have ended some, and says which.
	EndAll(ctx context.Context, r Revocation) (Revoked, error)

	// List returns the user's live sessions, oldest login first.
	List(ctx context.Context, user string) ([]Record, error)

	// Due returns at most n records that need attention: live ones that are
	// overdue, reserved and detached ones whose lease is over, ended ones that
	// nobody confirmed. Each is leased to the caller for a few seconds and handed
	// out again if it still needs attention then. What it costs grows with what
	// is due, not with what lives.
	Due(ctx context.Context, n int) ([]Record, error)

	// Confirm says that the ending of the record under rec.Key is in the trail.
	// Confirming again, or what is unknown, is no error.
	Confirm(ctx context.Context, rec Record) error
}

// A Watcher is a [Registry] that can tell of endings in other processes.
type Watcher interface {
	// Watch sends the record of every session of the namespace that ends, until
	// ctx is done. The channel is closed then, or when endings may have been
	// missed.
	Watch(ctx context.Context) (<-chan Record, error)
}

// A Queuer is a [Registry] for which hundreds of logins of one user at once are a
// burden: on a network, each of them has to deal with all the others. If QueueLogins
// says so, those of one user in one process wait for each other, as long as a call
// may take. The registry decides as if they did not.
type Queuer interface {
	QueueLogins() bool
}

// A Batcher is a [Registry] that does for many sessions, in a few round trips, what
// [Registry.End] and [Registry.Confirm] do for one. Sweeps use it, and sign-outs of many
// sessions.
type Batcher interface {
	// EndDue does to the session under each of keys what End does with Target.IfDue,
	// and returns the records of those that this call has ended, in any order. With an
	// error it may have ended some, and says which.
	EndDue(ctx context.Context, keys []Key, e Ending) (ended []Record, err error)

	// ConfirmAll is Confirm of each of recs. With an error it may have confirmed some.
	ConfirmAll(ctx context.Context, recs []Record) error
}

// Lease is how long a login or renewal in progress, and a record handed out by
// [Registry.Due], belongs to the process that works on it. A process that dies
// holds a user's place for no longer than this.
const Lease = 5 * time.Second

// UserMemory is how long a registry remembers the last login of a user and the
// moment before which his logins are refused: longer than the longest session
// anybody should allow, and more than a year for those who log in yearly.
const UserMemory = 400 * 24 * time.Hour

// TombstoneMargin is how long a tombstone stays after the absolute deadline of
// the session, and how long an external ID that was ended is remembered: longer
// than any request or login that could still be in flight.
const TombstoneMargin = time.Hour

// An Admission asks for a place in the user's list of sessions.
type Admission struct {
	// Record is the session to be. Its Key is the key of its data.
	Record Record
	Limit  Limit
	// AuthenticatedAt is when the user proved who he is. It is compared with the
	// last EndAll. The zero time is unknown and counts as before any of them.
	AuthenticatedAt time.Time
	// Replaces is the session of the same user in the same browser, if any, and
	// Browser the key of the token that the login came with. The session, and any
	// other login that came with the same token (another tab), is ended and costs
	// no place.
	Replaces string
	Browser  Key
	// End is a session of the user that he chose to end to make room, if any.
	End string
	// By completes the endings of those that have to go: Keep, Actor.
	By Ending
	// Retention is how long after its absolute deadline an ending waits to be
	// confirmed.
	Retention time.Duration
}

// A Denial says why an admission was refused.
type Denial string

// The reasons for a refusal. The zero Denial is an admission.
const (
	DeniedLimit   Denial = "limit"   // the user holds as many sessions as allowed
	DeniedRevoked Denial = "revoked" // authenticated before the user's sessions were ended, or nothing can be created under the key
	DeniedExists  Denial = "exists"  // the user has a live session, or a login in progress, under the key; it is returned
)

// Admitted is the answer to an [Admission].
type Admitted struct {
	Denied Denial
	Record Record // as reserved
	// Others are the user's other sessions that stay, oldest first; for a
	// refusal by the limit, those that fill it. Those that the login will end are
	// not among them. They are alive until Settle.
	Others []Record
	// Overdue are sessions that were past a limit and were ended by this call.
	// Like those of EndAll, the caller confirms them.
	Overdue []Record
	// LastLogin is the user's latest login before this one, by Created: a session
	// that is enrolled may be older than others.
	LastLogin LastLogin
}

// LastLogin is when and from where a user logged in before (NIST SP 800-53
// AC-9). The zero value means that nothing is known.
type LastLogin struct {
	Time      time.Time
	IP        netip.Addr
	UserAgent string
}

// Settled is the answer to [Registry.Settle].
type Settled struct {
	// Live says that the session is alive. Otherwise Record.Ending says what
	// became of it between Admit and Settle.
	Live   bool
	Record Record
	// Ended are the sessions that this call ended, oldest first, the record's own
	// among them if it was marked as well. The caller confirms them.
	Ended []Record
}

// Activity is a change to single fields of a live record.
type Activity struct {
	// At is the arrival of a request that counts as activity. It moves
	// LastActivity forward only, and is refused if the session was overdue then.
	// The zero time is no activity.
	At time.Time
	// Idle and Absolute tighten the limits; a value that is zero or not stricter
	// changes nothing.
	Idle     time.Duration
	Absolute time.Time
	// Event takes the next sequence number of the session for an event.
	Event bool
	// Extended counts an explicit extension.
	Extended bool
	// TakeWarnings hands out the session's warnings and forgets them.
	TakeWarnings bool
	// ResetRole returns to BaseRole.
	ResetRole bool
	// ForgetAuth makes the session one that was not recently authenticated: its
	// AuthTime becomes the zero time.
	ForgetAuth bool
	// Fingerprint and Mismatch replace those of the record, if they are not empty.
	Fingerprint string
	Mismatch    string
	// Extra replaces the record's, if it is not nil.
	Extra []byte
}

// Touched is the answer to [Registry.Touch].
type Touched struct {
	Live     bool // the record is live and the activity was recorded
	Seq      uint64
	Warnings []Warning
	// Mismatch is the record's before the Touch: of several requests that note the
	// same one, in whichever process, exactly one was first.
	Mismatch string
}

// A Rotation gives a session a new key. Fields left zero stay as the record has
// them at the moment of the move, so that nothing another request recorded in
// the meantime is lost.
type Rotation struct {
	To          Key
	Owner       string        // who has detached the session, if it is detached
	At          time.Time     // becomes TokenSince
	Grace       time.Duration // how long requests with the old token are served
	Fingerprint string
	Activity    time.Time // as in Activity.At
	// Role changes the role, if it is not empty; ResetRole returns to BaseRole.
	Role      string
	ResetRole bool
	// Auth is a new authentication: AuthTime, Methods and AAL change, and the
	// longest gap starts anew.
	Auth *Authentication
	// Absolute starts a new absolute deadline. Only a full re-authentication
	// sets it.
	Absolute time.Time
	// Events is how many sequence numbers the rotation's events take.
	Events int
}

// An Authentication is what a user proved, and when.
type Authentication struct {
	Time    time.Time
	Methods []string
	AAL     int
	// Full says that it was as good as a login: LoginAAL becomes AAL, and the
	// session is no longer a remembered one.
	Full bool
}

// A Target names the session that [Registry.End] ends: by its key, or by user
// and session ID, so that nobody ends another user's session by guessing.
type Target struct {
	Key     Key
	User    string
	Session string // with Key: the session whose record is lost
	// Exact ends only a record that is live under this very Key, and not one that
	// has moved on.
	Exact bool
	// IfDue ends the session only if it is overdue by its record's own fields at
	// this moment, and with the Ending that [Record.Overdue] gives. A session
	// that was touched meanwhile lives.
	IfDue bool
}

// A Revocation names the sessions that [Registry.EndAll] ends.
type Revocation struct {
	// Everyone ends the sessions of all users. Otherwise User ends those of one
	// user, and External those with that external ID.
	Everyone bool
	User     string
	External string
	// Except is the ID of a session that stays.
	Except string
	Ending Ending
}

// Revoked is the answer to [Registry.EndAll].
type Revoked struct {
	// Total is how many sessions the call ended, and Ended at most [MaxRevoked] of
	// their records, which the caller confirms. Due hands out the others at once.
	Total int
	Ended []Record
	// Before is the moment before which logins of r.User were refused until now,
	// the zero time if there was none.
	Before time.Time
}

// MaxRevoked bounds the records that [Registry.EndAll] returns.
const MaxRevoked = 1000
