package main

import (
	"encoding/json"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/investigate"
)

// meaning is what an event is in the words of others: the OWASP logging
// vocabulary, the categorisation of ECS, the class and activity of OCSF.
type meaning struct {
	owasp      string
	categories []string // ECS event.category
	kind       string   // ECS event.type
	alert      bool     // ECS event.kind
	class      int      // OCSF class_uid
	activity   int      // OCSF activity_id
}

// The classes of OCSF that are used.
const (
	classBase           = 0    // what only the application can name
	classAuthentication = 3002 // Authentication
	classAuthorize      = 3003 // Authorize Session
	classLifecycle      = 6002 // Application Lifecycle: of the trail itself
)

const (
	activityLogon  = 1
	activityLogoff = 2
	activityAssign = 1 // Authorize Session: privileges
	activityStart  = 3 // Application Lifecycle
	activityStop   = 4
	activityOther  = 99
)

var (
	authSession = []string{"authentication", "session"}
	onlyAuth    = []string{"authentication"}
	onlySession = []string{"session"}
	onlyConfig  = []string{"configuration"}
)

// meanings has each kind that the guard or the log writes.
var meanings = map[scsguard.EventKind]meaning{
	scsguard.EventLogin:               {"authn_login_success", authSession, "start", false, classAuthentication, activityLogon},
	scsguard.EventLoginDenied:         {"authn_login_fail", onlyAuth, "start", false, classAuthentication, activityLogon},
	scsguard.EventLoginFailed:         {"authn_login_fail", onlyAuth, "start", false, classAuthentication, activityLogon},
	scsguard.EventReauth:              {"authn_login_success", onlyAuth, "start", false, classAuthentication, activityLogon},
	scsguard.EventEnroll:              {"session_created", onlySession, "start", false, classAuthentication, activityOther},
	scsguard.EventLogout:              {"session_expired", authSession, "end", false, classAuthentication, activityLogoff},
	scsguard.EventTimeout:             {"session_expired", authSession, "end", false, classAuthentication, activityLogoff},
	scsguard.EventExtend:              {"session_renewed", onlySession, "info", false, classAuthentication, activityOther},
	scsguard.EventRenew:               {"session_renewed", onlySession, "info", false, classAuthentication, activityOther},
	scsguard.EventRevoke:              {"authn_token_revoked", onlySession, "info", false, classAuthentication, activityOther},
	scsguard.EventTokenReuse:          {"session_use_after_expire", onlySession, "info", true, classAuthentication, activityOther},
	scsguard.EventFingerprintMismatch: {"", onlySession, "info", true, classAuthentication, activityOther},
	scsguard.EventDuplicateCookie:     {"", onlySession, "info", true, classAuthentication, activityOther},
	scsguard.EventConcurrentWarning:   {"", onlySession, "info", true, classAuthentication, activityOther},
	scsguard.EventPrivilegeChange:     {"authz_change", []string{"iam"}, "change", false, classAuthorize, activityAssign},
	scsguard.EventConfigChanged:       {"", onlyConfig, "change", true, classLifecycle, activityOther},
	scsguard.EventGap:                 {"sys_monitor_disabled", onlyConfig, "change", true, classLifecycle, activityOther},
	scsguard.EventDegraded:            {"sys_monitor_disabled", onlyConfig, "change", true, classLifecycle, activityOther},
	"audit.opened":                    {"sys_startup", onlyConfig, "info", false, classLifecycle, activityStart},
	"audit.closed":                    {"sys_shutdown", onlyConfig, "info", false, classLifecycle, activityStop},
	"audit.rotated":                   {"", onlyConfig, "info", false, classLifecycle, activityOther},
	"audit.heartbeat":                 {"", onlyConfig, "info", false, classLifecycle, activityOther},
	"audit.recovered":                 {"sys_crash", onlyConfig, "info", true, classLifecycle, activityOther},
	"audit.clock_jump":                {"", onlyConfig, "change", true, classLifecycle, activityOther},
	"audit.segment_expired":           {"", onlyConfig, "deletion", false, classLifecycle, activityOther},
	"audit.tamper_suspected":          {"", onlyConfig, "change", true, classLifecycle, activityOther},
	"audit.queried":                   {"", onlyConfig, "access", false, classLifecycle, activityOther},
}

// meaningOf returns what an event means. Of an application's own kinds nobody but
// the application knows it.
func meaningOf(e *investigate.Event) meaning {
	m, ok := meanings[e.Kind]
	if !ok {
		m = meaning{kind: "info", activity: activityOther}
		if e.Session != "" {
			m.categories = onlySession
		}
	}
	if e.Outcome == string(scsguard.OutcomeFailure) && m.owasp == "authn_login_success" {
		m.owasp = "authn_login_fail"
	}
	return m
}

// detailsOf are the details of an event. What the log says about itself is flat,
// with few exceptions, which stand in the raw line.
func detailsOf(e *investigate.Event) map[string]string {
	if !e.Own {
		return e.Details
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(e.Raw, &members) != nil {
		return nil
	}
	list := make(map[string]string)
	for name, v := range members {
		var s string
		switch {
		case name == "event" || len(v) == 0 || v[0] == '{' || v[0] == '[':
			continue
		case json.Unmarshal(v, &s) != nil:
			s = string(v)
		}
		list[name] = s
	}
	return list
}

// outcomeOf is the outcome in the three words that ECS and OCSF have.
func outcomeOf(e *investigate.Event) string {
	switch {
	case e.Outcome == string(scsguard.OutcomeSuccess) || e.Outcome == string(scsguard.OutcomeFailure):
		return e.Outcome
	case e.Own:
		return string(scsguard.OutcomeSuccess)
	}
	return "unknown"
}
