package scsguard_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// A context that came through Load of the session manager, without Protect: an
// application's own tests, a job, another transport.

func TestVerbsOnABareLoad(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		ctx, err := a.sm.Load(context.Background(), "")
		require.NoError(t, err)
		a.sm.Put(ctx, "cart", "book")
		session, err := a.guard.Login(ctx, "alice")
		require.NoError(t, err)
		require.NotEmpty(t, session.ID)
		a.sm.Put(ctx, "late", "x")
		token, expiry, err := a.sm.Commit(ctx)
		require.NoError(t, err)
		require.Equal(t, token, a.sm.Token(ctx))
		require.True(t, session.AbsoluteExpires.Equal(expiry))

		again, err := a.sm.Load(context.Background(), token)
		require.NoError(t, err)
		require.Equal(t, "book", a.sm.GetString(again, "cart"))
		require.Equal(t, "x", a.sm.GetString(again, "late"))
		now, ok := a.guard.Current(again)
		require.True(t, ok)
		require.Equal(t, session.ID, now.ID)

		_, err = a.guard.Elevate(again, "admin")
		require.NoError(t, err)
		require.NotEqual(t, token, a.sm.Token(again))
		now, _ = a.guard.Current(again)
		require.Equal(t, "admin", now.Role)
		_, err = a.guard.Extend(again)
		require.NoError(t, err)
		list, err := a.guard.Sessions(again)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.True(t, list[0].Current)

		old, err := a.sm.Load(context.Background(), token)
		require.NoError(t, err)
		require.Empty(t, a.sm.GetString(old, "cart"), "nobody can say from which device the old token comes, so it has no grace here")

		require.NoError(t, a.guard.Logout(again))
		_, ok = a.guard.Current(again)
		require.False(t, ok)
		require.Empty(t, storeKeys(t, a.sm))
	})
}

func TestRenewalAndDestructionOnABareLoad(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		load := func(token string) context.Context {
			ctx, err := a.sm.Load(context.Background(), token)
			require.NoError(t, err)
			return ctx
		}
		ctx := load("")
		first, err := a.guard.Login(ctx, "alice")
		require.NoError(t, err)
		old := a.sm.Token(ctx)

		ctx = load(old)
		require.NoError(t, a.sm.RenewToken(ctx))
		token, _, err := a.sm.Commit(ctx)
		require.NoError(t, err)
		_, ok := a.guard.Current(load(old))
		require.False(t, ok)
		s, ok := a.guard.Current(load(token))
		require.True(t, ok)
		require.Equal(t, first.ID, s.ID)

		ctx = load(token)
		require.NoError(t, a.sm.RenewToken(ctx))
		_, err = a.guard.Elevate(ctx, "admin") // a verb between the renewal and its commit
		require.NoError(t, err)
		token = a.sm.Token(ctx)

		ctx = load(token)
		require.NoError(t, a.sm.Clear(ctx))
		a.sm.Put(ctx, "user", "alice")
		_, _, err = a.sm.Commit(ctx)
		require.NoError(t, err)
		require.Contains(t, a.sm.Keys(load(token)), "__scsguard", "Clear does not take the mark away")

		ctx = load(token)
		require.NoError(t, a.sm.Destroy(ctx))
		_, ok = a.guard.Current(load(token))
		require.False(t, ok)
		time.Sleep(scsguard.Lease)
		_, err = a.guard.Sweep(context.Background())
		require.NoError(t, err)
		require.Equal(t, "destroyed", a.sink.endings(t)[first.ID+"/end"].str("reason"))
	}, func(cfg *scsguard.Config) { cfg.SweepEvery = -1 })
}

func TestACommitOfAnEndedSessionOnABareLoadWritesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		ctx, err := a.sm.Load(context.Background(), "")
		require.NoError(t, err)
		_, err = a.guard.Login(ctx, "alice")
		require.NoError(t, err)
		n, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		require.Equal(t, 1, n)
		a.sm.Put(ctx, "stale", "x")
		_, _, err = a.sm.Commit(ctx)
		require.NoError(t, err)
		require.Empty(t, storeKeys(t, a.sm))
	})
}

