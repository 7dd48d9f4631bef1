package scsguard_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Tests that are named by the requirement they show; docs/controls.md lists them.

func profiled(p scsguard.Profile) func(*scsguard.Config) {
	return func(c *scsguard.Config) { c.Profile, c.Timeouts, c.Limit = p, scsguard.Timeouts{}, scsguard.Limit{} }
}

// requireLimits logs in under a profile and demands that both time limits hold, to
// the nanosecond on each side. Activity resets the idle timeout and nothing else.
func requireLimits(t *testing.T, p scsguard.Profile, idle, absolute time.Duration) {
	t.Helper()
	sm := sessionCookies()
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		id := b.login(t, "alice")
		time.Sleep(idle - 1)
		require.Equal(t, "alice", b.whoami())
		time.Sleep(idle)
		require.Equal(t, "401 idle", b.whoami())
		synctest.Wait()
		end := a.sink.endings(t)[id+"/end"]
		require.Equal(t, []string{"timeout", "idle"}, []string{end.str("event"), end.str("reason")})
		require.NotEmpty(t, end.str("due"))
		if absolute == 0 {
			return
		}
		started := time.Now()
		id = b.login(t, "alice")
		for time.Since(started)+idle/2 < absolute {
			time.Sleep(idle / 2)
			require.Equal(t, "alice", b.whoami())
		}
		time.Sleep(absolute - 1 - time.Since(started))
		require.Equal(t, "alice", b.whoami())
		time.Sleep(time.Nanosecond)
		require.Equal(t, "401 absolute", b.whoami())
		synctest.Wait()
		require.Equal(t, "absolute", a.sink.endings(t)[id+"/end"].str("reason"))
	}, profiled(p))
}

func requireRefused(t *testing.T, p scsguard.Profile, timeouts scsguard.Timeouts, source string) {
	t.Helper()
	_, err := guardOf(t, sessionCookies(), scsguard.Config{Profile: p, Timeouts: timeouts})
	require.ErrorContains(t, err, source)
}

func TestPCI_8_2_8_who_was_idle_for_15_minutes_logs_in_again(t *testing.T) {
	requireLimits(t, scsguard.ProfilePCI, 15*time.Minute, 0)
}

func TestPCI_8_2_8_an_idle_timeout_of_16_minutes_is_refused(t *testing.T) {
	requireRefused(t, scsguard.ProfilePCI, scsguard.Timeouts{Idle: 16 * time.Minute}, "PCI DSS 4.0.1 8.2.8")
}

func TestPCI_10_2_1_each_invalid_access_and_change_of_credentials_or_privileges_is_one_event(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.on("/fail", func(ctx context.Context) error { a.guard.LoginFailed(ctx, "alice", "password"); return nil })
		a.on("/drop", func(ctx context.Context) error { _, err := a.guard.Drop(ctx); return err })
		a.on("/changed", func(ctx context.Context) error {
			_, err := a.guard.EndAll(ctx, "alice", scsguard.ExceptCurrent(), scsguard.PasswordChanged())
			return err
		})
		sensitive(a, "/transfer", time.Minute)
		b := a.browser()
		for _, step := range []struct {
			do   func()
			kind scsguard.EventKind
			says string
		}{
			{func() { b.get("/fail") }, scsguard.EventLoginFailed, "failure"},
			{func() { b.login(t, "alice") }, scsguard.EventLogin, "success"},
			{func() { b.get("/elevate?role=admin") }, scsguard.EventPrivilegeChange, "success"},
			{func() { b.get("/drop") }, scsguard.EventPrivilegeChange, "success"},
			{func() { b.get("/changed") }, scsguard.EventRevoke, "success"},
			{func() { time.Sleep(2 * time.Minute); b.get("/transfer") }, scsguard.EventReauth, "failure"},
			{func() { b.get("/reauth") }, scsguard.EventReauth, "success"},
			{func() { b.at(chrome, b.addr).whoami() }, scsguard.EventFingerprintMismatch, "failure"},
			{func() { b.tossed("/whoami", madeUp(1), b.token()) }, scsguard.EventDuplicateCookie, "failure"},
			{func() { b.get("/logout") }, scsguard.EventLogout, "success"},
		} {
			before := len(a.sink.events(t, step.kind))
			step.do()
			synctest.Wait()
			told := a.sink.events(t, step.kind)
			require.Len(t, told, before+1, step.kind)
			require.Equal(t, step.says, told[before].str("outcome"), step.kind)
		}
	})
}

