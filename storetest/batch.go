package storetest

import (
	"context"
	"errors"
	"fmt"
)

// What a [scsguard.BatchDeleter] must do. These checks pass on a store that is none.
func batchChecks() []check {
	return []check{
		{name: "of many what was deleted is not found, and nothing else is gone", run: deletedMany},
		{name: "a deletion of many whose context is done returns an error", run: manyGiveUp},
	}
}

// deletedMany deletes more than a store may have in one command, some of it twice and some
// that is not there.
func deletedMany(ctx context.Context, c *client) error {
	if c.deleteMany == nil {
		return nil
	}
	const n = 1200
	var tokens, others []string
	for i := range n {
		token, err := c.keep(ctx, []byte("data"), later())
		if err != nil {
			return err
		}
		if i%10 == 0 {
			others = append(others, token)
		} else {
			tokens = append(tokens, token)
		}
	}
	many := append([]string{newToken(), tokens[0]}, tokens...)
	for _, some := range [][]string{nil, many, many} {
		if err := c.deleteMany(ctx, some); err != nil {
			return fmt.Errorf("delete %d: %w", len(some), err)
		}
	}
	for _, token := range tokens {
		if err := c.wantGone(ctx, token); err != nil {
			return err
		}
	}
	for _, token := range others {
		if err := c.wantFound(ctx, token, []byte("data")); err != nil {
			return err
		}
	}
	return nil
}

func manyGiveUp(ctx context.Context, c *client) error {
	if c.deleteMany == nil {
		return nil
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := c.deleteMany(done, []string{newToken(), newToken()}); err == nil {
		return errors.New("DeleteManyCtx with a context that is done returns no error")
	}
	return nil
}
