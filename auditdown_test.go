package scsguard_test

import (
	"context"
	"encoding"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// What each kind of action does while nothing can be recorded (NIST SP 800-53
// AU-5(4), ASVS 5.0 16.5.2 and 16.5.3): towards less access, never towards more.
func TestAU5_ASVS16_5_3_WhileTheTrailIsDownAccessCanOnlyShrink(t *testing.T) {
	type outcome struct {
		code    int
		whoami  string // afterwards
		written []string
	}
	login := []string{"login alice success"}
	for name, c := range map[string]struct {
		do   func(*app, *browser) int
		want outcome
	}{
		"a login is refused, and its failure recorded": {func(a *app, _ *browser) int { return a.browser().get("/login?user=bob").Code },
			outcome{503, "alice", []string{"login alice success", "logout bob success", "login bob failure"}}},
		"a higher role is refused": {func(_ *app, b *browser) int { return b.get("/elevate?role=admin").Code },
			outcome{503, "alice", []string{"login alice success", "privilege_change alice failure"}}},
		"a re-authentication is refused": {func(_ *app, b *browser) int { return b.get("/reauth").Code },
			outcome{503, "alice", []string{"login alice success", "reauth alice failure", "extend alice failure"}}},
		"an extension that somebody asks for is refused": {func(_ *app, b *browser) int { return b.get("/extend").Code },
			outcome{503, "alice", []string{"login alice success", "extend alice failure"}}},
		"an event of the application is refused": {func(_ *app, b *browser) int { return b.get("/transfer").Code },
			outcome{503, "alice", []string{"login alice success", "transfer alice failure"}}},
		"a request that grants nothing is served": {func(_ *app, b *browser) int { return b.get("/put?k=a&v=b").Code },
			outcome{200, "alice", login}},
		"activity counts, and waits for nothing": {func(_ *app, b *browser) int {
			time.Sleep(2 * time.Minute)
			return b.get("/get?k=a").Code
		}, outcome{200, "alice", []string{"login alice success", "extend alice success"}}},
		"a logout works": {func(_ *app, b *browser) int { return b.get("/logout").Code },
			outcome{200, "401", []string{"login alice success", "logout alice success"}}},
		"a lower role works": {func(a *app, b *browser) int {
			a.sink.fail(nil)
			b.get("/elevate?role=admin")
			a.sink.fail(errDown)
			return b.get("/drop").Code
		}, outcome{200, "alice", []string{"login alice success", "privilege_change alice success", "privilege_change alice success"}}},
		"an idle timeout works": {func(_ *app, b *browser) int {
			time.Sleep(idle)
			return b.get("/get?k=a").Code
		}, outcome{200, "401 idle", []string{"login alice success", "timeout alice success"}}},
		"an administrator's revocation works": {func(a *app, _ *browser) int {
			_, err := a.guard.EndAll(context.Background(), "alice", scsguard.By("root"))
			if err != nil {
				return 503
			}
			return 200
		}, outcome{200, "401 ended_by_admin", []string{"login alice success", "logout alice success", "revoke alice success 1"}}},
		"a refusal at the cap stands": {func(a *app, _ *browser) int {
			codes := make(map[int]int)
			for range 5 {
				codes[a.browser().get("/login?user=alice").Code]++
			}
			if codes[409] != 5 {
				return 0
			}
			return 409
		}, outcome{409, "alice", []string{"login alice success", "login_denied alice failure", "login_denied alice failure 4"}}},
		"failed logins are counted": {func(a *app, _ *browser) int {
			for range 5 {
				a.guard.LoginFailed(context.Background(), "eve", "password")
			}
			return 0
		}, outcome{0, "alice", []string{"login alice success", "login_failed eve failure", "login_failed eve failure 4"}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *app) {
				a.handle("/transfer", func(w http.ResponseWriter, r *http.Request) error {
					return a.guard.Record(r.Context(), scsguard.Event{Kind: "transfer"})
				})
				a.handle("/drop", func(w http.ResponseWriter, r *http.Request) error {
					_, err := a.guard.Drop(r.Context())
					return err
				})
				b := a.browser()
				b.login(t, "alice")
				a.sink.fail(errDown)
				require.Equal(t, c.want.code, c.do(a, b))
				require.Equal(t, c.want.whoami, b.whoami())
				time.Sleep(11 * time.Second) // the window of what is coalesced
				a.sink.fail(nil)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				var written []string
				for _, e := range a.sink.events(t) {
					word := e.word() + " " + e.str("outcome")
					if d, _ := e["details"].(map[string]any); d["count"] != nil {
						word += fmt.Sprint(" ", d["count"])
					}
					written = append(written, word)
				}
				require.Equal(t, c.want.written, written)
				require.True(t, a.guard.Health().OK, "it works again without a restart")
				require.Equal(t, 200, a.browser().get("/login?user=carol").Code)
			}, limit(1, scsguard.Deny))
		})
	}
}

func allowAndFlag(cfg *scsguard.Config) { cfg.OnAuditDown = scsguard.AuditAllowAndFlag }

