package guardtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// DefaultCookie is the name of the session cookie that [NewManager] sets, and
// that a [Browser] looks for unless it is told otherwise.
const DefaultCookie = "__Host-session"

// A Browser is a visitor with cookies of his own, a user agent and an address.
// Make one with [NewBrowser], without any network, or with [NewServerBrowser].
//
// It keeps cookies as browsers do: __Host- and __Secure- names are held to their
// rules, and a cookie that every browser would refuse fails the test. It follows
// no redirect unless Follow is set.
//
// The fields may be changed before the first request. The methods are safe for
// concurrent use then, and may be called from any goroutine: what goes wrong on
// the way is reported by Errorf and returned as an [Answer] with Status 0.
type Browser struct {
	// UserAgent and Addr are what the handler sees. Two browsers have the same
	// ones until they are changed: the guard takes them for one device. A browser
	// of NewServerBrowser has the address of its connection.
	UserAgent string
	Addr      string
	// Header is sent with every request that does not have these fields itself.
	// Default: the Accept of a browser that opens a page, so that the guard
	// answers with pages and redirects.
	Header http.Header
	// Cookie is the name of the session cookie. Default: [DefaultCookie].
	Cookie string
	// Follow makes the browser follow up to ten redirects within the host.
	Follow bool

	tb   testing.TB
	base *url.URL
	h    http.Handler      // nil for a server
	rt   http.RoundTripper // of a server
	jar  *jar
}

const (
	defaultAgent  = "guardtest browser"
	defaultAddr   = "192.0.2.1:4711" // TEST-NET-1
	acceptPage    = "text/html,application/xhtml+xml,*/*;q=0.8"
	acceptJSON    = "application/json"
	maxRedirects  = 10
	inProcessBase = "https://example.com"
)

// NewBrowser returns a browser without cookies that sends its requests to h, in
// the goroutine of the caller and as over TLS. It works in testing/synctest
// bubbles. A panic of h fails the test and goes no further. The answer is there
// when h has returned, and h cannot take over the connection: for that, use
// [NewServerBrowser].
func NewBrowser(tb testing.TB, h http.Handler) *Browser {
	tb.Helper()
	if h == nil {
		tb.Fatalf("guardtest: there is no handler to browse; give the one that the application serves, Guard.Protect included")
	}
	base, _ := url.Parse(inProcessBase)
	return &Browser{UserAgent: defaultAgent, Addr: defaultAddr, Header: http.Header{"Accept": {acceptPage}},
		tb: tb, base: base, h: h, jar: newJar()}
}

// NewServerBrowser returns a browser without cookies that sends its requests to
// a server, over the network. Secure cookies also go to a server without TLS, as
// browsers send them to http://localhost.
func NewServerBrowser(tb testing.TB, srv *httptest.Server) *Browser {
	tb.Helper()
	if srv == nil || srv.URL == "" {
		tb.Fatalf("guardtest: the server is not running; give one of httptest.NewServer, or call its Start")
	}
	base, err := url.Parse(srv.URL)
	if err != nil {
		tb.Fatalf("guardtest: the server has the address %q, which is none (%v); give one of httptest.NewServer", srv.URL, err)
	}
	return &Browser{UserAgent: defaultAgent, Header: http.Header{"Accept": {acceptPage}},
		tb: tb, base: base, rt: srv.Client().Transport, jar: newJar()}
}

// Clone returns a browser with the same cookies, device and address: a thief who
// has copied everything. Later cookies of one are not the other's. Change Addr
// or UserAgent of the clone to move the thief away.
func (b *Browser) Clone() *Browser {
	c := *b
	c.Header, c.jar = b.Header.Clone(), b.jar.clone()
	return &c
}

// Token returns the session token that the browser has, or "". If there never
// was a cookie of that name but there is one that could be a session's, the test
// fails, since Cookie names the wrong one.
func (b *Browser) Token() string {
	b.tb.Helper()
	for _, c := range b.jar.all() {
		if c.Name == b.cookie() {
			return c.Value
		}
	}
	if b.jar.ever(b.cookie()) {
		return ""
	}
	for _, c := range b.jar.all() {
		if isToken(c.Value) {
			b.tb.Errorf("guardtest: the browser never got a cookie %s, but it has %s, which looks like a session's; set Browser.Cookie to the manager's Cookie.Name", b.cookie(), c.Name)
			break
		}
	}
	return ""
}

// SetToken gives the browser a session token, as a thief or a planter of tokens
// would. The empty one takes the cookie away.
func (b *Browser) SetToken(token string) {
	b.jar.drop(b.cookie())
	if token != "" {
		b.jar.set(b.cookie(), token)
	}
}

func (b *Browser) cookie() string {
	if b.Cookie == "" {
		return DefaultCookie
	}
	return b.Cookie
}

