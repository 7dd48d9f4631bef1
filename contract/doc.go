// Package contract holds no code, only tests. They state what the documentation
// of github.com/alexedwards/scs/v2 promises to an application, and run each
// promise twice: over scs alone and over the same application under
// scsguard.New and Guard.Protect, with several stores, codecs and settings, in
// sessions with a login and without one. The outcome must be the same, or the
// difference is listed by name with its reason: in the table of the tests and,
// for people, in docs/differences.md.
//
// It is a module of its own, so that the stores it needs are no dependency of
// the library.
package contract
