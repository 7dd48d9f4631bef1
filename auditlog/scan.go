package auditlog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// scan walks through a stream, line by line, and checks all that can be checked
// without a signature: the form of each line, its number, its link to the line
// before, and the root in each checkpoint. It stops at the first damage.
type scan struct {
	ctx   context.Context
	roots []publicKey
	dir   string // of the log
	sub   string // of the stream, in dir

	record     func(*scanned) error          // each record; may be nil
	leaf       func(seq int64, h Hash) error // each leaf, also of records that are gone; may be nil
	checkpoint func() error                  // each checkpoint, when its root was found to be that of the tree; may be nil
	read       func(bytes int64)             // progress; may be nil
	limit      int64                         // ends with errEnough after so many records; 0 means no limit

	name string
	key  publicKey // not set as long as name is empty
	cert string
	tree tree
	prev Hash
	last checkpoint // the last one that was met

	segments []segment
	seg      int // index in segments
	met      scanned
	lines    *lineReader
	torn     int64     // bytes after the last checkpoint of the last segment
	removed  []removal // segments of which only the leaves are left
	began    bool      // the stream has a complete first batch
}

// scanned is a record that was met.
type scanned struct {
	line
	raw    []byte // the whole line
	leaf   Hash
	log    own // if it is the log's own
	seg    string
	offset int64
}

// checkpoint is a copy of a checkpoint that was met.
type checkpoint struct {
	size   int64
	root   Hash
	sig    []byte
	raw    []byte
	seg    string
	line   int
	offset int64
}

type segment struct {
	n      int
	name   string
	leaves bool
}

// removal is a segment of which only the leaves are left, and how many records
// were in it and before it. Both have to be sealed: the leaves of the segments
// behind it could otherwise be added to its own, and these segments removed.
type removal struct {
	n   int
	end int64
}

// listSegments returns the files of a stream in order. Where a segment and its
// leaves are both there, retention was interrupted, and the segment counts.
func listSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []segment
	for _, e := range entries { // sorted by name, so leaves come before log
		base, ext, _ := strings.Cut(e.Name(), ".")
		n, err := strconv.ParseUint(base, 10, 31) // takes no sign
		if err != nil || len(base) != 8 || ext != "log" && ext != "leaves" {
			continue
		}
		s := segment{int(n), e.Name(), ext == "leaves"}
		if k := len(list); k > 0 && list[k-1].n == s.n {
			list = list[:k-1]
		}
		list = append(list, s)
	}
	return list, nil
}

func (s *scan) damage(kind DamageKind, format string, args ...any) *Damage {
	d := &Damage{Stream: s.label(), Kind: kind, Seq: s.tree.size, Detail: fmt.Sprintf(format, args...)}
	if s.seg < len(s.segments) {
		d.Segment = filepath.ToSlash(filepath.Join(s.sub, s.segments[s.seg].name))
	}
	return d
}

// label is what the stream is called in messages.
func (s *scan) label() string {
	if s.name == "" {
		return s.sub
	}
	return s.name
}

