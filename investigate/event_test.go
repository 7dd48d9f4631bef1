package investigate

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/auditlog"
)

func TestARecordIsReadAsEncodingJSONWouldReadIt(t *testing.T) {
	e := Parse(&auditlog.Record{Stream: "a/b", Seq: 7, Event: []byte(`{"id":"X","time":"2026-11-21T09:30:00.000001Z","event":"login","outcome":"success",` +
		`"user":"a\"b\u0041","session":"S","session_seq":3,"ip":"192.0.2.1","auth_methods":["pwd","otp"],"aal":2,"idle_expires":"2026-11-21T09:45:00Z",` +
		`"others":["A","B"],"unknown":{"x":[1,"}",{"y":null}]},"details":{"retracts":"Y","k":"v"}}`)})
	require.False(t, e.unreadable)
	require.Equal(t, Ref{Stream: "a/b", Seq: 7}, e.Ref)
	require.Equal(t, `a"bA`, e.User)
	require.Equal(t, uint64(3), e.SessionSeq)
	require.Equal(t, []string{"pwd", "otp"}, e.AuthMethods)
	require.Equal(t, []string{"A", "B"}, e.Others)
	require.Equal(t, map[string]string{"retracts": "Y", "k": "v"}, e.Details)
	require.Empty(t, e.retracts, "it succeeded")
	require.Equal(t, time.Date(2026, 11, 21, 9, 30, 0, 1000, time.UTC), e.Time)
	require.Equal(t, time.Date(2026, 11, 21, 9, 45, 0, 0, time.UTC), e.IdleExpires)
	require.Equal(t, "192.0.2.1", e.Addr().String())
	require.True(t, e.begins())
}

func TestWhatIsNoEventIsUnreadableAndNoPanic(t *testing.T) {
	for _, text := range []string{"", "{}", "[]", `{"event":"x"}`, `{"event":"x","time":"2026-02-30T09:30:00.000001Z"}`, `{"event":"x","time":5}`,
		`{"event":"x","time":"2026-11-21T09:30:00.000001Z"`, `{"event"`, `{"a":`, `{"a":"`, `{"a":{"b":"`, `{"a":1}x`,
		`{"event":"x","time":"2026-11-21T09:30:00.000001Z","details":[]}`, `{"event":"x","time":"2026-11-21T09:30:00.000001Z","due":"soon"}`} {
		e := Parse(&auditlog.Record{Event: []byte(text)})
		require.True(t, e.unreadable, text)
	}
}

// FuzzReader gives it any bytes: it must not panic, and read what encoding/json
// reads of a flat object.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"id":"X","time":"2026-11-21T09:30:00.000001Z","event":"login","session":"S","session_seq":3,"details":{"a":"}\""}}`))
	f.Add([]byte(`{"user":"\ud800","session":"","aal":1e3}`))
	f.Add([]byte(`{ "event" : "x" , "others" : [ "a" , "b" ] }`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := Parse(&auditlog.Record{Event: b})
		var s Session
		s.add(&e)
		s.finish()
		h := newHistory(e.Session, []Event{e, e})
		h.holes()
		for _, at := range []time.Time{{}, e.Time, e.Time.Add(1), e.IdleExpires, e.AbsoluteEnd, e.Time.Add(1e18)} {
			(&doubts{}).active(h, at)
			(&doubts{}).pair(h, h, time.Time{}, at)
		}
		h.movements(Rule{}.withDefaults())
		if !json.Valid(b) {
			return
		}
		var all map[string]json.RawMessage
		if json.Unmarshal(b, &all) != nil || all == nil {
			return
		}
		var fs fields
		if twice := hasTwice(b); !fs.split(b) || twice {
			require.True(t, twice, "%s", b)
			require.True(t, e.unreadable)
			return
		}
		for name, got := range map[string][]byte{"user": fs.user, "session": fs.session, "event": fs.kind, "reason": fs.reason} {
			var want string
			if json.Unmarshal(all[name], &want) != nil {
				want = ""
			}
			require.Equal(t, want, text(got), "%s in %s", name, b)
		}
	})
}

// hasTwice reports whether an object has a name twice that somebody looks at.
func hasTwice(b []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(b))
	_, _ = dec.Token()
	names := make(map[string]bool)
	for dec.More() {
		name, _ := dec.Token()
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return false
		}
		if names[name.(string)] && new(fields).slot([]byte(name.(string))) != nil {
			return true
		}
		names[name.(string)] = true
	}
	return false
}

// One reader takes the first of two values, another the last: which of two
// sessions an event is about must not depend on who reads.
func TestTwoValuesOfOneNameAreNoEvent(t *testing.T) {
	h := newHand(t)
	now := float64(20 * 60) // the seals are of now
	twice := strings.Replace(h.logout("S", 2, now), `"session":"S"`, `"session":"T","session":"S"`, 1)
	trail := h.write(h.login("S", now-5), twice).trail()
	a := h.alive(trail, "S", now-0.2)
	require.Equal(t, Unknown, a.Verdict)
	require.Equal(t, DoubtBroken, a.Doubts[0].Kind)
	events, _, err := trail.Timeline(t.Context(), TimelineQuery{})
	require.NoError(t, err)
	require.Len(t, events, 1)
}

// The name of the session may be what cannot be read.
func TestARecordThatCannotBeReadIsADoubtAlsoIfItNamesNoSession(t *testing.T) {
	h := newHand(t)
	for _, broken := range []string{
		strings.Replace(h.logout("S", 2, 10), `"session":"S"`, `"session":["S"]`, 1),
		strings.Replace(h.logout("S", 2, 10), `"session":"S"`, `"id":"2"`, 1),
	} {
		h := newHand(t)
		now := float64(20 * 60) // the seals are of now
		require.Equal(t, Unknown, h.alive(h.write(h.login("S", now-5), broken).trail(), "S", now-0.2).Verdict, broken)
	}
}

func TestAGapWhoseClockWasSetBackIsAGap(t *testing.T) {
	h := newHand(t)
	gap := `{"id":"G","time":` + quoted(9) + `,"event":"audit.gap","outcome":"failure","details":{"from":"` + stamp(at(8)) + `","to":"` + stamp(at(4)) + `","lost.extend":"3"}}`
	require.Equal(t, Unknown, h.alive(h.write(h.login("S", 0), gap, h.logout("S", 2, 12)).trail(), "S", 6).Verdict)
}
