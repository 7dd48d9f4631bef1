package investigate

import (
	"fmt"
	"net/netip"
	"time"
)

// Rule says which address is unusual for a user: one in a network that the trail
// has not seen of him before. It is computed from the trail alone.
//
// The network of an address are its first V4 or V6 bits. It was seen if a request of
// one of the user's sessions came from it within Within before, and that request
// was not part of the session in question. What the trail does not reach back to
// counts as not seen.
type Rule struct {
	Within time.Duration // default 30 days
	V4, V6 int           // default 24 and 56, as the guard has it
	// Locator, if given, knows places. An address whose place was seen is not
	// unusual, though its network is new: people move about in their town.
	Locator Locator
}

// A Locator knows where an address is: a country, a town, an office. A GeoIP
// database can be one.
type Locator interface {
	Locate(netip.Addr) (place string, ok bool)
}

func (r Rule) withDefaults() Rule {
	if r.Within <= 0 {
		r.Within = 30 * 24 * time.Hour
	}
	if r.V4 <= 0 {
		r.V4 = 24
	}
	if r.V6 <= 0 {
		r.V6 = 56
	}
	return r
}

// network is the network of an address, invalid if there is no address.
func (r Rule) network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := r.V6
	if a.Is4() {
		bits = r.V4
	}
	p, err := a.Prefix(min(bits, a.BitLen()))
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// sighting is where a user was seen.
type sighting struct {
	at      time.Time
	session string
	network netip.Prefix
	place   string
}

func (r Rule) sighting(e *Event) (sighting, bool) {
	a := e.Addr()
	if !a.IsValid() || e.IPSource == "" || !e.succeeded() {
		return sighting{}, false
	}
	s := sighting{at: e.Time, session: e.Session, network: r.network(a)}
	if r.Locator != nil {
		s.place, _ = r.Locator.Locate(a)
	}
	return s, true
}

// unusual says why the address at which a session began is unusual, "" if it is not.
func (r Rule) unusual(h *History, seen []sighting) string {
	a, err := netip.ParseAddr(h.IP)
	if err != nil {
		return "the trail does not say where the session came from"
	}
	here, place, begin := r.network(a), "", h.start()
	if r.Locator != nil {
		place, _ = r.Locator.Locate(a)
	}
	for _, s := range seen {
		if s.session == h.ID || !s.at.Before(begin) || s.at.Before(begin.Add(-r.Within)) {
			continue
		}
		if s.network == here || place != "" && s.place == place {
			return ""
		}
	}
	why := fmt.Sprintf("%s not seen of the user within %d days before", here, int(r.Within.Hours()/24))
	if place != "" {
		why += ", nor " + place
	}
	return why
}
