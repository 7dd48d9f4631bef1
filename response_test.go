package scsguard_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// overTheWire runs a test on real servers that speak HTTP/1.1 and HTTP/2, and
// behind a reverse proxy.
func overTheWire(t *testing.T, setUp func(*app), f func(t *testing.T, base string, c *http.Client)) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, newManager())
			setUp(a)
			srv := httptest.NewUnstartedServer(a.serve)
			srv.EnableHTTP2 = http2
			srv.StartTLS() // a __Host- cookie needs it
			t.Cleanup(srv.Close)
			f(t, srv.URL, clientOf(t, srv, http2))
		})
	}
	t.Run("behind a reverse proxy", func(t *testing.T) {
		a := newApp(t, newManager())
		setUp(a)
		inner := httptest.NewServer(a.serve)
		t.Cleanup(inner.Close)
		target, err := url.Parse(inner.URL)
		require.NoError(t, err)
		proxy := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
		t.Cleanup(proxy.Close)
		f(t, proxy.URL, clientOf(t, proxy, false))
	})
}

func clientOf(t *testing.T, srv *httptest.Server, http2 bool) *http.Client {
	t.Helper()
	c := srv.Client()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	c.Jar = jar
	if !http2 {
		c.Transport.(*http.Transport).TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return c
}

func fetch(t *testing.T, c *http.Client, target string) (*http.Response, string) {
	t.Helper()
	res, err := c.Get(target)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res, string(body)
}

func TestEveryWayTheFirstByteTakesCarriesTheCookie(t *testing.T) {
	ways := map[string]func(w http.ResponseWriter, r *http.Request){
		"write":        func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") },
		"write-header": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) },
		"nothing":      func(http.ResponseWriter, *http.Request) {},
		"flush": func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "x")
		},
		"flush-controller": func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
		},
		"early-hints": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "x")
		},
		"read-from":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, strings.NewReader("x")) },
		"redirect":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/whoami", http.StatusSeeOther) },
		"not-modified": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) },
		"deadlines": func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
				panic(err)
			}
		},
	}
	overTheWire(t, func(a *app) {
		for name, way := range ways {
			a.mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) {
				if _, err := a.guard.Login(r.Context(), "alice"); err != nil {
					panic(err)
				}
				a.sm.Put(r.Context(), "way", name)
				way(w, r)
			})
		}
	}, func(t *testing.T, base string, c *http.Client) {
		for name := range ways {
			res, _ := fetch(t, c, base+"/"+name)
			require.Less(t, res.StatusCode, 500, name)
			_, who := fetch(t, c, base+"/whoami")
			require.Equal(t, "alice ", who, name)
			_, way := fetch(t, c, base+"/get?k=way")
			require.Equal(t, name, way)
			_, _ = fetch(t, c, base+"/logout")
		}
	})
}

func TestEarlyHintsReachTheClientBeforeTheResponse(t *testing.T) {
	a := newApp(t, newManager())
	a.mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		a.sm.Put(r.Context(), "hints", "kept")
		_, _ = io.WriteString(w, "body")
	})
	srv := httptest.NewTLSServer(a.serve)
	t.Cleanup(srv.Close)
	c := clientOf(t, srv, false)
	var hints []int
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { hints = append(hints, code); return nil },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/hints", nil)
	require.NoError(t, err)
	res, err := c.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, []int{103}, hints)
	_, kept := fetch(t, c, srv.URL+"/get?k=hints")
	require.Equal(t, "kept", kept, "what is put after the hints is kept")
}

