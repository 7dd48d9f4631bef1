package scsguard_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// failpoint makes the nth call of the registry, the store or the sink fail,
// before or after it did its work; a crash makes every later call fail as well.
type failpoint struct {
	mu    sync.Mutex
	calls int
	at    int
	after bool
	crash bool
	off   bool
}

var errFailpoint = errors.New("failpoint")

// do runs a call, or not.
func (f *failpoint) do(call func() error) error {
	f.mu.Lock()
	f.calls++
	hit := !f.off && (f.calls == f.at || f.crash && f.calls > f.at)
	after := f.after && f.calls == f.at
	f.mu.Unlock()
	if hit && !after {
		return errFailpoint
	}
	err := call()
	if hit {
		return errFailpoint
	}
	return err
}

func (f *failpoint) arm(at int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.at = 0, at
}

func (f *failpoint) heal() (calls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = true
	return f.calls
}

type failingSink struct {
	*sink
	*failpoint
}

func (s failingSink) Append(ctx context.Context, records [][]byte) error {
	return s.do(func() error { return s.sink.Append(ctx, records) })
}

type failingStore struct {
	*memstore.MemStore
	*failpoint
}

func (s failingStore) Find(token string) (b []byte, found bool, err error) {
	err = s.do(func() error { b, found, err = s.MemStore.Find(token); return err })
	return b, found, err
}

func (s failingStore) Commit(token string, b []byte, expiry time.Time) error {
	return s.do(func() error { return s.MemStore.Commit(token, b, expiry) })
}

func (s failingStore) Delete(token string) error {
	return s.do(func() error { return s.MemStore.Delete(token) })
}

type failingRegistry struct {
	scsguard.Registry
	*failpoint
}

func (r failingRegistry) Namespace(name string) scsguard.Registry {
	return failingRegistry{r.Registry.Namespace(name), r.failpoint}
}

func (r failingRegistry) Get(ctx context.Context, key scsguard.Key) (rec scsguard.Record, err error) {
	err = r.do(func() error { rec, err = r.Registry.Get(ctx, key); return err })
	return rec, err
}

func (r failingRegistry) Admit(ctx context.Context, a scsguard.Admission) (adm scsguard.Admitted, err error) {
	err = r.do(func() error { adm, err = r.Registry.Admit(ctx, a); return err })
	return adm, err
}

func (r failingRegistry) Settle(ctx context.Context, a scsguard.Admitted, commit bool) (s scsguard.Settled, err error) {
	err = r.do(func() error { s, err = r.Registry.Settle(ctx, a, commit); return err })
	return s, err
}

func (r failingRegistry) Touch(ctx context.Context, key scsguard.Key, act scsguard.Activity) (t scsguard.Touched, err error) {
	err = r.do(func() error { t, err = r.Registry.Touch(ctx, key, act); return err })
	return t, err
}

func (r failingRegistry) Detach(ctx context.Context, key scsguard.Key, owner string, lease time.Duration) (rec scsguard.Record, ok bool, err error) {
	err = r.do(func() error { rec, ok, err = r.Registry.Detach(ctx, key, owner, lease); return err })
	return rec, ok, err
}

func (r failingRegistry) Move(ctx context.Context, from scsguard.Key, rot scsguard.Rotation) (won bool, rec scsguard.Record, err error) {
	err = r.do(func() error { won, rec, err = r.Registry.Move(ctx, from, rot); return err })
	return won, rec, err
}

func (r failingRegistry) End(ctx context.Context, t scsguard.Target, e scsguard.Ending) (rec scsguard.Record, won bool, err error) {
	err = r.do(func() error { rec, won, err = r.Registry.End(ctx, t, e); return err })
	return rec, won, err
}

func (r failingRegistry) EndAll(ctx context.Context, rev scsguard.Revocation) (revoked scsguard.Revoked, err error) {
	err = r.do(func() error { revoked, err = r.Registry.EndAll(ctx, rev); return err })
	return revoked, err
}

func (r failingRegistry) Confirm(ctx context.Context, rec scsguard.Record) error {
	return r.do(func() error { return r.Registry.Confirm(ctx, rec) })
}

