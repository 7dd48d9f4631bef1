package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

func dataChecks() []check {
	return []check{
		{name: "what was committed is found", run: found},
		{name: "a commit replaces the one before", run: replaced},
		{name: "what is unknown is not found, and that is no error", run: unknown},
		{name: "what was deleted is not found, and deleting again is no error", run: deleted},
		{name: "data may be any bytes", run: anyBytes},
		{name: "large data comes back whole or is refused", run: large},
		{name: "data that was handed over or found does not change later", run: bytesStay},
		{name: "concurrent calls do not mix up sessions", run: concurrent},
		{name: "concurrent commits of one session leave one of them whole", run: oneWins},
		{name: "an iteration yields what lives and nothing else", run: iterated},
	}
}

func found(ctx context.Context, c *client) error {
	sessions := make(map[string][]byte)
	for i := range 50 {
		b := fmt.Appendf(nil, "data of session %d", i)
		token, err := c.keep(ctx, b, later())
		if err != nil {
			return err
		}
		sessions[token] = b
	}
	for token, b := range sessions {
		if err := c.wantFound(ctx, token, b); err != nil {
			return err
		}
	}
	return nil
}

func replaced(ctx context.Context, c *client) error {
	token := newToken()
	for _, data := range []string{"first", "second, and longer than the first", "third", "third", "fourth"} {
		if err := c.commit(ctx, token, []byte(data), later()); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		if err := c.wantFound(ctx, token, []byte(data)); err != nil {
			return err
		}
	}
	return nil
}

func unknown(ctx context.Context, c *client) error {
	if _, err := c.keep(ctx, []byte("somebody else's"), later()); err != nil {
		return err
	}
	return c.wantGone(ctx, newToken())
}

func deleted(ctx context.Context, c *client) error {
	token, err := c.keep(ctx, []byte("data"), later())
	if err != nil {
		return err
	}
	other, err := c.keep(ctx, []byte("other"), later())
	if err != nil {
		return err
	}
	for _, t := range []string{token, token, newToken()} {
		if err := c.delete(ctx, t); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		if err := errors.Join(c.wantGone(ctx, t), c.wantFound(ctx, other, []byte("other"))); err != nil {
			return err
		}
	}
	if err := c.commit(ctx, token, []byte("again"), later()); err != nil {
		return fmt.Errorf("commit after Delete: %w", err)
	}
	return c.wantFound(ctx, token, []byte("again"))
}

