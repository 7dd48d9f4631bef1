package contract

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/alexedwards/scs/v2"
)

// A hand is a middleware that an application wrote itself: the token travels in
// a header, or in a message, and no cookie is involved. Under the guard it is
// the same code.
type hand struct {
	a     *app
	token string
}

// byHand is visitor for those who come that way.
func (a *app) byHand() *hand {
	h := &hand{a: a}
	switch a.c.visitor {
	case guest:
		h.with(func(ctx context.Context) { a.sm.Put(ctx, "user", guestKey) })
	case user:
		h.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) })
	}
	return h
}

// with loads the session, lets do use it, and stores it if need be. It returns
// when the session ends, as Commit has said.
func (h *hand) with(do func(ctx context.Context)) (expiry time.Time) {
	sm := h.a.sm
	ctx, err := sm.Load(context.Background(), h.token)
	if err != nil {
		h.a.must(err)
		return
	}
	do(ctx)
	switch sm.Status(ctx) {
	case scs.Modified:
		var token string
		if token, expiry, err = sm.Commit(ctx); err == nil {
			h.token = token
		}
		h.a.must(err)
	case scs.Destroyed:
		h.token = ""
	}
	return expiry
}

func (h *hand) puts(key, value string) time.Time {
	return h.with(func(ctx context.Context) { h.a.sm.Put(ctx, key, value) })
}

func (h *hand) shows(key string) {
	h.with(func(ctx context.Context) { h.a.note("%s: %v", key, h.a.sm.Get(ctx, key)) })
}

func (h *hand) here(says string) {
	h.with(func(ctx context.Context) { h.a.note("%s: %s", says, yes(h.a.sm.Exists(ctx, "user"))) })
}

