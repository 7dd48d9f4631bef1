package guardtest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/guardtest"
)

// mirror answers with what it was sent.
var mirror = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s|%s|%s|%s|%s|%s|tls %v|%s", r.Method, r.Host, r.URL, r.RemoteAddr, r.UserAgent(),
		r.Header.Get("Accept"), r.Header.Get("Content-Type"), r.Header.Get("Cookie"), r.TLS != nil, body)
})

func TestTheBrowserSendsWhatABrowserSends(t *testing.T) {
	b := guardtest.NewBrowser(t, mirror)
	page := "text/html,application/xhtml+xml,*/*;q=0.8"
	require.Equal(t, "GET example.com /a?b=c|192.0.2.1:4711|guardtest browser|"+page+"|||tls true|", b.Get("/a?b=c").Body)
	require.Contains(t, b.PostForm("/a", url.Values{"b": {"c d"}}).Body, page+"|application/x-www-form-urlencoded||tls true|b=c+d")
	require.Contains(t, b.PostJSON("/a", map[string]int{"b": 1}).Body, `|application/json|application/json||tls true|{"b":1}`)
	require.Contains(t, b.Post("/a", "text/plain", "hi").Body, "text/plain||tls true|hi")
	b.UserAgent, b.Addr, b.Header = "other", "[2001:db8::1]:1", http.Header{"Accept": {"x/y"}}
	b.SetToken("planted")
	require.Equal(t, "GET example.com /|[2001:db8::1]:1|other|x/y||__Host-session=planted|tls true|", b.Get("/").Body)
	req := httptest.NewRequest(http.MethodPut, "/up", strings.NewReader("body"))
	req.Header.Set("User-Agent", "own")
	require.Equal(t, "PUT example.com /up|[2001:db8::1]:1|own|x/y||__Host-session=planted|tls true|body", b.Do(req).Body)
	require.Empty(t, req.Header.Get("Cookie"), "the request was changed")
}

func TestWhatCannotBeSentFails(t *testing.T) {
	for word, send := range map[string]func(*guardtest.Browser) guardtest.Answer{
		"begins with /":     func(b *guardtest.Browser) guardtest.Answer { return b.Get("https://example.com/") },
		"is no request":     func(b *guardtest.Browser) guardtest.Answer { return b.Get("/%zz") },
		"cannot be sent as": func(b *guardtest.Browser) guardtest.Answer { return b.PostJSON("/", func() {}) },
		"example.com only": func(b *guardtest.Browser) guardtest.Answer {
			return b.Do(httptest.NewRequest("GET", "http://other.test/", nil))
		},
		"the handler panicked:": func(b *guardtest.Browser) guardtest.Answer { return b.Get("/panic") },
	} {
		wantReport(t, reports(func(tb testing.TB) {
			a := send(guardtest.NewBrowser(tb, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("out of order") })))
			require.Zero(t, a.Status)
			require.Error(t, a.Err)
			require.Contains(t, a.String(), "no answer")
		}), word)
	}
	wantReport(t, reports(func(tb testing.TB) { guardtest.NewBrowser(tb, nil) }), "no handler to browse")
	wantReport(t, reports(func(tb testing.TB) { guardtest.NewServerBrowser(tb, httptest.NewUnstartedServer(nil)) }), "not running")
}

func TestAHandlerMayBreakOff(t *testing.T) {
	b := guardtest.NewBrowser(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	require.ErrorIs(t, b.Get("/").Err, http.ErrAbortHandler)
}

// setter sets the cookie in the query and answers with those it got.
var setter = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	for _, c := range r.URL.Query()["c"] {
		w.Header().Add("Set-Cookie", c)
	}
	fmt.Fprint(w, r.Header.Get("Cookie"))
})

func set(cookies ...string) string { return "?" + url.Values{"c": cookies}.Encode() }

func TestTheBrowserKeepsCookiesAsBrowsersDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guardtest.NewBrowser(t, setter)
		b.Get("/a/b" + set("here=1", "root=1; Path=/", "minute=1; Path=/; Max-Age=60", "day=1; Path=/; Expires=Sun, 02 Jan 2000 00:00:00 GMT"))
		require.Equal(t, "root=1; minute=1; day=1", b.Get("/").Body)
		require.Equal(t, "here=1; root=1; minute=1; day=1", b.Get("/a").Body)
		require.Equal(t, "here=1; root=1; minute=1; day=1", b.Get("/a/x").Body)
		require.Equal(t, "root=1; minute=1; day=1", b.Get("/ab").Body)
		time.Sleep(time.Minute)
		require.Equal(t, "root=1; day=1", b.Get("/").Body)
		time.Sleep(24 * time.Hour)
		b.Get("/" + set("root=2; Path=/", "new=1"))
		require.Equal(t, "root=2; new=1", b.Get("/").Body)
		b.Get("/" + set("root=; Path=/; Max-Age=0", "new=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"))
		require.Empty(t, b.Get("/").Body)
	})
}

