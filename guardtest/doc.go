// Package guardtest helps an application that uses scsguard to prove, in its own
// tests, that it is protected: that no route of it serves anybody whose session is
// over.
//
//	func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
//		handler, guard := newApplication(guardtest.NewManager(), &guardtest.Sink{})
//		t.Cleanup(func() { guard.Close(context.Background()) })
//
//		app := guardtest.App{Guard: guard, Handler: handler}
//		app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
//		app.Check(t, guardtest.Get("/account"), guardtest.Post("/transfer", "to", "bob"), guardtest.Public(guardtest.Get("/")))
//	}
//
// [App.Check] logs in, makes the session time out or ends it, and asks again. It
// says in a sentence which route gave which wrong answer, and it fails as well
// where it could prove nothing: where the login does not work, where a route does
// not serve the user in the first place, or serves everybody alike.
//
// # What else there is
//
//   - [ExpireIdle] and [ExpireAbsolute] make a session time out, without a wait and
//     without another clock: the guard itself finds it over, and the trail has a
//     real timeout.
//   - [Browser] is a visitor with cookies, without a network, and [Browser.Clone]
//     a thief with the same ones.
//   - [Sink] keeps the trail, decoded, and can be told to fail or to hang.
//   - [New] makes a guard for a test and closes it, [NewManager] a session manager
//     without a goroutine.
//
// All of it works in testing/synctest bubbles, where a test can also let the time
// of a session pass for real.
//
//	func TestIdle(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			app := guardtest.New(t)
//			app.Handler = app.Guard.Protect(routes(app.Guard))
//			alice := app.Browser(t)
//			alice.PostForm("/login", url.Values{"user": {"alice"}})
//			time.Sleep(15 * time.Minute)
//			if a := alice.Get("/account"); a.Status != http.StatusUnauthorized {
//				t.Errorf("after the idle timeout: %v", a)
//			}
//		})
//	}
//
// A helper that cannot do its work fails the test with a sentence that names the
// cure. None passes silently.
//
// # What it does not show
//
// Which routes there are: a route that is missing in the list is not tested. That
// a refused request changed nothing before it was refused. That limits are as long
// as they should be: the sessions here pass them early.
package guardtest
