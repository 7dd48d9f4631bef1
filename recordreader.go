package scsguard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// fieldReader hands out the fields of an encoded record. Bytes that would have
// been written otherwise are refused, so that a record has one encoding.
type fieldReader struct {
	fields map[uint64][]byte
	err    error
}

var errMalformed = errors.New("malformed")

// readFields splits b into fields. Those from tag limit on are returned as they
// are.
func readFields(b []byte, limit uint64) (known map[uint64][]byte, rest []byte, err error) {
	known = make(map[uint64][]byte)
	last := uint64(0)
	for len(b) > 0 {
		start := b
		tag, size, err := readUvarint(&b)
		if err != nil || tag <= last || size > uint64(len(b)) {
			return nil, nil, errMalformed
		}
		last = tag
		value := b[:size]
		b = b[size:]
		if tag >= limit {
			rest = append(rest, start[:len(start)-len(b)]...)
			continue
		}
		known[tag] = value
	}
	return known, rest, nil
}

// readUvarint reads a tag and a length, each of least length.
func readUvarint(b *[]byte) (tag, size uint64, err error) {
	for _, v := range []*uint64{&tag, &size} {
		n := 0
		if *v, n = binary.Uvarint(*b); n <= 0 || n != len(binary.AppendUvarint(nil, *v)) {
			return 0, 0, errMalformed
		}
		*b = (*b)[n:]
	}
	return tag, size, nil
}

func (r *fieldReader) bad(tag uint64) {
	if r.err == nil {
		r.err = fmt.Errorf("field %d: %w", tag, errMalformed)
	}
}

// take returns a field's value, and whether there is one.
func (r *fieldReader) take(tag uint64) ([]byte, bool) {
	v, ok := r.fields[tag]
	if ok && len(v) == 0 { // nothing that is written is empty
		r.bad(tag)
		return nil, false
	}
	return v, ok
}

func (r *fieldReader) text(tag uint64, v *string) {
	if b, ok := r.take(tag); ok {
		*v = string(b)
	}
}

// items splits a list.
func (r *fieldReader) items(tag uint64) [][]byte {
	b, ok := r.take(tag)
	if !ok {
		return nil
	}
	var items [][]byte
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || n != len(binary.AppendUvarint(nil, size)) || size > uint64(len(b)-n) {
			r.bad(tag)
			return nil
		}
		items = append(items, b[n:n+int(size)])
		b = b[n+int(size):]
		if len(items) > maxListLen {
			r.bad(tag)
			return nil
		}
	}
	return items
}

func (r *fieldReader) texts(tag uint64, v *[]string) {
	for _, item := range r.items(tag) {
		*v = append(*v, string(item))
	}
}

func (r *fieldReader) flag(tag uint64, v *bool) {
	if b, ok := r.take(tag); ok {
		if *v = true; len(b) != 1 || b[0] != 1 {
			r.bad(tag)
		}
	}
}

func (r *fieldReader) time(tag uint64, v *time.Time) {
	b, ok := r.take(tag)
	if !ok {
		return
	}
	if len(b) != 12 {
		r.bad(tag)
		return
	}
	seconds, nanos := int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:])
	*v = time.Unix(seconds, int64(nanos)).UTC()
	if nanos >= 1e9 || v.IsZero() || v.Unix() != seconds {
		r.bad(tag)
	}
}

func (r *fieldReader) addr(tag uint64, v *netip.Addr) {
	if b, ok := r.take(tag); ok {
		if err := v.UnmarshalBinary(b); err != nil || !v.IsValid() {
			r.bad(tag)
		}
	}
}

func (r *fieldReader) warnings(tag uint64, v *[]Warning) {
	for _, item := range r.items(tag) {
		known, rest, err := readFields(item, tagWarnLast)
		if err != nil || len(rest) > 0 {
			r.bad(tag)
			return
		}
		inner := &fieldReader{fields: known}
		var w Warning
		w.fields(inner)
		if inner.err != nil {
			r.bad(tag)
			return
		}
		*v = append(*v, w)
	}
}

func (r *fieldReader) signed(tag uint64, _ int64) (int64, bool) {
	b, ok := r.take(tag)
	if !ok {
		return 0, false
	}
	v, n := binary.Varint(b)
	if n != len(b) || v == 0 || n != len(binary.AppendVarint(nil, v)) {
		r.bad(tag)
	}
	return v, true
}
