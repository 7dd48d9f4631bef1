package scsguard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Whatever a visitor sends as a cookie, nothing but a token of scs reaches the
// store, nothing fails, and nobody is logged in by it.
func FuzzCookie(f *testing.F) {
	for _, seed := range []string{
		"__Host-session=", "__Host-session=" + strings.Repeat("A", 43), "__Host-session=" + strings.Repeat("A", 42) + "*",
		"__Host-session=../../etc/passwd", "__Host-session={tag}", "a=b; __Host-session=\"x\"; __Host-session=" + strings.Repeat("-", 43), "__Host-session =\"" + strings.Repeat("_", 43) + "\"",
		"\t__Host-session=" + strings.Repeat("a", 43) + " ;", "__host-session=" + strings.Repeat("b", 43), "__Host-session= " + strings.Repeat("c", 43), "\x00=\xff", "",
	} {
		f.Add(seed)
	}
	store := &tokenStore{}
	sm := newManager()
	sm.Store = store
	a := newApp(f, sm, withMemoryRegistry)
	f.Fuzz(func(t *testing.T, cookie string) {
		r := httptest.NewRequest(http.MethodGet, "/whoami", nil)
		r.Header["Cookie"] = []string{cookie}
		w := httptest.NewRecorder()
		a.serve.ServeHTTP(w, r)
		require.Equal(t, http.StatusUnauthorized, w.Code)
		require.Empty(t, w.Header().Values("Set-Cookie"))
		tokens := make(map[string]bool) // among the cookies that net/http finds
		for _, c := range r.CookiesNamed("__Host-session") {
			if tokenShape.MatchString(c.Value) {
				tokens[c.Value] = true
			}
		}
		asked := make(map[string]bool)
		for _, token := range store.seen() {
			require.True(t, tokens[token], "it is asked for %q", token)
			asked[token] = true
		}
		require.Len(t, asked, min(len(tokens), 16))
	})
}

var tokenShape = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// tokenStore is empty and remembers what it was asked for.
type tokenStore struct {
	immortalStore
	askMu sync.Mutex
	asked []string
}

func (s *tokenStore) Find(token string) ([]byte, bool, error) {
	s.askMu.Lock()
	defer s.askMu.Unlock()
	s.asked = append(s.asked, token)
	return nil, false, nil
}

func (s *tokenStore) seen() []string {
	s.askMu.Lock()
	defer s.askMu.Unlock()
	seen := s.asked
	s.asked = nil
	return seen
}

// A record has one encoding: bytes that are accepted are those that would be
// written.
func FuzzRecord(f *testing.F) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 1, time.UTC)
	full := scsguard.Record{
		Session: "S", User: "a:*{\x00\xff", Role: "admin", BaseRole: "staff", Key: "K", State: scsguard.StateEnded, Created: now,
		AuthTime: now, Methods: []string{"pwd", "", "otp"}, AAL: 2, LoginAAL: 1, LastActivity: now, Idle: time.Minute, Absolute: now.Add(time.Hour),
		AbsoluteSince: now, LongestGap: time.Second, TokenSince: now, Fingerprint: "F", IP: netip.MustParseAddr("2001:db8::1%eth0"), UserAgent: "UA",
		Remembered: true, Actor: "root", External: "op", Seq: 1 << 63, Extends: 3,
		Warnings: []scsguard.Warning{{Time: now, Session: "T", IP: netip.MustParseAddr("192.0.2.1"), UserAgent: "UB"}, {}},
		Lease:    now, Owner: "O", Successor: "L", MovedAt: now, GraceUntil: now, Confirmed: true,
		Ending: scsguard.Ending{Kind: scsguard.EventLogout, Reason: scsguard.EndUser, At: now, Due: now, Actor: "x", Detail: "y", Keep: time.Hour},
		Extra:  []byte{100, 1, 'x', 0xc8, 1, 0},
	}
	for _, rec := range []scsguard.Record{{}, full, {Session: "only"}} {
		b, err := rec.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		var back scsguard.Record
		if err := back.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(rec, back) {
			f.Fatalf("a record came back otherwise: %v\n%#v\n%#v", err, rec, back)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var rec scsguard.Record
		if rec.UnmarshalBinary(b) != nil {
			require.Equal(t, scsguard.Record{}, rec, "an error leaves the record alone")
			return
		}
		again, err := rec.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

// The record of a type that has every field set must come back whole: a field
// that the encoding forgets is a field that a registry forgets.
func TestEveryFieldOfARecordIsEncoded(t *testing.T) {
	var check func(path string, v reflect.Value, rec *scsguard.Record)
	check = func(path string, v reflect.Value, rec *scsguard.Record) {
		for i := range v.NumField() {
			field, name := v.Field(i), path+v.Type().Field(i).Name
			if name == "Extra" {
				continue
			}
			if field.Kind() == reflect.Struct && field.Type() == reflect.TypeFor[scsguard.Ending]() {
				check(name+".", field, rec)
				continue
			}
			before, err := rec.MarshalBinary()
			require.NoError(t, err)
			fill(t, field)
			after, err := rec.MarshalBinary()
			require.NoError(t, err)
			require.False(t, bytes.Equal(before, after), "%s is not encoded", name)
		}
	}
	var rec scsguard.Record
	check("", reflect.ValueOf(&rec).Elem(), &rec)
}

func fill(t *testing.T, v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("::1")))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	default:
		t.Fatalf("a new kind of field: %s", v.Type())
	}
}

// An event is one line of JSON that a terminal and a line reader take for one,
// and whose strings come back, whatever bytes they hold.
func FuzzEvent(f *testing.F) {
	for _, seed := range []string{"\r\n", "\u2028\u2029\u0085", "\x00\x1b[2J\x7f\u009b", "\xff\xfe", "\u202egnp.exe", `"}{"`, strings.Repeat("é", 2000), "<script>&amp;"} {
		f.Add(seed, seed)
	}
	out := &sink{}
	a := newApp(f, newManager(), func(cfg *scsguard.Config) { cfg.Audit = out })
	f.Fuzz(func(t *testing.T, s, key string) {
		out.mu.Lock()
		out.lines = nil
		out.mu.Unlock()
		require.NoError(t, a.guard.Record(context.Background(), scsguard.Event{
			Kind: "fuzz", Reason: s, User: s, Transaction: s, Details: map[string]string{key: s},
		}))
		require.Len(t, out.lines, 1)
		line := out.lines[0]
		require.True(t, utf8.ValidString(line))
		require.True(t, json.Valid([]byte(line)))
		for _, r := range line {
			require.False(t, r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069, "%U", r)
		}
		require.Less(t, len(line), 32<<10)
		var e event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		if want := strings.ToValidUTF8(s, "\ufffd"); len(s) <= 256 && utf8.ValidString(s) {
			require.Equal(t, want, e.str("user"))
		}
	})
}
