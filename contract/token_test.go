package contract

import (
	"context"
	"encoding/base64"
	"strings"
	"time"
)

// renew calls RenewToken.
func (b *browser) renew() answer {
	return b.with(func(ctx context.Context) { b.a.must(b.a.sm.RenewToken(ctx)) })
}

// destroy calls Destroy.
func (b *browser) destroy() answer {
	return b.with(func(ctx context.Context) { b.a.must(b.a.sm.Destroy(ctx)) })
}

func tokenPromises() []promise {
	return []promise{
		{
			says: "Token is empty until the session is committed, and then what the cookie says",
			by:   []visitor{stranger},
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					a.sm.Put(ctx, "k", "v")
					a.note("%q", a.sm.Token(ctx))
				})
				b.with(func(ctx context.Context) { a.note("%s", yes(a.sm.Token(ctx) == b.token && b.token != "")) })
			},
			want: "\"\"\nyes",
		},
		{
			says: "Token is what the cookie says",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { a.note("%s", yes(a.sm.Token(ctx) == b.token && b.token != "")) })
			},
			want: "yes",
		},
		{
			says: "after a login Token is what the cookie will say",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				token := ""
				b.with(func(ctx context.Context) {
					a.must(a.login(ctx, "alice"))
					token = a.sm.Token(ctx)
				})
				a.note("%s", yes(b.token == token && token != ""))
			},
			want: "yes",
		},
		{
			says: "a token does not change by use",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				before := b.token
				b.change()
				b.read()
				b.change()
				a.note("%s", yes(b.token == before))
			},
			want: "yes",
		},
		{
			says: "tokens are random, each its own",
			by:   everybody,
			do: func(a *app) {
				seen := make(map[string]bool)
				for range 10 {
					b := a.visitor()
					b.change()
					raw, err := base64.RawURLEncoding.DecodeString(b.token)
					if err != nil || len(raw) != 32 {
						a.note("%q", b.token)
					}
					seen[b.token] = true
				}
				a.note("%d", len(seen))
			},
			want: "10",
		},
		{
			says: "HashTokenInStore keeps the token out of the store, and only it does",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.change()
				_, found := a.data()[a.key(b.token)]
				a.note("%d in the store, under the right key: %s", len(a.data()), yes(found))
			},
			want: "1 in the store, under the right key: yes",
		},
		{
			says: "RenewToken gives the session another token, and keeps what is in it",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.change()
				before := b.token
				told := ""
				b.with(func(ctx context.Context) {
					a.must(a.sm.RenewToken(ctx))
					told = a.sm.Token(ctx)
				})
				a.note("another one: %s; the one that Token returned: %s", yes(b.token != before), yes(b.token == told))
				b.shows("changed")
				b.here("the visitor is known")
			},
			want: "another one: yes; the one that Token returned: yes\nchanged: yes\nthe visitor is known: yes",
		},
		{
			says: "after RenewToken the old token is worth nothing and its data is gone",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				thief := b.copy()
				b.renew()
				thief.here("the thief is in")
				b.here("the owner is in")
				a.note("in the store: %d", len(a.data()))
			},
			want: "the thief is in: no\nthe owner is in: yes\nin the store: 1",
		},
		{
			says: "after a login the old token is worth nothing and its data is gone",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				thief := b.copy()
				b.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) })
				thief.here("the thief is in")
				b.whoami()
				a.note("in the store: %d", len(a.data()))
			},
			want: "the thief is in: no\nalice\nin the store: 1",
		},
		{
			says: "RenewToken begins a session where there is none",
			by:   []visitor{stranger},
			do: func(a *app) {
				b := a.visitor()
				a.note("a cookie: %s", yes(b.renew().Cookie != nil))
				b.with(func(ctx context.Context) { a.note("%s", yes(a.sm.Token(ctx) == b.token)) })
			},
			want: "a cookie: yes\nyes",
		},
		{
			says: "RenewToken may be called twice in one request",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					a.must(a.sm.RenewToken(ctx))
					a.must(a.sm.RenewToken(ctx))
				})
				b.here("the visitor is known")
				a.note("in the store: %d", len(a.data()))
			},
			want: "the visitor is known: yes\nin the store: 1",
		},
		{
			says: "what is put before and after RenewToken in one request is kept",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					a.sm.Put(ctx, "before", "1")
					a.must(a.sm.RenewToken(ctx))
					a.sm.Put(ctx, "after", "2")
				})
				b.shows("before")
				b.shows("after")
			},
			want: "before: 1\nafter: 2",
		},
		{
			says: "a token that is nobody's is never adopted",
			by:   []visitor{stranger},
			do: func(a *app) {
				for _, token := range []string{strings.Repeat("A", 43), "short", "../../etc/passwd", strings.Repeat("x", 4000), "*"} {
					b := a.browser()
					b.token = token
					b.change()
					a.note("another one: %s", yes(b.token != token && len(b.token) == 43))
					b.shows("changed")
				}
			},
			want: strings.Repeat("another one: yes\nchanged: yes\n", 5),
		},
		{
			says: "who comes with a token that was replaced may begin anew",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				late := b.copy()
				b.renew()
				a.note("a cookie: %s", yes(late.change().Cookie != nil))
				late.shows("changed")
			},
			want: "a cookie: yes\nchanged: yes",
			but:  []but{{listed: justReplaced, on: loggedIn, guard: "a cookie: no\nchanged: <nil>"}},
		},
		{
			says:  "who comes with a token that was replaced some time ago may begin anew",
			by:    members,
			clock: true,
			do: func(a *app) {
				b := a.visitor()
				late := b.copy()
				b.renew()
				time.Sleep(15 * time.Second)
				a.note("a cookie: %s", yes(late.change().Cookie != nil))
				late.shows("changed")
			},
			want: "a cookie: yes\nchanged: yes",
		},
	}
}