func TestHeadersAndSizesSurvive(t *testing.T) {
	overTheWire(t, func(a *app) {
		a.mux.Handle("/file", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", time.Unix(1, 0), strings.NewReader("0123456789"))
		}))
	}, func(t *testing.T, base string, c *http.Client) {
		res, body := fetch(t, c, base+"/file")
		require.Equal(t, "0123456789", body)
		require.EqualValues(t, 10, res.ContentLength)
		res, err := c.Head(base + "/file")
		require.NoError(t, err)
		require.EqualValues(t, 10, res.ContentLength)
		req, err := http.NewRequest(http.MethodGet, base+"/file", nil)
		require.NoError(t, err)
		req.Header.Set("Range", "bytes=2-4")
		res, err = c.Do(req)
		require.NoError(t, err)
		part, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, "234", string(part))
		require.Equal(t, http.StatusPartialContent, res.StatusCode)
		require.Equal(t, []string{"Cookie"}, res.Header.Values("Vary"))
	})
}

func TestHijackCommitsAndCarriesNoLogin(t *testing.T) {
	a := newApp(t, newManager())
	hijack := func(w http.ResponseWriter) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_ = buf.Flush()
	}
	a.mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		a.sm.Put(r.Context(), "ws", "kept")
		hijack(w)
	})
	a.mux.HandleFunc("/ws-login", func(w http.ResponseWriter, r *http.Request) {
		_, err := a.guard.Login(r.Context(), "mallory")
		if err != nil {
			panic(err)
		}
		hijack(w)
	})
	srv := httptest.NewTLSServer(a.serve)
	t.Cleanup(srv.Close)
	c := clientOf(t, srv, false)
	_, _ = fetch(t, c, srv.URL+"/login?user=alice")
	res, _ := fetch(t, c, srv.URL+"/ws")
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	_, kept := fetch(t, c, srv.URL+"/get?k=ws")
	require.Equal(t, "kept", kept)

	stranger := clientOf(t, srv, false)
	res, _ = fetch(t, stranger, srv.URL+"/ws-login")
	require.Equal(t, http.StatusInternalServerError, res.StatusCode, "no cookie can go out, so the login is refused")
	list, err := a.guard.SessionsOf(context.Background(), "mallory")
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestALoginThatCannotBeDeliveredIsEnded(t *testing.T) {
	t.Run("the handler panics", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			a.mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) {
				_, err := a.guard.Login(r.Context(), "alice")
				require.NoError(t, err)
				panic(http.ErrAbortHandler)
			})
			b := a.browser()
			require.Panics(t, func() { b.get("/panic") })
			requireAborted(t, a)
		})
	})
	t.Run("the last commit fails", func(t *testing.T) {
		sm := newManager()
		store := &brokenStore{Store: sm.Store}
		sm.Store = store
		bubbleOn(t, sm, func(t *testing.T, a *app) {
			a.mux.HandleFunc("/fail", func(w http.ResponseWriter, r *http.Request) {
				_, err := a.guard.Login(r.Context(), "alice")
				require.NoError(t, err)
				a.sm.Put(r.Context(), "user", "alice")
				store.set(errDown, nil, nil)
				_, err = io.WriteString(w, "welcome")
				require.Error(t, err)
			})
			b := a.browser()
			res := b.get("/fail")
			require.Equal(t, http.StatusServiceUnavailable, res.Code)
			require.Empty(t, b.token())
			requireAborted(t, a)
		}, withMemoryRegistry)
	})
	t.Run("the session cannot be encoded", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			a.mux.HandleFunc("/unencodable", func(w http.ResponseWriter, r *http.Request) {
				_, err := a.guard.Login(r.Context(), "alice")
				require.NoError(t, err)
				a.sm.Put(r.Context(), "func", func() {})
			})
			a.sm.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) { http.Error(w, "own page", 500) }
			res := a.browser().get("/unencodable")
			require.Equal(t, 500, res.Code)
			require.Equal(t, "own page\n", res.Body, "that is the application's mistake, so its ErrorFunc answers")
			requireAborted(t, a)
		})
	})
}

