package scsguard

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// phase is what a request is to the session it came with.
type phase uint8

const (
	anonymous phase = iota // nobody is logged in
	live                   // the session's own token
	graced                 // the token before the last rotation, in its grace
	ended                  // the session has ended, or its token is no longer good
)

// request is what the guard knows of one request. A pointer to it travels in
// the context, so that it reaches the store methods that scs calls.
//
// scs calls these with the lock of its session data held. So mu is never held
// while a method of the session manager is called.
type request struct {
	arrived   time.Time
	http      *http.Request // as the handler gets it; nil before that and outside of Protect
	ip        netip.Addr
	ipSource  string // empty outside of Protect
	userAgent string
	requestID string

	// Room for what every request needs, so that it is made at once.
	vary    [1]string
	carrier carrier
	answer  response

	turn sync.Mutex // held by a verb that changes the session, and while it is saved

	mu sync.Mutex // taken after turn
	// ctx holds the request's own session data, as Load put it there. Within
	// Iterate of the session manager a context holds another session's.
	ctx      context.Context
	rec      Record  // of the session, if phase is not anonymous
	before   *Record // if graced: the record of the token that the request has, as it moved
	limits   Timeouts
	deadline time.Time // of the session data, as it was loaded or the guard has set it
	key      Key       // of the session's data
	data     loadedData
	came     Key // of the token that the request came with
	// swaps leads from the key that the session manager would use to the one the
	// session really has, after a change of token that failed or in a grace. No
	// browser is ever told a token whose key leads elsewhere.
	swaps map[Key]Key
	// tokens are those that the session manager has forgotten by such a change and
	// the browser has not been told, by key.
	tokens map[Key]string
	// detached is the session whose token the application has deleted and whose
	// fate the next commit decides.
	detached *detachment
	owner    string        // the request's name in the registry, if it needed one
	keepAway *time.Timer   // renews the lease of detached
	merging  Key           // what MergeSession has read and not deleted yet
	absorbed string        // the mark of the last session that was merged into this one
	late     chan struct{} // closed when it is known what the last late deletion was
	// renounced is the key of an anonymous session whose token the application has
	// given up. Its data goes when the session is saved.
	renounced Key

	phase     phase
	api       bool // of a client that carries the token in a header: it gets no cookie
	loading   bool // the middleware is calling Load
	iterating bool
	marked    bool // the data that is being committed carries the session's mark
	// stale says that the browser may have a newer cookie than this request's, or
	// that its session ended meanwhile: the response neither sets nor clears it.
	stale bool
	// undelivered is set between a login and the cookie that tells the browser of
	// it; rotated, between another change of token and its cookie.
	undelivered bool
	rotated     bool
	untouched   bool // there was no session, and a login failed: nothing to save
	wasLive     bool // somebody was logged in at some time of the request
	passive     bool // does not count as activity
	touched     bool // its activity is recorded, or does not need to be
	started     bool // no cookie can be sent any more
	over        bool // nor is anything decided any more that was left open
	left        bool // it has ended its session itself
	unrestored  bool // its remember-me token could not be looked at

	cut      *cut          // what ends it with its session
	family   *familyCookie // the remember-me cookie that the response carries
	authUser string        // who has ended his sessions in this request, and so
	authAt   time.Time     // counts as having proved who he is then, not at arrival
	later    []Event       // for OnEvent, when no store method is running
}

type (
	requestKey struct{ g *Guard }
	verbKey    struct{ g *Guard }
)

// verb marks calls of the session manager that the guard's own verbs make. They
// order their steps themselves, so the store does only what it is told.
type verb struct {
	// others is what requests beside this one have stored of a session that gets a
	// new token, if it is to be merged; rec is the session, as it will be.
	others []byte
	rec    Record
}

func (g *Guard) requestFrom(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{g}).(*request)
	return r
}

// carrier is a context that carries the request which it is part of. It never changes:
// a store may have left a goroutine behind that looks at it.
type carrier struct {
	context.Context
	r *request
	g *Guard
}

func (c *carrier) Value(key any) any {
	if key == any(requestKey{c.g}) {
		return c.r
	}
	return c.Context.Value(key)
}

func (g *Guard) inVerb(ctx context.Context) bool { return g.verbFrom(ctx) != nil }

func (g *Guard) verbFrom(ctx context.Context) *verb {
	v, _ := ctx.Value(verbKey{g}).(*verb)
	return v
}

func (g *Guard) withRequest(ctx context.Context, r *request) context.Context {
	return context.WithValue(ctx, requestKey{g}, r)
}

func (g *Guard) withVerb(ctx context.Context) context.Context {
	return context.WithValue(ctx, verbKey{g}, &verb{})
}

// newRequest describes an HTTP request.
func (g *Guard) newRequest(r *http.Request) *request {
	req := &request{
		arrived:   time.Now(),
		userAgent: bounded(header(r.Header, "User-Agent"), maxAgentLen),
		requestID: bounded(header(r.Header, "X-Request-Id"), maxFieldLen),
	}
	req.carrier = carrier{r.Context(), req, g}
	if g.cfg.ClientIP != nil {
		req.ip, req.ipSource = g.cfg.ClientIP(r), "config"
	} else {
		req.ip, req.ipSource = remoteAddr(r), "remote_addr"
	}
	return req
}

