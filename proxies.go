package scsguard

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// TrustedProxies returns a Config.ClientIP for an application behind reverse
// proxies with these addresses. It reads Forwarded (RFC 7239) and X-Forwarded-For
// from right to left: each proxy adds at the right whom it was asked by, so the
// first address there that is not of a trusted proxy is the client's, and what
// stands left of it the client may have written.
//
// A peer that is no trusted proxy is the client, whatever its headers say. What
// cannot be read yields no address, and never one that is trusted less: an
// obfuscated or unknown node, a malformed header, and two headers that do not
// agree, since a proxy that sets only one of them lets the client write the other.
//
// Trust only the proxies themselves, not the network they are in: whoever has a
// trusted address can claim any other.
func TrustedProxies(proxies ...netip.Prefix) func(*http.Request) netip.Addr {
	trusted := make(trustedProxies, len(proxies))
	for i, p := range proxies {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		trusted[i] = p
	}
	return trusted.client
}

type trustedProxies []netip.Prefix

func (t trustedProxies) contain(ip netip.Addr) bool {
	return slices.ContainsFunc(t, func(p netip.Prefix) bool { return p.Contains(ip) })
}

func (t trustedProxies) client(req *http.Request) netip.Addr {
	peer := remoteAddr(req)
	if !t.contain(peer) {
		return peer
	}
	forwarded, classic := req.Header.Values("Forwarded"), req.Header.Values("X-Forwarded-For")
	switch {
	case len(forwarded) == 0 && len(classic) == 0:
		return peer // the proxy itself, asking for our health
	case len(classic) == 0:
		return t.first(hops(forwarded, forwardedNodes))
	case len(forwarded) == 0:
		return t.first(hops(classic, classicNodes))
	}
	ip := t.first(hops(forwarded, forwardedNodes))
	if ip != t.first(hops(classic, classicNodes)) {
		return netip.Addr{}
	}
	return ip
}

// first returns the first address that is not of a trusted proxy, the last one if
// all are, and none if it cannot be read.
func (t trustedProxies) first(nodes iter.Seq[netip.Addr]) (ip netip.Addr) {
	for ip = range nodes {
		if !t.contain(ip) { // an invalid one never is
			break
		}
	}
	return ip
}

// hops yields the nodes of all lines of a header from right to left, an invalid
// one for what cannot be read.
func hops(lines []string, nodes func(string) []netip.Addr) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, line := range slices.Backward(lines) {
			for _, ip := range slices.Backward(nodes(line)) {
				if !yield(ip) {
					return
				}
			}
		}
	}
}

// classicNodes splits a line of X-Forwarded-For, of which no standard says what it
// looks like: addresses, some with a port, IPv6 with brackets or without.
func classicNodes(line string) []netip.Addr {
	var list []netip.Addr
	for part := range strings.SplitSeq(line, ",") {
		part = trimOWS(part)
		ip, err := netip.ParseAddr(part)
		if err != nil {
			ip = node(part)
		}
		list = append(list, plain(ip))
	}
	return list
}

// forwardedNodes splits a line of Forwarded. A malformed line is one node that
// cannot be read: a quote that is not closed could hide what a proxy has added.
func forwardedNodes(line string) []netip.Addr {
	list := []netip.Addr{{}}
	named := false // the present element has named a node
	for rest := line; ; {
		rest = trimOWS(rest)
		if rest != "" && !strings.ContainsRune(",;", rune(rest[0])) {
			name, value, after, ok := forwardedPair(rest)
			if !ok {
				return []netip.Addr{{}}
			}
			if strings.EqualFold(name, "for") {
				if named {
					return []netip.Addr{{}}
				}
				named, list[len(list)-1] = true, plain(node(value))
			}
			rest = trimOWS(after)
		}
		switch {
		case rest == "":
			return list
		case rest[0] == ',':
			list, named = append(list, netip.Addr{}), false
		case rest[0] != ';':
			return []netip.Addr{{}}
		}
		rest = rest[1:]
	}
}

// forwardedPair reads a token, "=", and a token or quoted string.
func forwardedPair(s string) (name, value, rest string, ok bool) {
	end := strings.IndexFunc(s, notToken)
	if end <= 0 || s[end] != '=' {
		return "", "", "", false
	}
	name, s = s[:end], s[end+1:]
	if !strings.HasPrefix(s, `"`) {
		if end = strings.IndexFunc(s, notToken); end < 0 {
			end = len(s)
		}
		return name, s[:end], s[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return name, b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", "", false
}

// node reads a node of RFC 7239 section 6 that is an address, with or without a
// port. Others, such as "unknown" and "_hidden", are no address.
func node(s string) netip.Addr {
	host, port, hasPort := strings.Cut(s, ":")
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if host, port, ok = strings.Cut(inner, "]"); !ok {
			return netip.Addr{}
		}
		port, hasPort = strings.CutPrefix(port, ":")
		if !hasPort && port != "" {
			return netip.Addr{}
		}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Is6() != strings.HasPrefix(s, "[") || hasPort && !isPort(port) {
		return netip.Addr{}
	}
	return ip
}

// isPort accepts one to five digits, or an obfuscated port.
func isPort(s string) bool {
	hidden, ok := strings.CutPrefix(s, "_")
	if ok {
		return hidden != "" && !strings.ContainsFunc(hidden, notToken)
	}
	return len(s) >= 1 && len(s) <= 5 && strings.Trim(s, "0123456789") == ""
}

// plain returns an address as other parts of the guard compare it. One with a zone
// means nothing on another host.
func plain(ip netip.Addr) netip.Addr {
	if ip.Zone() != "" {
		return netip.Addr{}
	}
	return ip.Unmap()
}

// notToken reports whether r cannot be part of a token (RFC 9110 5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func trimOWS(s string) string { return strings.Trim(s, " \t") }
