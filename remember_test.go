package scsguard_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestTheRememberCookieCannotBeReadByScriptsNeighboursOrPlainHTTP(t *testing.T) {
	for sameSite, want := range map[http.SameSite]string{http.SameSiteLaxMode: "Lax", http.SameSiteStrictMode: "Strict"} {
		sm := newManager()
		sm.Cookie.SameSite = sameSite
		bubbleOn(t, sm, func(t *testing.T, a *app) {
			b := rememberApp(a).browser()
			res := b.get("/remember?user=alice")
			var line string
			for _, c := range res.Header.Values("Set-Cookie") {
				if strings.HasPrefix(c, rememberCookie+"=") {
					line = c
				}
			}
			_, attributes, _ := strings.Cut(line, "; ")
			require.Equal(t, fmt.Sprintf("Path=/; Max-Age=%d; HttpOnly; Secure; SameSite=%s", int(rememberLifetime.Seconds()), want), attributes)
			require.Empty(t, a.browser().get("/public").Header.Values("Set-Cookie"))
			require.NotContains(t, strings.Join(a.browser().get("/login?user=bob").Header.Values("Set-Cookie"), " "), rememberCookie, "nobody has asked for it")
		}, withRemember)
	}
}

func TestARememberedBrowserComesBackWithASessionThatProvesLittle(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		first := b.remember(t, "alice")
		family, _, _ := strings.Cut(b.cookie(rememberCookie), ".")
		time.Sleep(time.Hour)
		b.restart()
		second := b.get("/private")
		require.Equal(t, 200, second.Code)
		require.NotEqual(t, first, second.Body)

		list := a.sessionsOf(t, "alice")
		require.Len(t, list, 1)
		s := list[0]
		require.Equal(t, second.Body, s.ID)
		require.True(t, s.Remembered)
		require.Zero(t, s.AuthTime, "nobody has proved anything in this session")
		require.Empty(t, s.Methods)
		require.Equal(t, 1, s.AAL)
		require.Equal(t, time.Now().Add(8*time.Hour), s.AbsoluteExpires)

		synctest.Wait()
		logins := a.sink.events(t, scsguard.EventLogin)
		require.Len(t, logins, 2)
		require.Equal(t, map[string]any{"remember_id": family}, logins[0]["details"])
		require.Equal(t, map[string]any{"remembered": "true", "remember_id": family}, logins[1]["details"])
		require.NotContains(t, logins[1], "auth_time")
		require.NotContains(t, logins[1], "auth_methods")
		require.EqualValues(t, 1, logins[1]["aal"])
		require.Equal(t, "timeout", a.sink.endings(t)[first+"/end"].str("event"))
		require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
	})
}

// The browser has lost its session, so nobody can use that one any more.
func TestARememberedBrowserTakesThePlaceOfTheSessionItHasLost(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		for range 5 {
			before := b.remember(t, "alice")
			for range 3 {
				b.restart()
				res := b.get("/private")
				require.Equal(t, 200, res.Code)
				synctest.Wait()
				require.Equal(t, "replaced", a.sink.endings(t)[before+"/end"].str("reason"))
				before = res.Body
			}
			require.Len(t, a.sessionsOf(t, "alice"), 1)
		}
		require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse, scsguard.EventLoginDenied))
		a.requireOneEndingEach(t, "alice")
	}, func(cfg *scsguard.Config) { cfg.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny} })
}

func TestATokenIsGoodForOneUse(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		seen := map[string]bool{}
		for range 20 {
			token := b.cookie(rememberCookie)
			require.False(t, seen[token])
			seen[token] = true
			b.restart()
			require.Equal(t, "alice", b.whoami())
			time.Sleep(rememberGrace)
		}
	})
}

func TestAUsedTokenIsGoodForTheSameSessionUntilItsGraceIsOverToTheNanosecond(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		b.restart()
		lost := b.twin() // the same browser, had it not got the answer
		session := b.get("/private").Body
		time.Sleep(rememberGrace - time.Nanosecond)
		late := lost.twin()
		require.Equal(t, session, lost.get("/private").Body)
		require.Equal(t, b.cookie(rememberCookie), lost.cookie(rememberCookie), "there is one successor")
		require.Equal(t, b.token(), lost.token())
		require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
		require.Len(t, a.sink.events(t, scsguard.EventLogin), 2)

		time.Sleep(time.Nanosecond)
		require.Equal(t, 401, late.get("/private").Code)
		synctest.Wait()
		reuse := a.sink.events(t, scsguard.EventTokenReuse)
		require.Len(t, reuse, 1)
		require.Equal(t, "used_token", reuse[0].str("reason"))
		require.Equal(t, session, reuse[0].str("session"))
		require.Equal(t, "alice", reuse[0].str("user"))
		require.Equal(t, "revoked", a.sink.endings(t)[session+"/end"].str("reason"), "nobody can say whose the session is")
		require.Equal(t, "401 ended", b.whoami())
		b.restart()
		require.Equal(t, 401, b.get("/private").Code, "the next token is worth nothing either")
		require.Len(t, a.sink.events(t, scsguard.EventTokenReuse), 1)
		require.NotEmpty(t, b.remember(t, "alice"), "its owner can log in")
	})
}

