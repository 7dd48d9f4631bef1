package scsguard_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// mergeBubble runs a test of an application whose concurrent writes are merged.
func mergeBubble(t *testing.T, codec scs.Codec, f func(*testing.T, *app, *steps), change ...func(*scsguard.Config)) {
	t.Helper()
	sm, s, merging := mergingManager(codec)
	bubbleOn(t, sm, func(t *testing.T, a *app) { f(t, a, s) }, append([]func(*scsguard.Config){merging}, change...)...)
}

// putInFlight mounts a handler that has loaded its session, waits to be released,
// and puts what the request says.
func (a *app) putInFlight(path string, n int) (entered *sync.WaitGroup, release chan struct{}) {
	entered, release = new(sync.WaitGroup), make(chan struct{})
	entered.Add(n)
	a.handle(path, func(_ http.ResponseWriter, r *http.Request) error {
		entered.Done()
		<-release
		a.sm.Put(r.Context(), r.FormValue("k"), r.FormValue("v"))
		return nil
	})
	return entered, release
}

func TestAHundredRequestsThatPutAHundredKeysKeepAllOfThem(t *testing.T) {
	const n = 100
	for name, codec := range eachCodec {
		for _, who := range []string{"user", "guest"} {
			t.Run(name+", "+who, func(t *testing.T) {
				mergeBubble(t, codec, func(t *testing.T, a *app, s *steps) {
					entered, release := a.putInFlight("/slow", n)
					b := a.browser()
					b.get("/put?k=before&v=kept")
					b.get("/put?k=gone&v=x")
					if who == "user" {
						b.login(t, "alice")
					}
					a.on("/remove", func(ctx context.Context) error { a.sm.Remove(ctx, "gone"); return nil })
					var done sync.WaitGroup
					for i := range n {
						done.Go(func() { require.Equal(t, 200, b.get(fmt.Sprintf("/slow?k=k%d&v=%d", i, i)).Code) })
					}
					entered.Wait()
					require.Equal(t, 200, b.get("/remove").Code)
					before := s.counted()["swap"]
					close(release)
					done.Wait()
					for i := range n {
						require.Equal(t, fmt.Sprint(i), b.get(fmt.Sprintf("/get?k=k%d", i)).Body)
					}
					require.Equal(t, "kept", b.get("/get?k=before").Body)
					require.Empty(t, b.get("/get?k=gone").Body, "what was removed stays removed")
					require.LessOrEqual(t, s.counted()["swap"]-before, 2*n, "requests of one process wait for each other")
					require.Empty(t, a.guard.Health().Problems)
				})
			})
		}
	}
}

// Two processes do not wait for each other; the store decides.
func TestTwoProcessesThatWriteOneSessionKeepWhatBothHavePut(t *testing.T) {
	const n = 40
	one, _, change := mergingManager(scs.GobCodec{})
	two := newManager()
	two.Store = one.Store
	synctest.Test(t, func(t *testing.T) {
		shared := scsguard.Config{}
		change(&shared)
		registry := func(cfg *scsguard.Config) {
			cfg.Registry, cfg.Keys, cfg.MergeWrites = shared.Registry, shared.Keys, true
		}
		apps := []*app{newApp(t, one, registry), newApp(t, two, registry)}
		b := apps[0].browser()
		b.login(t, "alice")
		var releases []chan struct{}
		var done sync.WaitGroup
		for i, a := range apps {
			entered, release := a.putInFlight("/slow", n)
			releases = append(releases, release)
			other := b.copy()
			other.h = a.serve
			for j := range n {
				done.Go(func() { require.Equal(t, 200, other.get(fmt.Sprintf("/slow?k=k%d.%d&v=x", i, j)).Code) })
			}
			entered.Wait()
		}
		for _, release := range releases {
			close(release)
		}
		done.Wait()
		for i := range apps {
			for j := range n {
				require.Equal(t, "x", b.get(fmt.Sprintf("/get?k=k%d.%d", i, j)).Body)
			}
		}
	})
}

