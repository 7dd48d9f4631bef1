package scsguard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// The fields of a login line, their names and their order, are a format that
// others read years later.
func TestTheLineOfALogin(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("POST /in", func(w http.ResponseWriter, r *http.Request) error {
			_, err := a.guard.Login(r.Context(), "alice", scsguard.Role("staff"), scsguard.Methods("pwd", "otp"), scsguard.AAL(2),
				scsguard.ExternalID("op-1"), scsguard.By("support"))
			return err
		})
		b := a.browser()
		r := b.request(http.MethodPost, "/in?password=secret")
		r.Header.Set("X-Request-Id", "req-1")
		require.Equal(t, 200, b.do(r).Code)
		line := a.sink.lines[0]
		e := a.sink.events(t)[0]
		for _, name := range []string{"id", "session", "token_hash", "fingerprint"} {
			require.NotEmpty(t, e.str(name))
			line = strings.Replace(line, e.str(name), name, 1)
		}
		require.Equal(t, `{"id":"id","time":"2000-01-01T00:00:00.000000Z","event":"login","outcome":"success","user":"alice","actor":"support",`+
			`"session":"session","session_seq":1,"token_hash":"token_hash","ip":"192.0.2.1","ip_source":"remote_addr","user_agent":"test browser",`+
			`"fingerprint":"fingerprint","request_id":"req-1","route":"POST /in","auth_methods":["pwd","otp"],"aal":2,"auth_time":"2000-01-01T00:00:00.000000Z",`+
			`"created":"2000-01-01T00:00:00.000000Z","idle_expires":"2000-01-01T00:15:00.000000Z","absolute_expires":"2000-01-01T08:00:00.000000Z",`+
			`"details":{"external_id":"op-1","role":"staff"}}`, line)
	})
}

func TestEveryEventOfASessionHasItsNumber(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/transfer", func(w http.ResponseWriter, r *http.Request) error {
			return a.guard.Record(r.Context(), scsguard.Event{Kind: "transfer", Transaction: "T1", Details: map[string]string{"amount": "5"}})
		})
		b := a.browser()
		a.browser().login(t, "alice")
		session := b.login(t, "alice") // with a concurrent_warning
		for _, path := range []string{"/elevate?role=admin", "/transfer", "/extend", "/reauth?full=1", "/renew", "/transfer"} {
			require.Equal(t, 200, b.get(path).Code, path)
		}
		time.Sleep(2 * time.Minute)
		b.whoami()
		b.get("/logout")
		synctest.Wait()
		var kinds []string
		for _, e := range a.sink.events(t) {
			if e.str("session") != session {
				continue
			}
			kinds = append(kinds, e.str("event"))
			require.EqualValues(t, len(kinds), e["session_seq"], "%v", kinds)
			require.NotEmpty(t, e.str("user"))
			require.NotEmpty(t, e.str("outcome"))
			require.NotEmpty(t, e.str("ip"), "%s", e.str("event"))
		}
		require.Equal(t, []string{"login", "concurrent_warning", "privilege_change", "transfer", "extend", "reauth", "extend", "renew", "transfer", "extend", "logout"}, kinds)
	})
}

func TestNoTokenAppearsAnywhere(t *testing.T) {
	for _, hash := range []bool{false, true} {
		t.Run(fmt.Sprintf("HashTokenInStore=%v", hash), func(t *testing.T) {
			sm := newManager()
			sm.HashTokenInStore = hash
			registry := scsguard.NewMemoryRegistry()
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				a.mux.Handle("/sessions", a.guard.SessionsHandler())
				tokens := map[string]bool{}
				b, c := a.browser(), a.browser()
				c.login(t, "alice")
				var printed strings.Builder
				for _, path := range []string{"/login?user=alice", "/elevate?role=admin", "/renew", "/sessions", "/logout"} {
					printed.WriteString(b.get(path).Body)
					tokens[b.token()] = true
				}
				recs, err := registry.List(context.Background(), "alice")
				require.NoError(t, err)
				require.NotEmpty(t, recs)
				due, err := a.guard.SessionsOf(context.Background(), "alice")
				require.NoError(t, err)
				for _, v := range []any{recs[0], &recs[0], recs, due, due[0], recs[0].Key, scsguard.Target{Key: recs[0].Key}, scsguard.Admission{Record: recs[0]}} {
					for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
						fmt.Fprintf(&printed, verb, v)
					}
					js, err := json.Marshal(v)
					require.NoError(t, err)
					printed.Write(js)
					slog.New(slog.NewJSONHandler(&printed, nil)).Info("x", "v", v)
					slog.New(slog.NewTextHandler(&printed, nil)).Info("x", "v", v)
					logger := zerolog.New(&printed)
					logger.Info().Any("v", v).Send()
				}
				tokens[c.token()] = true
				for key := range storeKeys(t, sm) {
					tokens[key] = true
				}
				synctest.Wait()
				printed.WriteString(strings.Join(a.sink.lines, "\n"))
				delete(tokens, "")
				require.Greater(t, len(tokens), 3)
				for token := range tokens {
					require.NotContains(t, printed.String(), token)
				}
			}, func(cfg *scsguard.Config) { cfg.Registry = registry })
		})
	}
}

