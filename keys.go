package scsguard

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
)

// minKeyLen is the length of a key of HMAC-SHA-256 that is as strong as its
// output (RFC 2104 section 3).
const minKeyLen = 32

// digestLen is how many bytes of an HMAC the trail shows: enough that nobody
// finds a second token with the same digest by chance or by work.
const digestLen = 16

// digest returns a keyed digest of parts, for one purpose, under one key.
func digest(key []byte, purpose string, parts ...string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	for _, p := range parts {
		mac.Write([]byte{0}) // no purpose or part holds a zero byte of its own
		mac.Write([]byte(p))
	}
	return hex.EncodeToString(mac.Sum(nil)[:digestLen])
}

// TokenHash returns the token_hash that the trail carries for a session token
// now, so that whoever holds a token, from a proxy's log or a thief's notes, can
// find the session it belonged to. It does not depend on HashTokenInStore.
// Only a process with the same Config.Keys computes the same value.
func (g *Guard) TokenHash(token string) string {
	g.mustExist()
	return digest(g.cfg.Keys[0], "token", hashToken(token))
}

// TokenHashes returns what TokenHash returned while each of Config.Keys was the
// first: all values to look for in an old trail.
func (g *Guard) TokenHashes(token string) []string {
	g.mustExist()
	hashes := make([]string, len(g.cfg.Keys))
	for i, key := range g.cfg.Keys {
		hashes[i] = digest(key, "token", hashToken(token))
	}
	return hashes
}

// keyHash is TokenHash for those who know only the store key, such as the
// process that ends somebody else's session.
func (g *Guard) keyHash(key Key) string {
	switch {
	case key == "":
		return ""
	case g.sm.HashTokenInStore:
		return digest(g.cfg.Keys[0], "token", string(key))
	}
	return g.TokenHash(string(key))
}

// storeKey returns the key under which the manager keeps a token's data.
func (g *Guard) storeKey(token string) Key {
	switch {
	case token == "":
		return ""
	case g.sm.HashTokenInStore:
		return Key(hashToken(token))
	}
	return Key(token)
}

// hashToken is what scs stores in place of a token if HashTokenInStore is set.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// tokenLen is the length of a token of scs: 32 random bytes in base64url, and
// of its SHA-256 in the same encoding.
const tokenLen = 43

// validToken reports whether a cookie can be a token of scs. Nothing else ever
// reaches the store, whose key syntax a visitor must not be able to play with.
func validToken(token string) bool {
	if len(token) != tokenLen {
		return false
	}
	valid := true
	for i := range tokenLen {
		valid = valid && inTokens[token[i]]
	}
	return valid
}

// inTokens says which bytes a token consists of.
var inTokens = func() (in [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		in[c] = true
	}
	return in
}()

// newSessionID returns 128 random bits or more in letters and digits that any
// URL, log and eye can carry.
func newSessionID() string { return rand.Text() }

// network returns the part of an address that stays the same while a device
// stays in its network: /24 for IPv4, /56 for IPv6 (what a household is given,
// RFC 6177), so that privacy addresses do not matter.
func network(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := 56
	if ip.Is4() {
		bits = 24
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: no network, which equals only itself
	}
	return p
}

func randomKey() []byte {
	key := make([]byte, minKeyLen)
	_, _ = rand.Read(key) // it never fails: crypto/rand ends the program instead
	return key
}
