package scsguard

import (
	"math"
	"net/netip"
	"strings"
	"time"
	"unique"
)

// entry is one key's record, and its user's place if it is alive. There may be a
// million of them, so it holds what every session has, and leads to the rest. What
// many sessions have in common they share.
//
// A record comes out of it exactly as it went in, with the monotonic readings of its
// times: they let limits hold whatever becomes of the system's clock.
type entry struct {
	key     Key    // the string that is the key of the map, too
	user    string // memoryUser's, if there is one
	text    string // session ID and fingerprint
	common  unique.Handle[common]
	created time.Time
	active  time.Time // LastActivity
	// Counted from created; see since. AbsoluteSince and TokenSince are the same as
	// created, or apart.
	auth, absolute time.Duration
	gap            time.Duration
	seq            uint64
	methods        []string
	ip             [16]byte

	more    *more     // nil for an ordinary session
	pending *underWay // nil unless a login is under way
	from    uint64    // a hash of the token that the login came with, 0 if there was none

	place  int32 // 1 + position in the queue; 0: not in it
	cut    uint8 // length of the session ID
	family uint8 // of the address: 4, 6, or 0 if it is apart
	shard  uint8
	state  State // StateUnknown: dropped, for whoever has found it and waits for the lock
}

// common is what sessions have in common: browsers, roles and limits are few.
type common struct {
	role, baseRole string
	agent          string
	aal, loginAAL  int
	idle           time.Duration
	remembered     bool
	conditions
}

// conditions are those under which a session was admitted.
type conditions struct {
	limit     Limit
	keep      time.Duration // of the tombstone, at least
	retention time.Duration
}

// underWay belongs to a login that is not settled, or to a session that has to go for one.
type underWay struct {
	claim  *claim
	victim *Ending // marked by an admission that is not settled yet
	by     string  // the session that marked it
}

// more is what few sessions have.
type more struct {
	times *times
	aside *aside
	moved *moved
	ended *endedAs
}

// times are those of a session that was renewed, or authenticated anew, or not by
// one reading of the clock.
type times struct{ auth, absolute, absoluteSince, token time.Time }

// moved is what an old key has, and one that gave way to another in its browser.
type moved struct {
	successor           Key
	at, until, replaced time.Time
}

// aside is what belongs to actors, identity providers, other devices and the like.
type aside struct {
	texts
	extends  int
	warnings []Warning
	lease    time.Time
	extra    []byte
	ip       netip.Addr // of which 16 bytes are not all
}

type texts struct {
	actor, external, mismatch, owner, remember string
	session                                    string // if it is long
}

// endedAs is an Ending. Endings are much alike, and most come from where the session
// was.
type endedAs struct {
	how       unique.Handle[how]
	at        time.Time
	due       *time.Time
	detail    string
	ip        *netip.Addr // nil if it is the session's
	confirmed bool
}

type how struct {
	kind                   EventKind
	reason                 EndReason
	actor, ipSource, agent string
	keep                   time.Duration
}

func newEndedAs(r *Record) *endedAs {
	e := &r.Ending
	d := &endedAs{how: unique.Make(how{e.Kind, e.Reason, e.Actor, e.IPSource, e.UserAgent, e.Keep}), at: e.At, detail: e.Detail, confirmed: r.Confirmed}
	if due := e.Due; due != (time.Time{}) {
		d.due = &due
	}
	if ip := e.IP; ip != r.IP {
		d.ip = &ip
	}
	return d
}

func (d *endedAs) read(r *Record) {
	h := d.how.Value()
	r.Ending = Ending{Kind: h.kind, Reason: h.reason, At: d.at, Actor: h.actor, Detail: d.detail, IP: r.IP,
		IPSource: h.ipSource, UserAgent: h.agent, Keep: h.keep}
	if d.due != nil {
		r.Ending.Due = *d.due
	}
	if d.ip != nil {
		r.Ending.IP = *d.ip
	}
	r.Confirmed = d.confirmed
}

// never stands for the zero time among times that are counted from another.
const never = time.Duration(math.MinInt64)

// since counts t from base. It reports whether after makes exactly the same of it:
// the same reading of both clocks, in the same place.
func since(base, t time.Time) (time.Duration, bool) {
	if t == (time.Time{}) {
		return never, true
	}
	d := t.Sub(base)
	return d, d != never && base.Add(d) == t
}

func after(base time.Time, d time.Duration) time.Time {
	if d == never {
		return time.Time{}
	}
	return base.Add(d)
}

// record returns the record.
func (e *entry) record() Record {
	var r Record
	e.read(&r)
	return r
}

// read makes r the record.
func (e *entry) read(r *Record) {
	c := e.common.Value()
	*r = Record{
		Session: e.session(), User: e.user, Role: c.role, BaseRole: c.baseRole, Key: e.key, State: e.state,
		Created: e.created, AuthTime: after(e.created, e.auth), Methods: e.methods, AAL: c.aal, LoginAAL: c.loginAAL,
		LastActivity: e.active, Idle: c.idle, Absolute: after(e.created, e.absolute), AbsoluteSince: e.created,
		LongestGap: e.gap, TokenSince: e.created, Fingerprint: e.text[e.cut:], UserAgent: c.agent,
		Remembered: c.remembered, Seq: e.seq,
	}
	switch e.family {
	case 4:
		r.IP = netip.AddrFrom4([4]byte(e.ip[12:]))
	case 6:
		r.IP = netip.AddrFrom16(e.ip)
	}
	if e.more != nil {
		e.more.read(r)
	}
}

