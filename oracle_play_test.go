package scsguard_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/scsguard/scsguard"
)

// oracleSetup is the configuration a history is played on.
type oracleSetup struct {
	grace     time.Duration
	limit     scsguard.Limit
	renew     time.Duration
	hashed    bool
	bare      bool // the registry and the store in memory, which cannot fail
	namespace string
	unaware   bool // Config.UserID is set, and some handlers have never heard of the guard
}

func newOracleSetup(rng *rand.Rand) oracleSetup {
	s := oracleSetup{hashed: rng.IntN(3) == 0, bare: rng.IntN(3) == 0}
	if rng.IntN(2) == 0 {
		s.grace = -1
	}
	s.limit = []scsguard.Limit{{}, {Max: 2, OnExceed: scsguard.Deny}, {Max: 2, OnExceed: scsguard.EvictOldest}}[rng.IntN(3)]
	if rng.IntN(3) == 0 {
		s.renew = 7 * time.Minute
	}
	if rng.IntN(4) == 0 {
		s.namespace = "staff"
	}
	s.unaware = rng.IntN(2) == 0
	return s
}

func (s oracleSetup) String() string {
	return fmt.Sprintf("grace %v, limit %d %v, renew %v, hashed %v, bare %v, namespace %q, unaware %v", s.grace, s.limit.Max, s.limit.OnExceed, s.renew, s.hashed, s.bare, s.namespace, s.unaware)
}

// oracleManager is what each history takes a copy of: scs.New starts a goroutine
// that never ends.
var oracleManager = sync.OnceValue(newManager)

const (
	oracleIdle     = 20 * time.Minute
	oracleAbsolute = time.Hour
)

// oracle plays one history and keeps what is to be known of it.
type oracle struct {
	a        *app
	s        *steps
	setup    oracleSetup
	inner    *memstore.MemStore
	browsers []*browser
	runs     map[string]*oracleRun
	paused   []*oracleRun
	requests int

	mu        sync.Mutex
	log       []string
	violation string
	tokens    map[string]bool           // every one that a browser was given
	untold    map[string]bool           // every one that a handler saw
	where     map[string]map[int]bool   // the browsers a session was in
	over      map[string]bool           // sessions that logged out
	deadlines map[string]time.Time      // by session: the latest that is right
	latest    map[string]time.Time      // by session: the latest deadline it ever had
	lines     int                       // of the trail, read so far
	sessions  map[string]*oracleSession // what they say, by session
	retracted map[string]bool           // events that are taken back, by ID
	endings   map[string]string         // lines, by ID
}

// oracleSession is what the trail says of a session.
type oracleSession struct {
	user   string
	login  string // the ID of the event, if it succeeded
	failed bool   // there is an event of a login that failed
	reason string // why it ended, "" if it has not
}

// oracleRun is one request.
type oracleRun struct {
	id      string
	browser int
	calls   []oracleCall
	resume  chan struct{}

	came    string // the token it came with
	fresh   bool   // it came without one, or with one that no record is kept of
	begun   string // the session with which it began
	first   string // whose that is
	was     string // who was logged in last
	arrived time.Time
	logins  int
	merged  bool // a login was merged into it

	tabs    bool         // something else went on in between
	twins   []*oracleRun // of the same browser at the same time
	broken  bool         // something failed at some time
	fate    bool         // RenewToken was called and nothing committed since
	cleared bool         // Clear was called: a renewal counts as a destruction
	out     bool         // the application has committed a logout itself
	late    bool         // Destroy was called after the first byte

	known bool   // want is sure
	want  string // who has to be logged in when it is over
	value string // of the key "k", if it is sure

	answer   *httptest.ResponseRecorder
	started  bool // the first byte is out
	taken    bool // the browser has its head
	panicked bool
	done     bool
	code     int
}

