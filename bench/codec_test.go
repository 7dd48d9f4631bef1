package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// codecs are those of the guarded application. Plain scs has gob.
var codecs = []codec{{"gob", scs.GobCodec{}}, {"Codec", scsguard.Codec{}}}

type codec struct {
	name  string
	codec scs.Codec
}

// BenchmarkProtect is for the profiler: one request of one session, again and again.
func BenchmarkProtect(b *testing.B) {
	for _, c := range codecs {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("codec=%s/values=%d", c.name, n), func(b *testing.B) {
				visitor, _ := visitor(openGuard(c.name, c.codec)(b, world{values: n}), hit)
				b.ReportAllocs()
				for b.Loop() {
					visitor.get()
				}
			})
		}
	}
}

// BenchmarkParallel sends as many requests of one session at once as there are
// processors.
func BenchmarkParallel(b *testing.B) {
	for _, c := range codecs {
		b.Run("codec="+c.name, func(b *testing.B) {
			a := openGuard(c.name, c.codec)(b, world{values: 5})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for c, _ := visitor(a, hit); pb.Next(); {
					c.get()
				}
			})
		})
	}
}

func BenchmarkCodec(b *testing.B) {
	deadline := time.Now().Add(time.Hour).UTC()
	sm, _ := newGuard(b, world{}, scs.GobCodec{})
	for _, c := range append(codecs[:len(codecs):len(codecs)], codec{"gob under a guard", sm.Codec}) {
		for _, n := range sizes {
			all := values(n)
			data, err := c.codec.Encode(deadline, all)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("op=encode/codec=%s/values=%d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				b.ReportMetric(float64(len(data)), "bytes")
				for b.Loop() {
					if _, err := c.codec.Encode(deadline, all); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("op=decode/codec=%s/values=%d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := c.codec.Decode(data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRecord decodes a record as a registry outside of the process keeps it.
func BenchmarkRecord(b *testing.B) {
	now := time.Now()
	data, err := scsguard.Record{
		Session: "4YZ2KQ7N5T3XW6RJ8VHMDCPBGA", User: "alice", Role: "clerk", BaseRole: "clerk", Key: "K", State: scsguard.StateLive, Created: now, AuthTime: now,
		Methods: []string{"pwd", "otp"}, AAL: 2, LoginAAL: 2, LastActivity: now, Idle: 15 * time.Minute, Absolute: now.Add(8 * time.Hour), AbsoluteSince: now,
		TokenSince: now, Fingerprint: "0123456789abcdef0123456789abcdef", UserAgent: "Mozilla/5.0 (X11; Linux x86_64)", Seq: 7,
	}.MarshalBinary()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var rec scsguard.Record
		if err := rec.UnmarshalBinary(data); err != nil {
			b.Fatal(err)
		}
	}
}
