package scsguard_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// An event stream and a websocket outlive a logout in plain scs, and what their
// handlers have when they return at last is written over what was deleted.
func TestAStreamAndAWebsocketEndWithTheirSessionAndWriteNothingAfterIt(t *testing.T) {
	ways := map[string]func(*testing.T, *app, *browser){
		"logout":   func(t *testing.T, _ *app, b *browser) { require.Equal(t, 200, b.get("/logout").Code) },
		"an admin": func(t *testing.T, a *app, _ *browser) { endAll(t, a) },
		"the idle timeout, although both are open: they are no activity": func(*testing.T, *app, *browser) { time.Sleep(15 * time.Minute) },
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				server, client := net.Pipe()
				open, release, causes := make(chan struct{}, 2), make(chan struct{}), make(chan error, 2)
				wait := func(r *http.Request) {
					open <- struct{}{}
					<-r.Context().Done()
					causes <- context.Cause(r.Context())
					<-release // it takes its time
					a.sm.Put(r.Context(), "stale", "x")
				}
				a.mux.Handle("/stream", a.guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					require.NoError(t, http.NewResponseController(w).Flush())
					wait(r)
				})))
				a.mux.Handle("/ws", a.guard.CutOff(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _, err := http.NewResponseController(w).Hijack()
					require.NoError(t, err)
					wait(r)
				})))
				b := a.browser()
				b.login(t, "alice")
				thief := b.copy()
				done := make(chan struct{}, 2)
				for _, path := range []string{"/stream", "/ws"} {
					go func() {
						a.serve.ServeHTTP(taken{httptest.NewRecorder(), server}, b.request(http.MethodGet, path))
						done <- struct{}{}
					}()
				}
				<-open
				<-open
				synctest.Wait()

				end(t, a, b)
				at := time.Now()
				for range 2 {
					var over *scsguard.EndedError
					require.ErrorAs(t, <-causes, &over)
				}
				require.Zero(t, time.Since(at), "at once")
				require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Minute)))
				_, err := client.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF, "the websocket is closed")
				close(release)
				<-done
				<-done
				require.Empty(t, storeKeys(t, a.sm), "handlers that return late write nothing")
				require.NotContains(t, thief.whoami(), "alice")
				_, err = a.guard.Sweep(context.Background())
				require.NoError(t, err)
				require.Len(t, a.sink.endings(t), 1)
			})
		})
	}
}

func endAll(t *testing.T, a *app) {
	t.Helper()
	n, err := a.guard.EndAll(context.Background(), "alice", scsguard.By("root"))
	require.NoError(t, err)
	require.Equal(t, 1, n)
}