func TestNIST_63B4_AAL2_an_hour_of_inactivity_or_a_day_end_a_session(t *testing.T) {
	requireLimits(t, scsguard.ProfileNISTAAL2, time.Hour, 24*time.Hour)
	requireRefused(t, scsguard.ProfileNISTAAL2, scsguard.Timeouts{Idle: 61 * time.Minute}, "NIST SP 800-63B-4 2.2.3")
	requireRefused(t, scsguard.ProfileNISTAAL2, scsguard.Timeouts{Absolute: 25 * time.Hour}, "NIST SP 800-63B-4 2.2.3")
}

func TestNIST_63B4_AAL3_15_minutes_of_inactivity_or_12_hours_end_a_session(t *testing.T) {
	requireLimits(t, scsguard.ProfileNISTAAL3, 15*time.Minute, 12*time.Hour)
	requireRefused(t, scsguard.ProfileNISTAAL3, scsguard.Timeouts{Absolute: 13 * time.Hour}, "NIST SP 800-63B-4 2.3.3")
}

func TestNIST_63B3_AAL2_30_minutes_of_inactivity_or_12_hours_end_a_session(t *testing.T) {
	requireLimits(t, scsguard.ProfileNISTAAL2Rev3, 30*time.Minute, 12*time.Hour)
	requireRefused(t, scsguard.ProfileNISTAAL2Rev3, scsguard.Timeouts{Idle: time.Hour}, "NIST SP 800-63B (revision 3) 4.2.3")
}

func TestOWASP_high_value_5_minutes_of_inactivity_or_8_hours_end_a_session(t *testing.T) {
	requireLimits(t, scsguard.ProfileOWASPHighValue, 5*time.Minute, 8*time.Hour)
	requireRefused(t, scsguard.ProfileOWASPHighValue, scsguard.Timeouts{Idle: 6 * time.Minute}, "OWASP Session Management Cheat Sheet")
}

func TestPSD2_4_3_d_5_minutes_of_inactivity_end_a_session(t *testing.T) {
	requireLimits(t, scsguard.ProfilePSD2, 5*time.Minute, 0)
	requireRefused(t, scsguard.ProfilePSD2, scsguard.Timeouts{Idle: 6 * time.Minute}, "EU 2018/389 Art. 4(3)(d)")
}

func TestSESS_07_a_login_a_reauthentication_and_a_change_of_privilege_give_a_new_token(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.get("/put?k=cart&v=book")
		for _, path := range []string{"/login?user=alice", "/reauth", "/elevate?role=admin", "/login?user=alice"} {
			old := b.copy()
			require.Equal(t, http.StatusOK, b.get(path).Code)
			require.NotEqual(t, old.token(), b.token(), path)
			require.True(t, strings.HasPrefix(old.whoami(), "401"), path)
			require.True(t, strings.HasPrefix(b.whoami(), "alice"), path)
		}
	}, func(c *scsguard.Config) { c.RotationGrace = -1 })
}

func TestREAUTH_a_full_reauthentication_resets_both_timeouts_and_activity_only_the_idle_one(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		deadlines := func() (idle, absolute time.Duration) {
			s := a.live("alice")[0]
			return time.Until(s.IdleExpires), time.Until(s.AbsoluteExpires)
		}
		time.Sleep(10 * time.Minute)
		b.whoami()
		idle, absolute := deadlines()
		require.Equal(t, []time.Duration{15 * time.Minute, 8*time.Hour - 10*time.Minute}, []time.Duration{idle, absolute})
		time.Sleep(10 * time.Minute)
		b.get("/reauth")
		idle, absolute = deadlines()
		require.Equal(t, []time.Duration{15 * time.Minute, 8*time.Hour - 20*time.Minute}, []time.Duration{idle, absolute})
		b.get("/reauth?full=1")
		idle, absolute = deadlines()
		require.Equal(t, []time.Duration{15 * time.Minute, 8 * time.Hour}, []time.Duration{idle, absolute})
	})
}

