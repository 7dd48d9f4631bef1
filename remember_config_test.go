package scsguard_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestARememberConfigurationThatCannotWorkIsRefused(t *testing.T) {
	memory := scsguard.NewMemoryRememberStore()
	for field, m := range map[string]scsguard.Remember{
		"Remember.Store = nil":                          {Lifetime: time.Hour},
		"Remember.Store = *scsguard_test.watched":       {Store: newWatched()},
		"Remember.Lifetime = -1ns":                      {Store: memory, Lifetime: -1},
		"Remember.Lifetime = 9600h0m0.000000001s":       {Store: memory, Lifetime: scsguard.UserMemory + 1},
		"Remember.Grace = -1ns":                         {Store: memory, Grace: -1},
		"Remember.Grace = 10m0.000000001s":              {Store: memory, Grace: 10*time.Minute + 1},
		`Remember.Cookie = "remember"`:                  {Store: memory, Cookie: "remember"},
		`Remember.Cookie = "__Host-a b"`:                {Store: memory, Cookie: "__Host-a b"},
		`Remember.Cookie = "__Host-session": it is the`: {Store: memory, Cookie: "__Host-session"},
	} {
		_, err := scsguard.New(newManager(), scsguard.Config{Audit: scsguard.Discard(), Remember: m})
		require.ErrorContains(t, err, field)
		var bad *scsguard.ConfigError
		require.ErrorAs(t, err, &bad)
		require.Len(t, bad.Fields, 1)
	}
	_, err := scsguard.New(newManager(), scsguard.Config{Audit: scsguard.Discard(), Remember: scsguard.Remember{Store: memory},
		UserID: func(context.Context) string { return "" }})
	require.ErrorContains(t, err, "Remember.OnRestore")
	for _, m := range []scsguard.Remember{{}, {Store: memory}, {Store: memory, Lifetime: scsguard.UserMemory, Grace: 10 * time.Minute, Cookie: "__Host-r"}} {
		g, err := scsguard.New(newManager(), scsguard.Config{Audit: scsguard.Discard(), Remember: m})
		require.NoError(t, err)
		require.NoError(t, g.Close(t.Context()))
	}
}

func TestRememberMeIsRefusedWhereNothingCouldEndIt(t *testing.T) {
	for why, opt := range map[string]scsguard.LoginOption{
		"ExternalID": scsguard.ExternalID("sid"), "By": scsguard.By("support"), "Remembered": scsguard.Remembered(),
	} {
		rememberBubble(t, func(t *testing.T, a *app) {
			var err error
			a.handle("/in", func(_ http.ResponseWriter, r *http.Request) error {
				_, err = a.guard.Login(r.Context(), "alice", scsguard.RememberMe(), opt)
				return err
			})
			b := a.browser()
			require.Equal(t, 500, b.get("/in").Code)
			require.ErrorContains(t, err, why)
			require.Empty(t, a.sessionsOf(t, "alice"))
			require.Empty(t, b.cookie(rememberCookie))

			ctx, err := a.sm.Load(context.Background(), "")
			require.NoError(t, err)
			_, err = a.guard.Login(ctx, "alice", scsguard.RememberMe())
			require.ErrorContains(t, err, "outside of Protect")
		})
	}
	bubble(t, func(t *testing.T, a *app) {
		require.Equal(t, 500, rememberApp(a).browser().get("/remember?user=alice").Code)
	})
}

// An application with a remember-me of its own says Remembered.
func TestALoginByATokenOfTheApplicationProvesAsLittle(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		var proved []scsguard.LoginOption
		a.handle("/in", func(_ http.ResponseWriter, r *http.Request) error {
			s, err := a.guard.Login(r.Context(), "alice", append(proved, scsguard.Remembered(), scsguard.AAL(3), scsguard.Methods("pwd"))...)
			if err == nil {
				require.Equal(t, 1, s.AAL)
				require.Empty(t, s.Methods)
				require.Zero(t, s.AuthTime)
			}
			return err
		})
		require.Equal(t, 200, a.browser().get("/in").Code)
		before := time.Now()
		time.Sleep(time.Minute)
		_, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err)
		require.Equal(t, 401, a.browser().get("/in").Code, "nobody says that it was after the EndAll")
		proved = []scsguard.LoginOption{scsguard.AuthenticatedAt(before)}
		require.Equal(t, 401, a.browser().get("/in").Code)
		proved = []scsguard.LoginOption{scsguard.AuthenticatedAt(time.Now())}
		require.Equal(t, 200, a.browser().get("/in").Code)
	})
}

