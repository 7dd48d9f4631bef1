package auditlog

import (
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

// A Place names a record. In VerifyOptions.Prove an empty Stream is that of each
// stream.
type Place struct {
	Stream string
	Seq    int64
}

// Prove returns a proof that a record is in a stream, as a C2SP tlog-proof. It
// shows the record, and of all others nothing but hashes, so that one event can
// be given away without those of other users. It needs nothing but the root's
// verifier key to be checked; see [VerifyProof].
//
// If VerifyOptions.Prove had the record, nothing is read. Else the stream is read
// once, for the tree has to be computed; that needs no more memory than one record.
func (rep *Report) Prove(ctx context.Context, stream string, seq int64) ([]byte, error) {
	list, err := rep.ProveAll(ctx, []Place{{stream, seq}})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// ProveAll is Prove of several records. It reads each stream once at most.
func (rep *Report) ProveAll(ctx context.Context, places []Place) ([][]byte, error) {
	wanted := make(map[int][]int64) // by stream
	at := make([]int, len(places))
	for i, p := range places {
		at[i] = slices.IndexFunc(rep.Streams, func(s StreamReport) bool { return s.Name == p.Stream })
		if at[i] < 0 {
			return nil, fmt.Errorf("auditlog: there is no stream %.200q", p.Stream)
		}
		st := &rep.Streams[at[i]]
		if p.Seq < 0 || p.Seq >= st.Size {
			return nil, fmt.Errorf("auditlog: %s has no verified record %d; it has %d", p.Stream, p.Seq, st.Size)
		}
		wanted[at[i]] = append(wanted[at[i]], p.Seq)
	}
	found := make(map[int]*prover)
	for i, seqs := range wanted {
		st := &rep.Streams[i]
		if found[i] = st.proofs; st.proofs.has(seqs, st) {
			continue
		}
		var err error
		if found[i], err = rep.prover(ctx, st, seqs); err != nil {
			return nil, err
		}
	}
	list := make([][]byte, len(places))
	for i, p := range places {
		var err error
		if list[i], err = found[at[i]].proof(&rep.Streams[at[i]], p.Seq); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// prover reads a stream for the proofs of some of its records.
func (rep *Report) prover(ctx context.Context, st *StreamReport, seqs []int64) (*prover, error) {
	p := newProver(seqs)
	s, err := rep.rescan(ctx, st, func(_ *scan, r *scanned) error {
		p.record(r)
		return nil
	}, func(s *scan, h Hash) { p.leaf(&s.tree, h) })
	if err != nil && !errors.Is(err, errEnough) && !s.behind(st, err) {
		return nil, fmt.Errorf("auditlog: %w", err)
	}
	if s.tree.size != st.Size || s.tree.root() != st.Root {
		return nil, fmt.Errorf("auditlog: %s: the files were changed since they were verified", st.Name)
	}
	p.sealed(&s.tree)
	return p, nil
}

// proof writes the proof of a record that was met.
func (p *prover) proof(st *StreamReport, seq int64) ([]byte, error) {
	w := p.wanted[seq]
	if w.raw == nil {
		return nil, fmt.Errorf("auditlog: record %d of %s was removed by retention; only its hash is left", seq, st.Name)
	}
	b := []byte(proofHead + "extra ")
	b = base64.StdEncoding.AppendEncode(b, []byte(string(w.raw)+"\n"+st.Cert))
	b = append(b, "\nindex "...)
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, '\n')
	for _, h := range p.path(seq) {
		b = base64.StdEncoding.AppendEncode(b, h[:])
		b = append(b, '\n')
	}
	b = append(b, '\n')
	return append(b, st.Checkpoint...), nil
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
