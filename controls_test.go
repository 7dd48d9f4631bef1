package scsguard_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// control is a requirement, the code that meets it and the tests that show it. Its
// tests are those named TestX_..., where X is the ID with underscores, and those
// named here.
type control struct {
	id, source, asks string
	code             []string // exported names of the root package, or files of others
	tests            []string
}

var controls = []control{
	{"PCI 8.2.8", "PCI DSS 4.0.1", "who was idle for more than 15 minutes authenticates again", []string{"ProfilePCI", "Timeouts"}, nil},
	{"PCI 10.2.1", "PCI DSS 4.0.1 10.2.1.2, .4, .5", "invalid access and changes of credentials and privileges are logged", []string{"EventKinds", "Guard.LoginFailed"}, []string{"TestFailedLoginsAreCoalesced"}},
	{"PCI 10.2.2", "PCI DSS 4.0.1; AU-3; ASVS 5.0 16.2.1", "each entry says who, what, when, from where, with what outcome, about what", []string{"Event"}, []string{"TestTheLineOfALogin", "TestEveryEventOfASessionHasItsNumber"}},
	{"NIST 63B4 AAL2", "NIST SP 800-63B-4 2.2.3", "1 hour of inactivity, 24 hours in all", []string{"ProfileNISTAAL2"}, []string{"TestEachProfileSetsItsNumbersAndRefusesANanosecondMore"}},
	{"NIST 63B4 AAL3", "NIST SP 800-63B-4 2.3.3", "15 minutes of inactivity, 12 hours in all", []string{"ProfileNISTAAL3"}, []string{"TestEachProfileSetsItsNumbersAndRefusesANanosecondMore"}},
	{"NIST 63B3 AAL2", "NIST SP 800-63B (revision 3) 4.2.3, 7.2", "30 minutes of inactivity, 12 hours in all, a secret that does not outlive the browser", []string{"ProfileNISTAAL2Rev3"}, []string{"TestOnlyRevision3OfNISTRefusesACookieThatOutlivesTheBrowser"}},
	{"OWASP high value", "OWASP Session Management Cheat Sheet", "5 minutes of inactivity, 8 hours in all, sessions bound to their device", []string{"ProfileOWASPHighValue", "Binding"}, []string{"TestAHighValueApplicationBindsItsSessions"}},
	{"PSD2 4 3 d", "EU 2018/389 Art. 4(3)(d)", "5 minutes of inactivity for payment accounts", []string{"ProfilePSD2"}, nil},
	{"SESS 07", "NIST SP 800-63B-4 5.1; ASVS 5.0 7.2.4, 4.0.3 3.2.1", "a new token at login, re-authentication and change of privilege", []string{"Guard.Login", "Guard.Reauthenticated", "Guard.Elevate"}, []string{"TestLoginGivesANewTokenAndTheOldOneIsWorthNothing"}},
	{"SESS 09", "NIST SP 800-63B-4 5.1", "the AAL of a session is never above that of the authentication", []string{"AAL", "Guard.Reauthenticated"}, []string{"TestTheAALOfASessionIsWhatWasProvenAndNeverMore", "TestAWeakerReauthenticationDoesNotRenewTheAbsoluteTimeout"}},
	{"REAUTH", "NIST SP 800-63B-4 5.2", "both time outs end a session, activity resets the idle one, a re-authentication both", []string{"Timeouts", "Full"}, []string{"TestIdleTimeoutToTheNanosecond", "TestAbsoluteTimeoutToTheNanosecond", "TestNoHistoryOutlivesTheAbsoluteTimeout", "TestOnlyAFullReauthenticationStartsANewAbsoluteTimeout"}},
	{"COOK", "NIST SP 800-63B-4 5.1.1; ASVS 5.0 3.3.1 to 3.3.4", "Secure, HttpOnly, SameSite, __Host-, no data, an expiry that enforces nothing", []string{"Config"}, []string{"TestEachWeaknessOfTheCookieIsRefusedByItself", "TestOfSeveralCookiesTheValidOneWinsWhereverItStands"}},
	{"WCAG 2.2.1", "WCAG 2.2", "the time that is left can be asked and prolonged", []string{"Guard.StatusHandler", "Guard.Extend"}, []string{"TestExtendStartsTheIdleTimeoutAnewAndNeverPassesTheAbsolute", "TestPollingTheStatusNeverExtends"}},
	{"AC 9", "NIST SP 800-53", "the last login can be shown", []string{"LastLogin"}, []string{"TestLastLogin"}},
	{"AC 10", "NIST SP 800-53; ASVS 5.0 7.1.2", "a cap on concurrent sessions", []string{"Limit"}, []string{"TestTheCapHoldsAtEveryInstant", "TestDenyRefusesTheLoginBeyondTheCapAndListsTheSessions"}},
	{"AC 12", "NIST SP 800-53 AC-11, AC-12; ASVS 5.0 7.3.1, 7.3.2, 7.4.1", "sessions end by themselves and by a logout", []string{"Timeouts", "Guard.Logout"}, []string{"TestIdleTimeoutToTheNanosecond", "TestLogout"}},
	{"IA 11", "NIST SP 800-53; ASVS 5.0 7.5.1, 7.5.3, 4.0.3 3.7.1", "re-authentication before what is sensitive", []string{"Guard.RequireRecentLogin"}, []string{"TestALoginIsRecentUntilItsAgeIsReachedAndNotAtIt", "TestAStepUpWantsEachMethodInTheLastProof", "TestRefusedStepUpsAreRecordedAndAFloodOfThemIsCounted"}},
	{"SC 23", "NIST SP 800-53 SC-23(1), (3)", "a token is worthless after logout, and only the server makes tokens", []string{"Guard.Protect"}, []string{"TestH1_a_request_in_flight_does_not_bring_a_logged_out_session_back"}},
	{"AU 2", "NIST SP 800-53 AU-2, AU-12; ASVS 5.0 16.1.1", "an inventory of events", []string{"EventKinds"}, []string{"TestAU2_ASVS16_1_1_EventTypesListsEveryKind"}},
	{"PCI 10.2.1.6", "PCI DSS 4.0.1", "the beginning and the end of a log are logged", []string{"auditlog/doc.go"}, []string{"TestPCI10_2_1_6_AServerThatWasKilledLeavesAnUnclosedStreamAndTheNextSaysSo"}},
	{"PCI 10.3.1", "PCI DSS 4.0.1", "only those who need it can read a log", []string{"auditlog/doc.go"}, []string{"TestPCI10_3_1_AKeyThatOthersMayReadIsRefused", "TestPCI10_3_1_OnlyTheServersUserCanReadItsTrail"}},
	{"PCI 10.2.1.3", "PCI DSS 4.0.1", "whoever reads the trail is on the record", []string{"cmd/scsguard/querytrail.go"}, nil},
	{"PCI 10.4.1", "PCI DSS 4.0.1 10.4.1, 10.4.1.1", "the trail is reviewed every day, by a machine", []string{"investigate/review.go"}, nil},
	{"PCI 10.3.4", "PCI DSS 4.0.1; AU-9(3)", "changes of a log are detected", []string{"auditlog/doc.go"}, []string{"TestPCI10_3_4_EveryChangeOfATrailIsTampering"}},
	{"PCI 10.5.1", "PCI DSS 4.0.1; AU-11", "logs are kept for a year", []string{"auditlog/doc.go"}, []string{"TestPCI10_5_1_WhatACaseNeedsIsKeptFromRetention", "TestALicenceToRemoveASegmentIsNoneForTheSegmentsBehindIt", "TestALicenceThatNobodySealedIsNone"}},
	{"PCI 10.6.3", "PCI DSS 4.0.1", "clocks that are set back are noticed", []string{"auditlog/doc.go"}, nil},
	{"PCI 10.7.3", "PCI DSS 4.0.1 10.7.2, 10.7.3", "failures of the log are reported and recorded", []string{"Guard.Health"}, []string{"TestPCI10_7_2_AFullDiskRefusesLoginsAndNoLogout"}},
	{"AU 5", "NIST SP 800-53 AU-5, AU-5(1), (5)", "what happens while the log cannot be written", []string{"AuditDown", "FallbackSink"}, []string{"TestAU5_ASVS16_5_3_WhileTheTrailIsDownAccessCanOnlyShrink", "TestAU5_5_TheAlternateSinkIsUsedBeforeAnythingIsRefused", "TestAU5_TheReserveOfTheSinkIsForWhatTakesAccessAway", "TestAU5_WithABrokenDiskLoginsAreRefusedLogoutsWorkAndTheLogSaysWhatIsMissing"}},
	{"AU 7", "NIST SP 800-53", "queries change neither content nor order", []string{"auditlog/doc.go"}, []string{"TestAU7_RawLinesAreThoseOfTheLogByteByByte"}},
	{"AU 9 3", "NIST SP 800-53 AU-9(3)", "the public key alone verifies", []string{"auditlog/doc.go"}, nil},
	{"AU 10 2", "NIST SP 800-53 AU-10(2)", "records of another producer are found", []string{"auditlog/doc.go"}, nil},
	{"ASVS 16.2.2", "ASVS 5.0; AU-8", "times in UTC, below the second", []string{"Event"}, nil},
	{"ASVS5 7.1.1", "ASVS 5.0 7.1.1, 7.1.2", "documented time outs, caps and deviations from the standards", []string{"Guard.PolicyReport"}, []string{"TestThePolicyReportSaysWhatIsInForceAndWhereItDeviates"}},
	{"ASVS5 7.2.3", "ASVS 5.0; NIST SP 800-63B-4 5.1", "tokens of at least 128 random bits (NIST: 64)", []string{"Guard.Protect"}, nil},
	{"ASVS5 7.2.4", "ASVS 5.0", "the old token ends with a new one", []string{"Config", "Profile"}, []string{"TestWithoutGraceTheOldTokenIsDeadAtOnceAndDoesNotDisturbTheNew"}},
	{"ASVS5 7.4.2", "ASVS 5.0 7.4.2, 7.4.5", "all sessions of a user, or of everybody, can be ended", []string{"Guard.EndAll", "Guard.EndEveryone"}, []string{"TestEndAllUnderLoadLeavesNobodyWhoLoggedInBefore", "TestEndEveryone"}},
	{"ASVS5 7.4.3", "ASVS 5.0; 4.0.3 3.3.3", "other sessions end with a change of password", []string{"PasswordChanged"}, []string{"TestPasswordChangeEndsTheOthersAndKeepsThisOne"}},
	{"ASVS5 7.5.1", "ASVS 5.0", "a re-authentication before attributes of the account are changed", []string{"Guard.RequireRecentLogin"}, nil},
	{"ASVS5 7.5.2", "ASVS 5.0; 4.0.3 3.3.4", "users see and end their sessions, after a re-authentication", []string{"Guard.SessionsHandler"}, []string{"TestSessionsHandler"}},
	{"ASVS5 16.2.5", "ASVS 5.0; 4.0.3 7.1.1", "no token in a log", []string{"Guard.TokenHash"}, []string{"TestNoTokenAppearsAnywhere", "TestASVS16_2_5_NoTokenIsInTheSealedTrail", "TestTheTokenOfASessionIsInTheAnswerOfLoginToAnAPIClientOnly"}},
	{"ASVS5 16.4.1", "ASVS 5.0; 4.0.3 7.3.1", "no injection into the log", []string{"Sink"}, []string{"FuzzEvent", "TestASVS16_4_1_NothingReachesTheTerminalThatCouldChangeWhatItShows", "TestASVS16_4_1_RawLinesAreEscapedWhereSomebodyLooks"}},
	{"ASVS5 16.4.2", "ASVS 5.0; 4.0.3 7.3.3; AU-9", "nobody changes a log unseen, or reads it who need not", []string{"auditlog/doc.go"}, []string{"TestPCI_10_3_1_OnlyTheOwnerCanReadTheFiles", "TestPCI10_3_4_EveryChangeOfATrailIsTampering", "TestALineHasOneSpelling", "TestWhatIsNoFileHoldsUpNobodyAndIsTampering"}},
	{"ASVS5 16.5.2", "ASVS 5.0 16.5.2, 16.5.3", "nothing fails open", []string{"Guard.Health"}, []string{"TestAFailureAtAnyCallOfAnyVerbIsMended", "TestAMismatchUnderEndFailsClosedWhileTheRegistryIsDown", "TestAnOutageSendsNobodyToTheLoginPage"}},
	{"Pitfall12", "seen in other libraries", "parallel requests around a rotation", []string{"Config"}, []string{"TestRequestsUnderWayDuringARotationAreServed"}},
	{"Pitfall13", "seen in other libraries", "what a remembered session may not do", []string{"Remembered", "Guard.RequireRecentLogin"}, []string{"TestARememberedSessionIsNeverRecentUntilAFullReauthentication"}},
	{"Pitfall19", "CWE-384", "session fixation", []string{"Guard.Login"}, []string{"TestLoginGivesANewTokenAndTheOldOneIsWorthNothing"}},
	{"Pitfall20", "seen in other libraries", "a log that forks, forgets its end, or can be rewritten", []string{"auditlog/doc.go"}, nil},
	{"Pitfall21", "seen in other libraries", "a log that cannot be written and blocks logouts", []string{"AuditDown"}, nil},
	{"Pitfall23", "seen in other libraries", "device binding that alarms on the wrong things", []string{"Binding", "TrustedProxies", "Guard.EnforceBinding"}, []string{"TestEachPairOfDevicesIsToldApartAsTheTableSays", "TestForwardingHeadersOfAnUntrustedPeerChangeNothing", "FuzzNobodyChoosesHisAddress"}},
	{"CWE 601", "CWE-601; ASVS 5.0 3.7.2", "no open redirect on the way back from a re-authentication", []string{"ReturnPath"}, []string{"TestTheWayBackLeadsToNoOtherHost", "FuzzTheWayBackLeadsToNoOtherHost", "TestABrowserIsSentToProveWhoHeIsAndFindsBack"}},
}

