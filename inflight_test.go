package scsguard_test

import (
	"context"
	"encoding/gob"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Something happens between the last look at the record and the write.
func TestDataThatIsWrittenTheMomentItsKeyDiesIsRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		anonymous bool
		meanwhile func(a *app, b *browser)
		left      int // sessions with data
	}{
		"ended":     {false, func(_ *app, b *browser) { b.get("/logout") }, 0},
		"revoked":   {false, func(a *app, _ *browser) { _, _ = a.guard.EndAll(context.Background(), "alice") }, 0},
		"destroyed": {false, func(_ *app, b *browser) { b.get("/destroy") }, 0},
		"moved":     {false, func(_ *app, b *browser) { b.get("/elevate?role=admin") }, 1},
		"renewed":   {false, func(_ *app, b *browser) { b.get("/renew") }, 1},
		"replaced":  {true, func(_ *app, b *browser) { b.get("/login?user=alice") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			s, change := stepped(sm)
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				b := a.browser()
				if c.anonymous {
					b.get("/put?k=cart&v=book")
				} else {
					b.login(t, "alice")
				}
				late := b.copy()
				old := late.token()
				s.before("commit", func() { c.meanwhile(a, b) })
				res := late.get("/put?k=late&v=x")
				require.Equal(t, 200, res.Code)
				require.Empty(t, res.Header.Values("Set-Cookie"), "the browser has a newer cookie, or none")
				require.NotContains(t, storeKeys(t, sm), old)
				require.Len(t, storeKeys(t, sm), c.left)
			}, change)
		})
	}
}

// inRotation runs a test with the context of a request that is in its handler
// while others of the same session rotate the token.
func inRotation(t *testing.T, rotations int, f func(t *testing.T, a *app, b *browser, session string, ctx context.Context), change ...func(*scsguard.Config)) {
	bubble(t, func(t *testing.T, a *app) {
		entered, release := make(chan struct{}), make(chan struct{})
		var inFlight context.Context
		a.on("/in-flight", func(ctx context.Context) error {
			inFlight = ctx
			close(entered)
			<-release
			return nil
		})
		b := a.browser()
		session := b.login(t, "alice")
		slow := b.copy().inFlight("/in-flight", entered)
		time.Sleep(5 * time.Second)
		for range rotations {
			require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		}
		defer func() {
			close(release)
			res := <-slow
			require.Equal(t, 200, res.Code, res.Body)
			require.Empty(t, res.Header.Values("Set-Cookie"), "its cookie is older")
		}()
		f(t, a, b, session, inFlight)
	}, change...)
}

func TestARequestThatIsOvertakenByRotationsGoesOnWithItsSession(t *testing.T) {
	for _, rotations := range []int{1, 2} {
		t.Run("Extend", func(t *testing.T) {
			inRotation(t, rotations, func(t *testing.T, a *app, b *browser, session string, ctx context.Context) {
				time.Sleep(4 * time.Second)
				s, err := a.guard.Extend(ctx)
				require.NoError(t, err)
				require.Equal(t, session, s.ID)
				require.True(t, time.Now().Add(idle).Equal(a.live("alice")[0].IdleExpires))
				e := a.sink.events(t, scsguard.EventExtend)
				require.Equal(t, session, e[len(e)-1].str("session"))
			})
		})
		t.Run("Record", func(t *testing.T) {
			inRotation(t, rotations, func(t *testing.T, a *app, b *browser, session string, ctx context.Context) {
				require.NoError(t, a.guard.Record(ctx, scsguard.Event{Kind: "transfer"}))
				require.NoError(t, a.guard.Record(ctx, scsguard.Event{Kind: "transfer"}))
				e := a.sink.events(t, "transfer")
				require.Len(t, e, 2)
				require.Equal(t, session, e[0].str("session"))
				require.Equal(t, "alice", e[0].str("user"))
				require.EqualValues(t, 2+rotations, e[0]["session_seq"], "after the login and the changes of role")
				require.EqualValues(t, 3+rotations, e[1]["session_seq"])
			})
		})
		t.Run("Current", func(t *testing.T) {
			inRotation(t, rotations, func(t *testing.T, a *app, b *browser, session string, ctx context.Context) {
				s, ok := a.guard.Current(ctx)
				require.True(t, ok)
				require.Equal(t, session, s.ID)
				require.Empty(t, s.Role, "the new role was given to the new token")
				require.NoError(t, a.guard.Record(ctx, scsguard.Event{Kind: "transfer"}), "by which it learns of the rotation")
				s, ok = a.guard.Current(ctx)
				require.True(t, ok)
				require.Equal(t, session, s.ID)
				require.Empty(t, s.Role)
				require.Zero(t, s.AuthTime)
			})
		})
		t.Run("Elevate", func(t *testing.T) {
			inRotation(t, rotations, func(t *testing.T, a *app, b *browser, session string, ctx context.Context) {
				require.ErrorIs(t, second(a.guard.Elevate(ctx, "root")), scsguard.ErrMoved)
				s, ok := a.guard.Current(ctx)
				require.True(t, ok)
				require.Zero(t, s.AuthTime, "it knows now that its token is the old one")
				require.Equal(t, "alice admin", b.whoami())
				a.sm.Put(ctx, "late", "x") // it goes on with the session
				_, _, err := a.sm.Commit(ctx)
				require.NoError(t, err)
				require.Equal(t, "x", b.get("/get?k=late").Body)
				require.Len(t, storeKeys(t, a.sm), 1)
			})
		})
		t.Run("Logout", func(t *testing.T) {
			inRotation(t, rotations, func(t *testing.T, a *app, b *browser, session string, ctx context.Context) {
				require.NoError(t, a.guard.Logout(ctx))
				require.Equal(t, "401 ended_by_you", b.whoami())
				require.Empty(t, storeKeys(t, a.sm))
				b.login(t, "alice")
			})
		})
	}
}

