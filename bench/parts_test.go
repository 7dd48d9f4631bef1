package bench

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"

	"github.com/scsguard/scsguard"
)

// A part is what a guarded request in memory finds among many: its data in scs's
// memstore, or its record in the registry.
type part struct {
	name string
	find func(key string)
	rota
}

var touched byte // so that what was found is looked at

// data is a memstore with n sessions, of which one is found.
func data(b *testing.B, n int) *part {
	store := memstore.NewWithCleanupInterval(0)
	deadline := time.Now().Add(8 * time.Hour)
	session, err := scsguard.Codec{}.Encode(deadline, values(5))
	if err != nil {
		b.Fatal(err)
	}
	p := &part{name: "Find in scs's memstore", find: func(key string) {
		session, found, err := store.Find(key)
		if err != nil || !found {
			panic("a session is not there")
		}
		touched += session[0]
	}}
	for range n {
		key := newKey()
		if err := store.Commit(key, bytes.Clone(session), deadline); err != nil {
			b.Fatal(err)
		}
		p.turns = append(p.turns, key)
	}
	return p
}

// records is a registry with n sessions, of which one is read.
func records(b *testing.B, n int) *part {
	reg := scsguard.NewMemoryRegistry()
	p := &part{name: "Get in the registry", find: func(key string) {
		rec, err := reg.Get(context.Background(), scsguard.Key(key))
		if err != nil || rec.State != scsguard.StateLive {
			panic("a record is not there")
		}
		touched += rec.Fingerprint[0]
	}}
	for i := range n {
		p.turns = append(p.turns, string(admit(b, reg, fmt.Sprintf("user %d", i), idle).Key))
	}
	return p
}

// growthParts measures what finding data and record costs more among many sessions,
// each alone: back to back, and after a request of one visitor, which takes the place in
// the processor's caches that a request takes. It returns what the latter is.
func growthParts(b *testing.B) string {
	n := crowds()[2]
	visitor, _ := visitor(openGuard(guardCodec, scsguard.Codec{}, untouched)(b, world{values: 5}), hit)
	var all []contestant
	var ready []func(int)
	open := []func(*testing.B, int) *part{data, records}
	names, says := make([]string, len(open)), []string(nil)
	called := func(name, when string, sessions int) string { return name + when + ", of " + grouped(sessions) }
	const alone, after = ", alone", ", after a request of one visitor"
	for i, open := range open {
		for _, sessions := range []int{1, n} {
			p := open(b, sessions)
			names[i] = p.name
			all = append(all,
				contestant{called(p.name, alone, sessions), func() { p.find(p.take()[0]) }},
				contestant{called(p.name, after, sessions), func() { visitor.get(); p.find(p.take()[0]) }})
			ready = append(ready, p.ready)
		}
	}
	runtime.GC()
	results := contest(b, 16, called(names[0], alone, 1), all, ready...)
	for _, name := range names {
		for _, when := range []string{alone, after} {
			few, many := find(results, called(name, when, 1)), find(results, called(name, when, n))
			many.ratio, few.ratio = many.over(few), exactly(1)
			growth.grew("1", name+when, few, few.ns.Center)
			growth.grew(grouped(n), name+when, many, few.ns.Center)
			if when == after {
				says = append(says, fmt.Sprintf("a %s %s", name, duration(many.ns.Center-few.ns.Center)))
			}
		}
	}
	return strings.Join(says, " and ")
}