func TestATokenFromGenerationsAgoEndsTheFamilyAndAnInventedOneDoesNot(t *testing.T) {
	store := newWatched()
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		first := b.cookie(rememberCookie)
		for range 3 {
			b.restart()
			require.Equal(t, "alice", b.whoami())
		}
		family, _, _ := strings.Cut(first, ".")
		_, _, mac := cut3(first)
		before := store.calls()
		for _, invented := range []string{
			"", "x", "..", family, family + "..", family + "." + strings.Repeat("A", 43) + "." + mac, family + "." + strings.Repeat("A", 43) + "." + strings.Repeat("0", 32),
			strings.ToLower(family) + first[len(family):], first + "A", first[:len(first)-1], strings.Replace(first, ".", "%2E", 1),
		} {
			thief := a.browser()
			thief.set(rememberCookie, invented)
			require.Equal(t, 401, thief.get("/private").Code)
		}
		require.Equal(t, before, store.calls(), "for what was made up nobody is asked")
		require.Equal(t, "alice", b.whoami())

		thief := a.browser()
		thief.set(rememberCookie, first)
		require.Equal(t, 401, thief.get("/private").Code)
		synctest.Wait()
		require.Len(t, a.sink.events(t, scsguard.EventTokenReuse), 1)
		require.Equal(t, "401 ended", b.whoami())
	}, store.use)
}

func cut3(cookie string) (family, validator, mac string) {
	family, rest, _ := strings.Cut(cookie, ".")
	validator, mac, _ = strings.Cut(rest, ".")
	return family, validator, mac
}

func TestNobodyCanLogInWithWhatTheRememberStoreHoldsOrTheTrailTells(t *testing.T) {
	store := newWatched()
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		var secrets []string
		for range 3 {
			_, validator, mac := cut3(b.cookie(rememberCookie))
			raw, err := base64.RawURLEncoding.DecodeString(validator)
			require.NoError(t, err)
			require.Len(t, raw, 32)
			secrets = append(secrets, validator, mac, string(raw), b.token())
			b.restart()
			require.Equal(t, "alice", b.whoami())
		}
		secrets = append(secrets, b.token())
		_, validator, _ := cut3(b.cookie(rememberCookie))
		sum := sha256.Sum256([]byte(validator))
		require.Len(t, store.held(), 1)
		for id, value := range store.held() {
			require.Contains(t, string(value), string(sum[:]))
			for _, secret := range secrets {
				require.NotContains(t, id+string(value), secret)
			}
		}
		synctest.Wait()
		trail := strings.Join(a.sink.lines, "\n")
		for _, secret := range secrets {
			require.NotContains(t, trail, secret)
		}
	}, store.use)
}

func TestAFamilyEndsWithItsLifetimeToTheNanosecondHoweverOftenItIsUsed(t *testing.T) {
	for _, after := range []time.Duration{-1, 0} {
		rememberBubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			b.remember(t, "alice")
			end := time.Now().Add(rememberLifetime)
			for time.Until(end) > 9*time.Hour {
				time.Sleep(8 * time.Hour)
				b.restart()
				require.Equal(t, "alice", b.whoami())
				for _, s := range a.sessionsOf(t, "alice") {
					require.False(t, s.AbsoluteExpires.After(end), "no session outlives the family")
				}
			}
			b.restart()
			time.Sleep(time.Until(end) + after)
			if res := b.get("/private"); after < 0 {
				require.Equal(t, 200, res.Code)
				require.Equal(t, end, a.sessionsOf(t, "alice")[0].AbsoluteExpires)
				require.Empty(t, b.cookie(rememberCookie), "a cookie of less than a second is none")
			} else {
				require.Equal(t, 401, res.Code)
			}
			require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
		})
	}
}

