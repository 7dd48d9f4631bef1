package redisregistry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
	"github.com/scsguard/scsguard/redisregistry"
	"github.com/scsguard/scsguard/redisremember"
)

// What an application trusts a session with, with everything in Redis. The root
// package has the same promises in memory, where time is not real and can be looked
// at to the nanosecond.

const (
	agentFirefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	agentChrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
	agentPhone   = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36"
	addrHome     = "192.0.2.10:4711"
	addrMobile   = "198.51.100.23:4711"
)

// pair are two processes of one application. A browser is served by the first, unless
// it asks for the second.
type pair struct{ first, second *app }

func (p pair) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Process") == "second" {
		p.second.Handler.ServeHTTP(w, r)
		return
	}
	p.first.Handler.ServeHTTP(w, r)
}

func (p pair) browser(t *testing.T) *guardtest.Browser { return guardtest.NewBrowser(t, p) }

func (p pair) login(t *testing.T, user string) (*guardtest.Browser, string) {
	b := p.browser(t)
	answer := b.Get("/login?user=" + user)
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return b, answer.Body
}

// elsewhere returns a copy of a browser that is served by the second process.
func elsewhere(b *guardtest.Browser) *guardtest.Browser {
	c := b.Clone()
	c.Header.Set("Process", "second")
	return c
}

// newPair adds to the small application what this issue is about.
func newPair(t *testing.T, settings ...setting) pair {
	pool, prefix := startRedis(t).Pool(), emptyPrefix()
	var p pair
	for _, a := range []**app{&p.first, &p.second} {
		*a = trusting(newApp(t, pool, prefix, append([]setting{remembering(pool)}, settings...)...))
	}
	return p
}

// grace is longer than a loaded machine takes for what has to come within it.
const grace = 5 * time.Second

func remembering(pool redisregistry.Pool) setting {
	return func(_ *scs.SessionManager, cfg *scsguard.Config) {
		cfg.Remember = scsguard.Remember{Store: redisremember.New(pool), Grace: grace}
	}
}

func trusting(a *app) *app {
	a.handle("/remember", func(w http.ResponseWriter, r *http.Request) error {
		s, err := a.Guard.Login(r.Context(), "alice", scsguard.RememberMe(), scsguard.Methods("pwd"), scsguard.AAL(2))
		fmt.Fprint(w, s.ID)
		return err
	})
	a.handle("/reauth", func(_ http.ResponseWriter, r *http.Request) error {
		opts := []scsguard.ReauthOption{scsguard.Methods("pwd"), scsguard.AAL(2)}
		if r.FormValue("full") != "" {
			opts = append(opts, scsguard.Full())
		}
		if r.FormValue("weak") != "" {
			opts = []scsguard.ReauthOption{scsguard.Methods("pwd")}
		}
		_, err := a.Guard.Reauthenticated(r.Context(), opts...)
		return err
	})
	a.handle("/session", func(w http.ResponseWriter, r *http.Request) error {
		s, _ := a.Guard.Current(r.Context())
		return json.NewEncoder(w).Encode([]any{s.AAL, s.Remembered, !s.AuthTime.IsZero()})
	})
	a.handle("/end-all", func(_ http.ResponseWriter, r *http.Request) error {
		_, err := a.Guard.EndAll(r.Context(), "alice", scsguard.PasswordChanged())
		return err
	})
	a.mux.Handle("/transfer", a.Guard.RequireRecentLogin(time.Hour)(ok))
	a.mux.Handle("/soon", a.Guard.RequireRecentLogin(time.Second)(ok))
	a.mux.Handle("/otp", a.Guard.RequireRecentLogin(time.Hour, "otp")(ok))
	a.mux.Handle("/bound", a.Guard.EnforceBinding(ok))
	return a
}

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })

func bound(b scsguard.Binding) setting {
	return func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.Binding = b }
}

func both(m scsguard.BindingMode) scsguard.Binding {
	return scsguard.Binding{Network: m, UserAgent: m}
}

func at(b *guardtest.Browser, agent, addr string) *guardtest.Browser {
	c := b.Clone()
	c.UserAgent, c.Addr = agent, addr
	return c
}

// told returns the events of a kind in the trails of both processes.
func (p pair) told(t *testing.T, kind scsguard.EventKind) []scsguard.Event {
	guardtest.Flush(t, p.first.Guard)
	guardtest.Flush(t, p.second.Guard)
	return append(p.first.Trail.Events(kind), p.second.Trail.Events(kind)...)
}

