package redisregistry

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

// A victim is a session that has to be dead before a login lives.
type victim struct {
	place
	ending scsguard.Ending
}

func (r *Registry) victims(l *link, own stored) (verdict string, list []victim, err error) {
	reply, err := l.ask(settleScript, r.user(own.rec.User), own.rec.Session)
	if err != nil {
		return "", nil, err
	}
	texts, err := redis.Strings(reply, nil)
	if err != nil || len(texts)%5 != 1 {
		return "", nil, errAnswer
	}
	for t := texts[1:]; len(t) > 0; t = t[5:] {
		v := victim{place: place{t[0], unpacked(t[1])}}
		if v.ending, err = decodeEnding([]byte(t[3])); err != nil {
			return "", nil, err
		}
		v.ending.Kind, v.ending.Reason = scsguard.EventLogout, scsguard.EndReason(t[2])
		if t[4] != "" {
			v.ending.Detail = t[4]
		}
		list = append(list, v)
	}
	return texts[0], list, nil
}

// settle lets a login live. Every marked session is dead before that, also those that
// another login has marked and not ended yet: the cap would not hold otherwise. This
// one may be among them.
func (r *Registry) settle(l *link, own stored, seq uint64) (scsguard.Settled, error) {
	var out scsguard.Settled
	verdict, list, err := r.victims(l, own)
	if err != nil {
		return out, err
	}
	dead, err := r.endVictims(l, list, &out)
	if err != nil {
		return out, err
	}
	if verdict == "full" {
		s, won, err := r.end(l, own, func(stored) (scsguard.Ending, bool) {
			return scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndAborted, Detail: "limit", At: l.now, Keep: own.keep}, true
		})
		if err != nil {
			return out, err
		}
		if won {
			out.Ended = append(out.Ended, l.off.recordFromRedis(s.rec))
		}
		own = s
	}

	lease, lives := own.rec.Lease, false
	own, lives, err = l.change(r.keyspace, own, func(s *stored) (bool, error) {
		if !s.there() || s.rec.State != scsguard.StateReserved || s.rec.Session != own.rec.Session || verdict != "live" {
			return false, nil
		}
		s.rec.State, s.rec.Lease, s.rec.Seq = scsguard.StateLive, time.Time{}, seq
		return true, nil
	})
	if err != nil {
		return out, err
	}
	if !lives {
		out.Record = l.off.recordFromRedis(own.rec)
		return out, r.release(l, own.rec.User, append(dead, own.rec.Session)...)
	}
	out.Live, out.Record = true, l.off.recordFromRedis(own.rec)
	return out, r.settled(l, own, lease, dead)
}

// victimBatch is how many victims are looked at together.
const victimBatch = 16

// endVictims ends those who are not dead yet, wherever they are by now. A hundred
// logins at once have all the same victims: so each begins with others, looks before it
// ends, and finds that most are dead.
func (r *Registry) endVictims(l *link, list []victim, out *scsguard.Settled) (dead []string, err error) {
	ended := make(map[string]scsguard.Record)
	start := 0
	if len(list) > 0 {
		start = rand.IntN(len(list))
	}
	for turn := slices.Concat(list[start:], list[:start]); len(turn) > 0; {
		batch := turn[:min(len(turn), victimBatch)]
		turn = turn[len(batch):]
		if err := r.endBatch(l, batch, ended); err != nil {
			return nil, err
		}
	}
	for _, v := range list {
		dead = append(dead, v.session)
		if rec, ok := ended[v.session]; ok {
			out.Ended = append(out.Ended, rec)
		}
	}
	return dead, nil
}

func (r *Registry) endBatch(l *link, batch []victim, ended map[string]scsguard.Record) error {
	places := make([]place, len(batch))
	for i, v := range batch {
		places[i] = v.place
	}
	held, err := r.holders(l, places)
	if err != nil {
		return err
	}
	var going []stored
	endings := make(map[string]scsguard.Ending)
	for i, v := range batch {
		if held[i].there() && held[i].rec.Session == v.session && held[i].rec.State != scsguard.StateEnded {
			going, endings[v.session] = append(going, held[i]), v.ending
		}
	}
	won, err := r.endMany(l, going, func(now stored) (scsguard.Ending, bool) {
		e := endings[now.rec.Session]
		e.At = l.now
		return e, true
	})
	if err != nil {
		return err
	}
	var gone []scsguard.Record
	for i, s := range going {
		if won[i] {
			gone, ended[s.rec.Session] = append(gone, s.rec), l.off.recordFromRedis(s.rec)
		}
	}
	return r.leaveExternals(l, gone)
}

// settled says in the other slots that a login lives. If the process dies before, the
// place is only reserved and the victims count no more: that is too much, not too
// little.
func (r *Registry) settled(l *link, own stored, lease time.Time, dead []string) error {
	due, _ := own.rec.Due()
	if err := r.schedule(l, own, due, score(lease)); err != nil { // unless somebody has ended it already
		return err
	}
	last, err := encodeLast(own.rec)
	if err != nil {
		return err
	}
	reply, err := l.ask(heldScript, r.user(own.rec.User), append([]any{own.rec.Session, own.rec.Created.UnixMicro(), last}, anys(dead)...)...)
	if err != nil {
		return err
	}
	others, err := parsePlaces(reply)
	if err != nil {
		return err
	}
	return r.warn(l, own.rec, others)
}

// warn tells the user's other sessions of a login. It is all that a login does to
// sessions that stay, and a hundred logins at once do it to each other.
func (r *Registry) warn(l *link, rec scsguard.Record, others []place) error {
	w, err := encodeWarning(scsguard.Warning{Time: rec.Created, Session: rec.Session, IP: rec.IP, UserAgent: rec.UserAgent})
	if err != nil {
		return err
	}
	calls := make([]scriptCall, len(others))
	for i, p := range others {
		calls[i] = scriptCall{r.record(p.key), []any{toldOfLogins, w, scsguard.MaxWarnings}}
	}
	told, err := l.runEach(warnScript, calls)
	if err != nil {
		return err
	}
	for i, p := range others {
		if ok, err := redis.Int(told[i], nil); err != nil || ok == 1 {
			if err != nil {
				return err
			}
			continue
		}
		s, err := l.look(r.keyspace, p.key)
		if err != nil {
			return err
		}
		if s.rec.State != scsguard.StateMoved {
			continue // it has ended
		}
		if s, err = l.present(r.keyspace, s); err != nil {
			return err
		}
		if _, err := l.run(warnScript, r.record(s.key), toldOfLogins, w, scsguard.MaxWarnings); err != nil {
			return err
		}
	}
	return nil
}

// toldOfLogins are the states of sessions that are alive or may be.
var toldOfLogins = []byte{byte(scsguard.StateReserved), byte(scsguard.StateLive), byte(scsguard.StateDetached)}