func TestWhatIsAllowedWhileTheTrailIsDownIsFlaggedAndTold(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/transfer", func(w http.ResponseWriter, r *http.Request) error {
			return a.guard.Record(r.Context(), scsguard.Event{Kind: "transfer", Details: map[string]string{"amount": "1"}})
		})
		a.browser().login(t, "before")
		a.sink.fail(errDown)
		start := time.Now()
		b := a.browser()
		for _, path := range []string{"/login?user=alice", "/elevate?role=admin", "/reauth", "/extend", "/transfer", "/renew"} {
			require.Equal(t, 200, b.get(path).Code, path)
		}
		require.Equal(t, "alice admin", b.whoami())
		time.Sleep(time.Minute)
		health := a.guard.Health()
		require.False(t, health.OK)
		require.Equal(t, scsguard.ComponentAudit, health.Problems[0].Component)
		require.ErrorContains(t, health.Problems[0].Err, "without a durable record")
		require.ErrorIs(t, health.Problems[0].Err, errDown)
		require.EqualValues(t, 7, a.guard.Counters().Unrecorded)

		a.sink.fail(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, a.guard.Health().OK)
		var flagged []string
		for _, e := range a.sink.events(t) {
			if d, _ := e["details"].(map[string]any); d["audit_down"] == "allowed" {
				flagged = append(flagged, e.word()+" "+e.str("outcome"))
			}
		}
		require.Equal(t, []string{"login alice success", "privilege_change alice success", "reauth alice success", "extend alice success", "extend alice success",
			"transfer alice success", "renew alice success"}, flagged)
		degraded := a.sink.events(t, scsguard.EventDegraded)
		require.Len(t, degraded, 1)
		layout := "2006-01-02T15:04:05.000000Z"
		require.Equal(t, map[string]any{"from": start.UTC().Format(layout), "to": degraded[0].str("time"), "cause": errDown.Error(),
			"granted.login": "1", "granted.privilege_change": "1", "granted.reauth": "1", "granted.extend": "2", "granted.transfer": "1", "granted.renew": "1"},
			degraded[0]["details"])

		a.browser().login(t, "after")
		for _, e := range a.sink.events(t, scsguard.EventLogin) {
			require.Equal(t, e.str("user") == "alice", e["details"] != nil, "what the trail has kept in time is not flagged")
		}
	}, allowAndFlag)
}

func TestWhatCannotEvenBeRememberedIsNotAllowed(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.sink.fail(errDown)
		for i := range 7499 {
			a.guard.LoginFailed(context.Background(), fmt.Sprint("u", i), "password")
		}
		require.Equal(t, 200, a.browser().get("/login?user=alice").Code)
		require.Equal(t, http.StatusServiceUnavailable, a.browser().get("/login?user=bob").Code)
		a.sink.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		logins := a.sink.events(t, scsguard.EventLogin)
		require.Len(t, logins, 2)
		require.Equal(t, "success", logins[0].str("outcome"))
		require.Equal(t, "failure", logins[1].str("outcome"))
		require.Empty(t, a.sink.events(t, scsguard.EventGap), "nothing that happened is lost")
	}, allowAndFlag)
}

func TestAfterCloseNothingIsAllowedEither(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.sink.fail(errDown)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		a.guard.LoginFailed(context.Background(), "eve", "password")
		require.ErrorContains(t, a.guard.Close(ctx), "not written")
		require.NotEqual(t, 200, a.browser().get("/login?user=alice").Code)
	}, allowAndFlag)
}

func TestOnAuditDownIsWrittenAndReadAsText(t *testing.T) {
	for value, text := range map[scsguard.AuditDown]string{scsguard.AuditDeny: "deny", scsguard.AuditAllowAndFlag: "allow-and-flag"} {
		var read scsguard.AuditDown
		require.NoError(t, encoding.TextUnmarshaler(&read).UnmarshalText([]byte(text)))
		require.Equal(t, value, read)
		written, err := value.MarshalText()
		require.NoError(t, err)
		require.Equal(t, text, string(written))
	}
	var a scsguard.AuditDown
	require.Error(t, a.UnmarshalText([]byte("allow")))
	sm := newManager()
	_, err := scsguard.New(sm, scsguard.Config{Audit: scsguard.Discard(), OnAuditDown: 7})
	var config *scsguard.ConfigError
	require.ErrorAs(t, err, &config)
	require.Equal(t, "OnAuditDown", config.Fields[0].Field)
	require.Equal(t, "AuditDown(7)", config.Fields[0].Value)
}

// A trail of which one half hangs has a latency, and a bound.
func TestAllowingCostsAtMostTheCallTimeout(t *testing.T) {
	hung := &hungSink{}
	bubble(t, func(t *testing.T, a *app) {
		hung.mu.Lock()
		hung.hang = make(chan struct{})
		hung.mu.Unlock()
		for range 3 {
			start := time.Now()
			require.Equal(t, 200, a.browser().get("/login?user=bob").Code)
			require.LessOrEqual(t, time.Since(start), 2*time.Second)
		}
		hung.mu.Lock()
		close(hung.hang)
		hung.hang = nil
		hung.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		ids := make(map[string]bool)
		for _, e := range hung.events(t, scsguard.EventLogin) {
			ids[e.str("id")] = true
		}
		require.Len(t, ids, 3, "what the sink kept after all and was given again has one ID")
		require.Len(t, hung.events(t, scsguard.EventDegraded), 1)
	}, allowAndFlag, func(cfg *scsguard.Config) { cfg.Audit = hung })
}
