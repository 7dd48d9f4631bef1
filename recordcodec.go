package scsguard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// The encoding of a record.
//
// For registries that keep records as bytes. A record is the version byte 1 and
// a row of fields: tag, length, value, the first two as unsigned varints of
// least length. Tags ascend and none comes twice. A field that has its zero
// value is left out. Values: text and bytes as they are; numbers and durations
// (nanoseconds) as varints; times as varints of seconds since 1970 and, unless they
// are none, nanoseconds, both less those of Created in a record that has it; addresses
// as netip marshals them; lists as items, each behind its length; a warning as a row
// of fields of its own.
//
// So equal records have equal bytes, and bytes that are accepted are exactly
// those that would be written. Tags that are not known are of a later version:
// they are kept in Extra and written again. The fields of a warning are final.
// What is longer than any record is refused before it is looked at.

const (
	recordVersion = 1
	maxRecordLen  = 64 << 10
)

// The tags of a record. They are part of the format: never reuse one.
const (
	tagSession = iota + 1
	tagUser
	tagRole
	tagBaseRole
	tagKey
	tagState
	tagCreated
	tagAuthTime
	tagMethods
	tagAAL
	tagLoginAAL
	tagLastActivity
	tagIdle
	tagAbsolute
	tagAbsoluteSince
	tagLongestGap
	tagTokenSince
	tagFingerprint
	tagIP
	tagUserAgent
	tagRemembered
	tagActor
	tagExternal
	tagSeq
	tagExtends
	tagWarnings
	tagLease
	tagOwner
	tagSuccessor
	tagMovedAt
	tagGraceUntil
	tagEndKind
	tagEndReason
	tagEndAt
	tagEndDue
	tagEndActor
	tagEndDetail
	tagEndKeep
	tagConfirmed
	tagReplacedAt
	tagEndIP
	tagEndIPSource
	tagEndUserAgent
	tagMismatch
	tagRemember
	tagLast // the first tag that is not known
)

// The tags of a warning.
const (
	tagWarnTime = iota + 1
	tagWarnSession
	tagWarnIP
	tagWarnUserAgent
	tagWarnLast
)

// fields lists the fields of a record with their tags, for both directions, in the
// order of the tags.
func (r *Record) fields(f fields) {
	f.text(tagSession, &r.Session)
	f.text(tagUser, &r.User)
	f.text(tagRole, &r.Role)
	f.text(tagBaseRole, &r.BaseRole)
	f.text(tagKey, (*string)(&r.Key))
	number(f, tagState, &r.State)
	f.time(tagCreated, &r.Created, time.Time{})
	f.time(tagAuthTime, &r.AuthTime, r.Created)
	f.texts(tagMethods, &r.Methods)
	number(f, tagAAL, &r.AAL)
	number(f, tagLoginAAL, &r.LoginAAL)
	f.time(tagLastActivity, &r.LastActivity, r.Created)
	number(f, tagIdle, &r.Idle)
	f.time(tagAbsolute, &r.Absolute, r.Created)
	f.time(tagAbsoluteSince, &r.AbsoluteSince, r.Created)
	number(f, tagLongestGap, &r.LongestGap)
	f.time(tagTokenSince, &r.TokenSince, r.Created)
	f.text(tagFingerprint, &r.Fingerprint)
	f.addr(tagIP, &r.IP)
	f.text(tagUserAgent, &r.UserAgent)
	f.flag(tagRemembered, &r.Remembered)
	f.text(tagActor, &r.Actor)
	f.text(tagExternal, &r.External)
	number(f, tagSeq, &r.Seq)
	number(f, tagExtends, &r.Extends)
	f.warnings(tagWarnings, &r.Warnings)
	f.time(tagLease, &r.Lease, r.Created)
	f.text(tagOwner, &r.Owner)
	f.text(tagSuccessor, (*string)(&r.Successor))
	f.time(tagMovedAt, &r.MovedAt, r.Created)
	f.time(tagGraceUntil, &r.GraceUntil, r.Created)
	f.text(tagEndKind, (*string)(&r.Ending.Kind))
	f.text(tagEndReason, (*string)(&r.Ending.Reason))
	f.time(tagEndAt, &r.Ending.At, r.Created)
	f.time(tagEndDue, &r.Ending.Due, r.Created)
	f.text(tagEndActor, &r.Ending.Actor)
	f.text(tagEndDetail, &r.Ending.Detail)
	number(f, tagEndKeep, &r.Ending.Keep)
	f.flag(tagConfirmed, &r.Confirmed)
	f.time(tagReplacedAt, &r.ReplacedAt, r.Created)
	f.addr(tagEndIP, &r.Ending.IP)
	f.text(tagEndIPSource, &r.Ending.IPSource)
	f.text(tagEndUserAgent, &r.Ending.UserAgent)
	f.text(tagMismatch, &r.Mismatch)
	f.text(tagRemember, &r.Remember)
}

func (w *Warning) fields(f fields) {
	f.time(tagWarnTime, &w.Time, time.Time{})
	f.text(tagWarnSession, &w.Session)
	f.addr(tagWarnIP, &w.IP)
	f.text(tagWarnUserAgent, &w.UserAgent)
}