// What one request does while another is under way, and what is left when that
// one has written, too.
func TestWritesAreMergedByKey(t *testing.T) {
	put := func(kv ...string) func(sm *scs.SessionManager, ctx context.Context) {
		return func(sm *scs.SessionManager, ctx context.Context) {
			for i := 0; i < len(kv); i += 2 {
				sm.Put(ctx, kv[i], kv[i+1])
			}
		}
	}
	remove := func(key string) func(sm *scs.SessionManager, ctx context.Context) {
		return func(sm *scs.SessionManager, ctx context.Context) { sm.Remove(ctx, key) }
	}
	clear := func(sm *scs.SessionManager, ctx context.Context) { _ = sm.Clear(ctx) }
	for name, c := range map[string]struct {
		first, second func(sm *scs.SessionManager, ctx context.Context)
		want          string
	}{
		"both put another key":               {put("x", "1"), put("y", "2"), "a=A b=B x=1 y=2"},
		"both change the same key":           {put("a", "1"), put("a", "2"), "a=2 b=B"},
		"both put the same new key":          {put("x", "1"), put("x", "2"), "a=A b=B x=2"},
		"one changes what the other removes": {remove("a"), put("a", "2"), "a=2 b=B"},
		"one removes what the other changes": {put("a", "1"), remove("a"), "b=B"},
		"one removes":                        {remove("a"), put("y", "2"), "b=B y=2"},
		"the other removes":                  {put("x", "1"), remove("a"), "b=B x=1"},
		"both remove":                        {remove("a"), remove("a"), "b=B"},
		"a flash is popped": {func(sm *scs.SessionManager, ctx context.Context) { sm.PopString(ctx, "a") },
			put("y", "2"), "b=B y=2"},
		"a flash is popped by the other": {put("x", "1"),
			func(sm *scs.SessionManager, ctx context.Context) { sm.PopString(ctx, "a") }, "b=B x=1"},
		"one clears, the other puts":             {clear, put("y", "2"), "y=2"},
		"one puts, the other clears what it saw": {put("x", "1"), clear, "x=1"},
		"the other puts what was there":          {put("a", "1"), put("a", "A"), "a=1 b=B"},
		"the other removes what it has just put": {put("x", "1"), func(sm *scs.SessionManager, ctx context.Context) {
			sm.Put(ctx, "x", "2")
			sm.Remove(ctx, "x")
		}, "a=A b=B x=1"},
	} {
		for codecName, codec := range eachCodec {
			for _, who := range []string{"user", "guest"} {
				t.Run(name+", "+codecName+", "+who, func(t *testing.T) {
					mergeBubble(t, codec, func(t *testing.T, a *app, _ *steps) {
						a.on("/first", func(ctx context.Context) error { c.first(a.sm, ctx); return nil })
						entered, release := a.pause("/second", nil, func(_ http.ResponseWriter, r *http.Request) { c.second(a.sm, r.Context()) })
						b := a.browser()
						b.get("/put?k=a&v=A")
						if who == "user" {
							a.on("/in", func(ctx context.Context) error { return second(a.guard.Login(ctx, "alice")) })
							require.Equal(t, 200, b.get("/in").Code)
						}
						b.get("/put?k=b&v=B")
						second := b.inFlight("/second", entered)
						require.Equal(t, 200, b.get("/first").Code)
						close(release)
						require.Equal(t, 200, (<-second).Code)
						require.Equal(t, c.want, b.values(a))
						if who == "user" {
							require.Equal(t, "alice", b.whoami())
						}
					})
				})
			}
		}
	}
}

// values returns what the session of a browser holds, but for the guard's own.
func (b *browser) values(a *app) string {
	ctx := a.load(b.token())
	var list []string
	for _, key := range a.sm.Keys(ctx) {
		if !strings.HasPrefix(key, "__") {
			list = append(list, key+"="+a.sm.GetString(ctx, key))
		}
	}
	return strings.Join(list, " ")
}

func TestASecondWriteOfARequestKeepsWhatTheFirstWasMergedWith(t *testing.T) {
	for name, codec := range eachCodec {
		t.Run(name, func(t *testing.T) {
			mergeBubble(t, codec, func(t *testing.T, a *app, _ *steps) {
				entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) {
					a.sm.Put(r.Context(), "mine", "1")
					_, _, err := a.sm.Commit(r.Context())
					require.NoError(t, err)
					a.sm.Put(r.Context(), "later", "2")
				})
				b := a.browser()
				b.login(t, "alice")
				slow := b.inFlight("/slow", entered)
				b.get("/put?k=theirs&v=3")
				close(release)
				require.Equal(t, 200, (<-slow).Code)
				require.Equal(t, "later=2 mine=1 theirs=3 user=alice", b.values(a))
			})
		})
	}
}

