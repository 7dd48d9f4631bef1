package redisregistry

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/scsguard/scsguard"
)

// stored is what lies under the key of a record, with times of Redis's clock.
type stored struct {
	key scsguard.Key
	raw []byte // as it was read; nil: nothing was there

	rec       scsguard.Record
	keep      time.Duration // of the tombstone, at the least
	retention time.Duration // of an ending that nobody confirms, beyond the deadline
	// parent is the old key of a session that is on its way here. It lives here as
	// soon as the record there has moved, and until then nothing does.
	parent scsguard.Key
	// later holds fields of the record that only a later version knows.
	later []byte
	bad   bool // it cannot be read
	// lease is the one that a sweep of this process has of its due entry.
	lease lease
}

// there reports whether there is a record, for everybody who does not know of a move
// under way.
func (s *stored) there() bool { return s.raw != nil && s.parent == "" }

// ended reports whether it is the record of a session that has ended.
func (s *stored) ended() bool { return s.there() && !s.bad && s.rec.State == scsguard.StateEnded }

// confirm makes an ending a confirmed one, and reports whether it was none.
func (s *stored) confirm() bool {
	news := s.ended() && !s.rec.Confirmed
	s.rec.Confirmed = s.rec.Confirmed || news
	return news
}

// visible reports whether readers see it: nobody is told of a login in progress.
func (s *stored) visible() bool { return s.there() && s.rec.State != scsguard.StateReserved }

// rest is the time that is left until t, within what arithmetic can bear.
func rest(t, now time.Time) time.Duration { return min(max(t.Sub(now), 0), century) }

const century = 100 * 365 * 24 * time.Hour

// ttl is how long the record has to be kept.
func (s stored) ttl(now time.Time) time.Duration {
	told := max(rest(s.rec.Absolute, now), min(s.keep, century)) + scsguard.TombstoneMargin
	switch s.rec.State {
	case scsguard.StateMoved:
		return told
	case scsguard.StateEnded:
		if s.rec.Confirmed {
			return told
		}
	}
	return max(told, rest(s.rec.Absolute, now)+min(s.retention, century))
}

// The value: the state in one byte and the length of the body in four, for lua/warn.lua,
// which appends to what follows the body, the warnings, each behind two bytes of
// length. The body: keep and retention in milliseconds, then parent and Record.Extra
// behind their lengths, then the record without its Key, which the Redis key says, and
// without its State, its user agents and fingerprints squeezed.
func (s stored) encode() ([]byte, error) {
	rec := s.rec
	rec.Key, rec.Extra, rec.Warnings, rec.State = "", s.later, nil, 0
	rec.UserAgent, rec.Ending.UserAgent = squeezed(rec.UserAgent), squeezed(rec.Ending.UserAgent)
	rec.Fingerprint, rec.Mismatch = squeezed(rec.Fingerprint), squeezed(rec.Mismatch)
	b, err := rec.MarshalBinary()
	if err != nil {
		return nil, err
	}
	v := make([]byte, headLen, headLen+len(b)+len(s.parent)+len(s.rec.Extra)+24)
	v = binary.AppendUvarint(v, uint64(max(s.keep, 0)/time.Millisecond))
	v = binary.AppendUvarint(v, uint64(max(s.retention, 0)/time.Millisecond))
	v = binary.AppendUvarint(v, uint64(len(s.parent)))
	v = append(v, s.parent...)
	v = binary.AppendUvarint(v, uint64(len(s.rec.Extra)))
	v = append(v, s.rec.Extra...)
	v = append(v, b...)
	v[0] = byte(s.rec.State)
	binary.BigEndian.PutUint32(v[1:], uint32(len(v)-headLen))
	for _, w := range s.rec.Warnings {
		item, err := encodeWarning(w)
		if err != nil {
			return nil, err
		}
		v = append(binary.BigEndian.AppendUint16(v, uint16(len(item))), item...)
	}
	return v, nil
}

const headLen = 5

var errMalformed = errors.New("scsguard: a record in Redis cannot be read")

// decode is what lies under a key; raw is nil for nothing.
func decode(key scsguard.Key, raw []byte) stored {
	s := stored{key: key}
	s.read(raw)
	return s
}

