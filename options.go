package scsguard

import "time"

// A LoginOption says more about a login.
type LoginOption interface{ login(*loginOptions) }

// An AuthOption says how a user proved who he is, at a login, an elevation or a
// re-authentication.
type AuthOption interface {
	LoginOption
	ReauthOption
	auth(*authOptions)
}

// A ReauthOption says more about a re-authentication.
type ReauthOption interface{ reauth(*authOptions) }

// An EndOption says whose session is ended, and by whom.
type EndOption interface{ end(*endOptions) }

// A RevokeOption says more about the end of many sessions: by whom, which stay,
// and why.
type RevokeOption interface{ revoke(*endOptions) }

// An ActorOption says who acts, if it is not the user himself.
type ActorOption interface {
	LoginOption
	EndOption
	RevokeOption
}

type authOptions struct {
	methods []string
	aal     int
	at      time.Time
	atGiven bool
	full    bool
}

// proved returns the time that AuthenticatedAt gave, as far as it can be
// believed: two clocks may differ a little, and what lies further in the future
// says nothing.
func (o authOptions) proved() time.Time {
	switch now := time.Now(); {
	case o.at.After(now.Add(ClockSkew)):
		return time.Time{}
	case o.at.After(now):
		return now
	}
	return o.at
}

type loginOptions struct {
	authOptions
	role       string
	remembered bool
	remember   bool
	restores   *keptFamily // the family whose token the login rests on
	endSession string
	actor      string
	external   string
}

type endOptions struct {
	user          string
	actor         string
	exceptCurrent bool
	detail        string
}

type (
	loginOption  func(*loginOptions)
	authOption   func(*authOptions)
	reauthOption func(*authOptions)
	endOption    func(*endOptions)
	revokeOption func(*endOptions)
	actorOption  string
)

func (f loginOption) login(o *loginOptions)  { f(o) }
func (f authOption) login(o *loginOptions)   { f(&o.authOptions) }
func (f authOption) auth(o *authOptions)     { f(o) }
func (f authOption) reauth(o *authOptions)   { f(o) }
func (f reauthOption) reauth(o *authOptions) { f(o) }
func (f endOption) end(o *endOptions)        { f(o) }
func (f revokeOption) revoke(o *endOptions)  { f(o) }
func (a actorOption) login(o *loginOptions)  { o.actor = string(a) }
func (a actorOption) end(o *endOptions)      { o.actor = string(a) }
func (a actorOption) revoke(o *endOptions)   { o.actor = string(a) }

// Role sets the role with which the session begins, for [Config.Policy], the
// trail and [Guard.Current]. Default: none.
func Role(role string) LoginOption { return loginOption(func(o *loginOptions) { o.role = role }) }

// Remembered says that the login rests on a remember-me token of the
// application's own and not on a primary factor (for the guard's see [Remember]).
// It proves little: the session has an AAL of 1 at most, no Methods, and the zero
// AuthTime, as one that was never authenticated. Give [AuthenticatedAt] when the
// user did prove who he is; without, the login is refused once all his sessions
// were ended.
func Remembered() LoginOption { return loginOption(func(o *loginOptions) { o.remembered = true }) }

// EndSession names a session of the user that he chose to end, so that the
// login has a place. It is ended only if the login succeeds. One that has ended
// already, or is not his, is ignored.
func EndSession(id string) LoginOption {
	return loginOption(func(o *loginOptions) { o.endSession = id })
}

// ExternalID is the identity provider's name for the session, by which
// [Guard.EndExternal] finds it. With OpenID Connect give issuer and sid together:
// two providers may use the same sid.
func ExternalID(id string) LoginOption { return loginOption(func(o *loginOptions) { o.external = id }) }

// Methods names what the user proved, in words of RFC 8176 such as "pwd",
// "otp", "hwk".
func Methods(methods ...string) AuthOption {
	return authOption(func(o *authOptions) { o.methods = append([]string(nil), methods...) })
}

// AAL is the authenticator assurance level that was reached, 1 to 3 (NIST SP
// 800-63B). Default: 0, unknown.
func AAL(level int) AuthOption { return authOption(func(o *authOptions) { o.aal = level }) }

// AuthenticatedAt is when the user proved who he is, if that was not in this
// request: the auth_time of an identity provider. A login is refused if all
// sessions of the user were ended since. The zero time, and one in the future,
// is unknown, and counts as before any of that. Default: the arrival
// of the request, or the [Guard.EndAll] of this user in the same request.
func AuthenticatedAt(t time.Time) AuthOption {
	return authOption(func(o *authOptions) { o.at, o.atGiven = t, true })
}

// Full says that a re-authentication was a complete one, the primary factor
// included, so that the absolute timeout starts anew. It is refused if the AAL
// is below that of the login (NIST SP 800-63B-4 5.2), or if [AuthenticatedAt] is
// not later than the last authentication: nothing new was proved then.
func Full() ReauthOption { return reauthOption(func(o *authOptions) { o.full = true }) }

// By names who acts, if it is not the user himself: an administrator who ends
// sessions, or somebody who is logged in on behalf of the user.
func By(actor string) ActorOption { return actorOption(actor) }

// Of names the user whose session is ended. Default: the user of the request.
// The application decides who may do that.
func Of(user string) EndOption { return endOption(func(o *endOptions) { o.user = user }) }

// ExceptCurrent lets the session of the request live, if it has one.
func ExceptCurrent() RevokeOption {
	return revokeOption(func(o *endOptions) { o.exceptCurrent = true })
}

// detailPasswordChanged is the Detail of endings by PasswordChanged.
const detailPasswordChanged = "password_changed"

// PasswordChanged says why the sessions are ended, so that their visitors can
// be told.
func PasswordChanged() RevokeOption {
	return revokeOption(func(o *endOptions) { o.detail = detailPasswordChanged })
}
