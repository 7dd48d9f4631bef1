package scsguard

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// A rememberToken is what the cookie of a remembered browser holds: the selector,
// which is the public ID of the family, a random validator, and a MAC over both.
// The store keeps the SHA-256 of the validator, so nobody can log in with what he
// reads there. By the MAC a token that was used long ago is told from one that was
// made up: only the former ends the family, and for the latter nobody is asked.
type rememberToken struct {
	family    string
	validator string
	mac       string
}

const (
	selectorLen = 26 // of rand.Text, 130 bits
	macLen      = 2 * digestLen
)

func (g *Guard) newRememberToken(family string) rememberToken {
	t := rememberToken{family: family, validator: base64.RawURLEncoding.EncodeToString(randomKey())}
	t.mac = g.rememberMAC(g.cfg.Keys[0], t)
	return t
}

func (g *Guard) rememberMAC(key []byte, t rememberToken) string {
	return digest(key, "remember", g.cfg.Namespace, t.family, t.validator)
}

func (t rememberToken) cookie() string { return t.family + "." + t.validator + "." + t.mac }

// hash is what the store keeps. The validator has 256 random bits, so nothing
// slower than SHA-256 is needed.
func (t rememberToken) hash() string {
	sum := sha256.Sum256([]byte(t.validator))
	return string(sum[:])
}

// parseRememberToken returns the token in a cookie, if it is one that this guard
// has given out, under whichever of its keys.
func (g *Guard) parseRememberToken(value string) (rememberToken, bool) {
	family, rest, _ := strings.Cut(value, ".")
	validator, mac, _ := strings.Cut(rest, ".")
	t := rememberToken{family, validator, mac}
	if len(family) != selectorLen || !validToken(validator) || len(mac) != macLen {
		return rememberToken{}, false
	}
	for _, key := range g.cfg.Keys {
		if hmac.Equal([]byte(g.rememberMAC(key, t)), []byte(mac)) {
			return t, true
		}
	}
	return rememberToken{}, false
}

// rememberTokenOf returns the first genuine token of a request. The cookies of an
// API client are not looked at.
func (g *Guard) rememberTokenOf(r *request, req *http.Request) (rememberToken, bool) {
	if g.cfg.Remember.Store == nil || req == nil || r.api {
		return rememberToken{}, false
	}
	for _, c := range req.CookiesNamed(g.cfg.Remember.Cookie) {
		if t, ok := g.parseRememberToken(c.Value); ok {
			return t, true
		}
	}
	return rememberToken{}, false
}

// The answer to the use of a token, the next token and the one of the session, is
// kept for those who come with the same token in its grace. It is sealed under a
// key of the guard and the token, so that neither whoever reads the store nor
// whoever has an old token can open it; only both together, with the guard.

// sealer returns the cipher for what a token is answered with.
func sealer(key []byte, t rememberToken) cipher.AEAD {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("remember answer\x00" + t.family + "\x00" + t.validator))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES is what it asks for
	}
	return aead
}

func (g *Guard) sealAnswer(t, next rememberToken, session string) string {
	return string(sealer(g.cfg.Keys[0], t).Seal(nil, nil, []byte(next.cookie()+" "+session), nil))
}

func (g *Guard) openAnswer(t rememberToken, sealed string) (next rememberToken, session string, ok bool) {
	for _, key := range g.cfg.Keys {
		plain, err := sealer(key, t).Open(nil, nil, []byte(sealed), nil)
		if err != nil {
			continue
		}
		cookie, session, _ := strings.Cut(string(plain), " ")
		next, ok := g.parseRememberToken(cookie)
		return next, session, ok
	}
	return rememberToken{}, "", false
}

// rememberedDevice is a keyed digest of what a remembered device stays the same
// in: browser and platform, not its network, which it leaves every day.
func (g *Guard) rememberedDevice(key []byte, r *request) string {
	return digest(key, "remembered device", deviceOf(r.userAgent))
}

func (g *Guard) isRememberedDevice(r *request, recorded string) bool {
	for _, key := range g.cfg.Keys {
		if hmac.Equal([]byte(g.rememberedDevice(key, r)), []byte(recorded)) {
			return true
		}
	}
	return false
}
