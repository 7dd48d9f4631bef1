package scsguard_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// parallel sends n requests of one browser at once and returns the answers. All
// of them leave with the cookies it has now.
func (b *browser) parallel(n int, target string) []answer {
	answers := make([]answer, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		r := b.request(http.MethodGet, target)
		wg.Go(func() {
			<-start
			answers[i] = b.do(r)
		})
	}
	close(start)
	wg.Wait()
	return answers
}

// processes are two guards over one registry, one store of data, one trail and
// one store of remembered browsers, as two processes would be.
func processes(t *testing.T, managers [2]*scs.SessionManager, change ...func(*scsguard.Config)) (first, second *app) {
	t.Helper()
	managers[1].Store = managers[0].Store
	registry, store, out := scsguard.NewMemoryRegistry(), scsguard.NewMemoryRememberStore(), &sink{}
	share := func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys, cfg.Audit = registry, [][]byte{make([]byte, 32)}, out
		cfg.Remember.Store = store
	}
	first = rememberApp(newApp(t, managers[0], append([]func(*scsguard.Config){share}, change...)...))
	second = rememberApp(newApp(t, managers[1], append([]func(*scsguard.Config){share}, change...)...))
	first.sink, second.sink = out, out
	return first, second
}

// turns hands requests to one of several handlers, in turn.
type turns struct {
	mu   sync.Mutex
	next int
	all  []http.Handler
}

func (s *turns) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.next++
	h := s.all[s.next%len(s.all)]
	s.mu.Unlock()
	h.ServeHTTP(w, r)
}

func TestTenParallelRequestsWithOneTokenGiveOneSessionAndNoAlarm(t *testing.T) {
	for round := range 20 {
		managers := [2]*scs.SessionManager{newManager(), newManager()}
		synctest.Test(t, func(t *testing.T) {
			first, second := processes(t, managers, func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny} })
			b := newBrowser(&turns{all: []http.Handler{first.serve, second.serve}})
			b.remember(t, "alice")
			if round%2 == 0 {
				time.Sleep(time.Hour) // the requests come with the cookie of a session that is over
			} else {
				b.restart()
			}
			twins := make([]*browser, 10)
			for i := range twins {
				twins[i] = b.twin()
			}
			answers := b.parallel(10, "/private")
			for _, res := range answers {
				require.Equal(t, 200, res.Code)
				require.Equal(t, answers[0].Body, res.Body, "one session")
				require.Len(t, res.Header.Values("Set-Cookie"), 2, "whichever answer arrives, the browser has both cookies")
			}
			synctest.Wait()
			require.Len(t, first.sink.events(t, scsguard.EventLogin), 2)
			require.Empty(t, first.sink.events(t, scsguard.EventTokenReuse, scsguard.EventLoginDenied))
			require.Len(t, first.sessionsOf(t, "alice"), 1)

			time.Sleep(rememberGrace / 2)
			for _, twin := range twins { // each alone has got an answer
				require.Equal(t, answers[0].Body, twin.get("/private").Body)
			}
			time.Sleep(time.Hour)
			require.Equal(t, 200, b.get("/private").Code)
			require.Empty(t, first.sink.events(t, scsguard.EventTokenReuse))
			first.requireOneEndingEach(t, "alice")
		})
	}
}

