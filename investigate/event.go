package investigate

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/internal/trailtime"
)

// A Ref names a record: where an answer can be looked up and proved.
type Ref struct {
	Stream string        `json:"stream"`
	Seq    int64         `json:"seq"`
	Leaf   auditlog.Hash `json:"leaf"`
}

// An Event is one record of the trail, decoded. What a record does not have is
// zero.
type Event struct {
	Ref    Ref
	Sealed time.Time // when the log kept it
	Own    bool      // the log itself wrote it, and it is about no session
	Raw    []byte    // the event as it was recorded

	ID          string
	Time        time.Time
	Kind        scsguard.EventKind
	Outcome     string
	Reason      string
	User        string
	Actor       string
	Session     string
	SessionSeq  uint64
	TokenHash   string
	IP          string
	IPSource    string
	UserAgent   string
	RequestID   string
	Route       string
	Transaction string
	AuthMethods []string
	AAL         int
	AuthTime    time.Time
	Created     time.Time
	IdleExpires time.Time
	AbsoluteEnd time.Time // absolute_expires
	IdleOld     time.Time
	AbsoluteOld time.Time
	Due         time.Time
	Concurrent  int
	Others      []string
	Max         int
	Details     map[string]string
	unreadable  bool   // it is no event, or a time in it cannot be read
	retracts    string // the ID of an event of the same kind
}

