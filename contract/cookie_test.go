package contract

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// change changes the session, so that it is saved and its cookie sent.
func (b *browser) change() answer {
	return b.with(func(ctx context.Context) { b.a.sm.Put(ctx, "changed", "yes") })
}

// read uses the session and leaves it as it is.
func (b *browser) read() answer {
	return b.with(func(ctx context.Context) { b.a.sm.GetString(ctx, "user") })
}

// cookie notes the attributes of a session cookie, other than how long it lasts.
func (a *app) cookie(res answer) {
	if res.Cookie == nil {
		a.note("no cookie")
		return
	}
	var kept []string
	for i, part := range strings.Split(res.Cookie.Raw, "; ") {
		if i == 0 {
			part, _, _ = strings.Cut(part, "=")
		}
		if !strings.HasPrefix(part, "Expires=") && !strings.HasPrefix(part, "Max-Age=") {
			kept = append(kept, part)
		}
	}
	a.note("%s", strings.Join(kept, "; "))
}

// lasts notes how long a session cookie lasts.
func (a *app) lasts(res answer) {
	switch c := res.Cookie; {
	case c == nil:
		a.note("no cookie")
	case c.MaxAge < 0:
		a.note("cleared; expired: %s", yes(c.Expires.Before(time.Now())))
	case c.MaxAge == 0 && c.RawExpires == "":
		a.note("until the browser is closed")
	default:
		a.note("for %s, and Expires says %s", about(time.Duration(c.MaxAge)*time.Second), about(time.Until(c.Expires)))
	}
}

func cookiePromises() []promise {
	return []promise{
		{
			says: "the cookie has the name and attributes of the settings",
			by:   everybody,
			manager: func(sm *scs.SessionManager) {
				sm.Cookie.SameSite, sm.Cookie.Partitioned = http.SameSiteStrictMode, true
			},
			do:   func(a *app) { a.cookie(a.visitor().change()) },
			want: "__Host-session; Path=/; HttpOnly; Secure; SameSite=Strict; Partitioned",
		},
		{
			says: "the cookie is HttpOnly, SameSite=Lax and for the whole site by default",
			by:   everybody,
			do:   func(a *app) { a.cookie(a.visitor().change()) },
			want: "__Host-session; Path=/; HttpOnly; Secure; SameSite=Lax",
		},
		{
			says: "the cookie has the domain and path of the settings, and need not be strict",
			by:   everybody,
			manager: func(sm *scs.SessionManager) {
				sm.Cookie = scs.SessionCookie{Name: "session_id", Domain: "example.com", Path: "/example/", Persist: true}
			},
			guard: func(cfg *scsguard.Config) { cfg.InsecureCookie = "a test" },
			do:    func(a *app) { a.cookie(a.visitor().change()) },
			want:  "session_id; Path=/example/; Domain=example.com",
		},
		{
			says:    "the settings that scs.New returns serve as they are",
			by:      everybody,
			manager: func(sm *scs.SessionManager) { sm.Cookie = managers[0].Cookie },
			do:      func(a *app) { a.cookie(a.visitor().change()) },
			want:    "session; Path=/; HttpOnly; SameSite=Lax",
			but: []but{{
				listed: strictCookie,
				guard:  "no guard because of SessionManager.Cookie.Secure SessionManager.Cookie.Name",
			}},
		},
		{
			says: "a cookie is sent when the session is new or was changed, and only then",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				a.cookie(b.read())
				a.cookie(b.change())
				a.cookie(b.with(func(context.Context) {}))
				a.cookie(a.browser().read())
			},
			want: `no cookie
			       __Host-session; Path=/; HttpOnly; Secure; SameSite=Lax
			       no cookie
			       no cookie`,
		},
		{
			says: "an application may write the session cookie itself",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				before := b.token
				res := b.get(func(w http.ResponseWriter, r *http.Request) {
					a.sm.WriteSessionCookie(r.Context(), w, a.sm.Token(r.Context()), time.Now().Add(time.Hour))
				})
				a.lasts(res)
				a.note("the same token: %s", yes(b.token == before))
			},
			want: "for 1h0m0s, and Expires says 1h0m0s\nthe same token: yes",
			but:  []but{{listed: ownCookie, guard: "no cookie\nthe same token: yes"}},
		},
		{
			says: "an application that commits and writes the cookie itself sends the right one",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.get(func(w http.ResponseWriter, r *http.Request) {
					a.sm.Put(r.Context(), "k", "v")
					token, expiry, err := a.sm.Commit(r.Context())
					a.must(err)
					a.sm.WriteSessionCookie(r.Context(), w, token, expiry)
				})
				b.shows("k")
			},
			want: "k: v",
		},
		{
			says: "the other cookies of an application go out beside the session cookie",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				res := b.get(func(w http.ResponseWriter, r *http.Request) {
					http.SetCookie(w, &http.Cookie{Name: "theme", Value: "dark"})
					a.sm.Put(r.Context(), "k", "v")
					http.SetCookie(w, &http.Cookie{Name: "lang", Value: "de"})
				})
				a.note("%d of %d", res.Cookies, len(res.Header.Values("Set-Cookie")))
				res = b.get(func(w http.ResponseWriter, r *http.Request) {
					a.must(a.sm.Destroy(r.Context()))
					http.SetCookie(w, &http.Cookie{Name: "theme", MaxAge: -1})
				})
				a.note("%d of %d", res.Cookies, len(res.Header.Values("Set-Cookie")))
			},
			want: "1 of 3\n1 of 2",
		},
		{
			says: "two session managers with cookies of their own serve one request",
			by:   everybody,
			do:   twoManagers,
			want: `first: one, second: two
			       for 1h0m0s, and Expires says 1h0m0s
			       first: one, second: two
			       no cookie
			       first: <nil>, second: two
			       no cookie
			       first: <nil>, second: <nil>
			       no cookie`,
		},
	}
}

