package scsguard_test

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// The profiles and their numbers, from the standards and not from the code.
var standards = []struct {
	profile        scsguard.Profile
	flag           string
	idle, absolute time.Duration // 0: the standard names none
	idleSource     string
	absoluteSource string
	device         scsguard.BindingMode
}{
	{scsguard.ProfilePCI, "pci", 15 * time.Minute, 0, "PCI DSS 4.0.1 8.2.8", "", scsguard.StepUp},
	{scsguard.ProfileNISTAAL2, "nist-aal2", time.Hour, 24 * time.Hour, "NIST SP 800-63B-4 2.2.3", "NIST SP 800-63B-4 2.2.3", scsguard.StepUp},
	{scsguard.ProfileNISTAAL2Rev3, "nist-aal2-rev3", 30 * time.Minute, 12 * time.Hour, "NIST SP 800-63B (revision 3) 4.2.3", "NIST SP 800-63B (revision 3) 4.2.3", scsguard.StepUp},
	{scsguard.ProfileNISTAAL3, "nist-aal3", 15 * time.Minute, 12 * time.Hour, "NIST SP 800-63B-4 2.3.3", "NIST SP 800-63B-4 2.3.3", scsguard.End},
	{scsguard.ProfileOWASPHighValue, "owasp-high-value", 5 * time.Minute, 8 * time.Hour, "Idle Timeout", "Absolute Timeout", scsguard.End},
	{scsguard.ProfilePSD2, "psd2", 5 * time.Minute, 0, "EU 2018/389 Art. 4(3)(d)", "", scsguard.End},
}

// kept is a sink that is not known to keep nothing.
var kept = scsguard.SinkFunc(func(context.Context, [][]byte) error { return nil })

// sessionCookies returns a manager whose cookie ends with the browser, and whose
// lifetime hides no limit.
func sessionCookies() *scs.SessionManager {
	sm := newManager()
	sm.Cookie.Persist, sm.Lifetime = false, 100*time.Hour
	return sm
}

// guardOf makes a guard that nobody has to close.
func guardOf(t *testing.T, sm *scs.SessionManager, cfg scsguard.Config) (*scsguard.Guard, error) {
	t.Helper()
	if cfg.Audit == nil {
		cfg.Audit = kept
	}
	cfg.SweepEvery = -1
	g, err := scsguard.New(sm, cfg)
	if err == nil {
		t.Cleanup(func() { require.NoError(t, g.Close(context.Background())) })
	}
	return g, err
}

func TestEachProfileSetsItsNumbersAndRefusesANanosecondMore(t *testing.T) {
	for _, s := range standards {
		t.Run(s.flag, func(t *testing.T) {
			g, err := guardOf(t, sessionCookies(), scsguard.Config{Profile: s.profile})
			require.NoError(t, err)
			rep := g.PolicyReport()
			require.Equal(t, s.idle, rep.Timeouts.Idle)
			if s.absolute > 0 {
				require.Equal(t, s.absolute, rep.Timeouts.Absolute)
			}
			require.Equal(t, scsguard.Limit{Max: 3, OnExceed: scsguard.Deny}, rep.Limit)
			require.Equal(t, scsguard.Binding{Network: scsguard.Log, UserAgent: s.device}, rep.Binding)
			require.Zero(t, rep.RotationGrace)
			for _, d := range rep.Deviations {
				require.NotEqual(t, s.profile, d.Profile, d)
			}

			_, err = guardOf(t, sessionCookies(), scsguard.Config{Profile: s.profile, Timeouts: scsguard.Timeouts{Idle: s.idle, Absolute: s.absolute}})
			require.NoError(t, err, "exactly the numbers")
			_, err = guardOf(t, sessionCookies(), scsguard.Config{Profile: s.profile, Timeouts: scsguard.Timeouts{Idle: s.idle + 1}})
			require.ErrorContains(t, err, "Timeouts.Idle = ")
			require.ErrorContains(t, err, s.idleSource)
			if s.absolute > 0 {
				_, err = guardOf(t, sessionCookies(), scsguard.Config{Profile: s.profile, Timeouts: scsguard.Timeouts{Absolute: s.absolute + 1}})
				require.ErrorContains(t, err, "Timeouts.Absolute = ")
				require.ErrorContains(t, err, s.absoluteSource)
			}
			// What is stricter is the application's right.
			_, err = guardOf(t, sessionCookies(), scsguard.Config{Profile: s.profile, Timeouts: scsguard.Timeouts{Idle: time.Minute, Absolute: time.Hour},
				Limit: scsguard.Limit{Max: 1, OnExceed: scsguard.EvictOldest}, Binding: scsguard.Binding{Network: scsguard.End, UserAgent: scsguard.End}})
			require.NoError(t, err)
		})
	}
}