// zerolog drops every event of every logger after this call.
func TestTheTrailIsNotSilencedByZerologsGlobalLevel(t *testing.T) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	defer zerolog.SetGlobalLevel(zerolog.TraceLevel)
	bubble(t, func(t *testing.T, a *app) {
		a.browser().login(t, "alice")
		require.Len(t, a.sink.events(t, scsguard.EventLogin), 1)
	})
}

func TestFailedLoginsAreCoalesced(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/wrong", func(w http.ResponseWriter, r *http.Request) {
			a.guard.LoginFailed(r.Context(), r.FormValue("user"), "password")
		})
		b := a.browser()
		for range 100 {
			b.get("/wrong?user=alice")
		}
		b.get("/wrong?user=bob")
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventLoginFailed), 2)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		failed := a.sink.events(t, scsguard.EventLoginFailed)
		require.Len(t, failed, 3)
		require.Equal(t, "99", failed[2]["details"].(map[string]any)["count"])
		require.Equal(t, "alice", failed[2].str("user"))
		require.Equal(t, "password", failed[2].str("reason"))

		for i := range 20_000 { // a flood of names costs bounded memory and bounded lines
			b.get(fmt.Sprintf("/wrong?user=u%d", i))
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		n, counted := 0, 0
		for _, e := range a.sink.events(t, scsguard.EventLoginFailed)[3:] {
			n++
			if d, ok := e["details"].(map[string]any); ok {
				_, err := fmt.Sscan(d["count"].(string), &counted)
				require.NoError(t, err)
				require.Empty(t, e.str("user"), "it stands for many")
				n--
			}
		}
		require.Equal(t, 10_001, n)
		require.Equal(t, 20_000, n+counted, "none is forgotten")
	})
}

func TestWhatGrantsWaitsForTheTrailAndWhatRemovesDoesNot(t *testing.T) {
	var reported []error
	var mu sync.Mutex
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/transfer", func(w http.ResponseWriter, r *http.Request) error {
			return a.guard.Record(r.Context(), scsguard.Event{Kind: "transfer"})
		})
		b, c := a.browser(), a.browser()
		session := b.login(t, "alice")
		other := c.login(t, "bob")
		token := b.token()
		a.sink.fail(errors.New("disk full"))
		for _, path := range []string{"/elevate?role=admin", "/reauth", "/extend", "/transfer", "/login?user=alice"} {
			require.Equal(t, http.StatusServiceUnavailable, b.get(path).Code, path)
		}
		require.Equal(t, token, b.token())
		require.Equal(t, "alice", b.whoami(), "a request that grants nothing is served")
		require.Equal(t, 200, b.get("/logout").Code)
		require.NoError(t, a.guard.End(context.Background(), other, scsguard.Of("bob"), scsguard.By("root")))
		require.Equal(t, "401 ended_by_admin", c.whoami())
		time.Sleep(time.Second)
		synctest.Wait()
		require.False(t, a.guard.Health().OK)
		mu.Lock()
		require.NotEmpty(t, reported, "within a second")
		mu.Unlock()
		require.Empty(t, a.sink.endings(t))

		a.sink.fail(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, p := range a.guard.Health().Problems {
			require.NotEqual(t, scsguard.ComponentAudit, p.Component, "it works again without a restart")
		}
		ends := a.sink.endings(t)
		require.Equal(t, "user", ends[session+"/end"].str("reason"))
		require.Equal(t, "root", ends[other+"/end"].str("actor"))
		require.Len(t, a.sink.events(t, scsguard.EventLogout), 2+1, "and the login that was refused has an ending, too")
	}, func(cfg *scsguard.Config) {
		cfg.OnAuditFailure = func(err error) {
			mu.Lock()
			defer mu.Unlock()
			reported = append(reported, err)
			panic("a hook that panics does no harm")
		}
	})
}

// hungSink does not look at its context, once it is told to hang.
type hungSink struct {
	sink
	hang    chan struct{}
	pending int
}

func (s *hungSink) Append(ctx context.Context, records [][]byte) error {
	s.mu.Lock()
	hang := s.hang
	if hang != nil {
		s.pending++
	}
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return s.sink.Append(ctx, records)
}

