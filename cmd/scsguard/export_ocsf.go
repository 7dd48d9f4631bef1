package main

import (
	"time"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
)

// ocsfVersion is the version of the Open Cybersecurity Schema Framework whose
// classes are used; later ones have only added to them.
const ocsfVersion = "1.4.0"

// ocsfEvent is an event in the Open Cybersecurity Schema Framework. What that has
// no name for is in unmapped, under the names of ECS's scsguard.
type ocsfEvent struct {
	ActivityID   int             `json:"activity_id"`
	ActivityName string          `json:"activity_name"`
	CategoryUID  int             `json:"category_uid"`
	CategoryName string          `json:"category_name"`
	ClassUID     int             `json:"class_uid"`
	ClassName    string          `json:"class_name"`
	TypeUID      int             `json:"type_uid"`
	Time         int64           `json:"time"` // milliseconds
	SeverityID   int             `json:"severity_id"`
	Severity     string          `json:"severity"`
	StatusID     int             `json:"status_id"`
	Status       string          `json:"status"`
	StatusDetail string          `json:"status_detail,omitempty"`
	Message      string          `json:"message"`
	Metadata     ocsfMetadata    `json:"metadata"`
	User         *ocsfUser       `json:"user,omitempty"`
	Actor        *ocsfActor      `json:"actor,omitempty"`
	Session      *ocsfSession    `json:"session,omitempty"`
	IsMFA        *bool           `json:"is_mfa,omitempty"`
	Privileges   []string        `json:"privileges,omitempty"`
	SrcEndpoint  *ocsfEndpoint   `json:"src_endpoint,omitempty"`
	HTTPRequest  *ocsfRequest    `json:"http_request,omitempty"`
	Service      *named          `json:"service,omitempty"`
	App          *named          `json:"app,omitempty"`
	RawData      string          `json:"raw_data"`
	RawDataHash  ocsfFingerprint `json:"raw_data_hash"`
	Unmapped     ocsfUnmapped    `json:"unmapped"`
}

type (
	ocsfMetadata struct {
		Version     string      `json:"version"`
		Product     ocsfProduct `json:"product"`
		UID         string      `json:"uid,omitempty"`
		EventCode   string      `json:"event_code"`
		LogName     string      `json:"log_name"`
		LoggedTime  int64       `json:"logged_time"`
		Sequence    int64       `json:"sequence"`
		Correlation string      `json:"correlation_uid,omitempty"`
	}
	ocsfProduct struct {
		Name   string `json:"name"`
		Vendor string `json:"vendor_name"`
	}
	ocsfUser struct {
		UID    string `json:"uid,omitempty"`
		Name   string `json:"name,omitempty"`
		TypeID int    `json:"type_id"`
	}
	ocsfActor struct {
		User ocsfUser `json:"user"`
	}
	ocsfSession struct {
		UID     string `json:"uid"`
		Created int64  `json:"created_time,omitempty"`
		Expires int64  `json:"expiration_time,omitempty"`
		Reason  string `json:"expiration_reason,omitempty"`
		MFA     *bool  `json:"is_mfa,omitempty"`
	}
	ocsfEndpoint struct {
		IP string `json:"ip"`
	}
	ocsfRequest struct {
		UID       string `json:"uid,omitempty"`
		UserAgent string `json:"user_agent,omitempty"`
	}
	// ocsfFingerprint is the leaf. It is not the SHA-256 of raw_data but that of a
	// zero byte and raw_data (RFC 6962 2.1), so it is none of OCSF's algorithms.
	ocsfFingerprint struct {
		AlgorithmID int           `json:"algorithm_id"`
		Algorithm   string        `json:"algorithm"`
		Value       auditlog.Hash `json:"value"`
	}
	ocsfUnmapped struct {
		ecsOurs
		RequestTime string `json:"time,omitempty"` // with microseconds, which OCSF's has not
	}
)

