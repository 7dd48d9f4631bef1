package auditlog

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/scsguard/scsguard/internal/trailtime"
)

// The parts of a line. A line is exactly what append writes, byte by byte: the
// parser takes nothing else, so that a log has one encoding only.
const (
	recordHead = `{"v":1,"stream":"`
	recordSeq  = `","seq":`
	recordTime = `,"time":"`
	recordPrev = `","prev":"`
	recordBody = `","event":` // what the caller appended
	ownBody    = `","audit":` // what the log says about itself
	cpHead     = `{"cp":"`
	cpTail     = `\n"}`
	sigHead    = `\n\n— `

	timeLayout = trailtime.Layout
	hashLen    = 44 // a Hash in base64
	sigLen     = 92 // key ID and signature in base64
)

// MaxRecord is the largest record that Append takes, in bytes.
const MaxRecord = 1 << 20

// maxLine bounds the memory of a reader.
const maxLine = MaxRecord + 4096

var (
	errMalformed = errors.New("not a line of this format")
	errForeign   = errors.New("a line of another stream")
)

// line is a parsed line. Its slices point into what was parsed.
type line struct {
	cp   bool
	seq  int64 // of a record; of a checkpoint: the size of the tree
	time []byte
	prev Hash // of a record; of a checkpoint: the root
	own  bool
	body []byte // the event; of a checkpoint: the signature with its key ID, decoded by sig
}

func appendRecord(b []byte, stream string, seq int64, now []byte, prev *Hash, own bool, body []byte) []byte {
	b = append(b, recordHead...)
	b = append(b, stream...)
	b = append(b, recordSeq...)
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, recordTime...)
	b = append(b, now...)
	b = append(b, recordPrev...)
	b = base64.StdEncoding.AppendEncode(b, prev[:])
	if own {
		b = append(b, ownBody...)
	} else {
		b = append(b, recordBody...)
	}
	b = append(b, body...)
	return append(b, '}')
}

// appendSigned appends the text of a checkpoint that its signature covers.
func appendSigned(b []byte, stream string, size int64, root *Hash) []byte {
	b = append(b, stream...)
	b = append(b, '\n')
	b = strconv.AppendInt(b, size, 10)
	b = append(b, '\n')
	b = base64.StdEncoding.AppendEncode(b, root[:])
	return append(b, '\n')
}

func appendCheckpoint(b []byte, stream string, size int64, root *Hash, sig []byte) []byte {
	b = append(b, cpHead...)
	b = append(b, stream...)
	b = append(b, `\n`...)
	b = strconv.AppendInt(b, size, 10)
	b = append(b, `\n`...)
	b = base64.StdEncoding.AppendEncode(b, root[:])
	b = append(b, sigHead...)
	b = append(b, stream...)
	b = append(b, ' ')
	b = base64.StdEncoding.AppendEncode(b, sig)
	return append(b, cpTail...)
}

// parseLine parses a line of stream, without its line feed.
func parseLine(b []byte, stream string) (l line, err error) {
	if rest, ok := bytes.CutPrefix(b, []byte(cpHead)); ok {
		return parseCheckpoint(rest, stream)
	}
	rest, ok := bytes.CutPrefix(b, []byte(recordHead))
	if !ok {
		return l, errMalformed
	}
	if len(rest) < len(stream) || string(rest[:len(stream)]) != stream {
		return l, errForeign
	}
	rest = rest[len(stream):]
	if rest, ok = bytes.CutPrefix(rest, []byte(recordSeq)); !ok {
		return l, errForeign
	}
	if l.seq, rest, ok = cutInt(rest); !ok {
		return l, errMalformed
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(recordTime)); !ok || len(rest) < len(timeLayout) {
		return l, errMalformed
	}
	l.time, rest = rest[:len(timeLayout)], rest[len(timeLayout):]
	if !timeShaped(l.time) {
		return l, errMalformed
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(recordPrev)); !ok || len(rest) < hashLen || !decodeHash(&l.prev, rest[:hashLen]) {
		return l, errMalformed
	}
	rest = rest[hashLen:]
	if rest, ok = bytes.CutPrefix(rest, []byte(recordBody)); !ok {
		if rest, ok = bytes.CutPrefix(rest, []byte(ownBody)); !ok {
			return l, errMalformed
		}
		l.own = true
	}
	if l.body, ok = bytes.CutSuffix(rest, []byte("}")); !ok || !braced(l.body) {
		return l, errMalformed
	}
	return l, nil
}

