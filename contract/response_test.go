package contract

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// brings is a promise of what a handler's answer brings to the client, beside
// the cookie and the value that was put before it.
func brings(says, want string, answer http.HandlerFunc) promise {
	return promise{
		says: says,
		by:   everybody,
		do: func(a *app) {
			b := a.visitor()
			res := b.get(func(w http.ResponseWriter, r *http.Request) {
				a.sm.Put(r.Context(), "k", "v")
				answer(w, r)
			})
			a.note("%d %q, cookies: %d", res.Code, res.Body, res.Cookies)
			b.shows("k")
		},
		want: want + ", cookies: 1\nk: v",
	}
}

func responsePromises() []promise {
	return []promise{
		brings("an answer of nothing brings the cookie", `200 ""`, func(http.ResponseWriter, *http.Request) {}),
		brings("an answer with a body brings the cookie", `200 "hello world"`, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello ")
			_, _ = fmt.Fprint(w, "world")
		}),
		brings("an answer with a status brings the cookie", `201 "made"`, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "made")
		}),
		brings("an answer without a body brings the cookie", `204 ""`, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		brings("an answer that nothing has changed brings the cookie", `304 ""`, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }),
		brings("a redirect brings the cookie", `303 ""`, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/next")
			w.WriteHeader(http.StatusSeeOther)
		}),
		brings("an error of the handler brings the cookie", `500 "sorry"`, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "sorry", http.StatusInternalServerError)
		}),
		brings("a part of a file brings the cookie", `206 "ell"`, func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=1-3")
			http.ServeContent(w, r, "hello.txt", time.Time{}, strings.NewReader("hello"))
		}),
		brings("what is copied into the answer brings the cookie", `200 "copied"`, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, bytes.NewBufferString("copied"))
		}),
		brings("an answer that another handler has recorded brings the cookie", `418 "tea"`, func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusTeapot)
				_, _ = io.WriteString(w, "tea")
			}).ServeHTTP(rec, r)
			w.WriteHeader(rec.Code)
			_, _ = rec.Body.WriteTo(w)
		}),
		brings("an answer within a time limit brings the cookie", `200 "in time"`, func(w http.ResponseWriter, r *http.Request) {
			http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "in time")
			}), time.Minute, "too late").ServeHTTP(w, r)
		}),
		{
			says: "LoadAndSave within itself does no harm",
			by:   everybody,
			do: func(a *app) {
				b := a.visitor()
				b.get(a.sm.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					a.sm.Put(r.Context(), "k", "v")
					_, _ = io.WriteString(w, "hello")
				})).ServeHTTP)
				b.shows("k")
				b.get(a.sm.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { a.must(a.sm.RenewToken(r.Context())) })).ServeHTTP)
				b.shows("k")
				a.note("in the store: %d", len(a.data()))
			},
			want: "k: v\nk: v\nin the store: 1",
		},
		{
			says: "the headers of the handler reach the client",
			by:   everybody,
			do: func(a *app) {
				res := a.visitor().get(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/plain; charset=utf-8")
					w.Header().Set("Location", "/somewhere")
					w.Header().Add("X-Two", "1")
					w.Header().Add("X-Two", "2")
					w.Header().Set("Etag", `"7"`)
					a.sm.Put(r.Context(), "k", "v")
					_, _ = io.WriteString(w, "x")
				})
				a.note("%s %s %s %s", res.Header.Get("Content-Type"), res.Header.Get("Location"), res.Header.Values("X-Two"), res.Header.Get("Etag"))
			},
			want: `text/plain; charset=utf-8 /somewhere [1 2] "7"`,
		},
		{
			says: "the request reaches the handler with what other middlewares have put into its context",
			by:   everybody,
			do: func(a *app) {
				a.visitor().knowing(context.Background(), func(ctx context.Context) { a.note("%v", ctx.Value(secretKey{})) })
			},
			want: "a secret",
		},
		{
			says: "a panic reaches the server, and what was put before it is not kept",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				func() {
					defer func() { a.note("%v", recover()) }()
					b.get(func(_ http.ResponseWriter, r *http.Request) {
						a.sm.Put(r.Context(), "k", "v")
						panic(http.ErrAbortHandler)
					})
				}()
				b.shows("k")
				b.here("the visitor is known")
			},
			want: "net/http: abort Handler\nk: <nil>\nthe visitor is known: yes",
		},
		{
			says: "what is put after the first byte of the answer is lost",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.get(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, "first")
					a.sm.Put(r.Context(), "late", "v")
				})
				b.shows("late")
			},
			want: "late: <nil>",
			but:  []but{{listed: putLate, guard: "late: v"}},
		},
		{
			says: "a session that begins after the first byte of the answer leads nowhere",
			by:   []visitor{stranger},
			do: func(a *app) {
				b := a.visitor()
				b.get(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, "first")
					a.sm.Put(r.Context(), "late", "v")
				})
				b.shows("late")
				a.note("in the store: %d", len(a.data()))
			},
			want: "late: <nil>\nin the store: 0",
		},
		{
			says: "a session destroyed after the first byte of the answer is over nevertheless",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.get(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, "first")
					a.must(a.sm.Destroy(r.Context()))
				})
				b.here("there")
				a.note("in the store: %d", len(a.data()))
			},
			want: "there: no\nin the store: 0",
		},
		{
			says: "RenewToken after the first byte of the answer loses the session",
			by:   members,
			do: func(a *app) {
				b := a.visitor()
				b.get(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, "first")
					a.must(a.sm.RenewToken(r.Context()))
				})
				b.here("there")
			},
			want: "there: no",
			but:  []but{{listed: renewLate, on: loggedIn, guard: "there: yes"}},
		},
	}
}
