package redisregistry_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// A mortal pool is that of a process which dies at its nth command: before Redis
// gets it, or before the process gets the answer.
type mortal struct {
	pool   redisregistry.Pool
	n      int64
	served bool // the last command is carried out
	count  atomic.Int64
	trips  atomic.Int64
	after  func(command string) // is called after each command
}

var errDead = errors.New("the process is dead")

func (m *mortal) GetContext(ctx context.Context) (redis.Conn, error) {
	if m.count.Load() >= m.n {
		return nil, errDead
	}
	c, err := m.pool.GetContext(ctx)
	return &mortalConn{c, m}, err
}

func (m *mortal) died() bool { return m.count.Load() >= m.n }

type mortalConn struct {
	redis.Conn
	m *mortal
}

func (c *mortalConn) DoContext(ctx context.Context, command string, args ...any) (any, error) {
	n := c.m.count.Add(1)
	c.m.trips.Add(1)
	if n > c.m.n || n == c.m.n && !c.m.served {
		return nil, errDead
	}
	reply, err := redis.DoContext(c.Conn, ctx, command, args...)
	if c.m.after != nil {
		c.m.after(command)
	}
	if n == c.m.n {
		return nil, errDead
	}
	return reply, err
}

// Send lets the process die between two commands that are sent at once: what was sent
// before is carried out. Between two that only read nothing can happen.
func (c *mortalConn) Send(command string, args ...any) error {
	if slices.Contains([]string{"GET", "MGET", "TIME", "ZCOUNT"}, command) {
		return c.Conn.Send(command, args...)
	}
	n := c.m.count.Add(1)
	if n < c.m.n || n == c.m.n && c.m.served {
		if err := c.Conn.Send(command, args...); err != nil || n < c.m.n {
			return err
		}
	}
	_, _ = c.Conn.Do("")
	return errDead
}

func (c *mortalConn) Do(command string, args ...any) (any, error) {
	return c.DoContext(context.Background(), command, args...)
}

func (c *mortalConn) ReceiveContext(ctx context.Context) (any, error) {
	return redis.ReceiveContext(c.Conn, ctx)
}

// world is what a verb happens to: two sessions of alice, of which the second has
// moved, at a cap of three.
type world struct {
	t        *testing.T
	name     string
	healthy  *redisregistry.Registry // of a process that goes on
	dying    *redisregistry.Registry
	sessions []scsguard.Record // all that ever began, as they were told
	told     map[string]int    // endings by session
	doomed   int               // how many of them are to end, whatever happens
}

var ctx = context.Background()

func newKey() scsguard.Key {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return scsguard.Key(base64.RawURLEncoding.EncodeToString(b))
}

func admission(user string, limit scsguard.Limit) scsguard.Admission {
	now := time.Now()
	session := rand.Text()
	return scsguard.Admission{
		Record: scsguard.Record{
			Session: session, User: user, Key: newKey(), Seq: 1, Created: now, AuthTime: now, AAL: 1, LoginAAL: 1,
			LastActivity: now, Idle: time.Hour, Absolute: now.Add(8 * time.Hour), AbsoluteSince: now, TokenSince: now, External: "sid",
		},
		Limit: limit, AuthenticatedAt: now.Add(30 * time.Millisecond),
		By:        scsguard.Ending{Kind: scsguard.EventLogout, At: now, Detail: session, Keep: 8 * time.Hour},
		Retention: 7 * 24 * time.Hour,
	}
}

var (
	deny  = scsguard.Limit{Max: 3, OnExceed: scsguard.Deny}
	evict = scsguard.Limit{Max: 2, OnExceed: scsguard.EvictOldest}
)

func ending(reason scsguard.EndReason) scsguard.Ending {
	return scsguard.Ending{Kind: scsguard.EventLogout, Reason: reason, At: time.Now(), Keep: 8 * time.Hour}
}

// login logs in, in a process that lives.
func (w *world) login(limit scsguard.Limit) scsguard.Record {
	adm, err := w.healthy.Admit(ctx, admission("alice", limit))
	require.NoError(w.t, err, w.name)
	require.Empty(w.t, adm.Denied, w.name)
	s, err := w.healthy.Settle(ctx, adm, true)
	require.NoError(w.t, err, w.name)
	require.True(w.t, s.Live, w.name)
	w.sessions = append(w.sessions, s.Record)
	w.confirm(append(s.Ended, adm.Overdue...)...)
	return s.Record
}

