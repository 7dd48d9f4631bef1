package scsguard

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
)

// gobCodec is scs.GobCodec, which reads quicker what most sessions hold. It
// accepts the same bytes, unless they would take all memory, and returns the same data.
type gobCodec struct {
	scs.GobCodec
	heads *gobHeads
}

// Decode returns the deadline and the values that b holds.
func (c gobCodec) Decode(b []byte) (time.Time, map[string]any, error) { return c.heads.decode(b) }

// quicker returns a codec that reads and writes the same as codec does.
func quicker(codec scs.Codec) scs.Codec {
	switch codec.(type) {
	case scs.GobCodec, *scs.GobCodec:
		return gobCodec{heads: new(gobHeads)}
	}
	return codec
}

// A stream of scs.GobCodec begins with the definitions of its types, and gob
// compiles them anew for each: nine tenths of what a session of a few values costs.
// But they are the same in everything that one program writes. So the head of a
// stream that holds them is looked at once, and what follows is read here if it
// holds nothing but values of basic types and times. Everything else is left to gob,
// errors too, so there is one judge of what is valid.

// A gobHead is a head that is known.
type gobHead struct {
	text string
	id   int64 // of the struct that follows
	time int64 // of time.Time, or 0: times are left to gob
}

// gobHeads are those seen so far. Each version of a program may have its own. They
// come from the store, so there is a limit to how many are kept. The zero value is
// ready for use; it is safe for concurrent use.
type gobHeads struct{ known atomic.Pointer[[]gobHead] }

const maxGobHeads = 16

// What a head may be at the most. That of a program is shorter by far, and to look at
// each definition by itself takes time.
const (
	maxGobHead        = 4096
	maxGobDefinitions = 32
)

func (h *gobHeads) list() []gobHead {
	if known := h.known.Load(); known != nil {
		return *known
	}
	return nil
}

// decode reads what scs.GobCodec wrote.
func (h *gobHeads) decode(b []byte) (deadline time.Time, values map[string]any, err error) {
	if deadline, values, ok := h.read(b); ok {
		return deadline, values, nil
	}
	defer recoverGob(&err)
	if err := checkGob(b); err != nil {
		return time.Time{}, nil, err
	}
	return scs.GobCodec{}.Decode(b)
}

// read reads what scs.GobCodec wrote. It reports false for what gob has to read.
func (h *gobHeads) read(b []byte) (deadline time.Time, values map[string]any, ok bool) {
	head, found := h.of(b)
	if !found {
		return time.Time{}, nil, false
	}
	n, rest, ok := gobUintOf(b[len(head.text):])
	if !ok || n > uint64(len(rest)) {
		return time.Time{}, nil, false
	}
	r := gobReader{rest: string(rest[:n]), head: head} // one copy for all keys and texts
	deadline, values = r.session()
	return deadline, values, !r.bad // what may follow, gob does not look at either
}

// of returns the head of b.
func (h *gobHeads) of(b []byte) (gobHead, bool) {
	for _, head := range h.list() {
		if len(b) > len(head.text) && string(b[:len(head.text)]) == head.text {
			return head, true
		}
	}
	if len(h.list()) >= maxGobHeads {
		return gobHead{}, false
	}
	head, ok := learnGobHead(b)
	if !ok {
		return gobHead{}, false
	}
	for {
		known := h.known.Load()
		var heads []gobHead
		if known != nil {
			heads = slices.Clone(*known)
		}
		heads = append(heads, head)
		if h.known.CompareAndSwap(known, &heads) {
			return head, true
		}
	}
}

// learnGobHead has gob say what the head of b means: it is put before a session
// that is known.
func learnGobHead(b []byte) (head gobHead, ok bool) {
	defer func() {
		if recover() != nil { // in gob, which reads bytes that it may not have written
			ok = false
		}
	}()
	var defined []int64
	for rest := b; ; {
		n, message, ok := gobUintOf(rest)
		if !ok || n > uint64(len(message)) {
			return gobHead{}, false
		}
		id, _, ok := gobUintOf(message[:n])
		if !ok {
			return gobHead{}, false
		}
		if id&1 == 0 {
			head.text, head.id = string(b[:len(b)-len(rest)]), int64(id>>1)
			break
		}
		defined, rest = append(defined, int64(id>>1)+1), message[n:]
		if len(defined) > maxGobDefinitions || len(b)-len(rest) > maxGobHead {
			return gobHead{}, false
		}
	}
	if !head.means(nil) {
		return gobHead{}, false
	}
	for _, id := range defined { // fails for all of them if time.Time is not registered
		if head.means(&id) {
			head.time = id
			break
		}
	}
	return head, true
}

