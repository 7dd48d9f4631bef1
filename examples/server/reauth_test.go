package main

import (
	"context"
	"flag"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestMoneyAndThePasswordNeedARecentLogin(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		alice := s.visitor()
		alice.login("alice")
		time.Sleep(recentLogin)
		requireProblem(t, alice.post("/transfer", "amount", "1", "to", "bob"), 403, "REAUTH_REQUIRED")
		requireProblem(t, alice.post("/password", "password", "demo", "new", "demo2"), 403, "REAUTH_REQUIRED")
		requireProblem(t, alice.post("/reauth", "password", "wrong"), 403, "wrong_password")
		requireProblem(t, alice.post("/transfer", "amount", "1", "to", "bob"), 403, "REAUTH_REQUIRED")
		require.Equal(t, 204, alice.post("/reauth", "password", "demo").Code)
		require.Equal(t, 200, alice.post("/transfer", "amount", "1", "to", "bob").Code)
		time.Sleep(recentLogin)
		requireProblem(t, alice.post("/transfer", "amount", "1", "to", "bob"), 403, "REAUTH_REQUIRED")
	})
}

func TestTheTokenOfAnotherDeviceIsTreatedAsTheFlagSays(t *testing.T) {
	for mode, code := range map[scsguard.BindingMode]int{scsguard.Off: 200, scsguard.Log: 200, scsguard.StepUp: 403, scsguard.End: 401} {
		s := newServer(t, func(o *options) { o.binding = mode })
		alice := s.visitor()
		alice.login("alice")
		r := alice.request("POST", "/transfer", "application/json", `{"amount": 1, "to": "bob"}`)
		r.Header.Set("User-Agent", "Another/1.0")
		require.Equal(t, code, alice.do(r).Code, mode.String())
	}
}

func TestTheAddressInTheTrailIsTheOneTheProxyTells(t *testing.T) {
	for proxy, ip := range map[string]string{"192.0.2.1/32": "203.0.113.5", "10.0.0.0/8": "192.0.2.1"} {
		s := newServer(t, func(o *options) { o.proxies = []netip.Prefix{netip.MustParsePrefix(proxy)} })
		alice := s.visitor()
		r := alice.request("POST", "/login", "application/json", `{"user": "alice", "password": "demo"}`)
		r.Header.Set("X-Forwarded-For", "198.51.100.1, 203.0.113.5")
		require.Equal(t, 200, alice.do(r).Code)
		require.Equal(t, ip, s.events("login", 1)[0]["ip"])
	}
}

func TestABrowserIsAskedForThePasswordAndNothingIsRepeatedBehindItsBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		alice := s.browser()
		alice.login("alice")
		time.Sleep(recentLogin)
		asked := alice.post("/transfer", "amount", "1", "to", "bob")
		require.Equal(t, 403, asked.Code)
		require.Contains(t, asked.Body, `action="/reauth"`)
		again := alice.post("/reauth", "password", "wrong")
		require.Equal(t, 403, again.Code)
		require.Contains(t, again.Body, `action="/reauth"`)
		res := alice.post("/reauth", "password", "demo")
		require.Equal(t, 200, res.Code)
		require.Contains(t, res.Body, "Please repeat what you wanted to do.")
		require.Equal(t, startBalance, s.app.bank.balance("alice"))
	})
}

func TestAProfileDecidesWhatTheCommandLineLeavesOpen(t *testing.T) {
	for _, p := range []string{"pci", "nist-aal2", "nist-aal2-rev3", "nist-aal3", "owasp-high-value", "psd2"} {
		s := newServer(t, func(o *options) {
			require.NoError(t, o.profile.UnmarshalText([]byte(p)))
			o.leaveToProfile(flag.NewFlagSet("", flag.ContinueOnError))
		})
		require.Equal(t, p, s.app.guard.PolicyReport().Profile.String())
		require.Equal(t, scsguard.Limit{Max: 3, OnExceed: scsguard.Deny}, s.app.guard.PolicyReport().Limit)

		v := s.visitor()
		require.NotContains(t, s.browser().get("/").Body, "Remember this browser")
		res := v.post("/login", "user", "alice", "password", "demo", "remember", "true")
		require.Equal(t, 200, res.Code, "it is a login like any other")
		require.NotContains(t, strings.Join(res.Header["Set-Cookie"], " "), "__Host-remember")
	}
	o := defaults()
	o.profile = scsguard.ProfilePSD2
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.DurationVar(&o.timeouts.Idle, "idle", 15*time.Minute, "")
	require.NoError(t, flags.Parse([]string{"-idle", "10m"}))
	o.leaveToProfile(flags)
	_, err := newApp(newManager(), scsguard.SinkFunc(func(context.Context, [][]byte) error { return nil }), o, slog.Default())
	require.ErrorContains(t, err, "EU 2018/389 Art. 4(3)(d)")
}
