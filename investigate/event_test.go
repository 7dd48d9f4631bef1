package investigate

import (
	"bytes"
	"encoding/json"
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
	require.Equal(t, "Y", e.retracts)
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
		newHistory(e.Session, []Event{e, e}).holes()
		if !json.Valid(b) {
			return
		}
		// Names twice, or spelt in another case, mean different things to different
		// readers; no guard writes them.
		var all map[string]json.RawMessage
		if json.Unmarshal(b, &all) != nil || all == nil {
			return
		}
		var fs fields
		require.True(t, fs.split(b))
		for name, got := range map[string][]byte{"user": fs.user, "session": fs.session, "event": fs.kind, "reason": fs.reason} {
			if hasTwice(b, name) {
				continue
			}
			var want string
			if json.Unmarshal(all[name], &want) != nil {
				want = ""
			}
			require.Equal(t, want, text(got), "%s in %s", name, b)
		}
	})
}

// hasTwice reports whether an object has a name twice, as far as that can be told
// from its tokens.
func hasTwice(b []byte, name string) bool {
	dec := json.NewDecoder(bytes.NewReader(b))
	n := 0
	for {
		tok, err := dec.Token()
		if err != nil {
			return n > 1
		}
		if tok == name {
			n++
		}
	}
}
