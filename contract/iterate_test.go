package contract

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
)

// named returns a visitor whose session has a name in it.
func (a *app) named(name string) *browser {
	b := a.visitor()
	b.puts("name", name)
	return b
}

// iterated notes the names of the sessions that Iterate comes to.
func (a *app) iterated(ctx context.Context) {
	var names []string
	a.must(a.sm.Iterate(ctx, func(ctx context.Context) error {
		names = append(names, a.sm.GetString(ctx, "name"))
		return nil
	}))
	slices.Sort(names)
	a.note("[%s]", strings.Join(names, " "))
}

// on runs do within Iterate for the session of one name.
func (a *app) on(ctx context.Context, name string, do func(ctx context.Context) error) {
	a.must(a.sm.Iterate(ctx, func(ctx context.Context) error {
		if a.sm.GetString(ctx, "name") != name {
			return nil
		}
		return do(ctx)
	}))
}

// noIteration is a store that cannot be iterated.
type noIteration struct{ scs.Store }

func iteratePromises() []promise {
	errEnough := errors.New("enough")
	hashedIteration := func(plain string) []but { return []but{{listed: iterateHashed, on: hashed, plain: plain}} }
	return []promise{
		{
			says: "Iterate comes to every session, once, with what it holds",
			by:   everybody,
			do: func(a *app) {
				a.iterated(context.Background())
				for _, name := range []string{"one", "two", "three"} {
					a.named(name)
				}
				a.iterated(context.Background())
			},
			want: "[]\n[one three two]",
		},
		{
			says: "Iterate within a request comes to every session, and leaves the request its own",
			by:   everybody,
			do: func(a *app) {
				b := a.named("one")
				a.named("two")
				b.with(func(ctx context.Context) {
					a.iterated(ctx)
					a.note("%s %s", a.sm.GetString(ctx, "name"), statuses[a.sm.Status(ctx)])
				})
				b.shows("name")
			},
			want: "[one two]\none unmodified\nname: one",
		},
		{
			says: "Iterate does not come to sessions that were destroyed",
			by:   members,
			do: func(a *app) {
				b := a.named("one")
				a.named("two")
				b.destroy()
				a.iterated(context.Background())
			},
			want: "[two]",
		},
		{
			says:    "Iterate does not come to sessions that are over",
			by:      members,
			manager: idle20m,
			clock:   true,
			do: func(a *app) {
				a.named("one")
				time.Sleep(15 * time.Minute)
				a.named("two")
				time.Sleep(10 * time.Minute)
				a.iterated(context.Background())
			},
			want: "[two]",
		},
		{
			says: "Iterate stops at the first error and returns it",
			by:   everybody,
			do: func(a *app) {
				for _, name := range []string{"one", "two", "three"} {
					a.named(name)
				}
				n := 0
				err := a.sm.Iterate(context.Background(), func(context.Context) error {
					n++
					return errEnough
				})
				a.note("%d: %s", n, yes(errors.Is(err, errEnough)))
			},
			want: "1: yes",
		},
		{
			says: "Destroy within Iterate ends the sessions it is called for, and no others",
			by:   members,
			do: func(a *app) {
				one, two := a.named("one"), a.named("two")
				a.on(context.Background(), "two", func(ctx context.Context) error { return a.sm.Destroy(ctx) })
				one.here("one")
				two.here("two")
			},
			want: "one: yes\ntwo: no",
			but:  hashedIteration("one: yes\ntwo: yes"),
		},
		{
			says: "Destroy within Iterate within a request ends that session, and leaves the request its own",
			by:   members,
			do: func(a *app) {
				one, two := a.named("one"), a.named("two")
				one.with(func(ctx context.Context) {
					a.on(ctx, "two", func(ctx context.Context) error { return a.sm.Destroy(ctx) })
				})
				one.here("one")
				two.here("two")
			},
			want: "one: yes\ntwo: no",
			but:  hashedIteration("one: yes\ntwo: yes"),
		},
		{
			says: "Destroy within Iterate of everything ends everything",
			by:   members,
			do: func(a *app) {
				one, two := a.named("one"), a.named("two")
				a.must(a.sm.Iterate(context.Background(), a.sm.Destroy))
				one.here("one")
				two.here("two")
				a.note("in the store: %d", len(a.data()))
			},
			want: "one: no\ntwo: no\nin the store: 0",
			but:  hashedIteration("one: yes\ntwo: yes\nin the store: 2"),
		},
		{
			says: "Destroy within Iterate ends the session of the request around it, too",
			by:   members,
			do: func(a *app) {
				one, two := a.named("one"), a.named("two")
				one.with(func(ctx context.Context) { a.must(a.sm.Iterate(ctx, a.sm.Destroy)) })
				one.here("one")
				two.here("two")
			},
			want: "one: no\ntwo: no",
			but:  hashedIteration("one: yes\ntwo: yes"),
		},
		{
			says: "Commit within Iterate stores what was put into that session",
			by:   members,
			do: func(a *app) {
				one, two := a.named("one"), a.named("two")
				a.on(context.Background(), "two", func(ctx context.Context) error {
					a.sm.Put(ctx, "notice", "maintenance at noon")
					_, _, err := a.sm.Commit(ctx)
					return err
				})
				one.shows("notice")
				two.shows("notice")
				two.here("two")
				a.note("in the store: %d", len(a.data()))
			},
			want: "notice: <nil>\nnotice: maintenance at noon\ntwo: yes\nin the store: 2",
			but:  hashedIteration("notice: <nil>\nnotice: <nil>\ntwo: yes\nin the store: 3"),
		},
		{
			says: "Iterate over a store that cannot be iterated panics",
			by:   everybody,
			wrap: func(s scs.Store) scs.Store { return noIteration{s} },
			do: func(a *app) {
				defer func() { a.note("a panic: %s", yes(recover() != nil)) }()
				a.must(a.sm.Iterate(context.Background(), func(context.Context) error { return nil }))
			},
			want: "a panic: yes",
		},
	}
}