// MarshalBinary encodes the record, its Key included: keep the result where the
// session data is kept.
func (r Record) MarshalBinary() ([]byte, error) {
	w := fieldWriter{b: []byte{recordVersion}}
	r.fields(fields{w: &w})
	reader := readFields(string(r.Extra))
	if reader.extra(tagLast); reader.err != nil {
		return nil, errors.New("scsguard: Record.Extra does not hold fields of a later version")
	}
	return append(w.b, r.Extra...), nil
}

// UnmarshalBinary decodes a record. On an error the record is unchanged.
func (r *Record) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != recordVersion {
		return errors.New("scsguard: record: unknown version")
	}
	if len(b) > maxRecordLen {
		return fmt.Errorf("scsguard: record: %d bytes are no record", len(b))
	}
	var read Record
	reader := readFields(string(b[1:]))
	read.fields(fields{r: &reader})
	read.Extra = reader.extra(tagLast)
	if reader.err != nil {
		return fmt.Errorf("scsguard: record: %w", reader.err)
	}
	*r = read
	return nil
}

// fields is one direction of the encoding: it reads if there is a reader, else it
// writes. It is no interface: what is handed to one is made on the heap, and a record
// is read with every request.
type fields struct {
	r *fieldReader
	w *fieldWriter
}

func (f fields) text(tag uint64, v *string) {
	if f.r == nil {
		f.w.text(tag, *v)
	} else if f.r.has(tag) {
		f.r.text(v)
	}
}

func (f fields) texts(tag uint64, v *[]string) {
	if f.r == nil {
		f.w.texts(tag, *v)
	} else if f.r.has(tag) {
		f.r.texts(v)
	}
}

func (f fields) flag(tag uint64, v *bool) {
	if f.r == nil {
		f.w.flag(tag, *v)
	} else if f.r.has(tag) {
		f.r.flag(v)
	}
}

// time carries a moment as its distance from another one, which both sides know by then.
func (f fields) time(tag uint64, v *time.Time, since time.Time) {
	if f.r == nil {
		f.w.time(tag, *v, since)
	} else if f.r.has(tag) {
		f.r.time(v, since)
	}
}

// split returns the seconds and nanoseconds since 1970, none for the zero time.
func split(t time.Time) (seconds, nanos int64) {
	if t.IsZero() {
		return 0, 0
	}
	return t.Unix(), int64(t.Nanosecond())
}

func (f fields) addr(tag uint64, v *netip.Addr) {
	if f.r == nil {
		f.w.addr(tag, *v)
	} else if f.r.has(tag) {
		f.r.addr(v)
	}
}

func (f fields) warnings(tag uint64, v *[]Warning) {
	if f.r == nil {
		f.w.warnings(tag, *v)
	} else if f.r.has(tag) {
		f.r.warnings(v)
	}
}

// number carries any integer that a varint holds.
func number[T ~int | ~int64 | ~uint8 | ~uint64](f fields, tag uint64, v *T) {
	if f.r == nil {
		f.w.signed(tag, int64(*v))
	} else if f.r.has(tag) {
		n := f.r.signed()
		if *v = T(n); int64(*v) != n {
			f.r.bad(tag)
		}
	}
}

// fieldWriter appends fields.
type fieldWriter struct{ b []byte }

func (w *fieldWriter) put(tag uint64, value []byte) {
	w.b = binary.AppendUvarint(w.b, tag)
	w.b = binary.AppendUvarint(w.b, uint64(len(value)))
	w.b = append(w.b, value...)
}

func (w *fieldWriter) text(tag uint64, v string) {
	if v != "" {
		w.put(tag, []byte(v))
	}
}

func (w *fieldWriter) texts(tag uint64, v []string) {
	var list []byte
	for _, s := range v {
		list = appendItem(list, []byte(s))
	}
	if len(list) > 0 {
		w.put(tag, list)
	}
}

func appendItem(list, item []byte) []byte {
	return append(binary.AppendUvarint(list, uint64(len(item))), item...)
}

func (w *fieldWriter) flag(tag uint64, v bool) {
	if v {
		w.put(tag, []byte{1})
	}
}

func (w *fieldWriter) time(tag uint64, v, since time.Time) {
	if v.IsZero() {
		return
	}
	seconds, nanos := split(v)
	fromSeconds, fromNanos := split(since)
	b := binary.AppendVarint(nil, seconds-fromSeconds)
	if nanos != fromNanos {
		b = binary.AppendVarint(b, nanos-fromNanos)
	}
	w.put(tag, b)
}

func (w *fieldWriter) addr(tag uint64, v netip.Addr) {
	if v.IsValid() {
		b, _ := v.MarshalBinary() // it never fails
		w.put(tag, b)
	}
}

func (w *fieldWriter) warnings(tag uint64, v []Warning) {
	var list []byte
	for _, warning := range v {
		item := fieldWriter{}
		warning.fields(fields{w: &item})
		list = appendItem(list, item.b)
	}
	if len(list) > 0 {
		w.put(tag, list)
	}
}

func (w *fieldWriter) signed(tag uint64, v int64) {
	if v != 0 {
		w.put(tag, binary.AppendVarint(nil, v))
	}
}
