// Package investigate answers questions about sessions from sealed trails, years
// later and without the application: was this session alive at that moment, was
// there another one from an unusual place, was it extended when it should not have
// been?
//
//	trail, err := investigate.Open(investigate.Options{}, investigate.Source{
//		Dir: "audit", Options: auditlog.VerifyOptions{Keys: keys, Anchors: anchors}})
//	answer, err := trail.Active(ctx, session, at)
//
// The first question verifies the trail and reads it in the same pass. [New] takes
// logs that were verified before.
//
// It reads what package scsguard writes into logs of package auditlog: one or many
// of them, of several hosts, with all their streams and segments. Records that were
// written twice count once. Within a session the order is that of session_seq, never
// that of the clocks.
//
// # Yes, no, unknown
//
// An [Answer] is Unknown whenever something that could change it may be missing: a
// gap, a number of the session's sequence, the end of a stream that was not closed,
// what comes after the end of the trail, what was damaged. [Doubt] lists them. Of a
// trail that no anchor and no pin knows nobody can tell whether its end is missing, so
// everything is unknown unless [Options.AllowUnanchored] says otherwise. An answer
// names the records it rests on.
//
// What is missing later than the ending of a session cannot change that it had
// ended: a session that has ended never comes back.
//
// # When a session is alive
//
// From its login, or from when it was enrolled, until the earliest of its idle
// deadline, its absolute deadline and its ending. The ending of a session carries
// the deadlines that were in force, so that the answer does not depend on when
// somebody noticed that it was over. Times have microseconds; a session is alive at
// its first moment and not at its last.
package investigate