// means reports whether a session behind the head is what it should be, with a time
// among its values if the number of that type is given.
func (h gobHead) means(timeID *int64) bool {
	moment := time.Unix(1, 2).UTC()
	text, _ := moment.MarshalBinary()
	moments := append([]byte{byte(len(text))}, text...)
	value := func(name string, id int64, v []byte) []byte {
		b := append([]byte{byte(len(name))}, name...)
		b = appendGobUint(b, uint64(id)<<1)
		return append(append(b, byte(1+len(v)), 0), v...)
	}
	message := appendGobUint(nil, uint64(h.id)<<1)
	message = append(append(message, 1), moments...)
	want := map[string]any{"s": "t"}
	if timeID != nil {
		want["m"] = moment
	}
	message = append(message, 1, byte(len(want)))
	message = append(append(message, 1, 's'), value("string", gobString, []byte{1, 't'})...)
	if timeID != nil {
		message = append(append(message, 1, 'm'), value(gobTimeName, *timeID, moments)...)
	}
	message = append(message, 0)
	stream := append(appendGobUint([]byte(h.text), uint64(len(message))), message...)
	if checkGob(stream) != nil {
		return false
	}
	deadline, got, err := scs.GobCodec{}.Decode(stream)
	if err != nil || !deadline.Equal(moment) || len(got) != len(want) || got["s"] != "t" {
		return false
	}
	m, _ := got["m"].(time.Time)
	return timeID == nil || m.Equal(moment)
}

// gobTimeName is what gob.Register calls a time.
const gobTimeName = "time.Time"

// appendGobUint is the reverse of gobUintOf.
func appendGobUint(b []byte, v uint64) []byte {
	if v < 0x80 {
		return append(b, byte(v))
	}
	n := (bits.Len64(v) + 7) / 8
	b = append(b, byte(-n))
	for n--; n >= 0; n-- {
		b = append(b, byte(v>>(8*n)))
	}
	return b
}

// gobReader takes a session off the front of what is left. What gob has to read
// makes it bad for good.
type gobReader struct {
	rest string
	head gobHead
	bad  bool
}

func (r *gobReader) fail() {
	r.rest, r.bad = "", true
}

func (r *gobReader) uint() uint64 {
	v, rest, ok := gobUintOf(r.rest)
	if !ok {
		r.fail()
		return 0
	}
	r.rest = rest
	return v
}

func (r *gobReader) int() int64 {
	v := r.uint()
	if v&1 != 0 {
		return ^int64(v >> 1)
	}
	return int64(v >> 1)
}

func (r *gobReader) text() string {
	n := r.uint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// session reads the struct of scs.GobCodec: a field that has its zero value may be
// left out, and 0 is the end.
func (r *gobReader) session() (deadline time.Time, values map[string]any) {
	if r.int() != r.head.id {
		r.fail()
	}
	for field := uint64(0); !r.bad; {
		delta := r.uint()
		if delta == 0 {
			return deadline, values
		}
		if field += delta; delta > 2 {
			r.fail()
		}
		switch field {
		case 1:
			deadline = r.time()
		case 2:
			values = r.values()
		default:
			r.fail()
		}
	}
	return time.Time{}, nil
}

func (r *gobReader) values() map[string]any {
	n := r.uint()
	if n > uint64(len(r.rest)/2) { // memory is made for them
		r.fail()
		return nil
	}
	values := make(map[string]any, n)
	for range n {
		key := r.text()
		values[key] = r.value()
		if r.bad {
			return nil
		}
	}
	return values
}

func (r *gobReader) time() (t time.Time) {
	if t.UnmarshalBinary([]byte(r.text())) != nil {
		r.fail()
	}
	return t
}

// value reads a value of any type: the type's name and number, the length, a zero,
// and what it is.
func (r *gobReader) value() any {
	name := r.text()
	if name == "" {
		return nil
	}
	id := r.int()
	r.uint()
	if r.uint() != 0 {
		r.fail()
	}
	switch id {
	case gobBool:
		if name == "bool" {
			return r.uint() != 0
		}
	case gobString:
		if name == "string" {
			return r.text()
		}
	case gobBytes:
		if name == "[]uint8" {
			return r.bytes()
		}
	case gobInt:
		return r.signed(name)
	case gobUint:
		return r.unsigned(name)
	case gobFloat:
		return r.float(name)
	case r.head.time:
		if name == gobTimeName && id != 0 {
			return r.time()
		}
	}
	r.fail()
	return nil
}

func (r *gobReader) bytes() []byte {
	if s := r.text(); s != "" {
		return []byte(s)
	}
	return nil
}

func (r *gobReader) signed(name string) any {
	v := r.int()
	fits := func(bits int) bool { return v<<(64-bits)>>(64-bits) == v }
	switch {
	case name == "int" && fits(intBits):
		return int(v)
	case name == "int8" && fits(8):
		return int8(v)
	case name == "int16" && fits(16):
		return int16(v)
	case name == "int32" && fits(32):
		return int32(v)
	case name == "int64":
		return v
	}
	r.fail()
	return nil
}

func (r *gobReader) unsigned(name string) any {
	v := r.uint()
	fits := func(bits int) bool { return v<<(64-bits)>>(64-bits) == v }
	switch {
	case name == "uint" && fits(intBits):
		return uint(v)
	case name == "uint8" && fits(8):
		return uint8(v)
	case name == "uint16" && fits(16):
		return uint16(v)
	case name == "uint32" && fits(32):
		return uint32(v)
	case name == "uint64":
		return v
	}
	r.fail()
	return nil
}

// float reads a number whose bytes are in reverse, since its last ones are often zero.
func (r *gobReader) float(name string) any {
	v := math.Float64frombits(bits.ReverseBytes64(r.uint()))
	switch {
	case name == "float64":
		return v
	case name == "float32" && (math.Abs(v) <= math.MaxFloat32 || math.IsInf(v, 0) || math.IsNaN(v)):
		return float32(v)
	}
	r.fail()
	return nil
}
