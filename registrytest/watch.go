package registrytest

import (
	"context"
	"time"

	"github.com/scsguard/scsguard"
)

func watchChecks() []check {
	return []check{
		{name: "a Watcher sends every ending and closes its channel in the end", run: watches},
	}
}

// watches passes if the registry is no [scsguard.Watcher].
func watches(t *trial) {
	watcher, ok := t.reg.(scsguard.Watcher)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	endings, err := watcher.Watch(ctx)
	t.must("Watch", err)

	ended := []scsguard.Record{t.ended(t.moved(t.login("alice", noCap)), scsguard.EndUser)}
	t.login("alice", noCap)
	ended = append(ended, t.complete(t.admission("alice", evict(1))).Ended...)
	t.complete(t.stale("bob"))
	ended = append(ended, t.reserve(t.admission("bob", noCap)).Overdue...)
	all, _ := t.endAll(scsguard.Revocation{Everyone: true})
	ended = append(ended, all...)

	open := map[string]scsguard.Record{}
	for _, rec := range ended {
		open[rec.Session] = rec
	}
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	for len(open) > 0 {
		select {
		case rec, more := <-endings:
			if !more {
				return // endings may have been missed: whoever watches has to look himself
			}
			if want, ok := open[rec.Session]; ok {
				t.wantRecord("Watch", rec, want)
				delete(open, rec.Session)
			}
		case <-patience.C:
			t.failf("Watch does not send %d of %d endings", len(open), len(ended))
		}
	}
	cancel()
	for {
		select {
		case _, more := <-endings:
			if !more {
				return
			}
		case <-patience.C:
			t.failf("Watch does not close its channel when its context is done")
		}
	}
}
