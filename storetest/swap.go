package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What a [scsguard.Swapper] must do. These checks pass on a store that is none.
func swapChecks() []check {
	return []check{
		{name: "a swap writes over what was expected and over nothing else", run: swaps},
		{name: "a swap takes nothing for nothing", run: swapsNothing},
		{name: "a swap compares every byte", run: swapsBytes},
		{name: "of many swaps of one session none is lost", run: swapsAll},
		{name: "a swap that was refused says what is stored now", run: swapRefused},
		{name: "a swap replaces the expiry, and what has expired is nothing", run: swapExpires, slow: true},
		{name: "a refused swap leaves the expiry alone", run: refusedKeepsExpiry, slow: true},
		{name: "a swap whose context is done returns an error and writes nothing", run: swapGivesUp},
	}
}

// wantSwapped demands that a swap takes place.
func (c *client) wantSwapped(ctx context.Context, token string, old, new []byte, expiry time.Time) error {
	given := slices.Clone(new)
	switch current, swapped, err := c.swap(ctx, token, old, new, expiry); {
	case err != nil:
		return fmt.Errorf("swap: %w", err)
	case !swapped:
		return fmt.Errorf("swap: refused, and stored is %.20q, although %.20q was expected", current, old)
	case !bytes.Equal(given, new):
		return fmt.Errorf("swap: what was given to it has become %.20q", new)
	}
	return c.wantFound(ctx, token, given)
}

// wantRefused demands that a swap changes nothing and says what is stored, nil for
// nothing.
func (c *client) wantRefused(ctx context.Context, token string, old, new, stored []byte) error {
	switch current, swapped, err := c.swap(ctx, token, old, new, later()); {
	case err != nil:
		return fmt.Errorf("swap: a conflict should be no error: %w", err)
	case swapped:
		return fmt.Errorf("swap: it took place, although %.20q was expected and %.20q is stored", old, stored)
	case !bytes.Equal(current, stored) || (current == nil) != (stored == nil):
		return fmt.Errorf("swap: refused with %.20q (nil: %v), but stored is %.20q", current, current == nil, stored)
	}
	if stored == nil {
		return c.wantGone(ctx, token)
	}
	return c.wantFound(ctx, token, stored)
}

func swaps(ctx context.Context, c *client) error {
	if c.swap == nil {
		return nil
	}
	token, err := c.keep(ctx, []byte("first"), later())
	if err != nil {
		return err
	}
	other, err := c.keep(ctx, []byte("other"), later())
	if err != nil {
		return err
	}
	return errors.Join(
		c.wantSwapped(ctx, token, []byte("first"), []byte("second, and longer"), later()),
		c.wantRefused(ctx, token, []byte("first"), []byte("third"), []byte("second, and longer")),
		c.wantSwapped(ctx, token, []byte("second, and longer"), []byte("third"), later()),
		c.wantSwapped(ctx, token, []byte("third"), []byte("third"), later()),
		c.wantFound(ctx, other, []byte("other")),
	)
}

func swapsNothing(ctx context.Context, c *client) error {
	if c.swap == nil {
		return nil
	}
	token, gone := newToken(), newToken()
	if err := c.wantSwapped(ctx, token, nil, []byte("first"), later()); err != nil {
		return fmt.Errorf("over nothing: %w", err)
	}
	if err := c.wantRefused(ctx, token, nil, []byte("second"), []byte("first")); err != nil {
		return fmt.Errorf("nothing was expected: %w", err)
	}
	if err := c.wantRefused(ctx, gone, []byte("first"), []byte("second"), nil); err != nil {
		return fmt.Errorf("nothing is stored: %w", err)
	}
	if err := c.delete(ctx, token); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := c.wantRefused(ctx, token, []byte("first"), []byte("second"), nil); err != nil {
		return fmt.Errorf("it was deleted: %w", err)
	}
	return c.wantSwapped(ctx, token, nil, []byte("again"), later())
}