var ocsfClasses = map[int]struct {
	name       string
	activities map[int]string
}{
	classBase:           {"Base Event", nil},
	classAuthentication: {"Authentication", map[int]string{activityLogon: "Logon", activityLogoff: "Logoff"}},
	classAuthorize:      {"Authorize Session", map[int]string{activityAssign: "Assign Privileges"}},
	classLifecycle:      {"Application Lifecycle", map[int]string{activityStart: "Start", activityStop: "Stop"}},
}

var ocsfCategories = map[int]string{0: "Uncategorized", 3: "Identity & Access Management", 6: "Application Activity"}

func toOCSF(x *exported) ocsfEvent {
	ours := toECS(x).Ours
	e := ocsfEvent{
		ActivityID: x.activity, ActivityName: ocsfClasses[x.class].activities[x.activity],
		CategoryUID: x.class / 1000, CategoryName: ocsfCategories[x.class/1000],
		ClassUID: x.class, ClassName: ocsfClasses[x.class].name, TypeUID: 100*x.class + x.activity,
		Time: millis(x.Time), SeverityID: 1, Severity: "Informational", StatusDetail: x.Reason, Message: message(x),
		Metadata: ocsfMetadata{
			Version: ocsfVersion, Product: ocsfProduct{"scsguard", "scsguard"}, UID: x.ID, EventCode: string(x.Kind),
			LogName: x.Ref.Stream, LoggedTime: millis(x.Sealed), Sequence: x.Ref.Seq, Correlation: x.Transaction,
		},
		RawData:     rawText(x.line),
		RawDataHash: ocsfFingerprint{99, "RFC 6962 leaf: SHA-256 of 0x00 and raw_data", x.Ref.Leaf},
		Unmapped:    ocsfUnmapped{ours, cell(x.Time)},
	}
	if e.ActivityName == "" { // 99, Other: its name is that of the source
		e.ActivityName = string(x.Kind)
	}
	if x.Time.IsZero() {
		e.Time = millis(x.Sealed)
	}
	e.status(outcomeOf(&x.Event))
	if x.alert {
		e.SeverityID, e.Severity = 3, "Medium"
	}
	e.who(x)
	return e
}

func (e *ocsfEvent) status(outcome string) {
	switch outcome {
	case string(scsguard.OutcomeSuccess):
		e.StatusID, e.Status = 1, "Success"
	case string(scsguard.OutcomeFailure):
		e.StatusID, e.Status = 2, "Failure"
		e.SeverityID, e.Severity = 2, "Low"
	default:
		e.Status = "Unknown"
	}
}

// who fills in the user, the session and the client.
func (e *ocsfEvent) who(x *exported) {
	switch {
	case x.User != "":
		e.User = &ocsfUser{UID: x.User}
	case e.CategoryUID == 3: // where a user is required
		e.User = &ocsfUser{Name: "unknown"}
	}
	if x.Actor != "" {
		e.Actor = &ocsfActor{ocsfUser{UID: x.Actor}}
	}
	if len(x.AuthMethods) > 0 {
		mfa := len(x.AuthMethods) > 1 || x.AAL > 1
		e.IsMFA = &mfa
	}
	if x.Session != "" {
		e.Session = &ocsfSession{UID: x.Session, Created: millis(x.Created), Expires: millis(earliest(x.IdleExpires, x.AbsoluteEnd)), MFA: e.IsMFA}
		if x.meaning.kind == "end" {
			e.Session.Reason = x.Reason
		}
	}
	switch e.ClassUID {
	case classAuthentication:
		e.Service = serviceOf(x.Ref.Stream)
	case classAuthorize:
		e.IsMFA = nil // the class does not have it
		e.Privileges = []string{x.Details["to"]}
	case classLifecycle:
		e.App = &named{"scsguard"}
		e.User, e.IsMFA = nil, nil
	}
	if a := x.Addr(); a.IsValid() {
		e.SrcEndpoint = &ocsfEndpoint{a.WithZone("").String()}
	}
	if x.RequestID != "" || x.UserAgent != "" {
		e.HTTPRequest = &ocsfRequest{x.RequestID, x.UserAgent}
	}
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