func requireAborted(t *testing.T, a *app) {
	t.Helper()
	list, err := a.guard.SessionsOf(context.Background(), "alice")
	require.NoError(t, err)
	require.Empty(t, list, "it takes no place")
	time.Sleep(time.Second)
	logouts := a.sink.events(t, scsguard.EventLogout)
	require.Len(t, logouts, 1)
	require.Equal(t, "aborted", logouts[0].str("reason"))
}

func TestARotationIsDeliveredWithTheErrorPage(t *testing.T) {
	sm := newManager()
	store := &brokenStore{Store: sm.Store}
	sm.Store = store
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/fail", func(w http.ResponseWriter, r *http.Request) {
			_, err := a.guard.Elevate(r.Context(), "admin")
			require.NoError(t, err)
			a.sm.Put(r.Context(), "role", "admin")
			store.set(errDown, nil, nil)
		})
		b := a.browser()
		b.login(t, "alice")
		require.Equal(t, http.StatusServiceUnavailable, b.get("/fail").Code)
		store.set(nil, nil, nil)
		time.Sleep(time.Minute)
		require.Equal(t, "alice admin", b.whoami(), "the old token is gone, so the browser must get the new one")
	}, withMemoryRegistry)
}

func TestPagesOfALoggedInUserAreNotStored(t *testing.T) {
	type page struct{ contentType, cacheControl, body string }
	pages := map[string]page{
		"/html": {"text/html; charset=utf-8", "", "<p>"}, "/json": {"application/json", "", "{}"},
		"/problem": {"application/problem+json", "", "{}"}, "/sniffed": {"", "", "<!doctype html><p>secret"},
		"/template": {"", "", "\n  "}, "/text": {"", "", "plain"},
		"/css": {"text/css", "", "p{}"}, "/own": {"text/html", "max-age=60", "<p>"},
	}
	want := map[string]string{"/html": "no-store", "/json": "no-store", "/problem": "no-store", "/sniffed": "no-store", "/template": "no-store", "/text": "", "/css": "", "/own": "max-age=60"}
	bubble(t, func(t *testing.T, a *app) {
		for path, p := range pages {
			a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				if p.contentType != "" {
					w.Header().Set("Content-Type", p.contentType)
				}
				if p.cacheControl != "" {
					w.Header().Set("Cache-Control", p.cacheControl)
				}
				_, _ = io.WriteString(w, p.body)
				_, _ = io.WriteString(w, "<p>more") // net/http joins what is written in pieces
			})
		}
		anonymous, alice := a.browser(), a.browser()
		alice.login(t, "alice")
		for path := range pages {
			require.Equal(t, want[path], alice.get(path).Header.Get("Cache-Control"), path)
			require.Equal(t, pages[path].cacheControl, anonymous.get(path).Header.Get("Cache-Control"), path)
		}
		require.Equal(t, "no-store", alice.get("/logout").Header.Get("Cache-Control"), "nor the answer to the logout")
	})
}

