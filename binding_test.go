package scsguard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	chrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
	home    = "192.0.2.10:4711"
	mobile  = "198.51.100.23:4711"
	work    = "203.0.113.5:4711"
)

func binding(b scsguard.Binding) func(*scsguard.Config) {
	return func(c *scsguard.Config) { c.Binding = b }
}

func both(m scsguard.BindingMode) scsguard.Binding {
	return scsguard.Binding{Network: m, UserAgent: m}
}

// at returns a browser with that user agent at that address and the same cookies.
func (b *browser) at(agent, addr string) *browser {
	c := b.copy()
	c.agent, c.addr = agent, addr
	return c
}

// changedIn returns what the mismatches in the trail say, in order.
func changedIn(t testing.TB, s *sink) []string {
	var list []string
	for _, e := range s.events(t, scsguard.EventFingerprintMismatch) {
		details := e["details"].(map[string]any)
		list = append(list, e.str("reason")+" "+details["changed"].(string))
	}
	return list
}

// lines reads a table of testdata.
func lines(t testing.TB, name string) [][]string {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	var rows [][]string
	for s := bufio.NewScanner(f); s.Scan(); {
		if !strings.HasPrefix(s.Text(), "#") {
			rows = append(rows, strings.Split(s.Text(), "\t"))
		}
	}
	return rows
}

// TestEachPairOfDevicesIsToldApartAsTheTableSays goes through
// testdata/binding/pairs.tsv with real user agents.
func TestEachPairOfDevicesIsToldApartAsTheTableSays(t *testing.T) {
	agents := make(map[string]string)
	for _, row := range lines(t, "testdata/binding/agents.tsv") {
		agents[row[0]] = strings.TrimPrefix(row[1], "-")
	}
	address := func(ip string) string {
		switch {
		case ip == "-":
			return ""
		case strings.Contains(ip, ":"):
			return "[" + ip + "]:4711"
		}
		return ip + ":4711"
	}
	modes := []scsguard.Binding{{}, both(scsguard.Off), both(scsguard.Log), both(scsguard.StepUp), both(scsguard.End)}
	pairs := lines(t, "testdata/binding/pairs.tsv")
	require.GreaterOrEqual(t, len(pairs), 40)
	for i, b := range modes {
		bubble(t, func(t *testing.T, a *app) {
			for _, row := range pairs {
				what, ordinary, changed, expected := row[0], row[5] == "yes", row[6], row[7+i]
				require.Contains(t, agents, row[1], what)
				require.Contains(t, agents, row[3], what)
				a.sink.lines = nil
				first := a.browser()
				first.agent, first.addr = agents[row[1]], address(row[2])
				id := first.login(t, "alice")
				second := first.at(agents[row[3]], address(row[4]))
				got, who := "served", second.whoami()
				synctest.Wait()
				if told := changedIn(t, a.sink); len(told) > 0 {
					require.Len(t, told, 1, what)
					require.Equal(t, changed, strings.Fields(told[0])[1], what)
					got = "recorded"
				}
				own, _ := a.guard.SessionsOf(t.Context(), "alice")
				switch {
				case len(own) == 0 || own[0].ID != id:
					require.Equal(t, "401 wrong_device", who, what)
					got = "ended"
				case own[0].AuthTime.IsZero():
					got = "asked"
				}
				require.Equal(t, expected, got, what)
				if i == 0 && ordinary {
					require.NotContains(t, []string{"asked", "ended"}, got, what)
				}
				_, err := a.guard.EndAll(t.Context(), "alice")
				require.NoError(t, err)
				synctest.Wait()
			}
		}, binding(b))
	}
}

