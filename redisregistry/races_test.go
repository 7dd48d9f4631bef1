package redisregistry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// Whoever may publish can say anything. That a session has ended must at least be what
// the record in the message says.
func TestAMessageOfASessionThatLivesEndsNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool())
	c := dial(t, server)
	lives, ends := begin(t, reg, "alice"), begin(t, reg, "alice")
	watching, stop := context.WithCancel(ctx)
	defer stop()
	endings, err := reg.Watch(watching)
	require.NoError(t, err)
	raw, err := redis.String(c.Do("GET", "{scs:session:"+string(lives.Key)+"}:g:"))
	require.NoError(t, err)
	for _, message := range []string{fmt.Sprintf("%d:%s%s", len(lives.Key), lives.Key, raw), "", ":", "-1:x", "9:x", "1:x", "0:" + raw} {
		heard, err := redis.Int(c.Do("PUBLISH", "scsguard::ended", message))
		require.NoError(t, err)
		require.Equal(t, 1, heard)
	}
	_, _, err = reg.End(ctx, scsguard.Target{Key: ends.Key}, ending(scsguard.EndUser))
	require.NoError(t, err)
	require.Equal(t, ends.Session, (<-endings).Session, "what came before ended nothing")
	now, err := reg.Get(ctx, lives.Key)
	require.NoError(t, err)
	require.Equal(t, scsguard.StateLive, now.State)
}

// A session that ends while it moves leaves nothing where it was going to.
func TestAMoveThatLosesLeavesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := dial(t, server)
	healthy := redisregistry.New(server.Pool())
	rec, to := begin(t, healthy, "alice"), newKey()
	waiting := "{scs:session:" + string(to) + "}:g:"
	ended := false
	m := &mortal{pool: server.Pool(), n: 1 << 40, after: func(string) {
		if there, err := redis.Bool(c.Do("EXISTS", waiting)); err == nil && there && !ended {
			_, ended, err = healthy.End(ctx, scsguard.Target{Key: rec.Key}, ending(scsguard.EndUser))
			require.NoError(t, err)
			require.True(t, ended)
		}
	}}
	won, now, err := redisregistry.New(m).Move(ctx, rec.Key, scsguard.Rotation{To: to, At: time.Now()})
	require.NoError(t, err)
	require.False(t, won)
	require.True(t, ended)
	require.Equal(t, scsguard.StateEnded, now.State)
	there, err := redis.Bool(c.Do("EXISTS", waiting))
	require.NoError(t, err)
	require.False(t, there, "the record that waited")
	entries, err := redis.Int(c.Do("EVAL", "local n = 0 for _, k in ipairs(redis.call('KEYS', '*{due:*')) do n = n + redis.call('ZCARD', k) end return n", 0))
	require.NoError(t, err)
	require.Equal(t, 1, entries, "that of the ending, which nobody has confirmed")
}

// A failover of the slot of the new key may lose what waited there, after the old one said
// that the session has moved.
func TestAMoveWritesAgainWhatWasLostOfIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := dial(t, server)
	healthy := redisregistry.New(server.Pool())
	rec, to := begin(t, healthy, "alice"), newKey()
	lost := false
	m := &mortal{pool: server.Pool(), n: 1 << 40, after: func(string) {
		if old, err := healthy.Get(ctx, rec.Key); !lost && err == nil && old.State == scsguard.StateMoved {
			lost, err = redis.Bool(c.Do("DEL", "{scs:session:"+string(to)+"}:g:"))
			require.NoError(t, err)
			require.True(t, lost)
		}
	}}
	won, _, err := redisregistry.New(m).Move(ctx, rec.Key, scsguard.Rotation{To: to, At: time.Now()})
	require.NoError(t, err)
	require.True(t, won)
	require.True(t, lost)
	now, err := healthy.Get(ctx, to)
	require.NoError(t, err)
	require.Equal(t, scsguard.StateLive, now.State)
	require.Equal(t, rec.Session, now.Session)
}

// A sweep finds that a record waits for its session, which comes in this moment.
func TestASweepTakesNothingFromASessionThatArrives(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := dial(t, server)
	for n := int64(1); ; n++ {
		prefix := emptyPrefix() // no other session waits there
		healthy := redisregistry.New(server.Pool(), prefix)
		rec, to := begin(t, healthy, "alice"), newKey()
		old := theKey(t, c, "*"+string(rec.Key)+"}:g:*")
		alive, err := redis.String(c.Do("GET", old))
		require.NoError(t, err)
		_, _, err = redisregistry.New(&mortal{pool: server.Pool(), n: n, served: true}, prefix).Move(ctx, rec.Key, scsguard.Rotation{To: to, At: time.Now()})
		require.Error(t, err)
		if now, err := healthy.Get(ctx, rec.Key); err != nil || now.State != scsguard.StateMoved {
			require.NoError(t, err)
			continue
		}
		moved, err := redis.String(c.Do("GET", old))
		require.NoError(t, err)
		_, err = c.Do("SET", old, alive, "KEEPTTL") // a moment before
		require.NoError(t, err)
		looked(t, c)
		came := false
		m := &mortal{pool: server.Pool(), n: 1 << 40, after: func(command string) {
			if command == "GET" && !came {
				came = true
				_, err := c.Do("SET", old, moved, "KEEPTTL")
				require.NoError(t, err)
			}
		}}
		_, err = redisregistry.New(m, prefix).Due(ctx, 100)
		require.NoError(t, err)
		require.True(t, came)
		now, err := healthy.Get(ctx, to)
		require.NoError(t, err)
		require.Equal(t, scsguard.StateLive, now.State)
		return
	}
}