func TestACookieThatBrowsersRefuseFails(t *testing.T) {
	for cookie, words := range map[string]string{
		"__Host-session=1; Path=/":                             "not Secure",
		"__Host-session=1; Path=/a; Secure":                    `path is "/a"`,
		"__Host-session=1; Secure":                             `path is ""`,
		"__Host-session=1; Path=/; Secure; Domain=example.com": "domain example.com",
		"__Secure-session=1; Path=/":                           "not Secure",
	} {
		wantReport(t, reports(func(tb testing.TB) {
			b := guardtest.NewBrowser(tb, setter)
			b.Get("/" + set(cookie))
			require.Empty(t, b.Get("/").Body)
		}), "a browser refuses the cookie", words)
	}
}

func TestAThiefHasTheSameCookiesAndNoLaterOnes(t *testing.T) {
	b := newBank(t)
	alice := b.Browser(t)
	loginAlice(alice)
	thief := alice.Clone()
	require.Equal(t, alice.Token(), thief.Token())
	require.Equal(t, "account of alice", thief.Get("/account").Body)
	alice.PostForm("/logout", nil)
	require.Empty(t, alice.Token())
	require.NotEmpty(t, thief.Token())
	require.Equal(t, http.StatusUnauthorized, thief.Get("/account").Status)
	thief.SetToken("")
	require.Empty(t, thief.Token())
}

func TestATokenByAnotherNameFails(t *testing.T) {
	token := strings.Repeat("A", 43)
	wantReport(t, reports(func(tb testing.TB) {
		b := guardtest.NewBrowser(tb, setter)
		require.Empty(t, b.Token())
		b.Get("/" + set("theme=dark", "sid="+token))
		require.Empty(t, b.Token())
		b.Cookie = "sid"
		require.Equal(t, token, b.Token())
	}), "never got a cookie __Host-session", "sid", "set Browser.Cookie")
}

func TestTheBrowserFollowsOnlyIfToldTo(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/end", mirror)
	mux.Handle("/see", http.RedirectHandler("/end?x=1", http.StatusSeeOther))
	mux.Handle("/again", http.RedirectHandler("end", http.StatusTemporaryRedirect))
	mux.Handle("/away", http.RedirectHandler("https://other.test/", http.StatusSeeOther))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusSeeOther))
	b := guardtest.NewBrowser(t, mux)
	require.Equal(t, "/end?x=1", b.Get("/see").Location())
	require.Equal(t, "303 See Other to /end?x=1", b.Get("/see").String())
	b.Follow = true
	require.Contains(t, b.PostForm("/see", url.Values{"a": {"b"}}).Body, "GET example.com /end?x=1|")
	require.Contains(t, b.PostForm("/again", url.Values{"a": {"b"}}).Body, "POST example.com /end|")
	require.Contains(t, b.PostForm("/again", url.Values{"a": {"b"}}).Body, "tls true|a=b")
	require.Equal(t, "https://other.test/", b.Get("/away").Location())
	wantReport(t, reports(func(tb testing.TB) {
		b := guardtest.NewBrowser(tb, mux)
		b.Follow = true
		b.Get("/loop")
	}), "ten redirects")
}

func TestTheBrowserVisitsServers(t *testing.T) {
	for name, start := range map[string]func(http.Handler) *httptest.Server{"http": httptest.NewServer, "https": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			b := newBank(t)
			srv := start(b.Handler)
			defer srv.Close()
			alice := guardtest.NewServerBrowser(t, srv)
			loginAlice(alice)
			thief := alice.Clone()
			require.Equal(t, "account of alice", thief.Get("/account").Body)
			guardtest.ExpireIdle(t, b.Registry, alice.Token())
			require.Equal(t, http.StatusUnauthorized, thief.Get("/account").Status)
			srv.Close()
			wantReport(t, reports(func(tb testing.TB) { guardtest.NewServerBrowser(tb, srv).Get("/") }), "GET /")
		})
	}
}

func TestTheBrowserIsSafeForConcurrentUse(t *testing.T) {
	b := newBank(t)
	alice := b.Browser(t)
	loginAlice(alice)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if a := alice.Get("/account"); a.Status != http.StatusOK {
					t.Errorf("%v", a)
				}
				_ = alice.Clone().Token()
			}
		})
	}
	all.Wait()
}
