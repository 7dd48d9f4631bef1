package main

import (
	"fmt"
	"net/http"
	"time"
)

// stream answers GET /stream: server-sent events, one a second, and one that says
// why when the session has ended. Below guard.CutOff its context is done then.
func (a *app) stream(w http.ResponseWriter, r *http.Request) error {
	rc := http.NewResponseController(w)
	_, _ = rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{}) // the server's are for what comes to an end
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	send := func(event, format string, args ...any) bool {
		_, err := fmt.Fprintf(w, "event: "+event+"\ndata: "+format+"\n\n", args...)
		return err == nil && rc.Flush() == nil
	}
	for tick := time.Tick(time.Second); send("tick", `{"server_time":%q}`, seconds(time.Now()).Format(time.RFC3339)); {
		select {
		case <-tick:
		case <-a.stopping:
			return nil // the browser comes back, to another process or later
		case <-r.Context().Done():
			if reason := a.guard.Ended(r.Context()); reason != "" {
				send("ended", `{"reason":%q}`, reason)
			}
			return nil
		}
	}
	return nil
}
