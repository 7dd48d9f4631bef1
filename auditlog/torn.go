package auditlog

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
)

// at completes a damage by the position of its line.
func (s *scan) at(d *Damage, offset int64) *Damage {
	d.Line, d.Offset = s.lines.line, offset
	if s.lines.off == offset { // the line was not given out
		d.Line++
	}
	return d
}

// explain says what is wrong with a line that cannot be parsed.
func (s *scan) explain(err error, raw []byte) *Damage {
	if errors.Is(err, errForeign) {
		return s.damage(DamageForeign, "a line of another stream")
	}
	return s.damage(DamageMalformed, "the line is not one that is written (%d bytes)", len(raw))
}

// broken says what is wrong with a record that does not continue the one
// before. One line can be wrong in itself, or its neighbour; the line after it
// tells which: it names the hash of this one.
func (s *scan) broken(l *line, from, to int, at, since int64) error {
	this := *l
	h := hashAt(s.lines.buf, from, to)
	where := s.at(s.damage(DamageAltered, ""), at)
	var next line
	var ok bool
	if f, t, whole, err := s.lines.next(); err == nil && whole {
		next, err = parseLine(s.lines.buf[f:t], s.name)
		ok = err == nil
	}
	linked := ok && !next.cp && next.prev == h // this line is as it was written
	switch {
	case this.seq > s.tree.size && ok && !next.cp && next.seq < this.seq:
		where.Kind, where.Detail = DamageReordered, "records have changed places"
	case this.seq > s.tree.size && (linked || !ok || next.cp || next.seq == this.seq+1):
		where.Kind = DamageMissing
		where.Detail = "records " + strconv.FormatInt(s.tree.size, 10) + " to " + strconv.FormatInt(this.seq-1, 10) + " are missing"
	case this.seq < s.tree.size:
		where.Kind, where.Detail = DamageInserted, "record "+strconv.FormatInt(this.seq, 10)+" is there again, or does not belong there"
	case this.seq == s.tree.size && linked && s.tree.size == since && since > 0:
		where.Line, where.Seq = where.Line-1, since
		where.Offset = s.last.offset
		where.Detail = "the checkpoint before record " + strconv.FormatInt(this.seq, 10) + " was changed, or one is missing there"
	case this.seq == s.tree.size && linked:
		where.Kind, where.Detail = DamageMissing, "the line before this record was changed, or a checkpoint is missing there"
	default:
		where.Detail = "the record does not continue the line before: one of the two was changed"
	}
	return where
}

// plausible reports whether rest can be the beginning of the line that would
// come next, cut off by a crash. Anything else was put there.
func (s *scan) plausible(rest []byte) bool {
	if s.name == "" {
		return isPrefix(rest, []byte(recordHead)) || bytes.HasPrefix(rest, []byte(recordHead)) && jsonPrefix(rest)
	}
	root := s.tree.root()
	cp := appendCheckpoint(nil, s.name, s.tree.size, &root, make([]byte, 68))
	sigAt := len(cp) - len(cpTail) - sigLen
	if isPrefix(rest, cp[:sigAt]) && s.tree.size > 0 {
		return true
	}
	if len(rest) > sigAt && bytes.Equal(rest[:sigAt], cp[:sigAt]) {
		// It may end in the signature or after it.
		return len(rest) <= len(cp) && (len(rest) <= sigAt+sigLen || isPrefix(rest[sigAt+sigLen:], []byte(cpTail)))
	}
	var now [len(timeLayout)]byte
	prev := base64.StdEncoding.EncodeToString(s.prev[:])
	head := []byte(recordHead + s.name + recordSeq + strconv.FormatInt(s.tree.size, 10) + recordTime)
	if isPrefix(rest, head) {
		return true
	}
	if !bytes.HasPrefix(rest, head) {
		return false
	}
	rest2 := rest[len(head):]
	if len(rest2) <= len(now) {
		return true
	}
	rest2 = rest2[len(now):]
	link := []byte(recordPrev + prev)
	if isPrefix(rest2, link) {
		return true
	}
	return bytes.HasPrefix(rest2, link) && jsonPrefix(rest)
}

// isPrefix reports whether b is a beginning of whole.
func isPrefix(b, whole []byte) bool { return bytes.HasPrefix(whole, b) }

// jsonPrefix reports whether b is a JSON value or the beginning of one, with
// nothing after it.
func jsonPrefix(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	var v json.RawMessage
	err := d.Decode(&v)
	if err == nil {
		return int(d.InputOffset()) == len(b)
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}

const sector = 512

// zeroTorn reports whether f has, from somewhere in the line at offset at, only
// zeros to its end, beginning with the line or with a sector: what a file system leaves whose
// power failed after it had made the file longer and before it wrote the data.
// Nothing there was ever acknowledged.
func zeroTorn(f *os.File, at int64) bool {
	size := fileSize(f)
	end, buf := size, make([]byte, 64<<10)
	for end > at {
		from := max(at, end-int64(len(buf)))
		b := buf[:end-from]
		if _, err := f.ReadAt(b, from); err != nil {
			return false
		}
		kept := bytes.TrimRight(b, "\x00")
		end = from + int64(len(kept))
		if len(kept) > 0 {
			break
		}
	}
	return end < size && (end == at || end%sector == 0)
}
