package redisregistry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// An end of all that cannot be completed comes again and again.
func TestAnEndOfAllThatRedisRefusesKeepsASweepFromNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	prefix := emptyPrefix()
	reg := redisregistry.New(server.Pool(), prefix)
	c := dial(t, server)
	bad := begin(t, reg, "alice")
	name := wrong(t, c, "*"+string(bad.Key)+"}:g:*")
	_, err := reg.EndAll(ctx, scsguard.Revocation{User: "alice", Ending: ending(scsguard.EndRevoked)})
	require.ErrorContains(t, err, "WRONGTYPE")
	_, err = c.Do("DEL", name)
	require.NoError(t, err)
	name = wrong(t, c, "*{user:*")
	const n = 40
	for i := range n {
		due(t, reg, fmt.Sprint("user", i))
	}
	looked(t, c)
	found := make(map[string]bool)
	for range 2 {
		list, err := reg.Due(ctx, 20)
		require.NoError(t, err)
		require.Len(t, list, 20, "there are more, whatever else has its turn")
		for _, rec := range list {
			found[rec.Session] = true
		}
	}
	list, err := reg.Due(ctx, 20)
	require.NoError(t, err)
	require.Len(t, list, 1)
	found[list[0].Session] = true
	require.Len(t, found, n+1, "those who are due, and the one whose record is gone")
	looked(t, c)
	_, err = c.Do("DEL", name)
	require.NoError(t, err)
}

// What Redis refuses for one is found out when the others have ended already: whoever has
// ended them is told of them, and they are in no list any more.
func TestWhoHasEndedAllButOneThatRedisRefusesIsToldOfThem(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := dial(t, server)
	const n = 20
	var bad scsguard.Record
	asked := false
	m := &mortal{pool: server.Pool(), n: 1 << 40, after: func(command string) {
		if asked = asked || command != ""; asked && command == "" && bad.Key != "" { // it has read all
			wrong(t, c, "*"+string(bad.Key)+"}:g:*")
			bad.Key = ""
		}
	}}
	prefix := emptyPrefix()
	healthy, reg := redisregistry.New(server.Pool(), prefix), redisregistry.New(m, prefix)
	var last scsguard.Record
	for range n {
		last = begin(t, healthy, "alice")
	}
	bad = last
	out, err := reg.EndAll(ctx, scsguard.Revocation{User: "alice", Ending: ending(scsguard.EndRevoked)})
	require.ErrorContains(t, err, "WRONGTYPE")
	require.Len(t, out.Ended, n-1)
	require.Equal(t, n-1, out.Total)
	fields, err := redis.Strings(c.Do("HKEYS", theKey(t, c, "*{external:*")))
	require.NoError(t, err)
	require.Equal(t, []string{"p" + last.Session}, fields)
}

// Nobody lives on because Redis refuses to end somebody else; and he ends when it does
// not any more.
func TestAnEndOfAllEndsAllButThoseThatRedisRefusesAndThemLater(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := dial(t, server)
	const n = 40
	for name, rev := range endsOfAll {
		prefix := emptyPrefix()
		reg := redisregistry.New(server.Pool(), prefix)
		var bad scsguard.Record
		for i := range n {
			if rec := begin(t, reg, "alice"); i == n/2 {
				bad = rec
			}
		}
		names, err := redis.Strings(c.Do("KEYS", "*"+string(bad.Key)+"}:g:*"))
		require.NoError(t, err)
		require.Len(t, names, 1)
		_, err = c.Do("RENAME", names[0], "away")
		require.NoError(t, err)
		_, err = c.Do("HSET", names[0], "something", "else")
		require.NoError(t, err)

		rev.Ending = ending(scsguard.EndRevoked)
		out, err := reg.EndAll(ctx, rev)
		require.ErrorContains(t, err, "WRONGTYPE", name)
		require.Len(t, out.Ended, n-1, name)
		require.Equal(t, n-1, out.Total, name)
		require.NoError(t, reg.ConfirmAll(ctx, out.Ended))

		looked(t, c)
		list, err := reg.Due(ctx, 100)
		require.ErrorContains(t, err, "WRONGTYPE", name)
		require.Empty(t, list, name)
		_, err = c.Do("RENAME", "away", names[0])
		require.NoError(t, err)
		looked(t, c)
		list, err = reg.Due(ctx, 100)
		require.NoError(t, err)
		require.Len(t, list, 1, name)
		require.Equal(t, bad.Session, list[0].Session, name)
		require.Equal(t, scsguard.EndRevoked, list[0].Ending.Reason, name)
		require.NoError(t, reg.ConfirmAll(ctx, list))
		looked(t, c)
		list, err = reg.Due(ctx, 100)
		require.NoError(t, err)
		require.Empty(t, list, name)
		left, err := redis.Int(c.Do("EVAL", "return #redis.call('KEYS', ARGV[1])", 0, "*{due:*"))
		require.NoError(t, err)
		require.Zero(t, left, name)
	}
}