func (p pair) sessions(t *testing.T, user string) []scsguard.Session {
	list, err := p.second.Guard.SessionsOf(ctx, user)
	require.NoError(t, err)
	return list
}

func TestPitfall12_parallel_requests_around_a_rotation_log_nobody_out_on_Redis(t *testing.T) {
	p := newPair(t, func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.RotationGrace = grace })
	b, _ := p.login(t, "alice")
	old := b.Clone()
	var late []*guardtest.Browser
	for i := range 20 {
		late = append(late, []*guardtest.Browser{old.Clone(), elsewhere(old)}[i%2])
	}
	require.Equal(t, http.StatusOK, b.Get("/reauth").Status)
	moved := time.Now()
	var all sync.WaitGroup
	for _, c := range late {
		all.Go(func() {
			answer := c.Get("/whoami")
			require.Equal(t, http.StatusOK, answer.Status)
			require.Empty(t, answer.Header.Values("Set-Cookie"))
		})
	}
	all.Wait()
	require.Less(t, time.Since(moved), grace, "this machine is too slow for the test")
	require.Equal(t, "alice", who(b))
	require.Equal(t, "401 ended", who(at(old, agentChrome, addrMobile)), "another device has no grace")
	require.Equal(t, "other_device", p.told(t, scsguard.EventTokenReuse)[0].Reason)
	time.Sleep(time.Until(moved.Add(grace + 100*time.Millisecond)))
	require.Equal(t, "401 ended", who(elsewhere(old)), "and after it nobody has")
	require.Equal(t, "alice", who(elsewhere(b)))
}

func TestPitfall13_a_remembered_session_is_counted_ended_and_never_trusted_with_more_on_Redis(t *testing.T) {
	p := newPair(t, limit(1, scsguard.Deny))
	b := p.browser(t)
	id := b.Get("/remember").Body
	require.Equal(t, "ok", b.Get("/transfer").Body)
	used := b.Clone()
	b.SetToken("")

	// Ten requests at once, with one token, at two processes.
	var all sync.WaitGroup
	answers := make([]guardtest.Answer, 10)
	for i := range answers {
		c := b.Clone()
		if i%2 == 1 {
			c = elsewhere(b)
		}
		all.Go(func() { answers[i] = c.Get("/whoami") })
	}
	all.Wait()
	for _, a := range answers {
		require.Equal(t, http.StatusOK, a.Status, a.Body)
	}
	require.Len(t, p.sessions(t, "alice"), 1, "one session")
	restored := p.sessions(t, "alice")[0]
	require.NotEqual(t, id, restored.ID)
	require.True(t, restored.Remembered)
	require.Empty(t, p.told(t, scsguard.EventTokenReuse), "and no alarm")
	require.Len(t, p.told(t, scsguard.EventLogin), 2)

	require.Equal(t, "alice", who(b)) // in the grace, so it has the answer of the others
	require.JSONEq(t, `[1,true,false]`, b.Get("/session").Body)
	require.Equal(t, http.StatusForbidden, b.Get("/transfer").Status)
	require.Equal(t, http.StatusConflict, elsewhere(p.browser(t)).Get("/login?user=alice").Status, "it counts in the cap")
	require.Equal(t, http.StatusOK, b.Get("/reauth").Status)
	require.Equal(t, http.StatusForbidden, b.Get("/transfer").Status, "a second factor alone does not make up for it")
	require.Equal(t, http.StatusOK, b.Get("/reauth?full=1").Status)
	require.Equal(t, "ok", b.Get("/transfer").Body)

	// What was used and comes back later was copied.
	time.Sleep(grace + 100*time.Millisecond)
	used.SetToken("")
	require.True(t, strings.HasPrefix(who(used), "401"))
	require.Equal(t, "used_token", p.told(t, scsguard.EventTokenReuse)[0].Reason)
	require.True(t, strings.HasPrefix(who(b), "401"), "nobody can say who is the thief")
	b.SetToken("")
	require.True(t, strings.HasPrefix(who(b), "401"))

	// A changed password ends whoever is remembered.
	b = p.browser(t)
	b.Get("/remember")
	away := b.Clone()
	require.Equal(t, http.StatusOK, elsewhere(p.browser(t)).Get("/end-all").Status)
	require.Equal(t, "401 password_changed", who(b))
	away.SetToken("")
	require.True(t, strings.HasPrefix(who(away), "401"))
}