func TestWithoutGraceARequestThatIsOvertakenByARotationIsOver(t *testing.T) {
	inRotation(t, 1, func(t *testing.T, a *app, b *browser, session string, ctx context.Context) {
		var over *scsguard.EndedError
		before := a.live("alice")[0]
		require.ErrorAs(t, second(a.guard.Extend(ctx)), &over)
		require.ErrorIs(t, second(a.guard.Extend(ctx)), scsguard.ErrNotLoggedIn)
		require.Equal(t, before, a.live("alice")[0])
		_, ok := a.guard.Current(ctx)
		require.False(t, ok)
		a.sm.Put(ctx, "late", "x")
	}, func(cfg *scsguard.Config) { cfg.RotationGrace = -1 })
}

// Every call of a driver fails from the moment on at which the client hangs up.
func TestAClientThatHangsUpSuppressesNeitherAVerbNorItsEvents(t *testing.T) {
	for name, c := range map[string]struct {
		verb  func(a *app, ctx context.Context) error
		kind  scsguard.EventKind
		who   string
		after int // sessions with data
	}{
		"Login":      {func(a *app, ctx context.Context) error { return second(a.guard.Login(ctx, "bob")) }, scsguard.EventLogin, "bob", 1},
		"Logout":     {func(a *app, ctx context.Context) error { return a.guard.Logout(ctx) }, scsguard.EventLogout, "401", 0},
		"Destroy":    {func(a *app, ctx context.Context) error { return a.sm.Destroy(ctx) }, scsguard.EventLogout, "401", 0},
		"RenewToken": {func(a *app, ctx context.Context) error { return a.sm.RenewToken(ctx) }, scsguard.EventRenew, "alice", 1},
		"Elevate":    {func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) }, scsguard.EventPrivilegeChange, "alice admin", 1},
		"Reauthenticated": {func(a *app, ctx context.Context) error {
			return second(a.guard.Reauthenticated(ctx, scsguard.Full()))
		}, scsguard.EventReauth, "alice", 1},
		"Extend": {func(a *app, ctx context.Context) error { return second(a.guard.Extend(ctx)) }, scsguard.EventExtend, "alice", 1},
		"EndAll": {func(a *app, ctx context.Context) error { return second(a.guard.EndAll(ctx, "alice")) }, scsguard.EventRevoke, "401", 0},
		"Record": {func(a *app, ctx context.Context) error {
			return a.guard.Record(ctx, scsguard.Event{Kind: "transfer"})
		}, "transfer", "alice", 1},
		"SetDeadline": {func(a *app, ctx context.Context) error {
			a.sm.SetDeadline(ctx, time.Now().Add(time.Hour))
			return nil
		}, scsguard.EventExtend, "alice", 1},
	} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			_, change := stepped(sm)
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				ctx, hangUp := context.WithCancel(context.Background())
				a.on("/hang-up", func(ctx context.Context) error {
					hangUp()
					require.NoError(t, c.verb(a, ctx))
					return nil
				})
				b := a.browser()
				b.login(t, "alice")
				known := len(a.sink.events(t, c.kind))
				res := b.do(b.request(http.MethodGet, "/hang-up").WithContext(ctx))
				require.Equal(t, 200, res.Code)
				synctest.Wait()
				require.Len(t, a.sink.events(t, c.kind), known+1)
				require.Contains(t, b.whoami(), c.who)
				require.Len(t, storeKeys(t, sm), c.after)
				require.True(t, a.guard.Health().OK, "that a client hangs up is no fault of a component")
			}, change)
		})
	}
}

// bomb panics when it is encoded.
type bomb struct{}

func (bomb) GobEncode() ([]byte, error) { panic("bomb") }

