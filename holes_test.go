package scsguard_test

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Each test here is a hole that was seen in scs 2.9.0, closed. H15 (concurrent
// writes of different keys) and H17 (no hole) are not among them.

// pause mounts a handler that does something, waits to be released and does
// something else: a request in flight.
func (a *app) pause(path string, before, after func(http.ResponseWriter, *http.Request)) (entered, release chan struct{}) {
	entered, release = make(chan struct{}), make(chan struct{})
	a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if before != nil {
			before(w, r)
		}
		close(entered)
		<-release
		if after != nil {
			after(w, r)
		}
	})
	return entered, release
}

// inFlight starts a request and returns when it is inside its handler.
func (b *browser) inFlight(target string, entered chan struct{}) (answered chan answer) {
	answered = make(chan answer, 1)
	go func() { answered <- b.get(target) }()
	<-entered
	return answered
}

func TestH1_a_request_in_flight_does_not_bring_a_logged_out_session_back(t *testing.T) {
	for name, idle := range map[string]time.Duration{"manager without idle timeout": 0, "manager with idle timeout": 20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			sm.IdleTimeout = idle
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				entered, release := a.pause("/slow", nil, func(w http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "late", "x") })
				b := a.browser()
				b.login(t, "alice")
				thief := b.copy()
				slow := b.copy().inFlight("/slow", entered)
				require.Equal(t, 200, b.get("/logout").Code)
				close(release)
				res := <-slow
				require.Equal(t, 200, res.Code, "the answer itself goes out")
				require.Empty(t, res.Header.Values("Set-Cookie"))
				require.Equal(t, "401 ended_by_you", thief.whoami())
				require.Empty(t, storeKeys(t, sm), "its data must not stay behind")
			})
		})
	}
}

// storeKeys returns what the application's own store holds.
func storeKeys(t testing.TB, sm *scs.SessionManager) map[string][]byte {
	t.Helper()
	inner := sm.Store.(interface{ Unwrap() scs.Store }).Unwrap()
	all, err := inner.(scs.IterableStore).All()
	require.NoError(t, err)
	return all
}

// The same without any order, five hundred times.
func TestH1_no_interleaving_brings_a_logged_out_session_back(t *testing.T) {
	a := newApp(t, newManager())
	a.mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		for range rand.IntN(200) {
			runtime.Gosched()
		}
		a.sm.Put(r.Context(), "late", "x")
	})
	for range 500 {
		b := a.browser()
		b.login(t, "alice")
		thief, slow := b.copy(), b.copy()
		var wg sync.WaitGroup
		wg.Go(func() { slow.get("/busy") })
		wg.Go(func() { b.get("/logout") })
		wg.Wait()
		require.True(t, strings.HasPrefix(thief.whoami(), "401"))
		for _, data := range storeKeys(t, a.sm) {
			_, values, err := a.sm.Codec.Decode(data)
			require.NoError(t, err)
			require.NotContains(t, values, "__scsguard", "a request after the logout may begin an anonymous session, and nothing else")
		}
	}
}

func TestH2_the_old_token_does_not_survive_a_rotation(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		entered, release := a.pause("/slow", nil, func(w http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "late", "x") })
		b := a.browser()
		b.login(t, "alice")
		old := b.copy()
		slow := old.inFlight("/slow", entered)
		require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		close(release)
		res := <-slow
		require.Empty(t, res.Header.Values("Set-Cookie"), "a slow answer must not put the browser back on the old token")
		require.Equal(t, "x", b.get("/get?k=late").Body, "what it wrote belongs to the session still")
		require.Equal(t, "alice admin", b.whoami())
		require.Equal(t, 200, b.get("/logout").Code)
		require.Equal(t, "401 ended_by_you", old.whoami())
		require.Empty(t, storeKeys(t, a.sm))
	})
}

func TestH3_no_renewal_moves_the_absolute_deadline(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b, deadline := a.browser(), time.Now().Add(8*time.Hour)
		b.login(t, "alice")
		for range 47 { // 7 h 50 min
			time.Sleep(10 * time.Minute)
			require.Equal(t, 200, b.get("/renew").Code)
			for _, data := range storeKeys(t, a.sm) {
				stored, _, err := a.sm.Codec.Decode(data)
				require.NoError(t, err)
				require.True(t, stored.Equal(deadline), "an instance without the guard would go by what is stored: %s", stored)
			}
		}
		require.Equal(t, 200, b.get("/extend").Code)
		time.Sleep(10*time.Minute - time.Nanosecond)
		require.Equal(t, "alice", b.whoami())
		time.Sleep(time.Nanosecond)
		require.Equal(t, "401 absolute", b.whoami())
	})
}