func TestPitfall19_a_planted_token_is_worthless_after_the_login_of_its_victim_on_Redis(t *testing.T) {
	p := newPair(t)
	entered, release := p.second.pause("/slow", func(r *http.Request) { p.second.Sessions.Put(r.Context(), "late", "x") })
	attacker := p.browser(t)
	require.Equal(t, http.StatusOK, attacker.Get("/put?k=cart").Status)
	planted := attacker.Token()
	victim := at(attacker, agentFirefox, addrHome)
	slow := get(elsewhere(attacker), "/slow")
	<-entered
	require.Equal(t, http.StatusOK, victim.Get("/login?user=alice").Status)
	close(release)
	require.Empty(t, (<-slow).Header.Values("Set-Cookie"))
	require.NotEqual(t, planted, victim.Token())
	require.Equal(t, "401 replaced", who(attacker))
	require.Equal(t, "alice", who(victim))
	require.NotContains(t, victim.Get("/keys").Body, "late")
	require.Equal(t, "alice", tossed(victim, planted, victim.Token()).Body, "also if it stays in the browser")
}

func TestPitfall23_the_binding_alarms_on_thieves_and_not_on_updates_on_Redis(t *testing.T) {
	p := newPair(t, func(_ *scs.SessionManager, cfg *scsguard.Config) {
		cfg.ClientIP = scsguard.TrustedProxies(netip.MustParsePrefix("203.0.113.0/28"))
	})
	for _, c := range []struct {
		what, agent, addr, forwarded, changed string
		status                                int
	}{
		{"a browser that updated itself", strings.ReplaceAll(agentChrome, "126", "127"), addrHome, "", "", http.StatusOK},
		{"from the wifi to the mobile network", agentChrome, addrMobile, "", "network", http.StatusOK},
		{"another browser", agentFirefox, addrHome, "", "user_agent", http.StatusForbidden},
		{"a phone", agentPhone, addrHome, "", "user_agent", http.StatusForbidden},
		{"a header that nobody trusts", agentChrome, addrHome, "198.51.100.9", "", http.StatusOK},
		{"a header of the proxy", agentChrome, "203.0.113.3:80", "192.0.2.77", "", http.StatusOK},
		{"no user agent", "", addrHome, "", "user_agent", http.StatusForbidden},
	} {
		b := at(p.browser(t), agentChrome, addrHome)
		id := b.Get("/login?user=alice").Body
		other := elsewhere(at(b, c.agent, c.addr))
		if c.forwarded != "" {
			other.Header.Set("X-Forwarded-For", c.forwarded)
		}
		for range 2 {
			require.Equal(t, c.status, other.Get("/transfer").Status, c.what)
		}
		require.Equal(t, "alice", who(other), "nobody is locked out by the default")
		require.Equal(t, c.status, b.Get("/transfer").Status, "the session, whoever asks")
		var changed []string
		for _, e := range p.told(t, scsguard.EventFingerprintMismatch) {
			if e.Session == id {
				changed = append(changed, e.Details["changed"])
			}
		}
		require.Equal(t, c.changed, strings.Join(changed, " "), c.what)
		require.Equal(t, http.StatusOK, elsewhere(b).Get("/logout").Status)
	}
}