func parseCheckpoint(b []byte, stream string) (l line, err error) {
	l.cp = true
	if len(b) < len(stream)+2 || string(b[:len(stream)]) != stream || string(b[len(stream):len(stream)+2]) != `\n` {
		return l, errForeign
	}
	var ok bool
	if l.seq, b, ok = cutInt(b[len(stream)+2:]); !ok || l.seq == 0 {
		return l, errMalformed
	}
	if b, ok = bytes.CutPrefix(b, []byte(`\n`)); !ok || len(b) < hashLen || !decodeHash(&l.prev, b[:hashLen]) {
		return l, errMalformed
	}
	if b, ok = bytes.CutPrefix(b[hashLen:], []byte(sigHead)); !ok {
		return l, errMalformed
	}
	if len(b) != len(stream)+1+sigLen+len(cpTail) || string(b[:len(stream)]) != stream || b[len(stream)] != ' ' {
		return l, errMalformed
	}
	l.body = b[len(stream)+1 : len(stream)+1+sigLen]
	if string(b[len(stream)+1+sigLen:]) != cpTail {
		return l, errMalformed
	}
	return l, nil
}

// sig decodes the key ID and the signature of a checkpoint. Base64 has several
// spellings for the same bytes; it takes the one that is written.
func (l *line) sig() ([]byte, bool) {
	sig, err := base64.StdEncoding.Strict().AppendDecode(nil, l.body)
	if err != nil || len(sig) != 4+ed25519.SignatureSize || !bytes.Equal(base64.StdEncoding.AppendEncode(nil, sig), l.body) {
		return nil, false
	}
	return sig, true
}

// cutInt takes a decimal number without leading zeros from the front of b.
func cutInt(b []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && i < 18 && '0' <= b[i] && b[i] <= '9' {
		n = 10*n + int64(b[i]-'0')
		i++
	}
	if i == 0 || b[0] == '0' && i > 1 {
		return 0, nil, false
	}
	return n, b[i:], true
}

// timeShaped reports whether b has digits and signs where a time has them.
func timeShaped(b []byte) bool {
	for i, want := range []byte("0000-00-00T00:00:00.000000Z") {
		if want == '0' && (b[i] < '0' || b[i] > '9') || want != '0' && b[i] != want {
			return false
		}
	}
	return true
}

// parseTime returns the zero time for what is none.
func parseTime(b []byte) time.Time {
	if t, ok := trailtime.Parse(b); ok {
		return t
	}
	t, err := time.Parse(timeLayout, string(b))
	if err != nil {
		return time.Time{}
	}
	return t
}

// decodeHash decodes the one spelling of a hash.
func decodeHash(h *Hash, b []byte) bool {
	var raw [33]byte
	if b[hashLen-1] != '=' || b[hashLen-2] == '=' || bytes.ContainsAny(b, "\r\n") {
		return false
	}
	n, err := strictBase64.Decode(raw[:], b)
	if err != nil || n != len(h) {
		return false
	}
	copy(h[:], raw[:])
	return true
}

var strictBase64 = base64.StdEncoding.Strict()

// checkRecord refuses what would not be one line with one JSON object.
func checkRecord(r []byte) error {
	switch {
	case len(r) > MaxRecord:
		return fmt.Errorf("it has %d bytes, more than %d", len(r), MaxRecord)
	case !braced(r):
		return errors.New("it is not a JSON object")
	case bytes.IndexByte(r, '\n') >= 0 || bytes.IndexByte(r, '\r') >= 0:
		return errors.New("it has a line break")
	case !json.Valid(r):
		return errors.New("it is not valid JSON")
	}
	return nil
}

// braced reports whether b begins and ends like a JSON object, blanks around it
// aside.
func braced(b []byte) bool {
	b = bytes.Trim(b, " \t")
	return len(b) >= 2 && b[0] == '{' && b[len(b)-1] == '}'
}