// Everything that gives a session a new token writes its data anew.
func TestARotationKeepsWhatOthersPutMeanwhile(t *testing.T) {
	for name, rotate := range map[string]func(a *app, ctx context.Context) error{
		"Elevate": func(a *app, ctx context.Context) error { return second(a.guard.Elevate(ctx, "admin")) },
		"Reauthenticated": func(a *app, ctx context.Context) error {
			return second(a.guard.Reauthenticated(ctx, scsguard.Methods("pwd")))
		},
		"RenewToken": func(a *app, ctx context.Context) error { return a.sm.RenewToken(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, _ *steps) {
				a.on("/remove", func(ctx context.Context) error { a.sm.Remove(ctx, "gone"); return nil })
				entered, release := a.pause("/rotate", nil, func(_ http.ResponseWriter, r *http.Request) {
					a.sm.Put(r.Context(), "mine", "1")
					require.NoError(t, rotate(a, r.Context()))
					a.sm.Put(r.Context(), "later", "2")
				})
				b := a.browser()
				session := b.login(t, "alice")
				b.get("/put?k=gone&v=x")
				old := b.token()
				rotating := b.inFlight("/rotate", entered)
				b.get("/put?k=theirs&v=3")
				b.get("/remove")
				close(release)
				require.Equal(t, 200, (<-rotating).Code)
				require.NotEqual(t, old, b.token())
				require.Equal(t, "later=2 mine=1 theirs=3 user=alice", b.values(a))
				require.Equal(t, session, a.sm.GetString(a.load(b.token()), "__scsguard"))
				require.Len(t, a.live("alice"), 1)
			})
		})
	}
}

func TestAWriteInTheMiddleOfARotationIsNotLost(t *testing.T) {
	for _, step := range []string{"find", "commit", "move", "delete"} {
		t.Run("before "+step, func(t *testing.T) {
			mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, s *steps) {
				entered, release := a.pause("/rotate", nil, func(_ http.ResponseWriter, r *http.Request) {
					require.NoError(t, second(a.guard.Elevate(r.Context(), "admin")))
				})
				b := a.browser()
				b.login(t, "alice")
				other := b.copy()
				rotating := b.inFlight("/rotate", entered)
				s.before(step, func() { require.Equal(t, 200, other.get("/put?k=theirs&v=3").Code) })
				close(release)
				require.Equal(t, 200, (<-rotating).Code)
				require.Equal(t, "theirs=3 user=alice", b.values(a))
				require.Equal(t, "alice admin", b.whoami())
				require.Len(t, storeKeys(t, a.sm), 1, "nothing stays under the old token")
			})
		})
	}
}

func TestAWriteWithTheOldTokenIsMergedUnderTheNewOne(t *testing.T) {
	for _, when := range []string{"before its commit", "before its swap", "after its swap"} {
		t.Run(when, func(t *testing.T) {
			mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, s *steps) {
				entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "mine", "1") })
				a.on("/elevate-put", func(ctx context.Context) error {
					a.sm.Put(ctx, "theirs", "3")
					return second(a.guard.Elevate(ctx, "admin"))
				})
				b := a.browser()
				b.login(t, "alice")
				slow := b.copy().inFlight("/slow", entered)
				elevate := func() { require.Equal(t, 200, b.get("/elevate-put").Code) }
				switch when {
				case "before its commit":
					elevate()
				case "before its swap":
					s.before("swap", elevate)
				default:
					s.before("swapped", elevate)
				}
				close(release)
				res := <-slow
				require.Equal(t, 200, res.Code)
				require.Empty(t, res.Header.Values("Set-Cookie"))
				require.Equal(t, "mine=1 theirs=3 user=alice", b.values(a))
				require.Len(t, storeKeys(t, a.sm), 1)
			})
		})
	}
}

