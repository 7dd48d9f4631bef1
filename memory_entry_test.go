package scsguard

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// leaves calls f for every field below v that holds a value of its own.
func leaves(path string, v reflect.Value, f func(path string, v reflect.Value)) {
	switch v.Interface().(type) {
	case time.Time, netip.Addr:
		f(path, v)
		return
	}
	if v.Kind() != reflect.Struct {
		f(path, v)
		return
	}
	for i := range v.NumField() {
		leaves(path+"."+v.Type().Field(i).Name, v.Field(i), f)
	}
}

// fill sets a field to something of its type, made of n.
func fill(v reflect.Value, n int64) {
	switch v.Interface().(type) {
	case time.Time:
		at := time.Now().Add(time.Duration(n) * time.Microsecond)
		v.Set(reflect.ValueOf([]time.Time{at, at.UTC(), at.Round(0), at.In(time.FixedZone("X", int(n%7)*3600)), {}, time.Unix(n, n).UTC()}[uint64(n)%6]))
		return
	case netip.Addr:
		all := []netip.Addr{netip.AddrFrom4([4]byte{byte(n), 2, 3, 4}), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0"),
			netip.MustParseAddr("::ffff:192.0.2.1"), {}}
		v.Set(reflect.ValueOf(all[uint64(n)%uint64(len(all))]))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", n))
	case reflect.Int, reflect.Int64:
		v.SetInt(n)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(n) % 250)
	case reflect.Bool:
		v.SetBool(n%2 == 1)
	case reflect.Slice:
		list := reflect.MakeSlice(v.Type(), int(uint64(n)%3), 3)
		for i := range list.Len() {
			leaves("", list.Index(i), func(_ string, v reflect.Value) { fill(v, n+1) })
		}
		v.Set(list)
	default:
		panic("a field of a new kind: " + v.Type().String())
	}
}

// through returns what becomes of a record in an entry that held another one.
func through(other, r Record) Record {
	e := &entry{}
	under := conditions{keep: time.Hour}
	e.write(&other, under)
	e.write(&r, e.conditions())
	if e.conditions() != under {
		panic("the conditions were lost")
	}
	got := Record{Session: "whatever was there before", Warnings: make([]Warning, 1)}
	e.read(&got)
	return got
}

func TestARecordComesOutOfMemoryAsItWentIn(t *testing.T) {
	fields := 0
	var full Record
	leaves("Record", reflect.ValueOf(&full).Elem(), func(_ string, v reflect.Value) { fill(v, 7) })
	leaves("Record", reflect.ValueOf(&full).Elem(), func(path string, v reflect.Value) {
		fields++
		require.False(t, v.IsZero(), path)
		var alone Record
		leaves("Record", reflect.ValueOf(&alone).Elem(), func(other string, v reflect.Value) {
			if other == path {
				fill(v, 7)
			}
		})
		require.NotEqual(t, Record{}, alone, path)
		require.Equal(t, alone, through(Record{}, alone), "%s alone", path)
		require.Equal(t, alone, through(full, alone), "%s, where there was a full record", path)
	})
	require.Greater(t, fields, 40)
	require.Equal(t, full, through(Record{}, full))
	require.Equal(t, Record{}, through(full, Record{}))
}

func TestTheSameOfAnyRecord(t *testing.T) {
	for seed := range uint64(2000) {
		requireThrough(t, seed)
	}
}

func FuzzEntry(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { requireThrough(t, seed) })
}

func requireThrough(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	any := func() (r Record) {
		leaves("", reflect.ValueOf(&r).Elem(), func(_ string, v reflect.Value) {
			if random.IntN(3) == 0 {
				fill(v, random.Int64N(1e9))
			}
		})
		return r
	}
	r := any()
	got := through(any(), r)
	require.Equal(t, r, got, seed) // compares times by ==, the reading of the monotonic clock included
}

