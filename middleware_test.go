package scsguard_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

var served = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("served")) })

const browserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// problem decodes a problem detail.
func problem(t *testing.T, res answer) map[string]any {
	t.Helper()
	require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
	var p map[string]any
	require.NoError(t, json.Unmarshal([]byte(res.Body), &p))
	require.EqualValues(t, res.Code, p["status"])
	return p
}

func TestRequireLoginTellsWhyASessionEnded(t *testing.T) {
	end := func(opts ...scsguard.RevokeOption) func(*app, *browser) {
		return func(a *app, _ *browser) { _, _ = a.guard.EndAll(context.Background(), "alice", opts...) }
	}
	for name, c := range map[string]struct {
		happens func(*app, *browser)
		code    string
		reason  scsguard.Reason
	}{
		"never logged in":   {func(_ *app, b *browser) { b.cookies = map[string]string{} }, "login_required", scsguard.ReasonLoginRequired},
		"idle":              {func(*app, *browser) { time.Sleep(idle) }, "session_expired", scsguard.ReasonIdle},
		"logged out":        {func(_ *app, b *browser) { b.copy().get("/logout") }, "session_ended", scsguard.ReasonEndedByYou},
		"replaced":          {func(_ *app, b *browser) { b.copy().get("/login?user=alice") }, "session_ended", scsguard.ReasonReplaced},
		"evicted":           {func(a *app, _ *browser) { a.browser().get("/login?user=alice") }, "session_ended", scsguard.ReasonSignedElsewhere},
		"by an admin":       {end(scsguard.By("root")), "session_ended", scsguard.ReasonEndedByAdmin},
		"account disabled":  {end(), "session_ended", scsguard.ReasonEndedByAdmin},
		"password changed":  {end(scsguard.PasswordChanged()), "session_ended", scsguard.ReasonPasswordChanged},
		"destroyed somehow": {func(_ *app, b *browser) { b.copy().get("/destroy") }, "session_ended", scsguard.ReasonEnded},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.mux.Handle("/members", a.guard.RequireLogin(served))
				b := a.browser()
				b.login(t, "alice")
				require.Equal(t, 200, b.get("/members").Code)
				c.happens(a, b)
				res := b.get("/members")
				require.Equal(t, http.StatusUnauthorized, res.Code)
				p := problem(t, res)
				require.Equal(t, c.code, p["code"])
				require.EqualValues(t, c.reason, p["reason"])
				require.NotEmpty(t, p["title"])
				require.NotEmpty(t, p["detail"])
				require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
				require.Empty(t, res.Header.Values("Set-Cookie"))
			}, limit(1, scsguard.EvictOldest))
		})
	}
}

func TestBrowsersGetAPageOrTheLoginURL(t *testing.T) {
	for name, c := range map[string]struct {
		accept   string
		loginURL string
		code     int
		location string
		html     bool
	}{
		"a browser without a login URL": {browserAccept, "", 401, "", true},
		"a browser with a login URL":    {browserAccept, "/login-page?x=1", 303, "/login-page?reason=login_required&x=1", true},
		"a program with a login URL":    {"application/json", "/login-page", 401, "", false},
		"a program that takes anything": {"*/*", "/login-page", 401, "", false},
		"nothing said":                  {"", "/login-page", 401, "", false},
		"a program that refuses HTML":   {"text/html;q=0, application/json", "/login-page", 401, "", false},
		"a browser of the last century": {"TEXT/HTML", "", 401, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.mux.Handle("/members", a.guard.RequireLogin(served))
				b := a.browser()
				r := b.request(http.MethodGet, "/members")
				if c.accept != "" {
					r.Header.Set("Accept", c.accept)
				}
				res := b.do(r)
				require.Equal(t, c.code, res.Code)
				require.Equal(t, c.location, res.Header.Get("Location"))
				if !c.html {
					problem(t, res)
				} else if c.code == 401 {
					require.Contains(t, res.Body, "<h1>Login required</h1>")
				}
			}, func(cfg *scsguard.Config) { cfg.LoginURL = c.loginURL })
		})
	}
}

func TestOnRejectReplacesTheAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/members", a.guard.RequireLogin(served))
		res := a.browser().get("/members")
		require.Equal(t, 401, res.Code)
		require.Equal(t, "mine: login_required", res.Body)
	}, func(cfg *scsguard.Config) {
		cfg.OnReject = func(w http.ResponseWriter, _ *http.Request, reason scsguard.Reason) {
			w.WriteHeader(reason.Status())
			fmt.Fprint(w, "mine: ", reason.Code())
		}
	})
}

