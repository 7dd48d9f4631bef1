package scsguard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// The recipes of docs/policies.md, word by word.

// Administrators have little time, one session and one device.
func byRole(_ context.Context, s scsguard.Subject) scsguard.Policy {
	if s.Role != "administrator" {
		return scsguard.Policy{} // as configured for all
	}
	return scsguard.Policy{
		Timeouts: scsguard.Timeouts{Idle: 5 * time.Minute, Absolute: time.Hour},
		Limit:    &scsguard.Limit{Max: 1, OnExceed: scsguard.Deny},
		Binding:  scsguard.Binding{UserAgent: scsguard.End},
	}
}

var office = netip.MustParsePrefix("203.0.113.0/24")

// Outside of the office a session ends early, and is bound to its network.
func byNetwork(_ context.Context, s scsguard.Subject) scsguard.Policy {
	if office.Contains(s.IP) { // false for an address that is not known
		return scsguard.Policy{}
	}
	return scsguard.Policy{
		Timeouts: scsguard.Timeouts{Idle: 5 * time.Minute},
		Binding:  scsguard.Binding{Network: scsguard.StepUp},
	}
}

// The stronger the proof, the longer it holds (NIST SP 800-63B-4 2.2.3).
func byAAL(_ context.Context, s scsguard.Subject) scsguard.Policy {
	switch {
	case s.AAL >= 2:
		return scsguard.Policy{Timeouts: scsguard.Timeouts{Idle: time.Hour, Absolute: 12 * time.Hour}}
	default: // also if nobody has said how strong it was
		return scsguard.Policy{Timeouts: scsguard.Timeouts{Idle: 10 * time.Minute, Absolute: time.Hour}}
	}
}

// A remembered visitor is served, for a short time and not for long.
func byRemembered(_ context.Context, s scsguard.Subject) scsguard.Policy {
	if !s.Remembered {
		return scsguard.Policy{}
	}
	return scsguard.Policy{
		Timeouts: scsguard.Timeouts{Idle: 5 * time.Minute, Absolute: 30 * time.Minute},
		Binding:  scsguard.Binding{Network: scsguard.StepUp, UserAgent: scsguard.End},
	}
}

func policy(f func(context.Context, scsguard.Subject) scsguard.Policy) func(*scsguard.Config) {
	return func(c *scsguard.Config) { c.Policy, c.Limit = f, scsguard.Limit{Max: 3, OnExceed: scsguard.Deny} }
}

// aliveAfter reports whether a session lives d after its login, with activity every
// so often. The login is that of the query.
func aliveAfter(t *testing.T, a *app, b *browser, query string, d, every time.Duration) bool {
	t.Helper()
	_, err := a.guard.EndAll(t.Context(), "alice")
	require.NoError(t, err)
	time.Sleep(time.Second)
	require.Equal(t, http.StatusOK, b.get("/as?"+query).Code)
	for left := d; left > 0; left -= every {
		time.Sleep(min(left, every))
		if b.whoami() != "alice" && !strings.HasPrefix(b.whoami(), "alice ") {
			return false
		}
	}
	return true
}

// loginAs mounts a login that takes everything a policy can see.
func loginAs(a *app) {
	a.handle("/as", func(_ http.ResponseWriter, r *http.Request) error {
		opts := []scsguard.LoginOption{scsguard.Role(r.FormValue("role"))}
		if r.FormValue("remembered") != "" {
			opts = append(opts, scsguard.Remembered(), scsguard.AuthenticatedAt(time.Now())) // after the EndAll
		}
		if r.FormValue("aal") == "2" {
			opts = append(opts, scsguard.AAL(2))
		}
		_, err := a.guard.Login(r.Context(), "alice", opts...)
		return err
	})
}

func TestEachRecipeOfThePoliciesDoesWhatItSays(t *testing.T) {
	type subject struct {
		query, addr string
		idle        time.Duration
		absolute    time.Duration
	}
	const usual, day = 15 * time.Minute, 8 * time.Hour
	for name, c := range map[string]struct {
		policy   func(context.Context, scsguard.Subject) scsguard.Policy
		subjects []subject
	}{
		"role": {byRole, []subject{
			{"role=administrator", home, 5 * time.Minute, time.Hour},
			{"role=clerk", home, usual, day},
		}},
		"network": {byNetwork, []subject{
			{"", office.Addr().Next().String() + ":1", usual, day},
			{"", home, 5 * time.Minute, day},
			{"", "", 5 * time.Minute, day},
		}},
		"AAL": {byAAL, []subject{
			{"aal=2", home, time.Hour, 12 * time.Hour},
			{"", home, 10 * time.Minute, time.Hour},
		}},
		"remembered": {byRemembered, []subject{
			{"remembered=1", home, 5 * time.Minute, 30 * time.Minute},
			{"", home, usual, day},
		}},
	} {
		for _, s := range c.subjects {
			t.Run(fmt.Sprintf("%s %s from %s", name, s.query, s.addr), func(t *testing.T) {
				bubble(t, func(t *testing.T, a *app) {
					loginAs(a)
					visitor := func() *browser { b := a.browser(); b.addr = s.addr; return b }
					require.True(t, aliveAfter(t, a, visitor(), s.query, s.idle-1, s.idle))
					require.False(t, aliveAfter(t, a, visitor(), s.query, s.idle, s.idle))
					step := s.idle - time.Minute
					require.True(t, aliveAfter(t, a, visitor(), s.query, s.absolute-1, step))
					require.False(t, aliveAfter(t, a, visitor(), s.query, s.absolute, step))
				}, policy(c.policy))
			})
		}
	}
}

func TestAnAdministratorHasOneSessionAndOneDevice(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		loginAs(a)
		b := a.browser()
		require.Equal(t, http.StatusOK, b.get("/as?role=administrator").Code)
		require.Equal(t, http.StatusConflict, a.browser().get("/as?role=administrator").Code)
		require.Equal(t, http.StatusOK, a.browser().get("/as?role=clerk").Code)
		require.Equal(t, "401 wrong_device", b.at(chrome, b.addr).whoami())
	}, policy(byRole))
}

func TestASessionThatLeavesTheOfficeIsStricterAtOnceAndStaysIt(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		loginAs(a)
		sensitive(a, "/transfer", time.Hour)
		b := a.browser()
		b.addr = office.Addr().Next().String() + ":1"
		require.Equal(t, http.StatusOK, b.get("/as").Code)
		require.Equal(t, http.StatusOK, b.get("/transfer").Code)
		outside := b.at(b.agent, home)
		require.Equal(t, http.StatusForbidden, outside.get("/transfer").Code)
		time.Sleep(5 * time.Minute)
		require.Equal(t, "401 idle", b.whoami(), "also for who is back")
	}, policy(byNetwork))
}

func TestTheRecipesInTheDocsAreCompiled(t *testing.T) {
	doc, err := os.ReadFile("docs/policies.md")
	require.NoError(t, err)
	code, err := os.ReadFile("recipes_test.go")
	require.NoError(t, err)
	blocks := strings.Split(string(doc), "```go\n")[1:]
	require.Len(t, blocks, 4)
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		require.Contains(t, string(code), block)
	}
}
