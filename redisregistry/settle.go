package redisregistry

import (
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
		v := victim{place: place{t[0], scsguard.Key(t[1])}}
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
	var dead []string
	for _, v := range list {
		s, won, err := r.endPlace(l, v)
		if err != nil {
			return out, err
		}
		if won {
			out.Ended = append(out.Ended, l.off.recordFromRedis(s.rec))
		}
		dead = append(dead, v.session)
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

// endPlace ends the session at a place, wherever it is by now.
func (r *Registry) endPlace(l *link, v victim) (stored, bool, error) {
	s, err := l.look(r.keyspace, v.key)
	if err != nil || !s.there() || s.rec.Session != v.session {
		return s, false, err
	}
	s, won, err := r.endRecord(l, s, func(stored) (scsguard.Ending, bool) {
		v.ending.At = l.now
		return v.ending, true
	})
	if won && err == nil {
		err = r.leaveExternal(l, s.rec)
	}
	return s, won, err
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

// warn tells the user's other sessions of a login.
func (r *Registry) warn(l *link, rec scsguard.Record, others []place) error {
	held, err := r.holders(l, others)
	if err != nil {
		return err
	}
	w := scsguard.Warning{Time: rec.Created, Session: rec.Session, IP: rec.IP, UserAgent: rec.UserAgent}
	for _, s := range held {
		for {
			now, _, err := l.change(r.keyspace, s, func(s *stored) (bool, error) {
				switch s.rec.State {
				case scsguard.StateReserved, scsguard.StateLive, scsguard.StateDetached:
				default:
					return false, nil
				}
				s.rec.Warn(w)
				return s.there() && s.rec.User == rec.User, nil
			})
			if err != nil {
				return err
			}
			if now.rec.State != scsguard.StateMoved {
				break
			}
			if s, err = l.present(r.keyspace, now); err != nil || s.key == now.key {
				return err
			}
		}
	}
	return nil
}