func TestEnforceTimeoutsRefusesOnlyThoseWhoTimedOut(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/shop", a.guard.EnforceTimeouts(served))
		b, stranger, out := a.browser(), a.browser(), a.browser()
		b.login(t, "alice")
		out.login(t, "bob")
		_, err := a.guard.EndAll(context.Background(), "bob")
		require.NoError(t, err)
		require.Equal(t, 200, stranger.get("/shop").Code)
		require.Equal(t, 200, out.get("/shop").Code, "he was not timed out")
		require.Equal(t, 200, b.get("/shop").Code)
		time.Sleep(idle)
		require.Equal(t, 401, b.get("/shop").Code)
		require.Equal(t, "session_expired", problem(t, b.get("/shop"))["code"])
	})
}

func TestAGateOutsideOfProtectIsClosed(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		for name, h := range map[string]http.Handler{
			"RequireLogin": a.guard.RequireLogin(served), "EnforceTimeouts": a.guard.EnforceTimeouts(served), "LimitIdle": a.guard.LimitIdle(time.Minute)(served),
			"SessionsHandler": a.guard.SessionsHandler(), "ExtendHandler": a.guard.ExtendHandler(),
		} {
			res := newBrowser(h).get("/")
			require.Equal(t, http.StatusInternalServerError, res.Code, name)
			require.NotContains(t, res.Body, "served", name)
		}
		require.Panics(t, func() { a.guard.LimitIdle(0) })
	})
}

func TestSessionsHandler(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		h := a.guard.SessionsHandler()
		for _, pattern := range []string{"GET /sessions", "DELETE /sessions/{id}", "POST /sessions/{id}/end", "DELETE /sessions", "PATCH /sessions"} {
			a.mux.Handle(pattern, h)
		}
		one, two, three, bob := a.browser(), a.browser(), a.browser(), a.browser()
		first := one.login(t, "alice")
		second, third := two.login(t, "alice"), three.login(t, "alice")
		other := bob.login(t, "bob")
		var list struct{ Sessions []scsguard.SessionInfo }
		require.NoError(t, json.Unmarshal([]byte(one.get("/sessions").Body), &list))
		require.Len(t, list.Sessions, 3)
		require.Equal(t, first, list.Sessions[0].Session)
		require.True(t, list.Sessions[0].Current)
		require.False(t, list.Sessions[1].Current)
		require.Equal(t, "192.0.2.1", list.Sessions[0].IP)

		do := func(b *browser, method, path string) answer { return b.do(b.request(method, path)) }
		require.Equal(t, http.StatusNotFound, do(one, "DELETE", "/sessions/"+other).Code)
		require.Equal(t, http.StatusNotFound, do(one, "DELETE", "/sessions/nonsense").Code)
		require.Equal(t, "bob", bob.whoami())
		require.Equal(t, http.StatusNoContent, do(one, "DELETE", "/sessions/"+second).Code)
		require.Equal(t, "401 ended_by_you", two.whoami())
		require.Equal(t, http.StatusNoContent, do(one, "POST", "/sessions/"+third+"/end").Code)
		two.login(t, "alice")
		require.JSONEq(t, `{"ended":1}`, do(one, "DELETE", "/sessions").Body)
		require.Equal(t, "401 ended_by_you", two.whoami())
		require.Equal(t, http.StatusMethodNotAllowed, do(one, "PATCH", "/sessions").Code)
		require.Equal(t, 401, do(two, "GET", "/sessions").Code)
	})
}

func TestRequestsWithoutACookieNeverTouchTheStore(t *testing.T) {
	store := &tokenStore{}
	sm := newManager()
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		b.get("/whoami")
		b.get("/get?k=x")
		b.cookies["other"] = "x"
		b.cookies["__Host-session"] = "not a token"
		b.get("/whoami")
		require.Empty(t, store.seen())
	}, withMemoryRegistry)
}

func TestTheStoreDownIsNoReasonToBeAnonymous(t *testing.T) {
	sm := newManager()
	store := &brokenStore{Store: sm.Store}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		token := b.token()
		store.set(errDown, errDown, errDown)
		r := b.request(http.MethodGet, "/whoami")
		r.Header.Set("Accept", browserAccept)
		res := b.do(r)
		require.Equal(t, http.StatusServiceUnavailable, res.Code)
		require.Contains(t, res.Body, "Nothing has changed for you")
		require.Equal(t, token, b.token())
		require.Equal(t, 401, a.browser().get("/whoami").Code, "who has no cookie is served")

		n, err := a.guard.EndAll(context.Background(), "alice")
		require.NoError(t, err, "ending a session does not need the store")
		require.Equal(t, 1, n)
		store.set(nil, nil, nil)
		require.Equal(t, "401 ended_by_admin", b.whoami())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Empty(t, storeKeys(t, a.sm), "the deletion is repeated until it succeeds")
	}, withMemoryRegistry)
}