// immortalStore keeps for ever what is committed with an expiry that is not in
// the future, as a Redis store does that drops the expiry then. It trusts
// nobody's clock otherwise and never expires anything.
type immortalStore struct {
	mu   sync.Mutex
	data map[string][]byte
	past int
}

func (s *immortalStore) Find(token string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.data[token]
	return b, ok, nil
}

func (s *immortalStore) Commit(token string, b []byte, expiry time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		s.data = make(map[string][]byte)
	}
	if !expiry.After(time.Now()) {
		s.past++
	}
	s.data[token] = b
	return nil
}

func (s *immortalStore) Delete(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, token)
	return nil
}

func withMemoryRegistry(cfg *scsguard.Config) { cfg.Registry = scsguard.NewMemoryRegistry() }

func TestH4_a_deadline_in_the_past_ends_the_session(t *testing.T) {
	sm, store := newManager(), &immortalStore{}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/past", func(w http.ResponseWriter, r *http.Request) {
			a.sm.SetDeadline(r.Context(), time.Now().Add(-time.Second))
		})
		b := a.browser()
		b.login(t, "alice")
		thief := b.copy()
		require.Equal(t, 200, b.get("/past").Code)
		require.Equal(t, "401 ended", thief.whoami())
		require.Zero(t, store.past, "nothing may be stored with an expiry that has passed")
		require.Empty(t, store.data)
	}, withMemoryRegistry)
}

func TestH5_a_request_across_the_absolute_deadline_leaves_nothing_alive(t *testing.T) {
	sm, store := newManager(), &immortalStore{}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(1500 * time.Millisecond)
			a.sm.Put(r.Context(), "k", "v")
		})
		b := a.browser()
		b.login(t, "alice")
		thief := b.copy()
		res := b.get("/slow")
		require.Equal(t, 200, res.Code)
		require.Empty(t, res.Header.Values("Set-Cookie"))
		require.Equal(t, "401 idle", thief.whoami(), "the idle deadline came first")
		require.Zero(t, store.past)
		require.Empty(t, store.data)
	}, withMemoryRegistry, func(cfg *scsguard.Config) {
		cfg.Timeouts = scsguard.Timeouts{Idle: 900 * time.Millisecond, Absolute: time.Second, Touch: 10 * time.Millisecond}
	})
}

func TestH6_a_session_past_its_own_deadline_is_dead_whatever_the_store_says(t *testing.T) {
	t.Run("logged in", func(t *testing.T) {
		sm := newManager()
		sm.Store = &immortalStore{}
		bubbleOn(t, sm, func(t *testing.T, a *app) {
			b := a.browser()
			b.login(t, "alice")
			for range 33 {
				time.Sleep(14*time.Minute + 30*time.Second)
				b.whoami()
			}
			time.Sleep(90 * time.Second)
			require.Equal(t, "401 absolute", b.whoami())
		}, withMemoryRegistry)
	})
	t.Run("anonymous", func(t *testing.T) {
		sm := newManager()
		sm.Store = &immortalStore{}
		bubbleOn(t, sm, func(t *testing.T, a *app) {
			b := a.browser()
			b.get("/put?k=cart&v=book")
			time.Sleep(24*time.Hour - time.Nanosecond)
			require.Equal(t, "book", b.get("/get?k=cart").Body)
			time.Sleep(time.Nanosecond)
			require.Empty(t, b.get("/get?k=cart").Body)
		}, withMemoryRegistry)
	})
	t.Run("anonymous on a bare Load", func(t *testing.T) {
		sm := newManager()
		sm.Store = &immortalStore{}
		bubbleOn(t, sm, func(t *testing.T, a *app) {
			b := a.browser()
			b.get("/put?k=cart&v=book")
			time.Sleep(24 * time.Hour)
			ctx, err := a.sm.Load(context.Background(), b.token())
			require.NoError(t, err)
			require.Empty(t, a.sm.GetString(ctx, "cart"))
		}, withMemoryRegistry)
	})
}

