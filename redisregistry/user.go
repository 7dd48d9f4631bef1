package redisregistry

import (
	_ "embed"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

//go:embed lua/due.lua
var dueLua string

//go:embed lua/lease.lua
var leaseLua string

//go:embed lua/user.lua
var userLua string

//go:embed lua/places.lua
var placesLua string

//go:embed lua/admit.lua
var admitLua string

//go:embed lua/settle.lua
var settleLua string

//go:embed lua/held.lua
var heldLua string

//go:embed lua/unmarked.lua
var unmarkedLua string

//go:embed lua/release.lua
var releaseLua string

//go:embed lua/revoke.lua
var revokeLua string

//go:embed lua/rekey.lua
var rekeyLua string

//go:embed lua/warn.lua
var warnLua string

//go:embed lua/external.lua
var externalLua string

var (
	dueScript      = newScript("due", dueLua)
	leaseScript    = newScript("lease", leaseLua)
	placesScript   = newScript("places", userLua, placesLua)
	admitScript    = newScript("admit", userLua, admitLua)
	settleScript   = newScript("settle", userLua, settleLua)
	heldScript     = newScript("held", userLua, heldLua)
	releaseScript  = newScript("release", unmarkedLua, userLua, releaseLua)
	revokeScript   = newScript("revoke", userLua, revokeLua)
	rekeyScript    = newScript("rekey", rekeyLua)
	warnScript     = newScript("warn", warnLua)
	externalScript = newScript("external", externalLua)
)

// A place is what the index of a user says of a session.
type place struct {
	session string
	key     scsguard.Key // at some time: the record there leads to the present one
}

func parsePlaces(reply []any) ([]place, error) {
	texts, err := redis.Strings(reply, nil)
	if err != nil || len(texts)%2 != 0 {
		return nil, errAnswer
	}
	list := make([]place, 0, len(texts)/2)
	for i := 0; i < len(texts); i += 2 {
		list = append(list, place{texts[i], unpacked(texts[i+1])})
	}
	return list, nil
}

// Which places of a user are asked for.
const (
	allPlaces     = "all"
	countedPlaces = "counted" // those who do not make room for a login already
)

// places returns who holds a place, in the order of admission, and the last login on
// this process's clock.
func (r *Registry) places(l *link, user, which string) (scsguard.LastLogin, []place, error) {
	reply, err := l.ask(placesScript, r.user(user), which)
	if err != nil {
		return scsguard.LastLogin{}, nil, err
	}
	if len(reply) < 2 {
		return scsguard.LastLogin{}, nil, errAnswer
	}
	last, err := redis.Bytes(reply[1], nil)
	if err != nil {
		return scsguard.LastLogin{}, nil, err
	}
	at, err := redis.String(reply[0], nil)
	if err != nil {
		return scsguard.LastLogin{}, nil, err
	}
	list, err := parsePlaces(reply[2:])
	return decodeLast(l.moment(at), last), list, err
}

// readBatch is how many records are asked for at once.
const readBatch = 500

// holders returns the present record of each place.
func (r *Registry) holders(l *link, places []place) ([]stored, error) {
	all := make([]stored, 0, len(places))
	for len(places) > 0 {
		batch := places[:min(len(places), readBatch)]
		places = places[len(batch):]
		keys := make([]scsguard.Key, len(batch))
		for i, p := range batch {
			keys[i] = p.key
		}
		list, err := l.read(r.keyspace, keys...)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if list[i].rec.State == scsguard.StateMoved {
				if list[i], err = l.present(r.keyspace, list[i]); err != nil {
					return nil, err
				}
			}
		}
		all = append(all, list...)
	}
	return all, nil
}

// release drops the places of sessions that are dead. Until it is done they count,
// and a sweep comes to do it again.
func (r *Registry) release(l *link, user string, sessions ...string) error {
	if len(sessions) == 0 {
		return nil
	}
	_, err := l.run(releaseScript, r.user(user), anys(sessions)...)
	return err
}

func anys(texts []string) []any {
	list := make([]any, len(texts))
	for i, s := range texts {
		list[i] = s
	}
	return list
}

// forget drops a dead session from every list but the due entries.
func (r *Registry) forget(l *link, rec scsguard.Record) error {
	if rec.User == "" && rec.External == "" {
		return nil
	}
	if err := r.release(l, rec.User, rec.Session); err != nil {
		return err
	}
	return r.leaveExternal(l, rec)
}

func (r *Registry) leaveExternal(l *link, rec scsguard.Record) error {
	if rec.External == "" {
		return nil
	}
	_, err := l.do("HDEL", r.external(rec.External), "p"+rec.Session)
	return err
}

// leaveExternals is leaveExternal for many.
func (r *Registry) leaveExternals(l *link, recs []scsguard.Record) error {
	var commands []command
	for _, rec := range recs {
		if rec.External != "" {
			commands = append(commands, command{"HDEL", []any{r.external(rec.External), "p" + rec.Session}})
		}
	}
	return l.each(commands...)
}

// rekey lets a session be found under its new key without the way over the old one,
// whose record is forgotten some day, and for as long as it lives there: a full
// re-authentication prolongs it, without a login.
func (r *Registry) rekey(l *link, s stored, from, to scsguard.Key) error {
	ttl := s.ttl(l.now).Milliseconds()
	if _, err := l.run(rekeyScript, r.user(s.rec.User), s.rec.Session, packed(from), packed(to), ttl); err != nil {
		return err
	}
	if s.rec.External == "" {
		return nil
	}
	_, err := l.ask(externalScript, r.external(s.rec.External), "rekey", s.rec.Session, packed(from), packed(to), ttl)
	return err
}