func TestUnderPlainLoadAndSaveTheRulesHoldToo(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := newBrowser(a.sm.LoadAndSave(a.mux)) // somebody forgot to mount Protect
		b.login(t, "alice")
		token := b.token()
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, 200, b.get("/elevate?role=admin").Code)
		require.NotEqual(t, token, b.token())
		require.Equal(t, "alice admin", b.whoami())
		require.Equal(t, 200, b.get("/renew").Code)
		require.Equal(t, "alice admin", b.whoami())
		thief := b.copy()
		require.Equal(t, 200, b.get("/logout").Code)
		require.Equal(t, "401", thief.whoami())
		b.login(t, "alice")
		time.Sleep(idle)
		require.Equal(t, "401", b.whoami())
	})
}

func TestVerbsWithoutAnySessionSayHowToGetOne(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		ctx := context.Background()
		_, err := a.guard.Login(ctx, "alice")
		require.ErrorIs(t, err, scsguard.ErrNoSession)
		require.ErrorContains(t, err, "Protect")
		require.ErrorIs(t, a.guard.Logout(ctx), scsguard.ErrNoSession)
		_, ok := a.guard.Current(ctx)
		require.False(t, ok)
		require.Empty(t, a.guard.Ended(ctx))
		_, err = a.guard.Sessions(ctx)
		require.ErrorIs(t, err, scsguard.ErrNoSession)
		_, err = a.guard.EndOthers(ctx)
		require.ErrorIs(t, err, scsguard.ErrNoSession)
		require.ErrorIs(t, a.guard.End(ctx, "x"), scsguard.ErrNoSession)
		a.guard.LoginFailed(ctx, "alice", "password")

		anonymous, err := a.sm.Load(ctx, "")
		require.NoError(t, err)
		for _, err := range []error{
			second(a.guard.Elevate(anonymous, "admin")), second(a.guard.Reauthenticated(anonymous)), second(a.guard.Drop(anonymous)),
			second(a.guard.Extend(anonymous)), second(a.guard.Sessions(anonymous)), second(a.guard.EndOthers(anonymous)),
		} {
			require.ErrorIs(t, err, scsguard.ErrNotLoggedIn)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// Within Iterate a context holds another session's data. A verb there must act
// on that one, and never on the session of the request around it.
func TestVerbsWithinIterateActOnTheSessionIterated(t *testing.T) {
	for _, hash := range []bool{false, true} {
		sm := newManager()
		sm.HashTokenInStore = hash
		bubbleOn(t, sm, func(t *testing.T, a *app) {
			a.handle("/logout-bob", func(w http.ResponseWriter, r *http.Request) error {
				return a.sm.Iterate(r.Context(), func(ctx context.Context) error {
					if a.sm.GetString(ctx, "user") == "bob" {
						return a.guard.Logout(ctx)
					}
					return nil
				})
			})
			admin, bob := a.browser(), a.browser()
			admin.login(t, "admin")
			bob.login(t, "bob")
			require.Equal(t, 200, admin.get("/logout-bob").Code)
			require.Equal(t, "admin", admin.whoami())
			require.Equal(t, "401 ended_by_you", bob.whoami())
		})
	}
}

func TestIterateYieldsOnlyWhatLives(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.browser().get("/put?k=cart&v=book")
		a.browser().login(t, "alice")
		time.Sleep(idle)
		a.browser().login(t, "bob")
		users := map[string]int{}
		require.NoError(t, a.sm.Iterate(context.Background(), func(ctx context.Context) error {
			users[a.sm.GetString(ctx, "user")]++
			return nil
		}))
		require.Equal(t, map[string]int{"": 1, "bob": 1}, users)
	}, func(cfg *scsguard.Config) { cfg.SweepEvery = -1 })
}

// plainStore has no optional methods.
type plainStore struct{ *memstore.MemStore }

func (plainStore) All() {} // not the method that scs looks for

