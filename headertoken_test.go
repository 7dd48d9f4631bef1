package scsguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func apiTokens(c *scsguard.Config) {
	c.Token = func(r *http.Request) (string, bool) {
		return scsguard.BearerToken(r), strings.HasPrefix(r.URL.Path, "/api/")
	}
}

// api serves the handlers of the application below /api/, too, and a login that
// answers with the token, as an API does.
func api(a *app) {
	mux := http.NewServeMux()
	mux.Handle("/api/", http.StripPrefix("/api", a.mux))
	mux.Handle("/", a.mux)
	a.handle("/token", func(w http.ResponseWriter, r *http.Request) error {
		s, err := a.guard.Login(r.Context(), r.FormValue("user"))
		if err == nil {
			fmt.Fprint(w, s.Token())
		}
		return err
	})
	a.serve = a.guard.Protect(mux)
}

// client keeps its token itself, and follows the header that tells a new one.
type client struct {
	h     http.Handler
	token string
	agent string
}

func (c *client) get(path string) answer {
	r := httptest.NewRequest(http.MethodGet, "/api"+path, nil)
	r.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	if fresh := w.Result().Header.Get(scsguard.TokenHeader); fresh != "" {
		c.token = fresh
	}
	return answer{w.Code, strings.TrimSpace(w.Body.String()), w.Result().Header}
}

func TestAnAPIClientCarriesItsTokenInAHeaderAndGetsNoCookie(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		api(a)
		c := &client{h: a.serve, agent: "okhttp/4.12.0"}
		require.Equal(t, http.StatusUnauthorized, c.get("/whoami").Code)
		login := c.get("/token?user=alice")
		require.Equal(t, http.StatusOK, login.Code)
		require.Len(t, login.Body, 43)
		require.Equal(t, login.Body, c.token, "the answer of Login and the header agree")
		require.Equal(t, "alice", c.get("/whoami").Body)
		require.Empty(t, c.get("/whoami").Header.Get(scsguard.TokenHeader), "it has its token")
		require.Equal(t, http.StatusOK, c.get("/put?k=a&v=1").Code)
		require.Equal(t, "1", c.get("/get?k=a").Body)

		old := c.token
		for _, path := range []string{"/reauth", "/elevate?role=admin", "/renew"} {
			before := c.token
			res := c.get(path)
			require.Equal(t, http.StatusOK, res.Code, path)
			require.Empty(t, res.Header.Values("Set-Cookie"), path)
			require.NotEqual(t, before, c.token, path)
			require.Equal(t, "alice", strings.Fields(c.get("/whoami").Body)[0], path)
		}
		time.Sleep(11 * time.Second)
		require.Equal(t, "ended", (&client{h: a.serve, token: old, agent: c.agent}).get("/whoami").Body)

		res := c.get("/logout")
		require.Equal(t, http.StatusOK, res.Code)
		require.Empty(t, res.Header.Values("Set-Cookie"))
		require.Equal(t, "ended_by_you", c.get("/whoami").Body)
		require.Empty(t, login.Header.Values("Set-Cookie"))
	}, apiTokens)
}

func TestTheAPIIsNeverMoreLenientThanThePages(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		api(a)
		b := a.browser()
		b.login(t, "alice")
		c := &client{h: a.serve, agent: "okhttp/4.12.0"}
		require.Equal(t, http.StatusOK, c.get("/token?user=alice").Code)
		require.Equal(t, http.StatusConflict, (&client{h: a.serve}).get("/token?user=alice").Code, "one cap for both")
		require.Equal(t, http.StatusConflict, a.browser().get("/login?user=alice").Code)
		require.Equal(t, "wrong_device", (&client{h: a.serve, token: c.token, agent: "curl/8.8.0"}).get("/whoami").Body, "one binding")
		require.Equal(t, http.StatusOK, c.get("/token?user=alice").Code)
		time.Sleep(15 * time.Minute)
		require.Equal(t, "idle", c.get("/whoami").Body, "one idle timeout")
		require.Equal(t, "401 idle", b.whoami())
	}, apiTokens, func(c *scsguard.Config) {
		c.Limit = scsguard.Limit{Max: 2, OnExceed: scsguard.Deny}
		c.Binding = scsguard.Binding{UserAgent: scsguard.End}
	})
}

func TestACookieOpensNoDoorOfTheAPI(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		api(a)
		b := a.browser()
		b.login(t, "alice")
		require.Equal(t, http.StatusUnauthorized, b.get("/api/whoami").Code, "or a page of another site could use it")
		require.Equal(t, "alice", b.whoami())
		require.Equal(t, http.StatusOK, b.get("/api/logout").Code)
		require.Equal(t, "alice", b.whoami())
		r := httptest.NewRequest(http.MethodGet, "/whoami", nil)
		r.Header.Set("Authorization", "Bearer "+b.token())
		w := httptest.NewRecorder()
		a.serve.ServeHTTP(w, r)
		require.Equal(t, http.StatusUnauthorized, w.Code, "and a header none of the pages")
	}, apiTokens)
}

