package scsguard

import (
	"context"
	"time"
)

// Optional abilities of the application's session store. New looks for them in
// [scs.SessionManager.Store]; a store without them works as well as before, at
// more round trips and with the last writer winning.

// RecordFinder is a store that reads a record of its registry and the session's
// data in one round trip.
//
// FindRecordCtx must be safe for concurrent use.
type RecordFinder interface {
	// FindRecordCtx returns the record under key as Registry.Get would, and the
	// data as FindCtx would: key is what scs calls the token of a store. ok is
	// false if this store cannot answer for that registry; nothing was asked then,
	// and the guard asks both itself. An error says that one of the two could not
	// be read: the guard then takes neither for granted.
	FindRecordCtx(ctx context.Context, registry Registry, key Key) (rec Record, data []byte, found bool, ok bool, err error)
}

// Swapper is a store that compares and swaps. [Config.MergeWrites] needs it.
//
// SwapCtx must be safe for concurrent use, by all processes that share the store:
// of several calls with the same old, at most one that writes something else
// may report that it did.
type Swapper interface {
	// SwapCtx writes new under token, to be kept until expiry, if what is stored
	// there is still old, byte for byte; nil means that nothing is stored, or what
	// was stored has expired. swapped reports whether it did; if not, nothing was
	// changed and current is what is stored now, nil for nothing. After an error
	// nobody knows whether it was written. SwapCtx keeps none of the slices, and
	// the caller may keep and must not change current.
	SwapCtx(ctx context.Context, token string, old, new []byte, expiry time.Time) (current []byte, swapped bool, err error)
}

// A BatchDeleter is a store that deletes the data of many sessions in one round trip.
// Without it a sweep, and whoever ends many sessions, deletes them one by one.
//
// DeleteManyCtx must be safe for concurrent use.
type BatchDeleter interface {
	// DeleteManyCtx does to each of tokens what DeleteCtx does to one. After an error
	// nobody knows which are left.
	DeleteManyCtx(ctx context.Context, tokens []string) error
}