func TestEachProfileRefusesWhatMakesTheRestWorthless(t *testing.T) {
	for _, s := range standards {
		for _, c := range []struct {
			field, source string
			change        func(*scsguard.Config)
		}{
			{"RotationGrace", "ASVS 5.0 7.2.4", func(c *scsguard.Config) { c.RotationGrace = time.Second }},
			{"InsecureCookie", "ASVS 5.0 3.3.1", func(c *scsguard.Config) { c.InsecureCookie = "an old proxy" }},
			{"OnAuditDown", "ASVS 5.0 16.5.3", func(c *scsguard.Config) { c.OnAuditDown = scsguard.AuditAllowAndFlag }},
			{"Audit", "", func(c *scsguard.Config) { c.Audit = scsguard.FallbackSink(scsguard.Discard(), kept) }},
			{"Audit", "", func(c *scsguard.Config) { c.Audit = scsguard.Discard() }},
			{"Audit", "", func(c *scsguard.Config) {
				c.Audit = scsguard.MultiSink(scsguard.Discard(), scsguard.Mirror(zerolog.Nop()))
			}},
		} {
			cfg := scsguard.Config{Profile: s.profile}
			c.change(&cfg)
			_, err := guardOf(t, sessionCookies(), cfg)
			var config *scsguard.ConfigError
			require.ErrorAs(t, err, &config, "%s %s", s.flag, c.field)
			require.Len(t, config.Fields, 1)
			require.Equal(t, c.field, config.Fields[0].Field)
			require.Contains(t, config.Fields[0].Problem, "profile "+s.flag+" asks for")
			require.Contains(t, config.Fields[0].Problem, c.source)
		}
		_, err := guardOf(t, sessionCookies(), scsguard.Config{Profile: s.profile, Audit: scsguard.MultiSink(scsguard.Discard(), kept)})
		require.NoError(t, err, "one sink that keeps is enough")
	}
	_, err := guardOf(t, sessionCookies(), scsguard.Config{Profile: 99})
	require.ErrorContains(t, err, "Profile = Profile(99)")
}

func TestOnlyRevision3OfNISTRefusesACookieThatOutlivesTheBrowser(t *testing.T) {
	for _, s := range standards {
		sm := sessionCookies()
		sm.Cookie.Persist = true
		g, err := guardOf(t, sm, scsguard.Config{Profile: s.profile})
		if s.profile == scsguard.ProfileNISTAAL2Rev3 {
			require.ErrorContains(t, err, "SessionManager.Cookie.Persist = true: profile nist-aal2-rev3 asks for a cookie that ends with the browser (NIST SP 800-63B (revision 3) 7.2)")
			continue
		}
		require.NoError(t, err)
		for _, d := range g.PolicyReport().Deviations {
			require.True(t, d.Profile != s.profile || d.Should && d.Field == "SessionManager.Cookie.Persist", d)
		}
	}
}

func TestUnderAProfileNobodyComesBackWithoutProvingWhoHeIs(t *testing.T) {
	for _, s := range standards {
		_, err := guardOf(t, sessionCookies(), scsguard.Config{Profile: s.profile, Remember: scsguard.Remember{Store: scsguard.NewMemoryRememberStore()}})
		require.ErrorContains(t, err, "Remember.Store = set: profile "+s.flag+" asks for a new authentication after a time out")
		source := s.idleSource
		if strings.HasPrefix(source, "NIST SP 800-63B-4") {
			source = "NIST SP 800-63B-4 5.1" // on cookies that remember a browser
		}
		require.ErrorContains(t, err, source)

		bubbleOn(t, sessionCookies(), func(t *testing.T, a *app) {
			_, err := a.guard.Login(loaded(t, a.sm), "alice", scsguard.Remembered())
			require.ErrorContains(t, err, "Remembered = given: profile "+s.flag)
			var config *scsguard.ConfigError
			require.ErrorAs(t, err, &config)
			require.Empty(t, a.live("alice"))
		}, profiled(s.profile))
	}
	g, err := guardOf(t, sessionCookies(), scsguard.Config{Remember: scsguard.Remember{Store: scsguard.NewMemoryRememberStore()}})
	require.NoError(t, err)
	for _, s := range standards {
		require.Contains(t, g.PolicyReport().String(), s.flag)
	}
	require.Contains(t, g.PolicyReport().String(), "Remember.Store = set: EU 2018/389 Art. 4(3)(d) asks for")
}

