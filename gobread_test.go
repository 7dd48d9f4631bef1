package scsguard_test

import (
	"encoding/gob"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// guardedGob returns the codec of a manager that had scs.GobCodec when it got a guard.
func guardedGob(t testing.TB) scs.Codec {
	sm := scs.New()
	sm.Store = memstore.NewWithCleanupInterval(0)
	sm.Cookie.Secure, sm.Cookie.Name = true, "__Host-session"
	g, err := scsguard.New(sm, scsguard.Config{
		Timeouts: scsguard.Timeouts{Idle: time.Hour, Absolute: 8 * time.Hour}, Audit: scsguard.NewWriterSink(t.Output()), SweepEvery: -1,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close(t.Context())) })
	return sm.Codec
}

// simple returns values as most sessions hold them, and those at the edges of their types.
func simple() map[string]any {
	values := everyType()
	maps.DeleteFunc(values, func(_ string, v any) bool { return !isSimple(v) })
	return values
}

func isSimple(v any) bool {
	switch v.(type) {
	case nil, bool, string, []byte, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, time.Time:
		return true
	}
	return false
}

// sameAsGob checks that what is read from b is what gob reads.
func sameAsGob(t *testing.T, b []byte) {
	deadline, got, err := scsguard.Codec{}.Decode(b) // refuses what would take all memory
	if err != nil || b[0] == 0xB5 {
		return
	}
	wantDeadline, want, err := scs.GobCodec{}.Decode(b)
	require.NoError(t, err)
	require.True(t, wantDeadline.Equal(deadline))
	require.Equal(t, len(want), len(got))
	for key, v := range want {
		if isSimple(v) {
			require.Equal(t, fmt.Sprintf("%#v", v), fmt.Sprintf("%#v", got[key])) // not a number equals nothing
		}
	}
}

const gobAllocations = 150 // gob needs more even for one value

func TestAGuardReadsGobWithoutGobButGetsTheSame(t *testing.T) {
	registerCodecTypes()
	codec := guardedGob(t)
	check := func(values map[string]any) []byte {
		b, err := codec.Encode(codecDeadline, values)
		require.NoError(t, err)
		deadline, got, err := codec.Decode(b)
		require.NoError(t, err)
		wantDeadline, want := viaGob(t, codecDeadline, values)
		require.Equal(t, wantDeadline, deadline)
		require.Equal(t, want, got)
		return b
	}
	allocations := func(b []byte) float64 {
		return testing.AllocsPerRun(10, func() { _, _, _ = codec.Decode(b) })
	}
	for key, v := range simple() {
		require.Less(t, allocations(check(map[string]any{key: v})), 10.0, "%s is not read quickly", key)
	}
	require.Less(t, allocations(check(simple())), 10+2*float64(len(simple())))
	for _, values := range []map[string]any{nil, {}} {
		require.Less(t, allocations(check(values)), 10.0)
	}
	check(everyType())
	for key, v := range everyType() {
		check(map[string]any{key: v, "other": 1})
	}
}

// Whoever reads bytes quicker must not accept more.
func TestWhatGobRefusesIsRefusedAndWhatItReadsIsReadAlike(t *testing.T) {
	registerCodecTypes()
	codec := guardedGob(t)
	b, err := codec.Encode(codecDeadline, simple())
	require.NoError(t, err)
	for i := range b {
		_, _, err := codec.Decode(b[:i])
		require.Error(t, err)
		for _, bit := range []byte{1, 2, 4, 8, 16, 32, 64, 128} {
			flipped := append([]byte(nil), b...)
			flipped[i] ^= bit
			sameAsGob(t, flipped)
		}
	}
	sameAsGob(t, append(b, 0))
}