// Addr is where the event came from, invalid if the record does not say.
func (e *Event) Addr() netip.Addr {
	a, err := netip.ParseAddr(e.IP)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// succeeded reports whether what the event tells of took place.
func (e *Event) succeeded() bool { return e.Outcome == string(scsguard.OutcomeSuccess) }

// ends reports whether it is the ending of a session.
func (e *Event) ends() bool {
	return (e.Kind == scsguard.EventLogout || e.Kind == scsguard.EventTimeout) && e.Session != "" && e.succeeded()
}

// begins reports whether a session begins with it.
func (e *Event) begins() bool {
	return (e.Kind == scsguard.EventLogin || e.Kind == scsguard.EventEnroll) && e.Session != "" && e.succeeded()
}

// lives reports whether it could only be written of a session that was alive.
func (e *Event) lives() bool {
	if e.Session == "" || !e.succeeded() {
		return false
	}
	switch e.Kind {
	case scsguard.EventLogout, scsguard.EventTimeout, scsguard.EventTokenReuse, scsguard.EventLoginFailed,
		scsguard.EventLoginDenied, scsguard.EventFingerprintMismatch, scsguard.EventDuplicateCookie, scsguard.EventRevoke, scsguard.EventConfigChanged:
		return false
	}
	return true
}

// fields are the raw values of a record that a pass over millions of them looks
// at. They are parts of the record, valid as long as it is.
type fields struct {
	id, time, kind, outcome, reason, user, actor, session, seq          []byte
	tokenHash, ip, ipSource, agent, requestID, route, transaction       []byte
	methods, aal, authTime, created, idle, absolute, idleOld, absoluOld []byte
	due, concurrent, others, max, details                               []byte
}

// slot returns where the value of a name belongs, nil if nobody asks for it.
func (f *fields) slot(name []byte) *[]byte {
	switch string(name) {
	case "id":
		return &f.id
	case "time":
		return &f.time
	case "event":
		return &f.kind
	case "outcome":
		return &f.outcome
	case "reason":
		return &f.reason
	case "user":
		return &f.user
	case "actor":
		return &f.actor
	case "session":
		return &f.session
	case "session_seq":
		return &f.seq
	case "token_hash":
		return &f.tokenHash
	case "ip":
		return &f.ip
	case "ip_source":
		return &f.ipSource
	case "user_agent":
		return &f.agent
	case "request_id":
		return &f.requestID
	case "route":
		return &f.route
	case "transaction":
		return &f.transaction
	case "auth_methods":
		return &f.methods
	case "aal":
		return &f.aal
	case "auth_time":
		return &f.authTime
	case "created":
		return &f.created
	case "idle_expires":
		return &f.idle
	case "absolute_expires":
		return &f.absolute
	case "idle_expires_old":
		return &f.idleOld
	case "absolute_expires_old":
		return &f.absoluOld
	case "due":
		return &f.due
	case "concurrent":
		return &f.concurrent
	case "others":
		return &f.others
	case "max":
		return &f.max
	case "details":
		return &f.details
	}
	return nil
}

// split finds the values of a JSON object of the first level. It takes what the
// guard writes at the speed of the disk; the values are checked where they are
// used. It reports whether the text has the form of an object.
func (f *fields) split(b []byte) bool {
	*f = fields{}
	i := space(b, 0)
	if i >= len(b) || b[i] != '{' {
		return false
	}
	if i = space(b, i+1); i < len(b) && b[i] == '}' {
		return true
	}
	for {
		nameEnd := skip(b, i)
		if nameEnd < 0 || b[i] != '"' {
			return false
		}
		name := b[i+1 : nameEnd-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name = []byte(text(b[i:nameEnd]))
		}
		if i = space(b, nameEnd); i >= len(b) || b[i] != ':' {
			return false
		}
		i = space(b, i+1)
		end := skip(b, i)
		if end < 0 {
			return false
		}
		if to := f.slot(name); to != nil {
			if *to != nil {
				return false // of two values one reader takes the first and another the last
			}
			*to = b[i:end]
		}
		if i = space(b, end); i >= len(b) {
			return false
		}
		switch b[i] {
		case '}':
			return space(b, i+1) == len(b)
		case ',':
			i = space(b, i+1)
		default:
			return false
		}
	}
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// skip returns where the value that begins at i ends, or -1.
func skip(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				if i = skipString(b, i); i < 0 {
					return -1
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return -1
	}
	start := i
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] != ' ' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

func skipString(b []byte, i int) int {
	for i++; i < len(b); i += 2 { // behind what is escaped
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		escape := bytes.IndexByte(b[i:i+n], '\\')
		if escape < 0 {
			return i + n + 1
		}
		i += escape
	}
	return -1
}

// text is the value of a JSON string, "" of anything else.
func text(v []byte) string { return string(plain(v)) }

// plain is text without a copy, where nothing in it is escaped.
func plain(v []byte) []byte {
	if len(v) < 2 || v[0] != '"' {
		return nil
	}
	if bytes.IndexByte(v, '\\') < 0 && utf8.Valid(v) {
		return v[1 : len(v)-1]
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return nil
	}
	return []byte(s)
}

func number(v []byte) int64 {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// moment is the time that a JSON string names; ok is false if it names none.
// Absent is the zero time, and fine.
func moment(v []byte) (t time.Time, ok bool) {
	if len(v) == 0 {
		return time.Time{}, true
	}
	s := plain(v)
	if t, ok := trailtime.Parse(s); ok {
		return t, true
	}
	t, err := time.Parse(time.RFC3339Nano, string(s))
	return t.UTC(), err == nil
}

// event decodes what split has found. Texts that come again are those of in.
func (f *fields) event(r *auditlog.Record, e *Event, in interner) {
	*e = Event{
		Ref: Ref{r.Stream, r.Seq, r.Leaf}, Sealed: r.Time, Own: r.Own, Raw: r.Event,
		ID: text(f.id), Kind: scsguard.EventKind(in.text(f.kind)), Outcome: in.text(f.outcome), Reason: in.text(f.reason),
		User: in.text(f.user), Actor: in.text(f.actor), Session: text(f.session), SessionSeq: uint64(max(number(f.seq), 0)),
		TokenHash: text(f.tokenHash), IP: in.text(f.ip), IPSource: in.text(f.ipSource), UserAgent: in.text(f.agent),
		RequestID: text(f.requestID), Route: in.text(f.route), Transaction: text(f.transaction),
		AAL: int(number(f.aal)), Concurrent: int(number(f.concurrent)), Max: int(number(f.max)),
	}
	good := true
	for _, x := range [...]struct {
		to   *time.Time
		from []byte
	}{
		{&e.Time, f.time}, {&e.AuthTime, f.authTime}, {&e.Created, f.created}, {&e.IdleExpires, f.idle}, {&e.AbsoluteEnd, f.absolute},
		{&e.IdleOld, f.idleOld}, {&e.AbsoluteOld, f.absoluOld}, {&e.Due, f.due},
	} {
		var ok bool
		*x.to, ok = moment(x.from)
		good = good && ok
	}
	for _, x := range [...]struct {
		to   any
		from []byte
	}{{&e.AuthMethods, f.methods}, {&e.Others, f.others}, {&e.Details, f.details}} {
		if len(x.from) > 0 {
			good = json.Unmarshal(x.from, x.to) == nil && good
		}
	}
	for _, v := range [...][]byte{f.id, f.kind, f.outcome, f.user, f.session} {
		good = good && !f.alien(v)
	}
	// What the guard takes back it says did not succeed, under the kind it had. Details
	// may also be the application's, and what is in them a visitor's. And an ending is
	// never taken back.
	if e.Outcome == string(scsguard.OutcomeFailure) && e.Kind != scsguard.EventLogout && e.Kind != scsguard.EventTimeout {
		e.retracts = e.Details["retracts"]
	}
	e.unreadable = !good || e.Kind == "" || e.Time.IsZero()
	if e.Own && e.Kind != "" {
		e.Time, e.unreadable = e.Sealed, false
	}
}

// alien reports whether a value that must be a string is something else.
func (*fields) alien(v []byte) bool { return len(v) > 0 && v[0] != '"' }

// Parse decodes the record of a log. It never fails: what cannot be read is
// missing from the event, and questions treat it as missing from the trail.
func Parse(r *auditlog.Record) Event {
	var f fields
	var e Event
	ok := f.split(r.Event)
	f.event(r, &e, nil)
	e.unreadable = e.unreadable || !ok
	return e
}
