package scsguard

import "crypto/hmac"

// fingerprint returns a keyed digest of the signals by which a request with an
// old token is recognized as coming from the device that the new token was
// given to. It covers the user agent and the network, exactly: between the
// rotation and the end of its grace neither changes on an honest device.
func (g *Guard) fingerprint(key []byte, r *request) string {
	return digest(key, "device", r.userAgent, network(r.ip).String())
}

// sameDevice reports whether the request carries the signals that were recorded,
// under whichever of the keys was the first one then.
func (g *Guard) sameDevice(r *request, recorded string) bool {
	for _, key := range g.cfg.Keys {
		if hmac.Equal([]byte(g.fingerprint(key, r)), []byte(recorded)) {
			return true
		}
	}
	return false
}