// An application whose handlers know nothing of the guard: what they need to find
// in the session is there, for each of the parallel requests, and who is logged in
// by them is remembered no longer.
func TestARememberedBrowserOfAnApplicationWithAUserKeyOfItsOwn(t *testing.T) {
	managers := [2]*scs.SessionManager{newManager(), newManager()}
	synctest.Test(t, func(t *testing.T) {
		next := 0
		first, second := processes(t, managers, func(cfg *scsguard.Config) {
			sm := managers[next]
			next++
			cfg.UserID = func(ctx context.Context) string { return sm.GetString(ctx, "user") }
			cfg.Remember.OnRestore = func(ctx context.Context, s scsguard.Session) { sm.Put(ctx, "user", s.User) }
		})
		for i, a := range []*app{first, second} {
			a.handle("/in", func(_ http.ResponseWriter, r *http.Request) error {
				_, err := a.guard.Login(r.Context(), "alice", scsguard.RememberMe())
				managers[i].Put(r.Context(), "user", "alice")
				return err
			})
			a.handle("/plain-login", func(_ http.ResponseWriter, r *http.Request) error {
				managers[i].Put(r.Context(), "user", r.FormValue("user"))
				return managers[i].RenewToken(r.Context())
			})
			a.handle("/plain-logout", func(_ http.ResponseWriter, r *http.Request) error {
				managers[i].Remove(r.Context(), "user")
				return nil
			})
		}
		b := newBrowser(&turns{all: []http.Handler{first.serve, second.serve}})
		for _, end := range []string{"/plain-logout", "/plain-login?user=bob"} {
			require.Equal(t, 200, b.get("/in").Code)
			for range 5 {
				time.Sleep(time.Hour)
				for _, res := range b.parallel(10, "/get?k=user") {
					require.Equal(t, "alice", res.Body)
				}
				require.Len(t, first.sessionsOf(t, "alice"), 1)
			}
			thief := b.twin()
			require.Equal(t, 200, b.get(end).Code)
			require.Empty(t, b.cookie(rememberCookie))
			thief.restart()
			require.Equal(t, 401, thief.get("/private").Code)
			b.restart()
		}
		require.Empty(t, first.sink.events(t, scsguard.EventTokenReuse))
		first.requireOneEndingEach(t, "alice", "bob")
	})
}

// A slow answer to one of the parallel requests must not take the browser back to
// tokens that have been followed by others since.
func TestASlowAnswerDoesNotBringBackAnOlderToken(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		b.restart()
		entered, release := a.pause("/slow", nil, nil)
		slow := b.inFlight("/slow", entered) // it restores the session
		quick := b.twin()
		require.Equal(t, "alice", quick.whoami())
		require.Equal(t, 200, quick.get("/elevate?role=x").Code)
		time.Sleep(10 * time.Second) // after the grace of a rotation
		quick.restart()
		require.Equal(t, "alice", quick.whoami())
		close(release)
		res := <-slow
		require.Empty(t, res.Header.Values("Set-Cookie"), "the quick one has newer ones")
	})
}

// While the login of one request goes on for longer than its claim, another takes
// over. There must not be two sessions.
func TestAClaimThatLastsTooLongIsTakenOver(t *testing.T) {
	managers := [2]*scs.SessionManager{newManager(), newManager()}
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Bool
		entered, release := make(chan struct{}), make(chan struct{})
		first, second := processes(t, managers, func(cfg *scsguard.Config) {
			cfg.Remember.Role = func(context.Context, string) (string, error) {
				if !asked.Swap(true) {
					close(entered)
					<-release
				}
				return "", nil
			}
		})
		b := newBrowser(first.serve)
		b.remember(t, "alice")
		b.restart()
		other := b.twin()
		other.h = second.serve
		slow := b.inFlight("/private", entered)
		session := other.get("/private")
		require.Equal(t, 200, session.Code)
		close(release)
		require.Equal(t, session.Body, (<-slow).Body, "whoever was overtaken joins")
		require.Len(t, first.sessionsOf(t, "alice"), 1)
		require.Equal(t, other.cookie(rememberCookie), b.cookie(rememberCookie))
		require.Empty(t, first.sink.events(t, scsguard.EventTokenReuse))
		first.requireOneEndingEach(t, "alice")
	})
}

