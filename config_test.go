package scsguard_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestNewReportsEveryMistakeAtOnce(t *testing.T) {
	sm := newManager()
	sm.Store = &immortalStore{}
	sm.Cookie = scs.SessionCookie{Name: "session", Path: "/app", SameSite: http.SameSiteNoneMode}
	sm.IdleTimeout = time.Hour
	before := sm.Store
	_, err := scsguard.New(sm, scsguard.Config{
		Timeouts:    scsguard.Timeouts{Idle: 2 * time.Hour, Absolute: time.Minute, Touch: -1, Renew: -1},
		Limit:       scsguard.Limit{Max: -1, OnExceed: 9},
		Keys:        [][]byte{[]byte("short")},
		MergeWrites: true,
		Namespace:   "a:b",
		LoginURL:    "http://[::1",
		Retention:   -1,
		CallTimeout: -1,
	})
	var config *scsguard.ConfigError
	require.ErrorAs(t, err, &config)
	var fields []string
	for _, f := range config.Fields {
		fields = append(fields, f.Field)
		require.NotEmpty(t, f.Value, f.Field)
		require.NotEmpty(t, f.Problem, f.Field)
		require.NotEmpty(t, f.Cure, f.Field)
	}
	require.ElementsMatch(t, []string{
		"Timeouts.Idle", "Timeouts.Touch", "Timeouts.Renew", "Limit.Max", "Limit.OnExceed", "Registry", "Audit", "Keys[0]", "MergeWrites",
		"Namespace", "LoginURL", "Retention", "CallTimeout",
		"SessionManager.Cookie.Secure", "SessionManager.Cookie.HttpOnly", "SessionManager.Cookie.SameSite", "SessionManager.Cookie.Name",
	}, fields)
	require.Equal(t, len(fields), strings.Count(err.Error(), "\n"), "each on its line")
	require.Equal(t, before, sm.Store, "and nothing was changed")
	require.Equal(t, time.Hour, sm.IdleTimeout)
	var field scsguard.FieldError
	require.ErrorAs(t, err, &field)
}

func TestNewRefuses(t *testing.T) {
	ok := scsguard.Config{Audit: scsguard.Discard()}
	for name, c := range map[string]struct {
		sm   func(*scs.SessionManager)
		cfg  func(*scsguard.Config)
		says string
	}{
		"a durable store with a registry that forgets": {
			sm: func(sm *scs.SessionManager) { sm.Store = &immortalStore{} }, says: "Registry = nil"},
		"a shared registry without keys": {
			cfg: func(cfg *scsguard.Config) { cfg.Registry = newCountingRegistry() }, says: "Keys = none"},
		"idle longer than absolute": {
			cfg:  func(cfg *scsguard.Config) { cfg.Timeouts = scsguard.Timeouts{Idle: 2 * time.Hour, Absolute: time.Hour} },
			says: "it could never end a session"},
		"touch as long as idle": {
			cfg:  func(cfg *scsguard.Config) { cfg.Timeouts = scsguard.Timeouts{Idle: time.Minute, Touch: time.Minute} },
			says: "active users would be logged out"},
		"an action beyond a cap that does not exist": {
			cfg: func(cfg *scsguard.Config) { cfg.Limit.OnExceed = scsguard.Deny }, says: "without a cap"},
		"a __Host- cookie with a path": {
			sm: func(sm *scs.SessionManager) { sm.Cookie.Path = "/app" }, says: "Cookie.Path"},
		"a __Host- cookie with a domain": {
			sm: func(sm *scs.SessionManager) { sm.Cookie.Domain = "example.com" }, says: "Cookie.Domain"},
		"no codec":    {sm: func(sm *scs.SessionManager) { sm.Codec = nil }, says: "Codec"},
		"no lifetime": {sm: func(sm *scs.SessionManager) { sm.Lifetime = 0 }, says: "Lifetime"},
	} {
		t.Run(name, func(t *testing.T) {
			sm, cfg := newManager(), ok
			if c.sm != nil {
				c.sm(sm)
			}
			if c.cfg != nil {
				c.cfg(&cfg)
			}
			_, err := scsguard.New(sm, cfg)
			require.ErrorContains(t, err, c.says)
		})
	}
	t.Run("a nil manager", func(t *testing.T) {
		_, err := scsguard.New(nil, ok)
		require.ErrorContains(t, err, "scs.New")
	})
	t.Run("a manager without a store", func(t *testing.T) {
		_, err := scsguard.New(&scs.SessionManager{}, ok)
		require.ErrorContains(t, err, "store")
	})
	t.Run("a manager that has a guard", func(t *testing.T) {
		sm := newManager()
		g, err := scsguard.New(sm, ok)
		require.NoError(t, err)
		defer func() { require.NoError(t, g.Close(context.Background())) }()
		_, err = scsguard.New(sm, ok)
		require.ErrorContains(t, err, "has a guard already")
	})
}

