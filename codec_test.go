package scsguard_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Types of an application, registered as it would.
type (
	codecAddress struct {
		Street string
		Lines  []string
		Extra  any
	}
	codecRole string
	codecTree struct {
		Name  string
		Sons  []*codecTree
		Index map[string]any
	}
	codecPanics struct{ N int }
)

func (codecPanics) GobEncode() ([]byte, error) { return []byte{1}, nil }
func (*codecPanics) GobDecode([]byte) error    { panic("not written for this") }

func registerCodecTypes() {
	for _, v := range []any{
		codecAddress{}, codecRole(""), codecTree{}, codecPanics{}, time.Time{}, time.Duration(0), map[string]string{}, map[string]any{}, []any{}, netip.Addr{}, [3]int{},
	} {
		gob.Register(v)
	}
}

var codecDeadline = time.Date(2026, 11, 21, 10, 30, 0, 123456789, time.UTC)

// everyType has values of all types that Codec knows, and of some that it does not.
func everyType() map[string]any {
	return map[string]any{
		"": "empty key", "string": "v\x00\xff ü", "empty": "", "true": true, "false": false, "nil": nil,
		"int": -1, "int8": int8(-128), "int16": int16(math.MinInt16), "int32": int32(math.MaxInt32), "int64": int64(math.MinInt64), "max": int64(math.MaxInt64),
		"uint": uint(7), "uint8": uint8(255), "uint16": uint16(65535), "uint32": uint32(math.MaxUint32), "uint64": uint64(math.MaxUint64), "uintptr": uintptr(9),
		"float32": float32(1.5), "float64": -math.Pi, "inf": math.Inf(-1), "negative zero": math.Copysign(0, -1), "complex": 1 + 2i,
		"bytes": []byte{0, 255, 1}, "no bytes": []byte{}, "nil bytes": []byte(nil),
		"strings": []string{"", "a", strings.Repeat("b", 300)}, "no strings": []string{}, "nil strings": []string(nil),
		"map": map[string]string{"": "", "b": "2", "a": "1"}, "no map": map[string]string{}, "nil map": map[string]string(nil),
		"time": codecDeadline, "zero time": time.Time{}, "local time": codecDeadline.Local(), "zone": codecDeadline.In(time.FixedZone("X", 3600)),
		"zone with seconds": codecDeadline.In(time.FixedZone("X", 12345)), "before 1970": time.Unix(-1, 999999999).UTC(), "duration": -time.Hour,
		"struct": codecAddress{"S", []string{"1"}, codecRole("deep")}, "named": codecRole("admin"), "pointer": &codecAddress{Street: "P"},
		"ints": []int{1, 2, 3}, "array": [3]int{1, 2, 3}, "any": []any{1, "x", codecAddress{Street: "in any"}, nil}, "addr": netip.MustParseAddr("2001:db8::1"),
		"tree": codecTree{"root", []*codecTree{{Name: "a", Index: map[string]any{"x": codecRole("y"), "z": []any{codecAddress{}}}}, {Name: "b"}}, nil},
	}
}

// viaGob is what GobCodec makes of the values.
func viaGob(t testing.TB, deadline time.Time, values map[string]any) (time.Time, map[string]any) {
	b, err := scs.GobCodec{}.Encode(deadline, values)
	require.NoError(t, err)
	deadline, values, err = scs.GobCodec{}.Decode(b)
	require.NoError(t, err)
	return deadline, values
}

func TestCodecGivesBackWhatGobCodecGivesBack(t *testing.T) {
	registerCodecTypes()
	codec := scsguard.Codec{}
	check := func(values map[string]any) {
		b, err := codec.Encode(codecDeadline, values)
		require.NoError(t, err)
		deadline, got, err := codec.Decode(b)
		require.NoError(t, err)
		wantDeadline, want := viaGob(t, codecDeadline, values)
		require.Equal(t, wantDeadline, deadline)
		require.Equal(t, want, got)
	}
	for key, v := range everyType() {
		check(map[string]any{key: v})
	}
	check(everyType())
	check(map[string]any{})
}

