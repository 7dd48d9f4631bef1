package scsguard_test

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Whatever the bytes are, Decode returns an error or data whose bytes they are.
func FuzzCodecBytes(f *testing.F) {
	registerCodecTypes()
	for _, codec := range []scsguard.Codec{{}, {ReadOnly: true}} {
		b, err := codec.Encode(codecDeadline, everyType())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		for key, v := range everyType() {
			b, err := codec.Encode(codecDeadline, map[string]any{key: v})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		deadline, values, err := scsguard.Codec{}.Decode(b)
		if err != nil || len(b) == 0 || b[0] != 0xB5 {
			return
		}
		for _, v := range values {
			if !codecKnows(v) {
				return // gob has more than one form of it
			}
		}
		again, err := scsguard.Codec{}.Encode(deadline, values)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func codecKnows(v any) bool {
	switch v.(type) {
	case nil, bool, string, []byte, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, time.Time, time.Duration, []string, map[string]string:
		return true
	}
	return false
}

// Whatever an application puts, it gets what it would get from GobCodec.
func FuzzCodecAgainstGob(f *testing.F) {
	registerCodecTypes()
	for i := range 24 {
		f.Add([]byte{byte(i), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, byte(i + 1), 255, 128, 0, 1}, int64(i*1e9), int64(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, seconds, nanos int64) {
		deadline := time.Unix(seconds%1e11, nanos%1e9).UTC()
		values := make(map[string]any)
		for p := (codecPicker{b}); len(p.b) > 0; {
			values[p.text()] = p.value()
		}
		enc, err := scsguard.Codec{}.Encode(deadline, values)
		require.NoError(t, err)
		gotDeadline, got, err := scsguard.Codec{}.Decode(enc)
		require.NoError(t, err)
		wantDeadline, want := viaGob(t, deadline, values)
		require.Equal(t, wantDeadline, gotDeadline)
		require.Equal(t, want, got)
		old, err := scs.GobCodec{}.Encode(deadline, values)
		require.NoError(t, err)
		_, fromGob, err := scsguard.Codec{}.Decode(old)
		require.NoError(t, err)
		require.Equal(t, want, fromGob)
	})
}

// codecPicker makes values of bytes.
type codecPicker struct{ b []byte }

func (p *codecPicker) byte() byte {
	if len(p.b) == 0 {
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

func (p *codecPicker) text() string {
	n := min(int(p.byte())%20, len(p.b))
	s := string(p.b[:n])
	p.b = p.b[n:]
	return s
}

func (p *codecPicker) number() uint64 {
	var b [8]byte
	copy(b[:], p.text())
	return binary.LittleEndian.Uint64(b[:])
}

func (p *codecPicker) value() any {
	switch kind, n := p.byte()%28, p.number(); kind {
	case 0:
		return nil
	case 1:
		return n&1 == 0
	case 2:
		return int(n)
	case 3:
		return int8(n)
	case 4:
		return int16(n)
	case 5:
		return int32(n)
	case 6:
		return int64(n)
	case 7:
		return uint(n)
	case 8:
		return uint8(n)
	case 9:
		return uint16(n)
	case 10:
		return uint32(n)
	case 11:
		return n
	case 12:
		if f := math.Float32frombits(uint32(n)); f == f { // what is no number equals nothing
			return f
		}
		return float32(0)
	case 13:
		if f := math.Float64frombits(n); f == f {
			return f
		}
		return 0.0
	case 14:
		return time.Duration(n)
	case 15:
		return time.Unix(int64(n%1e11), int64(n%1e9)).UTC()
	case 16:
		return time.Unix(int64(n%1e11), int64(n%1e9))
	case 17:
		return time.Unix(int64(n%1e11), 0).In(time.FixedZone("", int(n%50000)))
	case 18:
		return []byte(p.text())
	case 19:
		list := make([]string, n%5)
		for i := range list {
			list[i] = p.text()
		}
		return list
	case 20:
		m := make(map[string]string)
		for range n % 5 {
			m[p.text()] = p.text()
		}
		return m
	case 21:
		return codecAddress{p.text(), []string{p.text()}, p.text()}
	case 22:
		return codecRole(p.text())
	case 23:
		return []any{int(n), p.text(), codecRole(p.text())}
	case 24:
		return map[string]any{p.text(): p.text(), p.text(): codecAddress{Extra: codecRole("x")}}
	case 25:
		return codecTree{Name: p.text(), Sons: []*codecTree{{Name: p.text(), Index: map[string]any{"a": []any{codecRole(p.text())}}}}}
	case 26:
		return [3]int{int(n), 2, 3}
	}
	return p.text()
}