func anyBytes(ctx context.Context, c *client) error {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, b := range [][]byte{
		every, {0}, []byte("ends with zeros\x00\x00"), []byte("ends with blanks  "), []byte("\xff\xfe no UTF-8 \xc3"),
		[]byte(`'";--\`), []byte("a\r\nb\n"), bytes.Repeat(every, 100),
	} {
		token, err := c.keep(ctx, b, later())
		if err == nil {
			err = c.wantFound(ctx, token, b)
		}
		if err != nil {
			return fmt.Errorf("with %d bytes, beginning with %.20q: %w", len(b), b, err)
		}
	}
	return nil
}

// large allows a limit, but not to forget what lies beyond it: half a session
// cannot be decoded.
func large(ctx context.Context, c *client) error {
	b := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	for _, n := range []int{1 << 12, 60_000, 1 << 16, 1<<16 + 1, 1 << 20} {
		token, err := c.keep(ctx, b[:n], later())
		if n <= 60_000 && err != nil {
			return fmt.Errorf("with %d bytes: %w", n, err)
		}
		if err == nil {
			err = c.wantFound(ctx, token, b[:n])
		} else {
			err = c.wantGone(ctx, token)
		}
		if err != nil {
			return fmt.Errorf("with %d bytes: %w", n, err)
		}
	}
	return nil
}

// bytesStay: a guard decodes what it has found when somebody else may have
// written the same session again.
func bytesStay(ctx context.Context, c *client) error {
	b := []byte("data that was handed over")
	committed := slices.Clone(b)
	token, err := c.keep(ctx, b, later())
	if err != nil {
		return err
	}
	got, _, err := c.find(ctx, token)
	if err != nil {
		return fmt.Errorf("find: %w", err)
	}
	for range 3 {
		if err := c.commit(ctx, token, bytes.Repeat([]byte("x"), len(b)), later()); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		if _, err := c.keep(ctx, bytes.Repeat([]byte("y"), len(b)), later()); err != nil {
			return err
		}
		if err := c.wantFound(ctx, token, bytes.Repeat([]byte("x"), len(b))); err != nil {
			return err
		}
		if !bytes.Equal(got, committed) {
			return fmt.Errorf("what Find returned before has become %q", got)
		}
		if !bytes.Equal(b, committed) {
			return fmt.Errorf("what was given to Commit has become %q", b)
		}
	}
	if err := c.delete(ctx, token); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if !bytes.Equal(got, committed) {
		return fmt.Errorf("after Delete what Find returned before has become %q", got)
	}
	return nil
}

// crowd runs f n times at the same moment and joins the errors.
func crowd(n int, f func(i int) error) error {
	errs := make([]error, n)
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	running.Wait()
	return errors.Join(errs...)
}

func concurrent(ctx context.Context, c *client) error {
	const callers, rounds = 16, 20
	live := make([]map[string][]byte, callers)
	err := crowd(callers, func(i int) error {
		live[i] = make(map[string][]byte)
		for round := range rounds {
			b := fmt.Appendf(nil, "session %d in round %d", i, round)
			token, err := c.keep(ctx, b, later())
			if err != nil {
				return err
			}
			if err := c.wantFound(ctx, token, b); err != nil {
				return err
			}
			if round%2 == 0 {
				live[i][token] = b
				continue
			}
			if err := c.delete(ctx, token); err != nil {
				return fmt.Errorf("delete: %w", err)
			}
			if err := c.wantGone(ctx, token); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, sessions := range live {
		for token, b := range sessions {
			if err := c.wantFound(ctx, token, b); err != nil {
				return fmt.Errorf("after others were written and deleted: %w", err)
			}
		}
	}
	return nil
}

func oneWins(ctx context.Context, c *client) error {
	const writers, readers, rounds, size = 4, 4, 20, 2000
	data := func(n int) []byte { return bytes.Repeat([]byte{'a' + byte(n)}, size+n) } // n below 26
	token, err := c.keep(ctx, data(0), later())
	if err != nil {
		return err
	}
	return crowd(writers+readers, func(i int) error {
		for round := range rounds {
			if i < writers {
				if err := c.commit(ctx, token, data((i+writers*round)%26), later()); err != nil {
					return fmt.Errorf("commit: %w", err)
				}
				continue
			}
			b, found, err := c.find(ctx, token)
			switch {
			case err != nil:
				return fmt.Errorf("find: %w", err)
			case !found || len(b) < size:
				return fmt.Errorf("find beside commits: found %v, %d bytes", found, len(b))
			case !bytes.Equal(b, data(int(b[0]-'a'))):
				return fmt.Errorf("find beside commits: %d bytes of more than one commit", len(b))
			}
			if err := wait(ctx, time.Nanosecond); err != nil { // let the writers have their turn
				return err
			}
		}
		return nil
	})
}

func iterated(ctx context.Context, c *client) error {
	if c.all == nil {
		return nil
	}
	if err := c.wantAll(ctx, nil); err != nil {
		return fmt.Errorf("an empty store: %w", err)
	}
	want := make(map[string][]byte)
	for i := range 20 {
		b := fmt.Appendf(nil, "session %d\x00", i)
		token, err := c.keep(ctx, b, later())
		if err != nil {
			return err
		}
		switch i % 4 {
		case 0:
			if err := c.delete(ctx, token); err != nil {
				return fmt.Errorf("delete: %w", err)
			}
			continue
		case 1:
			b = append(b, "written again"...)
			if err := c.commit(ctx, token, b, later()); err != nil {
				return fmt.Errorf("commit: %w", err)
			}
		}
		want[token] = b
	}
	return c.wantAll(ctx, want)
}