func TestALoginThatFailsRemembersNobody(t *testing.T) {
	store := newWatched()
	rememberBubble(t, func(t *testing.T, a *app) {
		a.browser().login(t, "alice")
		b := a.browser()
		require.Equal(t, 409, b.get("/remember?user=alice").Code)
		require.Empty(t, b.cookie(rememberCookie))
		require.Empty(t, store.held(), "what nobody has a token of is not kept")
		a.sink.fail(errDown)
		require.Equal(t, 503, b.get("/remember?user=bob").Code)
		require.Empty(t, b.cookie(rememberCookie))
		require.Empty(t, store.held())
	}, store.use, func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny} })
}

func TestGuardsOfTwoNamespacesDoNotAcceptEachOthersTokens(t *testing.T) {
	customers, staff := newManager(), newManager()
	synctest.Test(t, func(t *testing.T) {
		registry, store := scsguard.NewMemoryRegistry(), scsguard.NewMemoryRememberStore()
		in := func(name string) func(*scsguard.Config) {
			return func(cfg *scsguard.Config) {
				cfg.Registry, cfg.Remember.Store, cfg.Keys, cfg.Namespace = registry, store, [][]byte{make([]byte, 32)}, name
			}
		}
		a, b := rememberApp(newApp(t, customers, in("customers"))), rememberApp(newApp(t, staff, in("staff")))
		visitor := a.browser()
		visitor.remember(t, "alice")
		visitor.restart()
		thief := visitor.twin()
		thief.h = b.serve
		require.Equal(t, 401, thief.get("/private").Code)
		require.Equal(t, "alice", visitor.whoami())
	})
}

// The first key writes, all read; a token of a key that was dropped is nobody's.
func TestKeysCanBeRotatedUnderRememberedBrowsers(t *testing.T) {
	managers := [3]*app{}
	first, second, third := newManager(), newManager(), newManager()
	second.Store, third.Store = first.Store, first.Store
	synctest.Test(t, func(t *testing.T) {
		registry, store := scsguard.NewMemoryRegistry(), scsguard.NewMemoryRememberStore()
		oldKey, newKey := make([]byte, 32), []byte(strings.Repeat("k", 32))
		with := func(keys ...[]byte) func(*scsguard.Config) {
			return func(cfg *scsguard.Config) { cfg.Registry, cfg.Remember.Store, cfg.Keys = registry, store, keys }
		}
		managers[0] = rememberApp(newApp(t, first, with(oldKey)))
		managers[1] = rememberApp(newApp(t, second, with(newKey, oldKey)))
		managers[2] = rememberApp(newApp(t, third, with(newKey)))
		b := managers[0].browser()
		b.remember(t, "alice")
		b.restart()
		left := b.twin()
		late := b.twin()
		require.Equal(t, "alice", b.whoami())
		late.h = managers[1].serve
		require.Equal(t, "alice", late.whoami(), "what was answered under the old key")
		b.h = managers[1].serve
		b.restart()
		require.Equal(t, "alice", b.whoami())
		b.h = managers[2].serve
		b.restart()
		time.Sleep(time.Minute)
		left.h = managers[2].serve
		require.Equal(t, 401, left.get("/private").Code)
		require.Empty(t, managers[2].sink.events(t, scsguard.EventTokenReuse))
	})
}

func FuzzARememberCookieThatNobodyGaveOutReachesNoStore(f *testing.F) {
	store := newWatched()
	a := rememberApp(newApp(f, newManager(), store.use, func(cfg *scsguard.Config) { cfg.SweepEvery = -1 }))
	b := a.browser()
	b.remember(f, "alice")
	token := b.cookie(rememberCookie)
	b.restart()
	before := store.calls()
	f.Add(token + "A")
	f.Add(strings.ToLower(token))
	f.Add(".." + token)
	f.Fuzz(func(t *testing.T, value string) {
		if strings.Contains(value, token) {
			return
		}
		r := a.browser().request(http.MethodGet, "/private")
		r.Header.Set("Cookie", rememberCookie+"="+value)
		require.Equal(t, 401, b.do(r).Code)
		require.Equal(t, before, store.calls())
	})
}
