package redisregistry_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
	"github.com/scsguard/scsguard/internal/redistest"
)

// amnesia is a Redis that will forget what is written from now on, as one does that
// takes over from a primary which had not told it yet.
func amnesia(t *testing.T, server *redistest.Server) (failOver func()) {
	t.Helper()
	c, err := server.Dial(ctx)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Do("SAVE")
	require.NoError(t, err)
	return func() {
		server.Stop()
		require.NoError(t, server.Restart())
	}
}

// twoOf are two processes on one Redis.
func twoOf(t *testing.T, settings ...setting) (*redistest.Server, *app, *app) {
	server := startRedis(t)
	prefix := emptyPrefix()
	return server, newApp(t, server.Pool(), prefix, settings...), newApp(t, server.Pool(), prefix)
}

func endingsIn(a *app, session string) (n int) {
	for _, e := range a.Trail.Events() {
		if e.ID == session+"/end" {
			n++
		}
	}
	return n
}

func TestASessionThatAFailoverBringsBackIsEndedAgainByWhoHadEndedIt(t *testing.T) {
	for _, seen := range []string{"by its visitor", "in a list", "by a sweep"} {
		t.Run(seen, func(t *testing.T) {
			var reg scsguard.Registry
			server, here, there := twoOf(t, func(_ *scs.SessionManager, cfg *scsguard.Config) { reg = cfg.Registry })
			_, err := here.Guard.Sweep(ctx)
			require.NoError(t, err)
			b, session := login(t, here, "alice")
			elsewhere := there.Browser(t)
			elsewhere.SetToken(b.Token())
			failOver := amnesia(t, server)
			_, err = here.Guard.EndAll(ctx, "alice")
			require.NoError(t, err)
			guardtest.Flush(t, here.Guard)
			require.Equal(t, "401 ended_by_admin", who(elsewhere))
			failOver()
			switch seen {
			case "by its visitor":
				require.Equal(t, "401 ended_by_admin", who(b))
			case "in a list":
				list, err := reg.List(ctx, "alice")
				require.NoError(t, err)
				require.Empty(t, list)
			default:
				require.Equal(t, "alice", who(elsewhere), "nobody has told this process, nor Redis")
				_, err := here.Guard.Sweep(ctx)
				require.NoError(t, err)
			}
			require.Equal(t, "401 ended_by_admin", who(elsewhere))
			require.Eventually(t, func() bool { // as after any ending that nobody has confirmed
				_, err := here.Guard.Sweep(ctx)
				require.NoError(t, err)
				guardtest.Flush(t, here.Guard)
				return endingsIn(here, session) == 2
			}, time.Minute, 100*time.Millisecond, "its ending is told again, as the same event")
		})
	}
}

func TestAProcessThatListensRemembersWhatOthersHaveEnded(t *testing.T) {
	server, here, there := twoOf(t)
	b, _ := login(t, here, "alice")
	elsewhere := there.Browser(t)
	elsewhere.SetToken(b.Token())
	entered := there.stream("/stream")
	stream := get(elsewhere, "/stream")
	<-entered
	c := dial(t, server)
	requireListening(t, c)
	failOver := amnesia(t, server)
	require.Equal(t, http.StatusOK, b.Get("/logout").Status)
	<-stream
	failOver()
	require.Equal(t, "401 ended_by_you", who(elsewhere))
}

// What is remembered must not be taken for the end of a login that has come since.
func TestALoginAfterAFailoverIsNobodyElses(t *testing.T) {
	server, here, there := twoOf(t)
	b, _ := login(t, here, "alice")
	failOver := amnesia(t, server)
	require.Equal(t, http.StatusOK, b.Get("/logout").Status)
	failOver()
	again, _ := login(t, here, "alice")
	require.Equal(t, "alice", who(again))
	elsewhere := there.Browser(t)
	elsewhere.SetToken(again.Token())
	require.Equal(t, "alice", who(elsewhere))
}
