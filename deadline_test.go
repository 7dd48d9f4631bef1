package scsguard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// requireDeadline checks the absolute deadline of a user's only session: in its
// record and in its data, by which an instance without the guard would judge it.
func requireDeadline(t testing.TB, a *app, user string, want time.Time) {
	t.Helper()
	list := a.live(user)
	require.Len(t, list, 1)
	require.True(t, want.Equal(list[0].AbsoluteExpires), "%s, not %s", list[0].AbsoluteExpires, want)
	all := storeKeys(t, a.sm)
	require.Len(t, all, 1)
	for _, data := range all {
		deadline, _, err := a.sm.Codec.Decode(data)
		require.NoError(t, err)
		require.False(t, deadline.After(want), "the data would live until %s", deadline)
	}
}

func TestSetDeadlineBesideAChangeOfTokenOnlyTightens(t *testing.T) {
	type do func(a *app, r *http.Request) error
	set := func(after time.Duration) do {
		return func(a *app, r *http.Request) error {
			a.sm.SetDeadline(r.Context(), time.Now().Add(after))
			return nil
		}
	}
	merge := func(a *app, r *http.Request) error { return a.sm.MergeSession(r.Context(), r.FormValue("token")) }
	renew := func(a *app, r *http.Request) error { return a.sm.RenewToken(r.Context()) }
	elevate := func(a *app, r *http.Request) error { return second(a.guard.Elevate(r.Context(), "admin")) }
	login := func(a *app, r *http.Request) error { return second(a.guard.Login(r.Context(), "alice")) }
	const late, early = 1000 * time.Hour, time.Hour
	for name, c := range map[string]struct {
		steps []do
		want  time.Duration // after the change of token
	}{
		"late, merge":             {[]do{set(late), merge}, absolute - idle/2},
		"merge, late":             {[]do{merge, set(late)}, absolute - idle/2},
		"merge, early":            {[]do{merge, set(early)}, early},
		"late, RenewToken":        {[]do{set(late), renew}, absolute - idle/2},
		"RenewToken, late":        {[]do{renew, set(late)}, absolute - idle/2},
		"RenewToken, early":       {[]do{renew, set(early)}, early},
		"late, Elevate":           {[]do{set(late), elevate}, absolute - idle/2},
		"Elevate, late":           {[]do{elevate, set(late)}, absolute - idle/2},
		"early, Elevate":          {[]do{set(early), elevate}, early},
		"Elevate, early":          {[]do{elevate, set(early)}, early},
		"early, Elevate, late":    {[]do{set(early), elevate, set(late)}, early},
		"RenewToken, late, Login": {[]do{renew, set(late), login}, absolute},
		"Login, late":             {[]do{login, set(late)}, absolute},
		"Login, early":            {[]do{login, set(early)}, early},
	} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			s, change := stepped(sm)
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				a.handle("/steps", func(_ http.ResponseWriter, r *http.Request) error {
					for _, do := range c.steps {
						if err := do(a, r); err != nil {
							return err
						}
					}
					return nil
				})
				b, other := a.browser(), a.browser()
				b.login(t, "alice")
				time.Sleep(idle / 2)
				at, token := time.Now(), b.token()
				if name == "late, merge" || name == "merge, late" || name == "merge, early" {
					b = other // a new session, into which the login is merged
				}
				require.Equal(t, 200, b.get("/steps?token="+token).Code)
				requireDeadline(t, a, "alice", at.Add(c.want))
				require.False(t, s.keptUntil().After(at.Add(absolute)), "nor does the store keep anything longer")
				for time.Until(at.Add(c.want)) > idle/2 {
					time.Sleep(idle / 2)
					b.whoami()
				}
				time.Sleep(time.Until(at.Add(c.want)) - time.Nanosecond)
				require.NotEqual(t, "401 absolute", b.whoami())
				time.Sleep(time.Nanosecond)
				require.Equal(t, "401 absolute", b.whoami())
			}, change)
		})
	}
}