// header is Header.Get for a name in its canonical form.
func header(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// remoteAddr returns the peer's address, invalid if the server did not set one.
func remoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// attach returns the request of ctx, or describes one for a context that came
// through Load of the session manager without the guard's middleware, or
// through its Iterate.
func (g *Guard) attach(ctx context.Context) (*request, error) {
	if g == nil {
		return nil, ErrNoGuard
	}
	if !g.loaded(ctx) {
		return nil, ErrNoSession
	}
	if r := g.requestFrom(ctx); r != nil && g.owns(r, ctx) {
		r.await()
		return r, nil
	}
	r := &request{arrived: time.Now(), limits: g.cfg.Timeouts}
	if g.orphans.holds(g.sm.GetString(ctx, markKey)) {
		// RenewToken was called on this context, so the session has to arrive at
		// its new token before anything can be done with it.
		if _, _, err := g.sm.Commit(ctx); err != nil {
			return nil, err
		}
	}
	key := g.aliases.resolve(g.storeKey(g.sm.Token(ctx)))
	if key == "" {
		return r, nil
	}
	rec, err := g.judged(ctx, r, key)
	if err == nil && rec.State == StateLive {
		var in inForce
		in, err = g.judgePolicy(ctx, r, &rec)
		r.limits = in.Timeouts
	}
	if err != nil {
		return nil, err
	}
	r.set(&rec, key)
	r.ctx, r.deadline = ctx, g.sm.Deadline(ctx)
	g.tellPostponed(ctx, r)
	return r, nil
}

// owns reports whether the session data in ctx is the request's own.
func (g *Guard) owns(r *request, ctx context.Context) bool {
	r.mu.Lock()
	own := r.ctx
	r.mu.Unlock()
	return own == nil || g.sm.Token(ctx) == g.sm.Token(own)
}

// loaded reports whether the session manager has put session data into ctx: its
// Load then returns the context it was given.
func (g *Guard) loaded(ctx context.Context) bool {
	type probe struct{}
	ctx = context.WithValue(ctx, probe{}, nil) // a pointer, so that it can be compared
	same, err := g.sm.Load(ctx, "")
	return err == nil && same == ctx
}

// set makes rec the session of the request.
func (r *request) set(rec *Record, key Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec, r.key = *rec, key
	switch rec.State {
	case StateLive:
		r.phase, r.wasLive = live, true
	case StateUnknown:
		r.phase = anonymous
	default:
		r.phase = ended
	}
}

// session returns the live session of the request, if there is one.
func (r *request) session() (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rec, r.phase == live || r.phase == graced
}

// close makes the session of the request dead for the rest of it.
func (r *request) close(rec Record, stale bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec.User == "" { // a registry that has forgotten it does not say whose it was
		rec.User = r.rec.User
	}
	r.rec, r.phase = rec, ended
	r.stale = r.stale || stale
}

// hush keeps the response from touching the cookie.
func (r *request) hush() {
	r.mu.Lock()
	r.stale = true
	r.mu.Unlock()
}

// grace makes the request one that goes on with the token before the last
// rotation: it acts for the session as it is now, and its cookie is older.
func (r *request) grace(from Key, old, now Record) {
	r.swap(from, now.Key)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec, r.key, r.before = now, now.Key, &old
	r.phase, r.wasLive, r.stale = graced, true, true
}

// resolve returns the key that a key of the session manager stands for.
func (r *request) resolve(key Key) Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	if to, ok := r.swaps[key]; ok {
		return to
	}
	return key
}

// swap makes every use of one key mean another.
func (r *request) swap(from, to Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from == to || from == "" {
		return
	}
	if r.swaps == nil {
		r.swaps = make(map[Key]Key)
	}
	for k, v := range r.swaps {
		if v == from {
			r.swaps[k] = to
		}
	}
	r.swaps[from] = to
}

// postpone keeps events for OnEvent until no store method is running.
func (r *request) postpone(events ...Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.later = append(r.later, events...)
}

// isOver reports whether the request is over, so that nobody tells what it postpones.
func (r *request) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// tellPostponed calls OnEvent for what was postponed.
func (g *Guard) tellPostponed(ctx context.Context, r *request) {
	if g.cfg.OnEvent == nil {
		return
	}
	r.mu.Lock()
	events := r.later
	r.later = nil
	r.mu.Unlock()
	g.tell(ctx, events...)
}

// findOut runs find as soon as it can: a goroutine that finds out what a late
// deletion was. They run one after the other.
func (r *request) findOut(find func()) {
	known := make(chan struct{})
	r.mu.Lock()
	before := r.late
	r.late = known
	r.mu.Unlock()
	go func() {
		defer close(known)
		if before != nil {
			<-before
		}
		find()
	}()
}

// await waits until it is known what all late deletions were. Not within a method
// of the session manager: it has the lock that this waits for.
func (r *request) await() {
	r.mu.Lock()
	late := r.late
	r.mu.Unlock()
	if late != nil {
		<-late
	}
}

func (r *request) hasSession() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase == live || r.phase == graced
}

// remember keeps a token that the session manager is about to forget, unless the
// browser has it.
func (r *request) remember(key Key, token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, swapped := r.swaps[key]; swapped || key == r.came {
		return
	}
	if r.tokens == nil {
		r.tokens = make(map[Key]string)
	}
	r.tokens[key] = token
}

// tokenOf returns the token that the browser has to be told in place of one of the
// session manager, "" if it has it.
func (r *request) tokenOf(key Key, token string) string {
	if real := r.resolve(key); real != key {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.tokens[real]
	}
	return token
}