func TestEachModeOfTheBindingDoesOnRedisWhatItDoesInMemory(t *testing.T) {
	for mode, says := range map[scsguard.BindingMode]struct {
		status, recent int
		told           string
	}{
		scsguard.Off:    {http.StatusOK, http.StatusOK, ""},
		scsguard.Log:    {http.StatusOK, http.StatusOK, "log user_agent,network"},
		scsguard.StepUp: {http.StatusOK, http.StatusForbidden, "stepup user_agent,network"},
		scsguard.End:    {http.StatusUnauthorized, http.StatusUnauthorized, "end user_agent,network"},
	} {
		t.Run(mode.String(), func(t *testing.T) {
			p := newPair(t, bound(both(mode)))
			b, id := p.login(t, "alice")
			other := at(b, agentFirefox, addrMobile)
			// Twenty requests of another device, at two processes.
			var all sync.WaitGroup
			for i := range 20 {
				c := []*guardtest.Browser{other.Clone(), elsewhere(other)}[i%2]
				all.Go(func() { require.Equal(t, says.status, c.Get("/bound").Status) })
			}
			all.Wait()
			require.Equal(t, says.recent, other.Get("/transfer").Status)
			var told []string
			for _, e := range p.told(t, scsguard.EventFingerprintMismatch) {
				require.Equal(t, id, e.Session)
				told = append(told, e.Reason+" "+e.Details["changed"])
			}
			require.Equal(t, says.told, strings.Join(told, "; "), "once, whoever saw it")
			switch mode {
			case scsguard.End:
				require.Equal(t, "401 wrong_device", who(elsewhere(b)), "for its user, too")
				require.Equal(t, "wrong_device", p.told(t, scsguard.EventLogout)[0].Reason)
			case scsguard.StepUp:
				// A new token without a proof does not make the device the session's.
				require.Equal(t, http.StatusOK, other.Get("/elevate").Status)
				require.Equal(t, http.StatusForbidden, elsewhere(other).Get("/transfer").Status)
				require.Len(t, p.told(t, scsguard.EventFingerprintMismatch), 1)
				require.Equal(t, http.StatusOK, other.Get("/reauth").Status)
				require.Equal(t, http.StatusOK, elsewhere(other).Get("/transfer").Status)
				require.Len(t, p.told(t, scsguard.EventFingerprintMismatch), 1, "it is bound to the device of who proved it")
			}
		})
	}
}

func TestSESS_09_on_another_device_the_AAL_is_what_was_proven_there_on_Redis(t *testing.T) {
	p := newPair(t, bound(both(scsguard.StepUp)))
	b := p.browser(t)
	b.Get("/remember")
	require.JSONEq(t, `[2,false,true]`, b.Get("/session").Body)
	require.Equal(t, http.StatusOK, b.Get("/reauth?weak=1").Status)
	require.JSONEq(t, `[2,false,true]`, b.Get("/session").Body, "what the login has reached is not lost")
	other := elsewhere(at(b, agentPhone, addrMobile))
	require.JSONEq(t, `[2,false,false]`, other.Get("/session").Body)
	require.Equal(t, http.StatusOK, other.Get("/reauth?weak=1").Status)
	require.JSONEq(t, `[0,false,true]`, other.Get("/session").Body)
}

func TestIA_11_ASVS5_7_5_1_what_is_sensitive_needs_a_recent_proof_on_Redis(t *testing.T) {
	p := newPair(t)
	b, _ := p.login(t, "alice")
	in := time.Now()
	require.Equal(t, "ok", b.Get("/transfer").Body)
	require.Equal(t, http.StatusForbidden, b.Get("/otp").Status, "the password is no one-time password")
	time.Sleep(time.Until(in.Add(1100 * time.Millisecond)))
	refused := elsewhere(b).Get("/soon")
	require.Equal(t, http.StatusForbidden, refused.Status)
	require.Equal(t, http.StatusOK, b.Get("/reauth").Status)
	require.Equal(t, http.StatusOK, elsewhere(b).Get("/transfer").Status)
	var why []string
	for _, e := range p.told(t, scsguard.EventReauth) {
		if e.Outcome == scsguard.OutcomeFailure {
			why = append(why, e.Reason)
		}
	}
	require.ElementsMatch(t, []string{"method", "too_long_ago"}, why)
}

func TestCOOK_of_several_cookies_the_valid_one_wins_on_Redis(t *testing.T) {
	p := newPair(t)
	b, id := p.login(t, "alice")
	gone, _ := p.login(t, "alice")
	dead := gone.Token()
	gone.Get("/logout")
	madeUp := strings.Repeat("0", 43)
	for _, tokens := range [][]string{{madeUp, b.Token()}, {b.Token(), dead}, {"garbage", dead, b.Token(), madeUp}} {
		require.Equal(t, "alice", tossed(elsewhere(b), tokens...).Body)
	}
	require.Equal(t, http.StatusUnauthorized, tossed(b, madeUp, dead).Status)
	require.NotEmpty(t, p.told(t, scsguard.EventDuplicateCookie))
	require.Equal(t, id, p.second.Trail.Events(scsguard.EventDuplicateCookie)[0].Session)
}

