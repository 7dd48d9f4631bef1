package auditlog

import (
	"errors"
	"time"
)

// What a guard of package scsguard asks of its sink beside Append. A Log has it
// without knowing who asks.

// ReportLoss is [Log.ReportGap] with plain values.
func (l *Log) ReportLoss(from, to time.Time, countsByKind map[string]int64, cause string) {
	l.ReportGap(Gap{From: from, To: to, Counts: countsByKind, Cause: cause})
}

// Problem returns what [Log.Health] lists, as one error, or nil.
func (l *Log) Problem() error { return errors.Join(l.Health().Problems...) }