func TestMountingTwiceAndBesideLoadAndSave(t *testing.T) {
	t.Run("Protect in Protect", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			b := newBrowser(a.guard.Protect(a.guard.LoadAndSave(a.serve)))
			require.Equal(t, 200, b.get("/login?user=alice").Code)
			require.Equal(t, "alice", b.whoami())
			res := b.get("/elevate?role=admin")
			require.Len(t, res.Header.Values("Set-Cookie"), 1)
			require.Equal(t, []string{"Cookie"}, res.Header.Values("Vary"))
		})
	})
	t.Run("LoadAndSave in Protect", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			b := newBrowser(a.guard.Protect(a.sm.LoadAndSave(a.mux)))
			for _, path := range []string{"/login?user=alice", "/renew", "/elevate?role=admin", "/put?k=a&v=b"} {
				res := b.get(path)
				require.Equal(t, 200, res.Code)
				require.Len(t, res.Header.Values("Set-Cookie"), 1, path)
			}
			require.Equal(t, "alice admin", b.whoami())
			res := b.get("/logout")
			require.Len(t, res.Header.Values("Set-Cookie"), 1)
			require.Empty(t, b.token())
		})
	})
	t.Run("Protect in LoadAndSave is reported", func(t *testing.T) {
		bubble(t, func(t *testing.T, a *app) {
			var reported error
			a.sm.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) {
				reported = err
				w.WriteHeader(http.StatusInternalServerError)
			}
			b := newBrowser(a.sm.LoadAndSave(a.serve))
			require.Equal(t, 500, b.get("/whoami").Code)
			require.ErrorContains(t, reported, "mount Protect in its place")
			require.False(t, a.guard.Health().OK)
		})
	})
	t.Run("two managers", func(t *testing.T) {
		customers, staff := newManager(), newManager()
		staff.Cookie.Name = "__Host-staff"
		bubbleOn(t, customers, func(t *testing.T, a *app) {
			b := newApp(t, staff)
			a.handle("/both", func(w http.ResponseWriter, r *http.Request) error {
				if _, err := a.guard.Login(r.Context(), "alice"); err != nil {
					return err
				}
				_, err := b.guard.Login(r.Context(), "root")
				return err
			})
			a.handle("/who", func(w http.ResponseWriter, r *http.Request) error {
				c, _ := a.guard.Current(r.Context())
				s, _ := b.guard.Current(r.Context())
				_, err := fmt.Fprint(w, c.User, " ", s.User)
				return err
			})
			br := newBrowser(a.guard.Protect(b.guard.Protect(a.mux)))
			require.Len(t, br.get("/both").Header.Values("Set-Cookie"), 2)
			require.Equal(t, "alice root", br.get("/who").Body)
			require.NotEqual(t, br.cookies["__Host-session"], br.cookies["__Host-staff"])
		})
	})
}

func TestForeignCookiesOfTheSessionsNameAreStripped(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/own-cookie", func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "theme", Value: "dark"})
			token, expiry, err := a.sm.Commit(r.Context())
			require.NoError(t, err)
			a.sm.WriteSessionCookie(r.Context(), w, token, expiry)
		})
		b := a.browser()
		b.login(t, "alice")
		res := b.get("/own-cookie")
		require.Len(t, res.Header.Values("Set-Cookie"), 1)
		require.Equal(t, "dark", b.cookies["theme"])
		require.Equal(t, "alice", b.whoami())
	})
}

func TestAWriterWithoutOptionalMethodsIsServed(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		a.mux.HandleFunc("/all", func(w http.ResponseWriter, r *http.Request) {
			_, _, err := http.NewResponseController(w).Hijack()
			require.ErrorIs(t, err, http.ErrNotSupported)
			require.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrNotSupported)
			n, err := io.Copy(w, strings.NewReader("x"))
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
		})
		w := &plainWriter{header: make(http.Header)}
		a.serve.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/all", nil))
		require.Equal(t, "x", w.String())
	})
}

type plainWriter struct {
	bytes.Buffer
	header http.Header
	code   int
}

func (w *plainWriter) Header() http.Header  { return w.header }
func (w *plainWriter) WriteHeader(code int) { w.code = code }

// An application may write the cookie itself, as it had to for such a handler before.
func TestTheErrorPageOfALoginInAConnectionThatIsTakenOverCarriesNoCookieOfIt(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		server, _ := net.Pipe()
		a.mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
			_, err := a.guard.Login(r.Context(), "alice")
			require.NoError(t, err)
			a.sm.WriteSessionCookie(r.Context(), w, a.sm.Token(r.Context()), a.sm.Deadline(r.Context()))
			_, _, err = http.NewResponseController(w).Hijack()
			require.Error(t, err)
		})
		rec := httptest.NewRecorder()
		a.serve.ServeHTTP(taken{rec, server}, a.browser().request(http.MethodGet, "/ws"))
		require.Equal(t, http.StatusInternalServerError, rec.Code)
		require.Empty(t, rec.Header().Values("Set-Cookie"))
	})
}