// slug is what the name of a test of the control begins with.
func (c control) slug() string {
	return "Test" + strings.NewReplacer(" ", "_", ".", "_").Replace(c.id) + "_"
}

// families are the beginnings of names that belong to a control.
var controlFamilies = []string{"TestPCI", "TestAU_", "TestAU5", "TestAU7", "TestNIST_", "TestOWASP_", "TestPSD2_", "TestSESS_", "TestREAUTH_", "TestCOOK_", "TestSC_", "TestASVS", "TestPitfall"}

// TestTheControlsInTheDocs writes docs/controls.md, or demands that it is what it
// would write. A control whose code or test is gone fails, and so does a test
// whose name tells of a control that is not listed. "make controls" writes it.
func TestTheControlsInTheDocs(t *testing.T) {
	tests, code := declared(t)
	names := make([]string, 0, len(tests))
	for name := range tests {
		names = append(names, name)
	}
	slices.Sort(names)
	listed := make(map[string]bool)
	var doc strings.Builder
	doc.WriteString(controlsHead)
	for _, c := range controls {
		var mine []string
		for _, name := range names {
			if strings.HasPrefix(name, c.slug()) {
				mine = append(mine, name)
			}
		}
		mine = append(mine, c.tests...)
		require.NotEmpty(t, mine, "no test shows %s", c.id)
		for i, name := range mine {
			require.NotEmpty(t, tests[name], "%s, a test of %s, is gone", name, c.id)
			listed[name] = true
			mine[i] = fmt.Sprintf("[%s](../%s)", name, tests[name])
		}
		symbols := make([]string, len(c.code))
		for i, name := range c.code {
			if _, err := os.Stat(name); err == nil { // of another package
				code[name] = name
			}
			require.NotEmpty(t, code[name], "%s, code of %s, is gone", name, c.id)
			symbols[i] = fmt.Sprintf("[%s](../%s)", name, code[name])
		}
		fmt.Fprintf(&doc, "| %s | %s: %s | %s | %s |\n", c.id, c.source, c.asks, strings.Join(symbols, ", "), strings.Join(mine, ", "))
	}
	for _, name := range names {
		if slices.ContainsFunc(controlFamilies, func(f string) bool { return strings.HasPrefix(name, f) }) {
			require.True(t, listed[name], "%s is named after a control that is not listed", name)
		}
	}
	if os.Getenv("CONTROLS") == "write" {
		require.NoError(t, os.WriteFile("docs/controls.md", []byte(doc.String()), 0o644))
	}
	written, err := os.ReadFile("docs/controls.md")
	require.NoError(t, err)
	require.Equal(t, doc.String(), string(written), "run make controls")
}

