package scsguard

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// fieldReader hands out the fields of an encoded record. They come in the order of
// their tags, and are asked for in that order. Bytes that would have been written
// otherwise are refused, so that a record has one encoding. Texts are parts of what
// is read: the record is copied once, as a whole.
type fieldReader struct {
	rest codecReader // behind the field at the front
	// front is the field at the front, with the tag 0 if there is none yet.
	front struct {
		tag   uint64
		value string
	}
	err error
}

var errMalformed = errors.New("malformed")

// look looks at the next field. It returns false at the end.
func (r *fieldReader) look() bool {
	if r.front.tag != 0 {
		return true
	}
	if r.rest.rest == "" {
		return false
	}
	r.front.tag = r.rest.uvarint()
	r.front.value = r.rest.text()
	if r.rest.bad || r.front.tag == 0 {
		r.bad(0)
		return false
	}
	return true
}

// take returns a field's value, and whether there is one.
func (r *fieldReader) take(tag uint64) (string, bool) {
	if r.err != nil || !r.look() || r.front.tag > tag {
		return "", false
	}
	v := r.front.value
	if r.front.tag < tag || v == "" { // out of order, or twice; and nothing that is written is empty
		r.bad(r.front.tag)
		return "", false
	}
	r.front.tag = 0
	return v, true
}

// extra returns the fields that are left, which must be of a later version: with
// tags from limit on.
func (r *fieldReader) extra(limit uint64) (extra []byte) {
	last := limit - 1
	for r.err == nil && r.look() {
		tag, value := r.front.tag, r.front.value
		if tag <= last {
			r.bad(tag)
			return nil
		}
		extra = appendText(appendUvarint(extra, tag), value)
		last, r.front.tag = tag, 0
	}
	return extra
}

func (r *fieldReader) bad(tag uint64) {
	if r.err == nil {
		r.err = fmt.Errorf("field %d: %w", tag, errMalformed)
	}
}

func (r *fieldReader) text(tag uint64, v *string) {
	if s, ok := r.take(tag); ok {
		*v = s
	}
}

// items calls f for each item of a list.
func (r *fieldReader) items(tag uint64, f func(item string)) {
	s, ok := r.take(tag)
	if !ok {
		return
	}
	list := codecReader{rest: s}
	for n := 0; list.rest != "" && r.err == nil; n++ {
		item := list.text()
		if list.bad || n == maxListLen {
			r.bad(tag)
			return
		}
		f(item)
	}
}

func (r *fieldReader) texts(tag uint64, v *[]string) {
	r.items(tag, func(item string) { *v = append(*v, item) })
}

func (r *fieldReader) flag(tag uint64, v *bool) {
	if s, ok := r.take(tag); ok {
		if *v = true; s != "\x01" {
			r.bad(tag)
		}
	}
}

func (r *fieldReader) time(tag uint64, v *time.Time) {
	s, ok := r.take(tag)
	if !ok {
		return
	}
	if len(s) != 12 {
		r.bad(tag)
		return
	}
	fixed := codecReader{rest: s}
	seconds, nanos := int64(fixed.fixed(8)), fixed.fixed(4)
	*v = time.Unix(seconds, int64(nanos)).UTC()
	if nanos >= 1e9 || v.IsZero() || v.Unix() != seconds {
		r.bad(tag)
	}
}

func (r *fieldReader) addr(tag uint64, v *netip.Addr) {
	if s, ok := r.take(tag); ok {
		if err := v.UnmarshalBinary([]byte(s)); err != nil || !v.IsValid() {
			r.bad(tag)
		}
	}
}

func (r *fieldReader) warnings(tag uint64, v *[]Warning) {
	r.items(tag, func(item string) {
		inner := &fieldReader{rest: codecReader{rest: item}}
		var w Warning
		w.fields(inner)
		if inner.look() || inner.err != nil { // in this order: what cannot be read is an error
			r.bad(tag)
		}
		*v = append(*v, w)
	})
}

func (r *fieldReader) signed(tag uint64, _ int64) (int64, bool) {
	s, ok := r.take(tag)
	if !ok {
		return 0, false
	}
	number := codecReader{rest: s}
	v := number.varint()
	if v == 0 || number.bad || number.rest != "" {
		r.bad(tag)
	}
	return v, true
}