func TestCOOK_the_cookie_is_protected_and_its_expiry_enforces_nothing(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		res := b.get("/login?user=alice")
		cookies := (&http.Response{Header: res.Header}).Cookies()
		require.Len(t, cookies, 1)
		c := cookies[0]
		require.True(t, strings.HasPrefix(c.Name, "__Host-"))
		require.True(t, c.Secure && c.HttpOnly)
		require.Equal(t, []any{"/", "", http.SameSiteLaxMode}, []any{c.Path, c.Domain, c.SameSite})
		require.Len(t, c.Value, 43, "a token and nothing about its user")
		time.Sleep(15 * time.Minute)
		// This browser never forgets a cookie, as one with an edited expiry.
		require.Equal(t, "401 idle", b.whoami())
	})
}

func TestSC_23_a_made_up_token_is_never_adopted(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.cookies["__Host-session"] = madeUp(1)
		require.Equal(t, http.StatusOK, b.get("/put?k=a&v=b").Code)
		require.NotEqual(t, madeUp(1), b.token())
		b.cookies["__Host-session"] = madeUp(1)
		b.login(t, "alice")
		require.NotEqual(t, madeUp(1), b.token())
	})
}

func TestASVS5_7_2_3_a_token_has_256_random_bits(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		const n = 500
		seen, ones := make(map[string]bool), 0
		for i := range n {
			b := a.browser()
			b.login(t, fmt.Sprint("user", i))
			raw, err := base64.RawURLEncoding.DecodeString(b.token())
			require.NoError(t, err)
			require.Len(t, raw, 32)
			require.False(t, seen[b.token()])
			seen[b.token()] = true
			for _, c := range raw {
				for ; c > 0; c &= c - 1 {
					ones++
				}
			}
		}
		require.InDelta(t, n*128, ones, 6*float64(179), "as many ones as zeros, within six standard deviations")
	})
}

func TestASVS5_7_2_4_an_old_token_is_worthless_as_soon_as_there_is_a_new_one(t *testing.T) {
	for _, s := range standards {
		bubbleOn(t, sessionCookies(), func(t *testing.T, a *app) {
			b := a.browser()
			b.login(t, "alice")
			old := b.copy()
			require.Equal(t, http.StatusOK, b.get("/reauth").Code)
			require.Equal(t, "401 ended", old.whoami(), s.flag)
		}, profiled(s.profile))
	}
}

func TestASVS5_7_5_1_what_is_sensitive_needs_a_recent_proof(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		sensitive(a, "/email", 5*time.Minute)
		b := a.browser()
		b.login(t, "alice")
		require.Equal(t, http.StatusOK, b.get("/email").Code)
		time.Sleep(5 * time.Minute)
		require.Equal(t, http.StatusForbidden, b.get("/email").Code)
		b.get("/reauth")
		require.Equal(t, http.StatusOK, b.get("/email").Code)
	})
}

func TestASVS5_7_5_2_a_user_sees_and_ends_his_sessions_after_he_proved_who_he_is(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		h := a.guard.RequireRecentLogin(5 * time.Minute)(a.guard.SessionsHandler())
		a.mux.Handle("GET /sessions", h)
		a.mux.Handle("DELETE /sessions/{id}", h)
		b, other := a.browser(), a.browser()
		id := other.login(t, "alice")
		b.login(t, "alice")
		time.Sleep(5 * time.Minute)
		end := func() int { return b.do(b.request(http.MethodDelete, "/sessions/"+id)).Code }
		require.Equal(t, http.StatusForbidden, b.get("/sessions").Code)
		require.Equal(t, http.StatusForbidden, end())
		require.Equal(t, "alice", other.whoami())
		b.get("/reauth")
		require.Contains(t, b.get("/sessions").Body, id)
		require.Equal(t, http.StatusNoContent, end())
		require.Equal(t, "401 ended_by_you", other.whoami())
	})
}

