package storetest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
)

// fault is one thing that a broken store does.
type fault string

const (
	losesEveryOther     fault = "loses every other commit"
	mixesUp             fault = "takes every token for the same"
	keepsTheFirst       fault = "keeps the first commit"
	failsOnUnknown      fault = "returns an error for what is unknown"
	findsTheUnknown     fault = "finds something for every token"
	failsToDeleteAgain  fault = "returns an error if there is nothing to delete"
	deletesNothing      fault = "deletes nothing"
	deletesEverything   fault = "deletes everything"
	endsAtZero          fault = "ends data at the first zero"
	trimsBlanks         fault = "trims blanks"
	repairsUTF8         fault = "repairs what is no UTF-8"
	cutsOff             fault = "cuts off what is longer than its column"
	refusesAPage        fault = "refuses more than a page"
	writesInPlace       fault = "writes over what it has handed out"
	writesToTheArgument fault = "overwrites what it was given"
	losesConcurrent     fault = "loses a commit beside another"
	writesInTwoHalves   fault = "writes in two halves"
	neverExpires        fault = "finds what has expired"
	expiresAtOnce       fault = "drops data as it comes"
	keepsTheFirstExpiry fault = "keeps the first expiry"
	yieldsNil           fault = "yields nil if there is nothing"
	yieldsTheExpired    fault = "yields what has expired"
	yieldsNotAll        fault = "yields not all"
	ignoresItsContext   fault = "does not look at its context"
)

// faulty is a store that takes contexts, and panics if it does not get one.
// Without a fault it is sound.
type faulty struct {
	scs.Store // nil
	fault     fault

	mu      sync.Mutex
	items   map[string]item
	commits int
}

type item struct {
	b      []byte
	expiry time.Time
}

var (
	_ scs.CtxStore         = (*faulty)(nil)
	_ scs.IterableCtxStore = (*faulty)(nil)
)

func newFaulty(f fault) *faulty { return &faulty{fault: f, items: make(map[string]item)} }

func (s *faulty) key(token string) string {
	if s.fault == mixesUp {
		return token[:0]
	}
	return token
}

func (s *faulty) done(ctx context.Context) error {
	if s.fault == ignoresItsContext {
		return nil
	}
	return ctx.Err()
}

func (s *faulty) live(it item) bool { return time.Now().Before(it.expiry) || s.fault == neverExpires }

func (s *faulty) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.done(ctx); err != nil {
		return nil, false, err
	}
	it, ok := s.items[s.key(token)]
	switch {
	case s.fault == findsTheUnknown && !ok:
		return nil, true, nil
	case s.fault == failsOnUnknown && !ok:
		return nil, false, errors.New("no rows in result set")
	case !ok || !s.live(it):
		return nil, false, nil
	}
	return it.b, true, nil
}

func (s *faulty) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.done(ctx); err != nil {
		return err
	}
	key, kept := s.key(token), slices.Clone(b)
	old, there := s.items[key]
	s.commits++
	switch s.fault {
	case losesEveryOther:
		if s.commits%2 == 0 {
			return nil
		}
	case keepsTheFirst:
		if there {
			return nil
		}
	case endsAtZero:
		kept, _, _ = bytes.Cut(kept, []byte{0})
	case trimsBlanks:
		kept = bytes.TrimRight(kept, " ")
	case repairsUTF8:
		kept = bytes.ToValidUTF8(kept, []byte("?"))
	case cutsOff:
		kept = kept[:min(len(kept), 1<<16-1)]
	case refusesAPage:
		if len(b) > 8000 {
			return errors.New("row is too big")
		}
	case writesInPlace:
		kept = append(old.b[:0], b...)
	case writesToTheArgument:
		clear(b)
	case losesConcurrent:
		all := maps.Clone(s.items)
		s.yield()
		s.items = all
	case writesInTwoHalves:
		half := len(kept) / 2
		if there && len(old.b) >= half {
			s.items[key] = item{slices.Concat(kept[:half], old.b[half:]), expiry}
			s.yield()
		}
	case expiresAtOnce:
		expiry = time.Now()
	case keepsTheFirstExpiry:
		if there {
			expiry = old.expiry
		}
	}
	s.items[key] = item{kept, expiry}
	return nil
}

// yield lets all others come in between: in a bubble no time passes until they
// wait as well.
func (s *faulty) yield() {
	s.mu.Unlock()
	time.Sleep(time.Nanosecond)
	s.mu.Lock()
}

func (s *faulty) DeleteCtx(ctx context.Context, token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.done(ctx); err != nil {
		return err
	}
	_, there := s.items[s.key(token)]
	switch {
	case s.fault == deletesNothing:
	case s.fault == deletesEverything:
		clear(s.items)
	case s.fault == failsToDeleteAgain && !there:
		return errors.New("no rows affected")
	default:
		delete(s.items, s.key(token))
	}
	return nil
}

func (s *faulty) AllCtx(ctx context.Context) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.done(ctx); err != nil {
		return nil, err
	}
	all := make(map[string][]byte)
	for key, it := range s.items {
		if (s.live(it) || s.fault == yieldsTheExpired) && (s.fault != yieldsNotAll || len(all) < 5) {
			all[key] = it.b
		}
	}
	if s.fault == yieldsNil && len(all) == 0 {
		return nil, nil
	}
	return all, nil
}
