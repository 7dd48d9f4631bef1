package scsguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// sensitive mounts a handler that needs a recent login.
func sensitive(a *app, path string, maxAge time.Duration, methods ...string) {
	a.mux.Handle(path, a.guard.RequireRecentLogin(maxAge, methods...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})))
}

// prove mounts handlers that log in and prove again, as the query says.
func prove(a *app) {
	options := func(r *http.Request) (opts []scsguard.AuthOption) {
		if m := r.FormValue("methods"); m != "" {
			opts = append(opts, scsguard.Methods(strings.Split(m, ",")...))
		}
		if r.FormValue("aal") == "2" {
			opts = append(opts, scsguard.AAL(2))
		}
		return opts
	}
	a.handle("/enter", func(w http.ResponseWriter, r *http.Request) error {
		var opts []scsguard.LoginOption
		for _, o := range options(r) {
			opts = append(opts, o)
		}
		if r.FormValue("remembered") != "" {
			opts = append(opts, scsguard.Remembered())
		}
		_, err := a.guard.Login(r.Context(), "alice", opts...)
		return err
	})
	a.handle("/prove", func(w http.ResponseWriter, r *http.Request) error {
		var opts []scsguard.ReauthOption
		for _, o := range options(r) {
			opts = append(opts, o)
		}
		if r.FormValue("full") != "" {
			opts = append(opts, scsguard.Full())
		}
		_, err := a.guard.Reauthenticated(r.Context(), opts...)
		if errors.Is(err, scsguard.ErrWeakerLogin) {
			w.WriteHeader(http.StatusForbidden)
			return nil
		}
		return err
	})
	a.handle("/aal", func(w http.ResponseWriter, r *http.Request) error {
		s, _ := a.guard.Current(r.Context())
		return json.NewEncoder(w).Encode([]any{s.AAL, s.Methods})
	})
}

func TestALoginIsRecentUntilItsAgeIsReachedAndNotAtIt(t *testing.T) {
	const maxAge = 5 * time.Minute
	bubble(t, func(t *testing.T, a *app) {
		sensitive(a, "/transfer", maxAge)
		b := a.browser()
		require.Equal(t, http.StatusUnauthorized, b.get("/transfer").Code, "nobody is logged in")
		b.login(t, "alice")
		time.Sleep(maxAge - time.Nanosecond)
		require.Equal(t, http.StatusOK, b.get("/transfer").Code)
		time.Sleep(time.Nanosecond)
		res := b.get("/transfer")
		require.Equal(t, http.StatusForbidden, res.Code)
		require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
		require.Contains(t, res.Body, `"code":"REAUTH_REQUIRED"`)
		require.Equal(t, "alice", b.whoami(), "the session is as good as it was")

		require.Equal(t, http.StatusOK, b.get("/reauth").Code)
		require.Equal(t, http.StatusOK, b.get("/transfer").Code)
		time.Sleep(maxAge)
		require.Equal(t, http.StatusForbidden, b.get("/transfer").Code)
	})
}

func TestAStepUpWantsEachMethodInTheLastProof(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		prove(a)
		sensitive(a, "/otp", time.Hour, "otp")
		sensitive(a, "/both", time.Hour, "pwd", "otp")
		b := a.browser()
		for _, step := range []struct {
			path      string
			otp, both int
		}{
			{"/enter?methods=pwd", 403, 403},
			{"/prove?methods=otp", 200, 403},
			{"/prove?methods=otp,pwd", 200, 200},
			{"/prove?methods=pwd", 403, 403},
			{"/prove?methods=pwd,otp,hwk", 200, 200},
			{"/prove", 403, 403}, // proved, but nobody says how: the methods of before are not recent
		} {
			require.Equal(t, http.StatusOK, b.get(step.path).Code)
			require.Equal(t, step.otp, b.get("/otp").Code, step.path)
			require.Equal(t, step.both, b.get("/both").Code, step.path)
		}
	})
}

func TestARememberedSessionIsNeverRecentUntilAFullReauthentication(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		prove(a)
		sensitive(a, "/transfer", time.Hour)
		b := a.browser()
		for _, step := range []struct {
			path string
			code int
		}{
			{"/enter?remembered=1", 403},
			{"/prove?methods=otp", 403},
			{"/prove?methods=pwd&full=1", 200},
		} {
			require.Equal(t, http.StatusOK, b.get(step.path).Code)
			require.Equal(t, step.code, b.get("/transfer").Code, step.path)
		}
	})
}

func TestTheTokenBeforeARotationAndAnotherDeviceAreNotRecent(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		sensitive(a, "/transfer", time.Hour)
		b := a.browser()
		b.login(t, "alice")
		old := b.copy()
		require.Equal(t, http.StatusOK, b.get("/reauth").Code)
		require.Equal(t, http.StatusForbidden, old.get("/transfer").Code, "within the grace")
		require.Equal(t, "alice", old.whoami())

		other := b.at(chrome, b.addr)
		require.Equal(t, http.StatusForbidden, other.get("/transfer").Code)
		require.Equal(t, http.StatusForbidden, b.get("/transfer").Code, "the session, whoever asks")
		synctest.Wait()
		var why []string
		for _, e := range a.sink.events(t, scsguard.EventReauth) {
			if e.str("outcome") == "failure" {
				why = append(why, e.str("reason"))
			}
		}
		require.Equal(t, []string{"old_token", "other_device"}, why)
		require.Equal(t, http.StatusOK, b.get("/reauth").Code)
		require.Equal(t, http.StatusOK, b.get("/transfer").Code)
	})
}

