// Package scsguard controls the whole life of a login in an application that
// keeps its sessions with github.com/alexedwards/scs/v2: idle and absolute
// timeouts, a new token at login and at every change of privilege, a cap on
// concurrent sessions, sign-out everywhere, and a trail that says afterwards
// what happened.
//
// # The usual path
//
//	sessions := scs.New()
//	sessions.Cookie.Name, sessions.Cookie.Secure = "__Host-session", true
//
//	guard, err := scsguard.New(sessions, scsguard.Config{
//		Timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour},
//		Limit:    scsguard.Limit{Max: 3, OnExceed: scsguard.Deny},
//		Audit:    trail, // an auditlog.Log, which is sealed, or any other Sink
//	})
//	...
//	defer guard.Close(ctx)
//	http.ListenAndServe(addr, guard.Protect(mux)) // in place of sessions.LoadAndSave
//
//	guard.Login(ctx, userID)                      // in place of RenewToken and Put
//	guard.Logout(ctx)                             // in place of Destroy
//
// Everything else that the application does with its session manager stays as
// it is. From there: [Guard.RequireLogin] and the other middlewares,
// [Guard.Elevate] for a change of privilege, [Guard.EndAll] for a changed
// password, [Guard.Sessions] for a page that shows a user his sessions,
// [Guard.RequireRecentLogin] for what needs a fresh proof, [Config.Policy] for
// limits that depend on the user, [Config.Profile] for those of a standard,
// [Remember] for browsers that come back without a password.
//
// # The idea
//
// scs keeps the data, a [Registry] keeps the life. Whether a session lives is
// never read from its data. Each login has a [Record], and the record is asked
// on every request: a request in flight may write its data back, a deadline may
// be moved, a token be renewed, and nothing that has ended comes back to life.
// The guard stands around the session store and around the response, so no path
// of the application gets past it, not even a hand-written Load. What goes on for
// longer than a request usually does, such as an event stream or a websocket,
// stops with its session below [Guard.CutOff].
//
// What scs stores stays what scs wrote, but for the names "__scsguard" and
// "__scsguard.seen" among the session's keys. docs/differences.md lists whatever
// else an application may notice.
//
// A [MemoryRegistry] is enough for one process whose sessions may end with it.
//
// # What is recorded
//
// [EventKinds] lists the events, [Event] their fields, [Sink] is what keeps
// them. What grants access waits until its event is durable and is refused if
// it cannot be; what takes access away never waits, and its event is repeated
// until it is kept. Every session has exactly one ending in the trail, also one
// whose user never came back: a sweep finds it, with the time it was due. The
// one exception is a crash with sessions in memory, which ends them without
// anybody to write it down. [Config.OnAuditDown] decides about grants while the
// trail cannot be written, and an audit.gap tells of events that were lost;
// docs/trail.md has the whole of it.
//
// # Threat model
//
// The guard stands against: a token planted before the login; a token copied
// and used after logout, timeout, rotation or sign-out everywhere; requests that
// race with any of these; a login that races with a changed password; more
// sessions than allowed; a store that keeps data too long, loses it, or returns
// what cannot be read; a client that hangs up at the worst moment; crashes
// between any two steps. It fails closed: what cannot be decided is refused, and
// a visitor who may be logged in gets 503 rather than being taken for anonymous.
//
// # What it does not do
//
// It does not authenticate users, count failed logins against them, or replace
// TLS and a protection against cross-site requests (http.CrossOriginProtection).
// Whoever copies a token and comes with the same kind of browser is not told apart
// from its owner while the session lives, and a user agent is easily copied, too:
// [Binding] makes a stolen token less useful, and not useless. A writer sink
// protects the trail from nobody who can write to its file; package auditlog seals
// it.
package scsguard