func swapsBytes(ctx context.Context, c *client) error {
	if c.swap == nil {
		return nil
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	large := bytes.Repeat(every, 100)
	for _, b := range [][]byte{every, large, []byte("ends with zeros\x00\x00"), []byte("ends with blanks  "), []byte("\xff\xfe no UTF-8 \xc3"), []byte("Case")} {
		token, err := c.keep(ctx, b, later())
		if err != nil {
			return err
		}
		for _, close := range [][]byte{b[:len(b)-1], append(slices.Clone(b), 0), append(slices.Clone(b), ' '), changed(b, 0), changed(b, len(b)-1), bytes.ToLower(b)} {
			if bytes.Equal(close, b) {
				continue
			}
			if err := c.wantRefused(ctx, token, close, []byte("new"), b); err != nil {
				return fmt.Errorf("with %d bytes, expecting %d others: %w", len(b), len(close), err)
			}
		}
		if err := c.wantSwapped(ctx, token, b, changed(b, len(b)/2), later()); err != nil {
			return fmt.Errorf("with %d bytes: %w", len(b), err)
		}
	}
	return nil
}

func changed(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 1
	return b
}

// swapsAll lets many add a byte of their own, each until it succeeds. What one of
// them writes over is missing in the end.
func swapsAll(ctx context.Context, c *client) error {
	if c.swap == nil {
		return nil
	}
	const writers, rounds = 8, 10
	token := newToken()
	err := crowd(writers, func(i int) error {
		for range rounds {
			var old []byte
			for try := 0; ; try++ {
				current, swapped, err := c.swap(ctx, token, old, append(slices.Clone(old), 'a'+byte(i)), later())
				if err != nil {
					return fmt.Errorf("swap: %w", err)
				}
				if swapped {
					break
				}
				if try > writers*rounds*10 {
					return fmt.Errorf("swap: refused %d times in a row, although only %d were made", try, writers*rounds)
				}
				old = current
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b, _, err := c.find(ctx, token)
	if err != nil {
		return fmt.Errorf("find: %w", err)
	}
	for i := range writers {
		if n := bytes.Count(b, []byte{'a' + byte(i)}); n != rounds {
			return fmt.Errorf("of %d swaps that took place %d are left", rounds, n)
		}
	}
	return nil
}

// swapRefused: what is handed out belongs to the caller, who decodes it when
// somebody else may be writing.
func swapRefused(ctx context.Context, c *client) error {
	if c.swap == nil {
		return nil
	}
	token, err := c.keep(ctx, []byte("data that is stored"), later())
	if err != nil {
		return err
	}
	current, _, err := c.swap(ctx, token, []byte("something else"), []byte("new"), later())
	if err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	if err := c.wantSwapped(ctx, token, current, bytes.Repeat([]byte("x"), len(current)), later()); err != nil {
		return err
	}
	if string(current) != "data that is stored" {
		return fmt.Errorf("swap: what it returned before has become %q", current)
	}
	return nil
}

func swapExpires(ctx context.Context, c *client) error {
	if c.swap == nil {
		return nil
	}
	expiry := time.Now().Add(soon)
	shorter, err := c.keep(ctx, []byte("data"), later())
	if err != nil {
		return err
	}
	longer, err := c.keep(ctx, []byte("data"), expiry)
	if err != nil {
		return err
	}
	if err := errors.Join(
		c.wantSwapped(ctx, shorter, []byte("data"), []byte("short now"), expiry),
		c.wantSwapped(ctx, longer, []byte("data"), []byte("data"), later()),
	); err != nil {
		return err
	}
	if err := c.untilGone(ctx, shorter, expiry); err != nil {
		return err
	}
	if err := wait(ctx, time.Until(expiry.Add(rounding))); err != nil {
		return err
	}
	return errors.Join(
		c.wantFound(ctx, longer, []byte("data")),
		c.wantRefused(ctx, shorter, []byte("short now"), []byte("new"), nil),
		c.wantSwapped(ctx, shorter, nil, []byte("again"), later()),
	)
}

func refusedKeepsExpiry(ctx context.Context, c *client) error {
	if c.swap == nil {
		return nil
	}
	expiry := time.Now().Add(soon)
	token, err := c.keep(ctx, []byte("data"), expiry)
	if err != nil {
		return err
	}
	if err := c.wantRefused(ctx, token, []byte("other"), []byte("new"), []byte("data")); err != nil {
		return err
	}
	return c.untilGone(ctx, token, expiry)
}

func swapGivesUp(ctx context.Context, c *client) error {
	if c.swap == nil {
		return nil
	}
	token, err := c.keep(ctx, []byte("data"), later())
	if err != nil {
		return err
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := c.swap(done, token, []byte("data"), []byte("new"), later()); err == nil {
		return errors.New("SwapCtx with a context that is done returns no error")
	}
	return c.wantFound(ctx, token, []byte("data"))
}
