package main

import (
	"strings"

	"github.com/scsguard/scsguard/auditlog"
)

// ecsVersion is the version of the Elastic Common Schema whose fields are used; all
// of them are in later ones, too.
const ecsVersion = "8.17.0"

// ecsEvent is an event in the Elastic Common Schema. What that has no name for is
// in scsguard, a name of our own as ECS asks for.
type ecsEvent struct {
	Timestamp string      `json:"@timestamp"`
	ECS       version     `json:"ecs"`
	Message   string      `json:"message"`
	Event     ecsCore     `json:"event"`
	User      *ecsUser    `json:"user,omitempty"`
	Related   *ecsRelated `json:"related,omitempty"`
	Source    *ecsSource  `json:"source,omitempty"`
	UserAgent *original   `json:"user_agent,omitempty"`
	HTTP      *ecsHTTP    `json:"http,omitempty"`
	Service   *named      `json:"service,omitempty"`
	Ours      ecsOurs     `json:"scsguard"`
}

type (
	version struct {
		Version string `json:"version"`
	}
	named struct {
		Name string `json:"name"`
	}
	original struct {
		Original string `json:"original"`
	}
	identified struct {
		ID string `json:"id"`
	}
	ecsUser struct {
		ID string `json:"id"`
	}
	ecsRelated struct {
		User []string `json:"user,omitempty"`
		IP   []string `json:"ip,omitempty"`
	}
	ecsSource struct {
		IP      string `json:"ip,omitempty"`
		Address string `json:"address"`
	}
	ecsHTTP struct {
		Request identified `json:"request"`
	}
)

// ecsCore is ECS's own description of an event.
type ecsCore struct {
	ID       string        `json:"id,omitempty"`
	Kind     string        `json:"kind"`
	Category []string      `json:"category,omitempty"`
	Type     []string      `json:"type"`
	Action   string        `json:"action"`
	Outcome  string        `json:"outcome"`
	Reason   string        `json:"reason,omitempty"`
	Provider string        `json:"provider"`
	Dataset  string        `json:"dataset"`
	Created  string        `json:"created"`
	Sequence int64         `json:"sequence"`
	Hash     auditlog.Hash `json:"hash"`
	Original string        `json:"original"`
}

// ecsOurs has the names of the trail.
type ecsOurs struct {
	OWASP       string            `json:"owasp,omitempty"`
	Stream      string            `json:"stream"`
	Session     string            `json:"session,omitempty"`
	SessionSeq  uint64            `json:"session_seq,omitempty"`
	TokenHash   string            `json:"token_hash,omitempty"`
	Actor       string            `json:"actor,omitempty"`
	IPSource    string            `json:"ip_source,omitempty"`
	Route       string            `json:"route,omitempty"`
	Transaction string            `json:"transaction,omitempty"`
	AuthMethods []string          `json:"auth_methods,omitempty"`
	AAL         int               `json:"aal,omitempty"`
	AuthTime    string            `json:"auth_time,omitempty"`
	Created     string            `json:"created,omitempty"`
	Idle        string            `json:"idle_expires,omitempty"`
	Absolute    string            `json:"absolute_expires,omitempty"`
	IdleOld     string            `json:"idle_expires_old,omitempty"`
	AbsoluteOld string            `json:"absolute_expires_old,omitempty"`
	Due         string            `json:"due,omitempty"`
	Concurrent  int               `json:"concurrent,omitempty"`
	Others      []string          `json:"others,omitempty"`
	Max         int               `json:"max,omitempty"`
	Details     map[string]string `json:"details,omitempty"`
}

func toECS(x *exported) ecsEvent {
	e := ecsEvent{
		Timestamp: cell(x.Time), ECS: version{ecsVersion}, Message: message(x),
		Event: ecsCore{
			ID: x.ID, Kind: "event", Category: x.categories, Type: []string{x.meaning.kind}, Action: action(x), Outcome: outcomeOf(&x.Event),
			Reason: x.Reason, Provider: "scsguard", Dataset: "scsguard.trail", Created: cell(x.Sealed),
			Sequence: x.Ref.Seq, Hash: x.Ref.Leaf, Original: rawText(x.line),
		},
		Ours: ecsOurs{
			OWASP: x.owasp, Stream: x.Ref.Stream, Session: x.Session, SessionSeq: x.SessionSeq, TokenHash: x.TokenHash, Actor: x.Actor,
			IPSource: x.IPSource, Route: x.Route, Transaction: x.Transaction, AuthMethods: x.AuthMethods, AAL: x.AAL,
			AuthTime: cell(x.AuthTime), Created: cell(x.Created), Idle: cell(x.IdleExpires), Absolute: cell(x.AbsoluteEnd),
			IdleOld: cell(x.IdleOld), AbsoluteOld: cell(x.AbsoluteOld), Due: cell(x.Due),
			Concurrent: x.Concurrent, Others: x.Others, Max: x.Max, Details: detailsOf(&x.Event),
		},
		Service: serviceOf(x.Ref.Stream),
	}
	if e.Timestamp == "" { // a document without one is refused
		e.Timestamp = cell(x.Sealed)
	}
	if x.alert {
		e.Event.Kind = "alert"
	}
	var related ecsRelated
	if x.User != "" {
		e.User, related.User = &ecsUser{x.User}, append(related.User, x.User)
	}
	if x.Actor != "" && x.Actor != x.User {
		related.User = append(related.User, x.Actor)
	}
	if x.IP != "" {
		e.Source = &ecsSource{Address: x.IP}
		if a := x.Addr(); a.IsValid() { // the field is of type ip, which takes no zone
			e.Source.IP = a.WithZone("").String()
			related.IP = []string{e.Source.IP}
		}
	}
	if len(related.User)+len(related.IP) > 0 {
		e.Related = &related
	}
	if x.UserAgent != "" {
		e.UserAgent = &original{x.UserAgent}
	}
	if x.RequestID != "" {
		e.HTTP = &ecsHTTP{identified{x.RequestID}}
	}
	return e
}

// action is the kind in the words of ECS, with dashes.
func action(x *exported) string {
	if m, ok := meanings[x.Kind]; ok && len(m.categories) > 0 && !strings.HasPrefix(string(x.Kind), "audit.") {
		return "session-" + strings.ReplaceAll(string(x.Kind), "_", "-")
	}
	return strings.NewReplacer("_", "-", ".", "-").Replace(string(x.Kind))
}

// message tells the event to people.
func message(x *exported) string {
	if x.Own {
		return "the log recorded " + string(x.Kind)
	}
	return x.Sentence()
}

// serviceOf is the application, as far as the name of a stream has it.
func serviceOf(stream string) *named {
	name, _, _ := strings.Cut(stream, "/")
	return &named{name}
}
