package scsguard_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// While a session is enrolled, others may end it.

// enrolling runs a test on a session from before the guard that is first seen by a
// request, and by a Load without one. see makes it seen.
func enrolling(t *testing.T, f func(t *testing.T, a *app, s *steps, b *browser, see func()), change ...func(*scsguard.Config)) {
	t.Helper()
	for name, bare := range map[string]bool{"request": false, "bare": true} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			steps, withSteps := stepped(sm)
			arrivingOn(t, sm, func(t *testing.T, a *app, plain http.Handler) {
				b := before(t, a, plain, "alice")
				time.Sleep(time.Minute)
				f(t, a, steps, b, func() {
					if !bare {
						b.copy().get("/plain/whoami")
						return
					}
					_, err := a.sm.Load(context.Background(), b.token())
					require.NoError(t, err)
				})
			}, append(change, withSteps)...)
		})
	}
}

func TestASessionThatIsEndedWhileItIsEnrolledLeavesNoDataBehind(t *testing.T) {
	enrolling(t, func(t *testing.T, a *app, s *steps, b *browser, see func()) {
		s.before("commit", func() {
			_, err := a.guard.EndAll(context.Background(), "alice")
			require.NoError(t, err)
		})
		see()
		require.Equal(t, 401, b.get("/plain/whoami").Code)
		synctest.Wait()
		require.Len(t, a.sink.endings(t), 1)
		require.Empty(t, storeKeys(t, a.sm), "an instance without the guard would serve it")
	})
}

func TestASessionThatIsDestroyedWhileItIsEnrolledStaysDestroyed(t *testing.T) {
	for _, step := range []string{"admit", "settle"} {
		enrolling(t, func(t *testing.T, a *app, s *steps, b *browser, see func()) {
			store := a.sm.Store.(interface{ Unwrap() scs.Store }).Unwrap()
			s.before(step, func() { // a logout on an instance without the guard
				require.NoError(t, store.Delete(b.token()))
			})
			see()
			require.Equal(t, 401, b.get("/plain/whoami").Code, step)
			synctest.Wait()
			require.Len(t, a.sink.endings(t), len(a.sink.events(t, scsguard.EventEnroll)), step)
			require.Empty(t, storeKeys(t, a.sm), step)
			list, err := a.guard.SessionsOf(context.Background(), "alice")
			require.NoError(t, err)
			require.Empty(t, list, step)
		})
	}
}

func TestTheCapOfTheUsersPolicyHoldsForWhatIsEnrolled(t *testing.T) {
	enrolling(t, func(t *testing.T, a *app, _ *steps, b *browser, see func()) {
		other := a.browser()
		other.login(t, "alice")
		see()
		require.Equal(t, "401 signed_in_elsewhere", b.whoami())
		require.Equal(t, "alice", other.whoami())
	}, func(cfg *scsguard.Config) {
		userID := cfg.UserID
		cfg.Policy = func(ctx context.Context, s scsguard.Subject) scsguard.Policy {
			if userID != nil {
				userID(ctx) // the session can be read
			}
			return scsguard.Policy{Limit: &scsguard.Limit{Max: 1, OnExceed: scsguard.Deny}}
		}
	})
}
