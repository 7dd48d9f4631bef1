package registrytest

import (
	"fmt"
	"time"

	"github.com/scsguard/scsguard"
)

func touchChecks() []check {
	return []check{
		{name: "activity moves forward only", run: activityForward},
		{name: "a request that arrived before the last activity is no reason to refuse", run: oldActivity},
		{name: "activity counts from its arrival, and not after the deadline", run: activityInTime},
		{name: "limits are tightened and never loosened", run: tighten},
		{name: "a session whose limit is tightened is due when that limit has passed", run: tightenedIsDue},
		{name: "events are numbered and extensions counted", run: counters},
		{name: "no two events of a session have the same number", run: uniqueNumbers},
		{name: "of several who note the same mismatch exactly one is told that it was another before", run: notedOnce},
		{name: "of several takers of warnings exactly one gets them", run: warningsOnce},
		{name: "Touch leaves what is not live as it is", run: touchLeavesTheDead},
	}
}

// seen returns a live session of the user that was last active a while ago.
func (t *trial) seen(user string, ago time.Duration) scsguard.Record {
	a := t.admission(user, noCap)
	a.Record.Created = a.Record.Created.Add(-2 * time.Hour)
	a.Record.LastActivity = a.Record.LastActivity.Add(-ago)
	a.Record.Idle = 3 * time.Hour
	return t.complete(a).Record
}

func activityForward(t *trial) {
	rec := t.seen("alice", 10*time.Minute)
	for _, step := range []struct {
		at        time.Time
		last, gap time.Duration // afterwards
	}{
		{ago(4 * time.Minute), 4 * time.Minute, 6 * time.Minute},
		{ago(4*time.Minute + 30*time.Second), 4 * time.Minute, 6 * time.Minute}, // it arrived before, and took longer
		{time.Time{}, 4 * time.Minute, 6 * time.Minute},
		{ago(2 * time.Minute), 2 * time.Minute, 6 * time.Minute},
	} {
		if !t.touch(rec.Key, scsguard.Activity{At: step.at}).Live {
			t.failf("activity is refused within all limits")
		}
		now := t.get(rec.Key)
		if !near(now.LastActivity, ago(step.last)) {
			t.failf("the last activity is %v ago, not %v", time.Since(now.LastActivity).Round(time.Second), step.last)
		}
		if (now.LongestGap - step.gap).Abs() > slack {
			t.failf("the longest gap is %v, not %v", now.LongestGap, step.gap)
		}
	}
}

// oldActivity: an upload that has taken long tells of its arrival when others
// have been active for minutes. The session was not overdue then.
func oldActivity(t *trial) {
	rec := t.seen("alice", time.Second)
	if !t.touch(rec.Key, scsguard.Activity{At: ago(5 * time.Minute), Event: true}).Live {
		t.failf("activity of five minutes ago is refused, since there was newer one")
	}
	if now := t.get(rec.Key); !near(now.LastActivity, rec.LastActivity) || now.LongestGap != 0 {
		t.failf("activity of five minutes ago moves the last one back to %v", now.LastActivity)
	}
}

func activityInTime(t *trial) {
	rec := t.complete(t.stale("alice")).Record // it was idle too long ten minutes ago
	if t.touch(rec.Key, scsguard.Activity{At: ago(9 * time.Minute), Event: true}).Live {
		t.failf("activity counts that arrived after the idle deadline")
	}
	t.wantRecord("after activity that was refused", t.get(rec.Key), rec)
	if !t.touch(rec.Key, scsguard.Activity{At: ago(11 * time.Minute)}).Live {
		t.failf("activity is refused that arrived before the idle deadline")
	}
	if !t.touch(rec.Key, scsguard.Activity{At: ago(time.Minute)}).Live {
		t.failf("activity is refused that the activity before it allows")
	}
	t.wantLive("alice", rec)

	a := t.admission("bob", noCap)
	a.Record.Created, a.Record.LastActivity = ago(time.Hour), ago(6*time.Minute)
	a.Record.Absolute = ago(4 * time.Minute)
	rec = t.complete(a).Record
	if t.touch(rec.Key, scsguard.Activity{At: ago(3 * time.Minute)}).Live {
		t.failf("activity counts that arrived after the absolute deadline")
	}
	if !t.touch(rec.Key, scsguard.Activity{At: ago(5 * time.Minute)}).Live {
		t.failf("activity is refused that arrived before the absolute deadline")
	}
	if _, ended := t.end(scsguard.Target{Key: rec.Key, IfDue: true}, ending("")); !ended {
		t.failf("activity moves the absolute deadline")
	}
}

func tighten(t *trial) {
	rec := t.login("alice", noCap)
	want := rec
	for _, step := range []struct {
		idle     time.Duration
		absolute time.Time
	}{
		{2 * idle, rec.Absolute.Add(time.Hour)},
		{0, time.Time{}},
		{-time.Minute, time.Time{}},
		{10 * time.Minute, time.Time{}},
		{0, rec.Absolute.Add(-time.Hour)},
		{idle, rec.Absolute},
		{9 * time.Minute, rec.Absolute.Add(-2 * time.Hour)},
	} {
		if step.idle > 0 && step.idle < want.Idle {
			want.Idle = step.idle
		}
		if !step.absolute.IsZero() && step.absolute.Before(want.Absolute) {
			want.Absolute = step.absolute
		}
		if !t.touch(rec.Key, scsguard.Activity{Idle: step.idle, Absolute: step.absolute}).Live {
			t.failf("Touch says that a live session is not")
		}
		t.wantRecord(fmt.Sprintf("asked for idle %v, absolute %v", step.idle, step.absolute), t.get(rec.Key), want)
	}
}

