package auditlog

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const proofHead = "c2sp.org/tlog-proof@v1\n"

// Prove returns a proof that a record is in a stream, as a C2SP tlog-proof. It
// shows the record, and of all others nothing but hashes, so that one event can
// be given away without those of other users. It needs nothing but the root's
// verifier key to be checked; see [VerifyProof].
//
// It reads the stream once and needs no more memory than for one record.
func (rep *Report) Prove(ctx context.Context, stream string, seq int64) ([]byte, error) {
	i := slices.IndexFunc(rep.Streams, func(s StreamReport) bool { return s.Name == stream })
	if i < 0 {
		return nil, fmt.Errorf("auditlog: there is no stream %.200q", stream)
	}
	st := &rep.Streams[i]
	if seq < 0 || seq >= st.Size {
		return nil, fmt.Errorf("auditlog: %s has no verified record %d; it has %d", stream, seq, st.Size)
	}
	roots, err := parseRoots(rep.opts.Keys)
	if err != nil {
		return nil, err
	}
	path := pathRanges(0, st.Size, seq, nil) // from the leaf up
	var raw []byte
	s := &scan{ctx: ctx, roots: roots, dir: rep.Dir, sub: st.Dir, limit: st.Size, read: func(int64) {}}
	s.leaf = func(n int64, h Hash) error {
		for j := range path {
			if path[j].from <= n && n < path[j].to {
				path[j].tree.add(h)
				break
			}
		}
		return nil
	}
	s.record = func(r *scanned) error {
		if r.seq == seq {
			raw = bytes.Clone(r.raw)
		}
		return nil
	}
	if err := s.run(); err != nil && !errors.Is(err, errEnough) && !s.behind(st, err) {
		return nil, fmt.Errorf("auditlog: %w", err)
	}
	if s.tree.size != st.Size || s.tree.root() != st.Root {
		return nil, fmt.Errorf("auditlog: %s: the files were changed since they were verified", stream)
	}
	if raw == nil {
		return nil, fmt.Errorf("auditlog: record %d of %s was removed by retention; only its hash is left", seq, stream)
	}
	b := []byte(proofHead + "extra ")
	b = base64.StdEncoding.AppendEncode(b, []byte(string(raw)+"\n"+st.Cert))
	b = append(b, "\nindex "...)
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, '\n')
	for j := range path {
		root := path[j].tree.root()
		b = base64.StdEncoding.AppendEncode(b, root[:])
		b = append(b, '\n')
	}
	b = append(b, '\n')
	return append(b, st.Checkpoint...), nil
}

// pathRange is a subtree whose root is part of a proof.
type pathRange struct {
	from, to int64
	tree     tree
}

// pathRanges returns the subtrees beside the way from leaf n of [from, to) to
// the root, the lowest first (RFC 6962 section 2.1.1).
func pathRanges(from, to, n int64, list []pathRange) []pathRange {
	if to-from == 1 {
		return list
	}
	k := int64(1)
	for 2*k < to-from {
		k *= 2
	}
	if n < from+k {
		return append(pathRanges(from, from+k, n, list), pathRange{from: from + k, to: to})
	}
	return append(pathRanges(from+k, to, n, list), pathRange{from: from, to: from + k})
}

// A Proven is what a proof proves: that the stream had this record when it had
// the size of Head.
type Proven struct {
	Record Record // File is empty
	Head   Head
}

var errProof = errors.New("auditlog: this is not a proof that Prove writes")

// VerifyProof checks a proof that [Report.Prove] has made. It needs no log and
// no network: the keys are those of the roots that are trusted. It takes exactly
// what Prove writes.
func VerifyProof(proof []byte, keys []string) (*Proven, error) {
	roots, err := parseRoots(keys)
	if err != nil {
		return nil, err
	}
	head, note, ok := strings.Cut(string(proof), "\n\n")
	rest, ok2 := strings.CutPrefix(head, proofHead+"extra ")
	if !ok || !ok2 || len(proof) > 4*maxLine {
		return nil, errProof
	}
	lines := strings.Split(rest, "\n")
	extra, err := strictBase64.DecodeString(lines[0])
	if err != nil || base64.StdEncoding.EncodeToString(extra) != lines[0] || len(lines) < 2 {
		return nil, errProof
	}
	raw, cert, ok := strings.Cut(string(extra), "\n")
	if !ok {
		return nil, errProof
	}
	key, err := checkCert(cert, roots)
	if err != nil {
		return nil, fmt.Errorf("auditlog: proof: %w", err)
	}
	l, err := parseLine([]byte(raw), key.name)
	if err != nil || l.cp {
		return nil, fmt.Errorf("auditlog: proof: the record is not one of stream %s", key.name)
	}
	if lines[1] != "index "+strconv.FormatInt(l.seq, 10) {
		return nil, errors.New("auditlog: proof: the index is not that of the record")
	}
	var path tlog.RecordProof
	for _, text := range lines[2:] {
		var h Hash
		if len(text) != hashLen || !decodeHash(&h, []byte(text)) {
			return nil, errProof
		}
		path = append(path, h)
	}
	pin, err := ParsePin(note)
	if err != nil {
		return nil, fmt.Errorf("auditlog: proof: the checkpoint is malformed")
	}
	pin.Checkpoint, pin.Cert = note, cert
	if err := checkHead(pin, roots); err != nil {
		return nil, fmt.Errorf("auditlog: proof: %w", err)
	}
	leaf := hashLine([]byte(raw))
	if err := tlog.CheckRecord(path, pin.Size, pin.Root, l.seq, leaf); err != nil {
		return nil, fmt.Errorf("auditlog: the record is not in the tree of the checkpoint: %w", err)
	}
	return &Proven{
		Record: Record{Stream: key.name, Seq: l.seq, Time: parseTime(l.time), Leaf: leaf, Event: l.body, Own: l.own, Line: []byte(raw)},
		Head:   pin,
	}, nil
}