func TestCodecReadsWhatGobCodecWrote(t *testing.T) {
	registerCodecTypes()
	for key, v := range everyType() {
		b, err := scs.GobCodec{}.Encode(codecDeadline, map[string]any{key: v, "other": 1})
		require.NoError(t, err)
		deadline, got, err := scsguard.Codec{}.Decode(b)
		require.NoError(t, err, key)
		_, want := viaGob(t, codecDeadline, map[string]any{key: v, "other": 1})
		require.Equal(t, codecDeadline, deadline)
		require.Equal(t, want, got)
	}
	b, err := scs.GobCodec{}.Encode(codecDeadline, everyType())
	require.NoError(t, err)
	_, got, err := scsguard.Codec{}.Decode(b)
	require.NoError(t, err)
	_, want := viaGob(t, codecDeadline, everyType())
	require.Equal(t, want, got)
}

func TestReadOnlyWritesWhatGobCodecReads(t *testing.T) {
	registerCodecTypes()
	b, err := scsguard.Codec{ReadOnly: true}.Encode(codecDeadline, everyType())
	require.NoError(t, err)
	_, got, err := scs.GobCodec{}.Decode(b)
	require.NoError(t, err)
	_, want := viaGob(t, codecDeadline, everyType())
	require.Equal(t, want, got)
	b, err = scsguard.Codec{}.Encode(codecDeadline, everyType())
	require.NoError(t, err)
	_, got, err = scsguard.Codec{ReadOnly: true}.Decode(b)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestEqualDataHasEqualBytes(t *testing.T) {
	values := everyType()
	for key, v := range values {
		switch v.(type) {
		case codecTree, codecAddress, *codecAddress, []any: // what gob embeds may hold maps
			delete(values, key)
		}
	}
	for i := range 100 {
		values[fmt.Sprint("key", i)] = i
	}
	registerCodecTypes()
	want, err := scsguard.Codec{}.Encode(codecDeadline, values)
	require.NoError(t, err)
	for range 20 {
		again := make(map[string]any)
		maps.Copy(again, values)
		got, err := scsguard.Codec{}.Encode(codecDeadline, again)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, decoded, err := scsguard.Codec{}.Decode(want)
	require.NoError(t, err)
	got, err := scsguard.Codec{}.Encode(codecDeadline, decoded)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// The form is not to change: other processes and later versions read it.
func TestCodecGolden(t *testing.T) {
	values := map[string]any{
		"bool": true, "off": false, "nil": nil, "s": "alice", "b": []byte{1, 2}, "i": -3, "i8": int8(-3), "i16": int16(-3), "i32": int32(-3), "i64": int64(-3),
		"u": uint(300), "u8": uint8(3), "u16": uint16(300), "u32": uint32(300), "u64": uint64(300), "f32": float32(1), "f64": 1.0,
		"t": time.Unix(1, 2).UTC(), "z": time.Unix(1, 2).In(time.FixedZone("", 12345)), "d": time.Second, "l": []string{"a", ""}, "m": map[string]string{"k": "v"},
	}
	want := "b501" + codecGolden
	b, err := scsguard.Codec{}.Encode(codecDeadline, values)
	require.NoError(t, err)
	require.Equal(t, want, hex.EncodeToString(b))
	golden, err := hex.DecodeString(want)
	require.NoError(t, err)
	deadline, got, err := scsguard.Codec{}.Decode(golden)
	require.NoError(t, err)
	require.Equal(t, codecDeadline, deadline)
	require.Equal(t, values, got)
}

const codecGolden = "d0ca8bb00d" + "959aef3a" + "00" + // the deadline, in UTC
	"16" + // 22 values
	"0162" + "04" + "020102" + // b
	"04626f6f6c" + "02" + // bool
	"0164" + "12" + "80a8d6b907" + // d
	"03663332" + "0f" + "3f800000" +
	"03663634" + "10" + "3ff0000000000000" +
	"0169" + "05" + "05" + // i
	"03693136" + "07" + "05" + "03693332" + "08" + "05" + "03693634" + "09" + "05" + "026938" + "06" + "05" +
	"016c" + "13" + "02" + "0161" + "00" + // l
	"016d" + "14" + "01" + "016b" + "0176" + // m
	"036e696c" + "00" + // nil
	"036f6666" + "01" + // off
	"0173" + "03" + "05616c696365" + // s
	"0174" + "11" + "02" + "02" + "00" + // t
	"0175" + "0a" + "ac02" + // u
	"03753136" + "0c" + "ac02" + "03753332" + "0d" + "ac02" + "03753634" + "0e" + "ac02" + "027538" + "0b" + "03" +
	"017a" + "11" + "02" + "02" + "f3c001" // z, 12345 s east

func TestCodecNamesTheValueThatCannotBeEncoded(t *testing.T) {
	type unregistered struct{ X int }
	for name, v := range map[string]any{"a function": func() {}, "a type that gob does not know": unregistered{1}} {
		_, err := scsguard.Codec{}.Encode(codecDeadline, map[string]any{name: v, "other": 1})
		require.ErrorContains(t, err, name)
	}
}

func TestCodecRefusesEveryOtherEncodingOfItsOwnForm(t *testing.T) {
	codec := scsguard.Codec{}
	values := map[string]any{"a": "x", "b": 1, "t": codecDeadline, "m": map[string]string{"k": "v", "l": "w"}, "l": []string{"q"}, "f": 1.5}
	good, err := codec.Encode(codecDeadline, values)
	require.NoError(t, err)
	for n := range good {
		_, _, err := codec.Decode(good[:n])
		require.Error(t, err, "cut after %d bytes", n)
	}
	_, _, err = codec.Decode(append(bytes.Clone(good), 0))
	require.Error(t, err, "a byte too many")
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			deadline, got, err := codec.Decode(bad)
			if err == nil { // then it is other data, and these are its bytes
				again, err := codec.Encode(deadline, got)
				require.NoError(t, err)
				require.Equal(t, bad, again, "byte %d, bit %d", i, bit)
			}
		}
	}
	head := good[:2:2]
	zero := append(head, 0, 0, 0) // a deadline
	for name, bad := range map[string][]byte{
		"another version":          append([]byte{good[0], 2}, good[2:]...),
		"the same key twice":       append(zero, 2, 1, 'a', 0, 1, 'a', 0),
		"keys in the wrong order":  append(zero, 2, 1, 'b', 0, 1, 'a', 0),
		"an unknown tag":           append(zero, 1, 1, 'a', 200),
		"a number with a zero":     append(zero, 1, 1, 'a', 5, 0x80, 0),
		"a number beyond 64 bits":  append(zero, 1, 1, 'a', 9, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2),
		"a number that never ends": append(zero, 1, 1, 'a', 9, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1),
		"an int8 beyond its range": append(zero, 1, 1, 'a', 6, 0x80, 2),
		"a uint8 beyond its range": append(zero, 1, 1, 'a', 11, 0x80, 2),
		"a second of nanoseconds":  append(head, 0, 0x80, 0x94, 0xeb, 0xdc, 3, 0, 0),
		"a zone beyond all zones":  append(head, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0),
		"a map with a key twice":   append(zero, 1, 1, 'a', 20, 2, 1, 'k', 0, 1, 'k', 0),
		"nothing after the magic":  good[:1],
		"gob with a byte too many": append(zero, 1, 1, 'a', 21, 5, 4, 6, 0, 2, 0),
	} {
		_, _, err := codec.Decode(bad)
		require.Error(t, err, name)
	}
}

// What a single Decode may allocate, for n bytes.
func codecAllowance(n int) uint64 { return 128<<10 + 256*uint64(n) }

func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestCodecAllocatesNoMoreThanBytesCanClaim(t *testing.T) {
	registerCodecTypes()
	codec := scsguard.Codec{}
	huge := []byte{0xff, 0xff, 0x3f} // as an unsigned varint: 2^20 - 1
	own := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{{0xB5, 1, 0, 0, 0}}, parts...), nil) }
	hostile := map[string][]byte{
		"values":        own(huge),
		"a key":         own([]byte{1}, huge),
		"a string":      own([]byte{1, 1, 'a', 3}, huge),
		"bytes":         own([]byte{1, 1, 'a', 4}, huge),
		"strings":       own([]byte{1, 1, 'a', 19}, huge),
		"a map":         own([]byte{1, 1, 'a', 20}, huge),
		"a gob":         own([]byte{1, 1, 'a', 21}, huge),
		"a gob message": own([]byte{1, 1, 'a', 21, 5, 0xfc, 0x3f, 0xff, 0xff, 0xff}),
		"a gob stream":  {0xfc, 0x3f, 0xff, 0xff, 0xff},
	}
	stream, err := scs.GobCodec{}.Encode(codecDeadline, map[string]any{"abc": 1})
	require.NoError(t, err)
	hostile["a gob map"] = claimMillion(t, stream)
	var embedded bytes.Buffer
	var v any = map[string]any{"abc": 1}
	require.NoError(t, gob.NewEncoder(&embedded).Encode(&v))
	claim := claimMillion(t, embedded.Bytes())
	hostile["an embedded gob map"] = own([]byte{1, 1, 'a', 21, byte(len(claim))}, claim)
	for name, b := range hostile {
		n := allocatedBy(func() {
			_, _, err := codec.Decode(b)
			require.Error(t, err, name)
		})
		require.Less(t, n, codecAllowance(len(b)), name)
	}
}