func TestH7_iterate_and_destroy_logs_everybody_out_with_hashed_tokens_too(t *testing.T) {
	for _, hash := range []bool{false, true} {
		t.Run(fmt.Sprintf("HashTokenInStore=%v", hash), func(t *testing.T) {
			sm := newManager()
			sm.HashTokenInStore = hash
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				a.handle("/destroy-all", func(w http.ResponseWriter, r *http.Request) error {
					return a.sm.Iterate(r.Context(), a.sm.Destroy)
				})
				a.handle("/mark-all", func(w http.ResponseWriter, r *http.Request) error {
					return a.sm.Iterate(r.Context(), func(ctx context.Context) error {
						a.sm.Put(ctx, "notice", "maintenance")
						_, _, err := a.sm.Commit(ctx)
						return err
					})
				})
				alice, bob, admin := a.browser(), a.browser(), a.browser()
				alice.login(t, "alice")
				bob.login(t, "bob")
				admin.login(t, "admin")
				require.Equal(t, 200, admin.get("/mark-all").Code)
				require.Equal(t, "maintenance", bob.get("/get?k=notice").Body)
				require.Len(t, storeKeys(t, sm), 3, "no ghost sessions")
				thief := admin.copy()
				require.Equal(t, 200, admin.get("/destroy-all").Code)
				for _, b := range []*browser{alice, bob, thief} {
					require.Equal(t, "401 ended", b.whoami())
				}
				synctest.Wait()
				require.Len(t, a.sink.endings(t), 3)
			})
		})
	}
}

func TestH8_a_flush_before_the_first_write_carries_the_cookie(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) {
			_, err := a.guard.Login(r.Context(), "alice")
			require.NoError(t, err)
			require.NoError(t, http.NewResponseController(w).Flush())
			_, _ = io.WriteString(w, "data: hello\n\n")
		})
		b := a.browser()
		require.Equal(t, 200, b.get("/sse").Code)
		require.Equal(t, "alice", b.whoami())
	})
}

func TestH9_values_put_after_the_first_write_are_kept(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "first")
			a.sm.Put(r.Context(), "late", "kept")
		})
		a.mux.HandleFunc("/both", func(w http.ResponseWriter, r *http.Request) {
			a.sm.Put(r.Context(), "both", "early")
			_, _ = io.WriteString(w, "first")
			a.sm.Put(r.Context(), "both", "late")
		})
		b := a.browser()
		b.login(t, "alice")
		b.get("/late")
		b.get("/both")
		require.Equal(t, "kept", b.get("/get?k=late").Body)
		require.Equal(t, "late", b.get("/get?k=both").Body)

		fresh := a.browser()
		fresh.get("/both")
		require.Equal(t, "late", fresh.get("/get?k=both").Body)
		fresh = a.browser()
		fresh.get("/late")
		require.Empty(t, storeKeys(t, a.sm)[fresh.token()], "what no cookie can lead to is not stored")
		require.Len(t, storeKeys(t, a.sm), 2)
	})
}

// ctxStore is a store that fails when its context is done, as drivers do.
type ctxStore struct{ *memstore.MemStore }

func (s ctxStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	return s.Find(token)
}

func (s ctxStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Commit(token, b, expiry)
}

func (s ctxStore) DeleteCtx(ctx context.Context, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Delete(token)
}

func TestH10_a_client_that_hangs_up_during_a_renewal_loses_no_session(t *testing.T) {
	for _, verb := range []string{"/renew", "/elevate?role=admin", "/login?user=alice"} {
		t.Run(verb, func(t *testing.T) {
			sm := newManager()
			sm.Store = ctxStore{memstore.NewWithCleanupInterval(0)}
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				b := a.browser()
				b.login(t, "alice")
				ctx, hangUp := context.WithCancel(context.Background())
				a.mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) {
					hangUp()
					r = r.Clone(r.Context())
					r.URL.Path, r.URL.RawQuery, _ = strings.Cut(verb, "?")
					a.mux.ServeHTTP(w, r)
				})
				b.do(b.request(http.MethodGet, "/hang").WithContext(ctx))
				require.True(t, strings.HasPrefix(b.whoami(), "alice"), "the browser that gets the answer has a session")
				require.Len(t, storeKeys(t, sm), 1)
			}, withMemoryRegistry)
		})
	}
}