// tossed sends several cookies of the session's name.
func tossed(b *guardtest.Browser, tokens ...string) guardtest.Answer {
	c := b.Clone()
	c.SetToken("")
	r, _ := http.NewRequest(http.MethodGet, "/whoami", nil)
	for _, token := range tokens {
		r.AddCookie(&http.Cookie{Name: guardtest.DefaultCookie, Value: token})
	}
	return c.Do(r)
}

func TestAnAPIClientIsServedFromRedisAsTheBrowsersAre(t *testing.T) {
	p := newPair(t, limit(2, scsguard.Deny), limits(time.Hour, 8*time.Hour), bound(scsguard.Binding{UserAgent: scsguard.End}),
		func(_ *scs.SessionManager, cfg *scsguard.Config) {
			cfg.Token = func(r *http.Request) (string, bool) {
				return scsguard.BearerToken(r), r.Header.Get("Client") == "api"
			}
		})
	for _, a := range []*app{p.first, p.second} {
		a.mux.Handle("/status", a.Guard.StatusHandler())
	}
	ask := func(path, token, agent string) guardtest.Answer {
		c := elsewhere(p.browser(t))
		c.Header.Set("Client", "api")
		c.UserAgent = agent
		if token != "" {
			c.Header.Set("Authorization", "Bearer "+token)
		}
		answer := c.Get(path)
		require.Empty(t, answer.Header.Values("Set-Cookie"), path)
		return answer
	}
	in := ask("/login?user=alice", "", "okhttp/4.12.0")
	token := in.Header.Get(scsguard.TokenHeader)
	require.Len(t, token, 43)
	require.Equal(t, []string{"no-store"}, in.Header.Values("Cache-Control"))
	require.Equal(t, "alice", ask("/whoami", token, "okhttp/4.12.0").Body)
	require.Contains(t, ask("/status", token, "okhttp/4.12.0").Body, `"authenticated":true`)
	next := ask("/reauth", token, "okhttp/4.12.0").Header.Get(scsguard.TokenHeader)
	require.NotEmpty(t, next)
	require.Equal(t, http.StatusOK, ask("/transfer", next, "okhttp/4.12.0").Status)
	require.Equal(t, http.StatusOK, ask("/login?user=alice", "", "okhttp/4.12.0").Status)
	require.Equal(t, http.StatusConflict, p.browser(t).Get("/login?user=alice").Status, "one cap for both")
	require.Equal(t, http.StatusUnauthorized, ask("/whoami", next, "curl/8.8.0").Status, "one binding")
	require.Equal(t, "401 wrong_device", whoIs(ask("/whoami", next, "okhttp/4.12.0")))

	token = ask("/login?user=bob", "", "okhttp/4.12.0").Header.Get(scsguard.TokenHeader)
	require.Equal(t, "bob", ask("/whoami", token, "okhttp/4.12.0").Body)
	list, err := p.first.Guard.Registry().List(ctx, "bob")
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = p.first.Guard.Registry().Touch(ctx, list[0].Key, scsguard.Activity{Idle: time.Microsecond})
	require.NoError(t, err)
	require.Equal(t, "401 idle", whoIs(ask("/whoami", token, "okhttp/4.12.0")), "one idle timeout")
}

func whoIs(a guardtest.Answer) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, a.Body))
}

func profiled(p scsguard.Profile) setting {
	return func(sm *scs.SessionManager, cfg *scsguard.Config) {
		sm.Cookie.Persist, sm.Lifetime = false, 100*time.Hour
		cfg.Profile, cfg.Timeouts, cfg.Remember = p, scsguard.Timeouts{}, scsguard.Remember{}
	}
}

// requireProfile demands the limits, and a new token at each proof that makes the one
// before worthless at once.
func requireProfile(t *testing.T, profile scsguard.Profile, idle, absolute time.Duration) {
	p := newPair(t, profiled(profile))
	b, _ := p.login(t, "alice")
	s := p.sessions(t, "alice")[0]
	require.WithinDuration(t, s.LastSeen.Add(idle), s.IdleExpires, 0)
	require.WithinDuration(t, s.Created.Add(absolute), s.AbsoluteExpires, time.Minute)
	old := b.Clone()
	require.Equal(t, http.StatusOK, b.Get("/reauth").Status)
	require.Equal(t, "401 ended", who(elsewhere(old)), "without any grace")
	require.Equal(t, "alice", who(elsewhere(b)))
	guardtest.ExpireIdle(t, p.first.Registry, b.Token())
	require.Equal(t, "401 idle", who(elsewhere(b)))
	b, _ = p.login(t, "alice")
	guardtest.ExpireAbsolute(t, p.first.Registry, b.Token())
	require.Equal(t, "401 absolute", who(elsewhere(b)))
	require.Len(t, p.told(t, scsguard.EventTimeout), 2)
}

