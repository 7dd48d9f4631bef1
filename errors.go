package scsguard

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that say which of several things happened. They are wrapped; match
// them with errors.Is.
var (
	// ErrUnavailable reports that the session store, the registry or the trail
	// could not be reached in time. The answer to the visitor is 503; he is
	// neither logged in nor out by it. [*UnavailableError] says what failed.
	ErrUnavailable = errors.New("scsguard: temporarily unavailable")

	// ErrNotLoggedIn reports a verb that needs a logged-in session on a request
	// that has none.
	ErrNotLoggedIn = errors.New("scsguard: nobody is logged in")

	// ErrNotFound reports a session that does not exist, has ended, or belongs
	// to another user; which of these, the caller must not learn.
	ErrNotFound = errors.New("scsguard: no such session")

	// ErrRevoked reports a login that was authenticated before the user's
	// sessions were ended (password change, account disabled). He has to prove
	// who he is again.
	ErrRevoked = errors.New("scsguard: authenticated before the user's sessions were ended")

	// ErrResponseStarted reports a change of token after the first byte of the
	// response, when no cookie can be sent any more.
	ErrResponseStarted = errors.New("scsguard: the response has started, so no new session cookie can be sent")

	// ErrMoved reports a change of token that lost against another one of the
	// same session at the same time. Nothing was changed; the request may be
	// tried again.
	ErrMoved = errors.New("scsguard: another request gave this session a new token at the same time")

	// ErrOtherUser reports that a session of one user was to be merged into a
	// session of another.
	ErrOtherUser = errors.New("scsguard: the session to merge belongs to another user")

	// ErrWeakerLogin reports a re-authentication that is weaker than the login
	// whose absolute deadline it was to renew.
	ErrWeakerLogin = errors.New("scsguard: the re-authentication is weaker than the login")

	// ErrNoSession reports a context that the session manager has not loaded.
	ErrNoSession = errors.New("scsguard: no session in the context; mount Guard.Protect around the handler, or call Load of the session manager first")

	// ErrNoGuard reports a verb of a nil *Guard, as in the literal of a test that
	// has none.
	ErrNoGuard = errors.New("scsguard: the guard is nil, so nothing is granted and nothing is ended; make one with scsguard.New, in a test with guardtest.NewWith")

	// ErrClosed reports a login or another grant after [Guard.Close].
	ErrClosed = errors.New("scsguard: the guard is closed")
)

// An EndedError reports that the session ended, or could not begin, while the
// verb ran.
type EndedError struct {
	Reason  EndReason
	Visitor Reason // what the visitor may be told
}

func endedError(rec Record) *EndedError {
	return &EndedError{Reason: rec.Ending.Reason, Visitor: reasonOf(rec)}
}

func (e *EndedError) Error() string {
	return "scsguard: the session has ended: " + string(e.Reason)
}

// An UnavailableError says which component failed at what. It matches
// [ErrUnavailable] and the underlying error.
type UnavailableError struct {
	Component Component
	Op        string
	Err       error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("scsguard: %s: %s: %v", e.Component, e.Op, e.Err)
}

// Unwrap returns ErrUnavailable and the cause.
func (e *UnavailableError) Unwrap() []error { return []error{ErrUnavailable, e.Err} }

// A ConfigError lists everything that is wrong with a configuration.
type ConfigError struct {
	Fields []FieldError
}

// A FieldError says what is wrong with one field, what would follow from it,
// and what to do.
type FieldError struct {
	Field   string // as in "Timeouts.Idle"
	Value   string
	Problem string // the consequence of the value
	Cure    string
}

func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString("scsguard: invalid configuration:")
	for _, f := range e.Fields {
		b.WriteString("\n\t" + f.Error())
	}
	return b.String()
}

// Unwrap returns the fields' errors.
func (e *ConfigError) Unwrap() []error {
	errs := make([]error, len(e.Fields))
	for i, f := range e.Fields {
		errs[i] = f
	}
	return errs
}

func (e FieldError) Error() string {
	return fmt.Sprintf("%s = %s: %s; %s", e.Field, e.Value, e.Problem, e.Cure)
}
