package main

import (
	"context"
	"sync"
	"time"

	"github.com/scsguard/scsguard"
)

// denied are the sessions that have ended, for as long as a pass of theirs could be
// valid. It has to live as long as the passes do: here both end with the process,
// whose next one has another key. Passes that outlive it need a list that does, too,
// such as one in Redis.
type denied struct {
	mu       sync.Mutex
	sessions map[string]time.Time // when the last pass is over
}

// OnEvent is told of each ending, whoever or whatever ended the session.
func (d *denied) OnEvent(_ context.Context, e scsguard.Event) {
	if e.Kind != scsguard.EventLogout && e.Kind != scsguard.EventTimeout {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for session, over := range d.sessions {
		if now.After(over) {
			delete(d.sessions, session)
		}
	}
	if d.sessions == nil {
		d.sessions = make(map[string]time.Time)
	}
	d.sessions[e.Session] = now.Add(passFor)
}

func (d *denied) has(session string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.sessions[session]
	return ok
}
