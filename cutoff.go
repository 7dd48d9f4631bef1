package scsguard

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// CutOff cancels the context of a request when its session ends: by a time limit,
// to the moment, or because somebody ended it, also in another process. What is
// below that context stops with it: event streams, long polls, database queries.
// Mount it inside [Guard.Protect], around handlers that go on for long.
//
// [context.Cause] of the context is an [*EndedError] then, [Guard.Ended] says what
// the visitor may know, and nobody is logged in for the rest of the request. What
// was answered already cannot be taken back. A connection that the handler took
// over (a websocket) is closed one second later, so that there is time to say
// goodbye, unless it was closed by then, whether or not the handler has returned.
//
// The session that counts is the one the request came with. A request that ends
// its session itself, or logs in anew, goes on. One without a session is served
// as if CutOff were not there. A request that goes on counts as activity when it
// comes, and not while it lasts.
//
// A registry that is a [Watcher], such as [MemoryRegistry], tells of an ending at
// once; it is asked every half minute all the same, since a network may lose what it
// tells. Others are asked every five seconds. If the registry cannot be reached, a
// request goes on until the limit it knew of last, and is cut off then with
// [ErrUnavailable] as the cause.
func (g *Guard) CutOff(next http.Handler) http.Handler {
	g.mustExist()
	serve := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r := g.requestFrom(req.Context())
		rec, ok := r.session()
		if !ok {
			next.ServeHTTP(w, req)
			return
		}
		ctx, cancel := context.WithCancelCause(req.Context())
		c := g.cuts.add(g, r, rec, cancel)
		defer func() {
			c.returned()
			cancel(nil)
		}()
		next.ServeHTTP(w, req.WithContext(ctx))
	})
	return g.gate(serve, func(*request, Record, bool) Reason { return "" })
}

const (
	// farewell is how long a connection that was taken over stays open.
	farewell = time.Second
	// cutPoll is how often a registry that cannot tell is asked.
	cutPoll = 5 * time.Second
	// cutSafety is how often one is asked that tells: what it tells can be lost on the
	// way.
	cutSafety = 30 * time.Second
	// cutRetry is how soon it is asked again when it has not given a clear answer.
	cutRetry = time.Second
	// cutLag is how soon it is asked again when its clock seems to be behind.
	cutLag = 100 * time.Millisecond
)

// A cut is a request that goes on no longer than its session.
type cut struct {
	g       *Guard
	r       *request
	session string
	rec     Record // as it was seen last; only run uses it
	cancel  context.CancelCauseFunc
	wake    chan struct{} // capacity 1: look at the session now
	done    chan struct{} // closed when there is nothing left to cut

	mu    sync.Mutex
	fired bool     // the session has ended
	over  bool     // the handler has returned
	conn  net.Conn // taken over by the handler and not closed yet
}

// run waits for the end of the session, and looks at the registry whenever there
// is a reason: that alone decides.
func (c *cut) run() {
	pause := c.untilDue()
	for {
		timer := time.NewTimer(pause)
		select {
		case <-c.done:
			timer.Stop()
			return
		case <-c.wake:
			timer.Stop()
		case <-timer.C:
		}
		rec, err := c.g.judged(context.Background(), nil, c.rec.Key)
		if err == nil {
			rec, err = c.g.present(context.Background(), nil, rec)
		}
		due, _ := c.rec.Due()
		switch {
		case err != nil && !time.Now().Before(due):
			// It may have been prolonged elsewhere; nobody can say, so it is not.
			c.fire(c.rec, err)
			return
		case err != nil:
			pause = min(cutRetry, time.Until(due))
		case rec.State == StateDetached, rec.State == StateMoved: // not decided yet
			pause = cutRetry
		case rec.State == StateLive:
			c.rec = rec
			pause = max(c.untilDue(), cutLag) // past its limit it lives by a clock that is behind
		default:
			c.fire(rec, endedError(rec))
			return
		}
	}
}

// untilDue returns how long the session needs no look.
func (c *cut) untilDue() time.Duration {
	due, _ := c.rec.Due()
	pause := max(time.Until(due), 0)
	switch {
	case !c.g.cuts.watched.Load():
		return min(pause, cutPoll)
	case c.g.memory == nil:
		return min(pause, cutSafety)
	}
	return pause
}

// fire ends what goes on, unless the request has left the session itself: it may
// be a logout. A verb of the request that is under way is waited for, to know.
func (c *cut) fire(rec Record, cause error) {
	c.r.turn.Lock()
	c.r.mu.Lock()
	left := c.r.left || c.r.rec.Session != c.session
	c.r.mu.Unlock()
	if !left && rec.State == StateEnded {
		c.r.close(rec, true)
	}
	c.r.turn.Unlock()
	if left {
		return
	}
	c.cancel(cause)
	c.mu.Lock()
	c.fired = true
	c.mu.Unlock()
	time.AfterFunc(farewell, c.hangUp)
}

// hangUp closes the connection, if the handler has taken it over.
func (c *cut) hangUp() {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
		c.closed()
	}
}

// closed says that the connection is, after which there is nothing left to cut.
func (c *cut) closed() {
	c.mu.Lock()
	c.conn = nil
	over := c.over
	c.mu.Unlock()
	if over {
		c.g.cuts.remove(c)
	}
}

// returned says that the handler has. The cut stays for a connection that it has
// left open.
func (c *cut) returned() {
	c.mu.Lock()
	c.over = true
	open := c.conn != nil
	c.mu.Unlock()
	if !open {
		c.g.cuts.remove(c)
	}
}

// takeOver returns the connection in a form that tells when it is closed.
func (c *cut) takeOver(conn net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	if c.fired { // a moment ago or long since
		time.AfterFunc(farewell, c.hangUp)
	}
	return &cutConn{Conn: conn, cut: c}
}

// cutConn is a connection that the handler took over.
type cutConn struct {
	net.Conn
	cut *cut
}

// Close closes the connection.
func (c *cutConn) Close() error {
	c.cut.closed()
	return c.Conn.Close()
}

// NetConn returns the connection below, for those who need its own methods, as
// that of package tls does.
func (c *cutConn) NetConn() net.Conn { return c.Conn }

// leave makes the session that the request has ended itself dead for the rest of it.
func (r *request) leave(rec Record) {
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	r.close(rec, false)
}

func (r *request) cutOff() *cut {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cut
}