func TestAnotherDeviceIsRecordedOnceForEachChange(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.agent, b.addr = firefox, home
		b.login(t, "alice")
		for _, step := range []struct{ agent, addr, told string }{
			{firefox, mobile, "log network"},
			{firefox, mobile, ""},
			{firefox, "198.51.100.99:4711", ""}, // the same network
			{firefox, home, ""},                 // home again: the device itself
			{firefox, mobile, ""},               // as it was recorded
			{firefox, work, "log network"},
			{chrome, work, "stepup user_agent,network"},
			{chrome, work, ""},
			{strings.ReplaceAll(chrome, "126", "127"), work, ""},
			{chrome, home, "stepup user_agent"},
		} {
			a.sink.lines = nil
			time.Sleep(11 * time.Second) // beyond the window of a flood
			require.Equal(t, "alice", b.at(step.agent, step.addr).whoami())
			synctest.Wait()
			require.Equal(t, step.told, strings.Join(changedIn(t, a.sink), "; "), "%v", step)
		}
	})
}

func TestRequestsAtTheSameTimeRecordAnotherDeviceOnce(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		other := b.at("other browser", home)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { require.Equal(t, "alice", other.whoami()) })
		}
		all.Wait()
		time.Sleep(time.Minute)
		require.Equal(t, []string{"stepup user_agent"}, changedIn(t, a.sink))
	}, binding(scsguard.Binding{Network: scsguard.Off}))
}

// lazyRegistry answers a Get late, once it is told to.
type lazyRegistry struct {
	scsguard.Registry
	after *atomic.Int64
}

func (r lazyRegistry) Namespace(string) scsguard.Registry { return r }

func (r lazyRegistry) Get(ctx context.Context, key scsguard.Key) (scsguard.Record, error) {
	rec, err := r.Registry.Get(ctx, key)
	if d := r.after.Load(); d > 0 {
		time.Sleep(time.Duration(d))
	}
	return rec, err
}

func TestManyRequestsOfAnotherDeviceDoNotWaitForEachOtherForLong(t *testing.T) {
	registry := lazyRegistry{scsguard.NewMemoryRegistry(), new(atomic.Int64)}
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		registry.after.Store(int64(1900 * time.Millisecond))
		started := time.Now()
		other := b.at("other browser", home)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { other.whoami() })
		}
		all.Wait()
		require.Less(t, time.Since(started), 10*time.Second)
	}, func(c *scsguard.Config) {
		c.Registry, c.Keys, c.CallTimeout = registry, [][]byte{make([]byte, 32)}, 2*time.Second
	})
}

func TestAFloodOfInventedDevicesIsNoFloodInTheTrail(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		for i := range 200 {
			b.at(fmt.Sprintf("browser %c%c", 'a'+i%20, 'a'+i/20), b.addr).whoami()
		}
		time.Sleep(time.Minute)
		told := a.sink.events(t, scsguard.EventFingerprintMismatch)
		require.Len(t, told, 2)
		require.Equal(t, "199", told[1]["details"].(map[string]any)["count"])
	})
}

func TestAMismatchUnderEndEndsTheSessionForEverybodyAndSaysWhatChanged(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.Handle("/bound", a.guard.EnforceBinding(http.NotFoundHandler()))
		b := a.browser()
		id := b.login(t, "alice")
		require.Equal(t, http.StatusNotFound, b.get("/bound").Code)
		require.Equal(t, http.StatusNotFound, a.browser().get("/bound").Code, "EnforceBinding is for nobody else")

		res := b.at(chrome, b.addr).get("/bound")
		require.Equal(t, http.StatusUnauthorized, res.Code)
		require.Contains(t, res.Body, `"reason":"wrong_device"`)
		require.Empty(t, res.Header.Values("Set-Cookie"))
		require.Equal(t, "401 wrong_device", b.whoami(), "for its user, too")

		synctest.Wait()
		require.Equal(t, []string{"end user_agent"}, changedIn(t, a.sink))
		told := a.sink.events(t, scsguard.EventFingerprintMismatch)[0]
		require.Equal(t, "failure", told.str("outcome"))
		require.Equal(t, id, told.str("session"))
		require.Equal(t, chrome, told.str("user_agent"))
		end := a.sink.endings(t)[id+"/end"]
		require.Equal(t, "wrong_device", end.str("reason"))
		require.Equal(t, "user_agent", end["details"].(map[string]any)["detail"])
	}, binding(both(scsguard.End)))
}