func destroyPromises() []promise {
	return []promise{
		{
			says: "Destroy deletes the data, and the token is worth nothing",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				thief := b.copy()
				b.destroy()
				a.note("in the store: %d", len(a.data()))
				thief.here("the thief is in")
				b.here("the owner is in")
			},
			want: "in the store: 0\nthe thief is in: no\nthe owner is in: no",
		},
		{
			says: "after Destroy nothing is left in the session of the same request",
			by:   members,
			do: func(a *app) {
				a.visitor().with(func(ctx context.Context) {
					a.must(a.sm.Destroy(ctx))
					a.note("user: %v, token: %q", a.sm.Get(ctx, "user"), a.sm.Token(ctx))
					a.keys(ctx)
				})
			},
			want: "user: <nil>, token: \"\"\nkeys:",
		},
		{
			says: "what is put after Destroy in the same request begins a new session",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				before := b.token
				b.with(func(ctx context.Context) {
					a.must(a.sm.Destroy(ctx))
					a.sm.Put(ctx, "flash", "goodbye")
				})
				a.note("a new token: %s", yes(b.token != "" && b.token != before))
				b.shows("flash")
				b.here("the visitor is known")
				a.note("in the store: %d", len(a.data()))
			},
			want: "a new token: yes\nflash: goodbye\nthe visitor is known: no\nin the store: 1",
		},
		{
			says: "a login after Destroy in the same request begins a new session",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.change()
				b.with(func(ctx context.Context) {
					a.must(a.sm.Destroy(ctx))
					a.must(a.login(ctx, "bob"))
				})
				b.whoami()
				b.shows("changed")
				a.note("in the store: %d", len(a.data()))
			},
			want: "bob\nchanged: <nil>\nin the store: 1",
		},
		{
			says: "Destroy may be called twice, and where there is no session",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					a.must(a.sm.Destroy(ctx))
					a.must(a.sm.Destroy(ctx))
				})
				a.lasts(b.destroy())
			},
			want: "cleared; expired: yes",
		},
		{
			says: "Destroy of one session leaves the others alone",
			by:   members,
			do: func(a *app) {
				first, second := a.visitor(), a.visitor()
				first.destroy()
				first.here("first")
				second.here("second")
			},
			want: "first: no\nsecond: yes",
		},
		{
			says: "RenewToken and then Destroy leaves nothing",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				a.lasts(b.with(func(ctx context.Context) {
					a.must(a.sm.RenewToken(ctx))
					a.must(a.sm.Destroy(ctx))
				}))
				b.here("there")
				a.note("in the store: %d", len(a.data()))
			},
			want: "cleared; expired: yes\nthere: no\nin the store: 0",
		},
	}
}
