package redisregistry

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// answers asks a clock that is ahead of Redis's by d, with a way there and a way back.
func answers(c *clock, at time.Time, d, there, back time.Duration) offset {
	return c.observe(at, at.Add(there+back), at.Add(there-d))
}

func TestTheClockIsNarrowedByEveryAnswerAndNeverMissesTheTruth(t *testing.T) {
	const d = 3 * time.Hour
	c := &clock{}
	at := began
	for _, way := range [][2]time.Duration{{40, 2}, {1, 30}, {1, 1}, {50, 50}, {0, 3}} {
		o := answers(c, at, d, way[0]*time.Millisecond, way[1]*time.Millisecond)
		require.LessOrEqual(t, o.lo, d)
		require.GreaterOrEqual(t, o.hi, d)
		at = at.Add(time.Second)
	}
	o := answers(c, at, d, time.Second, time.Second)
	require.Less(t, o.hi-o.lo, 10*time.Millisecond, "one slow answer does not spoil what faster ones have told")
	require.InDelta(t, d, o.mid(), float64(5*time.Millisecond))
}

func TestAClockThatWasSetIsBelievedAtOnce(t *testing.T) {
	c := &clock{}
	answers(c, began, 0, time.Millisecond, time.Millisecond)
	for _, d := range []time.Duration{time.Hour, -time.Hour, 26 * 365 * 24 * time.Hour} {
		o := answers(c, began.Add(time.Minute), d, time.Millisecond, time.Millisecond)
		require.InDelta(t, d, o.mid(), float64(2*time.Millisecond))
	}
}

// Who proved who he is after EndAll has returned must not be refused because his answer
// took longer on its way than that of EndAll.
func TestAnAuthenticationAfterAnAnswerIsAfterIt(t *testing.T) {
	for _, way := range [][2]time.Duration{{1, 1}, {1, 500}, {500, 1}} {
		c := &clock{}
		ended := began.Add(time.Millisecond) // on Redis's clock, which is ours
		answers(c, began, 0, time.Millisecond, time.Millisecond)
		authenticated := began.Add(2 * time.Millisecond) // the answer is there
		o := answers(c, authenticated, 0, way[0]*time.Millisecond, way[1]*time.Millisecond)
		require.False(t, o.latest(authenticated).Before(ended))
		require.True(t, o.latest(authenticated.Add(-time.Second)).Before(ended), "and who did so well before is before it")
	}
}

func TestEveryTimeOfARecordIsConvertedAndZeroStaysZero(t *testing.T) {
	var rec scsguard.Record
	rec.Warnings = []scsguard.Warning{{}}
	n := 0
	var fill func(v reflect.Value, set bool)
	fill = func(v reflect.Value, set bool) {
		switch {
		case v.Type() == reflect.TypeFor[time.Time]():
			n++
			if set {
				v.Set(reflect.ValueOf(began))
			} else {
				require.True(t, v.Interface().(time.Time).Equal(began.Add(time.Hour)), "a time stays on the other clock")
			}
		case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[scsguard.Record]().PkgPath():
			for i := range v.NumField() {
				fill(v.Field(i), set)
			}
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
			for i := range v.Len() {
				fill(v.Index(i), set)
			}
		}
	}
	fill(reflect.ValueOf(&rec).Elem(), true)
	require.Equal(t, 13, n)
	moved := offset{time.Hour, time.Hour}.recordFromRedis(rec)
	fill(reflect.ValueOf(&moved).Elem(), false)
	require.Equal(t, began, rec.Warnings[0].Time, "the record that was handed in is unchanged")
	require.Equal(t, scsguard.Record{}, offset{time.Hour, time.Hour}.recordFromRedis(scsguard.Record{}))
}

func TestEveryScriptTouchesOneKey(t *testing.T) {
	files, err := filepath.Glob("lua/*.lua")
	require.NoError(t, err)
	require.Greater(t, len(files), 10)
	call := regexp.MustCompile(`redis\.call\('([A-Z]+)'(?:, ([^,)]+))?`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotContains(t, string(b), "KEYS[2]", file)
		for _, m := range call.FindAllStringSubmatch(string(b), -1) {
			if m[1] != "TIME" && m[1] != "PUBLISH" {
				require.Equal(t, "KEYS[1]", m[2], "%s: %s", file, m[0])
			}
		}
	}
}

func TestWhatIsStoredComesBackWhole(t *testing.T) {
	rec := scsguard.Record{Session: "s", User: "\xff", Key: "k", State: scsguard.StateLive, Created: began, Idle: time.Hour, Absolute: began.Add(time.Hour),
		Warnings: []scsguard.Warning{{Time: began, Session: "other"}, {Session: "third"}}, Extra: []byte{0, 0xff}}
	s := stored{key: "k", rec: rec, keep: time.Hour, retention: time.Minute, parent: "old"}
	raw, err := s.encode()
	require.NoError(t, err)
	back := decode("k", raw)
	require.False(t, back.bad)
	require.Equal(t, rec, back.rec)
	require.Equal(t, s.keep, back.keep)
	require.Equal(t, s.retention, back.retention)
	require.Equal(t, s.parent, back.parent)
	for i := range raw { // no prefix of it, and nothing behind it
		require.True(t, decode("k", raw[:i]).bad || i >= 5+int(raw[4])+int(raw[3])<<8, "cut off at %d", i)
	}
	e := entry{"key", "session", "user\x00"}
	parsed, ok := parseEntry(e.member())
	require.True(t, ok)
	require.Equal(t, e, parsed)
}
