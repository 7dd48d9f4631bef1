package guardtest_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

// coarse keeps nothing finer than a millisecond, and breaks if it has to.
type coarse struct{ scsguard.Registry }

func (r coarse) Namespace(name string) scsguard.Registry { return coarse{r.Registry.Namespace(name)} }

func (r coarse) Touch(ctx context.Context, key scsguard.Key, act scsguard.Activity) (scsguard.Touched, error) {
	if act.Idle > 0 && act.Idle < time.Millisecond {
		return scsguard.Touched{}, errors.New("too fine")
	}
	act.Idle = act.Idle.Truncate(time.Millisecond)
	if !act.Absolute.IsZero() {
		act.Absolute = act.Absolute.Add(999 * time.Microsecond).Truncate(time.Millisecond)
	}
	return r.Registry.Touch(ctx, key, act)
}

// late is a registry on another host, whose clock is behind: for a while it goes
// on listing what is over.
type late struct {
	scsguard.Registry
	behind time.Duration
	last   scsguard.Record
}

func (r *late) Get(ctx context.Context, key scsguard.Key) (scsguard.Record, error) {
	rec, err := r.Registry.Get(ctx, key)
	r.last = rec
	return rec, err
}

func (r *late) List(ctx context.Context, user string) ([]scsguard.Record, error) {
	all, err := r.Registry.List(ctx, user)
	if due, _ := r.last.Due(); len(all) == 0 && time.Since(due) < r.behind {
		all = append(all, r.last)
	}
	return all, err
}

// deaf does not do what it is told to.
type deaf struct{ scsguard.Registry }

func (r deaf) Touch(context.Context, scsguard.Key, scsguard.Activity) (scsguard.Touched, error) {
	return scsguard.Touched{Live: true}, nil
}

// down cannot be reached.
type down struct{ scsguard.Registry }

func (r down) Get(context.Context, scsguard.Key) (scsguard.Record, error) {
	return scsguard.Record{}, errors.New("no connection")
}

type expireFunc func(testing.TB, scsguard.Registry, string) scsguard.Record

var expiries = map[string]expireFunc{"idle": guardtest.ExpireIdle, "absolute": guardtest.ExpireAbsolute}

// inAndOut runs a test in a bubble and outside of one.
func inAndOut(t *testing.T, f func(*testing.T)) {
	t.Run("in a bubble", func(t *testing.T) { synctest.Test(t, f) })
	t.Run("outside of a bubble", f)
}

func TestAnExpiredSessionLeavesARealTimeout(t *testing.T) {
	for reason, expire := range expiries {
		for name, change := range map[string]func(*scsguard.Config){
			"memory":      func(*scsguard.Config) {},
			"coarse":      func(c *scsguard.Config) { c.Registry = coarse{c.Registry} },
			"a namespace": func(c *scsguard.Config) { c.Namespace = "staff" },
			"a policy":    func(c *scsguard.Config) { c.Policy = sameForAll },
			"shortest": func(c *scsguard.Config) {
				c.Timeouts = scsguard.Timeouts{Idle: time.Minute, Absolute: time.Minute}
			},
		} {
			t.Run(reason+" "+name, func(t *testing.T) {
				inAndOut(t, func(t *testing.T) {
					b := newBank(t, change)
					alice, bob := b.Browser(t), b.Browser(t)
					loginAlice(alice)
					bob.PostForm("/login", url.Values{"user": {"bob"}, "password": {"demo"}})
					before := guardtest.SessionOf(t, b.Registry, alice.Token())

					rec := expire(t, b.Registry, alice.Token())
					require.Equal(t, before.Session, rec.Session)
					require.Equal(t, scsguard.StateLive, rec.State)
					require.Equal(t, before.Seq, rec.Seq)
					require.Empty(t, b.Trail.OfSession(rec.Session, scsguard.EventTimeout, scsguard.EventExtend))

					require.Equal(t, http.StatusUnauthorized, alice.Get("/account").Status)
					require.Contains(t, alice.Get("/account").Body, "Please log in")
					require.Equal(t, "account of bob", bob.Get("/account").Body)
					guardtest.Flush(t, b.Guard)
					end := b.Trail.Ending(t, rec.Session)
					require.Equal(t, scsguard.EventTimeout, end.Kind)
					require.Equal(t, reason, end.Reason)
					due, _ := rec.Due()
					require.WithinDuration(t, due, end.Due, time.Microsecond)
					require.Equal(t, alice.UserAgent, end.UserAgent)
					require.Len(t, b.Trail.OfSession(rec.Session), 2)
				})
			})
		}
	}
}

