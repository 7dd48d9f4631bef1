package remembertest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

func TestTheStoreInMemoryKeepsTheContract(t *testing.T) {
	Run(t, func(*testing.T) scsguard.RememberStore { return scsguard.NewMemoryRememberStore() })
}

func TestCheckWorksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, Check(t.Context(), func(context.Context) (scsguard.RememberStore, error) { return scsguard.NewMemoryRememberStore(), nil }))
	})
}

func TestAStoreThatCannotBeOpenedFailsEveryCheck(t *testing.T) {
	err := Check(t.Context(), func(context.Context) (scsguard.RememberStore, error) { return nil, errors.New("no database") })
	require.Equal(t, len(checks()), strings.Count(err.Error(), "open: no database"))
}

// fault is one thing that a broken store does.
type fault string

// faults are what stores get wrong, and the check that has to notice.
var faults = map[fault]string{
	"is not there at all":                         "what is absent is nil and no error",
	"returns an empty slice for nothing":          "what is absent is nil and no error",
	"overwrites what was created":                 "Swap writes what is absent, once",
	"does not compare":                            "a Swap that reports false has changed nothing",
	"compares the beginning":                      "a Swap that reports false has changed nothing",
	"compares without case":                       "a Swap that reports false has changed nothing",
	"deletes without comparing":                   "a Swap that reports false has changed nothing",
	"writes although it reports false":            "a Swap that reports false has changed nothing",
	"keeps an empty value":                        "an empty value deletes",
	"deletes nothing":                             "an empty value deletes",
	"ends values at a zero byte":                  "any bytes come back as they were, under any ID",
	"keeps 32 KB":                                 "any bytes come back as they were, under any ID",
	"trims":                                       "any bytes come back as they were, under any ID",
	"folds the case of IDs":                       "IDs do not touch each other",
	"keeps the caller's slice":                    "slices belong to whom they were given",
	"hands out its own slice":                     "slices belong to whom they were given",
	"wipes the old value":                         "slices belong to whom they were given",
	"compares first and writes later":             "of many that swap the same exactly one does, and none is lost",
	"creates without a lock":                      "of many that create the same exactly one does",
	"never expires":                               "a value is there until its time to live is over, and then absent",
	"expires at once":                             "a value is there until its time to live is over, and then absent",
	"hides what has expired and compares it":      "a value is there until its time to live is over, and then absent",
	"keeps the first time to live":                "each Swap counts the time to live anew",
	"does not touch what stays the same":          "each Swap counts the time to live anew",
	"prolongs on Load":                            "a Swap that reports false and a Load prolong nothing",
	"prolongs what it refuses":                    "a Swap that reports false and a Load prolong nothing",
	"has a clock that stands still":               "the clock goes on by one second a second",
	"has no clock":                                "what is absent is nil and no error",
	"does not look at the context":                "a context that is done is an error and no Swap",
	"reports the context and writes all the same": "a context that is done is an error and no Swap",
	"fails":  "Swap writes what is absent, once",
	"panics": "Swap writes what is absent, once",
}

func TestEveryFaultIsFound(t *testing.T) {
	for f, name := range faults {
		t.Run(string(f), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var found []string
				for _, c := range checks() {
					if c.try(ctx, newFaulty(f)) != nil {
						found = append(found, c.name)
					}
				}
				require.Contains(t, found, name)
			})
		})
	}
	require.NoError(t, Check(t.Context(), func(context.Context) (scsguard.RememberStore, error) { return newFaulty(""), nil }))
}

type faulty struct {
	fault  fault
	began  time.Time
	mu     sync.Mutex
	values map[string]*kept
}

type kept struct {
	value   []byte
	ttl     time.Duration
	expires time.Time
}

func newFaulty(f fault) *faulty {
	return &faulty{fault: f, began: time.Now(), values: make(map[string]*kept)}
}