// playStory plays a history and returns what came of it.
func playStory(t *testing.T, setup oracleSetup, story []oracleStep) *oracle {
	t.Helper()
	sm := *oracleManager()
	sm.HashTokenInStore = setup.hashed
	o := &oracle{
		setup: setup, runs: make(map[string]*oracleRun), tokens: make(map[string]bool), sessions: make(map[string]*oracleSession),
		deadlines: make(map[string]time.Time), latest: make(map[string]time.Time), untold: make(map[string]bool), where: make(map[string]map[int]bool),
		retracted: make(map[string]bool), endings: make(map[string]string), over: make(map[string]bool),
		s: &steps{once: make(map[string]func()), calls: make(map[string]int)},
	}
	sm.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusInternalServerError) }
	o.inner = memstore.NewWithCleanupInterval(0)
	var store scs.Store = o.inner
	if !setup.bare {
		store = steppedStore{o.inner, o.s}
	}
	sm.Store = store
	synctest.Test(t, func(t *testing.T) {
		o.a = newApp(t, &sm, func(cfg *scsguard.Config) {
			cfg.Timeouts = scsguard.Timeouts{Idle: oracleIdle, Absolute: oracleAbsolute, Renew: setup.renew}
			cfg.Limit, cfg.RotationGrace, cfg.Namespace, cfg.SweepEvery = setup.limit, setup.grace, setup.namespace, -1
			if setup.unaware {
				byUserKey(&sm)(cfg)
			}
			if !setup.bare {
				cfg.Registry, cfg.Keys = steppedRegistry{scsguard.NewMemoryRegistry(), o.s}, [][]byte{make([]byte, 32)}
			}
		})
		o.play(story)
	})
	return o
}

func (o *oracle) play(story []oracleStep) {
	for range oracleBrowsers {
		o.browsers = append(o.browsers, o.a.browser())
	}
	o.a.mux.HandleFunc("/run", o.handle)
	o.a.mux.Handle("/probe", o.a.guard.Passive(http.HandlerFunc(o.probe)))
	for _, s := range story {
		switch s.kind {
		case "request":
			o.request(s.browser, s.calls)
		case "release":
			o.release(s.browser)
		case "wait":
			o.say("wait %v", s.d)
			time.Sleep(s.d)
		case "sweep":
			o.say("sweep")
			_, _ = o.a.guard.Sweep(context.Background())
		case "settle":
			o.settle()
		}
		o.check(false)
		if o.violation != "" {
			break
		}
	}
	broken := o.violation != ""
	o.settle()
	if broken {
		return
	}
	o.finish()
}

// settle lets everything come to rest, and looks.
func (o *oracle) settle() {
	for len(o.paused) > 0 {
		o.release(0)
	}
	if o.violation != "" {
		return
	}
	o.say("settle")
	for range 3 {
		time.Sleep(scsguard.Lease + time.Second)
		_, err := o.a.guard.Sweep(context.Background())
		o.must(err == nil, "sweep: %v", err)
	}
	o.check(true)
}

