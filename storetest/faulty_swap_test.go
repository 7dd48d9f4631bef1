package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

const (
	swapsOverAnything   fault = "swaps whatever is stored"
	swapsNever          fault = "never swaps"
	createsOverAll      fault = "takes nothing for anything"
	answersEmpty        fault = "returns empty data for nothing"
	comparesLengths     fault = "compares lengths"
	comparesTheStart    fault = "compares the first bytes"
	comparesAnyCase     fault = "compares without regard to case"
	swapsInTwoSteps     fault = "compares first and writes later"
	returnsTheExpected  fault = "returns what was expected, not what is stored"
	swapsInPlace        fault = "swaps in place"
	swapKeepsExpiry     fault = "keeps the expiry in a swap"
	swapSeesTheExpired  fault = "swaps over what has expired"
	refusalExtends      fault = "takes the expiry of a swap that it refuses"
	swapIgnoresContext  fault = "swaps although its context is done"
	swapWritesToNew     fault = "overwrites what it was given to swap"
	finderAnswersAll    fault = "answers for every registry"
	finderAnswersNone   fault = "answers for no registry"
	finderForgetsData   fault = "finds the record only"
	finderForgetsFields fault = "leaves out a field of the record"
	finderMixesSpaces   fault = "reads one namespace for all"
	finderTears         fault = "reads data in two halves"
	finderHangsOn       fault = "looks up although its context is done"
)

var _ scsguard.Swapper = (*faulty)(nil)

func (s *faulty) SwapCtx(ctx context.Context, token string, old, new []byte, expiry time.Time) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.done(ctx); err != nil && s.fault != swapIgnoresContext {
		return nil, false, err
	}
	it, there := s.items[token]
	if !there || (!s.live(it) && s.fault != swapSeesTheExpired) {
		it, there = item{}, false
	}
	same := there == (old != nil) && bytes.Equal(it.b, old)
	switch s.fault {
	case swapsOverAnything:
		same = true
	case swapsNever:
		same = false
	case createsOverAll:
		same = same || old == nil
	case comparesLengths:
		same = there == (old != nil) && len(old) == len(it.b)
	case comparesTheStart:
		same = there == (old != nil) && bytes.Equal(old[:min(len(old), 8)], it.b[:min(len(it.b), 8)])
	case comparesAnyCase:
		same = there == (old != nil) && bytes.EqualFold(old, it.b)
	case swapsInTwoSteps:
		s.yield()
	}
	if !same {
		switch {
		case s.fault == refusalExtends && there:
			s.items[token] = item{it.b, expiry}
		case s.fault == returnsTheExpected:
			return old, false, nil
		case s.fault == answersEmpty && !there:
			return []byte{}, false, nil
		}
		return it.b, false, nil
	}
	kept := slices.Clone(new)
	switch s.fault {
	case swapsInPlace:
		kept = append(it.b[:0], new...)
	case swapWritesToNew:
		clear(new)
	case swapKeepsExpiry:
		if there {
			expiry = it.expiry
		}
	}
	s.items[token] = item{kept, expiry}
	return nil, true, nil
}

// FindRecordCtx is that of a store in this process: it asks both.
func (s *faultyFinder) FindRecordCtx(ctx context.Context, registry scsguard.Registry, key scsguard.Key) (rec scsguard.Record, b []byte, found, ok bool, err error) {
	if s.fault == finderHangsOn {
		ctx = context.WithoutCancel(ctx)
	}
	m, ok := registry.(*known)
	if s.fault == finderAnswersNone || !ok && s.fault != finderAnswersAll {
		return rec, nil, false, false, nil
	}
	if s.fault == finderMixesSpaces {
		registry = m.all
	}
	if rec, err = registry.Get(ctx, key); err != nil {
		return rec, nil, false, false, err
	}
	b, found, err = s.FindCtx(ctx, string(key))
	switch s.fault {
	case finderForgetsData:
		b, found = nil, false
	case finderForgetsFields:
		rec.Methods = nil
	case finderTears:
		if found {
			time.Sleep(time.Nanosecond)
			later, _, _ := s.FindCtx(ctx, string(key))
			b = slices.Concat(b[:len(b)/2], later[len(later)/2:])
		}
	}
	return rec, b, found, true, err
}

type faultyFinder struct{ *faulty }

// known is a registry that the finder can read.
type known struct {
	scsguard.Registry
	all scsguard.Registry
}

func (k *known) Namespace(name string) scsguard.Registry {
	return &known{k.Registry.Namespace(name), k.all}
}

func openFinder(f fault) func(context.Context) (Pair, error) {
	return func(context.Context) (Pair, error) {
		r := scsguard.NewMemoryRegistry()
		return Pair{Store: &faultyFinder{newFaulty(f)}, Registry: &known{r, r}}, nil
	}
}

func TestASoundFinderPasses(t *testing.T) {
	RunFinder(t, func(t *testing.T) Pair {
		p, err := openFinder("")(t.Context())
		require.NoError(t, err)
		return p
	})
	synctest.Test(t, func(t *testing.T) { require.NoError(t, CheckFinder(t.Context(), openFinder(""))) })
}

func TestBrokenFinder(t *testing.T) {
	caught := map[fault]string{
		finderAnswersAll:    "a registry of another kind is not answered for",
		finderAnswersNone:   "record and data are those that registry and store return",
		finderForgetsData:   "record and data are those that registry and store return",
		finderForgetsFields: "record and data are those that registry and store return",
		finderMixesSpaces:   "each namespace has its own records",
		finderTears:         "a lookup beside writes returns a whole record and whole data",
		finderHangsOn:       "a lookup whose context is done returns an error",
	}
	uncaught := make(map[string]bool)
	for _, c := range finderChecks() {
		uncaught[c.name] = true
	}
	for f, name := range caught {
		delete(uncaught, name)
		t.Run(string(f), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { require.ErrorContains(t, CheckFinder(t.Context(), openFinder(f)), name+": ") })
		})
	}
	require.Empty(t, uncaught, "a check that no fault fails may be one that cannot fail")
}

func TestAStoreThatIsNoFinderFailsByName(t *testing.T) {
	err := CheckFinder(t.Context(), func(context.Context) (Pair, error) {
		return Pair{Store: newStore(), Registry: scsguard.NewMemoryRegistry()}, nil
	})
	for _, c := range finderChecks() {
		require.ErrorContains(t, err, c.name+": *memstore.MemStore is no scsguard.RecordFinder")
	}
	broken := errors.New("no connection")
	require.ErrorIs(t, CheckFinder(t.Context(), func(context.Context) (Pair, error) { return Pair{}, broken }), broken)
}