// confirm is what whoever was told of endings does.
func (w *world) confirm(recs ...scsguard.Record) {
	for _, rec := range recs {
		w.told[rec.Session]++
		require.NoError(w.t, w.healthy.Confirm(ctx, rec), w.name)
	}
}

// sweep is that of a process that lives.
func (w *world) sweep() {
	for {
		recs, err := w.healthy.Due(ctx, 100)
		require.NoError(w.t, err, w.name)
		if len(recs) == 0 {
			return
		}
		for _, rec := range recs {
			if rec.State != scsguard.StateEnded {
				var ended bool
				rec, ended, err = w.healthy.End(ctx, scsguard.Target{Key: rec.Key, IfDue: true}, ending(""))
				require.NoError(w.t, err, w.name)
				if !ended {
					continue
				}
			}
			w.confirm(rec)
		}
	}
}

// verbs are the calls during which a process may die.
var verbs = map[string]func(w *world, r *redisregistry.Registry, old, moved scsguard.Record) error{
	"a login that evicts": func(w *world, r *redisregistry.Registry, _, _ scsguard.Record) error {
		a := admission("alice", evict)
		adm, err := r.Admit(ctx, a)
		w.sessions = append(w.sessions, a.Record)
		if err == nil {
			_, err = r.Settle(ctx, adm, true)
		}
		return err
	},
	"a login that is denied": func(_ *world, r *redisregistry.Registry, _, _ scsguard.Record) error {
		_, err := r.Admit(ctx, admission("alice", scsguard.Limit{Max: 2, OnExceed: scsguard.Deny}))
		return err
	},
	"a login that is undone": func(_ *world, r *redisregistry.Registry, _, _ scsguard.Record) error {
		adm, err := r.Admit(ctx, admission("alice", evict))
		if err == nil {
			_, err = r.Settle(ctx, adm, false)
		}
		return err
	},
	"a touch that tightens": func(_ *world, r *redisregistry.Registry, _, moved scsguard.Record) error {
		_, err := r.Touch(ctx, moved.Key, scsguard.Activity{At: time.Now(), Absolute: time.Now().Add(time.Second), Event: true})
		return err
	},
	"a detachment": func(_ *world, r *redisregistry.Registry, old, _ scsguard.Record) error {
		_, _, err := r.Detach(ctx, old.Key, "request", time.Second)
		return err
	},
	"a move": func(_ *world, r *redisregistry.Registry, _, moved scsguard.Record) error {
		_, _, err := r.Move(ctx, moved.Key, scsguard.Rotation{To: newKey(), At: time.Now(), Grace: time.Second})
		return err
	},
	"an end by key": func(_ *world, r *redisregistry.Registry, _, moved scsguard.Record) error {
		_, _, err := r.End(ctx, scsguard.Target{Key: moved.Key}, ending(scsguard.EndUser))
		return err
	},
	"an end by name": func(_ *world, r *redisregistry.Registry, _, moved scsguard.Record) error {
		_, _, err := r.End(ctx, scsguard.Target{User: "alice", Session: moved.Session}, ending(scsguard.EndAdmin))
		return err
	},
	"an end of the lost": func(w *world, r *redisregistry.Registry, _, _ scsguard.Record) error {
		lost := scsguard.Record{Session: rand.Text(), Key: newKey()}
		_, _, err := r.End(ctx, scsguard.Target{Key: lost.Key, Session: lost.Session}, ending(scsguard.EndLost))
		return err
	},
	"an end of all of the user": func(_ *world, r *redisregistry.Registry, _, _ scsguard.Record) error {
		_, err := r.EndAll(ctx, scsguard.Revocation{User: "alice", Ending: ending(scsguard.EndRevoked)})
		return err
	},
	"an end of all under an external ID": func(_ *world, r *redisregistry.Registry, _, _ scsguard.Record) error {
		_, err := r.EndAll(ctx, scsguard.Revocation{External: "sid", Ending: ending(scsguard.EndRevoked)})
		return err
	},
	"an end of everyone": func(_ *world, r *redisregistry.Registry, _, _ scsguard.Record) error {
		_, err := r.EndAll(ctx, scsguard.Revocation{Everyone: true, Ending: ending(scsguard.EndRevoked)})
		return err
	},
	"a sweep of many": func(w *world, r *redisregistry.Registry, old, moved scsguard.Record) error {
		for _, rec := range []scsguard.Record{old, moved} {
			_, err := w.healthy.Touch(ctx, rec.Key, scsguard.Activity{Absolute: time.Now().Add(-time.Second)})
			require.NoError(w.t, err)
		}
		recs, err := r.Due(ctx, 10)
		if err != nil {
			return err
		}
		keys := []scsguard.Key{old.Key} // again, and first of all
		for _, rec := range recs {
			keys = append(keys, rec.Key)
		}
		recs, err = r.EndDue(ctx, keys, ending(""))
		if confirmed := r.ConfirmAll(ctx, recs); err == nil {
			err = confirmed
		}
		if err == nil {
			for _, rec := range recs {
				w.told[rec.Session]++
			}
		}
		return err
	},
	"a sweep": func(w *world, r *redisregistry.Registry, _, moved scsguard.Record) error {
		_, err := w.healthy.Touch(ctx, moved.Key, scsguard.Activity{Absolute: time.Now().Add(-time.Second)})
		require.NoError(w.t, err)
		recs, err := r.Due(ctx, 10)
		for _, rec := range recs {
			if err == nil {
				rec, _, err = r.End(ctx, scsguard.Target{Key: rec.Key, IfDue: true}, ending(""))
			}
			if err == nil {
				if err = r.Confirm(ctx, rec); err == nil {
					w.told[rec.Session]++
				}
			}
		}
		return err
	},
}