// stuckStore takes no context and does not answer.
type stuckStore struct {
	*immortalStore
	stuck chan struct{}
}

func (s *stuckStore) Find(token string) ([]byte, bool, error) {
	<-s.stuck
	return s.immortalStore.Find(token)
}

func TestAStoreThatDoesNotAnswerIsNotWaitedForLong(t *testing.T) {
	for name, registry := range map[string]func(*scsguard.Config){
		"registry in the process": withMemoryRegistry,
		"registry elsewhere": func(cfg *scsguard.Config) {
			cfg.Registry, cfg.Keys = mute{scsguard.NewMemoryRegistry()}, [][]byte{make([]byte, 32)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			sm.Store = &stuckStore{&immortalStore{}, nil}
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				store := a.guard.Store().(*stuckStore)
				store.stuck = make(chan struct{})
				b := a.browser()
				b.login(t, "alice")
				start := time.Now()
				require.Equal(t, http.StatusServiceUnavailable, b.get("/whoami").Code)
				require.Equal(t, 2*time.Second, time.Since(start))
				require.False(t, a.guard.Health().OK)
				close(store.stuck)
				require.Equal(t, "alice", b.whoami())
				require.True(t, a.guard.Health().OK)
			}, registry)
		})
	}
}

func TestClientIP(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		r := b.request(http.MethodGet, "/login?user=alice")
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		b.do(r)
		require.Equal(t, "192.0.2.1", a.sink.events(t)[0].str("ip"), "a header is believed only if the application says so")
		b.addr = "nonsense"
		b.login(t, "bob")
		require.Empty(t, a.sink.events(t, scsguard.EventLogin)[1].str("ip"))
	})
	bubble(t, func(t *testing.T, a *app) {
		a.browser().login(t, "alice")
		e := a.sink.events(t)[0]
		require.Equal(t, "203.0.113.9", e.str("ip"))
		require.Equal(t, "config", e.str("ip_source"))
	}, func(cfg *scsguard.Config) {
		cfg.ClientIP = func(*http.Request) netip.Addr { return netip.MustParseAddr("203.0.113.9") }
	})
}

func TestLastLogin(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		var last scsguard.LastLogin
		a.handle("/in", func(w http.ResponseWriter, r *http.Request) error {
			s, err := a.guard.Login(r.Context(), "alice")
			last = s.LastLogin
			return err
		})
		start := time.Now()
		a.browser().get("/in")
		require.Zero(t, last)
		time.Sleep(time.Hour)
		other := a.browser()
		other.addr = "198.51.100.7:1"
		other.get("/in")
		require.True(t, start.Equal(last.Time))
		require.Equal(t, "192.0.2.1", last.IP.String())
		require.Equal(t, "test browser", last.UserAgent)
	})
}

func TestTheRejectPagesPolicyAllowsItsOwnStyle(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/members", a.guard.RequireLogin(served))
		r := a.browser().request(http.MethodGet, "/members")
		r.Header.Set("Accept", browserAccept)
		res := a.browser().do(r)
		_, rest, found := strings.Cut(res.Body, "<style>")
		require.True(t, found)
		style, _, _ := strings.Cut(rest, "</style>")
		sum := sha256.Sum256([]byte(style))
		require.Contains(t, res.Header.Get("Content-Security-Policy"), "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	})
}

func TestTheStatusHandlerAnswersOnlyToReads(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/session", a.guard.StatusHandler())
		b := a.browser()
		require.Equal(t, http.StatusMethodNotAllowed, b.do(b.request(http.MethodPut, "/session")).Code)
		require.Equal(t, 200, b.get("/session").Code)
	})
}

// lingering is a store whose calls leave a goroutine behind that looks at their context,
// as a dialer of the network does.
type lingering struct {
	ctxStore
	left *sync.WaitGroup
	stop chan struct{}
}

func (s lingering) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	s.left.Go(func() {
		for {
			_ = ctx.Value("anything")
			select {
			case <-s.stop:
				return
			case <-time.After(time.Microsecond):
			}
		}
	})
	return s.ctxStore.FindCtx(ctx, token)
}

// The race detector is the judge.
func TestAStoreMayLookAtTheContextOfACallThatIsOver(t *testing.T) {
	store := lingering{ctxStore{memstore.NewWithCleanupInterval(0)}, new(sync.WaitGroup), make(chan struct{})}
	sm := newManager()
	sm.Store = store
	a := newApp(t, sm, withMemoryRegistry)
	b := a.browser()
	b.login(t, "alice")
	for range 20 {
		require.Equal(t, "alice", b.whoami())
	}
	close(store.stop)
	store.left.Wait()
}
