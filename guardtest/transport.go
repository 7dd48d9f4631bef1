package guardtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime/debug"
)

// inProcess sends requests to a handler, as a server over TLS would, in the
// goroutine that sends them.
type inProcess struct {
	h    http.Handler
	addr string
}

// RoundTrip calls the handler. A panic in it is an error here, with its stack.
func (p inProcess) RoundTrip(out *http.Request) (res *http.Response, err error) {
	ctx, cancel := context.WithCancel(out.Context())
	defer cancel() // a server does that when the handler has returned
	in := out.Clone(ctx)
	in.RequestURI = out.URL.RequestURI()
	if in.URL, err = url.ParseRequestURI(in.RequestURI); err != nil {
		return nil, err
	}
	if in.Host == "" {
		in.Host = out.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.GetBody, in.RemoteAddr = nil, p.addr
	in.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: out.URL.Hostname()}

	defer func() {
		switch v := recover(); {
		case v == nil:
		case v == any(http.ErrAbortHandler):
			res, err = nil, http.ErrAbortHandler
		default:
			res, err = nil, fmt.Errorf("the handler panicked: %v\n%s", v, debug.Stack())
		}
	}()
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, in)
	return w.Result(), nil
}

// aborted reports whether the handler broke off on purpose.
func aborted(err error) bool { return errors.Is(err, http.ErrAbortHandler) }