func TestAProcessMayDieBetweenAnyTwoCommands(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	pool := server.Pool()
	var worlds []*world
	for verb, do := range verbs {
		for _, served := range []bool{false, true} {
			for n := int64(1); ; n++ {
				m := &mortal{pool: pool, n: n, served: served}
				prefix := emptyPrefix()
				w := &world{t: t, name: fmt.Sprintf("%s, dead at command %d (carried out: %v)", verb, n, served),
					healthy: redisregistry.New(pool, prefix), dying: redisregistry.New(m, prefix), told: make(map[string]int)}
				old, first := w.login(deny), w.login(deny)
				won, moved, err := w.healthy.Move(ctx, first.Key, scsguard.Rotation{To: newKey(), At: time.Now(), Grace: time.Minute})
				require.NoError(t, err)
				require.True(t, won)
				err = do(w, w.dying, old, moved)
				if !m.died() {
					require.NoError(t, err, w.name)
					break
				}
				// From its second command on an EndAll has said what it is about to do.
				if (strings.HasPrefix(verb, "an end of all") || strings.HasPrefix(verb, "an end of everyone")) && (n > 2 || n == 2 && served) {
					w.doomed = 2
				}
				worlds = append(worlds, w)
			}
		}
	}
	t.Logf("%d deaths", len(worlds))
	require.Greater(t, len(worlds), 150)
	time.Sleep(scsguard.Lease + 500*time.Millisecond)
	for _, w := range worlds {
		w.check()
	}
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	keys, err := redistest.Immortal(ctx, c)
	require.NoError(t, err)
	require.Empty(t, keys, "without a time to live: %s", strings.Join(keys, ", "))
}

