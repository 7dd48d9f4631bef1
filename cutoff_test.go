package scsguard_test

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// stream mounts a handler that goes on until it is cut off, and then sends what
// it knows about that.
func (a *app) stream(path string) (entered chan struct{}, cut chan error) {
	entered, cut = make(chan struct{}), make(chan error, 1)
	a.mux.Handle(path, a.guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		close(entered)
		<-r.Context().Done()
		cut <- context.Cause(r.Context())
		if _, ok := a.guard.Current(r.Context()); ok {
			_, _ = io.WriteString(w, "still logged in")
		}
		_, _ = io.WriteString(w, string(a.guard.Ended(r.Context())))
	})))
	return entered, cut
}

func TestCutOffStopsARequestAtOnceWhenSomebodyEndsItsSession(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		entered, cut := a.stream("/stream")
		b := a.browser()
		b.login(t, "alice")
		stream := b.copy().inFlight("/stream", entered)
		require.Equal(t, 200, b.get("/elevate?role=admin").Code, "a new token does not cut it off")
		time.Sleep(time.Minute)
		require.Empty(t, cut)
		start := time.Now()
		_, err := a.guard.EndAll(context.Background(), "alice", scsguard.By("root"))
		require.NoError(t, err)
		res := <-stream
		require.Zero(t, time.Since(start))
		var ended *scsguard.EndedError
		require.ErrorAs(t, <-cut, &ended)
		require.Equal(t, scsguard.EndAdmin, ended.Reason)
		require.Equal(t, "ended_by_admin", res.Body)
		require.Empty(t, res.Header.Values("Set-Cookie"))
	})
}

func TestCutOffStopsARequestAtTheLimitToTheNanosecondAlthoughNobodySweeps(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		entered, cut := a.stream("/stream")
		b := a.browser()
		start := time.Now()
		b.login(t, "alice")
		stream := b.copy().inFlight("/stream", entered)
		time.Sleep(10 * time.Minute)
		require.Equal(t, "alice", b.whoami(), "activity elsewhere prolongs it")
		res := <-stream
		require.Equal(t, start.Add(10*time.Minute+idle), time.Now())
		require.Equal(t, "idle", res.Body)
		require.Error(t, <-cut)
		synctest.Wait()
		require.Equal(t, stamp(time.Now()), a.sink.events(t, scsguard.EventTimeout)[0].str("due"))
	}, func(cfg *scsguard.Config) { cfg.SweepEvery = -1 })
}

// CutOff may be around everything, so a logout has to be able to finish.
func TestCutOffLeavesARequestAloneThatEndsItsSessionItself(t *testing.T) {
	for name, end := range map[string]func(*app, context.Context) error{
		"Logout":                  func(a *app, ctx context.Context) error { return a.guard.Logout(ctx) },
		"EndAll":                  func(a *app, ctx context.Context) error { return second(a.guard.EndAll(ctx, "alice")) },
		"EndAll beyond one's own": func(a *app, ctx context.Context) error { return second(a.guard.EndEveryone(ctx)) },
		"End": func(a *app, ctx context.Context) error {
			s, _ := a.guard.Current(ctx)
			return a.guard.End(ctx, s.ID)
		},
		"Login":   func(a *app, ctx context.Context) error { return second(a.guard.Login(ctx, "alice")) },
		"another": func(a *app, ctx context.Context) error { return second(a.guard.Login(ctx, "bob")) },
		"Destroy": func(a *app, ctx context.Context) error {
			err := a.sm.Destroy(ctx)
			return errors.Join(err, second(a.guard.Login(ctx, "carol")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.mux.Handle("/leave", a.guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					require.NoError(t, end(a, r.Context()))
					synctest.Wait()
					time.Sleep(time.Hour)
					require.NoError(t, r.Context().Err())
				})))
				b := a.browser()
				b.login(t, "alice")
				require.Equal(t, 200, b.get("/leave").Code)
			})
		})
	}
}

func TestCutOffHearsOfEndingsByAnotherGuardOnTheSameRegistry(t *testing.T) {
	registry, here, there := scsguard.NewMemoryRegistry(), newManager(), newManager()
	there.Store = here.Store
	synctest.Test(t, func(t *testing.T) {
		share := func(cfg *scsguard.Config) { cfg.Registry, cfg.Keys = registry, [][]byte{make([]byte, 32)} }
		a, other := newApp(t, here, share), newApp(t, there, share)
		entered, _ := a.stream("/stream")
		b := a.browser()
		b.login(t, "alice")
		stream := b.inFlight("/stream", entered)
		synctest.Wait()
		start := time.Now()
		_, err := other.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		require.Equal(t, "ended_by_admin", (<-stream).Body)
		require.Zero(t, time.Since(start))
	})
}

// mute hides that a registry can tell of endings.
type mute struct{ scsguard.Registry }

func (m mute) Namespace(name string) scsguard.Registry { return mute{m.Registry.Namespace(name)} }