// Of two logins in one browser the later one stays, although somebody who has failed since
// kept it from saying so when it came.
func TestALoginEndsNoneThatCameAfterIt(t *testing.T) {
	t.Parallel()
	reg := redisregistry.New(redistest.Start(t).Pool())
	admit := func(a scsguard.Admission) scsguard.Admitted {
		adm, err := reg.Admit(ctx, a)
		require.NoError(t, err)
		require.Empty(t, adm.Denied)
		return adm
	}
	browser := newKey()
	tab := func() scsguard.Admission {
		a := admission("alice", scsguard.Limit{})
		a.Browser = browser
		return a
	}
	earlier := admit(tab())
	other := admission("alice", scsguard.Limit{})
	other.End = earlier.Record.Session
	failing := admit(other)
	later := admit(tab())
	_, err := reg.Settle(ctx, failing, false)
	require.NoError(t, err)
	s, err := reg.Settle(ctx, earlier, true)
	require.NoError(t, err)
	require.True(t, s.Live)
	require.Empty(t, s.Ended)
	s, err = reg.Settle(ctx, later, true)
	require.NoError(t, err)
	require.True(t, s.Live)
	require.Len(t, s.Ended, 1)
	require.Equal(t, earlier.Record.Session, s.Ended[0].Session)
}

// A cutting pool has one connection that the other side closes after the nth command,
// which it has carried out.
type cutting struct {
	mortal
	used bool
}

func (p *cutting) GetContext(ctx context.Context) (redis.Conn, error) {
	if p.used {
		return p.pool.GetContext(ctx)
	}
	p.used = true
	c, err := p.mortal.GetContext(ctx)
	return cutConn{c.(*mortalConn)}, err
}

type cutConn struct{ *mortalConn }

func closedBy(err error) error {
	if errors.Is(err, errDead) {
		return io.EOF
	}
	return err
}

func (c cutConn) Do(command string, args ...any) (any, error) {
	v, err := c.mortalConn.Do(command, args...)
	return v, closedBy(err)
}

func (c cutConn) Send(command string, args ...any) error {
	return closedBy(c.mortalConn.Send(command, args...))
}

// Only what is asked first may be asked again: a login would find its own record, and take
// it for another one's.
func TestACallThatWasAnsweredIsNotRepeated(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	begin(t, redisregistry.New(server.Pool()), "somebody") // so that Redis has the scripts
	for n := int64(1); ; n++ {
		p := &cutting{mortal: mortal{pool: server.Pool(), n: n, served: true}}
		adm, err := redisregistry.New(p).Admit(ctx, admission("alice", scsguard.Limit{}))
		if err == nil {
			require.Empty(t, adm.Denied, "cut after %d", n)
		}
		if !p.died() {
			require.NoError(t, err)
			require.Greater(t, n, int64(5))
			return
		}
		if n == 1 {
			require.NoError(t, err, "nothing was answered yet")
		} else {
			require.ErrorIs(t, err, io.EOF, "cut after %d", n)
		}
	}
}

// The way to a session leads over keys that it has left, which are forgotten some day.
// Whoever has moved it, died, or was slow to say so: it is found without them.
func TestASessionIsFoundWithoutTheKeysItHasLeft(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := dial(t, server)
	for name, rev := range map[string]scsguard.Revocation{"user": {User: "alice"}, "external": {External: "sid"}} {
		for _, slow := range []bool{false, true} {
			healthy := redisregistry.New(server.Pool())
			var rec scsguard.Record
			var keys []scsguard.Key
			again := func() {
				keys = append(keys, newKey())
				won, _, err := healthy.Move(ctx, keys[1], scsguard.Rotation{To: keys[2], At: time.Now(), Absolute: time.Now().Add(24 * time.Hour)})
				require.NoError(t, err)
				require.True(t, won)
			}
			if slow {
				rec = begin(t, healthy, "alice")
				keys = []scsguard.Key{rec.Key, newKey()}
				m := &mortal{pool: server.Pool(), n: 1 << 40, after: func(string) {
					if now, err := healthy.Get(ctx, keys[1]); err == nil && now.State == scsguard.StateLive && len(keys) == 2 {
						again()
						adm, err := healthy.Admit(ctx, admission("alice", scsguard.Limit{})) // says where it is
						require.NoError(t, err)
						_, err = healthy.Settle(ctx, adm, false)
						require.NoError(t, err)
					}
				}}
				_, _, err := redisregistry.New(m).Move(ctx, rec.Key, scsguard.Rotation{To: keys[1], At: time.Now()})
				require.NoError(t, err)
			} else {
				for n := int64(1); ; n++ {
					rec = begin(t, healthy, "alice")
					keys = []scsguard.Key{rec.Key, newKey()}
					_, _, err := redisregistry.New(&mortal{pool: server.Pool(), n: n, served: true}).Move(ctx, rec.Key, scsguard.Rotation{To: keys[1], At: time.Now()})
					if now, failed := healthy.Get(ctx, rec.Key); failed == nil && now.State == scsguard.StateMoved {
						break
					}
					require.Error(t, err)
				}
				again()
				looked(t, c)
				_, err := healthy.Due(ctx, 100)
				require.NoError(t, err)
			}
			for _, key := range keys[:2] {
				_, err := c.Do("DEL", "{scs:session:"+string(key)+"}:g:")
				require.NoError(t, err)
			}
			rev.Ending = ending(scsguard.EndRevoked)
			_, err := healthy.EndAll(ctx, rev)
			require.NoError(t, err)
			now, err := healthy.Get(ctx, keys[2])
			require.NoError(t, err)
			require.Equal(t, scsguard.StateEnded, now.State, "%s, slow: %v", name, slow)
		}
	}
}