// What no encoder writes, gob has an opinion of as well.
func TestAStreamThatWasTamperedWithIsJudgedAsGobJudgesIt(t *testing.T) {
	registerCodecTypes()
	codec := guardedGob(t)
	stream := func(values map[string]any, tamper func(string) string) []byte {
		b, err := codec.Encode(codecDeadline, values)
		require.NoError(t, err)
		at := 0 // where the last message begins, behind those that define types
		for at+1+int(b[at]) < len(b) {
			at += 1 + int(b[at])
		}
		message := tamper(string(b[at+1:]))
		require.Less(t, len(message), 0x80)
		return append(append(b[:at:at], byte(len(message))), message...)
	}
	replace := func(old, by string) func(string) string {
		return func(s string) string {
			require.Equal(t, 1, strings.Count(s, old))
			return strings.Replace(s, old, by, 1)
		}
	}
	deadline, err := codecDeadline.MarshalBinary()
	require.NoError(t, err)
	field := string(append([]byte{byte(len(deadline))}, deadline...))
	for name, b := range map[string][]byte{
		"an int that does not fit":  stream(map[string]any{"n": int64(40000)}, replace("int64", "int16")),
		"a uint that does not fit":  stream(map[string]any{"n": uint64(70000)}, replace("uint64", "uint16")),
		"a float that does not fit": stream(map[string]any{"n": 1e300}, replace("float64", "float32")),
		"a text as a number":        stream(map[string]any{"n": "12"}, replace("string", "uint64")),
		"bytes as a text":           stream(map[string]any{"n": []byte("12")}, replace("\x07[]uint8", "\x06string")),
		"a number as a truth":       stream(map[string]any{"n": int8(1)}, replace("int8", "bool")),
		"a name that nobody knows":  stream(map[string]any{"n": int8(1)}, replace("int8", "int9")),
		"a time of another type":    stream(map[string]any{"n": codecDeadline}, replace("time.Time", "time.Tide")),
		"a value that is not alone": stream(map[string]any{"n": "12"}, replace("\x00\x0212", "\x01\x0212")),
		"the deadline once more behind the values": stream(map[string]any{"n": "12"}, func(s string) string {
			return s[:len(s)-1] + "\xf8" + strings.Repeat("\xff", 8) + field + "\x00"
		}),
		"a third field":          stream(map[string]any{"n": "12"}, func(s string) string { return s[:len(s)-1] + "\x01" + field + "\x00" }),
		"something behind it":    stream(map[string]any{"n": "12"}, func(s string) string { return s + "more" }),
		"no deadline":            stream(map[string]any{"n": "12"}, func(s string) string { return strings.Replace(s, "\x01"+field+"\x01", "\x02", 1) }),
		"neither of both fields": stream(map[string]any{"n": "12"}, func(s string) string { return s[:strings.Index(s, "\x01"+field)] + "\x00" }),
		"the same key twice": stream(map[string]any{"n": "12"}, func(s string) string {
			return strings.Replace(s[:len(s)-1], "\x01\x01n", "\x02\x01n", 1) + s[strings.Index(s, "\x01n"):]
		}),
	} {
		t.Run(name, func(t *testing.T) {
			gotDeadline, got, err := codec.Decode(b)
			wantDeadline, want, wantErr := scs.GobCodec{}.Decode(b)
			require.Equal(t, wantErr == nil, err == nil)
			require.Equal(t, wantDeadline, gotDeadline)
			require.Equal(t, want, got)
			t.Log(wantErr, want)
		})
	}
	_, _, err = codec.Decode(stream(map[string]any{"n": "12"}, func(s string) string { return s[:len(s)-1] }))
	require.Error(t, err, "what breaks off, which gob takes for the end")
}

type gobList struct{ Next *gobList }

func listOf(n int) (list gobList) {
	for range n - 1 {
		list = gobList{&gobList{list.Next}}
	}
	return list
}

// Whoever can write to the store can do much, but not end the process.
func TestAGuardTakesNoMoreMemoryForGobThanItsBytesCanClaim(t *testing.T) {
	registerCodecTypes()
	gob.Register(gobList{})
	codec := guardedGob(t)
	stream, err := codec.Encode(codecDeadline, map[string]any{"abc": 1})
	require.NoError(t, err)
	_, _, err = codec.Decode(stream) // its head is known from now on
	require.NoError(t, err)
	for name, b := range map[string][]byte{"a map": claimMillion(t, stream), "a message": {0xfc, 0x3f, 0xff, 0xff, 0xff}} {
		n := allocatedBy(func() {
			_, _, err := codec.Decode(b)
			require.Error(t, err, name)
		})
		require.Less(t, n, codecAllowance(len(b)), name)
	}
	for n, deep := range map[int]bool{5000: false, 20_000: true} { // one beyond all bounds would overflow the stack, which nobody can recover from
		b, err := codec.Encode(codecDeadline, map[string]any{"list": listOf(n)})
		require.NoError(t, err)
		_, _, err = codec.Decode(b)
		require.Equal(t, deep, err != nil, n)
	}
}

func TestAPanicInGobIsAnErrorForAGuard(t *testing.T) {
	registerCodecTypes()
	codec := guardedGob(t)
	b, err := codec.Encode(codecDeadline, map[string]any{"n": codecPanics{}})
	require.NoError(t, err)
	_, _, err = codec.Decode(b)
	require.ErrorContains(t, err, "not written for this")
}