func TestThePolicyReportSaysHowOneComesInBesidesThePassword(t *testing.T) {
	sm := sessionCookies()
	g, err := guardOf(t, sm, scsguard.Config{
		Remember:    scsguard.Remember{Store: scsguard.NewMemoryRememberStore(), OnRestore: func(context.Context, scsguard.Session) {}},
		Token:       func(*http.Request) (string, bool) { return "", false },
		UserID:      func(ctx context.Context) string { return sm.GetString(ctx, "user") },
		OnAuditDown: scsguard.AuditAllowAndFlag,
	})
	require.NoError(t, err)
	rep := g.PolicyReport()
	require.Equal(t, 30*24*time.Hour, rep.Remembered)
	require.True(t, rep.HeaderTokens && rep.UserKey)
	require.Equal(t, scsguard.AuditAllowAndFlag, rep.OnAuditDown)
	for _, line := range []string{
		"API clients            carry the token in a header",
		"User key               a login or logout of the application is noticed by it",
		"Remembered             for 720h, without a new proof",
		"Without the trail      access is granted and flagged",
	} {
		require.Contains(t, rep.String(), line+"\n")
	}
}

func TestAHighValueApplicationBindsItsSessions(t *testing.T) {
	_, err := guardOf(t, sessionCookies(), scsguard.Config{Profile: scsguard.ProfileOWASPHighValue, Binding: scsguard.Binding{UserAgent: scsguard.Off}})
	require.ErrorContains(t, err, "Binding.UserAgent = off")
	require.ErrorContains(t, err, "Binding the Session ID to Other User Properties")
}

func TestTheStricterOfManagerAndProfileHolds(t *testing.T) {
	sm := sessionCookies()
	sm.IdleTimeout, sm.Lifetime = 10*time.Minute, 6*time.Hour
	g, err := guardOf(t, sm, scsguard.Config{Profile: scsguard.ProfileNISTAAL2})
	require.NoError(t, err)
	rep := g.PolicyReport()
	require.Equal(t, 10*time.Minute, rep.Timeouts.Idle)
	require.Equal(t, 6*time.Hour, rep.Timeouts.Absolute)
}

func TestAPolicyThatBreaksTheProfileBeginsNoSession(t *testing.T) {
	lax := scsguard.Policy{}
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		for _, answer := range []scsguard.Policy{
			{Timeouts: scsguard.Timeouts{Idle: 16 * time.Minute}},
			{Limit: &scsguard.Limit{}},
		} {
			lax = answer
			_, err := a.guard.Login(loaded(t, a.sm), "bob")
			var config *scsguard.ConfigError
			require.ErrorAs(t, err, &config)
			require.True(t, strings.HasPrefix(config.Fields[0].Field, "Policy."), config.Fields[0].Field)
			require.Contains(t, err.Error(), "profile pci")
			require.Equal(t, "alice", b.whoami(), "an existing session keeps its limits")
		}
		time.Sleep(15 * time.Minute)
		require.Equal(t, "401 idle", b.whoami())
	}, func(c *scsguard.Config) {
		c.Profile, c.Timeouts = scsguard.ProfilePCI, scsguard.Timeouts{}
		c.Policy = func(context.Context, scsguard.Subject) scsguard.Policy { return lax }
	})
}

func loaded(t testing.TB, sm *scs.SessionManager) context.Context {
	t.Helper()
	ctx, err := sm.Load(context.Background(), "")
	require.NoError(t, err)
	return ctx
}