const controlsHead = `# Controls

What standards and experience ask of a session, the code that does it, and the tests that fail without it. ` + "`make controls`" + `
writes this page from the names of the tests, and a test fails when one of them, or the code, is gone. What a guard of
yours deviates in, its ` + "`PolicyReport`" + ` says.

| Control | Asks for | Code | Tests |
|---|---|---|---|
`

// declared returns the files of all tests and fuzz targets of the repository, and
// of the exported names of the root package.
func declared(t *testing.T) (tests, code map[string]string) {
	t.Helper()
	tests, code = make(map[string]string), make(map[string]string)
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		isTest := strings.HasSuffix(path, "_test.go")
		if !isTest && filepath.Dir(path) != "." {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			for _, name := range declaredBy(decl) {
				switch {
				case !isTest && ast.IsExported(strings.TrimPrefix(name, "Guard.")):
					code[name] = filepath.ToSlash(path)
				case isTest && (strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz")):
					tests[name] = filepath.ToSlash(path)
				}
			}
		}
		return nil
	}))
	return tests, code
}

// declaredBy returns the names of a declaration, those of methods of Guard with it.
func declaredBy(decl ast.Decl) []string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		if star, ok := d.Recv.List[0].Type.(*ast.StarExpr); ok && fmt.Sprint(star.X) == "Guard" {
			return []string{"Guard." + d.Name.Name}
		}
	case *ast.GenDecl:
		var names []string
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			}
		}
		return names
	}
	return nil
}