func TestTheDefaults(t *testing.T) {
	for name, c := range map[string]struct {
		idle, lifetime time.Duration // of the manager
		given          scsguard.Timeouts
		want           [2]time.Duration
	}{
		"the manager's come first":     {20 * time.Minute, 12 * time.Hour, scsguard.Timeouts{}, [2]time.Duration{20 * time.Minute, 12 * time.Hour}},
		"else half an hour":            {0, 24 * time.Hour, scsguard.Timeouts{}, [2]time.Duration{30 * time.Minute, 24 * time.Hour}},
		"the stricter of two, ours":    {20 * time.Minute, 24 * time.Hour, scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour}, [2]time.Duration{15 * time.Minute, 8 * time.Hour}},
		"the stricter of two, theirs":  {10 * time.Minute, 4 * time.Hour, scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour}, [2]time.Duration{10 * time.Minute, 4 * time.Hour}},
		"a lifetime shorter than idle": {0, 30 * time.Minute, scsguard.Timeouts{Idle: 30 * time.Minute}, [2]time.Duration{30 * time.Minute, 30 * time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			sm := newManager()
			sm.IdleTimeout, sm.Lifetime = c.idle, c.lifetime
			bubbleOn(t, sm, func(t *testing.T, a *app) {
				start := time.Now()
				a.browser().login(t, "alice")
				list, err := a.guard.SessionsOf(context.Background(), "alice")
				require.NoError(t, err)
				require.Equal(t, c.want, [2]time.Duration{list[0].IdleExpires.Sub(start), list[0].AbsoluteExpires.Sub(start)})
			}, func(cfg *scsguard.Config) { cfg.Timeouts = c.given })
		})
	}
}

func TestAnInsecureCookieNeedsAReason(t *testing.T) {
	sm := newManager()
	sm.Cookie.Secure, sm.Cookie.Name = false, "session"
	g, err := scsguard.New(sm, scsguard.Config{Audit: scsguard.Discard(), InsecureCookie: "plain HTTP inside the test network"})
	require.NoError(t, err)
	require.True(t, g.Health().OK)
	require.NoError(t, g.Close(context.Background()))
}

func TestAManagerChangedAfterNewServesNothing(t *testing.T) {
	for name, change := range map[string]func(*scs.SessionManager){
		"Store":       func(sm *scs.SessionManager) { sm.Store = &immortalStore{} },
		"IdleTimeout": func(sm *scs.SessionManager) { sm.IdleTimeout = time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				var reported error
				a.sm.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) {
					reported = err
					w.WriteHeader(http.StatusInternalServerError)
				}
				b := a.browser()
				b.login(t, "alice")
				change(a.sm)
				require.Equal(t, http.StatusInternalServerError, b.get("/whoami").Code)
				require.ErrorContains(t, reported, name)
				require.ErrorContains(t, reported, "set", "it names the cure")
				require.False(t, a.guard.Health().OK)
			})
		})
	}
}

func TestCookieSettingsAreReadPerRequest(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		require.Contains(t, b.get("/login?user=alice").Header.Get("Set-Cookie"), "SameSite=Lax")
		a.sm.Cookie.SameSite = http.SameSiteStrictMode
		a.sm.Cookie.Persist = false
		cookie := b.get("/login?user=alice").Header.Get("Set-Cookie")
		require.Contains(t, cookie, "SameSite=Strict")
		require.NotContains(t, cookie, "Expires")
		a.sm.Lifetime = time.Minute
		b.login(t, "alice")
		time.Sleep(time.Minute)
		require.Equal(t, "401 absolute", b.whoami())
	})
}

func TestTheLimitsNamesAreText(t *testing.T) {
	for _, on := range []scsguard.OnExceed{scsguard.Warn, scsguard.Deny, scsguard.EvictOldest} {
		text, err := on.MarshalText()
		require.NoError(t, err)
		var back scsguard.OnExceed
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, on, back)
	}
	var on scsguard.OnExceed
	require.ErrorContains(t, on.UnmarshalText([]byte("refuse")), "warn, deny or evict")
}

func TestUserIDsHoldAnyBytesButNotAnyNumberOfThem(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		for _, user := range []string{"a:b", "*", "{x}", "\x00", "\xff\xfe", "алиса", strings.Repeat("x", 256)} {
			a.mux.HandleFunc("/u", func(http.ResponseWriter, *http.Request) {})
			ctx, err := a.sm.Load(context.Background(), "")
			require.NoError(t, err)
			_, err = a.guard.Login(ctx, user)
			require.NoError(t, err)
			s, ok := a.guard.Current(ctx)
			require.True(t, ok)
			require.Equal(t, user, s.User)
			a.mux = http.NewServeMux()
		}
		ctx, err := a.sm.Load(context.Background(), "")
		require.NoError(t, err)
		for _, user := range []string{"", strings.Repeat("x", 257)} {
			_, err := a.guard.Login(ctx, user)
			require.ErrorContains(t, err, "1 to 256 bytes")
		}
		require.False(t, errors.Is(err, scsguard.ErrUnavailable))
	})
}
