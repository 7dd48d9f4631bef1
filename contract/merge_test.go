package contract

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/scsguard/scsguard"
)

// merge calls MergeSession.
func (b *browser) merge(token string) answer {
	return b.with(func(ctx context.Context) {
		switch err := b.a.sm.MergeSession(ctx, token); {
		case errors.Is(err, scsguard.ErrOtherUser):
			b.a.note("refused")
		default:
			b.a.must(err)
		}
	})
}

// puts puts a value.
func (b *browser) puts(key, value string) {
	b.with(func(ctx context.Context) { b.a.sm.Put(ctx, key, value) })
}

func mergePromises() []promise {
	return []promise{
		{
			says: "MergeSession takes over what the other session has, and keeps the rest",
			by:   members,
			do: func(a *app) {
				b, other := a.visitor(), a.visitor()
				b.puts("mine", "1")
				b.puts("both", "1")
				other.puts("yours", "2")
				other.puts("both", "2")
				b.merge(other.token)
				b.shows("mine")
				b.shows("yours")
				b.shows("both")
				b.here("the visitor is known")
			},
			want: "mine: 1\nyours: 2\nboth: 2\nthe visitor is known: yes",
		},
		{
			says: "MergeSession deletes the other session",
			by:   members,
			do: func(a *app) {
				b, other := a.visitor(), a.visitor()
				b.merge(other.token)
				other.here("the other")
				b.here("the one")
				a.note("in the store: %d", len(a.data()))
			},
			want: "the other: no\nthe one: yes\nin the store: 1",
		},
		{
			says: "MergeSession begins a session where there is none",
			by:   []visitor{stranger},
			do: func(a *app) {
				b, other := a.visitor(), a.browser()
				other.puts("yours", "2")
				a.note("a cookie: %s", yes(b.merge(other.token).Cookie != nil))
				b.shows("yours")
				other.shows("yours")
			},
			want: "a cookie: yes\nyours: 2\nyours: <nil>",
		},
		{
			says: "MergeSession of a token that is nobody's does nothing",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				gone := a.browser()
				gone.change()
				token := gone.token
				gone.destroy()
				a.note("a cookie: %s", yes(b.merge(token).Cookie != nil))
				a.note("a cookie: %s", yes(b.merge("").Cookie != nil))
			},
			want: "a cookie: no\na cookie: no",
		},
		{
			says: "MergeSession of the session itself does nothing",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.change()
				before := b.token
				a.note("a cookie: %s", yes(b.merge(b.token).Cookie != nil))
				b.shows("changed")
				b.here("the visitor is known")
				a.note("the same token: %s", yes(b.token == before))
			},
			want: "a cookie: no\nchanged: yes\nthe visitor is known: yes\nthe same token: yes",
		},
		{
			says: "MergeSession and then Clear leaves nothing of either",
			by:   members,
			do: func(a *app) {
				b, other := a.visitor(), a.visitor()
				b.puts("mine", "1")
				other.puts("yours", "2")
				token := other.token
				b.with(func(ctx context.Context) {
					a.must(a.sm.MergeSession(ctx, token))
					a.must(a.sm.Clear(ctx))
				})
				b.shows("mine")
				b.shows("yours")
				other.here("the other")
			},
			want: "mine: <nil>\nyours: <nil>\nthe other: no",
		},
		{
			says: "MergeSession brings a login back to the browser that lost it",
			by:   []visitor{stranger, guest},
			do: func(a *app) {
				b, other := a.visitor(), a.browser()
				other.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) })
				b.puts("mine", "1")
				b.merge(other.token)
				b.whoami()
				b.shows("mine")
				other.whoami()
				a.note("in the store: %d", len(a.data()))
			},
			want: "alice\nmine: 1\na stranger\nin the store: 1",
		},
		{
			says: "MergeSession brings a login back under a token that is new",
			by:   []visitor{stranger, guest},
			do: func(a *app) {
				for _, renewFirst := range []bool{false, true} {
					b, other := a.visitor(), a.browser()
					other.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) })
					b.puts("mine", "1")
					thief := b.copy()
					token := other.token
					b.with(func(ctx context.Context) {
						if renewFirst {
							a.must(a.sm.RenewToken(ctx))
						}
						a.must(a.sm.MergeSession(ctx, token))
						if !renewFirst {
							a.must(a.sm.RenewToken(ctx))
						}
					})
					b.whoami()
					b.shows("mine")
					thief.whoami()
					other.whoami()
				}
			},
			want: strings.Repeat("alice\nmine: 1\na stranger\na stranger\n", 2),
		},
		{
			says: "MergeSession after Destroy begins with what the other session has",
			by:   members,
			do: func(a *app) {
				b, other := a.visitor(), a.visitor()
				b.puts("mine", "1")
				other.puts("yours", "2")
				b.with(func(ctx context.Context) {
					a.must(a.sm.Destroy(ctx))
					a.must(a.sm.MergeSession(ctx, other.token))
				})
				b.shows("mine")
				b.shows("yours")
				b.here("the visitor is known")
				other.here("the other")
			},
			want: "mine: <nil>\nyours: 2\nthe visitor is known: yes\nthe other: no",
		},
		{
			says: "MergeSession leaves the token of the session as it is",
			by:   members,
			do: func(a *app) {
				b, other := a.visitor(), a.visitor()
				before := b.token
				b.merge(other.token)
				a.note("the same token: %s", yes(b.token == before))
			},
			want: "the same token: yes",
		},
		{
			says: "MergeSession of a login leaves the token of the session as it is",
			by:   []visitor{guest},
			do: func(a *app) {
				b, other := a.visitor(), a.browser()
				other.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) })
				before := b.token
				b.merge(other.token)
				a.note("the same token: %s", yes(b.token == before))
			},
			want: "the same token: yes",
			but:  []but{{listed: mergedLogin, guard: "the same token: no"}},
		},
		{
			says: "MergeSession takes over the session of anybody",
			by:   []visitor{user},
			do: func(a *app) {
				b, other := a.visitor(), a.browser()
				other.with(func(ctx context.Context) { a.must(a.login(ctx, "bob")) })
				b.merge(other.token)
				b.whoami()
				other.whoami()
			},
			want: "bob\na stranger",
			but:  []but{{listed: otherUser, guard: "refused\nalice\nbob"}},
		},
		{
			says:  "MergeSession leaves the later of the two deadlines",
			by:    members,
			clock: true,
			do: func(a *app) {
				b := a.visitor()
				b.pass(3 * time.Hour)
				other := a.visitor()
				b.merge(other.token)
				b.with(a.deadline)
			},
			want: "deadline in 8h0m0s",
			but:  []but{{listed: onlyEarlier, on: loggedIn, guard: "deadline in 5h0m0s"}},
		},
	}
}
