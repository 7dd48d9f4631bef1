package auditlog

import (
	"bytes"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// prover gathers, while a stream is read, what it takes to prove some of its
// records: the hashes beside the way from a leaf to the root (RFC 6962 section
// 2.1.1). How long the stream will be need not be known.
type prover struct {
	wanted map[int64]*provable
	list   []*provable
	tree   tree // at the last checkpoint
}

// provable is a record to be proved.
type provable struct {
	seq    int64
	raw    []byte
	beside []Hash // the roots of subtrees beside it, in the complete subtree it is in
	sealed int    // how many of them a checkpoint covers
}

func newProver(seqs []int64) *prover {
	p := &prover{wanted: make(map[int64]*provable)}
	for _, seq := range seqs {
		if p.wanted[seq] == nil {
			w := &provable{seq: seq}
			p.wanted[seq], p.list = w, append(p.list, w)
		}
	}
	return p
}

// record keeps a record that is to be proved.
func (p *prover) record(r *scanned) {
	if w := p.wanted[r.seq]; w != nil {
		w.raw = bytes.Clone(r.raw)
	}
}

// leaf is called with a leaf before the tree has it.
func (p *prover) leaf(t *tree, h Hash) {
	// The new leaf closes a subtree of as many levels as there are ones at the end of
	// its number. Only records in that subtree get to know a hash.
	i := t.size
	levels := bits.TrailingZeros64(^uint64(i))
	for _, w := range p.list {
		if w.seq > i || w.seq>>levels != i>>levels {
			continue
		}
		now := h
		for l := range levels {
			if w.seq>>(l+1) == i>>(l+1) { // these two halves are joined above it
				if w.seq>>l == i>>l {
					w.beside = append(w.beside, t.stack[l])
				} else {
					w.beside = append(w.beside, now)
				}
			}
			now = tlog.NodeHash(t.stack[l], now)
		}
	}
}

// sealed is called at a checkpoint.
func (p *prover) sealed(t *tree) {
	p.tree = *t
	for _, w := range p.list {
		w.sealed = len(w.beside)
	}
}

// path returns the hashes from the leaf up to the root of the last checkpoint.
func (p *prover) path(seq int64) []Hash {
	w, t := p.wanted[seq], &p.tree
	list := w.beside[:w.sealed:w.sealed]
	// The complete subtree that it is in; what is right of it is less than that.
	from, k := int64(0), 0
	for l := bits.Len64(uint64(t.size)) - 1; l >= 0; l-- {
		if t.size>>l&1 == 0 {
			continue
		}
		if seq < from+1<<l {
			k = l
			break
		}
		from += 1 << l
	}
	if right := (&tree{size: t.size & (1<<k - 1), stack: t.stack}); right.size > 0 {
		list = append(list, right.root())
	}
	for l := k + 1; t.size>>l != 0; l++ {
		if t.size>>l&1 == 1 {
			list = append(list, t.stack[l])
		}
	}
	return list
}

// has reports whether all of these records were met in a stream as long as it is.
func (p *prover) has(seqs []int64, st *StreamReport) bool {
	if p == nil || p.tree.size != st.Size || p.tree.root() != st.Root {
		return false
	}
	for _, seq := range seqs {
		if p.wanted[seq] == nil {
			return false
		}
	}
	return true
}
