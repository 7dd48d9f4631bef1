package scsguard_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// madeUp returns a token that nobody has been given.
func madeUp(i int) string { return fmt.Sprintf("%043d", i) }

// tossed sends several cookies of the session's name.
func (b *browser) tossed(target string, tokens ...string) answer {
	r := b.request(http.MethodGet, target)
	r.Header.Del("Cookie")
	for _, token := range tokens {
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: token})
	}
	return b.do(r)
}

func TestOfSeveralCookiesTheValidOneWinsWhereverItStands(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b, guest, gone, thief := a.browser(), a.browser(), a.browser(), a.browser()
		b.login(t, "alice")
		guest.get("/put?k=cart&v=book")
		gone.login(t, "alice")
		dead := gone.token()
		gone.get("/logout")
		thief.agent = chrome
		thief.login(t, "mallory")
		for _, other := range []string{"garbage", madeUp(1), guest.token(), dead, thief.token()} {
			for _, tokens := range [][]string{{other, b.token()}, {b.token(), other}, {other, b.token(), madeUp(2)}} {
				require.Equal(t, "alice", strings.TrimSpace(b.tossed("/whoami", tokens...).Body), "%v", tokens)
			}
		}
		require.Equal(t, "book", b.tossed("/get?k=cart", madeUp(1), guest.token()).Body, "a guest has his session, too")
		require.Equal(t, "ended_by_you", strings.TrimSpace(b.tossed("/whoami", madeUp(1), dead).Body), "and who is logged out learns why")
		require.Equal(t, "mallory", strings.TrimSpace(b.tossed("/whoami", thief.token(), dead).Body), "there is no other")
	})
}

// Each costs a look at store and registry.
func TestOfManyCookiesNoMoreThanSixteenAreLookedUp(t *testing.T) {
	store, sm := &tokenStore{}, newManager()
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		var planted []string
		for i := range 100 {
			planted = append(planted, madeUp(i))
		}
		a.browser().tossed("/whoami", planted...)
		asked := store.seen()
		slices.Sort(asked)
		require.Equal(t, append(planted[:8:8], planted[92:]...), slices.Compact(asked), "the first and the last")
	}, withMemoryRegistry)
}

func TestNobodyIsLockedOutByManyPlantedCookies(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		var planted []string
		for i := range 100 {
			planted = append(planted, madeUp(i))
		}
		for _, tokens := range [][]string{append([]string{b.token()}, planted...), append(planted, b.token())} {
			require.Equal(t, "alice", strings.TrimSpace(b.tossed("/whoami", tokens...).Body))
		}
	})
}

func TestSeveralCookiesAreRecordedAndAFloodOfThemIsCounted(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		id := b.login(t, "alice")
		for range 50 {
			b.tossed("/whoami", madeUp(1), b.token())
		}
		b.tossed("/whoami", b.token(), b.token()) // one cookie, sent twice
		b.whoami()
		synctest.Wait()
		told := a.sink.events(t, scsguard.EventDuplicateCookie)
		require.Len(t, told, 1)
		require.Equal(t, []string{"failure", id}, []string{told[0].str("outcome"), told[0].str("session")})
		require.Equal(t, map[string]any{"cookies": "2", "live": "1"}, told[0]["details"])
		time.Sleep(time.Minute)
		told = a.sink.events(t, scsguard.EventDuplicateCookie)
		require.Len(t, told, 2)
		require.Equal(t, "49", told[1]["details"].(map[string]any)["count"])
	})
}

func TestOfSeveralCookiesNoneIsBelievedWhileTheRegistryIsDown(t *testing.T) {
	sm := newManager()
	s, change := stepped(sm)
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		s.fail("get")
		require.Equal(t, http.StatusServiceUnavailable, b.tossed("/whoami", madeUp(1), b.token()).Code)
		s.fail()
	}, change)
}

func TestAmongSeveralCookiesTheTokenBeforeARotationIsNotForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		old := b.token()
		require.Equal(t, http.StatusOK, b.get("/reauth").Code)
		require.Equal(t, "alice", strings.TrimSpace(b.tossed("/whoami", madeUp(1), old).Body))
		token := b.token()
		require.Equal(t, "alice", strings.TrimSpace(b.tossed("/whoami", old, token).Body))
		require.Empty(t, a.sink.events(t, scsguard.EventTokenReuse))
	})
}
