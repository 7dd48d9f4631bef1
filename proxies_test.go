package scsguard_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// The proxies of these tests, of which the first is the one that asks us.
var proxies = scsguard.TrustedProxies(netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("2001:db8:ffff::/48"))

const proxy = "10.0.0.1:5000"

// behind returns the request that a peer makes with these header lines, each as
// "Name: value".
func behind(peer string, header ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = peer
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestTheClientIsTheFirstFromTheRightWhoIsNoTrustedProxy(t *testing.T) {
	for _, c := range []struct {
		client string // empty: no address
		header []string
	}{
		{"10.0.0.1", nil}, // the proxy's own health check
		{"192.0.2.1", []string{"X-Forwarded-For: 192.0.2.1"}},
		{"192.0.2.1", []string{"X-Forwarded-For: 192.0.2.1:4711"}},
		{"192.0.2.1", []string{"X-Forwarded-For: ::ffff:192.0.2.1"}},
		{"2001:db8::1", []string{"X-Forwarded-For: 2001:db8::1"}},
		{"2001:db8::1", []string{"X-Forwarded-For: [2001:db8::1]"}},
		{"2001:db8::1", []string{"X-Forwarded-For: [2001:db8::1]:4711"}},
		{"192.0.2.1", []string{"X-Forwarded-For: 192.0.2.1, 10.0.0.7,10.0.0.8"}},
		{"192.0.2.1", []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.7"}},
		{"192.0.2.1", []string{"X-Forwarded-For: 192.0.2.1, 2001:db8:ffff::3"}},
		{"10.0.0.9", []string{"X-Forwarded-For: 10.0.0.9, 10.0.0.8"}}, // all trusted: who began
		{"192.0.2.1", []string{"X-Forwarded-For: 6.6.6.6, 192.0.2.1"}},
		{"192.0.2.1", []string{"X-Forwarded-For: 10.0.0.7, 192.0.2.1, 10.0.0.8"}},
		{"192.0.2.1", []string{"X-Forwarded-For: garbage, 192.0.2.1"}},
		{"192.0.2.1", []string{"X-Forwarded-For: ", "X-Forwarded-For: 192.0.2.1"}},
		{"", []string{"X-Forwarded-For: 192.0.2.1, garbage"}},
		{"", []string{"X-Forwarded-For: 192.0.2.1, garbage, 10.0.0.7"}},
		{"", []string{"X-Forwarded-For: 192.0.2.1, "}},
		{"", []string{"X-Forwarded-For: "}},
		{"", []string{"X-Forwarded-For: unknown"}},
		{"", []string{"X-Forwarded-For: 192.0.2.1.5"}},
		{"", []string{"X-Forwarded-For: 192.0.2.1:"}},
		{"", []string{"X-Forwarded-For: 192.0.2.1:123456"}},
		{"", []string{"X-Forwarded-For: [2001:db8::1"}},
		{"", []string{"X-Forwarded-For: [2001:db8::1]4711"}},
		{"", []string{"X-Forwarded-For: [192.0.2.1]"}},
		{"", []string{"X-Forwarded-For: fe80::1%eth0"}},
		{"", []string{"X-Forwarded-For: 192.0.2.1 10.0.0.7"}},

		{"192.0.2.1", []string{"Forwarded: for=192.0.2.1"}},
		{"192.0.2.1", []string{`Forwarded: For="192.0.2.1:4711";proto=https;by=203.0.113.43`}},
		{"192.0.2.1", []string{`Forwarded: proto=https; FOR="192.0.2.1:_port" ; host="a,b;c"`}},
		{"2001:db8::1", []string{`Forwarded: for="[2001:db8::1]"`}},
		{"2001:db8::1", []string{`Forwarded: for="[2001:db8::1]:4711"`}},
		{"192.0.2.1", []string{`Forwarded: for="\192.0.2.1"`}},
		{"192.0.2.1", []string{"Forwarded: for=192.0.2.1, for=10.0.0.7;;, for=10.0.0.8"}},
		{"192.0.2.1", []string{"Forwarded: for=6.6.6.6", `Forwarded: for=192.0.2.1,for="[2001:db8:ffff::3]"`}},
		{"192.0.2.1", []string{`Forwarded: for="`, "Forwarded: for=192.0.2.1"}},
		{"", []string{`Forwarded: for=", for=192.0.2.1`}},
		{"", []string{`Forwarded: for=6.6.6.6;x=", for="192.0.2.1"`}},
		{"", []string{"Forwarded: for=192.0.2.1;for=6.6.6.6"}},
		{"", []string{"Forwarded: proto=https"}},
		{"", []string{"Forwarded: for=192.0.2.1, proto=https"}},
		{"", []string{"Forwarded: for=192.0.2.1,"}},
		{"", []string{"Forwarded: for=_hidden"}},
		{"", []string{"Forwarded: for=unknown"}},
		{"", []string{"Forwarded: for=192.0.2.1:4711"}}, // a colon has to be quoted
		{"", []string{"Forwarded: for=[2001:db8::1]"}},
		{"", []string{`Forwarded: for="2001:db8::1"`}},
		{"", []string{`Forwarded: for="[2001:db8::1%eth0]"`}},
		{"", []string{"Forwarded: for"}},
		{"", []string{"Forwarded: for="}},
		{"", []string{`Forwarded: for="192.0.2.1"x`}},
		{"", []string{"Forwarded: "}},

		{"192.0.2.1", []string{"Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1"}},
		{"", []string{"Forwarded: for=6.6.6.6", "X-Forwarded-For: 192.0.2.1"}},
		{"", []string{"Forwarded: for=192.0.2.1", "X-Forwarded-For: 6.6.6.6"}},
	} {
		ip := proxies(behind(proxy, c.header...))
		got := ""
		if ip.IsValid() {
			got = ip.String()
		}
		require.Equal(t, c.client, got, "%q", c.header)
	}
}

func TestForwardingHeadersOfAnUntrustedPeerChangeNothing(t *testing.T) {
	for _, peer := range []string{"203.0.113.5:1", "[2001:db8::5]:1", "10.0.1.1:1", "[::ffff:203.0.113.5]:1"} {
		plain := proxies(behind(peer))
		require.True(t, plain.IsValid())
		for _, header := range []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=192.0.2.1", "X-Real-Ip: 192.0.2.1", "X-Forwarded-For: garbage"} {
			require.Equal(t, plain, proxies(behind(peer, header)), header)
		}
	}
	require.False(t, proxies(behind("garbage", "X-Forwarded-For: 192.0.2.1")).IsValid())
	require.Equal(t, "203.0.113.5", scsguard.TrustedProxies()(behind("203.0.113.5:1", "X-Forwarded-For: 192.0.2.1")).String())
	mapped := scsguard.TrustedProxies(netip.MustParsePrefix("::ffff:10.0.0.0/120"))
	require.Equal(t, "192.0.2.1", mapped(behind("[::ffff:10.0.0.1]:1", "X-Forwarded-For: 192.0.2.1")).String())
}

// TestASpoofedAddressBindsNothing goes the whole way: what a client writes into the
// headers reaches neither the trail nor the binding.
func TestASpoofedAddressBindsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		through := func(peer, header string) answer {
			r := b.request("GET", "/whoami")
			r.RemoteAddr = peer
			r.Header.Set("X-Forwarded-For", header)
			return b.do(r)
		}
		r := b.request("GET", "/login?user=alice")
		r.RemoteAddr = proxy
		r.Header.Set("X-Forwarded-For", "6.6.6.6, 192.0.2.1")
		require.Equal(t, http.StatusOK, b.do(r).Code)
		login := a.sink.events(t, scsguard.EventLogin)[0]
		require.Equal(t, "192.0.2.1", login.str("ip"))
		require.Equal(t, http.StatusOK, through(proxy, "6.6.6.6, 192.0.2.1").Code)
		require.Equal(t, http.StatusUnauthorized, through("203.0.113.5:1", "192.0.2.1").Code, "a thief who knows the address")
	}, binding(scsguard.Binding{Network: scsguard.End}), func(c *scsguard.Config) { c.ClientIP = proxies })
}