// A session that proves again who its user is goes on without a login, for years if he
// does so often enough. Whoever ends all of the user has to find it.
func TestASessionIsFoundAsLongAsItLives(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reg := redisregistry.New(server.Pool())
	c := dial(t, server)
	rec := begin(t, reg, "alice")
	for _, name := range []string{"*{user:*", "*{external:*", "*{due:*"} {
		_, err := c.Do("EVAL", "return redis.call('PEXPIRE', redis.call('KEYS', ARGV[1])[1], 60000)", 0, name) // it began long ago
		require.NoError(t, err)
	}
	won, rec, err := reg.Move(ctx, rec.Key, scsguard.Rotation{To: newKey(), At: time.Now(), Absolute: time.Now().Add(30 * 24 * time.Hour),
		Auth: &scsguard.Authentication{Time: time.Now(), Full: true}})
	require.NoError(t, err)
	require.True(t, won)
	for _, name := range []string{"*{user:*", "*{external:*", "*{due:*"} {
		left, err := redis.Int64(c.Do("EVAL", "return redis.call('PTTL', redis.call('KEYS', ARGV[1])[1])", 0, name))
		require.NoError(t, err)
		require.Greater(t, time.Duration(left)*time.Millisecond, time.Until(rec.Absolute), name)
	}
}

// apart is more than the clocks of a process and of Redis may seem to differ where both
// have much to do: the benefit that a login has of it is as much as one answer took.
const apart = 500 * time.Millisecond

// endsOfAll are those that begin by saying what they are about to do.
var endsOfAll = map[string]scsguard.Revocation{
	"everyone": {Everyone: true},
	"user":     {User: "alice"},
	"external": {External: "sid"},
}

// dieInEndAll has a process die that has said what it is about to do, and no more.
func dieInEndAll(t *testing.T, server *redistest.Server, prefix redisregistry.Option, rev scsguard.Revocation) {
	t.Helper()
	m := &mortal{pool: server.Pool(), n: 2, served: true}
	_, err := redisregistry.New(m, prefix).EndAll(ctx, rev)
	require.ErrorIs(t, err, errDead)
}

// A sweep completes an EndAll whose process died, after another one has succeeded. What
// the later one refuses stays refused.
func TestAnOldEndOfAllDoesNotTakeANewerOneBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := dial(t, server)
	for name, rev := range endsOfAll {
		prefix := emptyPrefix()
		reg := redisregistry.New(server.Pool(), prefix)
		begin(t, reg, "alice")
		rev.Ending = ending(scsguard.EndRevoked)
		dieInEndAll(t, server, prefix, rev)
		time.Sleep(apart)
		between := admission("alice", scsguard.Limit{})
		between.AuthenticatedAt = time.Now()
		time.Sleep(apart)
		_, err := reg.EndAll(ctx, rev)
		require.NoError(t, err)

		looked(t, c)
		_, err = reg.Due(ctx, 10)
		require.NoError(t, err)
		adm, err := reg.Admit(ctx, between)
		require.NoError(t, err)
		require.Equal(t, scsguard.DeniedRevoked, adm.Denied, name)
		between.AuthenticatedAt = time.Now().Add(time.Second)
		adm, err = reg.Admit(ctx, between)
		require.NoError(t, err)
		require.Empty(t, adm.Denied, name)
	}
}

// Whoever has logged in since somebody began to end all, and died, is not meant.
func TestAnEndOfAllThatASweepCompletesSparesWhoCameSince(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := dial(t, server)
	for name, rev := range endsOfAll {
		prefix := emptyPrefix()
		reg := redisregistry.New(server.Pool(), prefix)
		before := begin(t, reg, "alice")
		rev.Ending = ending(scsguard.EndRevoked)
		dieInEndAll(t, server, prefix, rev)
		time.Sleep(apart)
		since := begin(t, reg, "alice")
		looked(t, c)
		require.Equal(t, before.Session, onlyDue(t, reg).Session, name)
		now, err := reg.Get(ctx, since.Key)
		require.NoError(t, err)
		require.Equal(t, scsguard.StateLive, now.State, name)
	}
}

// When a session began was said by the clock of a process, which is never quite that of
// Redis.
func TestAnEndOfEveryoneEndsWhoSeemsToComeAMomentLater(t *testing.T) {
	t.Parallel()
	reg := redisregistry.New(redistest.Start(t).Pool())
	a := admission("alice", scsguard.Limit{})
	a.Record.Created = time.Now().Add(500 * time.Millisecond)
	adm, err := reg.Admit(ctx, a)
	require.NoError(t, err)
	s, err := reg.Settle(ctx, adm, true)
	require.NoError(t, err)
	require.True(t, s.Live)
	out, err := reg.EndAll(ctx, scsguard.Revocation{Everyone: true, Ending: ending(scsguard.EndRevoked)})
	require.NoError(t, err)
	require.Len(t, out.Ended, 1)
}

// The walk of an EndEveryone may pass before a login in progress has a due entry. So it
// asks once more when it has one.
func TestALoginBesideAnEndOfEveryoneIsRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	healthy := redisregistry.New(server.Pool())
	asked := false
	m := &mortal{pool: server.Pool(), n: 1 << 40, after: func(command string) {
		if command == "GET" && !asked { // whether everybody is refused
			asked = true
			_, err := healthy.EndAll(ctx, scsguard.Revocation{Everyone: true, Ending: ending(scsguard.EndRevoked)})
			require.NoError(t, err)
		}
	}}
	a := admission("alice", scsguard.Limit{})
	a.AuthenticatedAt = time.Now()
	adm, err := redisregistry.New(m).Admit(ctx, a)
	require.NoError(t, err)
	require.True(t, asked)
	require.Equal(t, scsguard.DeniedRevoked, adm.Denied)
}