func TestCutOffAsksARegistryThatCannotTell(t *testing.T) {
	registry, here, there := mute{scsguard.NewMemoryRegistry()}, newManager(), newManager()
	there.Store = here.Store
	synctest.Test(t, func(t *testing.T) {
		share := func(cfg *scsguard.Config) { cfg.Registry, cfg.Keys = registry, [][]byte{make([]byte, 32)} }
		a, other := newApp(t, here, share), newApp(t, there, share)
		entered, _ := a.stream("/stream")
		b := a.browser()
		b.login(t, "alice")
		stream := b.inFlight("/stream", entered)
		time.Sleep(time.Second)
		_, err := other.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		start := time.Now()
		require.Equal(t, "ended_by_admin", (<-stream).Body)
		require.Equal(t, 4*time.Second, time.Since(start))
	})
}

func TestCutOffGoesOnWithTheRegistryDownUntilTheLastLimitItKnew(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		entered, cut := a.stream("/stream")
		b := a.browser()
		start := time.Now()
		b.login(t, "alice")
		stream := b.inFlight("/stream", entered)
		time.Sleep(time.Minute)
		s.fail("get", "end")
		select {
		case <-stream:
		case <-time.After(time.Hour):
			s.fail() // so that it can end
			t.Error("it goes on without an end")
			<-stream
		}
		require.Equal(t, start.Add(idle), time.Now())
		require.ErrorIs(t, <-cut, scsguard.ErrUnavailable)
		s.fail()
	}, change)
}

// taken is a ResponseWriter whose connection can be taken over once.
type taken struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (t taken) Hijack() (net.Conn, *bufio.ReadWriter, error) { return t.conn, nil, nil }

func TestCutOffClosesAConnectionThatTheHandlerTookOver(t *testing.T) {
	for name, handlerStays := range map[string]bool{"while the handler runs": true, "after it has returned": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				server, client := net.Pipe()
				hijacked := make(chan struct{})
				a.mux.Handle("/ws", a.guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn, _, err := http.NewResponseController(w).Hijack()
					require.NoError(t, err)
					close(hijacked)
					if handlerStays {
						_, err = conn.Read(make([]byte, 1)) // it does not look at the context
						require.Error(t, err)
						a.sm.Put(r.Context(), "late", "x")
					}
				})))
				b := a.browser()
				b.login(t, "alice")
				done := make(chan struct{})
				go func() {
					defer close(done)
					a.serve.ServeHTTP(taken{httptest.NewRecorder(), server}, b.request(http.MethodGet, "/ws"))
				}()
				<-hijacked
				synctest.Wait()
				start := time.Now()
				require.NoError(t, client.SetDeadline(start.Add(time.Hour)))
				require.Equal(t, 200, b.get("/logout").Code)
				_, err := client.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
				require.Equal(t, time.Second, time.Since(start), "there is time to say goodbye")
				<-done
				synctest.Wait()
				require.Empty(t, storeKeys(t, a.sm), "and a handler that returns late writes nothing")
			})
		})
	}
}

func TestCutOffClosesAConnectionThatIsTakenOverAfterTheSessionHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		server, client := net.Pipe()
		entered := make(chan struct{})
		a.mux.Handle("/ws", a.guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			time.Sleep(time.Minute) // it does not look at the context
			_, _, err := http.NewResponseController(w).Hijack()
			require.NoError(t, err)
		})))
		b := a.browser()
		b.login(t, "alice")
		start := time.Now()
		go a.serve.ServeHTTP(taken{httptest.NewRecorder(), server}, b.request(http.MethodGet, "/ws"))
		<-entered
		require.Equal(t, 200, b.get("/logout").Code)
		require.NoError(t, client.SetDeadline(start.Add(time.Hour)))
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, time.Minute+time.Second, time.Since(start))
	})
}

// pipeEnd can be told from the pipe, which the other end leads to.
type pipeEnd struct{ net.Conn }

func TestAConnectionThatWasCutOffIsForgottenAlthoughTheHandlerHasNotClosedIt(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		server, client := net.Pipe()
		a.mux.Handle("/ws", a.guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _, err := http.NewResponseController(w).Hijack()
			require.NoError(t, err)
		})))
		b := a.browser()
		b.login(t, "alice")
		kept := func() weak.Pointer[pipeEnd] {
			conn := &pipeEnd{server}
			a.serve.ServeHTTP(taken{httptest.NewRecorder(), conn}, b.request(http.MethodGet, "/ws"))
			return weak.Make(conn)
		}()
		require.Equal(t, 200, b.get("/logout").Code)
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		synctest.Wait()
		runtime.GC()
		require.Nil(t, kept.Value())
	})
}

func TestAConnectionThatIsClosedLeavesNothingToCut(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		server, client := net.Pipe()
		a.mux.Handle("/ws", a.guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			require.NoError(t, err)
			go func() {
				_, _ = conn.Read(make([]byte, 1))
				_ = conn.Close()
			}()
		})))
		b := a.browser()
		b.login(t, "alice")
		a.serve.ServeHTTP(taken{httptest.NewRecorder(), server}, b.request(http.MethodGet, "/ws"))
		_ = client.Close()
		// The bubble ends only when the goroutine that watched over it has.
	})
}

// slowDB answers no query before its context is done.
type slowDB struct{}

