package storetest

import (
	"context"

	"github.com/scsguard/scsguard"
)

const (
	manyAreTheFirst      fault = "deletes the first of many only"
	manyAreAll           fault = "deletes everything instead of many"
	manyFailAgain        fault = "returns an error if one of many is not there"
	manyIgnoreTheContext fault = "deletes many although its context is done"
)

var _ scsguard.BatchDeleter = (*faulty)(nil)

func (s *faulty) DeleteManyCtx(ctx context.Context, tokens []string) error {
	for i, token := range tokens {
		s.mu.Lock()
		_, there := s.items[s.key(token)]
		if s.fault == manyAreAll {
			clear(s.items)
		}
		s.mu.Unlock()
		switch {
		case s.fault == manyAreTheFirst && i > 0:
			return nil
		case s.fault == manyFailAgain && !there:
			return context.DeadlineExceeded
		}
		if err := s.DeleteCtx(ctx, token); err != nil && s.fault != manyIgnoreTheContext {
			return err
		}
	}
	return nil
}