// check looks at what a death has left, after its leases.
func (w *world) check() {
	t := w.t
	w.sweep()
	live, err := w.healthy.List(ctx, "alice")
	require.NoError(t, err, w.name)
	alive := make(map[string]bool)
	for _, rec := range live {
		alive[rec.Session] = true
	}
	for _, rec := range w.sessions[:w.doomed] {
		require.False(t, alive[rec.Session], "%s: a session lives that was to end", w.name)
	}
	for _, rec := range w.sessions {
		now := rec
		for now.Key != "" {
			next, err := w.healthy.Get(ctx, now.Key)
			require.NoError(t, err, w.name)
			if now = next; now.State != scsguard.StateMoved {
				break
			}
			now.Key = now.Successor
		}
		switch now.State {
		case scsguard.StateUnknown:
			require.Zero(t, rec.State, "%s: the session %s has no record any more", w.name, rec.Session)
		case scsguard.StateLive:
			require.True(t, alive[rec.Session], "%s: a session that lives is not in the list", w.name)
			require.Zero(t, w.told[rec.Session], "%s: a session that lives has an ending", w.name)
		case scsguard.StateEnded:
			require.False(t, alive[rec.Session], w.name)
			require.True(t, now.Confirmed, "%s: after the sweep an ending is not confirmed", w.name)
		default:
			require.Fail(t, "in between", "%s: after the sweep a session is %v", w.name, now.State)
		}
	}
	for range 3 - len(live) { // no ghost holds a place
		w.login(deny)
	}
	adm, err := w.healthy.Admit(ctx, admission("alice", deny))
	require.NoError(t, err, w.name)
	require.Equal(t, scsguard.DeniedLimit, adm.Denied, "%s: more than three live, or somebody who lives is not counted", w.name)
	revoked, err := w.healthy.EndAll(ctx, scsguard.Revocation{Everyone: true, Ending: ending(scsguard.EndRevoked)})
	require.NoError(t, err, w.name)
	require.Equal(t, 3, revoked.Total, "%s: whoever lives has a due entry, by which he is found", w.name)
	w.confirm(revoked.Ended...)
	w.sweep()
	for session, n := range w.told {
		require.LessOrEqual(t, n, 1, "%s: the ending of %s is told %d times", w.name, session, n)
	}
}

// Two of them wrote the same entry at almost the same time: one who wants it looked at
// soon, and one who has seen that there is time.
func TestALaterWishIsNotOverwritten(t *testing.T) {
	t.Parallel()
	pool := redistest.Start(t).Pool()
	m := &mortal{pool: pool, n: 1 << 40}
	prefix := emptyPrefix()
	w := &world{t: t, healthy: redisregistry.New(pool, prefix), dying: redisregistry.New(m, prefix), told: make(map[string]int)}
	rec := w.login(deny)
	c := pool.Get()
	defer c.Close()
	parts, err := redis.Strings(c.Do("KEYS", "*{due:*"))
	require.NoError(t, err)
	require.Len(t, parts, 1)
	members, err := redis.Strings(c.Do("ZRANGE", parts[0], 0, -1))
	require.NoError(t, err)
	_, err = c.Do("ZADD", parts[0], 1, members[0]) // as if it had been used since
	require.NoError(t, err)
	pipelines := 0
	m.after = func(command string) {
		if command != "" {
			return
		}
		// The sweep has asked for the time, what is due, and now the record. The session ends
		// in this moment, in a process that dies.
		if pipelines++; pipelines == 3 {
			_, ended, err := w.healthy.End(ctx, scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser))
			require.NoError(t, err)
			require.True(t, ended)
		}
	}
	_, err = w.dying.Due(ctx, 10)
	require.NoError(t, err)
	time.Sleep(scsguard.Lease + 500*time.Millisecond)
	w.sweep()
	require.Equal(t, 1, w.told[rec.Session], "the ending waits for nothing but its lease")
}

