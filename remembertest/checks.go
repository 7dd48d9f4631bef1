package remembertest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func checks() []check {
	return []check{
		{"what is absent is nil and no error", absent},
		{"Swap writes what is absent, once", creates},
		{"Swap changes what is there, and nothing else", swaps},
		{"a Swap that reports false has changed nothing", refuses},
		{"an empty value deletes", deletes},
		{"any bytes come back as they were, under any ID", anyBytes},
		{"IDs do not touch each other", separate},
		{"slices belong to whom they were given", slicesOf},
		{"of many that create the same exactly one does", createRace},
		{"of many that swap the same exactly one does, and none is lost", swapRace},
		{"a deletion races like any other Swap", deleteRace},
		{"a value is there until its time to live is over, and then absent", expires},
		{"each Swap counts the time to live anew", ttlAnew},
		{"a Swap that reports false and a Load prolong nothing", notProlonged},
		{"the clock goes on by one second a second", clock},
		{"a context that is done is an error and no Swap", contexts},
	}
}

const hour = time.Hour

func absent(t *trial) {
	if value := t.load("nothing"); value != nil {
		t.failf("Load returns %q and not nil", value)
	}
	t.mustNotSwap("nothing", "something", "value")
	t.want("nothing", "")
	if !t.swap("nothing", "", "", hour) {
		t.failf("what is absent can be deleted, and Swap reports false")
	}
	t.want("nothing", "")
}

func creates(t *trial) {
	t.mustSwap("id", "", "first", hour)
	t.want("id", "first")
	t.mustNotSwap("id", "", "second")
	t.want("id", "first")
}

func swaps(t *trial) {
	t.mustSwap("id", "", "first", hour)
	t.mustSwap("id", "first", "second", hour)
	t.want("id", "second")
	t.mustSwap("id", "second", "second", hour) // the same again, for longer
	t.mustSwap("id", "second", "first", hour)
	t.want("id", "first")
}

func refuses(t *trial) {
	t.mustSwap("id", "", "value", hour)
	for _, old := range []string{"", "valu", "value ", "VALUE", "value\x00", "other"} {
		t.mustNotSwap("id", old, "stolen")
		t.mustNotSwap("id", old, "")
		t.want("id", "value")
	}
}

func deletes(t *trial) {
	t.mustSwap("id", "", "value", hour)
	t.mustSwap("id", "value", "", 0)
	t.want("id", "")
	t.mustSwap("id", "", "value", hour)
	t.mustSwap("id", "value", "", hour)
	if value := t.load("id"); value != nil {
		t.failf("Load returns %q and not nil for what was deleted", value)
	}
	t.mustNotSwap("id", "value", "again")
	t.mustSwap("id", "", "again", hour)
	t.want("id", "again")
}

func anyBytes(t *trial) {
	var every strings.Builder
	for i := range 256 {
		every.WriteByte(byte(i))
	}
	values := []string{"\x00", "\xff\xfe", " leading", "line\nline\r\n", "*{}[]?:", every.String(), strings.Repeat("\x00long\xff", 64<<10/6)}
	ids := []string{"", "a b", "a:b", "{a}", "*", "/", "\x00", "ü\n", every.String()}
	for i, id := range ids {
		value := values[i%len(values)]
		t.mustSwap(id, "", value, hour)
		t.want(id, value)
		t.mustSwap(id, value, value+"!", hour)
		t.want(id, value+"!")
	}
}

func separate(t *trial) {
	ids := []string{"a", "A", "a/b", "a/", "/a", "aa", "a\x00", "a "}
	for i, id := range ids {
		t.mustSwap(id, "", fmt.Sprint("value ", i), hour)
	}
	t.mustSwap("a", "value 0", "", 0)
	for i, id := range ids[1:] {
		t.want(id, fmt.Sprint("value ", i+1))
	}
	t.want("a", "")
}

func slicesOf(t *trial) {
	value := []byte("value")
	if _, err := t.store.Swap(t.ctx, "id", nil, value, hour); err != nil {
		t.failf("Swap: %v", err)
	}
	if !bytes.Equal(value, []byte("value")) {
		t.failf("Swap has changed the value that it was given")
	}
	copy(value, "VALUE")
	t.want("id", "value")
	copy(t.load("id"), "VALUE")
	t.want("id", "value")
	old := []byte("value")
	if _, err := t.store.Swap(t.ctx, "id", old, []byte("next!"), hour); err != nil || !bytes.Equal(old, []byte("value")) {
		t.failf("Swap (%v) has made %q of the old value that it was given", err, old)
	}
}

// crowd calls f in n goroutines at once and returns how often it reports true.
func (t *trial) crowd(n int, f func(t *trial, i int) bool) int {
	var (
		wg    sync.WaitGroup
		count atomic.Int32
		start = make(chan struct{})
		fails = make(chan any, n)
	)
	for i := range n {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					fails <- p
				}
			}()
			<-start
			if f(t, i) {
				count.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	select {
	case p := <-fails:
		panic(p)
	default:
		return int(count.Load())
	}
}

const racers = 16

