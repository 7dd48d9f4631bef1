package scsguard

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// fieldReader hands out the fields of an encoded record. They come in the order of
// their tags, and are asked for in that order. Bytes that would have been written
// otherwise are refused, so that a record has one encoding. Texts are parts of what
// is read: the record is copied once, as a whole.
type fieldReader struct {
	rest  codecReader // behind the field at the front
	tag   uint64      // of the field at the front, noField if there is none
	value string
	err   error
}

// noField is behind all tags: whoever asks for one finds that it is not there.
const noField = math.MaxUint64

var errMalformed = errors.New("malformed")

func readFields(b string) fieldReader {
	r := fieldReader{rest: codecReader{rest: b}}
	r.next()
	return r
}

// next goes on to the next field.
func (r *fieldReader) next() {
	if r.tag, r.value = noField, ""; r.err != nil || r.rest.rest == "" {
		return
	}
	tag, value := r.rest.uvarint(), r.rest.text()
	if r.rest.bad || tag == 0 || tag == noField {
		r.bad(0)
		return
	}
	r.tag, r.value = tag, value
}

// has reports whether the field at the front may be the one that is asked for.
func (r *fieldReader) has(tag uint64) bool { return r.tag <= tag && r.require(tag) }

// require makes sure that it is. If not it is out of order, or comes twice; and nothing
// that is written is empty.
func (r *fieldReader) require(tag uint64) bool {
	if r.tag < tag || r.value == "" {
		r.bad(r.tag)
		return false
	}
	return true
}

// take returns the value of the field at the front, and goes on.
func (r *fieldReader) take() (tag uint64, value string) {
	tag, value = r.tag, r.value
	r.next()
	return tag, value
}

// extra returns the fields that are left, which must be of a later version: with
// tags from limit on.
func (r *fieldReader) extra(limit uint64) (extra []byte) {
	last := limit - 1
	for r.tag != noField {
		tag, value := r.take()
		if tag <= last {
			r.bad(tag)
			return nil
		}
		extra = appendText(appendUvarint(extra, tag), value)
		last = tag
	}
	return extra
}

func (r *fieldReader) bad(tag uint64) {
	if r.err == nil {
		r.err = fmt.Errorf("field %d: %w", tag, errMalformed)
	}
	r.tag = noField
}

func (r *fieldReader) text(v *string) { _, *v = r.take() }

// items calls f for each item of a list.
func (r *fieldReader) items(f func(item string) bool) {
	tag, value := r.take()
	list := codecReader{rest: value}
	for n := 0; list.rest != "" && r.err == nil; n++ {
		item := list.text()
		if list.bad || n == maxListLen || !f(item) {
			r.bad(tag)
		}
	}
}

func (r *fieldReader) texts(v *[]string) {
	r.items(func(item string) bool {
		*v = append(*v, item)
		return true
	})
}

func (r *fieldReader) flag(v *bool) {
	tag, value := r.take()
	if *v = true; value != "\x01" {
		r.bad(tag)
	}
}

func (r *fieldReader) time(v *time.Time, since time.Time) {
	tag, value := r.take()
	seconds, nanos := split(since)
	apart := codecReader{rest: value}
	seconds += apart.varint()
	if apart.rest != "" {
		more := apart.varint()
		if nanos += more; more == 0 {
			apart.fail()
		}
	}
	if apart.bad || apart.rest != "" || nanos < 0 || nanos >= 1e9 {
		r.bad(tag)
		return
	}
	*v = time.Unix(seconds, nanos).UTC()
	if v.IsZero() || v.Unix() != seconds {
		r.bad(tag)
	}
}

func (r *fieldReader) addr(v *netip.Addr) {
	tag, value := r.take()
	if err := v.UnmarshalBinary([]byte(value)); err != nil || !v.IsValid() {
		r.bad(tag)
	}
}

func (r *fieldReader) warnings(v *[]Warning) {
	r.items(func(item string) bool {
		inner := readFields(item)
		var w Warning
		w.fields(fields{r: &inner})
		*v = append(*v, w)
		return inner.whole()
	})
}

// whole reports whether everything was read and made sense.
func (r *fieldReader) whole() bool { return r.err == nil && r.tag == noField }

func (r *fieldReader) signed() int64 {
	tag, value := r.take()
	number := codecReader{rest: value}
	v := number.varint()
	if v == 0 || number.bad || number.rest != "" {
		r.bad(tag)
	}
	return v
}
