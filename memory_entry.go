package scsguard

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unique"
)

// entry is one key's record, and its user's place if it is alive. There may be a
// million of them, so it holds what every session has, four cache lines long, and
// leads to the rest. What many sessions have in common they share.
//
// A record comes out of it exactly as it went in, with the monotonic readings of its
// times: they let limits hold whatever becomes of the system's clock.
type entry struct {
	key         Key // the string that is the key of the map, too
	session     string
	user        string // memoryUser's, if there is one
	fingerprint string
	ip          netip.Addr
	methods     []string
	common      unique.Handle[common]
	created     time.Time
	active      time.Time // LastActivity
	// The other times are counted from created, which they began with; see since.
	auth, absolute, absoluteSince, token time.Duration
	gap                                  time.Duration
	seq                                  uint64

	more    *more     // nil for an ordinary session
	pending *underWay // nil unless a login is under way

	from  Key   // the token that the login came with
	place int32 // 1 + position in the queue; 0: not in it
	shard uint8
	state State // StateUnknown: dropped, for whoever has found it and waits for the lock
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
	times   *times
	aside   *aside
	moved   *moved
	replace time.Time // ReplacedAt
	ended   *endedAs
}

// times are those that cannot be counted from created: of a session that was
// renewed, or authenticated anew.
type times struct{ auth, absolute, absoluteSince, token time.Time }

// moved is what an old key has.
type moved struct {
	successor Key
	at, until time.Time
}

// aside is what belongs to actors, identity providers, other devices and the like.
type aside struct {
	texts
	extends  int
	warnings []Warning
	lease    time.Time
	extra    []byte
}

type texts struct{ actor, external, mismatch, owner, remember string }

// endedAs is an Ending. Time outs are much alike.
type endedAs struct {
	how       unique.Handle[how]
	at, due   time.Time
	detail    string
	ip        netip.Addr
	confirmed bool
}

type how struct {
	kind                   EventKind
	reason                 EndReason
	actor, ipSource, agent string
	keep                   time.Duration
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
		Session: e.session, User: e.user, Role: c.role, BaseRole: c.baseRole, Key: e.key, State: e.state,
		Created: e.created, AuthTime: after(e.created, e.auth), Methods: e.methods, AAL: c.aal, LoginAAL: c.loginAAL,
		LastActivity: e.active, Idle: c.idle, Absolute: after(e.created, e.absolute), AbsoluteSince: after(e.created, e.absoluteSince),
		LongestGap: e.gap, TokenSince: after(e.created, e.token), Fingerprint: e.fingerprint, IP: e.ip, UserAgent: c.agent,
		Remembered: c.remembered, Seq: e.seq,
	}
	if e.more != nil {
		e.more.read(r)
	}
}

func (m *more) read(r *Record) {
	r.ReplacedAt = m.replace
	if t := m.times; t != nil {
		r.AuthTime, r.Absolute, r.AbsoluteSince, r.TokenSince = t.auth, t.absolute, t.absoluteSince, t.token
	}
	if a := m.aside; a != nil {
		r.Actor, r.External, r.Mismatch, r.Owner, r.Remember = a.actor, a.external, a.mismatch, a.owner, a.remember
		r.Extends, r.Warnings, r.Lease, r.Extra = a.extends, a.warnings, a.lease, a.extra
	}
	if v := m.moved; v != nil {
		r.Successor, r.MovedAt, r.GraceUntil = v.successor, v.at, v.until
	}
	if d := m.ended; d != nil {
		h := d.how.Value()
		r.Ending = Ending{Kind: h.kind, Reason: h.reason, At: d.at, Due: d.due, Actor: h.actor, Detail: d.detail,
			IP: d.ip, IPSource: h.ipSource, UserAgent: h.agent, Keep: h.keep}
		r.Confirmed = d.confirmed
	}
}

// write makes r the entry's record.
func (e *entry) write(r *Record) {
	e.key, e.session, e.user, e.state = r.Key, r.Session, r.User, r.State
	e.fingerprint, e.ip, e.methods = r.Fingerprint, r.IP, r.Methods
	e.created, e.active, e.gap, e.seq = r.Created, r.LastActivity, r.LongestGap, r.Seq
	e.share(common{role: r.Role, baseRole: r.BaseRole, agent: r.UserAgent, aal: r.AAL, loginAAL: r.LoginAAL, idle: r.Idle,
		remembered: r.Remembered, conditions: e.terms()})
	m := more{times: e.count(r), replace: r.ReplacedAt}
	t := texts{r.Actor, r.External, r.Mismatch, r.Owner, r.Remember}
	if t != (texts{}) || r.Extends != 0 || r.Warnings != nil || r.Lease != (time.Time{}) || r.Extra != nil {
		m.aside = &aside{texts: t, extends: r.Extends, warnings: r.Warnings, lease: r.Lease, extra: r.Extra}
	}
	if v := (moved{r.Successor, r.MovedAt, r.GraceUntil}); v != (moved{}) {
		m.moved = &v
	}
	if d := &r.Ending; *d != (Ending{}) || r.Confirmed {
		m.ended = &endedAs{how: unique.Make(how{d.Kind, d.Reason, d.Actor, d.IPSource, d.UserAgent, d.Keep}),
			at: d.At, due: d.Due, detail: d.Detail, ip: d.IP, confirmed: r.Confirmed}
	}
	if e.more = nil; m != (more{}) {
		e.more = &m
	}
}

// count counts the record's times from created, or returns them.
func (e *entry) count(r *Record) *times {
	var ok [4]bool
	e.auth, ok[0] = since(r.Created, r.AuthTime)
	e.absolute, ok[1] = since(r.Created, r.Absolute)
	e.absoluteSince, ok[2] = since(r.Created, r.AbsoluteSince)
	e.token, ok[3] = since(r.Created, r.TokenSince)
	if slices.Contains(ok[:], false) {
		return &times{r.AuthTime, r.Absolute, r.AbsoluteSince, r.TokenSince}
	}
	return nil
}

// share sets what the entry has in common with others.
func (e *entry) share(c common) {
	if e.common == (unique.Handle[common]{}) || e.common.Value() != c {
		e.common = unique.Make(c)
	}
}

func (e *entry) terms() conditions {
	if e.common == (unique.Handle[common]{}) {
		return conditions{}
	}
	return e.common.Value().conditions
}

func (e *entry) setTerms(t conditions) {
	c := e.common.Value()
	c.conditions = t
	e.share(c)
}

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
