package scsguard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// timeLayout is RFC 3339 in UTC with microseconds, always six digits, so that
// text order is time order.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// eventLine fixes the order, the names and the omission of fields.
//
// encoding/json and not zerolog's encoder: every event of a zerolog logger,
// whatever its level, is dropped while the program has called
// zerolog.SetGlobalLevel(zerolog.Disabled). A setting meant for debug output
// must not be able to silence the trail.
type eventLine struct {
	ID                 string            `json:"id"`
	Time               string            `json:"time"`
	Kind               string            `json:"event"`
	Outcome            string            `json:"outcome,omitempty"`
	Reason             string            `json:"reason,omitempty"`
	User               string            `json:"user,omitempty"`
	Actor              string            `json:"actor,omitempty"`
	Session            string            `json:"session,omitempty"`
	SessionSeq         uint64            `json:"session_seq,omitempty"`
	TokenHash          string            `json:"token_hash,omitempty"`
	IP                 string            `json:"ip,omitempty"`
	IPSource           string            `json:"ip_source,omitempty"`
	UserAgent          string            `json:"user_agent,omitempty"`
	Fingerprint        string            `json:"fingerprint,omitempty"`
	RequestID          string            `json:"request_id,omitempty"`
	Route              string            `json:"route,omitempty"`
	Transaction        string            `json:"transaction,omitempty"`
	AuthMethods        []string          `json:"auth_methods,omitempty"`
	AAL                int               `json:"aal,omitempty"`
	AuthTime           string            `json:"auth_time,omitempty"`
	Created            string            `json:"created,omitempty"`
	IdleExpires        string            `json:"idle_expires,omitempty"`
	AbsoluteExpires    string            `json:"absolute_expires,omitempty"`
	IdleExpiresOld     string            `json:"idle_expires_old,omitempty"`
	AbsoluteExpiresOld string            `json:"absolute_expires_old,omitempty"`
	Due                string            `json:"due,omitempty"`
	Concurrent         int               `json:"concurrent,omitempty"`
	Others             []string          `json:"others,omitempty"`
	Max                int               `json:"max,omitempty"`
	Details            map[string]string `json:"details,omitempty"`
}

// Bounds of an encoded event. They keep a client from filling the trail with
// its own headers; what an application passes itself fits easily.
const (
	maxUserLen   = 256
	maxFieldLen  = 256
	maxAgentLen  = 512
	maxDetailLen = 1024
	maxListLen   = 32
)

// encode returns the event as one JSON object in one line. Whatever bytes the
// strings hold, the result is valid UTF-8 without control characters, line or
// paragraph separators, or characters that reverse the text on a screen: they
// are escaped, and invalid UTF-8 is replaced.
func (e *Event) encode() []byte {
	line := eventLine{
		ID: bounded(e.ID, maxFieldLen), Time: e.Time.UTC().Format(timeLayout), Kind: bounded(string(e.Kind), maxFieldLen),
		Outcome: bounded(string(e.Outcome), maxFieldLen), Reason: bounded(e.Reason, maxFieldLen),
		User: bounded(e.User, maxUserLen), Actor: bounded(e.Actor, maxUserLen),
		Session: bounded(e.Session, maxFieldLen), SessionSeq: e.SessionSeq, TokenHash: e.TokenHash,
		IP: encodeIP(e.IP), IPSource: e.IPSource,
		UserAgent: bounded(e.UserAgent, maxAgentLen), Fingerprint: e.Fingerprint,
		RequestID: bounded(e.RequestID, maxFieldLen), Route: bounded(e.Route, maxFieldLen), Transaction: bounded(e.Transaction, maxFieldLen),
		AuthMethods: boundedList(e.AuthMethods), AAL: e.AAL, AuthTime: encodeTime(e.AuthTime), Created: encodeTime(e.Created),
		IdleExpires: encodeTime(e.IdleExpires), AbsoluteExpires: encodeTime(e.AbsoluteExpires),
		IdleExpiresOld: encodeTime(e.IdleExpiresOld), AbsoluteExpiresOld: encodeTime(e.AbsoluteExpiresOld),
		Due: encodeTime(e.Due), Concurrent: e.Concurrent, Others: boundedList(e.Others), Max: e.Max,
		Details: boundedMap(e.Details),
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the trail is no HTML page, and <, > and & are common in user agents
	if err := enc.Encode(line); err != nil {
		panic("scsguard: an event of strings and integers cannot be encoded: " + err.Error())
	}
	return escapeInvisible(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func encodeTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

func encodeIP(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return bounded(ip.String(), maxFieldLen) // a zone may have any length
}

// bounded cuts s at a character boundary and marks the cut.
func bounded(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

func boundedList(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, 0, min(len(list), maxListLen))
	for _, s := range list[:min(len(list), maxListLen)] {
		out = append(out, bounded(s, maxFieldLen))
	}
	if len(list) > maxListLen {
		out = append(out, "…")
	}
	return out
}

// boundedMap cuts a map to the first keys in order. Keys that become equal by
// being cut or cleaned are told apart, so that no object has a name twice.
func boundedMap(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	keys := slices.Sorted(maps.Keys(m))
	out := make(map[string]string, min(len(m), maxListLen+1))
	for _, k := range keys[:min(len(m), maxListLen)] {
		name := strings.ToValidUTF8(bounded(k, maxFieldLen), "\ufffd")
		for n := 2; ; n++ {
			if _, taken := out[name]; !taken {
				break
			}
			name = fmt.Sprintf("%s (%d)", strings.ToValidUTF8(bounded(k, maxFieldLen), "\ufffd"), n)
		}
		out[name] = bounded(m[k], maxDetailLen)
	}
	if left := len(m) - maxListLen; left > 0 {
		out["…"] = fmt.Sprintf("%d more", left)
	}
	return out
}

// escapeInvisible escapes what encoding/json lets through but a terminal or a
// line reader would act on: DEL, the C1 controls with NEL (U+0085), and the
// bidirectional controls. It works on JSON text, where these can only stand
// inside strings.
func escapeInvisible(line []byte) []byte {
	notPlain := func(b byte) bool { return b >= 0x7f }
	if !slices.ContainsFunc(line, notPlain) || !bytes.ContainsFunc(line, invisible) { // the first is faster, and mostly enough
		return line
	}
	var b strings.Builder
	for _, r := range string(line) {
		if invisible(r) {
			const hex = "0123456789abcdef"
			b.WriteString(`\u`)
			for shift := 12; shift >= 0; shift -= 4 {
				b.WriteByte(hex[r>>shift&0xf])
			}
			continue
		}
		b.WriteRune(r)
	}
	return []byte(b.String())
}

func invisible(r rune) bool {
	switch {
	case r == 0x7f, r >= 0x80 && r <= 0x9f: // DEL, C1
	case r == 0x200e, r == 0x200f, r == 0x061c: // directional marks
	case r >= 0x2028 && r <= 0x202e: // separators, embeddings, overrides
	case r >= 0x2066 && r <= 0x2069: // isolates
	case r == 0xfeff: // byte order mark
	default:
		return false
	}
	return true
}