func (m *more) read(r *Record) {
	if t := m.times; t != nil {
		r.AuthTime, r.Absolute, r.AbsoluteSince, r.TokenSince = t.auth, t.absolute, t.absoluteSince, t.token
	}
	if a := m.aside; a != nil {
		r.Actor, r.External, r.Mismatch, r.Owner, r.Remember = a.actor, a.external, a.mismatch, a.owner, a.remember
		r.Extends, r.Warnings, r.Lease, r.Extra = a.extends, a.warnings, a.lease, a.extra
		if a.ip.IsValid() {
			r.IP = a.ip
		}
	}
	if v := m.moved; v != nil {
		r.Successor, r.MovedAt, r.GraceUntil, r.ReplacedAt = v.successor, v.at, v.until, v.replaced
	}
	if d := m.ended; d != nil {
		d.read(r)
	}
}

// write makes r the entry's record.
func (e *entry) write(r *Record, under conditions) {
	e.key, e.user, e.state = r.Key, r.User, r.State
	e.created, e.active, e.gap, e.seq = r.Created, r.LastActivity, r.LongestGap, r.Seq
	e.methods = r.Methods
	e.share(common{role: r.Role, baseRole: r.BaseRole, agent: r.UserAgent, aal: r.AAL, loginAAL: r.LoginAAL, idle: r.Idle,
		remembered: r.Remembered, conditions: under})
	var m more
	var a aside
	m.times = e.writeTimes(r)
	a.texts = texts{actor: r.Actor, external: r.External, mismatch: r.Mismatch, owner: r.Owner, remember: r.Remember, session: e.writeText(r)}
	a.extends, a.warnings, a.lease, a.extra, a.ip = r.Extends, r.Warnings, r.Lease, r.Extra, e.writeIP(r.IP)
	if a.any() {
		m.aside = &a
	}
	if v := (moved{r.Successor, r.MovedAt, r.GraceUntil, r.ReplacedAt}); v != (moved{}) {
		m.moved = &v
	}
	if r.Ending != (Ending{}) || r.Confirmed {
		m.ended = newEndedAs(r)
	}
	if e.more = nil; m != (more{}) {
		e.more = &m
	}
}

func (a *aside) any() bool {
	return a.texts != (texts{}) || a.extends != 0 || a.warnings != nil || a.lease != (time.Time{}) || a.extra != nil || a.ip.IsValid()
}

// writeTimes counts times from created, or returns them.
func (e *entry) writeTimes(r *Record) *times {
	var auth, absolute bool
	e.auth, auth = since(r.Created, r.AuthTime)
	e.absolute, absolute = since(r.Created, r.Absolute)
	if auth && absolute && r.AbsoluteSince == r.Created && r.TokenSince == r.Created {
		return nil
	}
	return &times{r.AuthTime, r.Absolute, r.AbsoluteSince, r.TokenSince}
}

// writeText joins session ID and fingerprint. It returns an ID that is too long for
// that.
func (e *entry) writeText(r *Record) (long string) {
	session := r.Session
	if len(session) > math.MaxUint8 {
		session, long = "", session
	}
	if e.text[:e.cut] != session || e.text[e.cut:] != r.Fingerprint {
		e.text, e.cut = session+r.Fingerprint, uint8(len(session))
	}
	return long
}

// writeIP returns an address that has a zone.
func (e *entry) writeIP(ip netip.Addr) (apart netip.Addr) {
	e.ip, e.family = ip.As16(), 6
	switch {
	case ip.Is4():
		e.family = 4
	case !ip.IsValid():
		e.ip, e.family = [16]byte{}, 0
	case ip.Zone() != "":
		e.family, apart = 0, ip
	}
	return apart
}

// session returns the session's ID.
func (e *entry) session() string {
	if e.more != nil && e.more.aside != nil && e.more.aside.session != "" {
		return e.more.aside.session
	}
	return e.text[:e.cut]
}

// share sets what the entry has in common with others.
func (e *entry) share(c common) {
	if e.common == (unique.Handle[common]{}) || e.common.Value() != c {
		e.common = unique.Make(c)
	}
}

func (e *entry) conditions() conditions { return e.common.Value().conditions }

// overdue is [Record.Overdue].
func (e *entry) overdue(now time.Time) (Ending, bool) {
	r := e.record()
	return r.Overdue(now)
}

// due is [Record.Due].
func (e *entry) due() time.Time {
	r := e.record()
	due, _ := r.Due()
	return due
}

// external returns the identity provider's name of the session.
func (e *entry) external() string {
	if e.more == nil || e.more.aside == nil {
		return ""
	}
	return e.more.aside.external
}

func (e *entry) confirmed() bool {
	return e.more != nil && e.more.ended != nil && e.more.ended.confirmed
}

// own makes strings the registry's own. They may be parts of a request, which would
// be kept as a whole for as long as the session.
func own(all ...*string) {
	for _, s := range all {
		*s = strings.Clone(*s)
	}
}