// FuzzNobodyChoosesHisAddress: whatever a client puts into the headers before the
// proxy adds his address, the answer is that address or none.
func FuzzNobodyChoosesHisAddress(f *testing.F) {
	for _, s := range []string{"", "6.6.6.6", "6.6.6.6,", `for="`, `for=6.6.6.6;x="`, `for="\`, "for=6.6.6.6, for=", "10.0.0.2", "[", "::1", `";for=6.6.6.6,`, "\t", "for=10.0.0.3"} {
		for _, ip := range []string{"192.0.2.1", "2001:db8::1"} {
			f.Add(s, s, ip, true)
			f.Add(s, "", ip, false)
		}
	}
	f.Fuzz(func(t *testing.T, forwarded, classic, client string, sameLine bool) {
		ip, err := netip.ParseAddr(client)
		if err != nil || ip.Zone() != "" || ip.Is4In6() {
			return
		}
		if netip.MustParsePrefix("10.0.0.0/24").Contains(ip) || netip.MustParsePrefix("2001:db8:ffff::/48").Contains(ip) {
			return // a trusted proxy may say what it likes
		}
		own := "for=" + ip.String()
		if ip.Is6() {
			own = `for="[` + ip.String() + `]"`
		}
		add := func(r *http.Request, name, theirs, own string) {
			if sameLine && theirs != "" {
				r.Header.Add(name, theirs+", "+own)
				return
			}
			if theirs != "" {
				r.Header.Add(name, theirs)
			}
			r.Header.Add(name, own)
		}
		// A proxy that sets both, and two that set one and let the other pass.
		for _, sets := range []string{"both", "Forwarded", "X-Forwarded-For"} {
			r := behind(proxy)
			if sets != "X-Forwarded-For" {
				add(r, "Forwarded", forwarded, own)
			} else if forwarded != "" {
				r.Header.Add("Forwarded", forwarded)
			}
			if sets != "Forwarded" {
				add(r, "X-Forwarded-For", classic, ip.String())
			} else if classic != "" {
				r.Header.Add("X-Forwarded-For", classic)
			}
			if got := proxies(r); got.IsValid() && got != ip {
				t.Fatalf("the proxy sets %s, the headers are %q, and the address is %s, not %s", sets, r.Header, got, ip)
			}
		}
		// And who is no proxy says nothing at all.
		r := behind("203.0.113.5:1")
		r.Header.Add("Forwarded", forwarded)
		r.Header.Add("X-Forwarded-For", classic)
		require.Equal(t, "203.0.113.5", proxies(r).String())
	})
}