func TestAProofOfBeforeAnotherDeviceWasSeenRenewsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		var proof time.Time
		a.handle("/full", func(w http.ResponseWriter, r *http.Request) error {
			_, err := a.guard.Reauthenticated(r.Context(), scsguard.Full(), scsguard.AuthenticatedAt(proof))
			if errors.Is(err, scsguard.ErrWeakerLogin) {
				w.WriteHeader(http.StatusForbidden)
				return nil
			}
			return err
		})
		b := a.browser()
		b.login(t, "alice")
		proof = time.Now()
		time.Sleep(time.Minute)
		other := b.at(chrome, b.addr)
		other.whoami()
		require.Equal(t, http.StatusForbidden, other.get("/full").Code)
		proof = time.Now()
		require.Equal(t, http.StatusOK, other.get("/full").Code)
	})
}

func TestRefusedStepUpsAreRecordedAndAFloodOfThemIsCounted(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		sensitive(a, "/transfer", 5*time.Minute, "pwd")
		b := a.browser()
		id := b.login(t, "alice")
		time.Sleep(5 * time.Minute)
		for range 100 {
			require.Equal(t, http.StatusForbidden, b.get("/transfer").Code)
		}
		time.Sleep(time.Minute)
		require.Equal(t, http.StatusOK, b.get("/reauth").Code)
		synctest.Wait()
		told := a.sink.events(t, scsguard.EventReauth)
		require.Len(t, told, 3)
		for _, e := range told[:2] {
			require.Equal(t, []string{"failure", "too_long_ago", id}, []string{e.str("outcome"), e.str("reason"), e.str("session")})
			require.NotEmpty(t, e.str("auth_time"))
		}
		require.Equal(t, map[string]any{"max_age": "5m0s", "methods": "pwd"}, told[0]["details"])
		require.Equal(t, "99", told[1]["details"].(map[string]any)["count"])
		require.Equal(t, "success", told[2].str("outcome"))
	})
}

func TestABrowserIsSentToProveWhoHeIsAndFindsBack(t *testing.T) {
	for _, c := range []struct{ what, method, target, referer, back string }{
		{"a page", "GET", "/transfer?to=bob&amount=5", "", "/transfer?to=bob&amount=5"},
		{"a path that browsers take for a host", "GET", "//evil.example/transfer", "", ""},
		{"a form: back to the form", "POST", "/transfer", "http://example.com/form?a=1#x", "/form?a=1"},
		{"a form of another site", "POST", "/transfer", "http://evil.example/form", ""},
		{"a form of nowhere", "POST", "/transfer", "", ""},
		{"a form whose page looks like a host", "POST", "/transfer", "http://example.com//evil.example/", ""},
		{"a form with a broken referer", "POST", "/transfer", "http://%zz", ""},
	} {
		bubble(t, func(t *testing.T, a *app) {
			a.serve = a.guard.Protect(a.guard.RequireRecentLogin(time.Minute)(http.NotFoundHandler()))
			b := a.browser()
			b.h = a.guard.Protect(a.mux)
			b.login(t, "alice")
			time.Sleep(time.Minute)
			b.h = a.serve
			r := b.request(c.method, c.target)
			r.RequestURI = c.target
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Referer", c.referer)
			res := b.do(r)
			require.Equal(t, http.StatusSeeOther, res.Code, c.what)
			to, err := url.Parse(res.Header.Get("Location"))
			require.NoError(t, err)
			require.Equal(t, "/prove", to.Path)
			require.Equal(t, c.back, to.Query().Get("return"), c.what)
			require.Equal(t, "reauth_required", to.Query().Get("reason"))
			require.Equal(t, "1", to.Query().Get("x"))
		}, func(c *scsguard.Config) { c.ReauthURL = "/prove?x=1" })
	}
}

func TestWithoutAPageForItABrowserIsToldToProveWhoHeIs(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		sensitive(a, "/transfer", time.Minute)
		b := a.browser()
		b.login(t, "alice")
		time.Sleep(time.Minute)
		r := b.request("GET", "/transfer")
		r.Header.Set("Accept", "text/html")
		res := b.do(r)
		require.Equal(t, http.StatusForbidden, res.Code)
		require.Contains(t, res.Body, "please prove again who you are")
		require.NotContains(t, res.Body, "Log in", "he is logged in")
	})
}