// readOnlyRegistry can be told to refuse what changes a session.
type readOnlyRegistry struct {
	scsguard.Registry
	on *atomic.Bool
}

var errReadOnly = errors.New("read only replica")

func (r readOnlyRegistry) Namespace(string) scsguard.Registry { return r }

func (r readOnlyRegistry) Touch(ctx context.Context, key scsguard.Key, act scsguard.Activity) (scsguard.Touched, error) {
	if r.on.Load() {
		return scsguard.Touched{}, errReadOnly
	}
	return r.Registry.Touch(ctx, key, act)
}

func (r readOnlyRegistry) End(ctx context.Context, t scsguard.Target, e scsguard.Ending) (scsguard.Record, bool, error) {
	if r.on.Load() {
		return scsguard.Record{}, false, errReadOnly
	}
	return r.Registry.End(ctx, t, e)
}

func TestAMismatchUnderEndFailsClosedWhileTheRegistryIsDown(t *testing.T) {
	registry := readOnlyRegistry{scsguard.NewMemoryRegistry(), new(atomic.Bool)}
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		other := b.at(chrome, b.addr)
		registry.on.Store(true)
		require.Equal(t, http.StatusServiceUnavailable, other.get("/whoami").Code)
		registry.on.Store(false)
		time.Sleep(time.Minute) // the ending is repeated until it succeeds
		require.Equal(t, "401 wrong_device", b.whoami())
	}, binding(both(scsguard.End)), func(c *scsguard.Config) {
		c.Registry, c.Keys = registry, [][]byte{make([]byte, 32)}
	})
}

func TestUnderStepUpAnotherDeviceCountsAsNotRecentlyAuthenticatedUntilItsUserProvesWhoHeIs(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.handle("/since", func(w http.ResponseWriter, r *http.Request) error {
			s, _ := a.guard.Current(r.Context())
			_, err := fmt.Fprint(w, !s.AuthTime.IsZero())
			return err
		})
		b := a.browser()
		b.login(t, "alice")
		require.Equal(t, "true", b.get("/since").Body)
		other := b.at(chrome, b.addr)
		require.Equal(t, "false", other.get("/since").Body)
		require.Equal(t, "false", b.get("/since").Body, "the session, whoever asks")
		require.Equal(t, http.StatusOK, other.get("/reauth").Code)
		require.Equal(t, "true", other.get("/since").Body)
		require.Len(t, changedIn(t, a.sink), 1, "it is bound to the device of who proved it")
		time.Sleep(time.Minute)
		require.Equal(t, "401 ended", b.whoami(), "the token of before is worth nothing")
	})
}

func TestARenewalDoesNotBindASessionToAnotherDevice(t *testing.T) {
	for _, path := range []string{"/renew", "/elevate?role=admin", "/whoami"} {
		bubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			b.login(t, "alice")
			other := b.at(chrome, b.addr)
			other.whoami()
			time.Sleep(6 * time.Minute) // the token is due for renewal
			before := other.token()
			require.Equal(t, http.StatusOK, other.get(path).Code)
			require.NotEqual(t, before, other.token())
			time.Sleep(11 * time.Second)
			other.whoami()
			require.Equal(t, []string{"stepup user_agent"}, changedIn(t, a.sink), "once")
			require.Equal(t, "alice", strings.Fields(other.at(b.agent, b.addr).whoami())[0])
			synctest.Wait()
			require.Len(t, changedIn(t, a.sink), 1, "its own device is no other one")
			own, err := a.guard.SessionsOf(t.Context(), "alice")
			require.NoError(t, err)
			require.Zero(t, own[0].AuthTime)
		}, func(c *scsguard.Config) { c.Timeouts.Renew = 5 * time.Minute })
	}
}

