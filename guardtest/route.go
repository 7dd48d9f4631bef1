package guardtest

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Route is a request that [App.Check] tries. Its Target or its Request must be
// set; the zero value of every other field has a meaning.
type Route struct {
	// Method is the request's. Default: POST with a Body, else GET.
	Method string
	// Target is the path, with a query if need be: a real one, not a pattern.
	Target string
	// Body and ContentType are what is sent. Default: nothing; with a Body, a form.
	Body        string
	ContentType string
	// Header is sent beside the browser's own.
	Header http.Header
	// Request makes the request where that takes more: a token from a form that
	// the browser has to fetch first, a number that must be new each time. Method,
	// Target, Body and ContentType are not used then.
	Request func(*Browser) (*http.Request, error)

	// Status is what a user who is logged in must get. Default: any below 400.
	Status int
	// Private are words that only a user who is logged in may see. He must see
	// them in the answer, its header included, and nobody else.
	Private string
	// Public declares that anybody is served here on purpose. What is checked then
	// is that anybody is, and that nobody else sees Private.
	Public bool
	// Within is how long an answer may take before the request is broken off, as
	// by a client that hangs up. Default: 10 s. Set it for streams.
	Within time.Duration
}

// Get is the route of a page.
func Get(target string) Route { return Route{Method: http.MethodGet, Target: target} }

// Post is the route of a form, with names and values in turn.
func Post(target string, form ...string) Route {
	return Route{Method: http.MethodPost, Target: target, Body: pairs(form).Encode(), ContentType: formType}
}

// Public declares a route public.
func Public(r Route) Route {
	r.Public = true
	return r
}

// Routes reads routes from lines such as "GET /account", or "/account" for GET.
func Routes(lines ...string) []Route {
	list := make([]Route, len(lines))
	for i, l := range lines {
		method, target, ok := strings.Cut(strings.TrimSpace(l), " ")
		if !ok {
			method, target = http.MethodGet, method
		}
		list[i] = Route{Method: method, Target: strings.TrimSpace(target)}
	}
	return list
}

// LoginForm returns a login by one form, with names and values in turn, for
// App.Login. It serves App.Logout as well.
func LoginForm(target string, form ...string) func(*Browser) Answer {
	return func(b *Browser) Answer {
		b.tb.Helper()
		return b.PostForm(target, pairs(form))
	}
}

// pairs makes a form. A name without a value has the empty one.
func pairs(list []string) url.Values {
	form := make(url.Values)
	for i := 0; i < len(list); i += 2 {
		value := ""
		if i+1 < len(list) {
			value = list[i+1]
		}
		form.Add(list[i], value)
	}
	return form
}

// String names the route in messages.
func (r Route) String() string {
	if r.Target == "" && r.Request != nil {
		return "a request made by Route.Request"
	}
	return strings.TrimSpace(r.method() + " " + r.Target)
}

func (r Route) method() string {
	switch {
	case r.Method != "":
		return strings.ToUpper(r.Method)
	case r.Body != "":
		return http.MethodPost
	}
	return http.MethodGet
}

// request makes the request.
func (r Route) request(b *Browser) (*http.Request, error) {
	var req *http.Request
	var err error
	if r.Request != nil {
		req, err = r.Request(b)
		if err == nil && req == nil {
			err = errors.New("Route.Request returned nothing; return a request or an error")
		}
	} else {
		contentType := r.ContentType
		if contentType == "" && r.Body != "" {
			contentType = formType
		}
		req, err = newRequest(r.method(), r.Target, contentType, []byte(r.Body))
	}
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	for name, values := range r.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	return req, nil
}