// finish ends everything and looks at what is left.
func (o *oracle) finish() {
	if o.violation != "" {
		return
	}
	if !o.setup.bare {
		time.Sleep(oracleIdle)
		o.settle()
		for _, user := range oracleUsers {
			o.must(len(o.a.live(user)) == 0, "alive long after: %s", user)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := o.a.guard.Close(ctx)
	o.must(err == nil, "close: %v", err)
	synctest.Wait()
	o.readTrail()
	for id, s := range o.sessions {
		o.must(s.login == "" || o.retracted[s.login] || s.reason != "", "no ending: session %s of %s", o.name(id), s.user)
	}
	all, _ := o.inner.All()
	for _, b := range all {
		_, values, err := o.a.sm.Codec.Decode(b)
		o.must(err == nil && values["__scsguard"] == nil, "data is left: %v", values)
	}
}

// request makes one, and waits until it is over or pauses.
func (o *oracle) request(browser int, calls []oracleCall) {
	run := &oracleRun{id: strconv.Itoa(len(o.runs)), browser: browser, calls: calls, resume: make(chan struct{})}
	o.mu.Lock()
	o.runs[run.id] = run
	o.mu.Unlock()
	run.tabs = len(o.paused) > 0
	for _, other := range o.paused {
		other.tabs = true
		run.twin(other)
	}
	o.say("request %s of browser %d", run.id, browser)
	go o.serve(run)
	synctest.Wait()
	o.settled(run)
}

// twin notes that two requests of one browser were under way at the same time.
func (run *oracleRun) twin(other *oracleRun) {
	if run.browser == other.browser {
		run.twins, other.twins = append(run.twins, other), append(other.twins, run)
	}
}

// slow reports whether a request took so long to answer that another one came with
// the old token, and could not know of the new one any more.
func (run *oracleRun) slow(other *oracleRun) bool {
	return other.first == "" && other.arrived.Sub(run.arrived) >= 10*time.Second
}

// in notes that a session was in a browser.
func (o *oracle) in(session string, browser int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.where[session] == nil {
		o.where[session] = make(map[int]bool)
	}
	o.where[session][browser] = true
}

// isStray reports whether no browser need have a session: two tabs that log in at
// the same time do not know of each other, and the last answer wins.
func (o *oracle) isStray(id string) bool {
	for _, run := range o.runs {
		if where := o.where[id]; where != nil && !where[run.browser] { // nil: it was noticed after all calls
			continue
		}
		for _, other := range run.twins {
			if run.logins > 0 && other.logins > 0 || run.fresh || other.fresh || run.merged || other.merged ||
				run.came != other.came && (run.first == "" || other.first == "") || run.slow(other) || other.slow(run) || run.broken || other.broken {
				return true
			}
		}
	}
	return false
}

// settled takes a request for over, or for paused.
func (o *oracle) settled(run *oracleRun) {
	o.heal()
	if !run.done {
		o.paused = append(o.paused, run)
		return
	}
	if o.violation == "" {
		o.after(run)
	}
}

// release lets a paused request go on.
func (o *oracle) release(n int) {
	if len(o.paused) == 0 {
		return
	}
	n %= len(o.paused)
	run := o.paused[n]
	o.paused = append(o.paused[:n:n], o.paused[n+1:]...)
	o.say("request %s of browser %d goes on", run.id, run.browser)
	run.resume <- struct{}{}
	synctest.Wait()
	o.settled(run)
}

// nested makes a request in the middle of a call of another.
func (o *oracle) nested(outer *oracleRun, browser int, calls []oracleCall) {
	o.mu.Lock()
	run := &oracleRun{id: strconv.Itoa(len(o.runs)), browser: browser, calls: calls, tabs: true}
	o.runs[run.id] = run
	outer.tabs = true
	run.twin(outer)
	for _, other := range o.paused {
		run.twin(other)
	}
	o.mu.Unlock()
	o.say("  meanwhile request %s of browser %d", run.id, browser)
	o.serve(run)
}

// serve makes the request of a run and takes its answer, as far as it gets there.
func (o *oracle) serve(run *oracleRun) {
	b := o.browsers[run.browser]
	w := httptest.NewRecorder()
	run.answer = w
	run.arrived = time.Now()
	run.came, run.fresh = b.token(), b.token() == ""
	func() {
		defer func() {
			if p := recover(); p != nil {
				if p != http.ErrAbortHandler { //nolint:errorlint // a panic's value
					panic(p)
				}
				run.panicked = true
			}
		}()
		b.h.ServeHTTP(w, b.request(http.MethodGet, "/run?id="+run.id))
	}()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests++
	run.done, run.code = true, w.Code
	if !run.panicked || run.started {
		o.mu.Unlock()
		o.takeAnswer(run)
		o.mu.Lock()
	}
}

// takeAnswer takes the head of an answer, at the first byte or at the end.
func (o *oracle) takeAnswer(run *oracleRun) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := run.answer
	if run.taken {
		return
	}
	run.taken = true
	o.browsers[run.browser].take(w)
	for _, c := range w.Result().Cookies() {
		if c.Value != "" {
			o.tokens[c.Value] = true
		}
	}
	o.log = append(o.log, fmt.Sprintf("  request %s: %d, cookie %q", run.id, w.Code, short(w.Header().Get("Set-Cookie"))))
}

func short(cookie string) string {
	_, cookie, _ = strings.Cut(cookie, "=")
	return cookie[:min(6, len(cookie))]
}

func (o *oracle) say(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log = append(o.log, fmt.Sprintf(format, args...))
}

// must notes the first thing that is not as it should be.
func (o *oracle) must(ok bool, format string, args ...any) {
	if ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.violation == "" {
		o.violation = fmt.Sprintf(format, args...)
		o.log = append(o.log, "VIOLATION "+o.violation)
	}
}

// name is a short name of a session.
func (o *oracle) name(id string) string { return id[:min(6, len(id))] }

func (o *oracle) breakIt(names []string) {
	o.s.fail(names...)
	o.a.sink.fail(nil)
	for _, name := range names {
		if name == "trail" {
			o.a.sink.fail(errDown)
		}
	}
}

func (o *oracle) heal() {
	o.breakIt(nil)
	o.s.mu.Lock()
	clear(o.s.once)
	o.s.mu.Unlock()
}

// living returns the sessions that the registry calls alive.
func (o *oracle) living() map[string]scsguard.Session {
	all := make(map[string]scsguard.Session)
	for _, user := range oracleUsers {
		for _, s := range o.a.live(user) {
			all[s.ID] = s
		}
	}
	return maps.Clone(all)
}
