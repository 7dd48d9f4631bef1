package contract

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"time"
)

// streams makes a request over a connection and hands over the response while
// its handler still runs.
func (b *browser) streams(h http.HandlerFunc, while func(res *http.Response)) {
	res := b.send(b.request(h))
	defer res.Body.Close()
	b.keep(res.Header)
	while(res)
}

// takes makes a request whose handler takes the connection over, and returns
// what comes over it. Until the request is over nothing else happens.
func (b *browser) takes(h http.HandlerFunc) string {
	r := b.request(h)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "test")
	res := b.send(r)
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	b.a.serving.Wait()
	return fmt.Sprintf("%d %s", res.StatusCode, text)
}

// switches takes a connection over, says something and returns it.
func (a *app) switches(w http.ResponseWriter) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		a.note("not taken over")
		return
	}
	defer conn.Close()
	_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nhello")
	_ = buf.Flush()
}

func connectionPromises() []promise {
	return []promise{
		{
			says: "what is flushed reaches the client while the handler goes on",
			by:   everybody,
			wire: true,
			do: func(a *app) {
				b := a.visitor()
				seen := make(chan struct{})
				b.streams(func(w http.ResponseWriter, r *http.Request) {
					a.sm.Put(r.Context(), "message", "from a stream")
					rc := http.NewResponseController(w)
					for i := range 3 {
						_, _ = fmt.Fprintf(w, "line %d\n", i)
						a.must(rc.Flush())
						<-seen
					}
				}, func(res *http.Response) {
					for lines := bufio.NewScanner(res.Body); lines.Scan(); {
						a.note("%s", lines.Text())
						seen <- struct{}{}
					}
				})
				b.shows("message")
			},
			want: "line 0\nline 1\nline 2\nmessage: from a stream",
		},
		{
			says: "a flush before anything is written brings the cookie",
			by:   everybody,
			wire: true,
			do: func(a *app) {
				b := a.visitor()
				res := b.get(func(w http.ResponseWriter, r *http.Request) {
					a.sm.Put(r.Context(), "k", "v")
					a.must(http.NewResponseController(w).Flush())
					_, _ = io.WriteString(w, "late")
				})
				a.note("cookies: %d", res.Cookies)
			},
			want: "cookies: 1",
			but:  []but{{listed: flushFirst, plain: "cookies: 0"}},
		},
		{
			says: "the writer is a Flusher and a Hijacker, and what is below it can be reached",
			by:   everybody,
			wire: true,
			do: func(a *app) {
				a.visitor().get(func(w http.ResponseWriter, _ *http.Request) {
					_, flusher := w.(http.Flusher)
					_, hijacker := w.(http.Hijacker)
					_, below := w.(interface{ Unwrap() http.ResponseWriter })
					a.note("%v %v %v", flusher, hijacker, below)
					rc := http.NewResponseController(w)
					a.note("%v %v %v", rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Now().Add(time.Minute)), rc.EnableFullDuplex())
				})
			},
			want: "true true true\n<nil> <nil> <nil>",
		},
		{
			says: "a handler may take the connection over, and what it has put is kept",
			by:   members,
			wire: true,
			do: func(a *app) {
				b := a.visitor()
				a.note("%s", b.takes(func(w http.ResponseWriter, r *http.Request) {
					a.sm.Put(r.Context(), "k", "v")
					a.switches(w)
				}))
				b.shows("k")
				b.here("the visitor is known")
			},
			want: "101 hello\nk: v\nthe visitor is known: yes",
		},
		{
			says: "what a handler puts after it has taken the connection over is kept",
			by:   members,
			wire: true,
			do: func(a *app) {
				b := a.visitor()
				b.takes(func(w http.ResponseWriter, r *http.Request) {
					a.switches(w)
					a.sm.Put(r.Context(), "k", "v")
				})
				b.shows("k")
			},
			want: "k: v",
		},
		{
			says: "a handler may log in and take the connection over, and nobody is told the token",
			by:   everybody,
			wire: true,
			do: func(a *app) {
				b := a.visitor()
				a.note("%s", b.takes(func(w http.ResponseWriter, r *http.Request) {
					a.must(a.login(r.Context(), "alice"))
					a.switches(w)
				})[:3])
				b.whoami()
			},
			want: "101\na stranger",
			but:  []but{{listed: hijackLogin, guard: "not taken over\n500\na stranger"}},
		},
		{
			says: "what is put after early hints is kept",
			by:   everybody,
			wire: true,
			do: func(a *app) {
				b := a.visitor()
				r := b.request(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Link", "</style.css>; rel=preload")
					w.WriteHeader(http.StatusEarlyHints)
					a.sm.Put(r.Context(), "k", "v")
					_, _ = io.WriteString(w, "page")
				})
				hints := 0
				res := b.do(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(int, textproto.MIMEHeader) error { hints++; return nil },
				})))
				a.note("%d hints, %d %s", hints, res.Code, res.Body)
				b.shows("k")
			},
			want: "1 hints, 200 page\nk: v",
			but:  []but{{listed: putLate, plain: "1 hints, 200 page\nk: <nil>"}},
		},
		{
			says: "a large answer reaches the client whole",
			by:   everybody,
			wire: true,
			do: func(a *app) {
				res := a.visitor().get(func(w http.ResponseWriter, r *http.Request) {
					a.sm.Put(r.Context(), "k", "v")
					_, _ = io.Copy(w, strings.NewReader(strings.Repeat("x", 1<<20)))
				})
				a.note("%d, cookies: %d", len(res.Body), res.Cookies)
			},
			want: "1048576, cookies: 1",
		},
		{
			says: "an answer has the length that the handler or the server gives it",
			by:   everybody,
			wire: true,
			do: func(a *app) {
				b := a.visitor()
				a.note("%s", b.get(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }).Header.Get("Content-Length"))
				r := b.request(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Length", "7")
					w.WriteHeader(http.StatusOK)
				})
				r.Method = http.MethodHead
				a.note("%s", b.do(r).Header.Get("Content-Length"))
			},
			want: "5\n7",
		},
		{
			says: "a handler may read a body while it answers",
			by:   everybody,
			wire: true,
			do: func(a *app) {
				b := a.visitor()
				r := b.request(func(w http.ResponseWriter, r *http.Request) {
					a.must(http.NewResponseController(w).EnableFullDuplex())
					a.sm.Put(r.Context(), "k", "v")
					_, err := io.Copy(w, r.Body)
					if err != nil && !errors.Is(err, context.Canceled) {
						a.must(err)
					}
				})
				r.Method, r.Body = http.MethodPost, io.NopCloser(strings.NewReader("echo"))
				a.note("%s", b.do(r).Body)
				b.shows("k")
			},
			want: "echo\nk: v",
		},
	}
}
