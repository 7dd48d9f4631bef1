package scsguard

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

// response saves the session before the first byte of the response, whichever
// way that byte takes, and lets no body out if the session could not be saved.
type response struct {
	w   http.ResponseWriter
	r   *request
	req *http.Request

	begun  bool // the session is saved; the header may go out
	failed bool // it could not be saved, and an error page went out instead
	told   bool // it has the cookie of a login, or of another change of token
	saved  snapshot
}

func (w *response) guard() *Guard { return w.r.carrier.g }

// errNotSent is what a handler gets for a body that does not go out.
var errNotSent = errors.New("scsguard: the session could not be saved, so the response was replaced by an error page")

func (w *response) Header() http.Header { return w.w.Header() }

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.w }

func (w *response) WriteHeader(code int) {
	if code >= 100 && code <= 199 && code != http.StatusSwitchingProtocols {
		if !w.begun {
			w.stripCookies()
			w.w.WriteHeader(code) // informational: the response itself is still to come
		}
		return
	}
	if w.begin(true, code) {
		w.w.WriteHeader(code)
	}
}

func (w *response) Write(b []byte) (int, error) {
	if !w.begin(couldBePage(b), http.StatusOK) {
		return 0, errNotSent
	}
	return w.w.Write(b)
}

// WriteString is for io.WriteString, which would copy the string.
func (w *response) WriteString(s string) (int, error) {
	if !w.begin(couldBePage(s), http.StatusOK) {
		return 0, errNotSent
	}
	return io.WriteString(w.w, s)
}

// ReadFrom lets the server use sendfile.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	if !w.begin(true, http.StatusOK) {
		return 0, errNotSent
	}
	if rf, ok := w.w.(io.ReaderFrom); ok {
		return rf.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w.w}, src)
}

// Flush is for those who ask for an http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is for http.ResponseController.
func (w *response) FlushError() error {
	if !w.begin(true, http.StatusOK) {
		return errNotSent
	}
	return http.NewResponseController(w.w).Flush()
}

// Hijack hands over the connection. The guard's cookie cannot go out on it. So
// if the handler has logged somebody in, or changed the token, Hijack fails; the
// login is taken back, and the cookie goes out with the error page.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !canHijack(w.w) {
		return nil, nil, http.ErrNotSupported
	}
	if !w.begun {
		w.r.await()
		ctx := w.req.Context()
		if _, undelivered := w.r.waiting(); undelivered {
			w.begun = true
			w.stripCookies()
			w.refuse(errors.Join(ErrResponseStarted, w.guard().abort(ctx, w.r)))
			return nil, nil, errNotSent
		}
		if _, rotated := w.r.rotatedTo(); rotated || w.r.openFate() != nil {
			if w.begin(true, http.StatusInternalServerError) {
				w.refuse(ErrResponseStarted)
			}
			return nil, nil, errNotSent
		}
		w.begun = true
		if err := w.guard().saveWithoutCookie(ctx, w.r); err != nil {
			w.refuse(err)
			return nil, nil, errNotSent
		}
		w.saved = w.guard().snapshot(ctx, w.r, w.guard().sm.Status(ctx))
		w.guard().tellPostponed(ctx, w.r)
	}
	if w.failed {
		return nil, nil, errNotSent
	}
	conn, buffered, err := http.NewResponseController(w.w).Hijack()
	if c := w.r.cutOff(); err == nil && c != nil {
		conn = c.takeOver(conn)
	}
	return conn, buffered, err
}