// Those of several sessions are said in one call, and each has a time of its own.
func TestDueEntriesOfManyLiveAsLongAsTheLongest(t *testing.T) {
	t.Parallel()
	pool := redistest.Start(t).Pool()
	reg := redisregistry.New(pool)
	var keys []scsguard.Key
	absolute := make(map[string]time.Time) // by session
	for i := range 48 {                    // three in each part; those that live longest first
		a := admission(fmt.Sprint("user", i), scsguard.Limit{})
		a.Record.Idle, a.Record.Absolute = time.Millisecond, time.Now().Add(time.Duration(48-i)*time.Hour)
		adm, err := reg.Admit(ctx, a)
		require.NoError(t, err)
		_, err = reg.Settle(ctx, adm, true)
		require.NoError(t, err)
		keys, absolute[a.Record.Session] = append(keys, a.Record.Key), a.Record.Absolute
	}
	time.Sleep(500 * time.Millisecond) // more than the clocks may seem to differ
	c := pool.Get()
	defer c.Close()
	parts, err := redis.Strings(c.Do("KEYS", "*{due:*"))
	require.NoError(t, err)
	for _, part := range parts {
		_, err := c.Do("PEXPIRE", part, 60_000)
		require.NoError(t, err)
	}
	ended, err := reg.EndDue(ctx, keys, ending(""))
	require.NoError(t, err)
	require.Len(t, ended, len(keys))
	for _, part := range parts {
		members, err := redis.Strings(c.Do("ZRANGE", part, 0, -1))
		require.NoError(t, err)
		left, err := redis.Int64(c.Do("PTTL", part))
		require.NoError(t, err)
		for session, at := range absolute {
			if slices.ContainsFunc(members, func(m string) bool { return strings.Contains(m, session) }) {
				require.Greater(t, time.Duration(left)*time.Millisecond, time.Until(at.Add(7*24*time.Hour)), "an ending that nobody confirms would be lost")
			}
		}
	}
}

// Who ended the session has died before he could say so in the index.
func TestADeadSessionHoldsNoPlaceEvenBeforeASweep(t *testing.T) {
	t.Parallel()
	pool := redistest.Start(t).Pool()
	ended := 0
	for n := int64(1); ; n++ {
		m := &mortal{pool: pool, n: n, served: true}
		prefix := emptyPrefix()
		w := &world{t: t, healthy: redisregistry.New(pool, prefix), dying: redisregistry.New(m, prefix), told: make(map[string]int)}
		one := scsguard.Limit{Max: 1, OnExceed: scsguard.Deny}
		rec := w.login(one)
		_, _, err := w.dying.End(ctx, scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser))
		if !m.died() {
			require.NoError(t, err)
			break
		}
		now, err := w.healthy.Get(ctx, rec.Key)
		require.NoError(t, err)
		if now.State == scsguard.StateEnded {
			ended++
			w.login(one)
		}
	}
	require.Greater(t, ended, 1)
}

// A login that has to make room has marked a session, and is marked itself. Whoever
// marked it counts on both places.
func TestWhoIsHandedDownEndsAlsoForALoginThatDenies(t *testing.T) {
	t.Parallel()
	w := &world{t: t, healthy: redisregistry.New(redistest.Start(t).Pool()), told: make(map[string]int)}
	old := w.login(scsguard.Limit{Max: 1, OnExceed: scsguard.Deny})
	first, err := w.healthy.Admit(ctx, admission("alice", scsguard.Limit{Max: 1, OnExceed: scsguard.EvictOldest}))
	require.NoError(t, err)
	a := admission("alice", scsguard.Limit{Max: 1, OnExceed: scsguard.Deny})
	a.End = first.Record.Session
	second, err := w.healthy.Admit(ctx, a)
	require.NoError(t, err)
	require.Empty(t, second.Denied)
	_, err = w.healthy.Settle(ctx, first, false)
	require.NoError(t, err)
	s, err := w.healthy.Settle(ctx, second, true)
	require.NoError(t, err)
	require.True(t, s.Live)
	require.Len(t, s.Ended, 1)
	require.Equal(t, old.Session, s.Ended[0].Session)
}

func TestWarningsThatNobodyTakesTakeNoRoom(t *testing.T) {
	t.Parallel()
	pool := redistest.Start(t).Pool()
	w := &world{t: t, healthy: redisregistry.New(pool), told: make(map[string]int)}
	first := w.login(scsguard.Limit{})
	c := pool.Get()
	defer c.Close()
	var sizes []int
	for range 12 {
		w.login(scsguard.Limit{})
		n, err := redis.Int(c.Do("STRLEN", "{scs:session:"+string(first.Key)+"}:g:"))
		require.NoError(t, err)
		sizes = append(sizes, n)
	}
	require.Less(t, sizes[0], sizes[scsguard.MaxWarnings-1])
	require.InDelta(t, sizes[scsguard.MaxWarnings-1], sizes[11], scsguard.MaxWarnings, "a moment takes a byte more or less")
}
