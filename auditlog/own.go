package auditlog

import (
	"encoding/json"
	"time"
)

// The records that the log writes about itself.
const (
	ownOpened    = "audit.opened"           // the first of each stream
	ownClosed    = "audit.closed"           // the last of a stream that ended in order
	ownRotated   = "audit.rotated"          // the first of each further segment
	ownHeartbeat = "audit.heartbeat"        // nothing happened, and the log was alive
	ownGap       = "audit.gap"              // records are missing
	ownRecovered = "audit.recovered"        // a stream ended without audit.closed
	ownJump      = "audit.clock_jump"       // the clock of the machine was set
	ownExpired   = "audit.segment_expired"  // a segment is removed by retention
	ownTamper    = "audit.tamper_suspected" // a stream is not as it was written
)

// OwnKinds returns the names of the records that a log writes about itself.
func OwnKinds() []string {
	return []string{ownOpened, ownClosed, ownRotated, ownHeartbeat, ownGap, ownRecovered, ownJump, ownExpired, ownTamper}
}

// own is a record of the log about itself. Which fields are set depends on Kind;
// their meaning is in the package comment. The order of the fields is the order
// in the line.
type own struct {
	Kind string `json:"event"`

	Config    string `json:"config,omitempty"`
	PID       int    `json:"pid,omitempty"`
	Heartbeat int64  `json:"heartbeat_seconds,omitempty"`
	Cert      string `json:"cert,omitempty"`
	Refs      []ref  `json:"streams,omitempty"`

	Segment int `json:"segment,omitempty"`

	Stream   string  `json:"stream,omitempty"`
	Size     int64   `json:"size,omitempty"`
	Root     string  `json:"root,omitempty"`
	Segments []int   `json:"segments,omitempty"`
	Ends     []int64 `json:"ends,omitempty"`
	Bytes    int64   `json:"bytes,omitempty"`
	SHA256   string  `json:"sha256,omitempty"`

	From    string           `json:"from,omitempty"`
	To      string           `json:"to,omitempty"`
	Counts  map[string]int64 `json:"counts_by_type,omitempty"`
	Refused int64            `json:"refused,omitempty"`
	Cause   string           `json:"cause,omitempty"`
	Policy  string           `json:"policy,omitempty"`

	Appended int64 `json:"appended,omitempty"`
	Errors   int64 `json:"fsync_errors,omitempty"`
}

// ref says how far a stream had come, as its neighbour saw it.
type ref struct {
	Stream string `json:"stream"`
	Size   int64  `json:"size"`
	Root   string `json:"root"`
}

func (o *own) encode() []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic("auditlog: " + err.Error()) // it has strings and numbers only
	}
	return b
}

func decodeOwn(b []byte) (o own, err error) {
	err = json.Unmarshal(b, &o)
	return o, err
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}
