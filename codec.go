package scsguard

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2"
)

// Codec encodes session data in a tenth of the time that gob takes, and in the same
// bytes if it is the same. Set it before [New]:
//
//	sessions.Codec = scsguard.Codec{}
//
// Values of the types string, bool, all integers and floats, []byte, []string,
// map[string]string, [time.Time] and [time.Duration] come back as what they were,
// without gob.Register. Everything else is embedded as a gob value, so its type has
// to be registered as for [scs.GobCodec]. As with gob, []byte and []string that are
// empty come back as nil, and map[string]string that is nil comes back empty.
//
// Equal data has equal bytes, so a session that was put back as it was is not
// written again. Embedded gob values that hold maps are the exception.
//
// Codec reads what GobCodec wrote: sessions live on when it is introduced, and get
// the new form when they are next written. GobCodec does not read what Codec wrote.
// So where several instances share a store, first give all of them
// Codec{ReadOnly: true}, then Codec{}; to go back, the same in reverse, and
// ReadOnly until the last session has been written or has ended.
//
// Bytes that Codec has not written yield an error. Those in its own form need
// little more memory than their length, whatever they claim; for embedded gob
// values and for what GobCodec wrote, see docs/codec.md. The zero value is ready for
// use; it is safe for concurrent use.
type Codec struct {
	// ReadOnly reads both forms and writes that of GobCodec.
	ReadOnly bool
}

var _ scs.Codec = Codec{}

// The form of encoded session data.
//
// Two bytes, codecMagic and codecVersion; the deadline, as a time; the number of
// values; for each, in the order of its key's bytes and no key twice: the key, a
// tag, and what the tag says. Numbers are unsigned varints of least length; signed
// ones zigzag. Text is its length and its bytes. A time is its seconds since 1970,
// signed, its nanoseconds, and its zone: 0 for UTC, else 1 more than the zigzag of
// its seconds east of it.
//
// A gob stream begins with a length, whose first byte is never codecMagic, and no
// text format begins with it either.
const (
	codecMagic   = 0xB5
	codecVersion = 1
)

// errCodec is what Decode returns for bytes that it has not written. It says
// nothing about them: they may be a visitor's secrets.
var errCodec = errors.New("scsguard: session data is damaged or of a later version")

// Encode returns the session's deadline and values as bytes.
func (c Codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	if c.ReadOnly {
		return scs.GobCodec{}.Encode(deadline, values)
	}
	b := make([]byte, 0, 64+32*len(values))
	b = append(b, codecMagic, codecVersion)
	b = appendTime(b, deadline)
	b = appendUvarint(b, uint64(len(values)))
	var err error
	for _, key := range slices.Sorted(maps.Keys(values)) {
		b = appendText(b, key)
		if b, err = appendValue(b, values[key]); err != nil {
			return nil, fmt.Errorf("scsguard: session value %q: %w", key, err)
		}
	}
	return b, nil
}

// Decode returns the deadline and the values that b holds. The values share no
// memory with b.
func (Codec) Decode(b []byte) (time.Time, map[string]any, error) {
	if len(b) == 0 || b[0] != codecMagic {
		return codecHeads.decode(b)
	}
	if len(b) < 2 || b[1] != codecVersion {
		return time.Time{}, nil, errCodec
	}
	r := codecReader{rest: string(b[2:])} // one copy for all keys and texts
	deadline := r.time()
	n := r.count(2)
	values := make(map[string]any, n)
	last := ""
	for i := range n {
		key := r.text()
		if r.bad || i > 0 && key <= last {
			return time.Time{}, nil, errCodec
		}
		v, err := r.value()
		if err != nil {
			return time.Time{}, nil, fmt.Errorf("scsguard: session value %q: %w", key, err)
		}
		values[key], last = v, key
	}
	if r.bad || r.rest != "" {
		return time.Time{}, nil, errCodec
	}
	return deadline, values, nil
}

var codecHeads gobHeads

// recoverGob makes an error of a panic: in a GobDecode of the application, which
// sees bytes that it may not have written.
func recoverGob(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("scsguard: session data: panic: %v", p)
	}
}

// encodeGob embeds a value of any other type. It is the pointer that makes gob write
// the type's name.
func encodeGob(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(&v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func decodeGobValue(s string) (v any, err error) {
	defer recoverGob(&err)
	b := []byte(s)
	if err := checkGob(b); err != nil {
		return nil, err
	}
	r := bytes.NewReader(b)
	if err := gob.NewDecoder(r).Decode(&v); err != nil {
		return nil, err
	}
	if r.Len() > 0 {
		return nil, errCodec
	}
	return v, nil
}
