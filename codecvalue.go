package scsguard

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"
)

// The tags of values. They are part of the form: never reuse one.
const (
	tagNil = iota
	tagFalse
	tagTrue
	tagString
	tagBytes
	tagInt
	tagInt8
	tagInt16
	tagInt32
	tagInt64
	tagUint
	tagUint8
	tagUint16
	tagUint32
	tagUint64
	tagFloat32
	tagFloat64
	tagTime
	tagDuration
	tagStrings
	tagStringMap
	tagGob
)

func appendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.AppendVarint(b, t.Unix())
	b = binary.AppendUvarint(b, uint64(t.Nanosecond()))
	if t.Location() == time.UTC {
		return append(b, 0)
	}
	_, east := t.Zone()
	return binary.AppendUvarint(b, zigzag(int64(east))+1)
}

func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

func appendValue(b []byte, v any) ([]byte, error) {
	signed := func(tag byte, v int64) []byte { return binary.AppendVarint(append(b, tag), v) }
	unsigned := func(tag byte, v uint64) []byte { return binary.AppendUvarint(append(b, tag), v) }
	switch v := v.(type) {
	case nil:
		return append(b, tagNil), nil
	case bool:
		if v {
			return append(b, tagTrue), nil
		}
		return append(b, tagFalse), nil
	case string:
		return appendText(append(b, tagString), v), nil
	case []byte:
		return append(unsigned(tagBytes, uint64(len(v))), v...), nil
	case int:
		return signed(tagInt, int64(v)), nil
	case int8:
		return signed(tagInt8, int64(v)), nil
	case int16:
		return signed(tagInt16, int64(v)), nil
	case int32:
		return signed(tagInt32, int64(v)), nil
	case int64:
		return signed(tagInt64, v), nil
	case uint:
		return unsigned(tagUint, uint64(v)), nil
	case uint8:
		return unsigned(tagUint8, uint64(v)), nil
	case uint16:
		return unsigned(tagUint16, uint64(v)), nil
	case uint32:
		return unsigned(tagUint32, uint64(v)), nil
	case uint64:
		return unsigned(tagUint64, v), nil
	case float32:
		return binary.BigEndian.AppendUint32(append(b, tagFloat32), math.Float32bits(v)), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(b, tagFloat64), math.Float64bits(v)), nil
	case time.Time:
		return appendTime(append(b, tagTime), v), nil
	case time.Duration:
		return signed(tagDuration, int64(v)), nil
	case []string:
		b = unsigned(tagStrings, uint64(len(v)))
		for _, s := range v {
			b = appendText(b, s)
		}
		return b, nil
	case map[string]string:
		b = unsigned(tagStringMap, uint64(len(v)))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b = appendText(appendText(b, key), v[key])
		}
		return b, nil
	}
	embedded, err := encodeGob(v)
	return append(unsigned(tagGob, uint64(len(embedded))), embedded...), err
}

// codecReader takes values off the front of what is left. What could not have been
// written makes it bad for good, and everything that follows zero.
type codecReader struct {
	rest string
	bad  bool
}

func (r *codecReader) fail() {
	r.rest, r.bad = "", true
}

// take returns the next n bytes.
func (r *codecReader) take(n uint64) string {
	if n > uint64(len(r.rest)) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *codecReader) uvarint() uint64 {
	var v uint64
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		c := r.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if i > 0 && c == 0 || i == binary.MaxVarintLen64-1 && c > 1 {
			break // longer than it has to be, or more than 64 bits
		}
		r.rest = r.rest[i+1:]
		return v
	}
	r.fail()
	return 0
}

func (r *codecReader) varint() int64 { return unzigzag(r.uvarint()) }

// signed reads a number that fits into so many bits.
func (r *codecReader) signed(bits int) int64 {
	v := r.varint()
	if v<<(64-bits)>>(64-bits) != v {
		r.fail()
	}
	return v
}

func (r *codecReader) unsigned(bits int) uint64 {
	v := r.uvarint()
	if v<<(64-bits)>>(64-bits) != v {
		r.fail()
	}
	return v
}

func (r *codecReader) text() string { return r.take(r.uvarint()) }

// count reads how many items follow, of so many bytes at the least. Memory is made
// for them, so a number that cannot be true is refused first.
func (r *codecReader) count(least int) int {
	n := r.uvarint()
	if n > uint64(len(r.rest)/least) {
		r.fail()
		return 0
	}
	return int(n)
}

// maxZone is how far east or west a time's zone may be: what gob can hold.
const maxZone = 1 << 15 * 60

func (r *codecReader) time() time.Time {
	seconds, nanos, zone := r.varint(), r.uvarint(), r.uvarint()
	if nanos >= 1e9 {
		r.fail()
		return time.Time{}
	}
	t := time.Unix(seconds, int64(nanos))
	if zone == 0 {
		return t.UTC()
	}
	east := unzigzag(zone - 1)
	if _, local := t.Zone(); int64(local) == east {
		return t
	}
	if east > maxZone || east < -maxZone {
		r.fail()
		return time.Time{}
	}
	return t.In(time.FixedZone("", int(east)))
}

func (r *codecReader) value() (v any, err error) {
	tag := r.take(1)
	if r.bad {
		return nil, errCodec
	}
	switch tag[0] {
	case tagNil:
	case tagFalse:
		v = false
	case tagTrue:
		v = true
	case tagString:
		v = r.text()
	case tagBytes:
		v = r.bytes()
	case tagInt:
		v = int(r.signed(intBits))
	case tagInt8:
		v = int8(r.signed(8))
	case tagInt16:
		v = int16(r.signed(16))
	case tagInt32:
		v = int32(r.signed(32))
	case tagInt64:
		v = r.varint()
	case tagUint:
		v = uint(r.unsigned(intBits))
	case tagUint8:
		v = uint8(r.unsigned(8))
	case tagUint16:
		v = uint16(r.unsigned(16))
	case tagUint32:
		v = uint32(r.unsigned(32))
	case tagUint64:
		v = r.uvarint()
	case tagFloat32:
		v = math.Float32frombits(uint32(r.fixed(4)))
	case tagFloat64:
		v = math.Float64frombits(r.fixed(8))
	case tagTime:
		v = r.time()
	case tagDuration:
		v = time.Duration(r.varint())
	case tagStrings:
		v = r.texts()
	case tagStringMap:
		v = r.stringMap()
	case tagGob:
		s := r.text()
		if r.bad {
			break
		}
		return decodeGobValue(s)
	default:
		r.fail()
	}
	if r.bad {
		return nil, errCodec
	}
	return v, nil
}

const intBits = 32 << (^uint(0) >> 63) // of int in this process

func (r *codecReader) bytes() []byte {
	s := r.text()
	if s == "" {
		return nil
	}
	return []byte(s)
}

// fixed reads a number of n bytes, big endian.
func (r *codecReader) fixed(n uint64) (v uint64) {
	s := r.take(n)
	for i := range len(s) {
		v = v<<8 | uint64(s[i])
	}
	return v
}

func (r *codecReader) texts() []string {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.text()
	}
	return list
}

func (r *codecReader) stringMap() map[string]string {
	n := r.count(2)
	m := make(map[string]string, n)
	last := ""
	for i := range n {
		key := r.text()
		if i > 0 && key <= last {
			r.fail()
			break
		}
		m[key], last = r.text(), key
	}
	return m
}