// run walks through the whole stream. A *Damage is its only error that says
// something about the log; others say that it could not be read.
func (s *scan) run() error {
	var err error
	if s.segments, err = listSegments(filepath.Join(s.dir, s.sub)); err != nil {
		return err
	}
	s.lines = newLineReader()
	defer func() {
		s.lines.free()
		s.lines = nil
	}()
	for s.seg = range s.segments {
		g := s.segments[s.seg]
		if g.n != s.seg {
			d := s.damage(DamageMissing, "segment %08d is missing", s.seg)
			d.Segment = filepath.ToSlash(filepath.Join(s.sub, segmentName(s.seg)))
			return d
		}
		if g.leaves {
			err = s.runLeaves(g)
		} else {
			err = s.runSegment(g)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open opens a file of the stream. What stands in the place of one and is none
// is damage.
func (s *scan) open(g segment) (*os.File, error) {
	f, err := openRegular(filepath.Join(s.dir, s.sub, g.name))
	if errors.Is(err, errNoFile) {
		return nil, s.damage(DamageMalformed, "%v", err)
	}
	return f, err
}

func (s *scan) runSegment(g segment) error {
	f, err := s.open(g)
	if err != nil {
		return err
	}
	defer f.Close()
	s.lines.reset(f)
	lastOne := s.seg == len(s.segments)-1
	since := s.tree.size // the size at the last checkpoint
	tailAt := int64(0)   // the offset after it
	counted := int64(0)
	for {
		at := s.lines.off
		if s.read != nil && at-counted > chunk {
			s.read(at - counted)
			counted = at
			if err := s.ctx.Err(); err != nil {
				return err
			}
		}
		if s.limit > 0 && s.tree.size >= s.limit {
			return errEnough
		}
		from, to, whole, err := s.lines.next()
		if errors.Is(err, errLong) {
			return s.at(s.damage(DamageMalformed, "the line is longer than any that is written"), at)
		}
		if err != nil {
			return err
		}
		if !whole {
			return s.endSegment(f, lastOne, since, tailAt, at, s.lines.buf[from:to])
		}
		raw := s.lines.buf[from:to]
		l, err := s.parse(raw)
		if err != nil {
			return s.at(s.explain(err, raw), at)
		}
		if l.cp {
			if err := s.metCheckpoint(&l, raw, since, at, g); err != nil {
				return err
			}
			s.prev = hashAt(s.lines.buf, from, to)
			since, tailAt = s.tree.size, s.lines.off
			continue
		}
		if l.seq != s.tree.size || l.prev != s.prev {
			return s.broken(&l, from, to, at, since)
		}
		h := hashAt(s.lines.buf, from, to)
		if err := s.metRecord(&l, raw, h, at, since, g); err != nil {
			return err
		}
		s.prev = h
		s.tree.add(h)
	}
}

// parse learns the name of the stream from the first line.
func (s *scan) parse(raw []byte) (line, error) {
	if s.name == "" {
		rest, ok := bytes.CutPrefix(raw, []byte(recordHead))
		if !ok {
			return line{}, errMalformed
		}
		name, _, ok := bytes.Cut(rest, []byte(`"`))
		if !ok || !validName(string(name)) {
			return line{}, errMalformed
		}
		if !strings.HasSuffix(string(name), "/"+s.sub) {
			return line{}, errForeign
		}
		l, err := parseLine(raw, string(name))
		if err == nil && l.cp {
			err = errMalformed
		}
		if err == nil {
			s.name = string(name)
		}
		return l, err
	}
	return parseLine(raw, s.name)
}

func (s *scan) metRecord(l *line, raw []byte, h Hash, at, since int64, g segment) error {
	s.met = scanned{line: *l, raw: raw, leaf: h, seg: g.name, offset: at}
	if at == 0 && !l.own {
		return s.at(s.damage(DamageMalformed, "a segment does not begin with the log's own record"), at)
	}
	if l.own {
		o, err := decodeOwn(l.body)
		if err != nil || !bytes.Equal(o.encode(), l.body) {
			return s.at(s.damage(DamageMalformed, "the log's own record is not as it writes them"), at)
		}
		s.met.log = o
		if at == 0 {
			if err := s.certified(&o, g); err != nil {
				return s.at(err, at)
			}
		}
	}
	if s.leaf != nil {
		if err := s.leaf(s.tree.size, h); err != nil {
			return err
		}
	}
	if s.record == nil {
		return nil
	}
	return s.record(&s.met)
}

// certified takes the stream's key from the first record of a segment.
func (s *scan) certified(o *own, g segment) *Damage {
	want := ownOpened
	if g.n > 0 {
		want = ownRotated
	}
	if o.Kind != want || o.Segment != g.n {
		return s.damage(DamageMalformed, "the segment begins with %q", o.Kind)
	}
	return s.takeCert(o.Cert)
}

func (s *scan) takeCert(cert string) *Damage {
	if s.cert != "" {
		if s.cert != cert {
			return s.damage(DamageCertificate, "the segment names another key than the one before")
		}
		return nil
	}
	key, err := checkCert(cert, s.roots)
	if err != nil {
		return s.damage(DamageCertificate, "%v", err)
	}
	if key.name != s.name {
		return s.damage(DamageForeign, "the certificate is for %s", key.name)
	}
	s.key, s.cert = key, cert
	return nil
}

func (s *scan) metCheckpoint(l *line, raw []byte, since, at int64, g segment) error {
	switch {
	case l.seq == since && l.prev == s.last.root:
		return s.at(s.damage(DamageInserted, "the checkpoint of size %d is there twice", l.seq), at)
	case s.tree.size == since:
		return s.at(s.damage(DamageInserted, "a checkpoint without a record before it"), at)
	case l.seq > s.tree.size:
		return s.at(s.damage(DamageMissing, "the checkpoint covers %d records, only %d are there", l.seq, s.tree.size), at)
	case l.seq < s.tree.size:
		return s.at(s.damage(DamageInserted, "the checkpoint covers %d records, %d are there", l.seq, s.tree.size), at)
	case l.prev != s.tree.root():
		// The records are linked to each other, so the last one, or this line.
		return s.at(s.damage(DamageAltered, "the checkpoint's root is not that of the %d records before it: this line or the one before was changed", s.tree.size), at)
	}
	s.began = true
	s.last.size, s.last.root = l.seq, l.prev
	s.last.sig = append(s.last.sig[:0], l.body...)
	s.last.raw = append(s.last.raw[:0], raw...)
	s.last.seg, s.last.line, s.last.offset = g.name, s.lines.line, at
	if s.checkpoint != nil {
		return s.checkpoint()
	}
	return nil
}

// endSegment judges what follows the last whole line of a segment.
func (s *scan) endSegment(f *os.File, lastOne bool, since, tailAt, at int64, rest []byte) error {
	if s.read != nil {
		s.read(at % chunk)
	}
	if len(rest) == 0 && s.tree.size == since {
		if at == 0 && !lastOne {
			return s.damage(DamageMissing, "the segment is empty")
		}
		return nil
	}
	if !lastOne {
		return s.at(s.damage(DamageMissing, "the segment has no end, and others follow"), at)
	}
	if len(rest) > 0 && !s.plausible(rest) && !zeroTorn(f, at) {
		return s.at(s.damage(DamageAltered, "the last line has no end, and does not begin like one either"), at)
	}
	s.torn = at + int64(len(rest)) - tailAt
	return nil
}

// verifyLast verifies the signature of the last checkpoint, and with it, since
// all lines are linked, everything before.
func (s *scan) verifyLast() *Damage {
	l := line{body: s.last.sig}
	sig, ok := l.sig()
	text := appendSigned(nil, s.name, s.last.size, &s.last.root)
	if ok && s.key.name == s.name && s.key.verifies(text, sig) {
		return nil
	}
	d := s.damage(DamageSignature, "the checkpoint of size %d is not signed by the key of this stream", s.last.size)
	d.Seq, d.Line, d.Offset = s.last.size, s.last.line, s.last.offset
	d.Segment = filepath.ToSlash(filepath.Join(s.sub, s.last.seg))
	return d
}

// leavesHead is the first line of a file of leaves; the hashes follow.
type leavesHead struct {
	Cert string `json:"cert"`
	CP   string `json:"cp"` // the last line of the segment, in base64
}

// runLeaves takes the leaves of a segment that is gone. Nothing links them to
// each other, but the checkpoints after them cover them.
func (s *scan) runLeaves(g segment) error {
	f, err := s.open(g)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	raw, err := r.ReadSlice('\n')
	var head leavesHead
	if err != nil || json.Unmarshal(raw, &head) != nil {
		return s.damage(DamageMalformed, "the file of leaves is damaged")
	}
	cpLine, ok := decodeLine(head.CP)
	if !ok || string(appendLeavesHead(nil, head.Cert, cpLine)) != string(raw) {
		return s.damage(DamageMalformed, "the file of leaves is damaged")
	}
	if s.name == "" {
		key, err := checkCert(head.Cert, s.roots)
		if err != nil {
			return s.damage(DamageCertificate, "%v", err)
		}
		if !strings.HasSuffix(key.name, "/"+s.sub) {
			return s.damage(DamageForeign, "the certificate is for %s", key.name)
		}
		s.name = key.name
	}
	if d := s.takeCert(head.Cert); d != nil {
		return d
	}
	l, err := parseLine(cpLine, s.name)
	if err != nil || !l.cp || l.seq <= s.tree.size {
		return s.damage(DamageMalformed, "the file of leaves has no proper checkpoint")
	}
	for s.tree.size < l.seq {
		var h Hash
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return s.damage(DamageMissing, "leaves are missing")
		}
		if s.leaf != nil {
			if err := s.leaf(s.tree.size, h); err != nil {
				return err
			}
		}
		s.tree.add(h)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return s.damage(DamageInserted, "there are too many leaves")
	}
	if l.prev != s.tree.root() {
		return s.damage(DamageAltered, "the leaves do not fit their checkpoint")
	}
	s.removed = append(s.removed, removal{g.n, s.tree.size})
	s.began = true
	s.prev = hashLine(cpLine)
	s.last = checkpoint{size: l.seq, root: l.prev, sig: bytes.Clone(l.body), raw: cpLine, seg: g.name}
	return nil
}

func fileSize(f fs.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}