func TestProfilesAreSpelledAsOnACommandLine(t *testing.T) {
	for _, s := range standards {
		var p scsguard.Profile
		flags := flag.NewFlagSet("server", flag.ContinueOnError)
		flags.TextVar(&p, "profile", scsguard.ProfileNone, "")
		require.NoError(t, flags.Parse([]string{"-profile", s.flag}))
		require.Equal(t, s.profile, p)
		require.Equal(t, s.flag, p.String())
	}
	var p scsguard.Profile
	require.NoError(t, p.UnmarshalText([]byte("none")))
	require.Equal(t, scsguard.ProfileNone, p)
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.TextVar(&p, "profile", scsguard.ProfileNone, "")
	require.ErrorContains(t, flags.Parse([]string{"-profile", "hipaa"}), `"hipaa" is not a profile`)
}

func TestThePolicyReportSaysWhatIsInForceAndWhereItDeviates(t *testing.T) {
	sm := newManager()
	g, err := guardOf(t, sm, scsguard.Config{
		Timeouts: scsguard.Timeouts{Idle: 20 * time.Minute, Absolute: 10 * time.Hour, Renew: time.Hour}, Audit: scsguard.Discard(),
		Policy: func(context.Context, scsguard.Subject) scsguard.Policy { return scsguard.Policy{} },
	})
	require.NoError(t, err)
	require.Equal(t, `Profile                none
Idle timeout           20m, activity recorded every 1m
Absolute timeout       10h
New token              every 1h
Concurrent sessions    any number, each is recorded and told
Another network        log
Another device         stepup
Old token              served for 10s after a rotation
Cookie                 outlives the browser
Remembered             nobody
Trail                  not kept
Without the trail      access is refused
By subject             yes: Config.Policy may answer otherwise for some
`, strings.Split(g.PolicyReport().String(), "\nDeviations\n")[0])
	deviations := strings.Split(g.PolicyReport().String(), "\nDeviations\n")[1]
	for _, line := range []string{
		"pci               Timeouts.Idle = 20m: PCI DSS 4.0.1 8.2.8 asks for an idle timeout of at most 15m",
		"pci               Audit = a Sink that keeps nothing: PCI DSS 4.0.1 10.2.1 asks for a trail that is kept",
		"nist-aal2         SessionManager.Cookie.Persist = true: NIST SP 800-63B-4 5.1 recommends a cookie that ends with the browser",
		"nist-aal2-rev3    SessionManager.Cookie.Persist = true: NIST SP 800-63B (revision 3) 7.2 asks for a cookie that ends with the browser",
		"psd2              RotationGrace = 10s: ASVS 5.0 7.2.4 asks for an old token that is worthless as soon as there is a new one",
		"owasp-high-value  Timeouts.Absolute = 10h: OWASP Session Management Cheat Sheet, Absolute Timeout asks for an absolute timeout of at most 8h",
		"psd2              Limit.Max = 0: ASVS 5.0 7.1.2 asks for a cap on the concurrent sessions of a user",
	} {
		require.Contains(t, deviations, line+"\n")
	}
	require.NotContains(t, deviations, "nist-aal2         Timeouts")

	sm.Lifetime = time.Hour // the manager's settings are those of now
	require.Equal(t, time.Hour, g.PolicyReport().Timeouts.Absolute)
	text, err := json.Marshal(g.PolicyReport())
	require.NoError(t, err)
	require.Contains(t, string(text), `"profile":"none"`)

	strict, err := guardOf(t, sessionCookies(), scsguard.Config{Profile: scsguard.ProfileOWASPHighValue, InsecureCookie: ""})
	require.NoError(t, err)
	require.Contains(t, strict.PolicyReport().String(), "Concurrent sessions    at most 3, beyond that: deny")
	require.True(t, strings.HasSuffix(strict.PolicyReport().String(), "\nDeviations\nnone\n"), strict.PolicyReport().String())
}

func TestUnderAProfileAnOldTokenIsWorthlessAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		old := b.copy()
		require.Equal(t, http.StatusOK, b.get("/reauth").Code)
		require.Equal(t, "401 ended", old.whoami())
		require.Equal(t, "alice", b.whoami())
	}, func(c *scsguard.Config) { c.Profile = scsguard.ProfilePCI })
}
