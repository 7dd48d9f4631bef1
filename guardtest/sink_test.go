package guardtest_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

func TestTheSinkFindsWhatHappened(t *testing.T) {
	b := newBank(t)
	alice, second := b.Browser(t), b.Browser(t)
	second.Addr, second.UserAgent = "203.0.113.9:1", "another"
	loginAlice(alice)
	loginAlice(second)
	id := guardtest.SessionOf(t, b.Registry, second.Token()).Session
	token := second.Token()
	second.PostForm("/logout", nil)
	guardtest.Flush(t, b.Guard)

	require.Len(t, b.Trail.Events(scsguard.EventLogin), 2)
	require.Len(t, b.Trail.Events(), 4)
	require.Len(t, b.Trail.OfUser("alice"), 4)
	require.Empty(t, b.Trail.OfUser("bob"))
	require.Len(t, b.Trail.OfSession(id), 3)
	require.Equal(t, scsguard.EventConcurrentWarning, b.Trail.OfSession(id)[1].Kind)
	login := b.Trail.OfSession(id, scsguard.EventLogin)[0]
	require.Equal(t, "203.0.113.9", login.IP.String())
	require.Equal(t, "another", login.UserAgent)
	require.Equal(t, b.Guard.TokenHash(token), login.TokenHash)
}

func TestTheSinkDecodesEveryField(t *testing.T) {
	s := &guardtest.Sink{}
	all := `{"id":"1","time":"2026-01-02T03:04:05.000006Z","event":"e","outcome":"success","reason":"r","user":"u","actor":"a","session":"s",` +
		`"session_seq":7,"token_hash":"t","ip":"192.0.2.1","ip_source":"config","user_agent":"ua","fingerprint":"f","request_id":"q","route":"GET /",` +
		`"transaction":"x","auth_methods":["pwd"],"aal":2,"auth_time":"2026-01-02T03:04:05.000006Z","created":"2026-01-02T03:04:05.000006Z",` +
		`"idle_expires":"2026-01-02T03:04:05.000006Z","absolute_expires":"2026-01-02T03:04:05.000006Z","idle_expires_old":"2026-01-02T03:04:05.000006Z",` +
		`"absolute_expires_old":"2026-01-02T03:04:05.000006Z","due":"2026-01-02T03:04:05.000006Z","concurrent":3,"others":["o"],"max":4,"details":{"k":"v"}}`
	require.NoError(t, s.Append(t.Context(), [][]byte{[]byte(all)}))
	e := s.Events()[0]
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		require.False(t, v.Field(i).IsZero(), v.Type().Field(i).Name)
	}
	for _, bad := range []string{`{}`, `nothing`, `{"id":"1","time":"2026-01-02T03:04:05.000006Z","event":"e","new":1}`, all + all} {
		require.Error(t, s.Append(t.Context(), [][]byte{[]byte(bad)}), bad)
	}
	require.Len(t, s.Events(), 1)
}

func TestTheSinkFailsAndHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t)
		alice := b.Browser(t)
		b.Trail.Fail(nil)
		require.Equal(t, http.StatusServiceUnavailable, loginAlice(alice).Status)
		full := errors.New("no space left")
		b.Trail.Fail(full)
		require.ErrorIs(t, b.Trail.Append(t.Context(), nil), full)

		b.Trail.Hang()
		start := time.Now()
		require.Equal(t, http.StatusServiceUnavailable, loginAlice(alice).Status)
		require.Greater(t, time.Since(start), time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, b.Trail.Append(ctx, nil), context.DeadlineExceeded)

		hangs := make(chan error)
		go func() { hangs <- b.Trail.Append(context.Background(), nil) }()
		synctest.Wait()
		b.Trail.Recover()
		require.NoError(t, <-hangs)
		require.Equal(t, http.StatusSeeOther, loginAlice(alice).Status)
		b.Trail.Fail(nil) // the clean-up recovers it
	})
}

func TestAnEndingThatIsNotThereFails(t *testing.T) {
	b := newBank(t)
	alice := b.Browser(t)
	loginAlice(alice)
	id := guardtest.SessionOf(t, b.Registry, alice.Token()).Session
	ending := func(id string) []string {
		return reports(func(tb testing.TB) { b.Trail.Ending(tb, id) })
	}
	wantReport(t, ending(id), "has no ending", "only login", "guardtest.Flush")
	wantReport(t, ending("x"), "only nothing")
	wantReport(t, ending(""), "without the ID")

	alice.PostForm("/logout", nil)
	guardtest.Flush(t, b.Guard)
	again := `{"id":"` + id + `/end","time":"2026-01-02T03:04:05.000006Z","event":"timeout","session":"` + id + `"}`
	other := `{"id":"other","time":"2026-01-02T03:04:05.000006Z","event":"timeout","reason":"idle","session":"` + id + `"}`
	require.NoError(t, b.Trail.Append(t.Context(), [][]byte{[]byte(again)}))
	require.Equal(t, scsguard.EventLogout, b.Trail.Ending(t, id).Kind)
	require.NoError(t, b.Trail.Append(t.Context(), [][]byte{[]byte(other)}))
	wantReport(t, ending(id), "2 endings", "logout (user), timeout (idle)")
}

// Readers need no lock, so the race detector has something to find.
func TestTheSinkIsSafeForConcurrentUse(t *testing.T) {
	s := &guardtest.Sink{}
	record := []byte(`{"id":"1","time":"2026-01-02T03:04:05.000006Z","event":"e","user":"u"}`)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if err := s.Append(context.Background(), [][]byte{record, record}); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 100 {
				if len(s.Find(func(e scsguard.Event) bool { return e.User != "u" })) > 0 {
					t.Error("what is found is not what was kept")
				}
			}
		})
	}
	all.Wait()
	require.Len(t, s.Events(), 8*100*2)
}

func TestATrailThatCannotBeCompletedFailsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the guard tries for ten seconds
		full := scsguard.SinkFunc(func(context.Context, [][]byte) error { return errors.New("no space left") })
		fail := func(tb testing.TB) *guardtest.App {
			app := guardtest.New(tb, func(c *scsguard.Config) { c.Audit = full })
			require.Nil(t, app.Trail)
			ctx, err := app.Sessions.Load(context.Background(), "")
			require.NoError(t, err)
			app.Guard.LoginFailed(ctx, "alice", "password")
			return app
		}
		wantReport(t, reports(func(tb testing.TB) { fail(tb) }), "could not write everything", "let the sink work")
		wantReport(t, reports(func(tb testing.TB) { guardtest.Flush(tb, fail(tb).Guard) }), "could not be brought up to date")
		wantReport(t, reports(func(tb testing.TB) { guardtest.Flush(tb, nil) }), "no guard to flush")
	})
}

func TestAConfigurationThatIsRefusedFailsTheTest(t *testing.T) {
	wantReport(t, reports(func(tb testing.TB) {
		guardtest.New(tb, func(c *scsguard.Config) { c.Timeouts.Idle = -1 })
	}), "no guard could be made", "Timeouts.Idle")
	require.NotNil(t, guardtest.New(t, func(c *scsguard.Config) { c.Registry = nil }).Registry)
}