func createRace(t *trial) {
	for round := range 10 {
		id := fmt.Sprint("id ", round)
		won := t.crowd(racers, func(t *trial, i int) bool { return t.swap(id, "", fmt.Sprint("by ", i), hour) })
		if won != 1 {
			t.failf("%d of %d were told that they have created it", won, racers)
		}
	}
}

func swapRace(t *trial) {
	t.mustSwap("id", "", "0", hour)
	const each = 5
	t.crowd(racers, func(t *trial, _ int) bool {
		for done := 0; done < each; {
			old := string(t.load("id"))
			var n int
			_, _ = fmt.Sscan(old, &n)
			if t.swap("id", old, fmt.Sprint(n+1), hour) {
				done++
			}
		}
		return true
	})
	t.want("id", fmt.Sprint(racers*each))
}

func deleteRace(t *trial) {
	for round := range 10 {
		id := fmt.Sprint("id ", round)
		t.mustSwap(id, "", "value", hour)
		won := t.crowd(racers, func(t *trial, i int) bool {
			if i%2 == 0 {
				return t.swap(id, "value", "", 0)
			}
			return t.swap(id, "value", "next", hour)
		})
		if won != 1 {
			t.failf("%d of %d were told that they have changed it", won, racers)
		}
	}
}

// Times are long enough for a store at some distance, and short enough to wait.
const (
	short = 400 * time.Millisecond
	slack = 200 * time.Millisecond
)

// soon runs f with a time to live and a name that no run before had. f reports whether
// it came in time to what has to be done before that time is over. Where it did not,
// since the machine has much else to do, nothing is known of the store, and f is run
// again with twice as long.
func (t *trial) soon(f func(name string, ttl time.Duration) bool) {
	for ttl := short; !f(fmt.Sprint("for ", ttl, " "), ttl); ttl *= 2 {
		if ttl > patience/4 {
			t.failf("calls take so long that a value is gone after %v before anything can be asked", ttl)
		}
	}
}

func expires(t *trial) {
	t.soon(func(name string, ttl time.Duration) bool {
		id, long, began := name+"id", name+"long", time.Now()
		t.mustSwap(id, "", "value", ttl)
		t.mustSwap(long, "", "value", hour)
		there := string(t.load(id))
		if time.Since(began) > ttl-slack {
			return false
		}
		if there != "value" {
			t.failf("before its time to live is over, %.40q holds %.40q and not the value", id, there)
		}
		t.sleep(ttl + slack)
		t.want(id, "")
		t.want(long, "value")
		t.mustNotSwap(id, "value", "back")
		t.mustSwap(id, "", "new", hour)
		t.want(id, "new")
		return true
	})
}

func ttlAnew(t *trial) {
	t.soon(func(name string, ttl time.Duration) bool {
		longer, shorter, same, began := name+"longer", name+"shorter", name+"same", time.Now()
		t.mustSwap(longer, "", "a", ttl)
		t.mustSwap(same, "", "a", ttl)
		t.mustSwap(shorter, "", "a", hour)
		made := t.swap(longer, "a", "b", hour) && t.swap(same, "a", "a", hour)
		if time.Since(began) > ttl-slack {
			return false
		}
		if !made {
			t.failf("Swap of what is there reports false before its time to live is over")
		}
		t.mustSwap(shorter, "a", "b", ttl)
		t.sleep(ttl + slack)
		t.want(longer, "b")
		t.want(shorter, "")
		t.want(same, "a")
		return true
	})
}

func notProlonged(t *trial) {
	t.soon(func(name string, ttl time.Duration) bool {
		id, began := name+"id", time.Now()
		t.mustSwap(id, "", "value", ttl)
		for range 4 {
			t.sleep(ttl / 8)
			t.load(id)
			t.mustNotSwap(id, "other", "value")
		}
		there := string(t.load(id))
		if time.Since(began) > ttl-slack/2 {
			return false
		}
		if there != "value" {
			t.failf("before its time to live is over, %.40q holds %.40q and not the value", id, there)
		}
		t.sleep(ttl/2 + slack/2)
		t.want(id, "")
		return true
	})
}

func clock(t *trial) {
	began := time.Now()
	_, first := t.loadAt("id")
	t.sleep(short)
	_, second := t.loadAt("id")
	if passed, took := second.Sub(first), time.Since(began); passed < short-slack || passed > took+slack {
		t.failf("the store's clock went on by %v in %v", passed, took)
	}
	t.mustSwap("id", "", "value", hour)
	if _, third := t.loadAt("id"); third.Before(second) {
		t.failf("the store's clock went back by %v", second.Sub(third))
	}
}

func contexts(t *trial) {
	t.mustSwap("id", "", "value", hour)
	done, cancel := context.WithCancel(t.ctx)
	cancel()
	if _, _, err := t.store.Load(done, "id"); err == nil {
		t.failf("Load reports no error although its context is done")
	}
	if swapped, err := t.store.Swap(done, "id", []byte("value"), []byte("next"), hour); err == nil || swapped {
		t.failf("Swap reports %v and %v although its context is done", swapped, err)
	}
	t.want("id", "value")
}