// canHijack reports whether the connection below can be taken over. HTTP/2's
// cannot, and a handler that finds out goes on with an ordinary answer.
func canHijack(w http.ResponseWriter) bool {
	for {
		switch t := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

// begin saves the session if that has not been done, and reports whether the
// response may go out. page says that the body, as far as it is known, could be one.
func (w *response) begin(page bool, code int) bool {
	if w.begun {
		return !w.failed
	}
	w.begun = true
	ctx := w.req.Context()
	w.stripCookies()
	cached := cacheable(w.Header(), page, code) // asked first: scs writes a Cache-Control of its own
	status, err := w.guard().save(ctx, w.r, w.w)
	if err != nil {
		w.refuse(err)
		return false
	}
	if cached && w.r.loggedInEver() && w.Header().Get("Cache-Control") != "no-store" {
		w.Header()["Cache-Control"] = append([]string{"no-store"}, w.Header()["Cache-Control"]...)
	}
	w.saved = w.guard().snapshot(ctx, w.r, status)
	w.guard().tellPostponed(ctx, w.r) // now: the handler may stream for hours
	return true
}

// finish saves what has not been saved when the handler returns.
func (w *response) finish() {
	w.r.await()
	if !w.begun {
		w.begin(true, http.StatusOK)
		return
	}
	if !w.failed {
		w.guard().saveLate(w.req.Context(), w.r, w.saved)
	}
}

// discarded reports whether nothing of the response goes out, since the visitor was
// answered by http.TimeoutHandler. Its writer does not say so before it is used.
func (w *response) discarded() bool {
	if w.req.Context().Err() == nil {
		return false
	}
	_, err := w.w.Write(nil)
	return errors.Is(err, http.ErrHandlerTimeout)
}

// refuse replaces the handler's answer by an error page. What the handler said
// about its own answer goes with it, and its cookies: they may be of a login that
// was taken back.
func (w *response) refuse(err error) {
	w.failed = true
	h := w.Header()
	w.dropCookies(func(cookie string) bool { return !w.isSessionCookie(cookie) })
	for _, name := range []string{
		"Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Location",
		"Content-Range", "Content-Type", "Etag", "Expires", "Last-Modified", "Link", "Location", "Refresh", "Trailer",
	} {
		h.Del(name)
	}
	w.guard().fail(w.w, w.req, err)
}

// stripCookies removes session and remember-me cookies that the guard did not write: those of a
// LoadAndSave within, or of an application that calls WriteSessionCookie. They
// may carry a token that is no longer the right one.
func (w *response) stripCookies() { w.dropCookies(w.isSessionCookie) }

func (w *response) isSessionCookie(cookie string) bool {
	return isCookie(cookie, w.guard().sm.Cookie.Name) || w.guard().cfg.Remember.Store != nil && isCookie(cookie, w.guard().cfg.Remember.Cookie)
}

func isCookie(setCookie, name string) bool { return strings.HasPrefix(setCookie, name+"=") }

func (w *response) dropCookies(drop func(string) bool) {
	cookies := w.Header()["Set-Cookie"]
	if len(cookies) == 0 {
		return
	}
	if kept := slices.DeleteFunc(slices.Clone(cookies), drop); len(kept) > 0 {
		w.Header()["Set-Cookie"] = kept
	} else {
		w.Header().Del("Set-Cookie")
	}
}

func (r *request) loggedInEver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wasLive
}

// couldBePage reports whether a body could be a page, by its first piece: whether it
// begins with nothing that net/http, which will look at more of it, can never take
// for one.
func couldBePage[T string | []byte](body T) bool {
	for i := range len(body) {
		switch body[i] {
		case '\t', '\n', '\f', '\r', ' ':
		default:
			return body[i] == '<'
		}
	}
	return true
}

// cacheable reports whether a browser could show the response again after the
// logout, from its cache or its back button: a page or JSON for which the
// handler has said nothing else. page says what a body without a Content-Type is.
func cacheable(h http.Header, page bool, code int) bool {
	if header(h, "Cache-Control") != "" || code == http.StatusNotModified {
		return false
	}
	ct := header(h, "Content-Type")
	if ct == "" {
		return page
	}
	ct, _, _ = strings.Cut(strings.ToLower(ct), ";")
	ct = strings.TrimSpace(ct)
	return ct == "text/html" || ct == "application/xhtml+xml" || ct == "application/json" || strings.HasSuffix(ct, "+json")
}