// Get opens a page. target is a path, with a query if need be.
func (b *Browser) Get(target string) Answer {
	b.tb.Helper()
	return b.send(http.MethodGet, target, "", nil)
}

// Post sends a body of that content type.
func (b *Browser) Post(target, contentType, body string) Answer {
	b.tb.Helper()
	return b.send(http.MethodPost, target, contentType, []byte(body))
}

// PostForm sends a form.
func (b *Browser) PostForm(target string, form url.Values) Answer {
	b.tb.Helper()
	return b.send(http.MethodPost, target, formType, []byte(form.Encode()))
}

// PostJSON sends v as JSON and asks for JSON, as a script in a page does.
func (b *Browser) PostJSON(target string, v any) Answer {
	b.tb.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		b.tb.Errorf("guardtest: POST %s: the value cannot be sent as JSON: %v", target, err)
		return Answer{Err: err}
	}
	return b.send(http.MethodPost, target, jsonType, body)
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

func (b *Browser) send(method, target, contentType string, body []byte) Answer {
	b.tb.Helper()
	req, err := newRequest(method, target, contentType, body)
	if err != nil {
		b.tb.Errorf("guardtest: %s %s is no request: %v; give a path that begins with /", method, target, err)
		return Answer{Err: err}
	}
	return b.Do(req)
}

// newRequest makes a request for a path.
func newRequest(method, target, contentType string, body []byte) (*http.Request, error) {
	if !strings.HasPrefix(target, "/") {
		return nil, errors.New("the target is not a path")
	}
	req, err := http.NewRequest(method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if contentType == jsonType {
		req.Header.Set("Accept", acceptJSON)
	}
	return req, nil
}

// Do sends a request with the browser's cookies, user agent and header. Its URL
// may be a path only. The request itself is not changed; its body is used up.
func (b *Browser) Do(req *http.Request) Answer {
	b.tb.Helper()
	a := b.exchange(req)
	if a.Err != nil && !aborted(a.Err) {
		b.tb.Errorf("guardtest: %s %s: %v", req.Method, req.URL, a.Err)
	}
	return a
}

// exchange is Do, without a report.
func (b *Browser) exchange(req *http.Request) Answer {
	for hop := 0; ; hop++ {
		a := b.once(req)
		if !b.Follow || !a.redirects() || a.Err != nil {
			return a
		}
		if hop == maxRedirects {
			a.Err = errors.New("ten redirects in a row lead nowhere")
			return a
		}
		next, ok := b.next(req, a)
		if !ok {
			return a
		}
		req = next
	}
}

// next is the request that a redirect asks for, if it stays within the host.
func (b *Browser) next(req *http.Request, a Answer) (*http.Request, bool) {
	to, err := b.base.ResolveReference(req.URL).Parse(a.Location())
	if err != nil || to.Host != b.base.Host {
		return nil, false
	}
	method, body := req.Method, io.Reader(nil)
	if a.Status == http.StatusTemporaryRedirect || a.Status == http.StatusPermanentRedirect {
		if req.GetBody == nil && req.Body != nil && req.Body != http.NoBody {
			return nil, false
		}
		if req.GetBody != nil {
			if body, err = req.GetBody(); err != nil {
				return nil, false
			}
		}
	} else if method != http.MethodHead {
		method = http.MethodGet
	}
	next, err := http.NewRequestWithContext(req.Context(), method, to.String(), body)
	if err != nil {
		return nil, false
	}
	next.Header = req.Header.Clone()
	next.GetBody, next.ContentLength = req.GetBody, req.ContentLength
	if body == nil {
		next.Header.Del("Content-Type")
		next.GetBody, next.ContentLength = nil, 0
	}
	return next, true
}

// once sends one request and takes the cookies of its answer.
func (b *Browser) once(req *http.Request) Answer {
	out := req.Clone(req.Context())
	out.URL = b.base.ResolveReference(req.URL)
	if out.URL.Host != b.base.Host {
		return Answer{Err: fmt.Errorf("this browser knows the host %s only; give a path", b.base.Host)}
	}
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	for name, values := range b.Header {
		if _, own := out.Header[name]; !own {
			out.Header[name] = values
		}
	}
	if _, own := out.Header["User-Agent"]; !own {
		out.Header.Set("User-Agent", b.UserAgent)
	}
	for _, c := range b.jar.forRequest(out.URL.Path) {
		out.AddCookie(c)
	}
	rt := b.rt
	if b.h != nil {
		rt = inProcess{b.h, b.Addr}
	}
	res, err := rt.RoundTrip(out)
	if err != nil {
		return Answer{Err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return Answer{Status: res.StatusCode, Header: res.Header, Body: string(body), Err: errors.Join(err, b.jar.take(res, out.URL.Path))}
}