// The monotonic reading is what a limit holds by when somebody sets the clock back.
func TestTimesInMemoryKeepTheirMonotonicReading(t *testing.T) {
	now := time.Now()
	r := through(Record{}, Record{
		Created: now, LastActivity: now, AuthTime: now.Add(-time.Second), TokenSince: now, AbsoluteSince: now, Absolute: now.Add(time.Hour),
		Lease: now, GraceUntil: now, MovedAt: now,
	})
	for _, at := range []time.Time{r.Created, r.LastActivity, r.AuthTime, r.TokenSince, r.AbsoluteSince, r.Absolute, r.Lease, r.GraceUntil, r.MovedAt} {
		require.Contains(t, at.String(), " m=")
	}
	clocks := []func(time.Time) time.Time{
		func(t time.Time) time.Time { return t }, func(t time.Time) time.Time { return t.Round(0) }, time.Time.UTC,
		func(time.Time) time.Time { return time.Now().Add(time.Hour) },
	}
	for _, created := range clocks {
		for _, absolute := range clocks {
			at := created(now)
			r := Record{Created: at, TokenSince: at, AbsoluteSince: at, AuthTime: absolute(now.Add(-time.Second)), Absolute: absolute(now.Add(time.Hour))}
			require.Equal(t, r, through(Record{}, r))
		}
	}
}

// One byte more, and each session would take 16 more: memory comes in such sizes.
func TestAnEntryIsSmall(t *testing.T) {
	require.LessOrEqual(t, reflect.TypeFor[entry]().Size(), uintptr(208))
}

// The same of a request: this and the runtime's own 8 bytes are one of those sizes.
func TestARequestIsNotLongerThanItMustBe(t *testing.T) {
	require.LessOrEqual(t, reflect.TypeFor[request]().Size(), uintptr(1400))
}

func TestAnOrdinarySessionNeedsNothingButItsEntry(t *testing.T) {
	now := time.Now()
	e := &entry{}
	e.write(&Record{
		Session: "S", User: "alice", Role: "clerk", BaseRole: "clerk", Key: "K", State: StateLive, Created: now, AuthTime: now.Add(-time.Microsecond),
		Methods: []string{"pwd"}, AAL: 1, LoginAAL: 1, LastActivity: now.Add(time.Minute), Idle: time.Minute, Absolute: now.Add(time.Hour),
		AbsoluteSince: now, LongestGap: time.Minute, TokenSince: now, Fingerprint: "f", IP: netip.MustParseAddr("192.0.2.1"), UserAgent: "a", Seq: 2,
	}, conditions{})
	require.Nil(t, e.more)
}

// Of a user with thousands of sessions each login takes a while, and others are in
// the same shard.
func TestWhoReadsARecordInMemoryDoesNotWaitForLogins(t *testing.T) {
	m, now := NewMemoryRegistry(), time.Now()
	adm, err := m.Admit(t.Context(), Admission{Record: Record{
		Session: "S", User: "alice", Key: "K", Created: now, LastActivity: now, Idle: time.Minute, Absolute: now.Add(time.Hour),
	}, AuthenticatedAt: now})
	require.NoError(t, err)
	_, err = m.Settle(t.Context(), adm, true)
	require.NoError(t, err)
	s := m.userShard("alice")
	s.mu.Lock()
	defer s.mu.Unlock()
	answered := make(chan Record)
	go func() {
		rec, _ := m.Get(t.Context(), "K")
		answered <- rec
	}()
	select {
	case rec := <-answered:
		require.Equal(t, StateLive, rec.State)
	case <-time.After(10 * time.Second):
		require.Fail(t, "it waits")
	}
}

func TestWarningsTakeNoMoreRoomThanTheyNeed(t *testing.T) {
	var rec Record
	var handedOut [][]Warning
	for i := range 2 * MaxWarnings {
		handedOut = append(handedOut, rec.Warnings)
		rec.Warn(Warning{Session: fmt.Sprint(i)})
		require.LessOrEqual(t, cap(rec.Warnings), MaxWarnings)
		require.Equal(t, fmt.Sprint(i), rec.Warnings[len(rec.Warnings)-1].Session)
	}
	require.Len(t, rec.Warnings, MaxWarnings)
	require.Equal(t, fmt.Sprint(MaxWarnings), rec.Warnings[0].Session, "the newest stay")
	for i, was := range handedOut {
		for j, w := range was {
			require.Equal(t, fmt.Sprint(max(0, i-MaxWarnings)+j), w.Session, "what was handed out does not change")
		}
	}
	require.Equal(t, 1.0, testing.AllocsPerRun(10, func() { r := rec; r.Warn(Warning{}) }))
}