// twoManagers puts a second manager inside the first, under a guard of its own
// where there is one. Both have a value under the same name.
func twoManagers(a *app) {
	other := newManager(1, a.c, a.sm.Codec, &unshared{a.inner})
	other.Cookie.Name, other.Lifetime = "__Host-other", time.Hour
	within := other.LoadAndSave
	if a.guard != nil {
		cfg := a.config(true)
		cfg.UserID = nil // it reads the data of the other manager
		guard, err := scsguard.New(other, cfg)
		require.NoError(a.t, err)
		a.t.Cleanup(func() { closeGuard(guard) })
		within = guard.Protect
	}
	first, second := a.visitor(), &browser{a: a, name: other.Cookie.Name}
	both := func(h http.HandlerFunc) {
		r := first.request(within(h).ServeHTTP)
		if second.token != "" {
			r.AddCookie(&http.Cookie{Name: second.name, Value: second.token})
		}
		res := first.do(r)
		res.Cookies, res.Cookie = second.keep(res.Header)
		a.lasts(res)
	}
	show := func(_ http.ResponseWriter, r *http.Request) {
		a.note("first: %v, second: %v", a.sm.Get(r.Context(), "k"), other.Get(r.Context(), "k"))
	}
	both(func(w http.ResponseWriter, r *http.Request) {
		a.sm.Put(r.Context(), "k", "one")
		other.Put(r.Context(), "k", "two")
		show(w, r)
	})
	both(show)
	first.token = ""
	both(show)
	second.token = ""
	both(show)
}

// unshared keeps what two managers have in one store apart.
type unshared struct{ scs.Store }

func (u *unshared) Find(token string) ([]byte, bool, error) { return u.Store.Find("other:" + token) }
func (u *unshared) Delete(token string) error               { return u.Store.Delete("other:" + token) }
func (u *unshared) Commit(token string, b []byte, expiry time.Time) error {
	return u.Store.Commit("other:"+token, b, expiry)
}

func headerPromises() []promise {
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html>")
	}
	return []promise{
		{
			says: "every response varies by the cookie",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				for _, res := range []answer{b.read(), b.change(), b.get(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Add("Vary", "Accept-Language")
					http.NotFound(w, nil)
				})} {
					a.note("%s", strings.Join(slices.Sorted(slices.Values(res.Header.Values("Vary"))), ", "))
				}
			},
			want: "Cookie\nCookie\nAccept-Language, Cookie",
		},
		{
			says: "a response with the session cookie may be cached only without it",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				a.note("%s", yes(slices.Contains(b.change().Header.Values("Cache-Control"), `no-cache="Set-Cookie"`)))
				res := b.with(func(ctx context.Context) { a.must(a.sm.Destroy(ctx)) })
				a.note("%s", yes(slices.Contains(res.Header.Values("Cache-Control"), `no-cache="Set-Cookie"`)))
			},
			want: "yes\nyes",
		},
		{
			says: "a response without the session cookie is cached as the application says",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				a.note("%q", b.get(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Cache-Control", "max-age=60")
					page(w, r)
				}).Header.Values("Cache-Control"))
				a.note("%q", b.get(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "image/png")
					_, _ = io.WriteString(w, "\x89PNG")
				}).Header.Values("Cache-Control"))
				a.note("%q", b.get(page).Header.Values("Cache-Control"))
			},
			want: "[\"max-age=60\"]\n[]\n[]",
			but:  []but{{listed: pagesOfUsers, on: loggedIn, guard: "[\"max-age=60\"]\n[]\n[\"no-store\"]"}},
		},
	}
}