// read makes a stored, of which nothing but the key is known yet, what raw says. What
// cannot be read has ended, as invalid.
func (s *stored) read(raw []byte) {
	if s.raw = raw; raw == nil {
		return
	}
	if err := s.parse(raw); err != nil {
		*s = stored{key: s.key, raw: raw, bad: true, rec: scsguard.Record{Key: s.key, State: scsguard.StateEnded, Confirmed: true,
			Ending: scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndInvalid}}}
	}
}

func (s *stored) parse(b []byte) error {
	if len(b) < headLen || uint64(binary.BigEndian.Uint32(b[1:])) > uint64(len(b)-headLen) {
		return errMalformed
	}
	state, body := scsguard.State(b[0]), b[headLen:]
	size := binary.BigEndian.Uint32(b[1:])
	if err := s.parseBody(body[:size]); err != nil {
		return err
	}
	if s.rec.State != 0 || state == 0 || state > scsguard.StateEnded {
		return errMalformed
	}
	s.rec.State = state
	for rest := body[size:]; len(rest) > 0; {
		if len(rest) < 2 || int(binary.BigEndian.Uint16(rest)) > len(rest)-2 {
			return errMalformed
		}
		size := int(binary.BigEndian.Uint16(rest))
		w, err := decodeWarning(rest[2 : 2+size])
		if err != nil {
			return err
		}
		s.rec.Warn(w)
		rest = rest[2+size:]
	}
	return nil
}

func (s *stored) parseBody(b []byte) error {
	var numbers [2]uint64
	for i := range numbers {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > uint64(maxDuration/time.Millisecond) {
			return errMalformed
		}
		numbers[i], b = v, b[n:]
	}
	var texts [2][]byte
	for i := range texts {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return errMalformed
		}
		texts[i], b = b[n:n+int(size)], b[n+int(size):]
	}
	if err := s.rec.UnmarshalBinary(b); err != nil {
		return err
	}
	s.keep, s.retention = time.Duration(numbers[0])*time.Millisecond, time.Duration(numbers[1])*time.Millisecond
	s.parent = scsguard.Key(texts[0])
	s.later, s.rec.Extra = s.rec.Extra, nil
	if len(texts[1]) > 0 {
		s.rec.Extra = append([]byte(nil), texts[1]...)
	}
	s.rec.Key = s.key
	s.rec.UserAgent, s.rec.Ending.UserAgent = unsqueezed(s.rec.UserAgent), unsqueezed(s.rec.Ending.UserAgent)
	s.rec.Fingerprint, s.rec.Mismatch = unsqueezed(s.rec.Fingerprint), unsqueezed(s.rec.Mismatch)
	return nil
}

const maxDuration = time.Duration(1<<63 - 1)

// An ending, a warning and a last login travel as records that have nothing else.

func encodeWarning(w scsguard.Warning) ([]byte, error) {
	w.UserAgent = squeezed(w.UserAgent)
	return scsguard.Record{Warnings: []scsguard.Warning{w}}.MarshalBinary()
}

func decodeWarning(b []byte) (scsguard.Warning, error) {
	var rec scsguard.Record
	if err := rec.UnmarshalBinary(b); err != nil {
		return scsguard.Warning{}, err
	}
	if len(rec.Warnings) != 1 {
		return scsguard.Warning{}, errMalformed
	}
	w := rec.Warnings[0]
	w.UserAgent = unsqueezed(w.UserAgent)
	return w, nil
}

func encodeEnding(e scsguard.Ending) ([]byte, error) {
	return scsguard.Record{Ending: e}.MarshalBinary()
}

func decodeEnding(b []byte) (scsguard.Ending, error) {
	var rec scsguard.Record
	if len(b) == 0 {
		return scsguard.Ending{}, nil
	}
	err := rec.UnmarshalBinary(b)
	return rec.Ending, err
}

func encodeLast(r scsguard.Record) ([]byte, error) {
	return scsguard.Record{IP: r.IP, UserAgent: squeezed(r.UserAgent)}.MarshalBinary()
}

func decodeLast(at time.Time, b []byte) scsguard.LastLogin {
	var rec scsguard.Record
	if len(b) == 0 || rec.UnmarshalBinary(b) != nil {
		return scsguard.LastLogin{} // it is told, and decides nothing
	}
	return scsguard.LastLogin{Time: at, IP: rec.IP, UserAgent: unsqueezed(rec.UserAgent)}
}