// What was ended stays ended, whatever the browser does at that moment.
func TestNobodyComesBackWhileHeIsLoggedOut(t *testing.T) {
	for what, end := range map[string]func(a *app, b *browser){
		"logout":  func(_ *app, b *browser) { b.get("/logout") },
		"end all": func(a *app, _ *browser) { _, _ = a.guard.EndAll(context.Background(), "alice") },
	} {
		t.Run(what, func(t *testing.T) {
			for seed := range 60 {
				managers := [2]*scs.SessionManager{newManager(), newManager()}
				synctest.Test(t, func(t *testing.T) {
					store := slowStore{}
					first, second := processes(t, managers, func(cfg *scsguard.Config) {
						store.RememberStore, store.rng = cfg.Remember.Store, rand.New(rand.NewPCG(uint64(seed), 1))
						cfg.Remember.Store, cfg.Registry = &store, anyRegistry{cfg.Registry}
					})
					b := newBrowser(&turns{all: []http.Handler{first.serve, second.serve}})
					b.remember(t, "alice")
					b.restart()
					leaver := b.twin()
					thief := b.twin()
					var wg sync.WaitGroup
					for range 3 {
						twin := b.twin()
						wg.Go(func() { twin.get("/private") })
					}
					wg.Go(func() {
						time.Sleep(time.Duration(seed) * time.Millisecond)
						end(first, leaver)
					})
					wg.Wait()
					synctest.Wait()
					require.Empty(t, first.sessionsOf(t, "alice"))
					require.Equal(t, 401, thief.get("/private").Code)
					for _, c := range []*browser{b, leaver} {
						c.restart()
						require.Equal(t, 401, c.get("/private").Code)
					}
					first.requireOneEndingEach(t, "alice")
				})
			}
		})
	}
}

// slowStore takes some time for each call.
type slowStore struct {
	scsguard.RememberStore
	mu  sync.Mutex
	rng *rand.Rand
}

func (s *slowStore) pause() {
	s.mu.Lock()
	d := time.Duration(s.rng.IntN(20)) * time.Millisecond
	s.mu.Unlock()
	time.Sleep(d)
}

func (s *slowStore) Load(ctx context.Context, id string) ([]byte, time.Time, error) {
	s.pause()
	return s.RememberStore.Load(ctx, id)
}

func (s *slowStore) Swap(ctx context.Context, id string, old, value []byte, ttl time.Duration) (bool, error) {
	s.pause()
	defer s.pause()
	return s.RememberStore.Swap(ctx, id, old, value, ttl)
}

// Browsers of three users come back, log out, are evicted and copied at random:
// whoever holds a token that was not copied is never told of a theft, no two
// sessions of one family live, the cap holds, and each login has one ending.
func TestRandomLivesOfRememberedBrowsers(t *testing.T) {
	for seed := range 30 {
		managers := [2]*scs.SessionManager{newManager(), newManager()}
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 2))
			first, second := processes(t, managers, func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: 2, OnExceed: scsguard.EvictOldest} })
			server := &turns{all: []http.Handler{first.serve, second.serve}}
			browsers := make([]*browser, 6)
			for i := range browsers {
				browsers[i] = newBrowser(server)
			}
			for range 60 {
				var wg sync.WaitGroup
				for i, b := range browsers {
					user := fmt.Sprint("user", i%3)
					switch rng.IntN(8) {
					case 0:
						wg.Go(func() { b.get("/remember?user=" + user) })
					case 1:
						b.restart()
						wg.Go(func() { b.parallel(3, "/private") })
					case 2:
						wg.Go(func() { b.get("/logout") })
					case 3:
						wg.Go(func() { b.get("/end-others") })
					case 4:
						wg.Go(func() { b.get("/elevate?role=x") })
					default:
						wg.Go(func() { b.get("/private") })
					}
				}
				wg.Wait()
				for i := range 3 {
					require.LessOrEqual(t, len(first.sessionsOf(t, fmt.Sprint("user", i))), 2)
				}
				time.Sleep(time.Duration(rng.IntN(20)) * time.Minute)
			}
			synctest.Wait()
			for _, e := range first.sink.events(t, scsguard.EventTokenReuse) {
				// A session that is ended while it gets a new token leaves its browser with
				// the old one. That is no business of its family.
				require.NotContains(t, e, "details", e)
			}
			first.requireOneEndingEach(t, "user0", "user1", "user2")
		})
	}
}
