package auditlog

import (
	"fmt"
	"strings"
)

// A DamageKind says what is wrong with a log.
type DamageKind string

// The kinds of damage. Where one change can be seen as two (an inserted line is
// also a missing link), the first that is found is reported.
const (
	DamageAltered     DamageKind = "altered"     // a line is not as it was written
	DamageMissing     DamageKind = "missing"     // lines or a segment are missing
	DamageInserted    DamageKind = "inserted"    // a line is there a second time, or does not belong there
	DamageReordered   DamageKind = "reordered"   // lines have changed places
	DamageForeign     DamageKind = "foreign"     // a line or a key of another stream
	DamageMalformed   DamageKind = "malformed"   // a line that no writer writes
	DamageSignature   DamageKind = "signature"   // a checkpoint is not signed by its stream's key
	DamageCertificate DamageKind = "certificate" // the stream's key is not certified by a root key
	DamageTruncated   DamageKind = "truncated"   // the end is missing: an anchor, a pin or another stream knows more
	DamageRewritten   DamageKind = "rewritten"   // an anchor, a pin or another stream knows another history
	DamageGone        DamageKind = "gone"        // a whole stream is missing
	DamageRemoved     DamageKind = "removed"     // a segment was removed and no audit.segment_expired says so
)

// A Damage is the first thing in a stream that is not as it was written.
type Damage struct {
	Stream  string
	Kind    DamageKind
	Segment string // the file, relative to the directory of the log; may be empty
	Line    int    // in that file, from 1; 0 if it is no single line
	Offset  int64  // of that line, in bytes
	Seq     int64  // of the record; of a checkpoint: the next record; -1 if not known
	Detail  string
}

func (d *Damage) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", d.Stream, d.Kind)
	if d.Seq >= 0 {
		fmt.Fprintf(&b, " at seq %d", d.Seq)
	}
	if d.Segment != "" {
		fmt.Fprintf(&b, " (%s", d.Segment)
		if d.Line > 0 {
			fmt.Fprintf(&b, " line %d, byte %d", d.Line, d.Offset)
		}
		b.WriteByte(')')
	}
	return b.String() + ": " + d.Detail
}
