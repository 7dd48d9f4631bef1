package guardtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// jar keeps the cookies of one host by the rules of a browser (RFC 6265bis 5.6),
// as far as a single host needs them. net/http/cookiejar cannot be copied, knows
// no name prefixes, and sends no Secure cookie to http://localhost, as browsers
// do: every host here is one that a browser trusts.
type jar struct {
	mu      sync.Mutex
	cookies map[cookieID]kept
	seen    map[string]bool // names that were ever set
	order   int
}

type cookieID struct{ name, path string }

type kept struct {
	value   string
	expires time.Time // zero: with the browser
	order   int
}

func newJar() *jar { return &jar{cookies: make(map[cookieID]kept), seen: make(map[string]bool)} }

func (j *jar) clone() *jar {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &jar{cookies: maps.Clone(j.cookies), seen: maps.Clone(j.seen), order: j.order}
}

// take keeps what a response to a request of that path has set, and returns an
// error for what every browser would refuse.
func (j *jar) take(res *http.Response, path string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var refused error
	for _, c := range res.Cookies() {
		if err := prefixed(c); err != nil {
			refused = err
			continue
		}
		id := cookieID{c.Name, c.Path}
		if !strings.HasPrefix(id.path, "/") {
			id.path = defaultPath(path)
		}
		j.seen[c.Name] = true
		k := kept{value: c.Value, order: j.order}
		if old, ok := j.cookies[id]; ok {
			k.order = old.order
		} else {
			j.order++
		}
		switch {
		case c.MaxAge < 0:
			k.expires = time.Unix(0, 0)
		case c.MaxAge > 0:
			k.expires = time.Now().Add(time.Duration(c.MaxAge) * time.Second)
		case !c.Expires.IsZero():
			k.expires = c.Expires
		}
		if k.over() {
			delete(j.cookies, id)
			continue
		}
		j.cookies[id] = k
	}
	return refused
}

func (k kept) over() bool { return !k.expires.IsZero() && !time.Now().Before(k.expires) }

// prefixed checks the rules of the name prefixes (RFC 6265bis 4.1.3).
func prefixed(c *http.Cookie) error {
	host, secure := hasPrefix(c.Name, "__Host-"), hasPrefix(c.Name, "__Secure-")
	switch {
	case (host || secure) && !c.Secure:
		return fmt.Errorf("a browser refuses the cookie %s, because it is not Secure; set Secure", c.Name)
	case host && c.Path != "/":
		return fmt.Errorf("a browser refuses the cookie %s, because its path is %q; set it to /", c.Name, c.Path)
	case host && c.Domain != "":
		return fmt.Errorf("a browser refuses the cookie %s, because it names the domain %s; leave Domain empty", c.Name, c.Domain)
	}
	return nil
}

func hasPrefix(name, prefix string) bool {
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// defaultPath is the path of a cookie that names none (RFC 6265 5.1.4).
func defaultPath(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// matches is RFC 6265 5.1.4.
func (id cookieID) matches(path string) bool {
	return path == id.path || strings.HasPrefix(path, id.path) &&
		(strings.HasSuffix(id.path, "/") || path[len(id.path)] == '/')
}

// forRequest returns the cookies that go with a request, longer paths first, else in
// the order in which they came.
func (j *jar) forRequest(path string) []*http.Cookie {
	if path == "" {
		path = "/"
	}
	return j.list(func(id cookieID, k kept) bool { return id.matches(path) })
}

func (j *jar) all() []*http.Cookie { return j.list(func(cookieID, kept) bool { return true }) }

func (j *jar) list(want func(cookieID, kept) bool) []*http.Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	var ids []cookieID
	for id, k := range j.cookies {
		if !k.over() && want(id, k) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b cookieID) int {
		if d := len(b.path) - len(a.path); d != 0 {
			return d
		}
		return j.cookies[a].order - j.cookies[b].order
	})
	list := make([]*http.Cookie, len(ids))
	for i, id := range ids {
		list[i] = &http.Cookie{Name: id.name, Value: j.cookies[id].value}
	}
	return list
}

// ever reports whether a cookie of that name was ever set.
func (j *jar) ever(name string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seen[name]
}

// set keeps a cookie for the whole host.
func (j *jar) set(name, value string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seen[name] = true
	j.cookies[cookieID{name, "/"}] = kept{value: value, order: j.order}
	j.order++
}

// drop forgets every cookie of that name.
func (j *jar) drop(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	maps.DeleteFunc(j.cookies, func(id cookieID, _ kept) bool { return id.name == name })
}
