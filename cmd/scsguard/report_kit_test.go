package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// storyteller makes up sessions for reports.
type storyteller struct {
	events []string
	random *rand.Rand
	n      int
}

func (s *storyteller) say(kind, user, session string, seq *int, at time.Time, more string) {
	s.n++
	number := ""
	if seq != nil {
		*seq++
		number = fmt.Sprintf(`,"session":%q,"session_seq":%d`, session, *seq)
	}
	outcome := "success"
	if strings.HasPrefix(kind, "login_") {
		outcome = "failure"
	}
	s.events = append(s.events, fmt.Sprintf(`{"id":"E%d","time":%q,"event":%q,"outcome":%q,"user":%q%s,"ip":"192.0.2.%d","ip_source":"remote_addr","user_agent":"Mozilla/5.0 (X11; Linux x86_64)","idle_expires":%q,"absolute_expires":%q%s}`,
		s.n, stamp(at), kind, outcome, user, number, s.random.IntN(200), stamp(at.Add(15*time.Minute)), stamp(at.Add(8*time.Hour)), more))
}

// session is one of about an hour.
func (s *storyteller) session(user string, at time.Time, warned bool) {
	id, seq := fmt.Sprintf("S%06d", s.n), 0
	s.say("login", user, id, &seq, at, "")
	if warned {
		s.say("concurrent_warning", user, id, &seq, at.Add(time.Second), `,"concurrent":2`)
	}
	for range 3 + s.random.IntN(8) {
		at = at.Add(time.Duration(1+s.random.IntN(9)) * time.Minute)
		switch s.random.IntN(12) {
		case 0:
			s.say("extend", user, id, &seq, at, `,"reason":"request"`)
		case 1:
			s.say("privilege_change", user, id, &seq, at, `,"details":{"from":"user","to":"teller"}`)
		case 2:
			s.say("transfer", user, id, &seq, at, fmt.Sprintf(`,"transaction":"T%d"`, s.n))
		default:
			s.say("extend", user, id, &seq, at, `,"reason":"activity"`)
		}
	}
	switch s.random.IntN(4) {
	case 0:
		s.say("timeout", user, id, &seq, at.Add(15*time.Minute), `,"reason":"idle"`)
	case 1: // nobody knows
	default:
		s.say("logout", user, id, &seq, at.Add(time.Minute), `,"reason":"user"`)
	}
}

// tell writes the trail.
func (s *storyteller) tell(t testing.TB, p *place) {
	t.Helper()
	log := p.open()
	for len(s.events) > 0 {
		n := min(500, len(s.events))
		var batch [][]byte
		for _, e := range s.events[:n] {
			batch = append(batch, []byte(e))
		}
		require.NoError(t, log.Append(t.Context(), batch))
		s.events = s.events[n:]
	}
	require.NoError(t, log.Close())
}

// office is a trail of a few users with sessions at the same time.
func office(t *testing.T) *place {
	p, s := newPlace(t), &storyteller{random: rand.New(rand.NewPCG(1, 2))}
	start := begun.Add(-6 * time.Hour)
	for _, user := range []string{"alice", "bob", "carol <script>alert(1)</script>"} {
		for i := range 5 {
			s.session(user, start.Add(time.Duration(i*70+s.random.IntN(30))*time.Minute), false)
		}
		s.session(user, start.Add(80*time.Minute), true)
	}
	s.say("login_failed", "bob", "", nil, start.Add(30*time.Minute), `,"reason":"password"`)
	s.say("login_failed", "mallory", "", nil, start.Add(40*time.Minute), `,"reason":"password"`)
	s.tell(t, p)
	return p
}

// crowd is a trail of many sessions.
func crowd(t *testing.T, sessions int) *place {
	p, s := newPlace(t), &storyteller{random: rand.New(rand.NewPCG(3, 4))}
	for i := range sessions {
		s.session(fmt.Sprintf("user%04d", s.random.IntN(sessions/6)), begun.Add(-time.Duration(s.random.IntN(72*60))*time.Minute), i%97 == 0)
	}
	s.tell(t, p)
	return p
}
