package scsguard

import (
	"crypto/hmac"
	"net/netip"
	"strings"
	"sync"
)

// A fingerprint is one keyed digest, or three with dots between them.
//
// The first is of the client exactly as it was when it got the session's current
// token: its user agent and its network. By it a request with the token before is
// recognized during the grace of a rotation, in which neither changes on an
// honest device. The second and third are of the signals by which a session is
// bound to a device: what deviceOf makes of the user agent, and the network. A
// session that began outside of an HTTP request has only the first.
//
// All are under one key, the first of Config.Keys at that time.
type fingerprint struct{ exact, agent, network string }

func parseFingerprint(s string) (fp fingerprint, bound bool) {
	fp.exact, s, _ = strings.Cut(s, ".")
	fp.agent, fp.network, bound = strings.Cut(s, ".")
	return fp, bound
}

func (fp fingerprint) String() string {
	if fp.agent == "" {
		return fp.exact
	}
	return fp.exact + "." + fp.agent + "." + fp.network
}

// client is all that a fingerprint is made of.
type client struct {
	agent   string
	network netip.Prefix
}

func (r *request) client() client { return client{r.userAgent, network(r.ip)} }

func (c client) exact(key []byte) string {
	return digest(key, "device", c.agent, c.network.String())
}

func (c client) fingerprint(key []byte) fingerprint {
	return fingerprint{c.exact(key), digest(key, "user agent", deviceOf(c.agent)), digest(key, "network", c.network.String())}
}

// fingerprint returns what the client of a request is recognized by from now on.
func (g *Guard) fingerprint(r *request) fingerprint {
	if r.ipSource == "" { // not an HTTP request
		return fingerprint{exact: r.client().exact(g.cfg.Keys[0])}
	}
	return g.clients.fingerprint(g.cfg.Keys[0], r.client())
}

// fingerprintAfter returns the fingerprint for a rotation. The new token is the
// client's as it is now. But only who proves who he is binds the session to
// another device: a renewal does not.
func (g *Guard) fingerprintAfter(r *request, rec Record, proved bool) string {
	now := g.fingerprint(r)
	old, bound := parseFingerprint(rec.Fingerprint)
	if proved && now.agent != "" {
		return now.String()
	}
	if !bound {
		return now.exact
	}
	return fingerprint{now.exact, old.agent, old.network}.String()
}

// sameDevice reports whether the request carries exactly the signals that were
// recorded, under whichever of the keys was the first one then.
func (g *Guard) sameDevice(r *request, recorded string) bool {
	fp, _ := parseFingerprint(recorded)
	for _, key := range g.cfg.Keys {
		if hmac.Equal([]byte(r.client().exact(key)), []byte(fp.exact)) {
			return true
		}
	}
	return false
}

// clients remembers fingerprints, which are needed on every request of a session.
type clients struct {
	mu    sync.RWMutex
	known map[client]fingerprint
}

// maxClients bounds what is remembered. Beyond it everything is forgotten: a
// visitor who invents user agents costs what their digests cost.
const maxClients = 1024

func (c *clients) fingerprint(key []byte, cl client) fingerprint {
	c.mu.RLock()
	fp, ok := c.known[cl]
	c.mu.RUnlock()
	if ok {
		return fp
	}
	fp = cl.fingerprint(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxClients {
		c.known = make(map[client]fingerprint)
	}
	c.known[cl] = fp
	return fp
}
