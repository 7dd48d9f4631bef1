package guardtest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/scsguard/scsguard"
)

// ExpireIdle makes the session that has this token one whose user was inactive
// for too long. It shortens the session's own idle limit in the registry to the
// time since its last activity, at least a millisecond, and nothing else: no
// clock is changed and no other session. The guard does the rest as it always
// does. Its next request, or a sweep, finds that the session is over, ends it
// and writes a timeout with the reason idle; until then its record is live, and
// overdue.
//
// reg is Guard.Registry of the guard. Every registry will do that keeps its contract. token is what the browser
// has: the cookie's value, [Browser.Token], or Token of the session manager.
//
// ExpireIdle returns the record, overdue, or ended by a sweep that was faster,
// whose Session names the session in the trail. It waits until the registry finds so, too: not at all, mostly; a
// millisecond for a session of this very moment, which in a testing/synctest
// bubble is a millisecond of the bubble; up to a second where the registry has a
// clock of its own. The test fails and
// stops if that cannot be done: nobody is logged in with the token, the session
// is over, or the registry cannot be asked. Call it from the test's goroutine.
func ExpireIdle(tb testing.TB, reg scsguard.Registry, token string) scsguard.Record {
	tb.Helper()
	return expire(tb, reg, token, scsguard.EndIdle)
}

// ExpireAbsolute is [ExpireIdle] for the absolute limit: it moves the session's
// absolute deadline to this moment, and to no less than a millisecond after the
// login. What follows is a timeout with the reason absolute.
func ExpireAbsolute(tb testing.TB, reg scsguard.Registry, token string) scsguard.Record {
	tb.Helper()
	return expire(tb, reg, token, scsguard.EndAbsolute)
}

// SessionOf returns the registry's record of the session that has this token, live or
// ended, under its present key. The test fails and stops if there is none. For
// reg, token and the goroutine see [ExpireIdle].
func SessionOf(tb testing.TB, reg scsguard.Registry, token string) scsguard.Record {
	tb.Helper()
	ctx, cancel := limited()
	defer cancel()
	rec, err := find(ctx, reg, token)
	if err != nil {
		tb.Fatalf("guardtest: %v", err)
	}
	return rec
}

func expire(tb testing.TB, reg scsguard.Registry, token string, reason scsguard.EndReason) scsguard.Record {
	tb.Helper()
	ctx, cancel := limited()
	defer cancel()
	rec, err := find(ctx, reg, token)
	if err == nil {
		rec, err = overdue(ctx, reg, rec, reason)
	}
	if err != nil {
		tb.Fatalf("guardtest: the session cannot be made to pass its %s limit: %v", reason, err)
	}
	return rec
}

// patience bounds whatever a helper waits for.
const patience = 10 * time.Second

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// step is the finest time that every registry can be expected to keep, and how
// long nobody has to wait for it.
const step = time.Millisecond

// apart is how far two readings of one time may lie apart, where a registry is on
// another host.
const apart = time.Second

// overdue makes a live session pass a limit, and returns its record when it has.
func overdue(ctx context.Context, reg scsguard.Registry, rec scsguard.Record, reason scsguard.EndReason) (scsguard.Record, error) {
	for asked := false; ; asked = true {
		over, yes := rec.Overdue(time.Now())
		switch {
		case asked && rec.State == scsguard.StateEnded && rec.Ending.Reason == reason:
			return rec, nil // a sweep was faster
		case rec.State != scsguard.StateLive:
			return rec, fmt.Errorf("the session %s is %v%s, not live; log in again", rec.Session, rec.State, because(rec))
		case yes && over.Reason != reason:
			return rec, fmt.Errorf("the session %s has ended as %s already; log in again", rec.Session, over.Reason)
		case yes:
			if agrees, err := agreed(ctx, reg, rec, over.Due); agrees || err != nil {
				return rec, err
			}
		default:
			if err := tighten(ctx, reg, rec, reason); err != nil {
				return rec, err
			}
		}
		var err error
		if rec, err = follow(ctx, reg, rec.Key); err != nil {
			return rec, err
		}
		if _, now := rec.Overdue(time.Now()); now && !yes {
			continue // at once, as mostly
		}
		if err := pause(ctx); err != nil {
			return rec, fmt.Errorf("%v after its limit was tightened the session %s is not overdue, by a record that has Idle %v and Absolute %v; does the registry keep what Touch changes? Package registrytest can tell",
				patience, rec.Session, rec.Idle, rec.Absolute)
		}
	}
}

