package redisregistry

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

//go:embed lua/everyone.lua
var everyoneLua string

//go:embed lua/walk.lua
var walkLua string

var (
	everyoneScript = newScript("everyone", everyoneLua)
	walkScript     = newScript("walk", walkLua)
)

// EndAll ends many sessions: first it refuses logins that were authenticated before,
// then it ends what it finds. A login that is not found after that finds itself
// refused. Before all that it leaves a due entry for what it is about to do, so that a
// sweep does the rest should it not come to the end, because the process dies or there
// are too many for the time it has.
func (r *Registry) EndAll(ctx context.Context, rev scsguard.Revocation) (out scsguard.Revoked, err error) {
	err = r.call(ctx, func(l *link) error {
		if _, err := l.pipeline(); err != nil { // for the time
			return err
		}
		w := revocation{Revocation: rev, id: rand.Text(), at: l.now, out: &out}
		w.Ending = l.off.endingToRedis(rev.Ending)
		intent, err := w.intent()
		if err != nil {
			return err
		}
		if err := r.scheduleEntry(l, intent, l.now.Add(scsguard.Lease), intentFor, "set"); err != nil {
			return err
		}
		if err := r.revokeAll(l, &w); err != nil {
			return err
		}
		return r.unschedule(l, intent)
	})
	return out, err
}

// intentFor is how long somebody may take to complete an EndAll.
const intentFor = 7 * 24 * time.Hour

// A revocation is an EndAll under way, on Redis's clock.
type revocation struct {
	scsguard.Revocation
	id     string
	at     time.Time
	part   int    // of Everyone: the part of the due entries it has come to,
	cursor string // and where in it,
	server string // as this server calls it, and no other one does
	missed bool   // Redis has refused it for somebody: it is not over with the last part
	// out takes what is ended. If it is nil a sweep goes on with what somebody else has
	// begun: it spares those who have logged in since, and hands the endings to Due.
	out *scsguard.Revoked
}

// intent is the due entry of the revocation. It has no key, and for a user what is to
// be done, in the fields of a record.
func (w *revocation) intent() (entry, error) {
	rec := scsguard.Record{User: w.User, External: w.External, Remembered: w.Everyone, Owner: w.Except, Ending: w.Ending,
		Created: w.at, Extends: w.part, Actor: w.cursor, Role: w.server}
	if w.missed {
		rec.AAL = 1
	}
	b, err := rec.MarshalBinary()
	return entry{session: w.id, user: string(b)}, err
}

func parseIntent(e entry) (*revocation, error) {
	var rec scsguard.Record
	if err := rec.UnmarshalBinary([]byte(e.user)); err != nil {
		return nil, err
	}
	return &revocation{
		Revocation: scsguard.Revocation{User: rec.User, External: rec.External, Everyone: rec.Remembered, Except: rec.Owner, Ending: rec.Ending},
		id:         e.session, at: rec.Created, part: rec.Extends, cursor: rec.Actor, server: rec.Role, missed: rec.AAL == 1,
	}, nil
}

// moment is when the revocation was asked for, for scripts that repeat it; else it is
// now.
func (w *revocation) moment() string {
	if w.out != nil {
		return ""
	}
	return strconv.FormatInt(w.at.UnixMicro(), 10)
}

func (r *Registry) revokeAll(l *link, w *revocation) error {
	switch {
	case w.Everyone:
		return r.revokeEveryone(l, w)
	case w.External != "":
		return r.revokeExternal(l, w)
	}
	return r.revokeUser(l, w)
}

// resume goes on with a revocation that somebody has not brought to its end.
func (r *Registry) resume(l *link, e entry) error {
	w, err := parseIntent(e)
	if err != nil {
		return r.unschedule(l, e) // nobody can know what it was
	}
	at := l.now
	switch err = r.revokeAll(l, w); {
	case err == nil:
		return r.unschedule(l, e)
	case errors.Is(err, errMissed):
		at = l.now.Add(missedAgain)
	case !errors.Is(err, errLater):
		return err
	}
	rest, err := w.intent() // the new entry first
	if err != nil {
		return err
	}
	if err := r.scheduleEntry(l, rest, at, intentFor, "set"); err != nil || rest == e {
		return err
	}
	return r.unschedule(l, e)
}