func TestASweepFindsAnExpiredSession(t *testing.T) {
	for reason, expire := range expiries {
		inAndOut(t, func(t *testing.T) {
			b := newBank(t)
			alice := b.Browser(t)
			loginAlice(alice)
			id := expire(t, b.Registry, alice.Token()).Session
			guardtest.Flush(t, b.Guard)
			require.Equal(t, reason, b.Trail.Ending(t, id).Reason)
		})
	}
}

func TestAnExpiryFollowsARenewedToken(t *testing.T) {
	b := newBank(t)
	b.mux.HandleFunc("POST /elevate", func(_ http.ResponseWriter, r *http.Request) { _, _ = b.Guard.Elevate(r.Context(), "admin") })
	alice := b.Browser(t)
	loginAlice(alice)
	old := alice.Token()
	alice.PostForm("/elevate", nil)
	require.NotEqual(t, old, alice.Token())
	guardtest.ExpireIdle(t, b.Registry, old)
	require.Equal(t, http.StatusUnauthorized, alice.Get("/account").Status)
}

func TestAnExpiryNeedsNoBrowser(t *testing.T) {
	for _, hash := range []bool{false, true} {
		sm := guardtest.NewManager()
		sm.HashTokenInStore = hash
		app := guardtest.NewWith(t, sm)
		ctx, err := sm.Load(context.Background(), "")
		require.NoError(t, err)
		_, err = app.Guard.Login(ctx, "alice")
		require.NoError(t, err)
		guardtest.ExpireAbsolute(t, app.Registry, sm.Token(ctx))
		_, ok := app.Guard.Current(ctx)
		require.False(t, ok)
	}
}

func TestAnExpiryThatCannotBeDoneFails(t *testing.T) {
	token := "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for _, expire := range expiries {
		for name, c := range map[string]struct {
			words []string
			run   func(testing.TB, *bank, *guardtest.Browser)
		}{
			"nobody logged in": {[]string{"there is no token", "log in first"}, func(tb testing.TB, b *bank, alice *guardtest.Browser) {
				expire(tb, b.Registry, b.Browser(tb).Token())
			}},
			"no registry": {[]string{"there is no registry", "Guard.Registry"}, func(tb testing.TB, b *bank, alice *guardtest.Browser) {
				expire(tb, nil, alice.Token())
			}},
			"another registry": {[]string{"the registry knows no session"}, func(tb testing.TB, b *bank, alice *guardtest.Browser) {
				expire(tb, scsguard.NewMemoryRegistry(), alice.Token())
			}},
			"another namespace": {[]string{"Guard.Registry"}, func(tb testing.TB, b *bank, alice *guardtest.Browser) {
				expire(tb, b.Registry.Namespace("x"), alice.Token())
			}},
			"another token": {[]string{"the registry knows no session"}, func(tb testing.TB, b *bank, alice *guardtest.Browser) {
				expire(tb, b.Registry, token)
			}},
			"no token": {[]string{"2 bytes that are no session token"}, func(tb testing.TB, b *bank, alice *guardtest.Browser) {
				expire(tb, b.Registry, "id")
			}},
			"ended": {[]string{"is ended (revoked), not live", "log in again"}, func(tb testing.TB, b *bank, alice *guardtest.Browser) {
				_, _ = b.Guard.EndAll(context.Background(), "alice")
				expire(tb, b.Registry, alice.Token())
			}},
			"deaf": {[]string{"is not overdue", "Package registrytest"}, func(tb testing.TB, b *bank, alice *guardtest.Browser) {
				expire(tb, deaf{b.Registry}, alice.Token())
			}},
			"down": {[]string{"the registry cannot be asked: no connection"}, func(tb testing.TB, b *bank, alice *guardtest.Browser) {
				expire(tb, down{b.Registry}, alice.Token())
			}},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { // being deaf takes ten seconds
					b := newBank(t)
					alice := b.Browser(t)
					loginAlice(alice)
					messages := reports(func(tb testing.TB) { c.run(tb, b, alice) })
					require.Len(t, messages, 1)
					wantReport(t, messages, c.words...)
				})
			})
		}
	}
}