func TestTheWayBackLeadsToNoOtherHost(t *testing.T) {
	for back, ok := range map[string]bool{
		"/": true, "/a": true, "/a?b=//c": true, "/a/../b": true, "/%2F%2Fevil.example": false, "/a%20b": true,
		"": false, "a": false, "//evil.example": false, "/\\evil.example": false, "\\\\evil.example": false, "/\t/evil.example": false,
		"/a\nb": false, "https://evil.example": false, "javascript:alert(1)": false, "https:/evil.example": false, "/ /evil.example": false,
		"///evil.example": false, "/a\\b": false, "/\x7f": false, "/" + strings.Repeat("a", 3000): false,
	} {
		r := httptest.NewRequest("POST", "/prove", strings.NewReader(url.Values{"return": {back}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		expected := "/"
		if ok {
			expected = back
		}
		require.Equal(t, expected, scsguard.ReturnPath(r), back)
	}
}

func FuzzTheWayBackLeadsToNoOtherHost(f *testing.F) {
	for _, s := range []string{"/", "/a?b", "//evil", "/\\evil", "/%2f/evil", "/.//evil", "http://evil"} {
		f.Add(s)
	}
	base, _ := url.Parse("https://bank.example/prove")
	f.Fuzz(func(t *testing.T, s string) {
		path := scsguard.ReturnPath(&http.Request{Method: "GET", URL: &url.URL{RawQuery: url.Values{"return": {s}}.Encode()}})
		to, err := base.Parse(path)
		require.NoError(t, err)
		require.Equal(t, "bank.example", to.Host)
		// A browser takes a backslash for a slash, and skips tabs and line breaks.
		lenient := strings.NewReplacer("\\", "/", "\t", "", "\n", "", "\r", "").Replace(path)
		require.False(t, strings.HasPrefix(lenient, "//"), path)
	})
}

func TestRequireRecentLoginOutsideOfProtectRefusesEverything(t *testing.T) {
	g, err := scsguard.New(newManager(), scsguard.Config{Audit: scsguard.Discard(), SweepEvery: -1})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	g.RequireRecentLogin(time.Hour)(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Panics(t, func() { g.RequireRecentLogin(0) })
}

func TestTheAALOfASessionIsWhatWasProvenAndNeverMore(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		prove(a)
		b := a.browser()
		for _, step := range []struct{ path, says string }{
			{"/enter?methods=pwd", `[0,["pwd"]]`},
			{"/prove?methods=pwd", `[0,["pwd"]]`},
			{"/elevate?role=admin", `[0,["pwd"]]`},
			{"/renew", `[0,["pwd"]]`},
			{"/prove?methods=otp&aal=2", `[2,["otp"]]`},
			{"/prove?methods=pwd", `[2,["pwd"]]`}, // what the login has reached is not lost
		} {
			require.Equal(t, http.StatusOK, b.get(step.path).Code)
			require.JSONEq(t, step.says, b.get("/aal").Body, step.path)
		}
		require.Equal(t, http.StatusOK, b.get("/enter?methods=pwd,otp&aal=2").Code)
		require.Equal(t, http.StatusForbidden, b.get("/prove?methods=pwd&full=1").Code, "below the login")
		require.JSONEq(t, `[2,["pwd","otp"]]`, b.get("/aal").Body)
	})
}

// Who stole a session and a password has no second factor for it.
func TestOnAnotherDeviceTheAALIsWhatWasProvenThere(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		prove(a)
		for _, c := range []struct{ proof, says string }{
			{"/prove?methods=pwd", `[0,["pwd"]]`},
			{"/prove?methods=pwd,otp&aal=2", `[2,["pwd","otp"]]`},
			{"/prove?methods=pwd&full=1", `[2,["pwd","otp"]]`}, // refused: below the login
		} {
			b := a.browser()
			require.Equal(t, http.StatusOK, b.get("/enter?methods=pwd,otp&aal=2").Code)
			other := b.at(chrome, b.addr)
			other.get(c.proof)
			require.JSONEq(t, c.says, other.get("/aal").Body, c.proof)
		}
	})
}

// skewedRegistry says that everybody proved who he is later than he did.
type skewedRegistry struct {
	scsguard.Registry
	by time.Duration
}

func (r skewedRegistry) Namespace(string) scsguard.Registry { return r }

func (r skewedRegistry) Get(ctx context.Context, key scsguard.Key) (scsguard.Record, error) {
	rec, err := r.Registry.Get(ctx, key)
	if !rec.AuthTime.IsZero() {
		rec.AuthTime = rec.AuthTime.Add(r.by)
	}
	return rec, err
}

func TestAProofOfTheFutureIsNoRecentOne(t *testing.T) {
	for by, code := range map[time.Duration]int{scsguard.ClockSkew: http.StatusOK, scsguard.ClockSkew + 1: http.StatusForbidden, time.Hour: http.StatusForbidden} {
		bubble(t, func(t *testing.T, a *app) {
			sensitive(a, "/transfer", time.Minute)
			b := a.browser()
			b.login(t, "alice")
			require.Equal(t, code, b.get("/transfer").Code, by)
		}, func(c *scsguard.Config) {
			c.Registry, c.Keys = skewedRegistry{scsguard.NewMemoryRegistry(), by}, [][]byte{make([]byte, 32)}
		})
	}
}
