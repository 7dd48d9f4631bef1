package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// keys notes the names in a session, but for that of the visitor.
func (a *app) keys(ctx context.Context) {
	names := slices.DeleteFunc(a.sm.Keys(ctx), func(k string) bool { return k == "user" })
	a.note("keys: %s", strings.Join(names, " "))
}

func valuePromises() []promise {
	return []promise{
		{
			says: "what is Put is there at once and in later requests",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					a.sm.Put(ctx, "message", "hello")
					a.note("message: %v", a.sm.Get(ctx, "message"))
				})
				b.shows("message")
				b.shows("message")
			},
			want: "message: hello\nmessage: hello\nmessage: hello",
		},
		{
			says: "Put replaces what was there",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				for _, v := range []any{"one", true, "three"} {
					b.with(func(ctx context.Context) { a.sm.Put(ctx, "k", v) })
					b.shows("k")
				}
			},
			want: "k: one\nk: true\nk: three",
		},
		{
			says: "Get of what is not there is nil",
			by:   everybody,
			do:   func(a *app) { a.visitor().shows("nothing") },
			want: "nothing: <nil>",
		},
		{
			says: "Pop takes a value out, once: a flash message",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { a.sm.Put(ctx, "flash", "saved") })
				for range 2 {
					b.with(func(ctx context.Context) {
						a.note("%v %v", a.sm.PopString(ctx, "flash"), a.sm.Pop(ctx, "flash"))
					})
				}
				b.with(func(ctx context.Context) { a.note("left: %s", yes(a.sm.Exists(ctx, "flash"))) })
			},
			want: "saved <nil>\n<nil>\nleft: no",
		},
		{
			says: "Exists tells what is there from what is not, also if it is a zero value",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { a.sm.Put(ctx, "empty", "") })
				b.with(func(ctx context.Context) {
					a.note("%v %v", a.sm.Exists(ctx, "empty"), a.sm.Exists(ctx, "nothing"))
				})
			},
			want: "true false",
		},
		{
			says: "Keys are all names, sorted",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(a.keys)
				b.with(func(ctx context.Context) {
					a.sm.Put(ctx, "b", "2")
					a.sm.Put(ctx, "a", "1")
					a.sm.Put(ctx, "c", "3")
					a.keys(ctx)
				})
				b.with(a.keys)
			},
			want: "keys:\nkeys: a b c\nkeys: a b c",
			but:  []but{{listed: namesOfItsOwn, on: loggedIn, guard: "keys: __scsguard\nkeys: __scsguard a b c\nkeys: __scsguard a b c"}},
		},
		{
			says:    "Keys are all names, sorted, with an idle timeout",
			by:      everybody,
			manager: idle20m,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { a.sm.Put(ctx, "k", "v") })
				b.with(a.keys)
			},
			want: "keys: k",
			but: []but{
				{listed: namesOfItsOwn, on: anonymous, guard: "keys: __scsguard.seen k"},
				{listed: namesOfItsOwn, on: loggedIn, guard: "keys: __scsguard k"},
			},
		},
		{
			says: "Remove takes one value out",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					a.sm.Put(ctx, "goes", "1")
					a.sm.Put(ctx, "stays", "2")
				})
				b.with(func(ctx context.Context) {
					a.sm.Remove(ctx, "goes")
					a.sm.Remove(ctx, "was never there")
				})
				b.shows("goes")
				b.shows("stays")
			},
			want: "goes: <nil>\nstays: 2",
		},
		{
			says: "Clear takes every value out, and the token stays",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.change()
				before := b.token
				b.with(func(ctx context.Context) {
					a.must(a.sm.Clear(ctx))
					a.note("at once: %v", a.sm.Get(ctx, "changed"))
				})
				b.shows("changed")
				b.with(func(ctx context.Context) { a.note("user: %q", a.sm.GetString(ctx, "user")) })
				a.note("the same token: %s", yes(b.token == before))
			},
			want: "at once: <nil>\nchanged: <nil>\nuser: \"\"\nthe same token: yes",
			but:  []but{{listed: keyLogout, on: loggedIn, keyed: "at once: <nil>\nchanged: <nil>\nuser: \"\"\nthe same token: no"}},
		},
		{
			says: "Clear leaves nothing behind",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.change()
				b.with(func(ctx context.Context) {
					a.must(a.sm.Clear(ctx))
					a.keys(ctx)
				})
				b.with(a.keys)
			},
			want: "keys:\nkeys:",
			but:  []but{{listed: namesOfItsOwn, on: loggedIn, guard: "keys:\nkeys: __scsguard", keyed: "keys:\nkeys:"}},
		},
		{
			says: "one visitor does not see what another has",
			by:   everybody,
			do: func(a *app) {
				first, second := a.visitor(), a.visitor()
				first.with(func(ctx context.Context) { a.sm.Put(ctx, "k", "first") })
				second.with(func(ctx context.Context) { a.sm.Put(ctx, "k", "second") })
				first.shows("k")
				second.shows("k")
				a.browser().shows("k")
			},
			want: "k: first\nk: second\nk: <nil>",
		},
		{
			says: "one request may use its session concurrently",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					var wg sync.WaitGroup
					for i := range 8 {
						wg.Go(func() {
							a.sm.Put(ctx, fmt.Sprintf("k%d", i), "v")
							a.sm.Keys(ctx)
							a.sm.Status(ctx)
						})
					}
					wg.Wait()
				})
				b.with(func(ctx context.Context) {
					n := 0
					for i := range 8 {
						n += len(a.sm.GetString(ctx, fmt.Sprintf("k%d", i)))
					}
					a.note("%d", n)
				})
			},
			want: "8",
		},
		{
			says:    "several requests may use one session at the same time",
			by:      members,
			manager: idle20m,
			do: func(a *app) {
				b := a.visitor()
				b.change()
				var wg sync.WaitGroup
				for range 8 {
					wg.Go(func() { b.copy().shows("changed") })
				}
				wg.Wait()
				b.here("the visitor is known")
			},
			want: strings.Repeat("changed: yes\n", 8) + "the visitor is known: yes",
		},
		{
			says: "a session may hold much",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					for i := range 200 {
						a.sm.Put(ctx, fmt.Sprintf("k%d", i), strings.Repeat("x", 500))
					}
				})
				b.with(func(ctx context.Context) {
					n := 0
					for _, k := range a.sm.Keys(ctx) {
						if strings.HasPrefix(k, "k") {
							n += len(a.sm.GetString(ctx, k))
						}
					}
					a.note("%d", n)
				})
			},
			want: "100000",
		},
		{
			says: "what was put before a login is there after it",
			by:   []visitor{stranger, guest},
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { a.sm.Put(ctx, "cart", "book") })
				before := b.token
				b.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) })
				b.shows("cart")
				b.whoami()
				a.note("a new token: %s", yes(b.token != before))
			},
			want: "cart: book\nalice\na new token: yes",
		},
		{
			says: "a second login in the same browser leaves the values of the first",
			by:   []visitor{user},
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { a.sm.Put(ctx, "cart", "alice's book") })
				b.with(func(ctx context.Context) { a.must(a.login(ctx, "alice")) })
				b.shows("cart")
				b.with(func(ctx context.Context) { a.must(a.login(ctx, "bob")) })
				b.shows("cart")
				b.whoami()
			},
			want: "cart: alice's book\ncart: alice's book\nbob",
			but:  []but{{listed: otherUser, guard: "cart: alice's book\ncart: <nil>\nbob", keyed: "cart: alice's book\ncart: alice's book\nbob"}},
		},
	}
}

