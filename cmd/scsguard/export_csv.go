package main

import (
	"bufio"
	"encoding/csv"
	"strconv"
)

// exportColumns are the fields of a record under the names and in the order of the
// trail, and at the end where it stands there.
var exportColumns = []string{"id", "time", "event", "outcome", "reason", "user", "actor", "session", "session_seq", "token_hash", "ip", "ip_source",
	"user_agent", "request_id", "route", "transaction", "auth_methods", "aal", "auth_time", "created", "idle_expires", "absolute_expires",
	"idle_expires_old", "absolute_expires_old", "due", "concurrent", "others", "max", "details", "stream", "seq", "sealed", "leaf", "raw"}

type csvLines struct{ w *csv.Writer }

func newCSVLines(w *bufio.Writer) exporter {
	out := &csvLines{csv.NewWriter(w)}
	_ = out.w.Write(exportColumns) // end says
	return out
}

func (c *csvLines) put(x *exported) error {
	cells := []any{x.ID, x.Time, string(x.Kind), x.Outcome, x.Reason, x.User, x.Actor, x.Session, some(int64(x.SessionSeq)), x.TokenHash, x.IP, x.IPSource,
		x.UserAgent, x.RequestID, x.Route, x.Transaction, x.AuthMethods, some(int64(x.AAL)), x.AuthTime, x.Created, x.IdleExpires, x.AbsoluteEnd,
		x.IdleOld, x.AbsoluteOld, x.Due, some(int64(x.Concurrent)), x.Others, some(int64(x.Max)), detailList(detailsOf(&x.Event)),
		x.Ref.Stream, x.Ref.Seq, x.Sealed, x.Ref.Leaf.String(), rawText(x.line)}
	line := make([]string, len(cells))
	for i, v := range cells {
		line[i] = harmless(escaped(cell(v)))
	}
	return c.w.Write(line)
}

func (c *csvLines) end() error {
	c.w.Flush()
	return c.w.Error()
}

// some is a number, or nothing where the record has none.
func some(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