func byHandPromises() []promise {
	return []promise{
		{
			says: "by hand: Commit stores what Load will find",
			by:   everybody,
			do: func(a *app) {
				h := a.byHand()
				h.puts("k", "v")
				h.shows("k")
				h.puts("k", "w")
				h.shows("k")
			},
			want: "k: v\nk: w",
		},
		{
			says: "by hand: Load without a token, or with one that is nobody's, begins a new session",
			by:   []visitor{stranger},
			do: func(a *app) {
				for _, token := range []string{"", "nobody's"} {
					h := &hand{a: a, token: token}
					h.with(func(ctx context.Context) {
						a.note("%q %d %s", a.sm.Token(ctx), len(a.sm.Keys(ctx)), statuses[a.sm.Status(ctx)])
					})
				}
			},
			want: "\"\" 0 unmodified\n\"\" 0 unmodified",
		},
		{
			says: "by hand: Load of a context that is loaded returns it as it is",
			by:   everybody,
			do: func(a *app) {
				a.byHand().with(func(ctx context.Context) {
					again, err := a.sm.Load(ctx, "")
					a.must(err)
					a.note("%s", yes(again == ctx))
				})
			},
			want: "yes",
		},
		{
			says: "within a request Load returns the session of the request",
			by:   everybody,
			do: func(a *app) {
				a.visitor().with(func(ctx context.Context) {
					again, err := a.sm.Load(ctx, "")
					a.must(err)
					a.sm.Put(again, "k", "v")
					a.note("%v", a.sm.Get(ctx, "k"))
				})
			},
			want: "v",
		},
		{
			says: "within a request Commit stores the session, and says its token and its end",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					a.sm.Put(ctx, "k", "v")
					token, expiry, err := a.sm.Commit(ctx)
					a.must(err)
					a.note("%s, %s", yes(token == a.sm.Token(ctx)), about(time.Until(expiry)))
					_, found, err := a.sm.Store.Find(a.key(token))
					a.must(err)
					a.note("stored: %s", yes(found))
				})
				b.shows("k")
			},
			want: "yes, 8h0m0s\nstored: yes\nk: v",
		},
		{
			says: "by hand: Commit says the deadline",
			by:   everybody,
			do:   func(a *app) { a.note("%s", about(time.Until(a.byHand().puts("k", "v")))) },
			want: "8h0m0s",
		},
		{
			says:    "by hand: Commit says the idle timeout where that comes first",
			by:      everybody,
			manager: idle20m,
			do:      func(a *app) { a.note("%s", about(time.Until(a.byHand().puts("k", "v")))) },
			want:    "20m0s",
			but:     []but{{listed: idleByHand, guard: "8h0m0s"}},
		},
		{
			says: "by hand: a token goes on in a browser, and the other way round",
			by:   members,
			do: func(a *app) {
				h := a.byHand()
				b := a.browser()
				b.token = h.token
				b.puts("k", "from the browser")
				h.shows("k")
				h.here("the visitor is known")
				h.puts("k", "by hand")
				b.shows("k")
				b.here("the visitor is known")
			},
			want: "k: from the browser\nthe visitor is known: yes\nk: by hand\nthe visitor is known: yes",
		},
		{
			says: "by hand: RenewToken moves the session to another token",
			by:   members,
			do: func(a *app) {
				h := a.byHand()
				old := &hand{a: a, token: h.token}
				h.puts("k", "v")
				h.with(func(ctx context.Context) { a.must(a.sm.RenewToken(ctx)) })
				a.note("another one: %s", yes(h.token != old.token))
				h.shows("k")
				h.here("the owner is known")
				old.here("who has the old one is known")
				a.note("in the store: %d", len(a.data()))
			},
			want: "another one: yes\nk: v\nthe owner is known: yes\nwho has the old one is known: no\nin the store: 1",
		},
		{
			says: "by hand: Destroy ends the session",
			by:   members,
			do: func(a *app) {
				h := a.byHand()
				old := &hand{a: a, token: h.token}
				h.with(func(ctx context.Context) { a.must(a.sm.Destroy(ctx)) })
				old.here("known")
				a.note("in the store: %d", len(a.data()))
			},
			want: "known: no\nin the store: 0",
		},
		{
			says: "by hand: MergeSession takes over what the other session has",
			by:   members,
			do: func(a *app) {
				h, other := a.byHand(), a.byHand()
				other.puts("yours", "2")
				h.with(func(ctx context.Context) { a.must(a.sm.MergeSession(ctx, other.token)) })
				h.shows("yours")
				h.here("the one")
				other.here("the other")
			},
			want: "yours: 2\nthe one: yes\nthe other: no",
		},
		{
			says: "by hand: MergeSession into a session that is new brings a login back",
			by:   []visitor{stranger},
			do: func(a *app) {
				h, other := &hand{a: a}, &hand{a: a}
				other.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) })
				h.with(func(ctx context.Context) { a.must(a.sm.MergeSession(ctx, other.token)) })
				h.shows("user")
				other.shows("user")
			},
			want: "user: alice\nuser: <nil>",
		},
		{
			says: "by hand: MergeSession into a session that was there brings a login back",
			by:   []visitor{guest},
			do: func(a *app) {
				h, other := a.byHand(), &hand{a: a}
				other.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) })
				h.with(func(ctx context.Context) { a.must(a.sm.MergeSession(ctx, other.token)) })
				h.shows("user")
				other.shows("user")
			},
			want: "user: alice\nuser: <nil>",
			but:  []but{{listed: mergedByHand, guard: "user: nobody\nuser: <nil>"}},
		},
		{
			says: "by hand: within a request, another session may be loaded beside its own",
			by:   members,
			do: func(a *app) {
				b, other := a.visitor(), a.visitor()
				b.with(func(ctx context.Context) {
					(&hand{a: a, token: other.token}).puts("k", "for the other")
					a.sm.Put(ctx, "k", "for the one")
				})
				b.shows("k")
				other.shows("k")
				b.here("the one")
				other.here("the other")
			},
			want: "k: for the one\nk: for the other\nthe one: yes\nthe other: yes",
		},
		{
			says:  "by hand: a session ends with its lifetime",
			by:    members,
			clock: true,
			do: func(a *app) {
				h := a.byHand()
				h.with(func(ctx context.Context) { a.sm.SetDeadline(ctx, time.Now().Add(20*time.Minute)) })
				time.Sleep(19 * time.Minute)
				h.here("a minute before")
				time.Sleep(2 * time.Minute)
				h.here("a minute after")
			},
			want: "a minute before: yes\na minute after: no",
		},
		{
			says:    "by hand: a session that is not used ends with its idle timeout",
			by:      members,
			manager: idle20m,
			clock:   true,
			do: func(a *app) {
				h := a.byHand()
				time.Sleep(21 * time.Minute)
				h.here("after")
			},
			want: "after: no",
		},
		{
			says:    "by hand: changes keep a session from its idle timeout",
			by:      members,
			manager: idle20m,
			clock:   true,
			do: func(a *app) {
				h := a.byHand()
				for range 6 {
					time.Sleep(10 * time.Minute)
					h.puts("at", time.Now().String())
				}
				h.here("after an hour")
			},
			want: "after an hour: yes",
		},
		{
			says:    "by hand: use keeps a session from its idle timeout",
			by:      members,
			manager: idle20m,
			clock:   true,
			do: func(a *app) {
				h := a.byHand()
				for range 6 {
					time.Sleep(10 * time.Minute)
					h.with(func(ctx context.Context) { a.sm.GetString(ctx, "user") })
				}
				h.here("after an hour")
			},
			want: "after an hour: yes",
			but:  []but{{listed: guestByHand, on: anonymous, guard: "after an hour: no"}},
		},
		{
			says: "who has no session in the context is told by a panic",
			by:   []visitor{stranger},
			do: func(a *app) {
				defer func() { a.note("a panic: %s", yes(recover() != nil)) }()
				a.sm.Put(context.Background(), "k", "v")
			},
			want: "a panic: yes",
		},
	}
}

// key returns what a token is stored under.
func (a *app) key(token string) string {
	if !a.c.hash {
		return token
	}
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
