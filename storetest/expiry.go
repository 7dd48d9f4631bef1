package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

func timeChecks() []check {
	return []check{
		{name: "what has expired is not found", run: expires, slow: true},
		{name: "a commit replaces the expiry of the one before", run: expiryReplaced, slow: true},
		{name: "an iteration leaves out what has expired", run: iterationExpires, slow: true},
		{name: "a call whose context is done returns an error", run: givesUp},
	}
}

const (
	// soon is an expiry that a check waits for. It is found until then, also by a
	// store that cuts off the fraction of a second.
	soon = 1500 * time.Millisecond
	// rounding is how much later data may go, if a store rounds up.
	rounding = 1500 * time.Millisecond
)

// untilGone waits until the token has no data, no longer than it may take.
func (c *client) untilGone(ctx context.Context, token string, expiry time.Time) error {
	for {
		err := c.wantGone(ctx, token)
		switch {
		case err == nil:
			return nil
		case time.Now().After(expiry.Add(rounding)):
			return fmt.Errorf("%v after its expiry: %w", time.Since(expiry).Round(time.Millisecond), err)
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func expires(ctx context.Context, c *client) error {
	expiry := time.Now().Add(soon)
	token, err := c.keep(ctx, []byte("short"), expiry)
	if err != nil {
		return err
	}
	stays, err := c.keep(ctx, []byte("long"), later())
	if err != nil {
		return err
	}
	if err := c.wantFound(ctx, token, []byte("short")); err != nil {
		return fmt.Errorf("%v before its expiry: %w", time.Until(expiry).Round(time.Millisecond), err)
	}
	if err := c.untilGone(ctx, token, expiry); err != nil {
		return err
	}
	if err := c.wantFound(ctx, stays, []byte("long")); err != nil {
		return err
	}
	if err := c.delete(ctx, token); err != nil {
		return fmt.Errorf("delete of what has expired: %w", err)
	}
	if err := c.commit(ctx, token, []byte("again"), later()); err != nil {
		return fmt.Errorf("commit of what has expired: %w", err)
	}
	return c.wantFound(ctx, token, []byte("again"))
}

func expiryReplaced(ctx context.Context, c *client) error {
	expiry := time.Now().Add(soon)
	shorter, err := c.keep(ctx, []byte("long at first"), later())
	if err != nil {
		return err
	}
	longer, err := c.keep(ctx, []byte("short at first"), expiry)
	if err != nil {
		return err
	}
	if err := c.commit(ctx, shorter, []byte("short now"), expiry); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := c.commit(ctx, longer, []byte("long now"), later()); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := c.untilGone(ctx, shorter, expiry); err != nil {
		return err
	}
	if err := wait(ctx, time.Until(expiry.Add(rounding))); err != nil {
		return err
	}
	return c.wantFound(ctx, longer, []byte("long now"))
}

func iterationExpires(ctx context.Context, c *client) error {
	if c.all == nil {
		return nil
	}
	expiry := time.Now().Add(soon)
	if _, err := c.keep(ctx, []byte("short"), expiry); err != nil {
		return err
	}
	token, err := c.keep(ctx, []byte("long"), later())
	if err != nil {
		return err
	}
	if err := wait(ctx, time.Until(expiry.Add(rounding))); err != nil {
		return err
	}
	return c.wantAll(ctx, map[string][]byte{token: []byte("long")})
}

// givesUp asks the methods that take a context. A guard waits for them, and a
// request with a store that is down would wait for ever if they did not look at
// it.
func givesUp(ctx context.Context, c *client) error {
	token, err := c.keep(ctx, []byte("data"), later())
	if err != nil {
		return err
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	var errs []error
	demand := func(method string, asked bool, call func() error) {
		if asked && call() == nil {
			errs = append(errs, fmt.Errorf("%s with a context that is done returns no error", method))
		}
	}
	demand("FindCtx", c.takesContext.find, func() error {
		_, _, err := c.find(done, token)
		return err
	})
	demand("CommitCtx", c.takesContext.commit, func() error { return c.commit(done, token, []byte("other"), later()) })
	demand("DeleteCtx", c.takesContext.delete, func() error { return c.delete(done, token) })
	demand("AllCtx", c.takesContext.all && c.all != nil, func() error {
		_, err := c.all(done)
		return err
	})
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	_, _, err = c.find(ctx, token)
	return err // it works again with a context that is not done
}