// What is over by the other limit does not count.
func TestAnExpiryDoesNotTakeOneLimitForTheOther(t *testing.T) {
	b := newBank(t)
	alice := b.Browser(t)
	loginAlice(alice)
	guardtest.ExpireIdle(t, b.Registry, alice.Token())
	guardtest.ExpireIdle(t, b.Registry, alice.Token()) // again is no harm
	wantReport(t, reports(func(tb testing.TB) { guardtest.ExpireAbsolute(tb, b.Registry, alice.Token()) }), "has ended as idle already")
}

// A session that has been in use for long is expired as well, and at once.
func TestAnExpiryTakesNoTimeInALongSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t)
		for _, expire := range expiries {
			alice := b.Browser(t)
			loginAlice(alice)
			for range 20 {
				time.Sleep(10 * time.Minute)
				require.Equal(t, http.StatusOK, alice.Get("/account").Status)
			}
			time.Sleep(time.Minute)
			start := time.Now()
			expire(t, b.Registry, alice.Token())
			require.Equal(t, start, time.Now())
			require.Equal(t, http.StatusUnauthorized, alice.Get("/account").Status)
		}
	})
}

// The guard asks the registry to end what is over, so the registry has to find so.
func TestAnExpiryWaitsForTheClockOfTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for behind, wait := range map[time.Duration]time.Duration{100 * time.Millisecond: 100 * time.Millisecond, time.Hour: time.Second} {
			for _, expire := range expiries {
				b := newBank(t, func(c *scsguard.Config) { c.SweepEvery = -1 })
				alice := b.Browser(t)
				loginAlice(alice)
				time.Sleep(time.Minute)
				start := time.Now()
				expire(t, &late{Registry: b.Registry, behind: behind}, alice.Token())
				require.Equal(t, wait, time.Since(start))
			}
		}
	})
}

func TestASweepThatIsFasterIsNoReasonToFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, expire := range expiries {
			b := newBank(t, func(c *scsguard.Config) { c.SweepEvery = 10 * time.Millisecond })
			alice := b.Browser(t)
			loginAlice(alice)
			time.Sleep(time.Minute)
			rec := expire(t, &late{Registry: b.Registry, behind: time.Hour}, alice.Token())
			require.Equal(t, scsguard.StateEnded, rec.State)
		}
	})
}

func TestTheManagerIsThatOfSCS(t *testing.T) {
	want, got := scs.New(), guardtest.NewManager()
	require.Equal(t, want.Lifetime, got.Lifetime)
	require.Equal(t, want.IdleTimeout, got.IdleTimeout)
	require.Equal(t, want.Codec, got.Codec)
	require.Equal(t, want.HashTokenInStore, got.HashTokenInStore)
	want.Cookie.Name, want.Cookie.Secure = guardtest.DefaultCookie, true
	require.Equal(t, want.Cookie, got.Cookie)
	require.NotNil(t, got.ErrorFunc)
}