func TestTheTokenOfASessionIsInTheAnswerOfLoginToAnAPIClientOnly(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		api(a)
		var sessions []scsguard.Session
		var token string
		a.handle("/all", func(w http.ResponseWriter, r *http.Request) error {
			ctx := r.Context()
			s, err := a.guard.Login(ctx, "alice")
			token = s.Token()
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
				require.NotContains(t, fmt.Sprintf(verb, s)+" ", a.sm.Token(ctx))
			}
			text, jsonErr := json.Marshal(s)
			require.NotContains(t, string(text), a.sm.Token(ctx))
			own, ok := a.guard.Current(ctx)
			require.True(t, ok)
			list, listErr := a.guard.Sessions(ctx)
			extended, extendErr := a.guard.Extend(ctx)
			sessions = append(append(list, own, extended), s.Others...)
			return errors.Join(err, jsonErr, listErr, extendErr)
		})
		c := &client{h: a.serve}
		require.Equal(t, http.StatusOK, c.get("/all").Code)
		require.Equal(t, c.token, token)
		require.Equal(t, http.StatusOK, a.browser().get("/all").Code)
		require.Empty(t, token, "a browser has its cookie")
		require.NotEmpty(t, sessions)
		for _, s := range sessions {
			require.Empty(t, s.Token())
		}
	}, apiTokens)
}

func TestBearerToken(t *testing.T) {
	for header, token := range map[string]string{"": "", "Bearer abc": "abc", "bearer  abc": "abc", "Basic abc": "", "Bearer": "", "Bearerabc": ""} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		require.Equal(t, token, scsguard.BearerToken(r), header)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Add("Authorization", "Bearer abc")
	r.Header.Add("Authorization", "Bearer def")
	require.Empty(t, scsguard.BearerToken(r), "nobody can tell which")
}

// A cache on the way must not hand one client's token to the next.
func TestAnAnswerWithATokenIsKeptInNoCacheWhateverTheHandlerSays(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		api(a)
		for _, path := range []string{"/token?user=alice", "/put?k=a&v=1", "/reauth", "/renew", "/elevate?role=admin"} {
			for _, says := range []string{"", "public, max-age=3600"} {
				mux := http.NewServeMux()
				mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/plain")
					if says != "" {
						w.Header().Set("Cache-Control", says)
					}
					http.StripPrefix("/api", a.mux).ServeHTTP(w, r)
				})
				c := &client{h: a.guard.Protect(mux)}
				if !strings.HasPrefix(path, "/token") && !strings.HasPrefix(path, "/put") {
					c.get("/token?user=alice")
				}
				res := c.get(path)
				require.NotEmpty(t, res.Header.Get(scsguard.TokenHeader), path)
				require.Equal(t, []string{"no-store"}, res.Header.Values("Cache-Control"), path)
			}
		}
	}, apiTokens)
}

// An application whose login handler knows nothing of the guard: its clients find
// the token in the header.
func TestALoginOfAnAPIClientThatIsNoticedIsToldInTheHeader(t *testing.T) {
	sm := newManager()
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		api(a)
		a.handle("/plain-login", func(_ http.ResponseWriter, r *http.Request) error {
			a.sm.Put(r.Context(), "user", "alice")
			return nil
		})
		a.handle("/plain-logout", func(_ http.ResponseWriter, r *http.Request) error {
			a.sm.Remove(r.Context(), "user")
			return nil
		})
		c := &client{h: a.serve, agent: "okhttp/4.12.0"}
		require.Equal(t, http.StatusOK, c.get("/put?k=a&v=1").Code)
		guest := c.token
		require.NotEmpty(t, guest)
		res := c.get("/plain-login")
		require.NotEqual(t, guest, c.token, "a session that is logged in has a new token")
		require.Empty(t, res.Header.Values("Set-Cookie"))
		require.Equal(t, "alice", c.get("/whoami").Body)
		require.Equal(t, http.StatusUnauthorized, (&client{h: a.serve, token: guest}).get("/whoami").Code)
		token := c.token
		require.Equal(t, http.StatusOK, c.get("/plain-logout").Code)
		require.Equal(t, http.StatusUnauthorized, (&client{h: a.serve, token: token, agent: c.agent}).get("/whoami").Code)
	}, apiTokens, func(c *scsguard.Config) {
		c.UserID = func(ctx context.Context) string { return sm.GetString(ctx, "user") }
	})
}