func TestTheOptionalMethodsOfTheStoreStayVisible(t *testing.T) {
	for name, c := range map[string]struct {
		store    scs.Store
		iterable bool
	}{
		"memstore":              {memstore.NewWithCleanupInterval(0), true},
		"a store with contexts": {ctxStore{memstore.NewWithCleanupInterval(0)}, true},
		"a store without":       {plainStore{memstore.NewWithCleanupInterval(0)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			sm.Store = c.store
			synctest.Test(t, func(t *testing.T) {
				a := newApp(t, sm, withMemoryRegistry)
				_, iterable := sm.Store.(scs.IterableStore)
				_, iterableCtx := sm.Store.(scs.IterableCtxStore)
				require.Equal(t, c.iterable, iterable)
				require.Equal(t, c.iterable, iterableCtx)
				_, withCtx := sm.Store.(scs.CtxStore)
				require.True(t, withCtx)
				require.Equal(t, c.store, a.guard.Store())
				require.Equal(t, c.store, sm.Store.(interface{ Unwrap() scs.Store }).Unwrap())
				b := a.browser()
				b.login(t, "alice")
				require.Equal(t, "alice", b.whoami())
				require.NoError(t, sm.Store.Delete(b.token()))
				_, found, err := sm.Store.Find(b.token())
				require.NoError(t, err)
				require.False(t, found)
			})
		})
	}
}

func TestOnABareLoadNothingIsGrantedUnderAManagerThatWasChanged(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		loggedIn := a.browser()
		loggedIn.login(t, "bob")
		a.sm.Store = a.guard.Store()
		ctx, err := a.sm.Load(context.Background(), "")
		require.NoError(t, err)
		_, err = a.guard.Login(ctx, "alice")
		require.ErrorContains(t, err, "SessionManager.Store was changed")
		ctx, err = a.sm.Load(context.Background(), loggedIn.token())
		require.NoError(t, err)
		_, err = a.guard.Elevate(ctx, "admin")
		require.ErrorContains(t, err, "SessionManager.Store was changed")
		_, err = a.guard.Extend(ctx)
		require.ErrorContains(t, err, "SessionManager.Store was changed")
		require.NoError(t, a.guard.Logout(ctx), "what takes away works all the same")
	})
}

func TestOnABareLoadUseKeepsASessionFromItsIdleTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		for range 6 {
			time.Sleep(idle - time.Nanosecond)
			ctx, err := a.sm.Load(context.Background(), b.token())
			require.NoError(t, err)
			_, ok := a.guard.Current(ctx)
			require.True(t, ok)
		}
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventExtend), 6)
		time.Sleep(idle)
		ctx, err := a.sm.Load(context.Background(), b.token())
		require.NoError(t, err)
		_, ok := a.guard.Current(ctx)
		require.False(t, ok)
	})
}

func TestOnABareLoadTwoSessionsOfOneUserBecomeOne(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		mine, other, bob := a.browser(), a.browser(), a.browser()
		session := mine.login(t, "alice")
		absorbed := other.login(t, "alice")
		other.get("/put?k=cart&v=book")
		bob.login(t, "bob")

		ctx, err := a.sm.Load(context.Background(), mine.token())
		require.NoError(t, err)
		a.sm.Put(ctx, "own", "x")
		require.NoError(t, a.sm.MergeSession(ctx, other.token()))
		_, _, err = a.sm.Commit(ctx)
		require.NoError(t, err)
		require.Equal(t, "book", mine.get("/get?k=cart").Body)
		require.Equal(t, "x", mine.get("/get?k=own").Body)
		require.Equal(t, "401 replaced", other.whoami())
		synctest.Wait()
		require.Equal(t, "replaced", a.sink.endings(t)[absorbed+"/end"].str("reason"))
		require.NotContains(t, a.sink.endings(t), session+"/end")

		ctx, err = a.sm.Load(context.Background(), mine.token())
		require.NoError(t, err)
		require.NoError(t, a.sm.MergeSession(ctx, bob.token()))
		_, _, err = a.sm.Commit(ctx)
		require.ErrorIs(t, err, scsguard.ErrOtherUser)
		require.Equal(t, "alice", mine.whoami())
		require.Equal(t, "alice", mine.get("/get?k=user").Body)
	})
}