func (r *Registry) revokeUser(l *link, w *revocation) error {
	reply, err := l.ask(revokeScript, r.user(w.User), scsguard.UserMemory.Milliseconds(), w.moment())
	if err != nil {
		return err
	}
	if len(reply) == 0 {
		return errAnswer
	}
	before, err := redis.String(reply[0], nil)
	if err != nil {
		return err
	}
	places, err := parsePlaces(reply[1:])
	if err != nil {
		return err
	}
	if w.out != nil {
		everyone, err := redis.String(l.do("GET", r.everyone()))
		if err != nil && !errors.Is(err, redis.ErrNil) {
			return err
		}
		w.out.Before = l.moment(before)
		if t := l.moment(everyone); t.After(w.out.Before) {
			w.out.Before = t
		}
	}
	_, err = r.revokePlaces(l, w, places)
	return err
}

// moment reads one in microseconds of Redis's clock. What is no number is none.
func (l *link) moment(micros string) time.Time {
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return l.off.fromRedis(time.UnixMicro(n))
}

func (r *Registry) revokeExternal(l *link, w *revocation) error {
	reply, err := l.ask(externalScript, r.external(w.External), "close", scsguard.TombstoneMargin.Milliseconds(), w.moment())
	if err != nil {
		return err
	}
	fields, err := parsePlaces(reply)
	if err != nil {
		return err
	}
	places := fields[:0]
	for _, f := range fields {
		if f.session != "" && f.session[0] == 'p' {
			places = append(places, place{f.session[1:], f.key})
		}
	}
	_, err = r.revokePlaces(l, w, places)
	return err
}

var errLater = errors.New("scsguard: there is more to end than the time allows")

// errMissed comes with what Redis has refused, after all others have ended: the whole walk
// has to be done once more, but not at once.
var errMissed = errors.New("scsguard: some sessions could not be ended")

const missedAgain = time.Minute

// sliceOf is how many sessions of an EndAll a sweep ends before it looks at what else
// is due.
const sliceOf = 2000

// revokeEveryone walks over all due entries, since whoever lives has one. A walk shows
// what is there from its begin to its end, in one step after the other: so it is said
// to be under way, and until it is over a session that moves keeps its old entry, too.
func (r *Registry) revokeEveryone(l *link, w *revocation) error {
	if _, err := l.ask(everyoneScript, r.everyone(), scsguard.UserMemory.Milliseconds(), w.moment()); err != nil {
		return err
	}
	if w.out != nil {
		w.at = l.now
	}
	if _, err := l.run(walkScript, r.walks(), w.id, intentFor.Milliseconds()); err != nil {
		return err
	}
	if err := w.orient(l); err != nil {
		return err
	}
	var refused refusals
	for seen := 0; w.part < dueParts; {
		if w.out == nil && seen >= sliceOf {
			return errLater
		}
		next, entries, err := r.walkOn(l, w)
		if err == nil {
			err = inParts(entries, readBatch, func(some ...entry) error { return r.revokeEntries(l, w, some) })
		}
		w.missed = w.missed || isRefused(err) // nobody lives on because of another one
		if err = refused.spare(err); err != nil {
			return err
		}
		seen += len(entries)
		if w.cursor = next; next == "0" {
			w.part++
		}
	}
	if _, err := l.do("HDEL", r.walks(), w.id); err != nil || !w.missed {
		return err
	}
	w.part, w.cursor, w.missed = 0, "", false
	return errors.Join(errMissed, refused.first)
}

// walkOn reads on where a walk has come to. A part that Redis refuses has nothing more.
func (r *Registry) walkOn(l *link, w *revocation) (next string, entries []entry, err error) {
	reply, err := redis.Values(l.do("ZSCAN", r.due(w.part), w.cursor, "COUNT", readBatch))
	if err != nil || len(reply) != 2 {
		return "0", nil, errors.Join(err, shortAnswer(reply, 2))
	}
	if next, err = redis.String(reply[0], nil); err != nil {
		return "", nil, err
	}
	members, err := redis.Strings(reply[1], nil)
	if err != nil {
		return "", nil, err
	}
	for i := 0; i < len(members); i += 2 {
		if e, ok := parseEntry(members[i]); ok && e.key != "" {
			entries = append(entries, e)
		}
	}
	return next, entries, nil
}