func TestTheFirstKeyWritesFingerprintsAndAllReadThem(t *testing.T) {
	old, fresh := []byte(strings.Repeat("old ", 8)), []byte(strings.Repeat("new ", 8))
	registry, store := scsguard.NewMemoryRegistry(), memstore.NewWithCleanupInterval(0)
	stored := func(t *testing.T, a *app) string {
		list, err := a.guard.Registry().List(t.Context(), "alice")
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0].Fingerprint
	}
	managers := []*scs.SessionManager{newManager(), newManager(), newManager()}
	synctest.Test(t, func(t *testing.T) {
		run := func(keys [][]byte) *app {
			sm := managers[0]
			managers, sm.Store = managers[1:], store
			return newApp(t, sm, binding(both(scsguard.End)), func(c *scsguard.Config) { c.Registry, c.Keys = registry, keys })
		}
		a := run([][]byte{old})
		b := a.browser()
		b.login(t, "alice")
		first := stored(t, a)

		a = run([][]byte{fresh, old})
		b.h = a.serve
		require.Equal(t, "alice", b.whoami())
		second := stored(t, a)
		require.NotEqual(t, first, second, "it is under the new key now")

		a = run([][]byte{fresh})
		b.h = a.serve
		require.Equal(t, "alice", b.whoami(), "so the old key can go")
		require.Equal(t, second, stored(t, a))
		require.Equal(t, "401 wrong_device", b.at(chrome, b.addr).whoami())
	})
}

func TestTheTrailNamesADeviceByKeyedDigestsOnly(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.agent = firefox
		b.login(t, "alice")
		b.at(chrome, work).whoami()
		synctest.Wait()
		login, other := a.sink.events(t, scsguard.EventLogin)[0], a.sink.events(t, scsguard.EventFingerprintMismatch)[0]
		require.Regexp(t, `^[0-9a-f]{32}\.[0-9a-f]{32}\.[0-9a-f]{32}$`, login.str("fingerprint"))
		require.Regexp(t, `^[0-9a-f]{32}\.[0-9a-f]{32}\.[0-9a-f]{32}$`, other.str("fingerprint"))
		require.NotEqual(t, login.str("fingerprint"), other.str("fingerprint"))
	})
}

func TestASessionFromOutsideOfHTTPIsBoundByItsFirstRequest(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		ctx, err := a.sm.Load(t.Context(), "")
		require.NoError(t, err)
		_, err = a.guard.Login(ctx, "alice")
		require.NoError(t, err)
		token, _, err := a.sm.Commit(ctx)
		require.NoError(t, err)
		b := a.browser()
		b.cookies["__Host-session"] = token
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, "401 wrong_device", b.at(chrome, work).whoami())
	}, binding(both(scsguard.End)))
}

func TestARecordOfAnOlderVersionIsBoundToTheDeviceOfItsLogin(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		list, err := a.guard.Registry().List(t.Context(), "alice")
		require.NoError(t, err)
		short, _, _ := strings.Cut(list[0].Fingerprint, ".")
		_, err = a.guard.Registry().Touch(t.Context(), list[0].Key, scsguard.Activity{Fingerprint: short})
		require.NoError(t, err)
		require.Equal(t, "alice", b.whoami())
		require.Empty(t, changedIn(t, a.sink))
		require.Equal(t, "401 wrong_device", b.at(chrome, b.addr).whoami())
	}, binding(both(scsguard.End)))
}

func TestThePolicyDecidesAboutTheBindingOfEachSubject(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		for role, expected := range map[string]string{"admin": "401 wrong_device", "staff": "alice staff"} {
			b := a.browser()
			require.Equal(t, http.StatusOK, b.get("/login?user=alice&role="+role).Code)
			require.Equal(t, expected, b.at(b.agent, work).whoami())
		}
	}, func(c *scsguard.Config) {
		c.Policy = func(_ context.Context, s scsguard.Subject) scsguard.Policy {
			if s.Role == "admin" {
				return scsguard.Policy{Binding: both(scsguard.End)}
			}
			return scsguard.Policy{}
		}
	})
}

