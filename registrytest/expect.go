package registrytest

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/scsguard/scsguard"
)

// slack is how far a time may be from what it should be, where a registry
// converts ages. The times in a check are minutes apart.
const slack = time.Second

func near(a, b time.Time) bool { return a.Sub(b).Abs() <= slack }

// numbers is what messages call a list of sessions.
func numbers(recs []scsguard.Record) string {
	list := make([]string, len(recs))
	for i, r := range recs {
		list[i] = short(r.Session)
	}
	return "[" + strings.Join(list, " ") + "]"
}

func sessions(recs []scsguard.Record) []string {
	ids := make([]string, len(recs))
	for i, r := range recs {
		ids[i] = r.Session
	}
	return ids
}

// wantSessions demands these sessions in this order.
func (t *trial) wantSessions(what string, got []scsguard.Record, want ...scsguard.Record) {
	if !slices.Equal(sessions(got), sessions(want)) {
		t.failf("%s: %s, not %s", what, numbers(got), numbers(want))
	}
}

// wantSet demands these sessions in any order.
func (t *trial) wantSet(what string, got []scsguard.Record, want ...scsguard.Record) {
	g, w := sessions(got), sessions(want)
	slices.Sort(g)
	slices.Sort(w)
	if !slices.Equal(g, w) {
		t.failf("%s: %s, not %s", what, numbers(got), numbers(want))
	}
}

// wantLive demands that exactly these sessions of the user live, oldest first,
// by what List says and by what Get says.
func (t *trial) wantLive(user string, want ...scsguard.Record) {
	list := t.list(user)
	t.wantSessions("the live sessions", list, want...)
	for _, rec := range list {
		t.wantState(rec, scsguard.StateLive)
	}
}

// wantState demands a state of what lies under the record's key.
func (t *trial) wantState(rec scsguard.Record, want scsguard.State) scsguard.Record {
	got := t.get(rec.Key)
	if got.State != want {
		t.failf("Get: the session %s is %v, not %v", short(rec.Session), got.State, want)
	}
	return got
}

// wantUnknown demands that nobody sees anything under a key.
func (t *trial) wantUnknown(key scsguard.Key) {
	t.wantRecord("Get", t.get(key), scsguard.Record{})
}

// wantRecord demands that two records are equal but for the slack of times.
func (t *trial) wantRecord(what string, got, want scsguard.Record) {
	if diff := differences("", reflect.ValueOf(got), reflect.ValueOf(want)); len(diff) > 0 {
		t.failf("%s: the record of %s differs: %s", what, short(want.Session), strings.Join(diff, "; "))
	}
}

// wantEnded demands that got is the record before, ended for that reason, with
// everything that an event of it says.
func (t *trial) wantEnded(what string, got, before scsguard.Record, kind scsguard.EventKind, reason scsguard.EndReason) {
	want := before
	want.State, want.Seq = scsguard.StateEnded, before.Seq+1 // its ending is an event of its own
	want.Ending = got.Ending
	want.Lease, want.Owner, want.Warnings = got.Lease, got.Owner, got.Warnings // of no use any more
	t.wantRecord(what, got, want)
	switch e := got.Ending; {
	case got.Confirmed:
		t.failf("%s: the ending of %s is confirmed, but nobody has done that", what, short(got.Session))
	case e.Kind != kind || e.Reason != reason:
		t.failf("%s: the session %s ended as %s %q, not as %s %q", what, short(got.Session), e.Kind, e.Reason, kind, reason)
	case e.At.Before(t.began.Add(-slack)) || time.Until(e.At) > slack: // whatever a call may have taken
		t.failf("%s: the session %s ended at %v, not now", what, short(got.Session), e.At)
	}
}

// wantEnding demands that an ending was kept as it was given: whoever has to
// write its event may be another process.
func (t *trial) wantEnding(what string, got scsguard.Record, want scsguard.Ending) {
	if diff := differences("Ending", reflect.ValueOf(got.Ending), reflect.ValueOf(want)); len(diff) > 0 {
		t.failf("%s: the ending of %s differs: %s", what, short(got.Session), strings.Join(diff, "; "))
	}
}

// differences names the fields in which two values differ.
func differences(name string, got, want reflect.Value) (all []string) {
	equal := true
	switch got.Type() {
	case reflect.TypeFor[time.Time]():
		a, b := got.Interface().(time.Time), want.Interface().(time.Time)
		equal = a.IsZero() == b.IsZero() && near(a, b)
	case reflect.TypeFor[time.Duration]():
		equal = time.Duration(got.Int()-want.Int()).Abs() <= slack
	case reflect.TypeFor[netip.Addr]():
		equal = got.Equal(want)
	default:
		switch got.Kind() {
		case reflect.Struct:
			for i := range got.NumField() {
				all = append(all, differences(name+"."+got.Type().Field(i).Name, got.Field(i), want.Field(i))...)
			}
		case reflect.Slice:
			equal = got.Len() == want.Len()
			for i := 0; equal && i < got.Len(); i++ {
				all = append(all, differences(fmt.Sprintf("%s[%d]", name, i), got.Index(i), want.Index(i))...)
			}
		default:
			equal = got.Equal(want)
		}
	}
	if !equal {
		all = append(all, fmt.Sprintf("%s is %v, not %v", strings.TrimPrefix(name, "."), got, want))
	}
	return all
}