func TestASinkThatHangsHoldsUpNobodyForLong(t *testing.T) {
	hung := &hungSink{}
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		hung.mu.Lock()
		hung.hang = make(chan struct{})
		hung.mu.Unlock()
		for range 10 {
			start := time.Now()
			require.Equal(t, http.StatusServiceUnavailable, a.browser().get("/login?user=bob").Code)
			require.LessOrEqual(t, time.Since(start), 2*time.Second)
		}
		start := time.Now()
		require.Equal(t, 200, b.get("/logout").Code)
		require.Zero(t, time.Since(start))
		hung.mu.Lock()
		require.Equal(t, 1, hung.pending, "it gets nothing new until it has answered")
		close(hung.hang)
		hung.hang = nil
		hung.mu.Unlock()
		time.Sleep(3 * time.Second)
		require.Equal(t, 200, a.browser().get("/login?user=bob").Code)
		synctest.Wait()
		require.Contains(t, fmt.Sprint(hung.endings(t)), "alice")
	}, func(cfg *scsguard.Config) { cfg.Audit = hung })
}

func TestWhatIsLostWhileTheSinkIsDownLeavesAGap(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/wrong", func(w http.ResponseWriter, r *http.Request) {
			a.guard.LoginFailed(r.Context(), r.FormValue("user"), "password")
		})
		b := a.browser()
		session := b.login(t, "alice")
		a.sink.fail(errDown)
		for i := range 10_500 {
			b.get(fmt.Sprintf("/wrong?user=u%d", i))
			if i%9_000 == 0 {
				time.Sleep(11 * time.Second) // a new window of the coalescer
			}
		}
		b.get("/logout") // there is no room for its ending either, but the registry hands it out again
		a.sink.fail(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		gaps := a.sink.events(t, scsguard.EventGap)
		require.Len(t, gaps, 1)
		d := gaps[0]["details"].(map[string]any)
		require.NotEmpty(t, d["from"])
		require.NotEmpty(t, d["to"])
		require.NotEmpty(t, d["lost.login_failed"])
		require.Equal(t, "user", a.sink.endings(t)[session+"/end"].str("reason"))
	})
}

func TestConcurrentLoginsShareOneAppend(t *testing.T) {
	slow := &slowSink{}
	bubble(t, func(t *testing.T, a *app) {
		var wg sync.WaitGroup
		for i := range 100 {
			b := a.browser()
			wg.Go(func() { b.login(t, fmt.Sprintf("user%d", i)) })
		}
		start := time.Now()
		wg.Wait()
		require.LessOrEqual(t, time.Since(start), 200*time.Millisecond)
		require.LessOrEqual(t, slow.appends(), 3)
		require.Len(t, slow.events(t, scsguard.EventLogin), 100)
	}, func(cfg *scsguard.Config) { cfg.Audit = slow })
}

type slowSink struct{ sink }

func (s *slowSink) Append(ctx context.Context, records [][]byte) error {
	time.Sleep(50 * time.Millisecond)
	return s.sink.Append(ctx, records)
}

func TestMultiSink(t *testing.T) {
	record := func(s string) [][]byte { return [][]byte{[]byte(s)} }
	t.Run("a hung sink does not keep the records from the others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			good, hung := &sink{}, &hungSink{hang: make(chan struct{})}
			m := scsguard.MultiSink(hung, good)
			for i := range 3 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				require.ErrorContains(t, m.Append(ctx, record(fmt.Sprint(i))), "sink 1")
				cancel()
			}
			require.Equal(t, []string{"0", "1", "2"}, good.lines)
			close(hung.hang)
			hung.mu.Lock()
			hung.hang = nil
			hung.mu.Unlock()
			synctest.Wait()
			require.NoError(t, m.Append(context.Background(), record("3")))
			require.Equal(t, []string{"0", "3"}, hung.lines)
		})
	})
	t.Run("what one has kept is not given to it again", func(t *testing.T) {
		good, bad := &sink{}, &sink{err: errDown}
		m := scsguard.MultiSink(good, bad)
		for range 3 {
			require.ErrorIs(t, m.Append(context.Background(), [][]byte{[]byte("a"), []byte("b")}), errDown)
		}
		bad.fail(nil)
		require.NoError(t, m.Append(context.Background(), [][]byte{[]byte("a"), []byte("b"), []byte("c")}))
		require.Equal(t, []string{"a", "b", "c"}, good.lines)
		require.Equal(t, []string{"a", "b", "c"}, bad.lines)
		require.NoError(t, m.Append(context.Background(), record("a")), "a new record with the same bytes is kept")
		require.Equal(t, []string{"a", "b", "c", "a"}, good.lines)
	})
	t.Run("a sink that panics is a sink that fails", func(t *testing.T) {
		good := &sink{}
		m := scsguard.MultiSink(scsguard.SinkFunc(func(context.Context, [][]byte) error { panic("boom") }), good)
		require.ErrorContains(t, m.Append(context.Background(), record("a")), "boom")
		require.Equal(t, []string{"a"}, good.lines)
	})
}

