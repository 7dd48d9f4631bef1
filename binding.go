package scsguard

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Binding says what happens when a session is used by another device than the
// one it was given to (OWASP Session Management Cheat Sheet, "Binding the Session
// ID to Other User Properties"). Each signal has a mode of its own. A signal that
// is missing, such as an address that nobody knows, is a value like any other.
//
// The signals are kept as keyed digests. A session is bound at its login, and
// anew by whoever proves who he is: [Guard.Reauthenticated], or [Guard.Elevate]
// with a method. One that began outside of an HTTP request is bound by the first
// request that uses it.
type Binding struct {
	// Network is the network of the address: its /24, or the /56 of IPv6, so that
	// privacy addresses do not matter. It changes whenever a phone leaves the house.
	// Default: [Log].
	Network BindingMode
	// UserAgent is the family of the browser and its platform, such as Firefox on
	// Linux, and not its version. Default: [StepUp].
	UserAgent BindingMode
}

// BindingMode is what a [Binding] does when its signal has changed. The zero value
// takes the default; in a [Policy], the one of [Config].
type BindingMode uint8

const (
	// Off ignores the signal.
	Off BindingMode = iota + 1
	// Log records the change as fingerprint_mismatch, once, and serves the request.
	Log
	// StepUp records the change, and takes the session for one that was not
	// recently authenticated until its user proves who he is: see
	// [Guard.RequireRecentLogin].
	StepUp
	// End records the change and ends the session. It is ended for its user, too,
	// who learns of it by that.
	End
)

var bindingModes = [...]string{"default", "off", "log", "stepup", "end"}

// String returns "off", "log", "stepup" or "end", and "default" for the zero value.
func (m BindingMode) String() string {
	if int(m) < len(bindingModes) {
		return bindingModes[m]
	}
	return fmt.Sprintf("BindingMode(%d)", uint8(m))
}

// MarshalText returns what String returns.
func (m BindingMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText accepts what String returns, so that flag.TextVar and
// configuration files can set it.
func (m *BindingMode) UnmarshalText(text []byte) error {
	i := slices.Index(bindingModes[:], string(text))
	if i < 0 {
		return fmt.Errorf("scsguard: %q is not off, log, stepup or end", text)
	}
	*m = BindingMode(i)
	return nil
}

// or returns b with what it leaves open taken from another.
func (b Binding) or(other Binding) Binding {
	if b.Network == 0 {
		b.Network = other.Network
	}
	if b.UserAgent == 0 {
		b.UserAgent = other.UserAgent
	}
	return b
}

var defaultBinding = Binding{Network: Log, UserAgent: StepUp}

func (b Binding) problems(field string) []FieldError {
	var errs []FieldError
	for _, s := range []struct {
		name string
		mode BindingMode
	}{{"Network", b.Network}, {"UserAgent", b.UserAgent}} {
		if int(s.mode) >= len(bindingModes) {
			errs = append(errs, FieldError{Field: field + "." + s.name, Value: s.mode.String(),
				Problem: "nobody could tell what another device may do", Cure: "use Off, Log, StepUp or End"})
		}
	}
	return errs
}

// The signals, in the words of the trail.
const (
	signalAgent   = "user_agent"
	signalNetwork = "network"
)

// bindings makes requests of one session that find another device at the same
// time find it one after the other, so that the first one records it.
type bindings struct {
	seed  maphash.Seed
	turns [64]chan struct{} // of capacity 1, full while somebody has it
}

func newBindings() *bindings {
	b := &bindings{seed: maphash.MakeSeed()}
	for i := range b.turns {
		b.turns[i] = make(chan struct{}, 1)
	}
	return b
}

// take waits for the session's turn, but not for long: with a registry that does
// not answer, the last of many requests would wait for all others. Who has not got
// it goes on, and may record what another one records.
func (b *bindings) take(session string, wait time.Duration) (done func()) {
	turn := b.turns[maphash.String(b.seed, session)%uint64(len(b.turns))]
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }
	case <-timer.C:
		return func() {}
	}
}

// bind compares the client of an HTTP request with the device that its session is
// bound to, and does what the modes say. The session may end by it.
func (g *Guard) bind(ctx context.Context, r *request, rec *Record, b Binding) error {
	now := g.fingerprint(r)
	old, bound := parseFingerprint(rec.Fingerprint)
	switch {
	case r.ipSource == "", bound && now.agent == old.agent && now.network == old.network:
		return nil
	case !bound && rec.UserAgent == "" && !rec.IP.IsValid():
		return g.bindTo(ctx, rec, now)
	case !bound: // a record of a version that kept only the exact one
		old = client{rec.UserAgent, network(rec.IP)}.fingerprint(g.cfg.Keys[0])
	}
	d := g.differences(r, old, now, b)
	switch {
	case d.mode == 0 && d.rebind:
		return g.bindTo(ctx, rec, now)
	case d.mode == 0, d.settled(*rec):
		return nil
	}
	defer g.bindings.take(rec.Session, g.cfg.CallTimeout)()
	after, err := g.mismatch(ctx, r, *rec, d)
	*rec = after
	return err
}

// bindTo binds a session that nobody knows the device of, or whose digests are
// under an older key.
func (g *Guard) bindTo(ctx context.Context, rec *Record, now fingerprint) error {
	touched, err := g.touch(ctx, rec.Key, Activity{Fingerprint: now.String()})
	if err == nil && touched.Live {
		rec.Fingerprint = now.String()
	}
	return err
}