func TestAWriteThatIsMergedBringsNothingBackThatHasEnded(t *testing.T) {
	ends := map[string]func(a *app, b *browser){
		"logout":  func(_ *app, b *browser) { b.get("/logout") },
		"destroy": func(_ *app, b *browser) { b.get("/destroy") },
		"by an administrator": func(a *app, _ *browser) {
			_, _ = a.guard.EndAll(context.Background(), "alice")
		},
	}
	for name, end := range ends {
		for _, step := range []string{"", "swap", "swapped"} {
			t.Run(name+" before "+step, func(t *testing.T) {
				mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, s *steps) {
					entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "mine", "1") })
					b := a.browser()
					b.login(t, "alice")
					thief := b.copy()
					slow := thief.inFlight("/slow", entered)
					if step == "" {
						end(a, b)
					} else {
						s.before(step, func() { end(a, b) })
					}
					close(release)
					require.Empty(t, (<-slow).Header.Values("Set-Cookie"))
					requireAnonymous(t, thief, "it has ended")
					require.Empty(t, storeKeys(t, a.sm))
				})
			})
		}
	}
}

func TestAGuestsSessionThatIsDestroyedComesBackWithWhatIsPutAndNothingElse(t *testing.T) {
	mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, _ *steps) {
		entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "mine", "1") })
		b := a.browser()
		b.get("/put?k=cart&v=book")
		token := b.token()
		slow := b.copy().inFlight("/slow", entered)
		b.get("/destroy")
		close(release)
		require.Equal(t, 200, (<-slow).Code)
		other := newBrowser(a.serve)
		other.cookies["__Host-session"] = token
		require.Equal(t, "mine=1", other.values(a))
	})
}

func TestALoginOfAnotherUserIsNotMergedWithWhatTheFirstOneWrites(t *testing.T) {
	mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, s *steps) {
		entered, release := a.pause("/switch", nil, func(_ http.ResponseWriter, r *http.Request) {
			require.NoError(t, second(a.guard.Login(r.Context(), "bob")))
			a.sm.Put(r.Context(), "mine", "1")
		})
		b := a.browser()
		b.login(t, "alice")
		alice := b.copy()
		switching := b.inFlight("/switch", entered)
		alice.get("/put?k=secret&v=x")
		for _, step := range []string{"commit", "settle"} {
			s.before(step, func() { alice.get("/put?k=secret2&v=x") })
		}
		close(release)
		require.Equal(t, 200, (<-switching).Code)
		require.Equal(t, "mine=1", b.values(a))
		require.Equal(t, "bob", b.whoami())
	})
}

func TestAMergedWriteNeverCarriesTheMarkOfALoginIntoAGuestsSession(t *testing.T) {
	mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, _ *steps) {
		entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "mine", "1") })
		b := a.browser()
		b.get("/put?k=cart&v=book")
		slow := b.inFlight("/slow", entered)
		forged, err := scs.GobCodec{}.Encode(time.Now().Add(time.Hour), map[string]any{"__scsguard": "S", "cart": "book"})
		require.NoError(t, err)
		require.NoError(t, a.guard.Store().Commit(b.token(), forged, time.Now().Add(time.Hour)))
		close(release)
		require.Empty(t, (<-slow).Header.Values("Set-Cookie"))
		require.Equal(t, forged, storeKeys(t, a.sm)[b.token()], "nothing was written over it")
		requireAnonymous(t, b, "nobody has logged in")
	})
}

func TestAStoreThatNeverSwapsIsAnsweredWith503(t *testing.T) {
	mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, s *steps) {
		b := a.browser()
		b.login(t, "alice")
		*a.guard.Store().(swapStore).neverDone = true
		before := s.counted()["swap"]
		require.Equal(t, http.StatusServiceUnavailable, b.get("/put?k=x&v=1").Code)
		require.Equal(t, 100, s.counted()["swap"]-before, "it is tried often, not for ever")
		*a.guard.Store().(swapStore).neverDone = false
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, 200, b.get("/put?k=x&v=2").Code)
		require.Equal(t, "user=alice x=2", b.values(a))
	})
}

