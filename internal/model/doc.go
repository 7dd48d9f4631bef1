// Package model searches for a way to break the session registry.
//
// The registry lies in slots that cannot be changed together: in a Redis
// Cluster, any two may be on two machines. So each operation is a row of steps,
// each of which reads or changes one slot, atomically. Between two steps anybody
// else may take any number of his, a lease may run out, the process may die.
// This package takes every order there is, in small cases, and asks in each
// state whether the promises still hold. [Search] returns the shortest way to a
// broken one. An implementation of the registry takes the same steps in the same
// order, or puts several of them under one lock or into one script.
//
// # Slots
//
//	R      a record for each store key: absent, pending, live, detached, moved or ended.
//	       It alone decides whether a session lives, and it only goes forward.
//	U      an index for each user: the places taken, the victims marked, the
//	       not-before of the last EndAll. It only counts.
//	Q      due entries: which sessions a sweep has to look at.
//	D      the session data, for each store key.
//	trail  the audit trail: logins and endings, only added to.
//
// # Promises
//
// [Cap]: at no instant are more sessions alive than allowed, or one under two
// keys. [Gone]: what was ended stays ended; nobody who was authenticated before
// an EndAll is alive after it, ever. [OneEnding]: a living session never has an
// ending in the trail, and every session that is over has exactly one. [Index]:
// the index is what the records say. [Cause]: nobody is ended without a cause.
//
// # Crashes and leases
//
// From outside, a crash is a process that takes no further step, so the search
// needs no step for it: in each state it supposes that everybody stops here for
// ever, lets all leases run out and one sweep come to rest, and checks what is
// left. That covers any number of crashes, at any place. For the same reason a
// lease is no number: a sweep may look at any entry at any time, which is a
// lease that is over although its owner is only slow.
//
// # Rules
//
// [Without] takes single rules out of the protocol. For each of them there is a
// scenario in which a promise breaks, and the tests demand it: that is how we
// know that the rule is needed, and that the search would notice.
//
// # What is not promised
//
// A login that dies, fails or is ended before it has a record may still have cost
// the session it was to evict, if somebody has ended that already. The trail may
// have the ending of a login that never came to be, and an ending before its
// login. And the search knows nothing of time: whether a sweep looks soon enough
// and a record is kept until then, what a store loses. It knows one user and four
// sessions, no enrolment, and no options of a login.
package model
