package scsguard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
)

// A Guard controls the whole life of the logins of one session manager. Make
// one with [New], mount [Guard.Protect] where LoadAndSave was, and call
// [Guard.Login] and [Guard.Logout] where the application logs its users in and
// out. Its methods are safe for concurrent use.
//
// A nil *Guard guards nothing, and says so. Its verbs return [ErrNoGuard]; for
// Current, Ended and Status nobody is logged in; LoginFailed records nothing; Health
// is not OK. All its other methods panic, the middlewares and handlers where they
// are mounted, so that no program begins to serve without its guard.
type Guard struct {
	sm       *scs.SessionManager
	cfg      Config
	inner    scs.Store // the application's own store
	outer    scs.Store // the guard around it, which must stay in sm.Store
	registry Registry
	memory   *MemoryRegistry // the registry, if it is in memory
	memStore bool            // inner is memstore's
	finder   RecordFinder    // inner, if it can read a record and its data at once
	deleter  BatchDeleter    // inner, if it can delete the data of many sessions at once
	swapper  Swapper         // inner, if writes are merged
	// anonymousIdle is the manager's own idle timeout. It goes on holding for
	// sessions in which nobody is logged in.
	anonymousIdle time.Duration

	trail    *trail
	health   healthLog
	repeated *coalescer
	retries  *retries
	aliases  aliases
	orphans  orphans
	writers  keyLocks // of one session's data
	logins   keyLocks // of one user
	clients  clients
	bindings *bindings

	// finestTouch is the shortest interval of recorded activity that a LimitIdle
	// needs; touchGiven says that the application has chosen the interval.
	finestTouch atomic.Int64
	touchGiven  bool

	cookieNoted atomic.Bool
	reporting   atomic.Bool
	closed      atomic.Bool
	ended       chan struct{} // closed when Close returns endedErr
	endedErr    error
	cuts        cuts
	life        context.Context // done when Close begins
	stopSweep   context.CancelFunc
	sweeping    sync.WaitGroup
	hooks       sync.WaitGroup // OnEvent, where it could not be called at once
}

const (
	coalesceFor  = 10 * time.Second
	coalesceKeys = 10_000
)

// New puts a guard around a session manager. It replaces sm.Store by a
// decorator and sets sm.IdleTimeout to 0, since it enforces the idle limit
// itself; if sm.Codec is scs.GobCodec, it becomes one that reads and writes the same
// and reads quicker (docs/codec.md). The manager's other settings stay the application's and are read per
// request. Everything that is wrong is reported at once, in a [*ConfigError],
// and changes nothing.
//
// New starts one goroutine that looks for sessions that are over, unless
// Config.SweepEvery is negative. [Guard.Close] stops it.
func New(sm *scs.SessionManager, cfg Config) (*Guard, error) {
	if sm == nil {
		return nil, errors.New("scsguard: the session manager is nil; give the one that scs.New returned")
	}
	if _, guarded := sm.Store.(interface{ guard() *Guard }); guarded {
		return nil, errors.New("scsguard: the session manager has a guard already; use one manager for each guard")
	}
	if sm.Store == nil {
		return nil, errors.New("scsguard: the session manager has no store; set its Store before calling New")
	}
	touchGiven := cfg.Timeouts.Touch != 0
	cfg = cfg.withDefaults(sm)
	if errs := cfg.problems(sm); len(errs) > 0 {
		return nil, &ConfigError{Fields: errs}
	}
	g := &Guard{
		sm: sm, cfg: cfg, inner: sm.Store, anonymousIdle: sm.IdleTimeout,
		registry: cfg.Registry.Namespace(cfg.Namespace),
		repeated: newCoalescer(coalesceFor, coalesceKeys), touchGiven: touchGiven, ended: make(chan struct{}),
	}
	g.memory, _ = g.registry.(*MemoryRegistry)
	_, g.memStore = sm.Store.(*memstore.MemStore)
	g.finder, _ = sm.Store.(RecordFinder)
	g.deleter, _ = sm.Store.(BatchDeleter)
	if cfg.MergeWrites {
		g.swapper, _ = sm.Store.(Swapper)
	}
	if faults := g.inspect(context.Background()); len(faults) > 0 {
		return nil, &ConfigError{Fields: faults}
	}
	g.trail = newTrail(cfg.Audit, cfg.CallTimeout, g.auditFailed, func() { g.health.note(ComponentAudit, nil) }, g.confirm)
	g.retries = newRetries()
	g.bindings = newBindings()
	g.outer = newStore(g)
	sm.Store, sm.Codec, sm.IdleTimeout = g.outer, quicker(sm.Codec), 0
	if g.memory != nil {
		g.memory.guards.Add(1)
	}
	ctx, stop := context.WithCancel(context.Background())
	g.life, g.stopSweep = ctx, stop
	if cfg.SweepEvery > 0 {
		g.sweeping.Go(func() { g.sweepEvery(ctx, cfg.SweepEvery) })
	}
	return g, nil
}