func TestABindingModeThatDoesNotExistIsRefused(t *testing.T) {
	_, err := scsguard.New(newManager(), scsguard.Config{Audit: scsguard.Discard(), Binding: scsguard.Binding{Network: 9, UserAgent: 200}})
	require.ErrorContains(t, err, "Binding.Network = BindingMode(9)")
	require.ErrorContains(t, err, "Binding.UserAgent = BindingMode(200)")
}

func TestBindingModesAreSpelledAsOnACommandLine(t *testing.T) {
	for _, m := range []scsguard.BindingMode{0, scsguard.Off, scsguard.Log, scsguard.StepUp, scsguard.End} {
		text, err := json.Marshal(m)
		require.NoError(t, err)
		var back scsguard.BindingMode
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, m, back)
	}
	var m scsguard.BindingMode
	require.ErrorContains(t, m.UnmarshalText([]byte("strict")), `"strict" is not off, log, stepup or end`)
}

func TestTwoProcessesThatSeeAnotherDeviceAtTheSameTimeRecordItOnce(t *testing.T) {
	for _, mode := range []scsguard.BindingMode{scsguard.Log, scsguard.StepUp, scsguard.End} {
		managers := [2]*scs.SessionManager{newManager(), newManager()}
		synctest.Test(t, func(t *testing.T) {
			registry := lazyRegistry{scsguard.NewMemoryRegistry(), new(atomic.Int64)}
			first, second := processes(t, managers, binding(both(mode)), func(c *scsguard.Config) { c.Registry = registry })
			b := first.browser()
			b.login(t, "alice")
			registry.after.Store(int64(100 * time.Millisecond)) // so that both have read before either writes
			other := [2]*browser{b.at(chrome, b.addr), b.at(chrome, b.addr)}
			other[1].h = second.serve
			var all sync.WaitGroup
			for _, o := range other {
				all.Go(func() { o.whoami() })
			}
			all.Wait()
			registry.after.Store(0)
			time.Sleep(time.Minute)
			require.Equal(t, []string{mode.String() + " user_agent"}, changedIn(t, first.sink))
		})
	}
}

// mutteringRegistry does what it is told and loses the answer, once it is told to.
type mutteringRegistry struct {
	scsguard.Registry
	on *atomic.Bool
}

func (r mutteringRegistry) Namespace(string) scsguard.Registry { return r }

func (r mutteringRegistry) Touch(ctx context.Context, key scsguard.Key, act scsguard.Activity) (scsguard.Touched, error) {
	touched, err := r.Registry.Touch(ctx, key, act)
	if r.on.Load() {
		return scsguard.Touched{}, errReadOnly
	}
	return touched, err
}

func TestAnotherDeviceIsRecordedAlthoughTheAnswerOfTheRegistryWasLost(t *testing.T) {
	for _, mode := range []scsguard.BindingMode{scsguard.Log, scsguard.StepUp} {
		registry := mutteringRegistry{scsguard.NewMemoryRegistry(), new(atomic.Bool)}
		bubble(t, func(t *testing.T, a *app) {
			b := a.browser()
			b.login(t, "alice")
			other := b.at(chrome, b.addr)
			registry.on.Store(true)
			require.Equal(t, http.StatusServiceUnavailable, other.get("/whoami").Code)
			registry.on.Store(false)
			require.Equal(t, "alice", other.whoami())
			synctest.Wait()
			require.Equal(t, []string{mode.String() + " user_agent"}, changedIn(t, a.sink))
		}, binding(both(mode)), func(c *scsguard.Config) { c.Registry, c.Keys = registry, [][]byte{make([]byte, 32)} })
	}
}

// Fingerprints are remembered, and a visitor can invent any number of devices.
func TestInventedDevicesAreNotRememberedWithoutEnd(t *testing.T) {
	const devices, each = 20_000, 500
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		before := heap()
		for i := range devices {
			b.agent = fmt.Sprintf("%0*d", each, i)
			require.Equal(t, 200, b.get("/get?k=x").Code)
		}
		require.Less(t, heap(), before+devices*each/2)
	}, func(cfg *scsguard.Config) {
		cfg.Binding = scsguard.Binding{Network: scsguard.Off, UserAgent: scsguard.Off}
	})
}
