package contract

import (
	"context"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// here notes whether the session of a member is still there.
func (b *browser) here(says string) {
	b.with(func(ctx context.Context) { b.a.note("%s: %s", says, yes(b.a.sm.Exists(ctx, "user"))) })
}

// deadline notes how far away the deadline is.
func (a *app) deadline(ctx context.Context) {
	a.note("deadline in %s", about(time.Until(a.sm.Deadline(ctx))))
}

func lifetimePromises() []promise {
	return []promise{
		{
			says:  "a session ends with its lifetime, however much it is used",
			by:    members,
			clock: true,
			do: func(a *app) {
				b := a.visitor()
				b.pass(lifetime - time.Minute)
				b.here("a minute before")
				b.change()
				time.Sleep(2 * time.Minute)
				b.here("a minute after")
			},
			want: "a minute before: yes\na minute after: no",
		},
		{
			says:    "a session ends with its lifetime by the clock of the store",
			by:      members,
			manager: func(sm *scs.SessionManager) { sm.Lifetime = time.Second },
			do: func(a *app) {
				b := a.visitor()
				a.note("a cookie: %s", yes(b.token != ""))
				there := true
				for end := time.Now().Add(time.Minute); there && time.Now().Before(end); {
					time.Sleep(50 * time.Millisecond)
					b.with(func(ctx context.Context) { there = a.sm.Exists(ctx, "user") })
				}
				a.note("in the end: %s, in the store: %d", yes(there), len(a.data()))
			},
			want: "a cookie: yes\nin the end: no, in the store: 0",
		},
		{
			says:  "without an idle timeout a session may be left alone as long as its lifetime",
			by:    members,
			clock: true,
			do: func(a *app) {
				b := a.visitor()
				time.Sleep(lifetime - time.Minute)
				b.here("a minute before")
			},
			want: "a minute before: yes",
			but:  []but{{listed: alwaysIdle, on: loggedIn, guard: "a minute before: no"}},
		},
		{
			says:    "a session that is not used ends with its idle timeout",
			by:      members,
			manager: idle20m,
			clock:   true,
			do: func(a *app) {
				b, c := a.visitor(), a.visitor()
				time.Sleep(20*time.Minute - time.Second)
				b.here("a second before")
				time.Sleep(2 * time.Second)
				c.here("a second after")
			},
			want: "a second before: yes\na second after: no",
		},
		{
			says:    "use keeps a session from its idle timeout, up to its lifetime",
			by:      members,
			manager: idle20m,
			clock:   true,
			do: func(a *app) {
				b := a.visitor()
				b.pass(lifetime - time.Minute)
				b.here("a minute before")
				time.Sleep(2 * time.Minute)
				b.here("a minute after")
			},
			want: "a minute before: yes\na minute after: no",
		},
		{
			says:    "the idle timeout counts from the last request",
			by:      members,
			manager: idle20m,
			clock:   true,
			do: func(a *app) {
				b := a.visitor()
				time.Sleep(30 * time.Second)
				b.read()
				time.Sleep(20*time.Minute - time.Second)
				b.here("a second before")
			},
			want: "a second before: yes",
			but:  []but{{listed: touchEarly, guard: "a second before: no"}},
		},
		{
			says:    "the idle timeout counts from the last request, if the guard is told to be exact",
			by:      []visitor{user},
			manager: idle20m,
			guard:   func(cfg *scsguard.Config) { cfg.Timeouts.Touch = time.Second },
			clock:   true,
			do: func(a *app) {
				b := a.visitor()
				time.Sleep(30 * time.Second)
				b.read()
				time.Sleep(20*time.Minute - time.Second)
				b.here("a second before")
			},
			want: "a second before: yes",
		},
		{
			says:  "when a session is over the store is as if it had never been",
			by:    members,
			clock: true,
			do: func(a *app) {
				b := a.visitor()
				time.Sleep(lifetime + time.Second)
				b.read()
				a.note("%d", len(a.data()))
				b.change()
				b.here("a new session has the values of the old one")
			},
			want: "0\na new session has the values of the old one: no",
		},
	}
}

func deadlinePromises() []promise {
	set := func(in time.Duration) func(*app) {
		return func(a *app) {
			b := a.visitor()
			a.lasts(b.with(func(ctx context.Context) {
				a.sm.SetDeadline(ctx, time.Now().Add(in))
				a.deadline(ctx)
			}))
			b.with(a.deadline)
		}
	}
	return []promise{
		{
			says: "the deadline is the end of the lifetime",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(a.deadline)
				b.change()
				b.with(a.deadline)
			},
			want: "deadline in 8h0m0s\ndeadline in 8h0m0s",
		},
		{
			says:    "the deadline is the end of the lifetime, whatever the idle timeout",
			by:      everybody,
			manager: idle20m,
			do: func(a *app) {
				b := a.visitor()
				b.change()
				b.with(a.deadline)
			},
			want: "deadline in 8h0m0s",
		},
		{
			says: "SetDeadline moves the deadline to an earlier time",
			by:   everybody,
			do:   set(time.Hour),
			want: "deadline in 1h0m0s\nfor 1h0m0s, and Expires says 1h0m0s\ndeadline in 1h0m0s",
		},
		{
			says:  "a session ends with the deadline that was set",
			by:    members,
			clock: true,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { a.sm.SetDeadline(ctx, time.Now().Add(time.Hour)) })
				b.pass(time.Hour - time.Minute)
				b.here("a minute before")
				time.Sleep(2 * time.Minute)
				b.here("a minute after")
			},
			want: "a minute before: yes\na minute after: no",
		},
		{
			says:  "a session ends with the deadline that was set together with a new token",
			by:    members,
			clock: true,
			do: func(a *app) {
				for _, renew := range []func(ctx context.Context) error{a.sm.RenewToken, func(ctx context.Context) error { return a.login(ctx, "alice") }} {
					b := a.visitor()
					b.with(func(ctx context.Context) {
						a.must(renew(ctx))
						a.sm.SetDeadline(ctx, time.Now().Add(time.Hour))
					})
					b.pass(time.Hour - time.Minute)
					b.here("a minute before")
					time.Sleep(2 * time.Minute)
					b.here("a minute after")
				}
			},
			want: strings.Repeat("a minute before: yes\na minute after: no\n", 2),
		},
		{
			says: "SetDeadline moves the deadline to a later time",
			by:   everybody,
			do:   set(48 * time.Hour),
			want: "deadline in 48h0m0s\nfor 48h0m0s, and Expires says 48h0m0s\ndeadline in 48h0m0s",
			but:  []but{{listed: onlyEarlier, on: loggedIn, guard: "deadline in 48h0m0s\nfor 8h0m0s, and Expires says 8h0m0s\ndeadline in 8h0m0s"}},
		},
		{
			says: "a login may set a deadline of its own",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				a.lasts(b.with(func(ctx context.Context) {
					a.must(a.login(ctx, "alice"))
					a.sm.SetDeadline(ctx, time.Now().Add(time.Hour))
				}))
				b.with(a.deadline)
				b.whoami()
			},
			want: "for 1h0m0s, and Expires says 1h0m0s\ndeadline in 1h0m0s\nalice",
		},
		{
			says: "a deadline may be set together with a new token",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				a.lasts(b.with(func(ctx context.Context) {
					a.must(a.sm.RenewToken(ctx))
					a.sm.SetDeadline(ctx, time.Now().Add(time.Hour))
				}))
				b.with(a.deadline)
				b.here("the visitor is known")
			},
			want: "for 1h0m0s, and Expires says 1h0m0s\ndeadline in 1h0m0s\nthe visitor is known: yes",
		},
		{
			says: "a deadline that has passed ends the session",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { a.sm.SetDeadline(ctx, time.Now().Add(-time.Minute)) })
				b.here("there")
				a.note("in the store: %d", len(a.data()))
			},
			want: "there: no\nin the store: 0",
		},
		{
			says:  "Clear leaves the deadline where it is",
			by:    members,
			clock: true,
			do: func(a *app) {
				b := a.visitor()
				b.pass(3 * time.Hour)
				b.with(func(ctx context.Context) {
					a.must(a.sm.Clear(ctx))
					a.deadline(ctx)
				})
				b.with(a.deadline)
			},
			want: "deadline in 5h0m0s\ndeadline in 5h0m0s",
		},
		{
			says:  "RenewToken starts the lifetime anew",
			by:    members,
			clock: true,
			do: func(a *app) {
				b := a.visitor()
				b.pass(3 * time.Hour)
				b.with(func(ctx context.Context) {
					a.must(a.sm.RenewToken(ctx))
					a.deadline(ctx)
				})
				b.with(a.deadline)
			},
			want: "deadline in 8h0m0s\ndeadline in 8h0m0s",
			but:  []but{{listed: onlyEarlier, on: loggedIn, guard: "deadline in 8h0m0s\ndeadline in 5h0m0s"}},
		},
		{
			says:  "a session after Destroy has a lifetime of its own",
			by:    members,
			clock: true,
			do: func(a *app) {
				b := a.visitor()
				b.pass(3 * time.Hour)
				b.with(func(ctx context.Context) {
					a.must(a.sm.Destroy(ctx))
					a.sm.Put(ctx, "k", "v")
				})
				b.with(a.deadline)
			},
			want: "deadline in 8h0m0s",
		},
	}
}
