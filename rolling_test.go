package scsguard_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// rollingDoc shows the tables that this test makes. `make rolling` writes them
// there.
const rollingDoc = "docs/rolling-deploy.md"

// rollingSteps are what a browser does on one instance, by the handlers of an
// application that has never heard of the guard.
var rollingSteps = []struct{ name, path string }{
	{"login", "/plain/login?user=alice"},
	{"request", "/plain/put"},
	{"renew", "/plain/renew"},
	{"logout", "/plain/logout"},
	{"logout by Remove", "/plain/logout-without-renewal"},
	{"another user's login", "/plain/login?user=bob"},
}

// While instances with and without the guard share a store, whatever one of them
// has done is right on the other, or costs a new login: it never keeps alive what
// was ended.
func TestARollingDeployAndARollbackAreSafe(t *testing.T) {
	doc, err := os.ReadFile(rollingDoc)
	require.NoError(t, err)
	page := string(doc)
	for _, dir := range []struct {
		name    string
		guarded bool // the first of the two instances
	}{{"without the guard, then with it", false}, {"with the guard, then without it", true}} {
		var table strings.Builder
		fmt.Fprintf(&table, "| first, %s | then | with the guard | without it | in the trail |\n|---|---|---|---|---|\n", dir.name)
		for _, first := range rollingSteps {
			for _, second := range rollingSteps {
				row := ""
				t.Run(fmt.Sprintf("%s: %s, %s", dir.name, first.name, second.name), func(t *testing.T) {
					arriving(t, func(t *testing.T, a *app, plain http.Handler) {
						row = rollingRow(t, a, plain, dir.guarded, first, second)
					})
				})
				fmt.Fprintf(&table, "| %s | %s | %s |\n", first.name, second.name, row)
			}
		}
		begin, end := "<!-- table: "+dir.name+" -->\n", "<!-- end -->"
		_, rest, found := strings.Cut(page, begin)
		require.True(t, found, "%s has no place for the table %q", rollingDoc, dir.name)
		old, _, found := strings.Cut(rest, end)
		require.True(t, found)
		page = strings.Replace(page, begin+old+end, begin+table.String()+end, 1)
	}
	if os.Getenv("ROLLING") == "write" {
		require.NoError(t, os.WriteFile(rollingDoc, []byte(page), 0o644))
		return
	}
	require.Equal(t, page, string(doc), "what happens is no longer what %s says; if it is right, run `make rolling`", rollingDoc)
}

// rollingRow lets a browser do one step on each of two instances, and returns
// what has become of it.
func rollingRow(t *testing.T, a *app, plain http.Handler, guarded bool, first, second struct{ name, path string }) string {
	one, two := plain, a.serve
	if guarded {
		one, two = two, one
	}
	b := newBrowser(one)
	var tokens []string // all that the browser has ever had
	visit := func(h http.Handler, path string) {
		b.on(h).get(path)
		if token := b.token(); token != "" && (len(tokens) == 0 || tokens[len(tokens)-1] != token) {
			tokens = append(tokens, token)
		}
		time.Sleep(time.Minute)
	}
	if first.name != "login" {
		visit(one, "/plain/login?user=alice")
	}
	visit(one, first.path)
	visit(two, second.path)

	onGuarded, onPlain := who(b.on(a.serve)), who(b.on(plain))
	synctest.Wait()
	trail := trailOf(t, a)
	wanted := map[string]string{"login": "alice", "another user's login": "bob", "logout": "nobody", "logout by Remove": "nobody"}
	if want, decided := wanted[second.name]; decided && !guarded {
		require.Equal(t, want, onGuarded, "the guard's own instance does what it was asked to")
	} else if decided {
		require.Contains(t, []string{want, "nobody"}, onGuarded, "what the other one was asked to do may cost a new login, never less")
	}
	require.Equal(t, onPlain, onGuarded, "both serve the same user")
	for _, token := range tokens { // a thief with an old one
		if token != b.token() {
			thief := a.browser()
			thief.cookies["__Host-session"] = token
			require.Equal(t, "nobody", who(thief), "an old token is dead under the guard")
			require.Equal(t, "nobody", who(thief.on(plain)), "and without it")
		}
	}
	return fmt.Sprintf("%s | %s | %s", onGuarded, onPlain, trail)
}

// An instance without the guard tells the trail nothing. The one that follows its
// renewal says which deadlines the session has; the request that came to it moves them.
func TestARenewalThatIsFollowedNamesTheDeadlines(t *testing.T) {
	arriving(t, func(t *testing.T, a *app, plain http.Handler) {
		b := newBrowser(a.serve)
		b.get("/plain/login?user=alice")
		start := a.live("alice")[0]
		time.Sleep(5 * time.Minute)
		b.on(plain).get("/plain/renew")
		time.Sleep(time.Minute)
		require.Equal(t, "alice", who(b.on(a.serve)))
		synctest.Wait()
		now := a.live("alice")[0]
		require.Equal(t, start.IdleExpires.Add(6*time.Minute), now.IdleExpires)
		renew := a.sink.events(t, scsguard.EventRenew)
		require.Len(t, renew, 1)
		require.Equal(t, 2.0, renew[0]["session_seq"])
		for name, want := range map[string]time.Time{"idle_expires_old": start.IdleExpires, "absolute_expires_old": start.AbsoluteExpires,
			"idle_expires": start.IdleExpires, "absolute_expires": now.AbsoluteExpires} {
			require.Equal(t, want.UTC().Format("2006-01-02T15:04:05.000000Z"), renew[0].str(name), name)
		}
	})
}

func who(b *browser) string {
	if res := b.get("/plain/whoami"); res.Code == http.StatusOK {
		return res.Body
	}
	return "nobody"
}

// trailOf names the events, without activity.
func trailOf(t *testing.T, a *app) string {
	var names []string
	ends := make(map[string]bool)
	for _, e := range a.sink.events(t) {
		name := e.str("event")
		if e.str("reason") == "activity" || scsguard.EventKind(name) == scsguard.EventConcurrentWarning {
			continue
		}
		if strings.HasSuffix(e.str("id"), "/end") {
			require.False(t, ends[e.str("id")], "a session ended twice")
			ends[e.str("id")] = true
			name += " (" + e.str("reason") + ")"
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
