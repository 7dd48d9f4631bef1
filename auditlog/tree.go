package auditlog

import (
	"crypto/sha256"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// A Hash is a SHA-256 digest: of a line, or of the tree of all records of a
// stream.
type Hash = tlog.Hash

// tree is the Merkle tree of RFC 6962 over a growing list of leaves, reduced to
// what the next root needs: one hash for each complete subtree on its right
// edge, at most one a level. Its size does not depend on the number of leaves.
type tree struct {
	size  int64
	stack [63]Hash // stack[l] is in use where bit l of size is set
}

// add appends a leaf.
func (t *tree) add(leaf Hash) {
	l := 0
	for n := t.size; n&1 == 1; n >>= 1 {
		leaf = tlog.NodeHash(t.stack[l], leaf)
		l++
	}
	t.stack[l] = leaf
	t.size++
}

// root returns the hash of the tree. That of no leaves is the hash of nothing.
func (t *tree) root() Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	l := bits.TrailingZeros64(uint64(t.size))
	h := t.stack[l]
	for l++; t.size>>l != 0; l++ {
		if t.size>>l&1 == 1 {
			h = tlog.NodeHash(t.stack[l], h)
		}
	}
	return h
}

// hashLine returns SHA-256(0x00 || line), the leaf hash of RFC 6962.
func hashLine(line []byte) Hash { return tlog.RecordHash(line) }

// hashAt is hashLine(b[from:to]) without copying or allocating. It borrows the
// byte before the line, so from must not be 0.
func hashAt(b []byte, from, to int) Hash {
	before := b[from-1]
	b[from-1] = 0
	h := sha256.Sum256(b[from-1 : to])
	b[from-1] = before
	return h
}