func TestPCI_8_2_8_a_session_ends_after_15_minutes_on_Redis(t *testing.T) {
	requireProfile(t, scsguard.ProfilePCI, 15*time.Minute, 100*time.Hour) // it names no absolute one
}

func TestNIST_63B4_AAL2_a_session_ends_after_an_hour_or_a_day_on_Redis(t *testing.T) {
	requireProfile(t, scsguard.ProfileNISTAAL2, time.Hour, 24*time.Hour)
}

func TestNIST_63B4_AAL3_a_session_ends_after_15_minutes_or_12_hours_on_Redis(t *testing.T) {
	requireProfile(t, scsguard.ProfileNISTAAL3, 15*time.Minute, 12*time.Hour)
}

func TestNIST_63B3_AAL2_a_session_ends_after_30_minutes_or_12_hours_on_Redis(t *testing.T) {
	requireProfile(t, scsguard.ProfileNISTAAL2Rev3, 30*time.Minute, 12*time.Hour)
}

func TestOWASP_high_value_a_session_ends_after_5_minutes_or_8_hours_on_Redis(t *testing.T) {
	requireProfile(t, scsguard.ProfileOWASPHighValue, 5*time.Minute, 8*time.Hour)
}

func TestPSD2_4_3_d_a_session_ends_after_5_minutes_on_Redis(t *testing.T) {
	requireProfile(t, scsguard.ProfilePSD2, 5*time.Minute, 100*time.Hour)
}

func TestSESS_07_ASVS5_7_2_4_each_proof_gives_a_new_token_on_Redis(t *testing.T) {
	p := newPair(t, func(_ *scs.SessionManager, cfg *scsguard.Config) { cfg.RotationGrace = -1 })
	b := p.browser(t)
	b.Get("/put?k=cart")
	for _, path := range []string{"/login?user=alice", "/reauth", "/elevate", "/login?user=alice"} {
		old := b.Clone()
		require.Equal(t, http.StatusOK, b.Get(path).Status)
		require.NotEqual(t, old.Token(), b.Token(), path)
		require.Equal(t, http.StatusUnauthorized, elsewhere(old).Get("/whoami").Status, path)
		require.Equal(t, "alice", who(elsewhere(b)), path)
		require.Contains(t, b.Get("/keys").Body, "cart")
	}
}

func TestREAUTH_a_full_reauthentication_resets_both_timeouts_and_activity_only_the_idle_one_on_Redis(t *testing.T) {
	p := newPair(t, limits(15*time.Minute, 8*time.Hour))
	b, _ := p.login(t, "alice")
	before := p.sessions(t, "alice")[0]
	time.Sleep(2 * time.Second)
	require.Equal(t, "alice", who(b))
	active := p.sessions(t, "alice")[0]
	require.True(t, active.IdleExpires.After(before.IdleExpires))
	same := time.Second // a process learns with each answer how far its clock is from that of Redis
	require.WithinDuration(t, before.AbsoluteExpires, active.AbsoluteExpires, same)
	require.Equal(t, http.StatusOK, b.Get("/reauth").Status)
	require.WithinDuration(t, before.AbsoluteExpires, p.sessions(t, "alice")[0].AbsoluteExpires, same)
	require.Equal(t, http.StatusOK, b.Get("/reauth?full=1").Status)
	full := p.sessions(t, "alice")[0]
	require.True(t, full.IdleExpires.After(active.IdleExpires))
	require.Greater(t, full.AbsoluteExpires.Sub(before.AbsoluteExpires), same)
}

func TestSC_23_a_made_up_token_is_never_adopted_on_Redis(t *testing.T) {
	p := newPair(t)
	madeUp := strings.Repeat("0", 43)
	b := p.browser(t)
	for _, path := range []string{"/put?k=a", "/login?user=alice"} {
		b.SetToken(madeUp)
		require.Equal(t, http.StatusOK, b.Get(path).Status)
		require.NotEqual(t, madeUp, b.Token())
	}
}