func TestPitfall12_parallel_requests_around_a_rotation_log_nobody_out(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		old := b.copy()
		var late []*http.Request
		for range 20 {
			late = append(late, b.request(http.MethodGet, "/whoami"))
		}
		require.Equal(t, http.StatusOK, b.get("/reauth").Code)
		token := b.token()
		var all sync.WaitGroup
		for _, r := range late {
			all.Go(func() {
				w := httptest.NewRecorder()
				a.serve.ServeHTTP(w, r)
				require.Equal(t, http.StatusOK, w.Code)
				require.Empty(t, w.Result().Header.Values("Set-Cookie"))
			})
		}
		all.Wait()
		require.Equal(t, token, b.token())
		require.Equal(t, "401 ended", old.at(chrome, mobile).whoami(), "another device has no grace")
		synctest.Wait()
		require.Equal(t, "other_device", a.sink.events(t, scsguard.EventTokenReuse)[0].str("reason"))
		time.Sleep(10 * time.Second)
		require.Equal(t, "401 ended", old.whoami(), "and after it nobody has")
	})
}

func TestPitfall13_a_remembered_session_is_counted_ended_and_never_trusted_with_more(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		prove(a)
		sensitive(a, "/transfer", time.Hour)
		b := a.browser()
		require.Equal(t, http.StatusOK, b.get("/enter?remembered=1").Code)
		require.True(t, a.live("alice")[0].Remembered)
		require.Equal(t, http.StatusForbidden, b.get("/transfer").Code)
		require.Equal(t, http.StatusConflict, a.browser().get("/login?user=alice").Code, "it counts in the cap")
		_, err := a.guard.EndAll(t.Context(), "alice", scsguard.PasswordChanged())
		require.NoError(t, err)
		require.Equal(t, "401 password_changed", b.whoami())
	}, func(c *scsguard.Config) { c.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny} })
}

func TestPitfall19_a_planted_token_is_worthless_after_the_login_of_its_victim(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		attacker := a.browser()
		attacker.get("/put?k=cart&v=book")
		victim := attacker.at(firefox, work)
		entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "k", "v") })
		slow := attacker.copy().inFlight("/slow", entered)
		victim.login(t, "alice")
		close(release)
		require.Empty(t, (<-slow).Header.Values("Set-Cookie"))
		require.Equal(t, "401 replaced", attacker.whoami())
		require.Equal(t, "alice", victim.whoami())
		require.Equal(t, "alice", strings.TrimSpace(victim.tossed("/whoami", attacker.token(), victim.token()).Body), "also if it stays in the browser")
	})
}

func TestPitfall23_the_binding_alarms_on_thieves_and_not_on_updates(t *testing.T) {
	update := strings.ReplaceAll(chrome, "126", "127")
	phone := "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36"
	for _, c := range []struct {
		what, agent, addr string
		forwarded         string
		recent            bool
	}{
		{"a browser that updated itself", update, home, "", true},
		{"from the wifi to the mobile network", chrome, mobile, "", true},
		{"another browser", firefox, home, "", false},
		{"a phone", phone, home, "", false},
		{"a header that nobody trusts", chrome, home, "198.51.100.9", true},
		{"no user agent", "", home, "", false},
	} {
		bubble(t, func(t *testing.T, a *app) {
			sensitive(a, "/transfer", time.Hour)
			b := a.browser()
			b.agent, b.addr = chrome, home
			id := b.login(t, "alice")
			other := b.at(c.agent, c.addr)
			r := other.request(http.MethodGet, "/transfer")
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
			}
			code := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[c.recent]
			require.Equal(t, code, other.do(r).Code, c.what)
			require.Equal(t, "alice", other.whoami(), "nobody is locked out by the default")
			synctest.Wait()
			for _, e := range a.sink.events(t, scsguard.EventFingerprintMismatch) {
				require.Equal(t, id, e.str("session"))
				require.NotEmpty(t, e["details"].(map[string]any)["changed"], "and nothing is silent")
			}
			require.Equal(t, c.recent && c.addr == home, len(a.sink.events(t, scsguard.EventFingerprintMismatch)) == 0, c.what)
		})
	}
}