// difference is what distinguishes a client from the device of a session.
type difference struct {
	mode     BindingMode // the strictest of those of the signals that differ, 0 if none does
	changed  []string    // these signals
	mismatch []string    // what Record.Mismatch may be if this was recorded; the first is what it becomes
	rebind   bool        // nothing differs, but the digests are of an older key
}

// settled reports whether the session has suffered what the difference brings.
func (d difference) settled(rec Record) bool {
	return slices.Contains(d.mismatch, rec.Mismatch) && (d.mode == Log || d.mode == StepUp && rec.AuthTime.IsZero())
}

// differences compares the signals. The first key writes, all of them read.
func (g *Guard) differences(r *request, old, now fingerprint, b Binding) difference {
	d := difference{rebind: true, mismatch: make([]string, len(g.cfg.Keys))}
	prints := make([]fingerprint, len(g.cfg.Keys))
	prints[0] = now
	for i, key := range g.cfg.Keys[1:] {
		prints[i+1] = r.client().fingerprint(key)
	}
	for _, s := range []struct {
		name string
		mode BindingMode
		of   func(fingerprint) string
	}{
		{signalAgent, b.UserAgent, func(fp fingerprint) string { return fp.agent }},
		{signalNetwork, b.Network, func(fp fingerprint) string { return fp.network }},
	} {
		same := slices.IndexFunc(prints, func(fp fingerprint) bool { return s.of(fp) == s.of(old) })
		d.rebind = d.rebind && same >= 0 && s.of(now) != s.of(old)
		if same >= 0 || s.mode <= Off {
			continue
		}
		d.mode = max(d.mode, s.mode)
		d.changed = append(d.changed, s.name)
		for i, fp := range prints {
			d.mismatch[i] += s.name + "." + s.of(fp) + "."
		}
	}
	return d
}

// mismatch records that another device uses the session, unless that is recorded
// already, and does what the mode says.
func (g *Guard) mismatch(ctx context.Context, r *request, rec Record, d difference) (Record, error) {
	fresh, err := g.get(ctx, rec.Key)
	if err != nil {
		return rec, err
	}
	switch {
	case fresh.State == StateLive:
		rec = fresh
	case fresh.State == StateMoved: // a moment ago; the request goes on, as it may with an old token
		rec.AuthTime = time.Time{}
	default:
		return fresh, nil
	}
	if d.settled(rec) || fresh.State == StateMoved && d.mode < End {
		return rec, nil
	}
	known := slices.Contains(d.mismatch, rec.Mismatch)
	touched, err := g.touch(ctx, rec.Key, Activity{Mismatch: d.mismatch[0], ForgetAuth: d.mode >= StepUp})
	first := !known // also after an error: it may be noted nevertheless, and who comes next would be silent
	if err == nil { // another process may have been faster, and have ended it already
		first = touched.Live && !slices.Contains(d.mismatch, touched.Mismatch)
	}
	rec.Mismatch = d.mismatch[0]
	if d.mode >= StepUp {
		rec.AuthTime = time.Time{}
	}
	if d.mode < End {
		if first {
			g.tellMismatch(ctx, r, rec, d)
		}
		return rec, err
	}
	// Whoever ends it tells why, also where a laxer mode has recorded it before.
	dead, won, err := g.end(ctx, r, Target{Key: rec.Key}, Ending{Reason: EndWrongDevice, Detail: strings.Join(d.changed, ",")})
	if won || err != nil && first {
		g.tellMismatch(ctx, r, rec, d)
	}
	if err != nil {
		return rec, err
	}
	return dead, nil
}

func (g *Guard) tellMismatch(ctx context.Context, r *request, rec Record, d difference) {
	e := g.event(r, EventFingerprintMismatch, rec)
	e.Reason, e.Fingerprint = d.mode.String(), g.fingerprint(r).String()
	e.detail("changed", strings.Join(d.changed, ","))
	if d.mode > Log {
		e.Outcome = OutcomeFailure
	}
	// It may be counted only, so it takes no number of the session's events.
	g.recordCoalesced(ctx, r, "mismatch", rec.Session+"\x00"+e.Reason+"\x00"+e.Details["changed"], e)
}

// doubted reports whether another device uses the session, which has proved nothing.
func (r *Record) doubted() bool { return r.AuthTime.IsZero() && r.Mismatch != "" }

// keepMismatch hands the mismatch that was recorded on to the session's new key: a
// rotation forgets it, and who has proved nothing is the same other device as
// before. If that fails the change is recorded once more.
func (g *Guard) keepMismatch(ctx context.Context, before Record, now *Record) {
	if before.Mismatch == "" || now.Mismatch != "" {
		return
	}
	if _, err := g.touch(ctx, now.Key, Activity{Mismatch: before.Mismatch}); err == nil {
		now.Mismatch = before.Mismatch
	}
}

// EnforceBinding refuses requests whose session was ended because another device
// used it (see [End]), and serves everybody else, also those who never logged in:
// for pages that are public but must not silently turn from "logged in" to
// "anonymous". The binding itself holds everywhere within [Guard.Protect].
func (g *Guard) EnforceBinding(next http.Handler) http.Handler {
	g.mustExist()
	return g.gate(next, func(r *request, _ Record, _ bool) Reason {
		if r.endedReason() == ReasonWrongDevice {
			return ReasonWrongDevice
		}
		return ""
	})
}