// tighten makes a limit of the session end now, or as soon as a record that makes
// sense can say so: a deadline has to come after the login.
func tighten(ctx context.Context, reg scsguard.Registry, rec scsguard.Record, reason scsguard.EndReason) error {
	var act scsguard.Activity
	switch now := time.Now(); {
	case reason == scsguard.EndIdle:
		act.Idle = max(now.Sub(rec.LastActivity), step)
	case now.Sub(rec.Created) >= step:
		act.Absolute = now
	default:
		return nil
	}
	if _, err := reg.Touch(ctx, rec.Key, act); err != nil {
		return fmt.Errorf("the registry cannot be asked: %w", err)
	}
	return nil
}

// agreed reports whether the registry finds, too, that the session is over: it
// does not list it any more. One on another host may have read the deadline a
// little later; a second after it no more can be asked.
func agreed(ctx context.Context, reg scsguard.Registry, rec scsguard.Record, due time.Time) (bool, error) {
	list, err := reg.List(ctx, rec.User)
	if err != nil {
		return false, fmt.Errorf("the registry cannot be asked: %w", err)
	}
	for _, other := range list {
		if other.Session == rec.Session {
			return time.Since(due) >= apart, nil
		}
	}
	return true, nil
}

func because(rec scsguard.Record) string {
	if rec.State != scsguard.StateEnded {
		return ""
	}
	return fmt.Sprintf(" (%s)", rec.Ending.Reason)
}

// pause lets a step of time pass.
func pause(ctx context.Context) error {
	timer := time.NewTimer(step)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errNobody = errors.New("the registry knows no session with this token; log in first, and give Guard.Registry of its guard")

// find returns the record of a token. Whether the manager hashes its tokens is
// not known here, so both keys are asked for.
func find(ctx context.Context, reg scsguard.Registry, token string) (scsguard.Record, error) {
	switch {
	case reg == nil:
		return scsguard.Record{}, errors.New("there is no registry; give Guard.Registry of the guard")
	case token == "":
		return scsguard.Record{}, errors.New("there is no token; log in first, and if the session cookie is not called " + DefaultCookie + ", set Browser.Cookie")
	case !isToken(token):
		return scsguard.Record{}, fmt.Errorf("%d bytes that are no session token; give the value of the session cookie", len(token))
	}
	sum := sha256.Sum256([]byte(token))
	for _, key := range []string{token, base64.RawURLEncoding.EncodeToString(sum[:])} {
		rec, err := follow(ctx, reg, scsguard.Key(key))
		if err != nil || rec.State != scsguard.StateUnknown {
			return rec, err
		}
	}
	return scsguard.Record{}, errNobody
}

// maxHops bounds how often follow asks.
const maxHops = 100

// follow returns the record under key, or that of the key the session has now.
func follow(ctx context.Context, reg scsguard.Registry, key scsguard.Key) (scsguard.Record, error) {
	for range maxHops {
		rec, err := reg.Get(ctx, key)
		if err != nil {
			return rec, fmt.Errorf("the registry cannot be asked: %w", err)
		}
		if rec.State != scsguard.StateMoved {
			return rec, nil
		}
		key = rec.Successor
	}
	return scsguard.Record{}, errors.New("the registry leads from key to key without an end; package registrytest can tell why")
}

// isToken reports whether a cookie's value can be a token of scs: 32 bytes in
// base64url.
func isToken(value string) bool {
	b, err := base64.RawURLEncoding.DecodeString(value)
	return err == nil && len(b) == 32
}