func TestTheAbsoluteDeadlineOfASessionIsNotMovedByAToken(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		first := b.remember(t, "alice")
		deadline := a.sessionsOf(t, "alice")[0].AbsoluteExpires
		twin := b.twin()
		for time.Until(deadline) > 10*time.Minute {
			time.Sleep(10 * time.Minute)
			require.Equal(t, first, b.get("/private").Body)
			require.Equal(t, deadline, a.sessionsOf(t, "alice")[0].AbsoluteExpires)
		}
		time.Sleep(time.Until(deadline))
		twin.set(rememberCookie, "")
		require.Equal(t, 401, twin.get("/private").Code, "the session is over")
		res := b.get("/private")
		require.Equal(t, 200, res.Code)
		require.NotEqual(t, first, res.Body, "and what the token begins is another one")
		synctest.Wait()
		require.Equal(t, "absolute", a.sink.endings(t)[first+"/end"].str("reason"))
	})
}

func TestARememberedSessionDoesNotOpenWhatALimitIdleHasShut(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/admin", a.guard.LimitIdle(5*time.Minute)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})))
		a.handle("/password", func(_ http.ResponseWriter, r *http.Request) error {
			_, err := a.guard.Reauthenticated(r.Context(), scsguard.Methods("pwd"), scsguard.AAL(1), scsguard.Full())
			return err
		})
		b := a.browser()
		b.remember(t, "alice")
		require.Equal(t, 200, b.get("/admin").Code)
		b.restart()
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, 401, b.get("/admin").Code)
		require.Equal(t, 200, b.get("/reauth").Code)
		require.Equal(t, 200, b.get("/admin").Code)
		s := a.sessionsOf(t, "alice")[0]
		require.Equal(t, time.Now(), s.AuthTime)
		require.True(t, s.Remembered, "only a full re-authentication is as good as a login")
		require.Equal(t, 200, b.get("/password").Code)
		require.False(t, a.sessionsOf(t, "alice")[0].Remembered)
	})
}

func TestAPolicySeesARememberedSession(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		b.restart()
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, time.Now().Add(time.Hour), a.sessionsOf(t, "alice")[0].AbsoluteExpires)
	}, func(cfg *scsguard.Config) {
		cfg.Policy = func(_ context.Context, s scsguard.Subject) scsguard.Policy {
			p := scsguard.Policy{Timeouts: scsguard.Timeouts{Idle: 15 * time.Minute, Absolute: 8 * time.Hour}}
			if s.Remembered {
				require.Equal(t, 1, s.AAL)
				require.Empty(t, s.Methods)
				p.Timeouts.Absolute = time.Hour
			}
			return p
		}
	})
}

func TestATokenStaysWithItsKindOfBrowser(t *testing.T) {
	const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36"
	phone := "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/127.0.0.0 Mobile Safari/537.36"
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.agent = fmt.Sprintf(chrome, 126)
		b.remember(t, "alice")
		b.restart()
		b.agent, b.addr = fmt.Sprintf(chrome, 127), "[2001:db8::7]:4711"
		require.Equal(t, "alice", b.whoami(), "after an update, in another network")

		thief := b.twin()
		thief.agent = phone
		thief.restart()
		require.Equal(t, 401, thief.get("/private").Code)
		synctest.Wait()
		reuse := a.sink.events(t, scsguard.EventTokenReuse)
		require.Len(t, reuse, 1)
		require.Equal(t, "other_device", reuse[0].str("reason"))
		require.Equal(t, "401 ended", b.whoami())
		b.restart()
		require.Equal(t, 401, b.get("/private").Code)
	})
}

// In its grace a used token serves the browser that has used it. From elsewhere
// it is refused; that is no theft, a browser may just have changed its network.
func TestInItsGraceAUsedTokenIsRefusedFromAnotherNetwork(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.remember(t, "alice")
		b.restart()
		other := b.twin()
		other.addr = "198.51.100.1:4711"
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, 401, other.get("/private").Code)
		synctest.Wait()
		require.Equal(t, "other_network", a.sink.events(t, scsguard.EventTokenReuse)[0].str("reason"))
		require.Equal(t, "alice", b.whoami())
		b.restart()
		require.Equal(t, "alice", b.whoami())
	})
}

func TestTwoDevicesDoNotEndEachOther(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		desk, phone := a.browser(), a.browser()
		phone.agent = "phone"
		desk.remember(t, "alice")
		phone.remember(t, "alice")
		for range 5 {
			for _, b := range []*browser{desk, phone} {
				time.Sleep(time.Hour)
				b.restart()
				require.Equal(t, "alice", b.whoami())
			}
		}
		require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
	})
}