// Every verb, with a failure or a crash at every call it makes: nobody holds a
// place without a session, no session is without an ending, no data is left
// behind, and the next login works.
func TestAFailureAtAnyCallOfAnyVerbIsMended(t *testing.T) {
	verbs := []string{"/login?user=alice", "/login?user=bob", "/elevate?role=admin", "/reauth?full=1", "/renew", "/destroy", "/logout", "/extend", "/put?k=a&v=b", "end-all", "whoami-idle"}
	for _, verb := range verbs {
		for _, mode := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
			t.Run(fmt.Sprintf("%s crash=%v after=%v", verb, mode[0], mode[1]), func(t *testing.T) {
				for at := 1; ; at++ {
					f := &failpoint{crash: mode[0], after: mode[1]}
					if calls := failAt(t, f, verb, at); calls < at {
						require.Greater(t, at, 1, "the verb made no call at all")
						return
					}
				}
			})
		}
	}
}

// failAt runs one verb with a failure at one call and checks what is left. It
// returns how many calls the verb made.
func failAt(t *testing.T, f *failpoint, verb string, at int) (calls int) {
	f.off = true
	registry := failingRegistry{scsguard.NewMemoryRegistry(), f}
	store := failingStore{memstore.NewWithCleanupInterval(0), f}
	out := &sink{}
	first, second := newManager(), newManager()
	first.Store, second.Store = store, store.MemStore
	synctest.Test(t, func(t *testing.T) {
		share := func(cfg *scsguard.Config) {
			cfg.Registry, cfg.Keys, cfg.Audit = registry, [][]byte{make([]byte, 32)}, failingSink{out, f}
			cfg.Limit, cfg.SweepEvery = scsguard.Limit{Max: 2, OnExceed: scsguard.EvictOldest}, -1
		}
		a := newApp(t, first, share)
		other, b := a.browser(), a.browser()
		other.login(t, "alice")
		b.login(t, "alice")
		synctest.Wait()
		if verb == "whoami-idle" {
			time.Sleep(idle)
		}
		f.off = false
		f.arm(at)
		switch verb {
		case "end-all":
			_, _ = a.guard.EndAll(context.Background(), "alice")
		case "whoami-idle":
			b.whoami()
		default:
			b.get(verb)
		}
		synctest.Wait()
		if f.crash {
			// This process is gone. Nothing that it still tries has any effect.
			f.mu.Lock()
			calls = f.calls
			f.mu.Unlock()
			next := newApp(t, second, func(cfg *scsguard.Config) {
				share(cfg)
				cfg.Registry = registry.Registry
				cfg.Audit = out
			})
			requireMended(t, next, out)
			return
		}
		calls = f.heal()
		time.Sleep(10 * time.Second) // what is repeated is repeated
		alive := requireMended(t, a, out)
		all, err := store.All()
		require.NoError(t, err)
		for _, data := range all {
			_, values, err := a.sm.Codec.Decode(data)
			require.NoError(t, err)
			if mark, ok := values["__scsguard"].(string); ok {
				require.True(t, alive[mark], "data of a dead session was left behind")
			}
		}
	})
	return calls
}

// requireMended checks the promises once all leases are over and a sweep has
// come to rest.
func requireMended(t *testing.T, a *app, out *sink) (alive map[string]bool) {
	t.Helper()
	ctx := context.Background()
	for range 2 {
		time.Sleep(scsguard.Lease)
		_, err := a.guard.Sweep(ctx)
		require.NoError(t, err)
		synctest.Wait()
	}
	ends := out.endings(t)
	alive = map[string]bool{}
	for _, user := range []string{"alice", "bob"} {
		list, err := a.guard.SessionsOf(ctx, user)
		require.NoError(t, err)
		require.LessOrEqual(t, len(list), 2)
		for _, s := range list {
			alive[s.ID] = true
			require.NotContains(t, ends, s.ID+"/end", "a living session has no ending")
		}
	}
	for _, e := range out.events(t, scsguard.EventLogin) {
		id := e.str("session")
		if e.str("outcome") != "success" {
			continue
		}
		require.True(t, alive[id] != (ends[id+"/end"] != nil), "session %s of %s: alive %v, ending %v", id, e.str("user"), alive[id], ends[id+"/end"])
	}
	// The next logins work, and fill every place.
	for range 2 {
		ctx, err := a.sm.Load(ctx, "")
		require.NoError(t, err)
		s, err := a.guard.Login(ctx, "alice")
		require.NoError(t, err)
		alive[s.ID] = true
	}
	list, err := a.guard.SessionsOf(ctx, "alice")
	require.NoError(t, err)
	require.Len(t, list, 2)
	return alive
}