func (s *faulty) now() time.Time {
	switch s.fault {
	case "has a clock that stands still":
		return s.began
	case "has no clock":
		return time.Time{}
	}
	return time.Now()
}

func (s *faulty) id(id string) string {
	if s.fault == "folds the case of IDs" {
		return strings.ToLower(id)
	}
	return id
}

func (s *faulty) at(id string) *kept {
	k := s.values[s.id(id)]
	switch {
	case k == nil:
		return nil
	case s.fault == "never expires":
		return k
	case s.fault == "expires at once" || !time.Now().Before(k.expires):
		return nil
	}
	return k
}

func (s *faulty) Load(ctx context.Context, id string) ([]byte, time.Time, error) {
	if s.fault == "is not there at all" {
		return nil, s.now(), errors.New("not there")
	}
	if err := ctx.Err(); err != nil && s.fault != "does not look at the context" {
		return nil, s.now(), err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.at(id)
	if k == nil {
		if s.fault == "returns an empty slice for nothing" {
			return []byte{}, s.now(), nil
		}
		return nil, s.now(), nil
	}
	switch s.fault {
	case "prolongs on Load":
		k.expires = time.Now().Add(k.ttl)
	case "hands out its own slice":
		return k.value, s.now(), nil
	}
	return bytes.Clone(k.value), s.now(), nil
}

func (s *faulty) same(there, old []byte) bool {
	switch s.fault {
	case "does not compare":
		return len(old) > 0 == (len(there) > 0)
	case "compares the beginning":
		return len(old) > 0 == (len(there) > 0) && bytes.HasPrefix(there, old)
	case "compares without case":
		return bytes.EqualFold(there, old)
	case "overwrites what was created":
		return len(old) == 0 || bytes.Equal(there, old)
	}
	return bytes.Equal(there, old)
}

func (s *faulty) Swap(ctx context.Context, id string, old, value []byte, ttl time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil && s.fault != "does not look at the context" {
		if s.fault == "reports the context and writes all the same" {
			_, _ = s.Swap(context.Background(), id, old, value, ttl)
		}
		return false, err
	}
	switch s.fault {
	case "fails":
		return false, errors.New("read only")
	case "panics":
		panic("nil map")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var there []byte
	k := s.at(id)
	if k != nil {
		there = k.value
	} else if hidden := s.values[s.id(id)]; hidden != nil && s.fault == "hides what has expired and compares it" {
		there = hidden.value
	}
	ok := s.same(there, old)
	if s.fault == "deletes without comparing" && len(value) == 0 {
		ok = true
	}
	if s.fault == "compares first and writes later" || s.fault == "creates without a lock" && len(old) == 0 {
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
		s.mu.Lock()
	}
	if !ok && s.fault != "writes although it reports false" {
		if k != nil && s.fault == "prolongs what it refuses" {
			k.expires = time.Now().Add(time.Hour)
		}
		return false, nil
	}
	if s.fault == "wipes the old value" {
		clear(old)
	}
	if len(value) == 0 && s.fault != "keeps an empty value" {
		if s.fault != "deletes nothing" {
			delete(s.values, s.id(id))
		}
		return ok, nil
	}
	s.values[s.id(id)] = s.written(k, value, ttl)
	return ok, nil
}

// written is what is kept of a new value.
func (s *faulty) written(before *kept, value []byte, ttl time.Duration) *kept {
	next := &kept{bytes.Clone(value), ttl, time.Now().Add(ttl)}
	switch s.fault {
	case "ends values at a zero byte":
		next.value, _, _ = bytes.Cut(next.value, []byte{0})
	case "keeps 32 KB":
		next.value = next.value[:min(len(next.value), 32<<10)]
	case "trims":
		next.value = bytes.TrimSpace(next.value)
	case "keeps the caller's slice":
		next.value = value
	case "keeps the first time to live":
		if before != nil {
			next.expires = before.expires
		}
	case "does not touch what stays the same":
		if before != nil && bytes.Equal(before.value, value) {
			return before
		}
	}
	return next
}
