package contract

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
)

func init() { log.SetOutput(io.Discard) } // where the default ErrorFunc writes

// apologetic sets an error function of the application's own.
func apologetic(sm *scs.SessionManager) {
	sm.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) {
		status, text := http.StatusTeapot, "sorry: something else"
		if errors.Is(err, errDown) {
			text = "sorry: the store is down"
		}
		http.Error(w, text, status)
	}
}

// hello is what the handlers of this file answer.
func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// told notes an answer.
func (a *app) told(res answer) { a.note("%d %q, cookies: %d", res.Code, res.Body, res.Cookies) }

// down reports whether an error is that of the store.
func (a *app) down(err error) { a.note("the error of the store: %s", yes(errors.Is(err, errDown))) }

// spoil puts something into the store that no codec can read.
func (a *app) spoil(b *browser) {
	a.must(a.inner.Commit(a.key(b.token), []byte("\x00garbage"), time.Now().Add(time.Hour)))
}

func errorPromises() []promise {
	unencodable := func(a *app, answer http.HandlerFunc) {
		b := a.visitor()
		a.told(b.get(func(w http.ResponseWriter, r *http.Request) {
			a.sm.Put(r.Context(), "k", make(chan int))
			answer(w, r)
		}))
		b.here("the visitor is known")
	}
	const unavailable = `503 "", cookies: 0`
	return []promise{
		{
			says:    "a session that cannot be loaded is answered by the error function",
			by:      members,
			manager: apologetic,
			wrap:    breakable,
			do: func(a *app) {
				b := a.visitor()
				a.fails("find")
				res := b.get(hello)
				if res.Code == http.StatusServiceUnavailable {
					res.Body = ""
				}
				a.told(res)
				a.fails()
				b.here("the visitor is known again")
			},
			want: "418 \"sorry: the store is down\", cookies: 0\nthe visitor is known again: yes",
			but:  []but{{listed: down503, guard: unavailable + "\nthe visitor is known again: yes"}},
		},
		{
			says: "by default the error function answers 500",
			by:   members,
			wrap: breakable,
			do: func(a *app) {
				b := a.visitor()
				a.fails("find")
				res := b.get(hello)
				if res.Code == http.StatusServiceUnavailable {
					res.Body = ""
				}
				a.told(res)
			},
			want: `500 "Internal Server Error", cookies: 0`,
			but:  []but{{listed: down503, guard: unavailable}},
		},
		{
			says:    "a session that cannot be stored is answered by the error function",
			by:      everybody,
			manager: apologetic,
			wrap:    breakable,
			do: func(a *app) {
				b := a.visitor()
				a.fails("commit")
				res := b.get(func(_ http.ResponseWriter, r *http.Request) { a.sm.Put(r.Context(), "k", "v") })
				if res.Code == http.StatusServiceUnavailable {
					res.Body = ""
				}
				a.told(res)
			},
			want: `418 "sorry: the store is down", cookies: 0`,
			but:  []but{{listed: down503, guard: unavailable}},
		},
		{
			says:    "a session that cannot be stored is answered by the error function and then by the handler",
			by:      everybody,
			manager: apologetic,
			wrap:    breakable,
			do: func(a *app) {
				b := a.visitor()
				a.fails("commit")
				res := b.get(func(w http.ResponseWriter, r *http.Request) {
					a.sm.Put(r.Context(), "k", "v")
					hello(w, r)
				})
				a.note("%d, the handler's answer: %s", res.Code, yes(contains(res.Body, "hello")))
			},
			want: "418, the handler's answer: yes",
			but:  []but{{listed: onlyTheError, guard: "503, the handler's answer: no"}},
		},
		{
			says:    "a value that cannot be encoded is answered by the error function",
			by:      members,
			manager: apologetic,
			do:      func(a *app) { unencodable(a, func(http.ResponseWriter, *http.Request) {}) },
			want:    "418 \"sorry: something else\", cookies: 0\nthe visitor is known: yes",
		},
		{
			says: "a store that cannot be read tells Load, MergeSession and Iterate",
			by:   members,
			wrap: breakable,
			do: func(a *app) {
				b, other := a.visitor(), a.visitor()
				b.with(func(ctx context.Context) {
					a.fails("find", "all")
					a.down(a.sm.MergeSession(ctx, other.token))
					a.down(a.sm.Iterate(ctx, func(context.Context) error { return nil }))
					a.fails()
				})
				a.fails("find")
				_, err := a.sm.Load(context.Background(), b.token)
				a.down(err)
			},
			want: "the error of the store: yes\nthe error of the store: yes\nthe error of the store: yes",
		},
		{
			says: "a store that cannot be written tells Commit, Destroy and RenewToken",
			by:   members,
			wrap: breakable,
			do: func(a *app) {
				for _, do := range []func(ctx context.Context) error{
					func(ctx context.Context) error {
						a.sm.Put(ctx, "k", "v")
						_, _, err := a.sm.Commit(ctx)
						return err
					}, a.sm.Destroy, a.sm.RenewToken,
				} {
					a.visitor().with(func(ctx context.Context) {
						a.fails("commit", "delete")
						a.down(do(ctx))
						a.fails()
					})
				}
			},
			want: "the error of the store: yes\nthe error of the store: yes\nthe error of the store: yes",
			but: []but{{listed: deletesLater, on: loggedIn, guard: "the error of the store: yes\nthe error of the store: no\nthe error of the store: no"},
				{listed: deletesLater, on: anonymous, keyed: "the error of the store: yes\nthe error of the store: no\nthe error of the store: no"}},
		},
		{
			says:    "a session whose data cannot be decoded is answered by the error function, until it is over",
			by:      members,
			manager: apologetic,
			do: func(a *app) {
				b := a.visitor()
				a.spoil(b)
				a.told(b.get(hello))
				a.told(b.get(hello))
			},
			want: "418 \"sorry: something else\", cookies: 0\n418 \"sorry: something else\", cookies: 0",
			but:  []but{{listed: unreadable, guard: "200 \"hello\", cookies: 0\n200 \"hello\", cookies: 0"}},
		},
		{
			says: "a session whose data cannot be decoded ends an iteration",
			by:   members,
			do: func(a *app) {
				a.spoil(a.visitor())
				err := a.sm.Iterate(context.Background(), func(context.Context) error { return nil })
				a.note("an error: %s", yes(err != nil))
			},
			want: "an error: yes",
			but:  []but{{listed: unreadable, guard: "an error: no"}},
		},
		{
			says: "a handler's own status is the client's, whatever the session does",
			by:   everybody,
			do: func(a *app) {
				for _, do := range []func(b *browser, ctx context.Context){
					func(*browser, context.Context) {},
					func(_ *browser, ctx context.Context) { a.sm.Put(ctx, "k", "v") },
					func(_ *browser, ctx context.Context) { a.must(a.sm.RenewToken(ctx)) },
					func(_ *browser, ctx context.Context) { a.must(a.login(ctx, "alice")) },
					func(_ *browser, ctx context.Context) { a.must(a.sm.Destroy(ctx)) },
				} {
					b := a.visitor()
					a.note("%d", b.get(func(w http.ResponseWriter, r *http.Request) {
						do(b, r.Context())
						w.WriteHeader(http.StatusAccepted)
					}).Code)
				}
			},
			want: "202\n202\n202\n202\n202",
		},
	}
}