// To find the number of a time, each definition is tried.
func TestAHeadThatDefinesMoreThanAProgramDoesIsLeftToGob(t *testing.T) {
	codec := guardedGob(t)
	b, err := codec.Encode(codecDeadline, map[string]any{"n": 1})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		definitions, name int
		quick             bool
	}{"a few": {20, 1, true}, "many": {40, 1, false}, "long ones": {20, 250, false}} {
		t.Run(name, func(t *testing.T) {
			var head []byte
			for i := range c.definitions { // of lists of numbers, in the form of package gob
				id := 1000 + 2*i
				number := func(v int) []byte { return []byte{0xfe, byte(v >> 8), byte(v)} }
				m := slices.Concat(number(2*id-1), []byte{2, 1, 1}, number(c.name), make([]byte, c.name), []byte{1}, number(2*id), []byte{0, 1, 4, 0, 0})
				head = slices.Concat(head, number(len(m)), m)
			}
			b := append(head, b...)
			for range 2 {
				_, values, err := codec.Decode(b)
				require.NoError(t, err)
				require.Equal(t, map[string]any{"n": 1}, values)
			}
			require.Equal(t, c.quick, testing.AllocsPerRun(5, func() { _, _, _ = codec.Decode(b) }) < gobAllocations)
		})
	}
}

// A stream tells what its types are called and which numbers they have. Each is of
// another program, or of somebody who writes to the store.
func TestStreamsOfOtherProgramsAreReadAlikeAndNotRememberedWithoutEnd(t *testing.T) {
	codec := guardedGob(t)
	heads := func(i int) []byte {
		b, err := encodeAs(reflect.StructOf([]reflect.StructField{
			{Name: "Deadline", Type: reflect.TypeFor[time.Time]()},
			{Name: "Values", Type: reflect.TypeFor[map[string]any]()},
			{Name: fmt.Sprintf("Later%d", i), Type: reflect.TypeFor[string]()},
		}))
		require.NoError(t, err)
		return b
	}
	quick := 0
	for i := range 40 {
		b := heads(i)
		deadline, values, err := codec.Decode(b)
		require.NoError(t, err)
		require.Equal(t, codecDeadline, deadline)
		require.Equal(t, map[string]any{"user": "alice", "n": 7}, values)
		if testing.AllocsPerRun(5, func() { _, _, _ = codec.Decode(b) }) < gobAllocations {
			quick++
		}
	}
	require.Equal(t, 16, quick)
}

func TestFieldsOfAStreamAreNotConfused(t *testing.T) {
	codec := guardedGob(t)
	for name, fields := range map[string][]reflect.StructField{
		"in another order":  {{Name: "Values", Type: reflect.TypeFor[map[string]any]()}, {Name: "Deadline", Type: reflect.TypeFor[time.Time]()}},
		"of another type":   {{Name: "Deadline", Type: reflect.TypeFor[time.Time]()}, {Name: "Values", Type: reflect.TypeFor[map[string]string]()}},
		"by other names":    {{Name: "Created", Type: reflect.TypeFor[time.Time]()}, {Name: "Values", Type: reflect.TypeFor[map[string]any]()}},
		"both of one type":  {{Name: "Deadline", Type: reflect.TypeFor[time.Time]()}, {Name: "Values", Type: reflect.TypeFor[time.Time]()}},
		"with one in front": {{Name: "Began", Type: reflect.TypeFor[time.Time]()}, {Name: "Deadline", Type: reflect.TypeFor[time.Time]()}, {Name: "Values", Type: reflect.TypeFor[map[string]any]()}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := encodeAs(reflect.StructOf(fields))
			require.NoError(t, err)
			deadline, values, err := codec.Decode(b)
			wantDeadline, want, wantErr := scs.GobCodec{}.Decode(b)
			require.Equal(t, wantErr, err)
			require.Equal(t, wantDeadline, deadline)
			require.Equal(t, want, values)
		})
	}
}

// encodeAs encodes a session as a program would whose type for it is another one.
func encodeAs(typ reflect.Type) ([]byte, error) {
	v := reflect.New(typ)
	for i := range typ.NumField() {
		switch f := v.Elem().Field(i); f.Interface().(type) {
		case time.Time:
			f.Set(reflect.ValueOf(codecDeadline))
		case map[string]any:
			f.Set(reflect.ValueOf(map[string]any{"user": "alice", "n": 7}))
		case map[string]string:
			f.Set(reflect.ValueOf(map[string]string{"user": "alice"}))
		}
	}
	var b writer
	err := gob.NewEncoder(&b).Encode(v.Interface())
	return b, err
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// Whatever the bytes are: what is read quickly, gob reads alike.
func FuzzGobReader(f *testing.F) {
	registerCodecTypes()
	seed := func(values map[string]any) {
		b, err := scs.GobCodec{}.Encode(codecDeadline, values)
		require.NoError(f, err)
		f.Add(b)
	}
	seed(nil)
	seed(simple())
	for key, v := range simple() {
		seed(map[string]any{key: v})
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sameAsGob(t, b)
	})
}
