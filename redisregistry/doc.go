// Package redisregistry keeps sessions in Redis: a [Registry] for guards in many
// processes, and a [Store] for the session data that reads and writes what
// scs/redisstore does, with contexts, in one round trip together with the record.
//
//	pool := &redis.Pool{DialContext: ...}
//	sessions.Store = redisregistry.NewStore(pool)
//	guard, err := scsguard.New(sessions, scsguard.Config{
//		Registry: redisregistry.New(pool),
//		...
//	})
//
// It needs Redis 6.2 or later, with Lua. docs/redis.md says how to set up Redis, a
// pool and Sentinel, and what a failover can undo.
//
// # How it is kept
//
// Every key lives in one slot of a Redis Cluster with whatever has to change
// together with it, and no script touches two keys:
//
//	scs:session:K                  the data of the session with the store key K
//	{scs:session:K}:g:NS           its record, in the same slot
//	scsguard:NS:{user:H}           the places of a user; H is a hash of his ID
//	scsguard:NS:{due:I}            when to look at which session, in 16 parts
//	scsguard:NS:{external:H}       the sessions under an external ID
//	scsguard:NS:everyone           when everyone's sessions were ended last
//	scsguard:NS:walks              who is about to end everyone's sessions
//
// The record alone decides whether a session lives, and changes by compare and
// swap. The order of the steps is that of docs/registry.md, so that a process may
// die between any two of them. Every key has a time to live at all times. Times
// are kept on Redis's clock.
package redisregistry