// revokeEntries ends the sessions that due entries lead to. A session that moves again
// and again leaves many of them, and the way over each is as long as it has moved often:
// so one is enough, and those that it has left go with it.
func (r *Registry) revokeEntries(l *link, w *revocation, entries []entry) error {
	keys := make([]scsguard.Key, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	found, err := l.read(r.keyspace, keys...)
	if err != nil {
		return err
	}
	var here, gone []place
	var left []entry
	for i, s := range found {
		e := entries[i]
		if s.rec.State == scsguard.StateMoved {
			left = append(left, e)
		} else {
			here = append(here, place{e.session, e.key})
		}
	}
	ended, err := r.revokePlaces(l, w, here)
	if err != nil {
		return err
	}
	asked := make(map[string]bool)
	for _, e := range left {
		if !ended[e.session] && !asked[e.session] {
			gone, asked[e.session] = append(gone, place{e.session, e.key}), true
		}
	}
	endedThere, err := r.revokePlaces(l, w, gone)
	if err != nil {
		return err
	}
	for _, e := range left {
		if ended[e.session] || endedThere[e.session] {
			if err := r.unschedule(l, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// orient finds where to go on. After a restart or a failover that is the beginning: what
// the server before said of where the walk has come to means nothing to this one, which
// may not even have what was done until then.
func (w *revocation) orient(l *link) error {
	info, err := redis.String(l.do("INFO", "server"))
	if err != nil {
		return err
	}
	if server := infoOf(info)["run_id"]; w.cursor == "" || w.server != server {
		w.part, w.cursor, w.server = 0, "0", server
	}
	return nil
}

func shortAnswer(reply []any, n int) error {
	if len(reply) < n {
		return errAnswer
	}
	return nil
}

// spares reports whether a session need not go: it is the exception, or it began well
// after the revocation, which takes time where there are many. The second is for what
// the clocks cannot tell.
func (w *revocation) spares(rec scsguard.Record) bool {
	since := w.at
	if w.out != nil {
		since = since.Add(time.Second)
	}
	return rec.Session == w.Except || rec.Created.After(since) && (w.Everyone || w.out == nil)
}

// revokePlaces ends the sessions at places, and says which have ended, also with an error.
func (r *Registry) revokePlaces(l *link, w *revocation, places []place) (ended map[string]bool, err error) {
	ended = make(map[string]bool)
	err = inParts(places, readBatch, func(some ...place) error { return r.revokeBatch(l, w, some, ended) })
	return ended, err
}

func (r *Registry) revokeBatch(l *link, w *revocation, places []place, ended map[string]bool) error {
	held, err := r.holders(l, places)
	if err != nil {
		return err
	}
	var going []stored
	for i, s := range held {
		session := places[i].session
		if session == w.Except {
			continue
		}
		if s.raw == nil { // a login that has no record yet: it will find that it must not have one
			if s, _, err = r.bury(l, s, scsguard.Target{Key: s.key}, w.Ending); err != nil {
				return err
			}
		}
		if s.rec.Session == session && !w.spares(s.rec) {
			going = append(going, s)
		}
	}
	if err := r.revoke(l, w, going); err != nil {
		return err
	}
	var dead []scsguard.Record
	for _, s := range going {
		if s.there() && s.rec.State == scsguard.StateEnded {
			ended[s.rec.Session] = true
			dead = append(dead, s.rec)
		}
	}
	return r.releaseMany(l, dead)
}

// revoke ends sessions, which keep their places. What was overdue ends by that, and is
// not counted.
func (r *Registry) revoke(l *link, w *revocation, list []stored) error {
	overdue := make(map[string]bool)
	won, err := r.endMany(l, list, func(now stored) (scsguard.Ending, bool) {
		e, over := now.rec.Overdue(l.now)
		overdue[now.rec.Session] = over
		if over {
			e.Keep = w.Ending.Keep
			return e, true
		}
		e = w.Ending
		if w.out == nil {
			e.At = l.now
		}
		return e, true
	})
	var gone []scsguard.Record
	var later []scriptCall // for the next Due
	for i, s := range list {
		if !won[i] {
			continue
		}
		gone = append(gone, s.rec)
		if !overdue[s.rec.Session] && w.out != nil {
			if w.out.Total++; len(w.out.Ended) < scsguard.MaxRevoked {
				w.out.Ended = append(w.out.Ended, l.off.recordFromRedis(s.rec))
				continue
			}
		}
		later = append(later, r.scheduling(l, s, l.now.Add(-10*time.Millisecond), "set"))
	}
	var refused refusals // for one: the others have ended, and nobody comes to them again
	if err := refused.spare(err); err != nil {
		return err
	}
	if err := refused.spare(r.leaveExternals(l, gone)); err != nil {
		return err
	}
	if _, err := l.runTogether(dueScript, later); refused.spare(err) != nil {
		return err
	}
	return refused.first
}