// everyType puts one value of each type.
func everyType(a *app, ctx context.Context, at time.Time) {
	for k, v := range map[string]any{
		"string": "text", "bool": true, "int": 1, "int64": int64(64), "int32": int32(32), "float": 1.5, "bytes": []byte("raw"), "time": at,
	} {
		a.sm.Put(ctx, k, v)
	}
}

func typePromises() []promise {
	at := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	return []promise{
		{
			says: "every type has a Get that returns it",
			by:   everybody,
			gob:  true,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { everyType(a, ctx, at) })
				b.with(func(ctx context.Context) {
					a.note("%v %v %v %v", a.sm.GetString(ctx, "string"), a.sm.GetBool(ctx, "bool"), a.sm.GetInt(ctx, "int"), a.sm.GetInt64(ctx, "int64"))
					a.note("%v %v %s", a.sm.GetInt32(ctx, "int32"), a.sm.GetFloat(ctx, "float"), a.sm.GetBytes(ctx, "bytes"))
					a.note("%v", a.sm.GetTime(ctx, "time").Equal(at))
				})
			},
			want: "text true 1 64\n32 1.5 raw\ntrue",
		},
		{
			says: "most types have a Pop that returns them, once",
			by:   everybody,
			gob:  true,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { everyType(a, ctx, at) })
				for range 2 {
					b.with(func(ctx context.Context) {
						a.note("%q %v %v", a.sm.PopString(ctx, "string"), a.sm.PopBool(ctx, "bool"), a.sm.PopInt(ctx, "int"))
						a.note("%v %q %v", a.sm.PopFloat(ctx, "float"), a.sm.PopBytes(ctx, "bytes"), a.sm.PopTime(ctx, "time").Equal(at))
					})
				}
			},
			want: "\"text\" true 1\n1.5 \"raw\" true\n\"\" false 0\n0 \"\" false",
		},
		{
			says: "a Get of another type is the zero value, and so is one of nothing",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					a.sm.Put(ctx, "text", "1")
					a.sm.Put(ctx, "truth", true)
				})
				b.with(func(ctx context.Context) {
					for _, k := range []string{"text", "nothing"} {
						a.note("%v %v %v %v", a.sm.GetBool(ctx, k), a.sm.GetInt(ctx, k), a.sm.GetInt64(ctx, k), a.sm.GetInt32(ctx, k))
						a.note("%v %v %v", a.sm.GetFloat(ctx, k), a.sm.GetBytes(ctx, k) == nil, a.sm.GetTime(ctx, k).IsZero())
					}
					a.note("%q", a.sm.GetString(ctx, "truth"))
				})
			},
			want: "false 0 0 0\n0 true true\nfalse 0 0 0\n0 true true\n\"\"",
		},
		{
			says: "a registered type of the application's own is kept",
			by:   everybody,
			gob:  true,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { a.sm.Put(ctx, "address", address{"Main Street", 7}) })
				b.with(func(ctx context.Context) {
					v, ok := a.sm.Get(ctx, "address").(address)
					a.note("%v %v", v, ok)
				})
			},
			want: "{Main Street 7} true",
		},
		{
			says: "what is put back as it was loaded undoes what another request has put meanwhile",
			by:   members,
			json: true,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) { a.sm.Put(ctx, "k", "old") })
				b.with(func(ctx context.Context) {
					b.copy().with(func(ctx context.Context) { a.sm.Put(ctx, "k", "new") })
					a.sm.Put(ctx, "k", "old")
				})
				b.with(func(ctx context.Context) { a.note("%s", a.sm.GetString(ctx, "k")) })
			},
			want: "old",
			but:  []but{{listed: notWritten, guard: "new"}},
		},
		{
			says: "another codec may keep other values",
			by:   everybody,
			json: true,
			do: func(a *app) {
				b := a.visitor()
				b.with(func(ctx context.Context) {
					a.sm.Put(ctx, "list", []any{"a", 2.5, nil})
					a.sm.Put(ctx, "object", map[string]any{"k": "v"})
					a.sm.Put(ctx, "nothing", nil)
				})
				b.with(func(ctx context.Context) {
					a.note("%v %v %v", a.sm.Get(ctx, "list"), a.sm.Get(ctx, "object"), a.sm.Exists(ctx, "nothing"))
				})
				for _, data := range a.data() {
					a.note("JSON in the store: %s", yes(contains(string(data), `"object":{"k":"v"}`)))
				}
			},
			want: "[a 2.5 <nil>] map[k:v] true\nJSON in the store: yes",
		},
	}
}