// Close stops the sweep and waits until everything that happened is in the
// trail, or ctx is done. With a [MemoryRegistry] that no other guard uses it
// first ends the sessions that are left, since nobody could continue them; they
// are recorded with the reason "shutdown". Call it after http.Server.Shutdown
// has returned. Afterwards nobody can log in. A second call waits for the first
// and returns the same.
//
// The error says what could not be written.
func (g *Guard) Close(ctx context.Context) error {
	if g == nil {
		return ErrNoGuard
	}
	if g.closed.Swap(true) {
		select {
		case <-g.ended:
			return g.endedErr
		case <-ctx.Done():
			return fmt.Errorf("scsguard: another call of Close has not returned yet: %w", ctx.Err())
		}
	}
	defer close(g.ended)
	g.endedErr = g.close(ctx)
	return g.endedErr
}

func (g *Guard) close(ctx context.Context) error {
	g.stopSweep()
	wait(ctx, g.sweeping.Wait)
	var errs []error
	if g.memory != nil && g.memory.guards.Add(-1) == 0 {
		errs = append(errs, g.shutDown(ctx))
	}
	g.repeated.flush()
	errs = append(errs, g.retries.close(ctx), g.trail.flush(ctx))
	g.trail.stop()
	wait(ctx, g.hooks.Wait)
	return errors.Join(errs...)
}

// wait calls f and returns when it does, or when ctx is done.
func wait(ctx context.Context, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// shutDown ends the sessions in memory. There may be more endings than the trail
// can be given at once, also of earlier, and after this nobody comes to fetch them.
func (g *Guard) shutDown(ctx context.Context) error {
	if _, err := g.endMany(ctx, nil, Revocation{Everyone: true, Ending: Ending{Kind: EventLogout, Reason: EndShutdown}}); err != nil {
		return err
	}
	if err := g.trail.flush(ctx); err != nil { // what is under way is not to be written twice
		return err
	}
	for i := range memoryShards {
		for _, rec := range g.memory.unconfirmed(i) {
			if g.trail.crowded() {
				if err := g.trail.flush(ctx); err != nil {
					return err
				}
			}
			g.afterEnd(ctx, nil, rec)
		}
	}
	return nil
}

// Store returns the session store that the application gave to the manager,
// without the guard around it. What is read from it may be dead already.
func (g *Guard) Store() scs.Store {
	g.mustExist()
	return g.inner
}

// Registry returns the registry that the guard asks, in its namespace: for tests
// and tools. Package registrytest says what its methods do. The trail learns only
// of endings, and of those as soon as a sweep has found them.
func (g *Guard) Registry() Registry {
	g.mustExist()
	return g.registry
}

// mustExist panics if there is no guard: where a middleware is mounted, since one
// that let everybody through would go unnoticed.
func (g *Guard) mustExist() {
	if g == nil {
		panic("scsguard: a method of a nil *Guard was called that cannot return an error, such as a middleware; " +
			"make the guard with scsguard.New before the routes, in a test with guardtest.NewWith")
	}
}

// checkManager reports whether the session manager is still as the guard needs
// it. A change of the store or the idle timeout would let sessions live on
// unguarded, so requests fail. A change of the cookie weakens only what is sent
// from now on; it is reported once.
func (g *Guard) checkManager() error {
	var err error
	switch {
	case g.sm.Store != g.outer:
		err = errors.New("scsguard: SessionManager.Store was changed after New, so sessions would live without the guard; set it before New")
	case g.sm.IdleTimeout != 0:
		err = errors.New("scsguard: SessionManager.IdleTimeout was changed after New; set Config.Timeouts.Idle instead")
	}
	if err != nil {
		g.health.note(ComponentConfig, err)
		return err
	}
	var problems []FieldError
	if g.cfg.InsecureCookie == "" {
		problems = cookieProblems(g.sm.Cookie)
	}
	if len(problems) == 0 {
		g.health.note(ComponentConfig, nil)
		return nil
	}
	cookie := &ConfigError{Fields: problems}
	g.health.note(ComponentConfig, cookie)
	if g.cookieNoted.Swap(true) {
		return nil
	}
	e := Event{ID: newSessionID(), Time: time.Now(), Kind: EventConfigChanged, Outcome: OutcomeFailure,
		Reason: "insecure_cookie", Details: map[string]string{"problem": cookie.Error()}}
	g.trail.post(e)
	g.tell(context.Background(), e)
	return nil
}

// open reports why nothing may be granted: the guard is closed, or the manager was
// changed. Contexts of a bare Load come to the verbs past Protect, which asks, too.
func (g *Guard) open() error {
	if g == nil {
		return ErrNoGuard
	}
	if g.closed.Load() {
		return ErrClosed
	}
	return g.checkManager()
}

// tell calls OnEvent.
func (g *Guard) tell(ctx context.Context, events ...Event) {
	if g.cfg.OnEvent == nil {
		return
	}
	for _, e := range events {
		func() {
			defer func() {
				if p := recover(); p != nil {
					// The event is in the trail, and what it tells of has happened:
					// a broken hook must neither undo that nor end the process.
					g.health.note(ComponentHook, fmt.Errorf("OnEvent panicked on %s: %v", e.Kind, p))
				}
			}()
			e.AuthMethods = slices.Clone(e.AuthMethods) // a registry in memory has no other
			g.cfg.OnEvent(context.WithoutCancel(ctx), e)
			g.health.note(ComponentHook, nil)
		}()
	}
}