func (slowDB) Open(string) (driver.Conn, error)             { return slowDB{}, nil }
func (slowDB) Prepare(string) (driver.Stmt, error)          { return nil, errors.ErrUnsupported }
func (slowDB) Close() error                                 { return nil }
func (slowDB) Begin() (driver.Tx, error)                    { return nil, errors.ErrUnsupported }
func (slowDB) Connect(context.Context) (driver.Conn, error) { return slowDB{}, nil }
func (d slowDB) Driver() driver.Driver                      { return d }
func (slowDB) QueryContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Rows, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestCutOffCancelsAQueryOfTheRequest(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		db := sql.OpenDB(slowDB{})
		defer db.Close()
		entered, queried := make(chan struct{}), make(chan error, 1)
		a.mux.Handle("/report", a.guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			rows, err := db.QueryContext(r.Context(), "SELECT everything")
			if err == nil {
				_ = rows.Close()
			}
			queried <- err
		})))
		b := a.browser()
		b.login(t, "alice")
		report := b.copy().inFlight("/report", entered)
		synctest.Wait()
		require.Equal(t, 200, b.get("/logout").Code)
		<-report
		require.ErrorIs(t, <-queried, context.Canceled)
	})
}

func TestCutOffServesAnonymousVisitorsAndRefusesOutsideOfProtect(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		h := a.guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") }))
		a.mux.Handle("/public", h)
		require.Equal(t, "hello", a.browser().get("/public").Body)
		require.Equal(t, http.StatusInternalServerError, newBrowser(h).get("/").Code)
	})
}

func TestAWatcherInMemoryThatFallsBehindIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := scsguard.NewMemoryRegistry()
		ctx, cancel := context.WithCancel(context.Background())
		endings, err := registry.Watch(ctx)
		require.NoError(t, err)
		const sessions = 2000
		populate(t, registry, sessions)
		_, err = registry.EndAll(context.Background(), scsguard.Revocation{Everyone: true})
		require.NoError(t, err)
		n := 0
		for range endings {
			n++
		}
		require.Less(t, n, sessions, "closed, because some were missed")

		endings, err = registry.Watch(ctx)
		require.NoError(t, err)
		cancel()
		_, open := <-endings
		require.False(t, open)
	})
}

// In a bubble, whoever does not pause stops the time for all, and the test hangs.
func TestCutOffPausesWhileTheFateOfItsSessionIsOpen(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		entered, cut := a.stream("/stream")
		a.handle("/renew-slowly", func(_ http.ResponseWriter, r *http.Request) error {
			err := a.sm.RenewToken(r.Context())
			time.Sleep(2 * idle)
			return err
		})
		b := a.browser()
		b.login(t, "alice")
		stream := b.copy().inFlight("/stream", entered)
		b.get("/renew-slowly")
		_, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		<-stream
		require.Error(t, <-cut)
	})
}

// lagging is a registry whose clock is behind.
type lagging struct {
	scsguard.Registry
	until time.Time
}

func (l *lagging) Namespace(string) scsguard.Registry { return l }

func (l *lagging) End(ctx context.Context, t scsguard.Target, e scsguard.Ending) (scsguard.Record, bool, error) {
	if t.IfDue && time.Now().Before(l.until) {
		rec, err := l.Get(ctx, t.Key)
		return rec, false, err
	}
	return l.Registry.End(ctx, t, e)
}

func TestCutOffWaitsForARegistryWhoseClockIsBehind(t *testing.T) {
	registry := &lagging{Registry: scsguard.NewMemoryRegistry()}
	bubble(t, func(t *testing.T, a *app) {
		entered, _ := a.stream("/stream")
		b := a.browser()
		start := time.Now()
		registry.until = start.Add(idle + 500*time.Millisecond)
		b.login(t, "alice")
		require.Equal(t, "idle", (<-b.inFlight("/stream", entered)).Body)
		require.Equal(t, registry.until, time.Now())
	}, func(cfg *scsguard.Config) { cfg.Registry, cfg.Keys = registry, [][]byte{make([]byte, 32)} })
}

// fickle is a Watcher whose channels are closed at once.
type fickle struct {
	scsguard.Registry
	asked int
}

func (f *fickle) Namespace(string) scsguard.Registry { return f }

func (f *fickle) Watch(context.Context) (<-chan scsguard.Record, error) {
	f.asked++
	ch := make(chan scsguard.Record)
	close(ch)
	return ch, nil
}

func TestCutOffAsksAWatcherThatGivesUpAtMostOnceASecond(t *testing.T) {
	registry := &fickle{Registry: scsguard.NewMemoryRegistry()}
	bubble(t, func(t *testing.T, a *app) {
		entered, _ := a.stream("/stream")
		b := a.browser()
		b.login(t, "alice")
		stream := b.inFlight("/stream", entered)
		time.Sleep(time.Minute)
		_, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		<-stream
		require.NoError(t, a.guard.Close(context.Background()))
		synctest.Wait()
		require.LessOrEqual(t, registry.asked, 61)
	}, func(cfg *scsguard.Config) { cfg.Registry, cfg.Keys = registry, [][]byte{make([]byte, 32)} })
}
