package guardtest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// An Answer is a response, read to its end. The zero value is no answer.
type Answer struct {
	Status int // 0: there was no answer, and Err says why
	Header http.Header
	Body   string
	// Err is set if there was no answer, or one that broke off.
	Err error
}

// Location returns where a redirect leads, or "".
func (a Answer) Location() string { return a.Header.Get("Location") }

// String describes the answer for a message: its status, where it leads, and how
// its body begins.
func (a Answer) String() string {
	var b strings.Builder
	if a.Status == 0 {
		b.WriteString("no answer")
	} else {
		b.WriteString(strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status))))
	}
	if to := a.Location(); to != "" {
		b.WriteString(" to " + to)
	} else if body := excerpt(a.Body); body != "" {
		fmt.Fprintf(&b, " %q", body)
	}
	if a.Err != nil {
		fmt.Fprintf(&b, " (%v)", a.Err)
	}
	return b.String()
}

// maxExcerpt is how much of a body a message shows.
const maxExcerpt = 120

func excerpt(body string) string {
	body = strings.Join(strings.Fields(body), " ")
	if len(body) <= maxExcerpt {
		return body
	}
	cut := maxExcerpt
	for cut > 0 && !utf8.RuneStart(body[cut]) {
		cut--
	}
	return body[:cut] + "…"
}

func (a Answer) redirects() bool { return a.Status >= 300 && a.Status <= 399 && a.Location() != "" }

// path returns where a redirect leads without its query, in which the reason of a
// refusal stands.
func (a Answer) path() string {
	if !a.redirects() {
		return ""
	}
	u, err := url.Parse(a.Location())
	if err != nil {
		return a.Location()
	}
	return u.Path
}

// alike reports whether a visitor could not tell two answers apart: the same
// status, a redirect to the same place, and the words private in both or neither.
func (a Answer) alike(b Answer, private string) bool {
	return a.Status == b.Status && a.path() == b.path() && a.shows(private) == b.shows(private)
}

// shows reports whether the answer holds the words, wherever it can.
func (a Answer) shows(private string) bool {
	if private == "" {
		return false
	}
	if strings.Contains(a.Body, private) {
		return true
	}
	for _, values := range a.Header {
		for _, v := range values {
			if strings.Contains(v, private) {
				return true
			}
		}
	}
	return false
}
