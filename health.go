package scsguard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Component is a part of the guard that can fail by itself.
type Component string

// The components.
const (
	ComponentStore    Component = "store"    // the session store
	ComponentRegistry Component = "registry" // the index of sessions
	ComponentAudit    Component = "audit"    // the trail
	ComponentStorage  Component = "storage"  // what the registry keeps its records in may lose them, see [Inspector]
	ComponentConfig   Component = "config"   // the session manager, changed after New
	ComponentMount    Component = "mount"    // a middleware is mounted where it cannot work
	ComponentPolicy   Component = "policy"   // Config.Policy gave an answer that makes no sense
	ComponentHook     Component = "hook"     // OnEvent or another callback panicked
	ComponentRemember Component = "remember" // the store of remembered browsers
)

// componentSink is what the sink says of itself; it is shown as ComponentAudit.
const componentSink Component = "sink"

// Health is the state of a guard as its last calls found it.
type Health struct {
	// OK says that nothing is known to be wrong.
	OK bool
	// Problems lists what is wrong, by component.
	Problems []Problem
}

// Serving reports whether requests are served as they should be: there is
// nothing wrong but what a person has to look at, see [Problem.Warning]. A load
// balancer that takes a process out for a warning takes out all of them.
func (h Health) Serving() bool {
	return !slices.ContainsFunc(h.Problems, func(p Problem) bool { return !p.Warning })
}

// A Problem is one component that does not work. Its Err may hold addresses and
// other internals: show visitors the component only.
type Problem struct {
	Component Component
	Since     time.Time // of the first failure in a row, or when Health first saw it
	Err       error
	// Warning says that everything is served all the same: the trail keeps what
	// it is given and has something to say, such as an anchor that lags behind, or
	// it keeps nothing and [AuditAllowAndFlag] is set.
	Warning bool
}

func (p Problem) Error() string {
	return fmt.Sprintf("%s (since %s): %v", p.Component, p.Since.UTC().Format(time.RFC3339), p.Err)
}

// healthLog remembers, for each component, whether its last call failed. It is
// safe for concurrent use.
type healthLog struct {
	open     atomic.Int32 // how many problems there are
	mu       sync.RWMutex
	problems map[Component]Problem
}

// note records the outcome of a call. It is on the path of every request, so
// success without a problem takes no lock.
func (h *healthLog) note(c Component, err error) {
	if err == nil && h.open.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.open.Store(int32(len(h.problems))) }()
	if err == nil {
		delete(h.problems, c)
		return
	}
	old, bad := h.problems[c]
	if !bad {
		old = Problem{Component: c, Since: time.Now()}
	}
	old.Err = err
	if h.problems == nil {
		h.problems = make(map[Component]Problem)
	}
	h.problems[c] = old
}

// failing reports whether the component's last call failed.
func (h *healthLog) failing(c Component) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	_, bad := h.problems[c]
	return bad
}

// Health reports what is wrong at the moment: components whose last call
// failed, changes of the session manager that the guard cannot accept, and what
// the sink says of itself. It waits for nothing, so it may be asked as often as a load balancer
// likes. What has failed is tried again without requests: the trail and the
// registry by their own work, the store by the sweep.
func (g *Guard) Health() Health {
	if g == nil {
		return Health{Problems: []Problem{{Component: ComponentConfig, Err: ErrNoGuard}}}
	}
	g.checkManager()
	g.health.note(componentSink, problemOf(g.cfg.Audit))
	g.health.mu.RLock()
	defer g.health.mu.RUnlock()
	h := Health{OK: len(g.health.problems) == 0}
	for _, c := range []Component{ComponentStore, ComponentRegistry, ComponentAudit, componentSink, ComponentStorage, ComponentConfig, ComponentMount, ComponentPolicy, ComponentHook, ComponentRemember} {
		p, ok := g.health.problems[c]
		if !ok {
			continue
		}
		switch c {
		case componentSink:
			if n := len(h.Problems); n > 0 && h.Problems[n-1].Component == ComponentAudit {
				h.Problems[n-1].Err = errors.Join(h.Problems[n-1].Err, p.Err) // one component, one problem
				continue
			}
			p.Component, p.Warning = ComponentAudit, true
		case ComponentAudit:
			p.Warning = g.cfg.OnAuditDown == AuditAllowAndFlag
		}
		h.Problems = append(h.Problems, p)
	}
	return h
}

// inProcess reports whether a component works in this process's own memory, so
// that a call of it needs no limit.
func (g *Guard) inProcess(c Component) bool {
	return c == ComponentStore && g.memStore || c == ComponentRegistry && g.memory != nil || c == ComponentRemember && g.remembersInMemory()
}

// call runs one call of a component within its time limit and notes the
// outcome.
func call[T any](g *Guard, ctx context.Context, c Component, op string, fn func(context.Context) (T, error)) (T, error) {
	parent := ctx
	if !g.inProcess(c) {
		within := limit(ctx, g.cfg.CallTimeout)
		defer within.end()
		ctx = within
	}
	v, err := caught(func() (T, error) { return fn(ctx) })
	return v, g.outcome(parent, c, op, err)
}

// caught makes an error of a panic. What the guard calls is not its own, and much of
// it is called by goroutines in which a panic would end the process: by the sweep, by
// what is tried again.
func caught[T any](fn func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn()
}

// outcome notes how a call has ended, and returns its error as the guard's.
func (g *Guard) outcome(parent context.Context, c Component, op string, err error) error {
	if err == nil {
		g.health.note(c, nil)
		return nil
	}
	if parent.Err() == nil { // else the visitor hung up, or the application gave up: not the component's fault
		g.health.note(c, err)
	}
	return &UnavailableError{Component: c, Op: op, Err: err}
}