func TestADeadlineInThePastEndsTheSessionInsteadOfAChangeOfToken(t *testing.T) {
	for name, verb := range map[string]func(a *app, ctx context.Context) error{
		"Elevate": func(a *app, ctx context.Context) error {
			err := second(a.guard.Elevate(ctx, "admin"))
			var over *scsguard.EndedError
			require.ErrorAs(t, err, &over)
			return nil
		},
		"RenewToken": func(a *app, ctx context.Context) error {
			err := a.sm.RenewToken(ctx)
			a.sm.SetDeadline(ctx, time.Now().Add(-time.Second))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.on("/past", func(ctx context.Context) error {
					a.sm.SetDeadline(ctx, time.Now().Add(-time.Second))
					return verb(a, ctx)
				})
				b := a.browser()
				session := b.login(t, "alice")
				thief := b.copy()
				require.Equal(t, 200, b.get("/past").Code)
				requireAnonymous(t, thief, "the old token")
				requireAnonymous(t, b, "and what the browser has now")
				require.Empty(t, storeKeys(t, a.sm))
				synctest.Wait()
				end := a.sink.endings(t)[session+"/end"]
				require.Equal(t, "destroyed", end.str("reason"))
				require.Equal(t, map[string]any{"detail": "deadline"}, end["details"])
			})
		})
	}
}

func TestAMergeOfTwoSessionsKeepsTheDeadlineOfTheOneThatStays(t *testing.T) {
	for name, youngerStays := range map[string]bool{"the older stays": false, "the younger stays": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.merging()
				older, younger := a.browser(), a.browser()
				start := time.Now()
				older.login(t, "alice")
				time.Sleep(10 * time.Minute)
				younger.login(t, "alice")
				stays, goes, want := older, younger, start.Add(absolute)
				if youngerStays {
					stays, goes, want = younger, older, start.Add(absolute+10*time.Minute)
				}
				require.Equal(t, 200, stays.get("/merge?token="+goes.token()).Code)
				requireDeadline(t, a, "alice", want)
				require.Equal(t, "401 replaced", goes.whoami())
			})
		})
	}
}

func TestAFullReauthenticationIsNotUndoneByARequestThatHoldsTheOldDeadline(t *testing.T) {
	for name, late := range map[string]func(a *app, ctx context.Context) error{
		"Put": func(a *app, ctx context.Context) error {
			a.sm.Put(ctx, "late", "x")
			return nil
		},
		"Put, Commit": func(a *app, ctx context.Context) error {
			a.sm.Put(ctx, "late", "x")
			_, _, err := a.sm.Commit(ctx)
			return err
		},
		"Extend": func(a *app, ctx context.Context) error {
			a.sm.Put(ctx, "late", "x")
			return second(a.guard.Extend(ctx))
		},
		"RenewToken": func(a *app, ctx context.Context) error {
			a.sm.Put(ctx, "late", "x")
			return a.sm.RenewToken(ctx)
		},
		"Elevate": func(a *app, ctx context.Context) error {
			a.sm.Put(ctx, "late", "x")
			if _, err := a.guard.Elevate(ctx, "admin"); !errors.Is(err, scsguard.ErrMoved) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				entered, release := make(chan struct{}), make(chan struct{})
				a.on("/slow", func(ctx context.Context) error {
					close(entered)
					<-release
					return late(a, ctx)
				})
				b := a.browser()
				b.login(t, "alice")
				time.Sleep(10 * time.Minute)
				slow := b.copy().inFlight("/slow", entered)
				at := time.Now()
				require.Equal(t, 200, b.get("/reauth?full=1").Code)
				close(release)
				res := <-slow
				require.Equal(t, 200, res.Code, res.Body)
				require.Empty(t, res.Header.Values("Set-Cookie"))
				require.Equal(t, "alice", b.whoami())
				require.Equal(t, "x", b.get("/get?k=late").Body)
				list := a.live("alice")
				require.Len(t, list, 1)
				require.True(t, at.Add(absolute).Equal(list[0].AbsoluteExpires), "%s", list[0].AbsoluteExpires)
			})
		})
	}
}