func TestH10_a_panic_after_a_renewal_leaves_one_ending_and_no_place(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, a.sm.RenewToken(r.Context()))
			panic(http.ErrAbortHandler)
		})
		b := a.browser()
		b.login(t, "alice")
		require.Panics(t, func() { b.get("/panic") })
		require.Equal(t, "401 ended", b.whoami())
		list, err := a.guard.SessionsOf(context.Background(), "alice")
		require.NoError(t, err)
		require.Empty(t, list)
		synctest.Wait()
		require.Len(t, a.sink.endings(t), 1)
	})
}

// hijackable is a ResponseWriter whose connection can be taken over.
type hijackable struct{ *httptest.ResponseRecorder }

func (hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	server, client := net.Pipe()
	_ = client.Close()
	return server, nil, nil
}

func TestH11_a_hijacked_handler_that_returns_late_writes_nothing(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		hijacked, release := make(chan struct{}), make(chan struct{})
		a.mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			close(hijacked)
			<-release
			a.sm.Put(r.Context(), "stale", "x")
		})
		b := a.browser()
		b.login(t, "alice")
		thief := b.copy()
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.serve.ServeHTTP(hijackable{httptest.NewRecorder()}, b.request(http.MethodGet, "/ws"))
		}()
		<-hijacked
		require.Equal(t, 200, b.get("/logout").Code)
		close(release)
		<-done
		require.Equal(t, "401 ended_by_you", thief.whoami())
		require.Empty(t, storeKeys(t, a.sm))
	})
}

// brokenStore fails on command.
type brokenStore struct {
	scs.Store
	mu     sync.Mutex
	commit error
	find   error
	remove error
}

func (s *brokenStore) set(commit, find, remove error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit, s.find, s.remove = commit, find, remove
}

func (s *brokenStore) errs() (commit, find, remove error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commit, s.find, s.remove
}

func (s *brokenStore) Commit(token string, b []byte, expiry time.Time) error {
	if err, _, _ := s.errs(); err != nil {
		return err
	}
	return s.Store.Commit(token, b, expiry)
}

func (s *brokenStore) Find(token string) ([]byte, bool, error) {
	if _, err, _ := s.errs(); err != nil {
		return nil, false, err
	}
	return s.Store.Find(token)
}

func (s *brokenStore) Delete(token string) error {
	if _, _, err := s.errs(); err != nil {
		return err
	}
	return s.Store.Delete(token)
}

func (s *brokenStore) All() (map[string][]byte, error) { return s.Store.(scs.IterableStore).All() }

var errDown = errors.New("connection refused by 10.9.8.7:6379")

func TestH12_no_body_goes_out_after_a_failed_commit(t *testing.T) {
	sm := newManager()
	store := &brokenStore{Store: sm.Store}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/secret", func(w http.ResponseWriter, r *http.Request) {
			a.sm.Put(r.Context(), "k", "v")
			w.Header().Set("Content-Length", "19")
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("Content-Encoding", "gzip")
			for range 2 {
				_, err := io.WriteString(w, "SECRET HANDLER BODY")
				require.Error(t, err, "the handler learns that nothing goes out")
			}
		})
		b := a.browser()
		b.login(t, "alice")
		token := b.token()
		store.set(errDown, nil, nil)
		res := b.get("/secret")
		require.Equal(t, http.StatusServiceUnavailable, res.Code)
		require.NotContains(t, res.Body, "SECRET")
		require.NotContains(t, res.Body, "10.9.8.7", "a visitor never sees internals")
		for _, name := range []string{"Content-Length", "ETag", "Content-Encoding", "Set-Cookie"} {
			require.Empty(t, res.Header.Values(name), name)
		}
		require.Equal(t, "5", res.Header.Get("Retry-After"))
		require.Equal(t, token, b.token())
		store.set(nil, nil, nil)
		require.Equal(t, "alice", b.whoami(), "he is still logged in afterwards")
	}, withMemoryRegistry)
}

func TestH13_a_request_with_the_token_before_a_rotation_does_not_log_the_user_out(t *testing.T) {
	for _, verb := range []string{"/elevate?role=admin", "/renew", "/login?user=alice"} {
		t.Run(verb, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				b := a.browser()
				b.login(t, "alice")
				late := b.request(http.MethodGet, "/put?k=flash&v=hello") // sent before the answer to the rotation
				require.Equal(t, 200, b.get(verb).Code)
				res := b.do(late)
				require.Empty(t, res.Header.Values("Set-Cookie"))
				require.True(t, strings.HasPrefix(b.whoami(), "alice"))
			})
		})
	}
}