func tightenedIsDue(t *trial) {
	byIdle, byAbsolute := t.seen("alice", 10*time.Minute), t.seen("bob", 10*time.Minute)
	t.wantSessions("Due", t.due(10))
	t.touch(byIdle.Key, scsguard.Activity{Idle: 5 * time.Minute})
	t.touch(byAbsolute.Key, scsguard.Activity{Absolute: ago(time.Minute)})
	t.wantLive("alice")
	t.wantLive("bob")
	t.wantSet("Due", t.due(10), byIdle, byAbsolute)
	if rec, ended := t.end(scsguard.Target{Key: byIdle.Key, IfDue: true}, ending("")); !ended || rec.Ending.Reason != scsguard.EndIdle {
		t.failf("by the idle limit in force the session is overdue, and End answers %v (%s)", rec.State, rec.Ending.Reason)
	}
	if rec, ended := t.end(scsguard.Target{Key: byAbsolute.Key, IfDue: true}, ending("")); !ended || rec.Ending.Reason != scsguard.EndAbsolute {
		t.failf("by the absolute limit in force the session is overdue, and End answers %v (%s)", rec.State, rec.Ending.Reason)
	}
}

func counters(t *trial) {
	rec := t.login("alice", noCap)
	want := rec
	for _, act := range []scsguard.Activity{
		{Event: true}, {}, {Extended: true}, {Event: true, Extended: true}, {At: time.Now()}, {TakeWarnings: true}, {Event: true, At: time.Now()},
	} {
		if act.Event {
			want.Seq++
		}
		if act.Extended {
			want.Extends++
		}
		touched := t.touch(rec.Key, act)
		if !touched.Live || touched.Seq != want.Seq {
			t.failf("Touch answers live %v and the number %d, not %d", touched.Live, touched.Seq, want.Seq)
		}
		t.wantRecord("after a Touch", t.get(rec.Key), want)
	}
}

func uniqueNumbers(t *trial) {
	both := t.twice()
	rec := both[0].login("alice", noCap)
	const n = 40
	got := make([]uint64, n)
	t.crowd(n, func(i int) {
		got[i] = both[i%2].touch(rec.Key, scsguard.Activity{Event: true, At: time.Now()}).Seq
	})
	seen := make(map[uint64]bool)
	for _, seq := range got {
		if seen[seq] || seq <= rec.Seq || seq > rec.Seq+n {
			t.failf("%d events at once got the numbers %v, not each another one of %d to %d", n, got, rec.Seq+1, rec.Seq+n)
		}
		seen[seq] = true
	}
	if last := both[0].get(rec.Key).Seq; last != rec.Seq+n {
		t.failf("after %d events the last number is %d, not %d", n, last, rec.Seq+n)
	}
}

func notedOnce(t *trial) {
	both := t.twice()
	rec := both[0].login("alice", noCap)
	before := rec.Mismatch
	for _, digest := range []string{"a digest", "another digest", "a digest"} {
		told := make([]string, 20)
		t.crowd(len(told), func(i int) {
			told[i] = both[i%2].touch(rec.Key, scsguard.Activity{Mismatch: digest}).Mismatch
		})
		first := 0
		for _, m := range told {
			if m == before {
				first++
			} else if m != digest {
				t.failf("Touch says that the mismatch was %q before, which nobody has noted", m)
			}
		}
		if first != 1 {
			t.failf("of %d who noted a mismatch at once, %d were told that it was another one before, not 1", len(told), first)
		}
		before = digest
	}
}

func warningsOnce(t *trial) {
	both := t.twice()
	rec := both[0].login("alice", noCap)
	for range 10 {
		both[0].login("alice", noCap)
		taken := make([]int, 6)
		t.crowd(len(taken), func(i int) {
			taken[i] = len(both[i%2].touch(rec.Key, scsguard.Activity{TakeWarnings: true}).Warnings)
		})
		total := 0
		for _, n := range taken {
			total += n
		}
		if total != 1 {
			t.failf("one warning was handed out %d times", total)
		}
	}
}

func touchLeavesTheDead(t *trial) {
	live := t.logins(3, "alice", noCap)
	t.ended(live[0], scsguard.EndUser)
	moved := t.moved(live[1])
	t.detach(live[2].Key, owner, time.Minute)
	for _, rec := range live {
		before := t.get(rec.Key)
		act := scsguard.Activity{At: time.Now(), Idle: time.Minute, Event: true, Extended: true, TakeWarnings: true}
		if touched := t.touch(rec.Key, act); touched.Live || len(touched.Warnings) > 0 {
			t.failf("Touch of a session that is %v says it is live", before.State)
		}
		t.wantRecord("after a Touch", t.get(rec.Key), before)
	}
	t.wantLive("alice", moved)
}