func TestAValueThatIsPutAfterTheFirstByteDoesNotUndoAFullReauthentication(t *testing.T) {
	for name, verb := range map[string]func(a *app, ctx context.Context) error{
		"after Login":           func(a *app, ctx context.Context) error { return second(a.guard.Login(ctx, "alice")) },
		"after Reauthenticated": func(a *app, ctx context.Context) error { return second(a.guard.Reauthenticated(ctx, scsguard.Full())) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				sent, release := make(chan struct{}), make(chan struct{})
				a.handle("/stream", func(w http.ResponseWriter, r *http.Request) error {
					if err := verb(a, r.Context()); err != nil {
						return err
					}
					_, _ = io.WriteString(w, "first")
					close(sent)
					<-release
					a.sm.Put(r.Context(), "late", "x")
					return nil
				})
				b := a.browser()
				b.login(t, "alice")
				time.Sleep(time.Minute)
				rec, done := httptest.NewRecorder(), make(chan struct{})
				go func() {
					defer close(done)
					b.h.ServeHTTP(rec, b.request(http.MethodGet, "/stream"))
				}()
				<-sent
				b.take(rec) // the header is out, with the cookie
				time.Sleep(10 * time.Minute)
				at := time.Now()
				require.Equal(t, 200, b.get("/reauth?full=1").Code)
				close(release)
				<-done
				requireDeadline(t, a, "alice", at.Add(absolute))
				require.Equal(t, "x", b.get("/get?k=late").Body)
			})
		})
	}
}

func TestARenewalIsNoWishForAnEarlierDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		start := time.Now()
		b.login(t, "alice")
		time.Sleep(time.Minute)
		require.Equal(t, 200, b.get("/renew").Code) // with which the manager's own Lifetime begins anew
		require.Equal(t, "alice", b.whoami())
		requireDeadline(t, a, "alice", start.Add(72*time.Hour))
	}, func(cfg *scsguard.Config) {
		cfg.Policy = func(context.Context, scsguard.Subject) scsguard.Policy {
			return scsguard.Policy{Timeouts: scsguard.Timeouts{Absolute: 72 * time.Hour}}
		}
	})
}

func TestAPolicyThatIsStricterInOneLimitMovesTheOtherNoLater(t *testing.T) {
	var later atomic.Bool
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		start := time.Now()
		b.login(t, "alice")
		time.Sleep(time.Minute)
		later.Store(true)
		require.Equal(t, "alice", b.whoami())
		requireDeadline(t, a, "alice", start.Add(absolute))
		s := a.live("alice")[0]
		require.True(t, s.LastSeen.Add(5*time.Minute).Equal(s.IdleExpires))
	}, func(cfg *scsguard.Config) {
		cfg.Policy = func(context.Context, scsguard.Subject) scsguard.Policy {
			if later.Load() {
				return scsguard.Policy{Timeouts: scsguard.Timeouts{Idle: 5 * time.Minute, Absolute: 20 * time.Hour}}
			}
			return scsguard.Policy{}
		}
	})
}

func TestASecondCommitAfterARenewalIsNoWishForAnEarlierDeadline(t *testing.T) {
	for name, verb := range map[string]func(a *app, w http.ResponseWriter, ctx context.Context) error{
		"Commit": func(a *app, _ http.ResponseWriter, ctx context.Context) error {
			_, _, err := a.sm.Commit(ctx)
			return err
		},
		"Extend": func(a *app, _ http.ResponseWriter, ctx context.Context) error { return second(a.guard.Extend(ctx)) },
		"Elevate": func(a *app, _ http.ResponseWriter, ctx context.Context) error {
			return second(a.guard.Elevate(ctx, "x"))
		},
		"a late Put": func(a *app, w http.ResponseWriter, ctx context.Context) error {
			_, err := io.WriteString(w, "first")
			a.sm.Put(ctx, "late", "x")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.handle("/x", func(w http.ResponseWriter, r *http.Request) error {
					if err := a.sm.RenewToken(r.Context()); err != nil {
						return err
					}
					return verb(a, w, r.Context())
				})
				b := a.browser()
				start := time.Now()
				b.login(t, "alice")
				require.Equal(t, 200, b.get("/x").Code)
				require.True(t, start.Add(72*time.Hour).Equal(a.live("alice")[0].AbsoluteExpires), fmt.Sprint(a.live("alice")[0].AbsoluteExpires))
			}, func(cfg *scsguard.Config) {
				cfg.Policy = func(context.Context, scsguard.Subject) scsguard.Policy {
					return scsguard.Policy{Timeouts: scsguard.Timeouts{Absolute: 72 * time.Hour}}
				}
			})
		})
	}
}