// claimMillion makes the map with the one key "abc" in a gob stream one that claims
// to have a million.
func claimMillion(t *testing.T, b []byte) []byte {
	at := bytes.LastIndex(b, []byte("\x01\x03abc"))
	require.Positive(t, at)
	last := 0 // where the last message begins, behind those that define types
	for last+1+int(b[last]) < len(b) {
		last += 1 + int(b[last])
	}
	require.Less(t, int(b[last]), 0x7b)
	bad := append(append(bytes.Clone(b[:at]), 0xfd, 0x0f, 0xff, 0xff), b[at+1:]...)
	bad[last] += 3
	return bad
}

func TestCodecSurvivesDamage(t *testing.T) {
	registerCodecTypes()
	codec := scsguard.Codec{}
	var all [][]byte
	for _, values := range []map[string]any{everyType(), {"any": everyType()["any"], "tree": everyType()["tree"]}} {
		for _, c := range []scsguard.Codec{{}, {ReadOnly: true}} {
			b, err := c.Encode(codecDeadline, values)
			require.NoError(t, err)
			all = append(all, b)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		b := bytes.Clone(all[random.IntN(len(all))])
		for range 1 + random.IntN(3) {
			at := random.IntN(len(b))
			switch random.IntN(4) {
			case 0:
				b[at] = byte(random.Uint32())
			case 1:
				b[at] = []byte{0, 1, 0x7f, 0x80, 0xf8, 0xfc, 0xff}[random.IntN(7)]
			case 2:
				b = append(b[:at], append([]byte{0xfb, 0x7f, 0xff, 0xff, 0xff, 0xff}, b[at:]...)...)
			case 3:
				b = append(b[:at], b[min(len(b), at+1+random.IntN(8)):]...)
			}
			if len(b) == 0 {
				b = []byte{0}
			}
		}
		n := allocatedBy(func() { _, _, _ = codec.Decode(b) })
		require.Less(t, n, codecAllowance(len(b)), "%x", b)
	}
}

func TestAPanicOfAnApplicationsTypeIsAnError(t *testing.T) {
	registerCodecTypes()
	for _, c := range []scsguard.Codec{{}, {ReadOnly: true}} {
		b, err := c.Encode(codecDeadline, map[string]any{"p": codecPanics{1}})
		require.NoError(t, err)
		_, _, err = c.Decode(b)
		require.ErrorContains(t, err, "not written for this")
	}
}

func TestWhatIsDecodedSharesNoMemoryWithTheBytes(t *testing.T) {
	values := map[string]any{"s": "text", "b": []byte("bytes"), "l": []string{"item"}, "m": map[string]string{"k": "v"}}
	b, err := scsguard.Codec{}.Encode(codecDeadline, values)
	require.NoError(t, err)
	_, got, err := scsguard.Codec{}.Decode(b)
	require.NoError(t, err)
	clear(b)
	require.Equal(t, values, got)
	got["b"].([]byte)[0] = 'X'
	require.Equal(t, "text", got["s"])
}

func TestAGuardedApplicationGoesOnWhenItsCodecChanges(t *testing.T) {
	sm := newManager()
	bubbleOn(t, sm, func(t *testing.T, a *app) {
		b := a.browser()
		b.login(t, "alice")
		b.get("/put?k=cart&v=book")
		for _, codec := range []scs.Codec{scsguard.Codec{ReadOnly: true}, scsguard.Codec{}, scsguard.Codec{ReadOnly: true}, scs.GobCodec{}} {
			a.sm.Codec = codec
			require.True(t, strings.HasPrefix(b.whoami(), "alice"))
			require.Equal(t, "cart=book user=alice", b.values(a))
			b.get("/put?k=n&v=" + fmt.Sprintf("%T", codec)) // written in its form
			b.get("/put?k=n&v=")
			b.get("/elevate?role=admin")
			require.Equal(t, "cart=book n= user=alice", b.values(a))
			a.on(fmt.Sprintf("/remove-%p", &codec), func(ctx context.Context) error { a.sm.Remove(ctx, "n"); return nil })
			b.get(fmt.Sprintf("/remove-%p", &codec))
		}
	})
}