type gobA struct{ A string }

func TestH14_a_session_that_cannot_be_decoded_is_ended_and_stops_nobody(t *testing.T) {
	gob.Register(gobA{})
	for name, login := range map[string]bool{"logged in": true, "anonymous": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				broken, fine := a.browser(), a.browser()
				if login {
					broken.login(t, "alice")
				} else {
					broken.get("/put?k=cart&v=book")
				}
				fine.login(t, "bob")
				require.NoError(t, a.guard.Store().Commit(broken.token(), []byte("not gob"), time.Now().Add(time.Hour)))

				n := 0
				require.NoError(t, a.sm.Iterate(context.Background(), func(context.Context) error { n++; return nil }))
				require.Equal(t, 1, n, "one broken session does not end the iteration over all")

				if login {
					require.Equal(t, "401 ended", broken.whoami())
					synctest.Wait()
					end := a.sink.events(t, scsguard.EventLogout)
					require.Len(t, end, 1)
					require.Equal(t, "lost", end[0].str("reason"))
				} else {
					require.Equal(t, "401", broken.whoami())
				}
				require.Len(t, storeKeys(t, a.sm), 1, "it is deleted, not an error for ever")
				broken.login(t, "alice")
				require.Equal(t, "alice", broken.whoami())
			})
		})
	}
}

// countingStore counts writes.
type countingStore struct {
	*memstore.MemStore
	mu     sync.Mutex
	writes int
	reads  int
}

func (s *countingStore) Commit(token string, b []byte, expiry time.Time) error {
	s.mu.Lock()
	s.writes++
	s.mu.Unlock()
	return s.MemStore.Commit(token, b, expiry)
}

func (s *countingStore) Find(token string) ([]byte, bool, error) {
	s.mu.Lock()
	s.reads++
	s.mu.Unlock()
	return s.MemStore.Find(token)
}

// countingRegistry counts everything but reads.
type countingRegistry struct {
	scsguard.Registry
	mu     *sync.Mutex
	writes *int
}

func newCountingRegistry() *countingRegistry {
	return &countingRegistry{Registry: scsguard.NewMemoryRegistry(), mu: new(sync.Mutex), writes: new(int)}
}

func (r *countingRegistry) Namespace(name string) scsguard.Registry {
	return &countingRegistry{Registry: r.Registry.Namespace(name), mu: r.mu, writes: r.writes}
}

func (r *countingRegistry) count() {
	r.mu.Lock()
	*r.writes++
	r.mu.Unlock()
}

func (r *countingRegistry) Touch(ctx context.Context, key scsguard.Key, act scsguard.Activity) (scsguard.Touched, error) {
	r.count()
	return r.Registry.Touch(ctx, key, act)
}

func (r *countingRegistry) Move(ctx context.Context, from scsguard.Key, rot scsguard.Rotation) (bool, scsguard.Record, error) {
	r.count()
	return r.Registry.Move(ctx, from, rot)
}

func TestH16_polling_within_a_touch_interval_writes_nothing(t *testing.T) {
	sm := newManager()
	store := &countingStore{MemStore: memstore.NewWithCleanupInterval(0)}
	sm.Store, sm.IdleTimeout = store, 15*time.Minute
	registry := newCountingRegistry()
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		store.writes, *registry.writes = 0, 0
		cookies := 0
		for range 100 {
			time.Sleep(599 * time.Millisecond) // 100 of them within the interval of a minute
			res := b.get("/whoami")
			require.Equal(t, 200, res.Code)
			cookies += len(res.Header.Values("Set-Cookie"))
		}
		require.Zero(t, store.writes)
		require.Zero(t, *registry.writes)
		require.Zero(t, cookies)
		time.Sleep(time.Second)
		b.whoami()
		require.Equal(t, 1, *registry.writes, "the next interval is recorded")
		require.Zero(t, store.writes, "and only in the record")
	}, func(cfg *scsguard.Config) {
		cfg.Registry, cfg.Keys = registry, [][]byte{make([]byte, 32)}
	})
}
