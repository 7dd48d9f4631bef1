package contract

import (
	"context"
	"time"

	"github.com/alexedwards/scs/v2"
)

func forgetful(sm *scs.SessionManager) { sm.Cookie.Persist = false }

func idle20m(sm *scs.SessionManager) { sm.IdleTimeout = 20 * time.Minute }

// remember calls RememberMe.
func (b *browser) remember(so bool) answer {
	return b.with(func(ctx context.Context) { b.a.sm.RememberMe(ctx, so) })
}

func persistencePromises() []promise {
	return []promise{
		{
			says: "the cookie outlives the browser, as long as the session can",
			by:   everybody,
			do:   func(a *app) { a.lasts(a.visitor().change()) },
			want: "for 8h0m0s, and Expires says 8h0m0s",
		},
		{
			says:  "the cookie lasts no longer than the rest of the lifetime",
			by:    members,
			clock: true,
			do: func(a *app) {
				b := a.visitor()
				b.pass(3 * time.Hour)
				a.lasts(b.change())
			},
			want: "for 5h0m0s, and Expires says 5h0m0s",
		},
		{
			says:    "without Persist the cookie ends with the browser",
			by:      everybody,
			manager: forgetful,
			do:      func(a *app) { a.lasts(a.visitor().change()) },
			want:    "until the browser is closed",
		},
		{
			says:    "RememberMe makes the cookie of a session outlive the browser, from then on",
			by:      everybody,
			manager: forgetful,
			do: func(a *app) {
				b := a.visitor()
				a.lasts(b.remember(true))
				a.lasts(b.change())
				a.lasts(a.browser().change())
			},
			want: `for 8h0m0s, and Expires says 8h0m0s
			       for 8h0m0s, and Expires says 8h0m0s
			       until the browser is closed`,
		},
		{
			says:    "RememberMe may be taken back",
			by:      everybody,
			manager: forgetful,
			do: func(a *app) {
				b := a.visitor()
				b.remember(true)
				a.lasts(b.remember(false))
				a.lasts(b.change())
			},
			want: "until the browser is closed\nuntil the browser is closed",
		},
		{
			says: "RememberMe has no effect where every cookie outlives the browser",
			by:   everybody,
			do:   func(a *app) { a.lasts(a.visitor().remember(false)) },
			want: "for 8h0m0s, and Expires says 8h0m0s",
		},
		{
			says:    "RememberMe survives a new token",
			by:      members,
			manager: forgetful,
			do: func(a *app) {
				b := a.visitor()
				b.remember(true)
				a.lasts(b.with(func(ctx context.Context) { a.must(a.sm.RenewToken(ctx)) }))
				a.lasts(b.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) }))
			},
			want: "for 8h0m0s, and Expires says 8h0m0s\nfor 8h0m0s, and Expires says 8h0m0s",
		},
		{
			says:    "RememberMe may be called with a login",
			by:      everybody,
			manager: forgetful,
			do: func(a *app) {
				b := a.visitor()
				a.lasts(b.with(func(ctx context.Context) {
					a.must(a.login(ctx, "alice"))
					a.sm.RememberMe(ctx, true)
				}))
				b.whoami()
			},
			want: "for 8h0m0s, and Expires says 8h0m0s\nalice",
		},
		{
			says: "Destroy makes the browser forget the cookie",
			by:   everybody,
			do: func(a *app) {
				a.lasts(a.visitor().with(func(ctx context.Context) { a.must(a.sm.Destroy(ctx)) }))
			},
			want: "cleared; expired: yes",
		},
		{
			says:    "Destroy makes the browser forget a cookie that does not outlive it, too",
			by:      everybody,
			manager: forgetful,
			do: func(a *app) {
				a.lasts(a.visitor().with(func(ctx context.Context) { a.must(a.sm.Destroy(ctx)) }))
			},
			want: "cleared; expired: yes",
		},
		{
			says:    "with an idle timeout the cookie lasts as long as an unused session",
			by:      everybody,
			manager: idle20m,
			do:      func(a *app) { a.lasts(a.visitor().change()) },
			want:    "for 20m0s, and Expires says 20m0s",
			but:     []but{{listed: idleCookie, on: loggedIn, guard: "for 8h0m0s, and Expires says 8h0m0s"}},
		},
		{
			says:    "with an idle timeout every response renews the cookie",
			by:      members,
			manager: idle20m,
			do: func(a *app) {
				b := a.visitor()
				a.lasts(b.read())
				a.lasts(b.read())
			},
			want: "for 20m0s, and Expires says 20m0s\nfor 20m0s, and Expires says 20m0s",
			but:  []but{{listed: readsOnly, guard: "no cookie\nno cookie"}},
		},
		{
			says:    "with an idle timeout the cookie is renewed by use in the course of time",
			by:      members,
			manager: idle20m,
			clock:   true,
			do: func(a *app) {
				b := a.visitor()
				time.Sleep(15 * time.Minute)
				a.lasts(b.read())
			},
			want: "for 20m0s, and Expires says 20m0s",
			but:  []but{{listed: idleCookie, on: loggedIn, guard: "no cookie"}},
		},
	}
}

// pass lets time pass while the browser is used every ten minutes.
func (b *browser) pass(d time.Duration) {
	for ; d > 0; d -= 10 * time.Minute {
		time.Sleep(min(d, 10*time.Minute))
		b.read()
	}
}