// shortWriter fails after some bytes, once.
type shortWriter struct {
	bytes.Buffer
	after int
}

func (w *shortWriter) Write(p []byte) (int, error) {
	if w.after > 0 && len(p) > w.after {
		n, _ := w.Buffer.Write(p[:w.after])
		w.after = 0
		return n, io.ErrShortWrite
	}
	return w.Buffer.Write(p)
}

type syncWriter struct {
	bytes.Buffer
	syncs int
	err   error
}

func (w *syncWriter) Sync() error { w.syncs++; return w.err }

func TestWriterSink(t *testing.T) {
	w := &shortWriter{after: 3}
	s := scsguard.NewWriterSink(w)
	require.ErrorIs(t, s.Append(context.Background(), [][]byte{[]byte(`{"a":1}`)}), io.ErrShortWrite)
	require.NoError(t, s.Append(context.Background(), [][]byte{[]byte(`{"a":1}`), []byte(`{"b":2}`)}))
	require.Equal(t, "{\"a\n{\"a\":1}\n{\"b\":2}\n", w.String(), "a torn line damages no other")

	f := &syncWriter{}
	s = scsguard.NewWriterSink(f)
	require.NoError(t, s.Append(context.Background(), [][]byte{[]byte("x"), []byte("y")}))
	require.Equal(t, 1, f.syncs, "durable before it returns")
	f.err = errDown
	require.ErrorIs(t, s.Append(context.Background(), [][]byte{[]byte("z")}), errDown)

	r, pipe, err := os.Pipe() // what stdout is in a container
	require.NoError(t, err)
	defer func() { _, _ = r.Close(), pipe.Close() }()
	require.NoError(t, scsguard.NewWriterSink(pipe).Append(context.Background(), [][]byte{[]byte("{}")}))
}

func TestMirror(t *testing.T) {
	var b bytes.Buffer
	m := scsguard.Mirror(zerolog.New(&b))
	require.NoError(t, m.Append(context.Background(), [][]byte{[]byte(`{"id":"1"}`)}))
	require.JSONEq(t, `{"level":"info","audit":{"id":"1"},"message":"session event"}`, b.String())
}

func TestOnEventIsCalledOutsideOfAnyLock(t *testing.T) {
	var a *app
	var kinds []string
	var mu sync.Mutex
	bubble(t, func(t *testing.T, app *app) {
		a = app
		b := a.browser()
		b.login(t, "alice")
		for _, path := range []string{"/renew", "/elevate?role=admin", "/extend", "/destroy"} {
			require.Equal(t, 200, b.get(path).Code)
		}
		b.login(t, "alice")
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []string{"login", "renew", "privilege_change", "extend", "logout", "login", "timeout"}, kinds)
		require.False(t, a.guard.Health().OK, "its panics are reported, and no more")
		require.Equal(t, scsguard.ComponentHook, a.guard.Health().Problems[0].Component)
	}, func(cfg *scsguard.Config) {
		cfg.OnEvent = func(ctx context.Context, e scsguard.Event) {
			mu.Lock()
			kinds = append(kinds, string(e.Kind))
			mu.Unlock()
			_, _ = a.guard.SessionsOf(ctx, e.User)
			if _, ok := a.guard.Current(ctx); ok { // reads the session: a lock held here would be for ever
				_ = a.sm.GetString(ctx, "user")
			}
			panic("boom")
		}
	})
}

func TestRecordKeepsTheGuardsKindsForTheGuard(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		for _, kind := range append(scsguard.EventKinds(), "", "audit.anything") {
			require.Error(t, a.guard.Record(context.Background(), scsguard.Event{Kind: kind}), kind)
		}
		require.NoError(t, a.guard.Record(context.Background(), scsguard.Event{Kind: "import", User: "job", Outcome: scsguard.OutcomeFailure, Reason: "format"}))
		e := a.sink.events(t, "import")[0]
		require.Equal(t, "job", e.str("user"), "outside of a session the application may name the user")
		require.Equal(t, "failure", e.str("outcome"))
	})
}

// The hook keeps what it likes of an event, and so does the count of equal ones.
func TestWhatAVisitorSendsOfHimselfIsBoundedInEvents(t *testing.T) {
	var told []scsguard.Event
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		r := b.request(http.MethodGet, "/login?user=alice")
		r.Header.Set("User-Agent", strings.Repeat("a", 100_000))
		r.Header.Set("X-Request-Id", strings.Repeat("r", 100_000))
		require.Equal(t, 200, b.do(r).Code)
		require.Len(t, told, 1)
		require.LessOrEqual(t, len(told[0].UserAgent), 520)
		require.LessOrEqual(t, len(told[0].RequestID), 260)
	}, func(cfg *scsguard.Config) {
		cfg.OnEvent = func(_ context.Context, e scsguard.Event) { told = append(told, e) }
	})
}
