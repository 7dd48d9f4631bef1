package scsguard

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// A Session is what may be known of a login: by its user, by administrators and
// in logs. It holds no token. The zero value is nobody's.
type Session struct {
	ID         string // public, the same from login to the end
	User       string
	Role       string
	Created    time.Time
	LastSeen   time.Time // last recorded activity
	AuthTime   time.Time // zero if its user has proved nothing yet, see Remember
	Methods    []string
	AAL        int
	IP         netip.Addr // at login
	UserAgent  string     // at login
	Remembered bool
	Actor      string // who acts on behalf of User
	External   string

	// IdleExpires and AbsoluteExpires are the two deadlines. The earlier one
	// ends the session.
	IdleExpires     time.Time
	AbsoluteExpires time.Time

	// Current says that it is the session of the request.
	Current bool

	// LastLogin and Others are set in the answer of [Guard.Login] only: the
	// user's login before, and his other sessions that go on.
	LastLogin LastLogin
	Others    []Session

	token *string // behind a pointer, so that no verb of package fmt prints it
}

// LogValue logs the session and its user, so that the application's own log
// lines can be joined with the trail.
func (s Session) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", s.ID), slog.String("user", s.User))
}

// MarshalZerologObject is LogValue for zerolog.
func (s Session) MarshalZerologObject(e *zerolog.Event) { e.Str("id", s.ID).Str("user", s.User) }

// Expires returns the earlier of the two deadlines.
func (s Session) Expires() time.Time {
	if s.IdleExpires.Before(s.AbsoluteExpires) {
		return s.IdleExpires
	}
	return s.AbsoluteExpires
}

// public returns what may be known of a record.
func (r Record) public() Session {
	return Session{
		ID: r.Session, User: r.User, Role: r.Role, Created: r.Created, LastSeen: r.LastActivity,
		AuthTime: r.AuthTime, Methods: slices.Clone(r.Methods), AAL: r.AAL, IP: r.IP, UserAgent: r.UserAgent,
		Remembered: r.Remembered, Actor: r.Actor, External: r.External,
		IdleExpires: r.LastActivity.Add(r.Idle), AbsoluteExpires: r.Absolute,
	}
}

func publicSessions(recs []Record, current string) []Session {
	list := make([]Session, len(recs))
	for i, rec := range recs {
		list[i] = rec.public()
		list[i].Current = rec.Session == current
	}
	return list
}

// Current returns the session of the request, and whether somebody is logged
// in. During the grace after a rotation a request with the old token has the
// role of the login, not one it was elevated to, and no time of authentication.
func (g *Guard) Current(ctx context.Context) (Session, bool) {
	r, err := g.attach(ctx)
	if err != nil {
		return Session{}, false
	}
	rec, ok := g.whose(ctx, r)
	if !ok {
		return Session{}, false
	}
	s := rec.public()
	s.Current = true
	if r.isGraced() {
		s.Role, s.AuthTime, s.Methods, s.AAL = rec.BaseRole, time.Time{}, nil, 0
	}
	return s, true
}

// whose returns the session of the request, also one whose token the application
// has renewed: it goes on with the commit of this request.
func (g *Guard) whose(ctx context.Context, r *request) (Record, bool) {
	rec, ok := r.session()
	if d := r.openFate(); !ok && d != nil && g.goesOn(r, d, g.sm.GetString(ctx, markKey)) {
		return d.rec, true
	}
	return rec, ok
}

func (r *request) isGraced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase == graced
}

// Ended returns why the session that the request came with has ended, in words
// its visitor may know, or "" if it has not, or there was none.
func (g *Guard) Ended(ctx context.Context) Reason {
	if r := g.requestFrom(ctx); r != nil {
		return r.endedReason()
	}
	return ""
}

// Warnings returns the logins of the same user elsewhere of which this session
// has not been told, oldest first and at most the last five. Each is returned
// once.
func (g *Guard) Warnings(ctx context.Context) ([]Warning, error) {
	r, err := g.attach(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.decide(ctx, r); err != nil {
		return nil, err
	}
	rec, ok := r.session()
	if !ok || len(rec.Warnings) == 0 {
		return nil, nil
	}
	touched, err := g.touch(ctx, rec.Key, Activity{TakeWarnings: true})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.rec.Warnings = nil
	r.mu.Unlock()
	return touched.Warnings, nil
}

// Sessions returns the sessions of the user who is logged in, oldest login
// first (ASVS 5.0 7.5.2).
func (g *Guard) Sessions(ctx context.Context) ([]Session, error) {
	r, err := g.attach(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.decide(ctx, r); err != nil {
		return nil, err
	}
	rec, ok := r.session()
	if !ok {
		return nil, ErrNotLoggedIn
	}
	recs, err := g.list(ctx, rec.User)
	return publicSessions(recs, rec.Session), err
}

// SessionsOf returns the sessions of any user, for administrators. It needs no
// session in the context.
func (g *Guard) SessionsOf(ctx context.Context, user string) ([]Session, error) {
	if g == nil {
		return nil, ErrNoGuard
	}
	recs, err := g.list(ctx, user)
	return publicSessions(recs, ""), err
}

func (g *Guard) list(ctx context.Context, user string) ([]Record, error) {
	return call(g, ctx, ComponentRegistry, "list", func(ctx context.Context) ([]Record, error) {
		return g.registry.List(ctx, user)
	})
}
