package scsguard_test

import (
	"bufio"
	"context"
	"encoding/gob"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// The second half of the holes: those that show in the answer to a request.

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