func TestAPanicWhileTheSessionIsSavedLeavesNoPlaceTaken(t *testing.T) {
	gob.Register(bomb{})
	for name, verb := range map[string]func(a *app, ctx context.Context) error{
		"after Login":      func(a *app, ctx context.Context) error { return second(a.guard.Login(ctx, "alice")) },
		"after RenewToken": func(a *app, ctx context.Context) error { return a.sm.RenewToken(ctx) },
		"after Elevate":    func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.on("/bomb", func(ctx context.Context) error {
					err := verb(a, ctx)
					a.sm.Put(ctx, "bomb", bomb{})
					return err
				})
				b := a.browser()
				if name != "after Login" {
					b.login(t, "alice")
				}
				require.PanicsWithValue(t, "bomb", func() { b.get("/bomb") })
				require.Empty(t, a.live("alice"))
				require.Empty(t, storeKeys(t, a.sm))
				synctest.Wait()
				require.Len(t, a.sink.endings(t), 1)
				a.browser().login(t, "alice")
			}, limit(1, scsguard.Deny))
		})
	}
}

func TestAPanicAfterTheRenewalOfAnAnonymousSessionLeavesNothingOfItBehind(t *testing.T) {
	sm := newManager()
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.on("/bomb", func(ctx context.Context) error {
			require.NoError(t, sm.RenewToken(ctx))
			panic("bomb")
		})
		b := a.browser()
		require.Equal(t, 200, b.get("/put?k=cart&v=book").Code)
		require.Len(t, storeKeys(t, sm), 1)
		require.PanicsWithValue(t, "bomb", func() { b.get("/bomb") })
		require.Empty(t, storeKeys(t, sm))
	}, byUserKey(sm))
}

func TestAPanicWithinALoginHoldsThePlaceForALeaseAtMostAndKeepsTheOldSession(t *testing.T) {
	gob.Register(bomb{})
	bubble(t, func(t *testing.T, a *app) {
		a.on("/bomb", func(ctx context.Context) error {
			a.sm.Put(ctx, "bomb", bomb{})
			_, err := a.guard.Login(ctx, "alice")
			return err
		})
		b := a.browser()
		b.login(t, "alice")
		require.PanicsWithValue(t, "bomb", func() { b.get("/bomb") })
		require.PanicsWithValue(t, "bomb", func() { a.browser().get("/bomb") })
		require.Equal(t, "alice", b.whoami())
		time.Sleep(scsguard.Lease)
		require.Equal(t, 200, b.get("/logout").Code)
		a.browser().login(t, "alice")
		require.Len(t, a.live("alice"), 1)
		require.Len(t, storeKeys(t, a.sm), 1)
	}, limit(2, scsguard.Deny))
}

func TestLimitIdleIsNotOpenedByTheTokenBeforeAReauthentication(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/admin", a.guard.LimitIdle(5*time.Minute)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		b := a.browser()
		b.login(t, "alice")
		time.Sleep(5 * time.Minute)
		require.Equal(t, "alice", b.whoami(), "activity elsewhere")
		old := b.copy()
		require.Equal(t, 200, b.get("/reauth").Code)
		require.Equal(t, 200, b.get("/admin").Code)
		require.Equal(t, 401, old.get("/admin").Code, "who has the old token has not proved anything")
		require.Equal(t, "alice", old.whoami(), "but he is in the grace")
		require.Equal(t, 200, b.get("/admin").Code, "and does not close the door for the new one")
	})
}

func TestLimitIdleRecordsActivityElsewhereFinelyEnoughNotToRefuseTheActive(t *testing.T) {
	for name, touch := range map[string]time.Duration{"by default": 0, "with an interval of the application": time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.mux.Handle("/admin", a.guard.LimitIdle(time.Minute)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
				b := a.browser()
				b.login(t, "alice")
				for range 60 {
					time.Sleep(7 * time.Second)
					require.Equal(t, "alice", b.whoami())
				}
				require.Equal(t, 200, b.get("/admin").Code)
				time.Sleep(time.Minute)
				require.Equal(t, 401, b.get("/admin").Code)
			}, func(cfg *scsguard.Config) { cfg.Timeouts.Touch = touch })
		})
	}
}

func TestAHijackThatIsNotSupportedLeavesALoginAndItsCookie(t *testing.T) {
	for name, verb := range map[string]func(a *app, ctx context.Context) error{
		"after Login":      func(a *app, ctx context.Context) error { return second(a.guard.Login(ctx, "alice")) },
		"after RenewToken": func(a *app, ctx context.Context) error { return a.sm.RenewToken(ctx) },
		"after Elevate":    func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) },
		"after Put": func(a *app, ctx context.Context) error {
			a.sm.Put(ctx, "user", "alice")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.handle("/ws", func(w http.ResponseWriter, r *http.Request) error {
					if err := verb(a, r.Context()); err != nil {
						return err
					}
					_, _, err := http.NewResponseController(w).Hijack()
					require.ErrorIs(t, err, http.ErrNotSupported)
					_, err = io.WriteString(w, "long polling then")
					return err
				})
				b := a.browser()
				if name == "after RenewToken" || name == "after Elevate" {
					b.login(t, "alice")
				}
				res := b.get("/ws")
				require.Equal(t, 200, res.Code)
				require.Equal(t, "long polling then", res.Body)
				require.Len(t, res.Header.Values("Set-Cookie"), 1)
				if name == "after Put" {
					require.Equal(t, "alice", b.get("/get?k=user").Body)
				} else {
					require.Contains(t, b.whoami(), "alice")
				}
			})
		})
	}
}