func TestASwapThatFailsIsAnsweredWith503AndTheNextWriteIsWhole(t *testing.T) {
	for _, step := range []string{"swap", "swapped"} {
		t.Run(step, func(t *testing.T) {
			mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, s *steps) {
				a.on("/twice", func(ctx context.Context) error {
					a.sm.Put(ctx, "x", "1")
					s.fail(step)
					_, _, err := a.sm.Commit(ctx)
					require.ErrorIs(t, err, scsguard.ErrUnavailable)
					s.fail()
					a.sm.Put(ctx, "y", "2")
					return nil
				})
				b := a.browser()
				b.login(t, "alice")
				require.Equal(t, 200, b.get("/twice").Code)
				require.Equal(t, "user=alice x=1 y=2", b.values(a))
			})
		})
	}
}

func TestAWriteWaitsForAnotherOfItsSessionNoLongerThanACallMayTake(t *testing.T) {
	mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, s *steps) {
		b, carol := a.browser(), a.browser()
		b.login(t, "alice")
		carol.login(t, "carol")
		hangs, goOn := make(chan struct{}), make(chan struct{})
		s.before("swap", func() { close(hangs); <-goOn })
		first := b.copy().inFlight("/put?k=x&v=1", hangs)
		start := time.Now()
		require.Equal(t, http.StatusServiceUnavailable, b.get("/put?k=y&v=2").Code)
		require.Equal(t, 2*time.Second, time.Since(start))
		start = time.Now()
		require.Equal(t, 200, carol.get("/put?k=y&v=2").Code)
		require.Zero(t, time.Since(start), "another session does not wait")
		close(goOn)
		<-first
		require.Equal(t, 200, b.get("/put?k=z&v=3").Code)
	})
}

func TestAFailedRotationLeavesTheMergeWhereItWas(t *testing.T) {
	for _, step := range []string{"commit", "move"} {
		t.Run(step, func(t *testing.T) {
			mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, s *steps) {
				entered, release := a.pause("/rotate", nil, func(_ http.ResponseWriter, r *http.Request) {
					a.sm.Put(r.Context(), "mine", "1")
					s.fail(step)
					require.Error(t, second(a.guard.Elevate(r.Context(), "admin")))
					s.fail()
				})
				b := a.browser()
				b.login(t, "alice")
				rotating := b.copy().inFlight("/rotate", entered)
				b.get("/put?k=theirs&v=3")
				close(release)
				require.Equal(t, 200, (<-rotating).Code)
				require.Equal(t, "mine=1 theirs=3 user=alice", b.values(a))
			})
		})
	}
}

// An application's own deadline is a change like any other, and nobody's who has
// not made it.
func TestDeadlinesAreMerged(t *testing.T) {
	sooner := 10 * time.Minute
	set := func(a *app) func(ctx context.Context) {
		return func(ctx context.Context) { a.sm.SetDeadline(ctx, time.Now().Add(sooner).UTC()) }
	}
	for _, who := range []string{"user", "guest"} {
		for name, mine := range map[string]bool{"set by this request": true, "set by the other": false} {
			t.Run(who+", "+name, func(t *testing.T) {
				mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, s *steps) {
					a.on("/set", func(ctx context.Context) error { set(a)(ctx); a.sm.Put(ctx, "x", "1"); return nil })
					entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) {
						if mine {
							set(a)(r.Context())
						}
						a.sm.Put(r.Context(), "y", "2")
					})
					b := a.browser()
					b.get("/put?k=a&v=A")
					if who == "user" {
						b.login(t, "alice")
					}
					slow := b.inFlight("/slow", entered)
					if mine {
						b.get("/put?k=x&v=1")
					} else {
						b.get("/set")
					}
					close(release)
					require.Equal(t, 200, (<-slow).Code)
					require.Contains(t, b.values(a), "x=1 y=2")
					require.Equal(t, time.Now().Add(sooner).UTC(), a.sm.Deadline(a.load(b.token())))
					time.Sleep(sooner)
					require.Empty(t, b.values(a))
				})
			})
		}
	}
}

