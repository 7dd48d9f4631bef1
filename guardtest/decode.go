package guardtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/scsguard/scsguard"
)

// line is a record of the trail.
type line struct {
	ID                 string             `json:"id"`
	Time               time.Time          `json:"time"`
	Kind               scsguard.EventKind `json:"event"`
	Outcome            scsguard.Outcome   `json:"outcome"`
	Reason             string             `json:"reason"`
	User               string             `json:"user"`
	Actor              string             `json:"actor"`
	Session            string             `json:"session"`
	SessionSeq         uint64             `json:"session_seq"`
	TokenHash          string             `json:"token_hash"`
	IP                 string             `json:"ip"`
	IPSource           string             `json:"ip_source"`
	UserAgent          string             `json:"user_agent"`
	Fingerprint        string             `json:"fingerprint"`
	RequestID          string             `json:"request_id"`
	Route              string             `json:"route"`
	Transaction        string             `json:"transaction"`
	AuthMethods        []string           `json:"auth_methods"`
	AAL                int                `json:"aal"`
	AuthTime           time.Time          `json:"auth_time"`
	Created            time.Time          `json:"created"`
	IdleExpires        time.Time          `json:"idle_expires"`
	AbsoluteExpires    time.Time          `json:"absolute_expires"`
	IdleExpiresOld     time.Time          `json:"idle_expires_old"`
	AbsoluteExpiresOld time.Time          `json:"absolute_expires_old"`
	Due                time.Time          `json:"due"`
	Concurrent         int                `json:"concurrent"`
	Others             []string           `json:"others"`
	Max                int                `json:"max"`
	Details            map[string]string  `json:"details"`
}

// decode reads a record. A field that it does not know is an error: it could not
// be found by anybody who looks for it.
func decode(record []byte) (scsguard.Event, error) {
	var l line
	d := json.NewDecoder(bytes.NewReader(record))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return scsguard.Event{}, fmt.Errorf("guardtest: a record of the trail cannot be read (%w): %.200q", err, record)
	}
	if d.More() {
		return scsguard.Event{}, fmt.Errorf("guardtest: a record of the trail is not one JSON object: %.200q", record)
	}
	if l.ID == "" || l.Kind == "" || l.Time.IsZero() {
		return scsguard.Event{}, errors.New("guardtest: a record of the trail has no id, time or event; only a guard can write to this sink")
	}
	e := scsguard.Event{
		ID: l.ID, Time: l.Time, Kind: l.Kind, Outcome: l.Outcome, Reason: l.Reason, User: l.User, Actor: l.Actor,
		Session: l.Session, SessionSeq: l.SessionSeq, TokenHash: l.TokenHash, IPSource: l.IPSource, UserAgent: l.UserAgent,
		Fingerprint: l.Fingerprint, RequestID: l.RequestID, Route: l.Route, Transaction: l.Transaction,
		AuthMethods: l.AuthMethods, AAL: l.AAL, AuthTime: l.AuthTime, Created: l.Created,
		IdleExpires: l.IdleExpires, AbsoluteExpires: l.AbsoluteExpires,
		IdleExpiresOld: l.IdleExpiresOld, AbsoluteExpiresOld: l.AbsoluteExpiresOld,
		Due: l.Due, Concurrent: l.Concurrent, Others: l.Others, Max: l.Max, Details: l.Details,
	}
	e.IP, _ = netip.ParseAddr(l.IP) // absent, or cut: no address
	return e, nil
}