func TestASlowRequestDoesNotTakeBackThatAGuestWasSeenLater(t *testing.T) {
	sm, _, merging := mergingManager(scs.GobCodec{})
	sm.IdleTimeout = idle
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "mine", "1") })
		b := a.browser()
		b.get("/put?k=a&v=A")
		time.Sleep(time.Minute)
		slow := b.inFlight("/slow", entered)
		time.Sleep(idle - 2*time.Minute)
		b.get("/put?k=x&v=1")
		close(release)
		<-slow
		time.Sleep(idle - time.Nanosecond)
		require.Equal(t, "1", b.get("/get?k=x").Body)
		require.Equal(t, "1", b.get("/get?k=mine").Body)
	}, merging)
}

func TestWhatNobodyChangedIsNotWritten(t *testing.T) {
	for name, merge := range map[string]bool{"merging": true, "not merging": false} {
		t.Run(name, func(t *testing.T) {
			mergeBubble(t, jsonCodec{}, func(t *testing.T, a *app, s *steps) {
				entered, release := a.pause("/slow", nil, func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "user", "alice") })
				b := a.browser()
				b.login(t, "alice")
				slow := b.inFlight("/slow", entered)
				b.get("/put?k=user&v=other")
				before := s.counted()
				close(release)
				require.Equal(t, 200, (<-slow).Code)
				require.Equal(t, before["commit"]+before["swap"], s.counted()["commit"]+s.counted()["swap"])
				require.Equal(t, "user=other", b.values(a), "what has not changed here must not undo a change made there")
				b.get("/put?k=user&v=alice")
				require.Equal(t, "user=alice", b.values(a))
			}, func(cfg *scsguard.Config) { cfg.MergeWrites = merge })
		})
	}
}

func TestAnEnrolmentKeepsWhatOthersPutMeanwhile(t *testing.T) {
	sm, s, merging := mergingManager(scs.GobCodec{})
	plain := newManager()
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		plain.Store = a.guard.Store().(swapStore).MemStore
		ctx, err := plain.Load(context.Background(), "")
		require.NoError(t, err)
		plain.Put(ctx, "user", "alice")
		token, _, err := plain.Commit(ctx)
		require.NoError(t, err)
		b := a.browser()
		b.cookies["__Host-session"] = token
		write := sync.OnceFunc(func() { // an instance without the guard, which runs beside this one
			ctx, err := plain.Load(context.Background(), token)
			require.NoError(t, err)
			plain.Put(ctx, "theirs", "3")
			_, _, err = plain.Commit(ctx)
			require.NoError(t, err)
		})
		s.before("swap", write)
		s.before("commit", write)
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, "theirs=3 user=alice", b.values(a))
		require.NotEmpty(t, a.sm.GetString(a.load(token), "__scsguard"))
	}, merging, func(cfg *scsguard.Config) {
		cfg.UserID = func(ctx context.Context) string { return sm.GetString(ctx, "user") }
	})
}

// An instance without the guard judges a session by the deadline in its data, and
// gives it another when it renews the token.
func TestAMergeLeavesNoDeadlineBeyondTheAbsoluteTimeout(t *testing.T) {
	mergeBubble(t, scs.GobCodec{}, func(t *testing.T, a *app, _ *steps) {
		b := a.browser()
		b.login(t, "alice")
		absolute := a.live("alice")[0].AbsoluteExpires
		entered, release := a.putInFlight("/slow", 1)
		answered := make(chan answer, 1)
		go func() { answered <- b.get("/slow?k=mine&v=x") }()
		entered.Wait()

		store := a.guard.Store()
		data, _, err := store.Find(b.token())
		require.NoError(t, err)
		_, values, err := a.sm.Codec.Decode(data)
		require.NoError(t, err)
		values["theirs"] = "y"
		data, err = a.sm.Codec.Encode(absolute.Add(24*time.Hour), values)
		require.NoError(t, err)
		require.NoError(t, store.Commit(b.token(), data, absolute.Add(24*time.Hour)))

		close(release)
		require.Equal(t, 200, (<-answered).Code)
		data, _, err = store.Find(b.token())
		require.NoError(t, err)
		deadline, values, err := a.sm.Codec.Decode(data)
		require.NoError(t, err)
		require.Equal(t, "x", values["mine"])
		require.Equal(t, "y", values["theirs"])
		require.WithinDuration(t, absolute, deadline, 0)
	})
}
